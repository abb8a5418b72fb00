"""The laws over power hold on the run made by hand, and notice the run in which they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hand_made_run as by_hand
import pytest

from factory.records.codes import IN_FLIGHT
from factory.records.columns import Table
from factory.records.fact_power import DEMAND_METER, GRID, POWER
from factory.records.fact_requests import REQUESTS
from factory.records.facts import INTERVALS
from factory.validation.laws import check_run

Change = Callable[[dict, dict], None]
TABLES = {table.name: table for table in (INTERVALS, POWER, GRID, DEMAND_METER)}
B0, B0_BEFORE = 9, 8  # rows of fact_power: rack b-0 in windows 1 and 0


def broken(run: Path) -> set[str]:
    return {law.name for law in check_run(run) if not law.holds}


def detail(run: Path, name: str) -> str:
    return next(law.detail for law in check_run(run) if law.name == name)


def place(table: Table, field: str) -> int:
    return [raw.name for raw in table.raw].index(field)


def put(table: str, row: int, **changes: Any) -> Change:
    """A change of fields of one row."""

    def change(streams: dict, _: dict) -> None:
        values = list(streams[table][row])
        for field, value in changes.items():
            values[place(TABLES[table], field)] = value
        streams[table][row] = tuple(values)

    return change


def together(*changes: Change) -> Change:
    def change(streams: dict, dims: dict) -> None:
        for one in changes:
            one(streams, dims)

    return change


def scenario(**values: Any) -> Change:
    """What the resolved scenario says, by path with `__` for dots."""

    def change(_: dict, dims: dict) -> None:
        dims["fact_run_parameters"] += [
            {"path": path.replace("__", "."), "value": str(value)} for path, value in values.items()
        ]

    return change


@pytest.mark.parametrize(
    ("change", "law"),
    [
        (put("fact_intervals", 5, energy_gpu_j=1.0), "energy_is_sum_of_parts"),
        (put("fact_intervals", 5, energy_it_j=1.0), "energy_is_sum_of_parts"),
        (put("fact_intervals", 5, energy_gpu_idle_j=12001.0), "energy_is_sum_of_parts"),
        (put("fact_power", B0, energy_facility_j=1.0), "energy_is_sum_of_parts"),
        (put("fact_grid", 1, energy_it_j=1.0), "energy_is_sum_of_parts"),
        (put("fact_power", B0, energy_other_j=2401.0), "energy_adds_up_the_tree"),
        (put("fact_power", B0, energy_loss_j=0.0), "energy_adds_up_the_tree"),
        (put("fact_power", 1, energy_gpu_j=24001.0), "energy_adds_up_the_tree"),
        (put("fact_power", B0, peak_1s_it_w=1701.0), "power_within_budget"),
        (put("fact_power", B0, headroom_j=-1.0), "power_within_budget"),
        (put("fact_power", B0, dark_s=10.0), "dark_nodes_draw_nothing"),
        (put("fact_grid", 1, energy_grid_j=40001.0), "grid_energy_by_cause"),
        (put("fact_grid", 1, battery_charged_j=1.0), "grid_energy_by_cause"),
        (put("fact_grid", 1, energy_facility_j=31999.0, energy_grid_j=31999.0),
         "grid_energy_by_cause"),
        (put("fact_grid", 1, battery_charged_j=-1.0, battery_discharged_j=-1.0),
         "grid_energy_by_cause"),
        (put("fact_demand_meter", 0, energy_grid_j=139999.0), "demand_meter_is_grid_energy"),
        (put("fact_demand_meter", 0, is_whole=1), "demand_meter_is_grid_energy"),
        (put("fact_demand_meter", 0, end_s=900.1), "demand_meter_is_grid_energy"),
    ],
)  # fmt: skip
def test_a_law_notices(tmp_path: Path, change: Change, law: str) -> None:
    run = by_hand.write(tmp_path / "run", change)
    assert law in broken(run), detail(run, law)


def test_reactive_control_may_exceed_a_budget(tmp_path: Path) -> None:
    over = put("fact_power", B0, peak_1s_it_w=1701.0)
    run = by_hand.write(tmp_path / "run", together(over, scenario(facility__control__mode="none")))
    assert "power_within_budget" not in broken(run)
    assert detail(run, "power_within_budget").startswith("control is none")


def curtailed(seconds: float, *, peak_w: float) -> Change:
    """Rack b-0 is held to 1.65 kW for so long in windows 0, 1 and 2, with a peak in the middle."""
    rows = []
    for row in (B0_BEFORE, B0, B0 + 1):
        headroom_j = 50.0 * seconds + 100.0 * (10.0 - seconds)
        rows.append(
            put("fact_power", row, limit_w=1650.0, curtailed_s=seconds, headroom_j=headroom_j)
        )
    return together(*rows, put("fact_power", B0, peak_1s_it_w=peak_w))


@pytest.mark.parametrize(
    ("seconds", "peak_w", "holds"),
    [(10.0, 1650.0, True), (10.0, 1651.0, False), (5.0, 1700.0, True)],
    ids=["at the limit", "above it", "above it before it was lowered"],
)
def test_a_limit_that_moves_holds_while_it_does_not(
    tmp_path: Path, seconds: float, peak_w: float, holds: bool
) -> None:
    run = by_hand.write(tmp_path / "run", curtailed(seconds, peak_w=peak_w))
    assert ("power_within_budget" not in broken(run)) is holds


def test_a_dark_rack_draws_nothing(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("energy_gpu_j", "energy_other_j", "energy_loss_j", "energy_it_j"), 0.0)
    run = by_hand.write(
        tmp_path / "run", put("fact_power", B0, dark_s=10.0, peak_1s_it_w=0.0, **nothing)
    )
    assert "dark_nodes_draw_nothing" not in broken(run)
    assert detail(run, "dark_nodes_draw_nothing") == "10 dark seconds, 1 whole windows"


def battery(*levels_j: float, charged_j: float = 5000.0, given_j: float = 2000.0) -> Change:
    """A battery of 80 % that takes and gives in window 1."""
    grid = (
        put("fact_grid", 0, battery_level_j=levels_j[0]),
        put("fact_grid", 1, battery_level_j=levels_j[1], battery_charged_j=charged_j,
            battery_discharged_j=given_j, energy_grid_j=40000.0 + charged_j - given_j),
        put("fact_grid", 2, battery_level_j=levels_j[2]),
        put("fact_grid", 3, battery_level_j=levels_j[3]),
        put("fact_demand_meter", 0, energy_grid_j=140000.0 + charged_j - given_j),
    )  # fmt: skip
    stated = scenario(
        facility__grid__battery__efficiency_ratio=0.8,
        facility__grid__battery__capacity_mwh=1e-5,  # 36 kJ
        facility__grid__battery__power_mw=0.0005,
    )
    return together(*grid, stated)


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (battery(1000.0, 3000.0, 3000.0, 3000.0), True),  # + 0.8 × 5000 − 2000 J
        (battery(1000.0, 4000.0, 4000.0, 4000.0), False),
        (battery(35000.0, 37000.0, 37000.0, 37000.0), False),
        (battery(1000.0, 4200.0, 4200.0, 4200.0, charged_j=5001.0, given_j=800.8), False),
    ],
    ids=["as its efficiency says", "without its loss", "beyond capacity", "beyond power"],
)
def test_a_battery_conserves_energy(tmp_path: Path, change: Change, holds: bool) -> None:
    assert ("battery_conserved" not in broken(by_hand.write(tmp_path / "run", change))) is holds


def test_quarters_follow_one_another(tmp_path: Path) -> None:
    def split(middle_s: float, start_s: float) -> Change:
        def change(streams: dict, _: dict) -> None:
            streams["fact_demand_meter"] = [
                (0, 0.0, middle_s, 4000.0 * middle_s, 0),
                (1, start_s, by_hand.END_S, 4000.0 * (by_hand.END_S - middle_s), 0),
            ]

        return change

    assert broken(by_hand.write(tmp_path / "whole", split(20.0, 20.0))) == set()
    gap = by_hand.write(tmp_path / "gap", split(20.0, 21.0))
    assert broken(gap) == {"demand_meter_is_grid_energy"}


LAW = "request_energy_and_idle_are_gpu_energy"


def test_requests_and_idle_time_draw_all_that_gpus_draw(tmp_path: Path) -> None:
    run = by_hand.write(tmp_path / "run")
    # 84 GPU-seconds of work at 300 W, of 280 in all.
    assert detail(run, LAW) == "25200 J of requests + 58800 J idle, of 84000 J"
    assert LAW in broken(by_hand.write(tmp_path / "less", energy(599.0)))
    assert LAW in broken(by_hand.write(tmp_path / "more", energy(601.0)))


def energy(input_j: float) -> Change:
    """Another energy of the prompt of request 2, which drew 600 J."""

    def change(streams: dict, _: dict) -> None:
        names = [field.name for field in REQUESTS.raw]
        row = list(streams["fact_requests"][3])
        row[names.index("energy_input_j")] = input_j
        streams["fact_requests"][3] = tuple(row)

    return change


def test_requests_in_flight_may_leave_energy_unclaimed(tmp_path: Path) -> None:
    def unfinished(streams: dict, dims: dict) -> None:
        energy(500.0)(streams, dims)
        names = [field.name for field in REQUESTS.raw]
        row = list(streams["fact_requests"][5])
        row[names.index("outcome")] = IN_FLIGHT
        row[names.index("completion_time_s")] = None
        streams["fact_requests"][5] = tuple(row)

    assert LAW not in broken(by_hand.write(tmp_path / "run", unfinished))


def test_nothing_is_down_before_its_event(tmp_path: Path) -> None:
    def tripped(streams: dict, _: dict) -> None:
        put("fact_intervals", 5, gpu_s_tripped=4.0, gpu_s_idle=7.0)(streams, _)

    def told(at_s: float, kind: str) -> Change:
        def change(streams: dict, dims: dict) -> None:
            tripped(streams, dims)
            streams["fact_events"].append((at_s, kind, "b-0", 1.3, ""))

        return change

    law = "down_time_has_events"
    assert broken(by_hand.write(tmp_path / "untold", tripped)) == {law}
    assert broken(by_hand.write(tmp_path / "told", told(12.6, "breaker_tripped"))) == set()
    assert broken(by_hand.write(tmp_path / "late", told(20.0, "breaker_tripped"))) == {law}
    assert broken(by_hand.write(tmp_path / "other", told(12.6, "failed"))) == {law}
