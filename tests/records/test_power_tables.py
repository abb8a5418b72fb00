"""Tables and views on power of the run made by hand, each figure in the test's own arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hand_made_run as by_hand
import pyarrow.parquet as pq
import pytest

from factory.economics import summarize
from factory.records.facts import INTERVALS
from factory.records.power_views import ENERGY_CAUSES, LOAD_QUANTILES
from factory.records.query import query
from factory.records.tables import RunTables


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_hand.write(tmp_path_factory.mktemp("runs") / "run")


def rows(run: Path, table: str) -> list[dict[str, Any]]:
    return pq.read_table(run / "tables" / f"{table}.parquet").to_pylist()


def asked(run: Path, sql: str) -> list[dict[str, Any]]:
    answer = query(run, sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def test_a_node_has_its_parts_its_limits_and_its_headroom(run: Path) -> None:
    (rack,) = [
        r for r in rows(run, "fact_power") if (r["power_node"], r["window_index"]) == ("b-0", 1)
    ]
    joules = {"gpu": 12e3, "other": 2.4e3, "loss": 1.6e3, "it": 16e3, "facility": 20e3}
    for part, j in joules.items():
        assert rack[f"energy_{part}_kwh"] == pytest.approx(j / 3.6e6, rel=1e-12)
    assert (rack["mean_it_kw"], rack["peak_1s_it_kw"]) == pytest.approx((1.6, 1.6))
    assert (rack["budget_it_kw"], rack["limit_it_kw"]) == pytest.approx((1.7, 1.7))
    assert rack["mean_headroom_it_kw"] == pytest.approx(0.1)
    assert [rack[f"{what}_s"] for what in ("capped", "braked", "dark", "curtailed")] == [2, 0, 0, 0]
    free = rows(run, "fact_power")[0]
    assert [free[name] for name in ("budget_it_kw", "limit_it_kw", "mean_headroom_it_kw")] == [
        None
    ] * 3


def test_the_grid_by_window(run: Path) -> None:
    grid = rows(run, "fact_grid")
    assert [r["window_s"] for r in grid] == [10.0, 10.0, 10.0, 5.0]
    assert [r["is_measured"] for r in grid] == [False, True, True, False]
    assert grid[3]["energy_grid_kwh"] == pytest.approx(4000 * 5 / 3.6e6)
    assert grid[3]["mean_grid_kw"] == pytest.approx(4.0)
    assert grid[1]["electricity_usd"] == pytest.approx(4000 * 10 / 3.6e9 * 60)
    assert grid[1]["battery_level_kwh"] is None


def metered(tmp_path: Path, zone: str, epoch: datetime, *starts_s: float) -> list[dict[str, Any]]:
    """The demand meter of quarters that begin at some instants, 900 s each."""
    folder = tmp_path / zone.replace("/", "-")
    folder.mkdir()
    constants = by_hand.constants(
        epoch=epoch, time_zone=zone, measured_from_s=0.0, measured_to_s=1e9
    )
    tables = RunTables(folder, constants, by_hand.CODES)
    append = tables.appender("fact_demand_meter")
    for index, start_s in enumerate(starts_s):
        append((index, start_s, start_s + 900.0, 9e8, 1))
    tables.finish(1e9)
    return pq.read_table(folder / "fact_demand_meter.parquet").to_pylist()


def test_quarters_carry_the_clock_of_the_facility(tmp_path: Path) -> None:
    # Clocks in Berlin go back at 01:00 UTC on 25 October 2026, from 03:00 to 02:00.
    epoch = datetime(2026, 10, 25, tzinfo=UTC)
    quarters = metered(tmp_path, "Europe/Berlin", epoch, 900.0, 4500.0)
    assert [q["quarter_local"] for q in quarters] == [
        "2026-10-25 02:15+02:00",
        "2026-10-25 02:15+01:00",
    ]
    assert quarters[1]["start_at"] == epoch + timedelta(seconds=4500)
    assert quarters[1]["mean_grid_kw"] == pytest.approx(1000.0)
    assert quarters[1]["energy_grid_kwh"] == pytest.approx(250.0)


def test_a_zone_of_odd_minutes(tmp_path: Path) -> None:
    (quarter,) = metered(tmp_path, "Asia/Kathmandu", datetime(2026, 1, 1, tzinfo=UTC), 0.0)
    assert quarter["quarter_local"] == "2026-01-01 05:45+05:45"


def test_a_quarter_belongs_where_its_middle_lies(run: Path) -> None:
    (quarter,) = rows(run, "fact_demand_meter")
    # 0 to 35 s, of which 10 to 30 s are measured.
    assert (quarter["is_measured"], quarter["is_whole"]) == (True, False)
    assert quarter["mean_grid_kw"] == pytest.approx(4.0)
    assert asked(run, "SELECT * FROM v_peak_demand")[0]["peak_15min_grid_kw"] is None


def test_the_highest_whole_quarter_is_the_demand(tmp_path: Path) -> None:
    def hours(streams: dict, dims: dict) -> None:
        dims["fact_runs"][0] |= {"measured_to_s": 3600.0, "end_time_s": 3700.0}
        streams["fact_demand_meter"] = [
            (0, 0.0, 900.0, 9e6, 1),
            (1, 900.0, 1800.0, 27e6, 1),
            (2, 1800.0, 2700.0, 18e6, 1),
            (3, 2700.0, 3000.0, 30e6, 0),
        ]

    run = by_hand.write(tmp_path / "run", hours, measured_to_s=3600.0, weight=2.0)
    (peak,) = asked(run, "SELECT * FROM v_peak_demand")
    assert peak["peak_15min_grid_kw"] == pytest.approx(2 * 30.0)
    assert peak["quarter_local"] == "2026-01-01 00:15+00:00"
    assert peak["mean_to_peak_ratio"] == pytest.approx((10 + 30 + 20) / 3 / 30)


def test_energy_by_cause_adds_up_to_the_grid(run: Path) -> None:
    causes = asked(run, "SELECT * FROM v_energy_by_cause")
    kwh = {row["cause"]: row["energy_kwh"] * 3.6e6 for row in causes}
    # Windows 1 and 2: of 8 GPUs at 300 W, those at work are 4 + 29 and 6 + 16 GPU-seconds.
    assert kwh == pytest.approx(
        {
            "gpu_active": 300 * (4 + 28 + 6 + 16),
            "gpu_idle": 300 * (160 - 4 - 28 - 6 - 16),
            "hosts_and_network": 60 * 160,
            "power_supplies": 40 * 160,
            "facility_overhead": 100 * 160,
            "battery_losses": 0,
            "battery_stored": 0,
        }
    )
    assert set(kwh) == set(ENERGY_CAUSES)
    assert sum(kwh.values()) == pytest.approx(4000 * 20)
    assert sum(row["energy_ratio"] for row in causes) == pytest.approx(1.0)
    assert sum(row["electricity_usd"] for row in causes) == pytest.approx(8e4 / 3.6e9 * 60)
    assert sum(row["emissions_g"] for row in causes) == pytest.approx(8e4 / 3.6e6 * 400)


def test_a_battery_takes_its_losses_and_what_it_holds(tmp_path: Path) -> None:
    def charged(streams: dict, dims: dict) -> None:
        dims["fact_run_parameters"].append(
            {"path": "facility.grid.battery.efficiency_ratio", "value": "0.8"}
        )
        row = list(streams["fact_grid"][1])
        row[3:6] = [row[2] + 5000.0 - 2000.0, 5000.0, 2000.0]
        streams["fact_grid"][1] = tuple(row)

    run = by_hand.write(tmp_path / "run", charged)
    sql = "SELECT * FROM v_window_energy WHERE window_index = 1"
    (window,) = asked(run, sql)
    assert window["battery_losses_kwh"] * 3.6e6 == pytest.approx(0.2 * 5000)
    assert window["battery_stored_kwh"] * 3.6e6 == pytest.approx(0.8 * 5000 - 2000)
    parts = sum(window[f"{cause}_kwh"] for cause in ENERGY_CAUSES)
    assert parts == pytest.approx(window["grid_kwh"], rel=1e-12)


def test_load_duration_is_weighted_by_time(tmp_path: Path) -> None:
    def steps(streams: dict, _: dict) -> None:
        for index, (row, watts) in enumerate(
            zip((8, 9, 10, 11), (1e3, 2e3, 3e3, 4e3), strict=True)
        ):
            values = list(streams["fact_power"][row])
            values[5], values[7] = watts * by_hand.WINDOWS_S[index], 1.5 * watts
            streams["fact_power"][row] = tuple(values)

    run = by_hand.write(tmp_path / "run", steps, measured_from_s=0.0, measured_to_s=35.0)
    found = {
        row["quantile_ratio"]: row
        for row in asked(run, "SELECT * FROM v_load_duration WHERE power_node = 'b-0'")
    }
    assert sorted(found) == list(LOAD_QUANTILES)
    # 1, 2 and 3 kW for 10 s each and 4 kW for 5 s: shares up to 0.286, 0.571, 0.857 and 1.
    want = {0: 1, 0.01: 1, 0.05: 1, 0.25: 1, 0.5: 2, 0.75: 3, 0.95: 4, 0.99: 4, 1: 4}
    assert {q: row["mean_it_kw"] for q, row in found.items()} == pytest.approx(want)
    assert found[0.5]["peak_1s_it_kw"] == pytest.approx(3.0)
    assert found[0.25]["exceeded_ratio"] == 0.75


def test_what_of_the_contract_can_be_used(run: Path) -> None:
    found = {row["power_node"]: row for row in asked(run, "SELECT * FROM v_stranded")}
    contract = found["contract"]
    granted = by_hand.DIMS["fact_runs"][0]["contracted_facility_mw"]
    # 3.4 kW of IT at a PUE of 1.25.
    assert contract["usable_mw"] == pytest.approx(3.4 * 1.25 / 1e3)
    assert contract["stranded_mw"] == pytest.approx(granted - 3.4 * 1.25 / 1e3)
    assert contract["peak_1s_mw"] == pytest.approx(0.004)
    assert found["b-0"]["stranded_mw"] == pytest.approx(0.1 / 1e3)
    assert found["b-0"]["why"] == "its GPUs and hosts at their most draw less than its budget"
    assert found["a-0"]["why"] == "no budget of its own"


def test_only_the_facility_and_the_contract_speak_for_all_cells(tmp_path: Path) -> None:
    def cells(_: dict, dims: dict) -> None:
        dims["fact_runs"][0] |= {"cells": 5, "cells_simulated": 2}

    run = by_hand.write(tmp_path / "run", cells, weight=2.5)
    stranded = {row["power_node"]: row for row in asked(run, "SELECT * FROM v_stranded")}
    assert list(stranded) == ["contract", "facility", "a-0", "b-0"]
    assert stranded["b-0"]["granted_mw"] == pytest.approx(1.7 / 1e3)
    assert stranded["b-0"]["stranded_mw"] == pytest.approx(0.1 / 1e3)
    assert stranded["b-0"]["peak_1s_mw"] == pytest.approx(1.6 / 1e3)
    assert stranded["facility"]["usable_mw"] == pytest.approx(2.5 * 3.4 / 1e3)
    assert [stranded[name]["gpus"] for name in ("contract", "facility", "b-0")] == [20, 20, 4]
    for view in ("v_power_nodes", "v_power", "v_load_duration"):
        rows = asked(run, f"SELECT * FROM {view}")
        means = {row["power_node"]: row["mean_it_kw"] for row in rows}
        assert means == pytest.approx({"facility": 2.5 * 3.2, "a-0": 1.6, "b-0": 1.6})
        assert list(means) == ["facility", "a-0", "b-0"]


def test_views_count_from_two_to_ten(tmp_path: Path) -> None:
    def renamed(_: dict, dims: dict) -> None:
        row = dims["dim_power_nodes"][1]
        dims["dim_power_nodes"] += [{**row, "power_node": name} for name in ("a-10", "a-2")]

    run = by_hand.write(tmp_path / "run", renamed)
    names = [row["power_node"] for row in asked(run, "SELECT power_node FROM v_stranded")]
    assert names == ["contract", "facility", "a-0", "a-2", "a-10", "b-0"]


def test_a_budget_above_withholds_power_from_those_beneath(tmp_path: Path) -> None:
    def tight(_: dict, dims: dict) -> None:
        dims["dim_power_nodes"][0] |= {"budget_it_kw": 3.0, "usable_it_kw": 3.0}

    run = by_hand.write(tmp_path / "run", tight)
    (facility,) = asked(run, "SELECT * FROM v_stranded WHERE power_node = 'facility'")
    assert facility["withheld_mw"] == pytest.approx(0.4 / 1e3)
    assert facility["why"] == "its budget is below what is beneath it"


def test_down_time_makes_availability(tmp_path: Path) -> None:
    names = [field.name for field in INTERVALS.raw]

    def down(streams: dict, _: dict) -> None:
        row = list(streams["fact_intervals"][5])  # decode, window 1: 40 GPU-seconds, 11 idle
        row[names.index("gpu_s_idle")] -= 10.0
        for state, gpu_s in (
            ("failed", 4.0),
            ("tripped", 3.0),
            ("maintenance", 2.0),
            ("starting", 1.0),
        ):
            row[names.index(f"gpu_s_{state}")] += gpu_s
        streams["fact_intervals"][5] = tuple(row)

    run = by_hand.write(tmp_path / "run", down)
    found = {row["pool"]: row for row in asked(run, "SELECT * FROM v_availability")}
    assert found["prefill"]["availability_ratio"] == 1.0
    assert found["decode"]["availability_ratio"] == pytest.approx(70 / 80)
    assert found[None]["availability_ratio"] == pytest.approx(110 / 120)
    assert found[None]["gpu_s_restarting"] == 1.0

    def scaled(streams: dict, dims: dict) -> None:
        down(streams, dims)
        streams["fact_events"].append((20.0, "scale_up", "decode", 2.0, ""))

    run = by_hand.write(tmp_path / "scaled", scaled)
    (row,) = asked(run, "SELECT * FROM v_availability WHERE pool = 'decode'")
    assert (row["gpu_s_restarting"], row["availability_ratio"]) == (0.0, pytest.approx(71 / 80))


def test_starts_are_told_by_what_came_before(tmp_path: Path) -> None:
    names = [field.name for field in INTERVALS.raw]

    def down(streams: dict, dims: dict) -> None:
        row = list(streams["fact_intervals"][5])  # decode, window 1: 40 GPU-seconds
        row[names.index("gpu_s_idle")] -= 8.0
        row[names.index("gpu_s_starting")] += 8.0
        streams["fact_intervals"][5] = tuple(row)
        dims["dim_replicas"] = [
            {
                "replica": "decode/0",
                "pool": "decode",
                "deployment": "main",
                "power_node": "b-0",
                "gpus": 4,
                "cell": 0,
            }
        ]
        streams["fact_events"] += [
            (float(at), "restart_began", "decode/0", 4.0, f"after {state}")
            for at, state in enumerate(("failed", "maintenance", "paused", "paused"), start=13)
        ]

    run = by_hand.write(tmp_path / "run", down)
    (row,) = asked(run, "SELECT * FROM v_availability WHERE pool = 'decode'")
    after = {s: row[f"gpu_s_restarting_after_{s}"] for s in ("failed", "tripped", "maintenance")}
    assert after == {"failed": 2.0, "tripped": 0.0, "maintenance": 2.0}
    assert (row["gpu_s_resuming"], row["gpu_s_restarting"]) == (4.0, 4.0)
    assert row["availability_ratio"] == pytest.approx(76 / 80)
    told = summarize(run)["availability"]
    assert told["availability_ratio"] == pytest.approx(116 / 120)
    assert told["restarting_after_maintenance_ratio"] == pytest.approx(2 / 120)
    assert told["resuming_ratio"] == pytest.approx(4 / 120)
