"""Power and energy in the summary, against the views and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hand_made_run as by_hand
import pytest

from factory.economics import summarize
from factory.economics.power import parameter
from factory.economics.remarks import budget_remarks
from factory.records.query import query
from factory.records.reader import RunReader


@pytest.fixture(scope="module", params=[1.0, 2.5], ids=["a cell", "2.5 cells each"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def odd(streams: dict, dims: dict) -> None:
        dims["fact_runs"][0] |= {"cells": 5, "cells_simulated": 2} if request.param > 1 else {}
        dims["fact_run_parameters"].append(
            {"path": "facility.grid.battery.efficiency_ratio", "value": "0.9"}
        )
        row = list(streams["fact_grid"][1])
        row[3:7] = [row[2] + 3000.0, 5000.0, 2000.0, 9000.0]
        streams["fact_grid"][1] = tuple(row)
        streams["fact_demand_meter"] = [
            (0, 0.0, 20.0, 70000.0, 1),
            (1, 20.0, by_hand.END_S, 70000.0, 1),
        ]

    where = tmp_path_factory.mktemp("runs") / "run"
    return by_hand.write(where, odd, weight=request.param)


def asked(run: Path, sql: str) -> list[dict[str, Any]]:
    answer = query(run, sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def test_energy_by_cause_is_that_of_the_view(run: Path) -> None:
    energy = summarize(run)["energy"]
    rows = asked(run, "SELECT * FROM v_energy_by_cause")
    view = {row["cause"]: row["energy_kwh"] for row in rows}
    assert energy["by_cause"] == pytest.approx(view, rel=1e-12, abs=1e-15)
    assert sum(energy["by_cause"].values()) == pytest.approx(energy["grid_kwh"], rel=1e-12)
    for name in ("electricity_usd", "emissions_g"):
        assert energy[name] == pytest.approx(sum(row[name] for row in rows), rel=1e-12)
    assert energy["gpu_idle_kwh"] == energy["by_cause"]["gpu_idle"]


def test_power_is_that_of_the_views(run: Path) -> None:
    power = summarize(run)["power"]
    (demand,) = asked(run, "SELECT * FROM v_peak_demand")
    assert power["peak_15min_grid_kw"] == demand["peak_15min_grid_kw"]
    assert power["peak_15min_local"] == demand["quarter_local"]
    (contract,) = asked(run, "SELECT * FROM v_stranded WHERE level = 'contract'")
    assert power["stranded_facility_kw"] == pytest.approx(contract["stranded_mw"] * 1e3, rel=1e-12)
    grid = asked(run, "SELECT * FROM v_grid WHERE is_measured")
    mean = sum(row["grid_kw"] * row["window_s"] for row in grid) / 20.0
    assert power["mean_grid_kw"] == pytest.approx(mean, rel=1e-12)
    assert power["peak_1s_grid_kw"] == max(row["peak_1s_grid_kw"] for row in grid)
    down = asked(run, "SELECT availability_ratio FROM v_availability WHERE pool IS NULL")
    assert summarize(run)["availability"]["availability_ratio"] == down[0]["availability_ratio"]


def test_limits_and_what_was_capped_by_hand(tmp_path: Path) -> None:
    power = summarize(by_hand.write(tmp_path / "run"))["power"]
    # Rack b-0 was capped for 2 of 10 s in each of two windows.
    assert (power["capped_s"], power["capped_ratio"]) == (4.0, pytest.approx(0.2))
    assert (power["braked_s"], power["dark_ratio"], power["curtailed_s"]) == (0.0, 0.0, 0.0)
    assert power["tightest"] == {
        "power_node": "b-0",
        "headroom_ratio": pytest.approx(0.1 / 1.7),
    }
    assert (power["limit_it_kw"], power["mean_headroom_it_kw"]) == (None, None)
    assert power["pue_ratio"] == pytest.approx(1.25)
    assert power["usable_it_kw"] == pytest.approx(3.4)
    assert power["peak_15min_grid_kw"] is None


def test_a_facility_with_a_limit_has_headroom(tmp_path: Path) -> None:
    def limited(streams: dict, _: dict) -> None:
        row = list(streams["fact_power"][1])
        row[9:11] = [3500.0, 3000.0]  # limit_w, headroom_j of window 1
        streams["fact_power"][1] = tuple(row)

    power = summarize(by_hand.write(tmp_path / "run", limited))["power"]
    assert power["limit_it_kw"] == pytest.approx(3.5)
    assert power["mean_headroom_it_kw"] == pytest.approx(0.3)


def test_without_series_there_is_no_bill(tmp_path: Path) -> None:
    def unpriced(streams: dict, _: dict) -> None:
        streams["fact_grid"] = [(*row[:-4], *(float("nan"),) * 4) for row in streams["fact_grid"]]

    energy = summarize(by_hand.write(tmp_path / "run", unpriced))["energy"]
    names = ("electricity_usd", "paid_usd_per_mwh", "emissions_g", "carbon_g_per_kwh")
    assert [energy[name] for name in names] == [None] * 4
    assert energy["grid_kwh"] == pytest.approx(8e4 / 3.6e6)


def test_a_parameter_is_read_by_its_path(tmp_path: Path) -> None:
    reader = RunReader(by_hand.write(tmp_path / "run"))
    assert parameter(reader, "facility.pue") == "1.25"
    assert parameter(reader, "prices") is None
    assert parameter(reader, "no.such") is None


def test_the_facilitys_peak_has_no_battery(tmp_path: Path) -> None:
    def battery(streams: dict, _: dict) -> None:
        row = list(streams["fact_grid"][1])
        row[3:8] = [row[2] + 3000.0, 5000.0, 2000.0, 9000.0, 9100.0]
        streams["fact_grid"][1] = tuple(row)
        last = list(streams["fact_grid"][2])
        last[6] = 3.6e6
        streams["fact_grid"][2] = tuple(last)

    summary = summarize(by_hand.write(tmp_path / "run", battery))
    power, energy = summary["power"], summary["energy"]
    assert power["peak_1s_grid_kw"] == pytest.approx(9.1)
    assert power["peak_1s_facility_kw"] == pytest.approx(3.2 * 1.25)
    assert energy["battery_charged_kwh"] == pytest.approx(5000 / 3.6e6)
    assert energy["battery_level_kwh"] == pytest.approx(1.0)


def test_a_budget_that_was_passed_is_told(tmp_path: Path) -> None:
    def over(streams: dict, dims: dict) -> None:
        dims["fact_run_parameters"].append({"path": "facility.control.mode", "value": "none"})
        for index, peak_w in ((9, 2000.0), (10, 1800.0)):  # b-0, windows 1 and 2: 1.6 kW, of 1.7
            row = list(streams["fact_power"][index])
            row[7] = peak_w
            streams["fact_power"][index] = tuple(row)

    power = summarize(by_hand.write(tmp_path / "run", over))["power"]
    (row,) = power["above_budget"]
    assert (row["power_node"], row["windows"], row["window_s"]) == ("b-0", 2, 20.0)
    assert (row["most_it_kw"], row["mean_window_s"]) == (pytest.approx(0.3), 0.0)
    (remark,) = budget_remarks(power)
    assert remark.startswith(
        "power node b-0 drew more than its budget of 1.7 kW (IT) in 2 windows (20 s): by 0.3 kW"
    )
    assert "facility.control.mode none" in remark
    assert budget_remarks(summarize(by_hand.write(tmp_path / "kept"))["power"]) == []
