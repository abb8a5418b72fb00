"""Checks of facility.grid that need no file: curtailments, policies, battery, series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from factory.errors import Problem
from factory.scenario.findings import unknown
from factory.scenario.grid import Battery, Curtailment, Grid
from factory.scenario.schema import Scenario
from factory.scenario.series import series_problems

_PATH = "facility.grid"


def grid_problems(scenario: Scenario) -> Iterator[Problem]:
    """What is wrong with facility.grid, as far as the scenario alone tells."""
    grid = scenario.facility.grid
    if grid is None:
        return
    yield from _call_problems(grid.curtailments, scenario.run.duration_s)
    yield from _policy_problems(grid, scenario)
    if grid.battery is not None:
        yield from _battery_problems(grid.battery, grid)
    if grid.ramp_mw_per_min is not None and (
        grid.battery is None or "ramp" not in grid.battery.uses
    ):
        message = "is kept by a battery: give facility.grid.battery with `for: [ramp]`"
        yield Problem(f"{_PATH}.ramp_mw_per_min", message, grid.ramp_mw_per_min)
    if grid.price is not None:
        yield from series_problems(f"{_PATH}.price", grid.price, "USD/MWh")
    if grid.carbon is not None:
        yield from series_problems(f"{_PATH}.carbon", grid.carbon, "g/kWh", 0.0)


def _call_problems(calls: Sequence[Curtailment], duration_s: float | None) -> Iterator[Problem]:
    for number, call in enumerate(calls):
        path = f"{_PATH}.curtailments[{number}]"
        if (call.depth_ratio is None) == (call.limit_mw is None):
            given = "neither" if call.limit_mw is None else "both"
            yield Problem(path, "must give exactly one of depth_ratio and limit_mw", given)
        if duration_s is not None and call.at_s >= duration_s:
            message = f"must be before the run ends (run.duration_s, {duration_s:g})"
            yield Problem(f"{path}.at_s", message, call.at_s)
        if not number:
            continue
        before = calls[number - 1]
        if call.at_s < before.at_s:
            message = f"comes before curtailments[{number - 1}] ({before.at_s:g}): sort them"
            yield Problem(f"{path}.at_s", message, call.at_s)
        elif call.at_s < before.at_s + before.duration_s:
            message = (
                f"is within curtailments[{number - 1}], which lasts until "
                f"{before.at_s + before.duration_s:g}: only one can hold at a time"
            )
            yield Problem(f"{path}.at_s", message, call.at_s)


def _policy_problems(grid: Grid, scenario: Scenario) -> Iterator[Problem]:
    for policy, count in Counter(grid.policy).items():
        if count > 1:
            yield Problem(f"{_PATH}.policy", "names a policy twice", policy)
    carried = grid.battery is not None and "curtailment" in grid.battery.uses
    if grid.curtailments and not grid.policy and not carried:
        message = "is empty, and no battery is for curtailments: nothing would be done"
        yield Problem(f"{_PATH}.policy", message, None, "cap, shed, pause")
    if "cap" in grid.policy and grid.curtailments and scenario.facility.control.mode == "none":
        message = "cap needs somebody who lowers clocks: facility.control.mode is none"
        yield Problem(f"{_PATH}.policy", message, "cap", "shed, pause, or another control.mode")
    tenants = scenario.workload.tenants
    for number, name in enumerate(grid.shed_tenants):
        path = f"{_PATH}.shed_tenants[{number}]"
        yield from unknown(path, "tenant", name, (tenant.name for tenant in tenants))
    if "shed" not in grid.policy:
        if grid.shed_tenants:
            message = "is for policy: shed; add it, or leave this out"
            yield Problem(f"{_PATH}.shed_tenants", message)
        if grid.shed_running != "finish":
            message = "is for policy: shed; add it, or leave this out"
            yield Problem(f"{_PATH}.shed_running", message, grid.shed_running)
    elif not grid.shed_tenants and len({tenant.priority for tenant in tenants}) == 1:
        message = "must name them: all tenants have one priority, so all would be turned away"
        yield Problem(f"{_PATH}.shed_tenants", message, None, ", ".join(t.name for t in tenants))


def _battery_problems(battery: Battery, grid: Grid) -> Iterator[Problem]:
    path = f"{_PATH}.battery"
    for use, count in Counter(battery.uses).items():
        if count > 1:
            yield Problem(f"{path}.for", "names a use twice", use)
    if not battery.uses:
        yield Problem(f"{path}.for", "is empty", None, "curtailment, ramp, peak")
    if battery.uses == ("curtailment",) and not grid.curtailments:
        message = "is for curtailments, of which there are none: the battery would do nothing"
        yield Problem(f"{path}.for", message, None, "peak, ramp, or facility.grid.curtailments")
    if "ramp" in battery.uses and grid.ramp_mw_per_min is None:
        message = "names ramp: state facility.grid.ramp_mw_per_min"
        yield Problem(f"{path}.for", message)
    if battery.peak_mw is not None and "peak" not in battery.uses:
        message = "is for a battery with `for: [peak]`"
        yield Problem(f"{path}.peak_mw", message, battery.peak_mw)
    if battery.recharge_mw is not None and battery.recharge_mw > battery.power_mw:
        message = f"must be <= power_mw ({battery.power_mw:g})"
        yield Problem(f"{path}.recharge_mw", message, battery.recharge_mw)
    if "ramp" not in battery.uses and battery.initial_ratio == 0.0:
        message = "is empty at the start, to which it goes back: it would never give anything"
        yield Problem(f"{path}.initial_ratio", message, battery.initial_ratio, "above 0")
