"""The 100 MW campus: an hour of three cells, by hand (``-m acceptance``).

Its figures stand in docs/cells.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.records.query import query
from factory.scenario import catalog_of, load
from factory.simulation import preflight, simulate
from factory.validation.laws import check_run


def test_the_campus_is_of_the_size_that_it_says() -> None:
    scenario = load("campus-100mw")
    known = catalog_of(scenario)
    assert preflight(scenario, known) == []
    racks = scenario.cells.count * sum(group.count for group in scenario.facility.racks)
    gpus = racks * known.systems["gb300-nvl72"].gpus_per_rack
    assert (racks, gpus) == (700, 50_400)
    assert scenario.facility.contracted_mw == 100


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("budget_mw", "seconds"), [(100, 3600), (62, 600)], ids=["hour", "binding-budget"]
)
def test_the_campus_runs(tmp_path: Path, budget_mw: float, seconds: float) -> None:
    """At most ten CPU minutes for the hour, whose budget never binds."""
    scenario = load(
        "campus-100mw", [f"facility.budget_mw={budget_mw}", f"run.duration_s={seconds}"]
    )
    run = simulate(scenario, tmp_path / "run")
    assert [law for law in check_run(run.run_dir) if not law.holds] == []
    [[peak_kw, budget_kw, capped_s]] = query(
        run.run_dir,
        "select max(peak_1s_it_kw), max(budget_it_kw), sum(capped_s) from fact_power "
        "where level = 'facility'",
    ).rows
    assert peak_kw <= budget_kw * (1 + 1e-9)
    assert (capped_s > 0) == (budget_mw == 62)
    cells = run.summary["cells"]
    assert (cells["count"], cells["simulated"]) == (140, 3)
    for name in ("tokens_per_s_output_good", "facility_kw"):
        figure = cells["spread"][name]
        assert 0 < figure["stderr"] < 0.05 * figure["mean"]
    if budget_mw == 100:
        assert run.summary["sim_cpu_s"] <= 600
