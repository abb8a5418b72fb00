"""Whole runs with a grid: windows and engines do not matter, policies do what they say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import duckdb
import pytest

from factory import load, simulate
from tests.support.small_runs import aggregated


def scenario(**grid: Any) -> dict[str, Any]:
    """Eight busy GPUs, two tenants, and a quarter less power for a minute and a half."""
    made = aggregated(replicas=8, concurrency=32, run={"duration_s": 150, "window_s": 10})
    [chat] = made["workload"]["tenants"]
    made["workload"]["tenants"] = [
        {**chat, "name": "chat", "priority": 1, "load": {"rate": 6.0}},
        {**chat, "name": "batch", "load": {"rate": 6.0}},
    ]
    call = {"at_s": 50.5, "duration_s": 60, "depth_ratio": 0.1}
    made["facility"]["grid"] = {"curtailments": [call], "response_s": 0, **grid}
    return made


def tables(folder: Path, made: dict[str, Any], name: str = "run") -> Path:
    return simulate(load(made), folder / name).run_dir / "tables"


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query; TABLE:fact_x stands for the file or files of a table."""
    for table in ("fact_grid", "fact_demand_meter", "fact_events", "fact_requests", "fact_power"):
        files = sorted(str(path) for path in folder.rglob("*.parquet") if table in str(path))
        query = query.replace(f"[{table}]", f"read_parquet({files})")
    return duckdb.sql(query).fetchall()


TOTALS = (
    "SELECT sum(energy_it_kwh), sum(energy_facility_kwh), sum(energy_grid_kwh), "
    "sum(battery_charged_kwh), sum(battery_discharged_kwh), sum(excess_kwh), sum(curtailed_s), "
    "max(peak_1s_grid_kw), sum(electricity_usd), arg_max(battery_level_kwh, window_index) "
    "FROM [fact_grid]"
)
FULL = {
    "battery": {
        "capacity_mwh": 0.0002,
        "power_mw": 0.004,
        "for": ["curtailment", "ramp"],
        "initial_ratio": 0.6,
    },
    "ramp_mw_per_min": 0.05,
    "price": {"shape": "price-duck"},
}


@pytest.fixture(scope="module")
def by_window(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    folder = tmp_path_factory.mktemp("windows")
    found = {}
    for window_s in (1.0, 10.0, 60.0):
        made = scenario(**FULL)
        made["run"]["window_s"] = window_s
        found[window_s] = tables(folder, made, f"w{window_s:g}")
    return found


def test_energies_and_peaks_do_not_depend_on_windows(by_window: dict[float, Path]) -> None:
    totals = [rows(path, TOTALS)[0] for path in by_window.values()]
    assert totals[0][4] > 0.0  # the battery gave something
    for other in totals[1:]:
        assert other == pytest.approx(totals[0], rel=1e-9, abs=1e-12)
    quarters = [
        rows(path, "SELECT energy_grid_kwh, mean_grid_kw FROM [fact_demand_meter] ORDER BY 1")
        for path in by_window.values()
    ]
    for other in quarters[1:]:
        for mine, its in zip(quarters[0], other, strict=True):
            assert its == pytest.approx(mine, rel=1e-9)


def test_the_grid_gives_what_the_facility_and_its_battery_take(
    by_window: dict[float, Path],
) -> None:
    for path in by_window.values():
        [(_, facility, grid, charged, discharged, *_, level)] = rows(path, TOTALS)
        assert grid == pytest.approx(facility + charged - discharged, rel=1e-9)
        assert level - 0.12 == pytest.approx(0.85 * charged - discharged, abs=1e-9)
        [(it,)] = rows(path, "SELECT sum(energy_it_kwh) FROM [fact_power] WHERE level = 'facility'")
        [(mine,)] = rows(path, "SELECT sum(energy_it_kwh) FROM [fact_grid]")
        assert mine == pytest.approx(it, rel=1e-9)


@pytest.mark.parametrize("policy", ["cap", "shed", "pause"])
def test_both_engines_say_the_same(tmp_path: Path, policy: str) -> None:
    made = scenario(**FULL, policy=policy)
    made["run"] = {"duration_s": 20, "window_s": 5}
    made["facility"]["grid"]["curtailments"][0] |= {"at_s": 8.5, "duration_s": 8}
    for tenant in made["workload"]["tenants"]:
        tenant["load"] = {"rate": 3.0}
    queries = (
        "SELECT * EXCLUDE (run_id, window_start_at) FROM [fact_grid] ORDER BY window_index",
        "SELECT * EXCLUDE (run_id, start_at, end_at) FROM [fact_demand_meter] ORDER BY 2",
        "SELECT * EXCLUDE (run_id, event_at) FROM [fact_events] ORDER BY event_time_s, kind",
    )
    found = []
    for engine in ("leap", "step"):
        made["run"]["engine"] = engine
        path = tables(tmp_path, made, engine)
        found.append([rows(path, query) for query in queries])
    for leap, step in zip(*found, strict=True):
        assert len(leap) == len(step)
        for mine, other in zip(leap, step, strict=True):
            numbers = [value for value in mine if isinstance(value, float)]
            others = [value for value in other if isinstance(value, float)]
            assert numbers == pytest.approx(others, rel=1e-9, abs=1e-9, nan_ok=True)
            texts = [value for value in mine if not isinstance(value, float)]
            assert texts == [value for value in other if not isinstance(value, float)]


def test_shed_turns_away_the_lowest_priority_for_the_time_of_it(tmp_path: Path) -> None:
    path = tables(tmp_path, scenario(policy="shed"))
    turned = rows(
        path,
        "SELECT tenant, count(*), min(arrival_time_s), max(arrival_time_s) FROM [fact_requests] "
        "WHERE outcome = 'rejected' GROUP BY tenant",
    )
    [(tenant, count, first, last)] = turned
    assert tenant == "batch"
    assert count > 200
    assert 50.5 <= first < 52
    assert 109 < last < 110.5


def test_requests_inside_can_be_given_up(tmp_path: Path) -> None:
    made = scenario(policy="shed", shed_running="give_up", shed_tenants=["batch"])
    path = tables(tmp_path, made)
    [(inside,)] = rows(
        path,
        "SELECT count(*) FROM [fact_requests] WHERE outcome = 'rejected' AND arrival_time_s < 50.5",
    )
    assert inside > 0


def test_pause_rests_replicas_and_wakes_them(tmp_path: Path) -> None:
    made = scenario(policy="pause")
    made["run"]["duration_s"] = 220
    path = tables(tmp_path, made)
    kinds = dict(rows(path, "SELECT kind, count(*) FROM [fact_events] GROUP BY kind"))
    assert kinds["curtailment_began"] == kinds["curtailment_ended"] == 1
    assert kinds["replica_ready"] >= 1
    paused, resumed = (
        rows(path, f"SELECT subject, value FROM [fact_events] WHERE kind = '{kind}'")
        for kind in ("paused", "resumed")
    )
    assert paused
    assert paused == resumed
    assert all(subject.startswith("p-") and gpus == 1.0 for subject, gpus in paused)
    during = "WHERE window_start_time_s BETWEEN 90 AND 100"
    [(power, limit)] = rows(
        path, f"SELECT max(mean_grid_kw), max(limit_grid_kw) FROM [fact_grid] {during}"
    )
    assert power <= limit


def test_a_kept_cap_has_no_excess_and_every_run_has_a_site(tmp_path: Path) -> None:
    made = scenario(policy="cap")
    made["facility"]["grid"]["curtailments"][0]["duration_s"] = 4
    made["run"] = {"duration_s": 60, "window_s": 1}
    path = tables(tmp_path, made)
    [(excess, most, limit)] = rows(
        path,
        "SELECT sum(excess_kwh), max(peak_1s_grid_kw) FILTER (window_index BETWEEN 51 AND 53), "
        "max(limit_grid_kw) FROM [fact_grid]",
    )
    assert excess == pytest.approx(0.0, abs=1e-9)
    assert most <= limit * (1 + 1e-9)
    del made["facility"]["grid"]
    path = tables(tmp_path, made, "plain")
    [(windows, usd, level)] = rows(
        path, "SELECT count(*), max(electricity_usd), max(battery_level_kwh) FROM [fact_grid]"
    )
    assert windows >= 60
    assert usd is None or math.isnan(usd)
    assert level is None or math.isnan(level)
