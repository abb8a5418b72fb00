"""Failures of a scenario, wired to a run: rows and racks, cells, tables and their laws."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import small_runs
from scripted import ask, factory, play

from factory import check_run, load, simulate
from factory.facility.tree import DARK_S, GPU_J, OTHER_J
from factory.kernel import Kernel
from factory.records.codes import EVENT_MEANINGS, STATE_FAILED
from factory.records.query import query
from factory.scenario import catalog
from factory.serving.meter import STATES
from factory.simulation.outage_builder import _of_cell, _upgraded
from factory.simulation.plant import assemble
from factory.simulation.preflight import preflight
from factory.simulation.run import drive
from factory.workload import build


def with_failures(made: dict[str, Any], **failures: Any) -> dict[str, Any]:
    made = copy.deepcopy(made)
    made["facility"]["failures"] = {"startup": {"startup_s": 0.01}, **failures}
    return made


def test_a_row_without_power_darkens_its_racks() -> None:
    made = factory({"replicas": 40})
    made["facility"]["rows"] = [{"name": "row", "count": 2}]
    made["facility"]["racks"] = [{"name": "r", "system": "hgx-h100", "count": 4, "row": "row"}]
    fault = {"at_s": 1.0, "target": "row-0", "duration_s": 2.0}
    seen = play(with_failures(made, faults=[fault]), [ask(0, 10, 1)], duration_s=5.0, window_s=1.0)
    plant = seen.plant
    dark = [sum(row[DARK_S] for row in rack.windows.rows) for rack in plant.tree.racks]
    assert dark == pytest.approx([2.0, 2.0, 0.0, 0.0])
    second = plant.tree.racks[0].windows.rows[1]
    assert second[GPU_J] == second[OTHER_J] == 0.0
    assert plant.tree.racks[2].windows.rows[1][GPU_J] > 0.0
    # All 32 replicas of the first rack and the eight of the second stand in this row.
    failed = sum(row[STATES + STATE_FAILED] for row in seen.pools[0])
    assert failed == pytest.approx(40 * 2.0)


def test_a_tray_that_is_out_draws_nothing() -> None:
    """A tray of four GPUs, all of one replica, is out for 10 of 20 s."""
    idle = factory({"parallel": {"tp": 4}})
    idle["facility"]["racks"] = [{"name": "r", "system": "gb200-nvl72"}]
    fault = {"at_s": 5.0, "target": "r-0/tray-0", "duration_s": 10.0}
    runs = [play(each, [ask(0, 10, 1)], duration_s=20.0) for each in
            (with_failures(idle), with_failures(idle, faults=[fault]))]  # fmt: skip
    joules = [sum(row[GPU_J] for row in run.plant.tree.racks[0].windows.rows) for run in runs]
    machine = runs[1].plant.held.machines[0]
    # While it starts after that, it draws what it would draw idle.
    assert joules[0] - joules[1] == pytest.approx(4 * machine.loaded_watts * 10.0)


def cells(count: int) -> dict[str, Any]:
    made = small_runs.aggregated(2, 2)
    made["run"] = {"duration_s": 30, "window_s": 10}
    made["cells"] = {"count": count, "simulated": count}
    return made


def test_every_cell_has_its_failures() -> None:
    from factory.simulation.cells import expand

    process = {"name": "p", "of": "gpu", "racks": "r", "mtbf_s": 5.0, "repair_s": 1.0}
    upgrade = {"pool": "p", "at_s": 5.0}
    work = {"at_s": 1.0, "targets": ["r-0/node-0"], "duration_s": 1.0}
    made = with_failures(cells(2), processes=[process], upgrades=[upgrade], maintenance=[work])
    scenario = load(made)
    assert not preflight(scenario, catalog())
    whole = expand(scenario)
    section = whole.facility.failures.upgrades[0]
    assert [positions for _, positions in _upgraded(whole, section)] == [[0, 1], [2, 3]]
    from factory.scenario.fault_targets import fault_places

    places = fault_places(whole, catalog())
    found = [_of_cell(places, cell).find("r-0/node-0") for cell in (0, 1)]
    assert [target.number for target in found if target] == [0, 1]


def broken(made: dict[str, Any]) -> list[tuple[float, str]]:
    """When the first two GPUs broke."""
    scenario, known, kernel = load(made), catalog(), Kernel()
    notes: list[tuple[Any, ...]] = []
    workload = build(scenario, known, [64])
    plant = assemble(scenario, known, workload, kernel, [].append, notes.append)
    drive(scenario, plant, kernel, lambda: None, None, 0.0)
    assert all(kind in EVENT_MEANINGS for _, kind, *_ in notes)
    gpus = ("r-0/gpu-0", "r-0/gpu-1")
    return [(at_s, what) for at_s, kind, what, *_ in notes if kind == "failed" and what in gpus]


def test_designs_on_the_same_racks_see_the_same_failures() -> None:
    """More replicas, other lengths, another engine: what breaks the first GPUs is the same."""
    process = {"name": "p", "of": "gpu", "mtbf_s": 30.0, "repair_s": 4.0}
    seen = []
    for replicas, tokens, engine in ((2, 10, "leap"), (5, 300, "leap"), (3, 50, "step")):
        made = small_runs.aggregated(replicas, 1)
        made["workload"]["tenants"][0]["output_tokens"] = tokens
        made["run"] = {"duration_s": 60, "window_s": 60, "seed": 4, "engine": engine}
        seen.append(broken(with_failures(made, processes=[process])))
    assert seen[0]
    assert seen[0] == seen[1] == seen[2]


def test_events_have_the_words_of_the_scenario(tmp_path: Path) -> None:
    made = small_runs.aggregated(2, 1)
    made["facility"]["racks"] = [{"name": "r", "system": "gb200-nvl72"}]
    made["run"] = {"duration_s": 20, "window_s": 5}
    made = with_failures(
        made,
        faults=[
            {"at_s": 1, "target": "r-0/tray-0", "duration_s": 2},
            {"at_s": 5, "target": "r-0/node-0", "duration_s": 2},
        ],
        maintenance=[{"at_s": 9, "targets": ["r-0/tray-0"], "duration_s": 2}],
    )
    result = simulate(load(made), tmp_path / "run")
    told = query(
        result.run_dir,
        "SELECT subject FROM fact_events WHERE kind IN ('failed', 'repaired', 'maintenance_began') "
        "ORDER BY event_time_s",
    ).rows
    assert [subject for (subject,) in told] == [
        "r-0/tray-0", "r-0/tray-0", "r-0/node-0", "r-0/node-0", "r-0/tray-0"
    ]  # fmt: skip


def test_tables_of_a_run_with_failures_hold_their_laws(tmp_path: Path) -> None:
    made = small_runs.split(run={"duration_s": 40, "window_s": 5, "warmup_s": 5})
    made["workload"]["tenants"][0]["retry"] = {"attempts": 3, "backoff_s": 0.2}
    made = with_failures(
        made,
        processes=[{"name": "chance", "of": "gpu", "mtbf_s": 60.0, "repair_s": 2.0}],
        faults=[
            {"at_s": 10.0, "target": "decode-0", "duration_s": 3.0},
            {"at_s": 20.0, "target": "r-0", "duration_s": 2.0},
        ],
        maintenance=[{"at_s": 28.0, "targets": ["prefill-1"], "duration_s": 2.0}],
        upgrades=[{"pool": "decode", "at_s": 32.0, "duration_s": 0.5}],
    )
    result = simulate(load(made), tmp_path / "run")
    kinds = {
        kind for (kind,) in query(result.run_dir, "SELECT DISTINCT kind FROM fact_events").rows
    }
    assert {
        "failed",
        "repaired",
        "maintenance_began",
        "maintenance_ended",
        "upgrade_began",
        "upgraded",
        "replica_ready",
    } <= kinds
    ledger = result.summary["ledger"]
    assert ledger["failed"] > 0.0
    assert ledger["maintenance"] > 0.0
    [(failed,)] = query(
        result.run_dir, "SELECT count(*) FROM fact_requests WHERE outcome = 'failed'"
    ).rows
    assert failed > 0
    assert all(law.holds for law in check_run(result.run_dir))
