"""The facility's meter, battery and curtailments, from a scenario; and the rows that they leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan

import numpy as np
from numpy.typing import NDArray

from factory.facility import IdealControl, PowerNode, PowerTree
from factory.facility.agenda import Agenda
from factory.facility.battery import NO_BATTERY, Supply
from factory.facility.curtailment import Call, Curtailments, Means, Rested
from factory.facility.demand_meter import Quarters
from factory.facility.machines import Machine
from factory.facility.site import Site
from factory.facility.site_meter import (
    CHARGED_J,
    CURTAILED_S,
    DISCHARGED_J,
    EXCESS_J,
    FACILITY_J,
    GRAMS,
    GRID_J,
    IT_J,
    USD,
    Meter,
    Metered,
    Outside,
    PlainMeter,
)
from factory.power.battery import BatterySpec
from factory.power.overhead import ConstantPue, overhead
from factory.power.series import Steps, constant, days
from factory.records.cell_names import plain
from factory.records.codes import REJECTED
from factory.records.tables import RunTables
from factory.scenario import Scenario
from factory.scenario.grid import Grid
from factory.scenario.series import Series, table_of
from factory.serving.accounts import Row
from factory.serving.deployment import Deployment
from factory.workload.arrivals.clock import Clock

_MW = 1e6
_J_PER_MWH = 3.6e9


def steps_of(section: Series, scenario: Scenario) -> Steps:
    """A series of a scenario over simulated time; days follow the facility's clock.

    Raises:
        InputError: Its file cannot be used; it names file and line.
    """
    if section.value is not None:
        return constant(section.value)
    table = table_of(section, scenario.run.epoch_at)
    if table.is_day:
        clock = Clock(scenario.run.epoch_at, scenario.facility.time_zone)
        return days(table.starts_s, table.values, clock.stretches())
    return Steps(zip(table.starts_s, table.values, strict=True))


def build_site(
    scenario: Scenario,
    tree: PowerTree,
    control: IdealControl | None,
    deployments: Sequence[Deployment],
    machines: Sequence[Machine],
    agenda: Agenda,
    note: Callable[[Row], None],
    scale: float,
) -> Meter:
    """The meter of a facility, with its battery and its curtailments at work.

    Args:
        scenario: As simulated, every cell written out.
        tree: Its power tree.
        control: Who keeps limits at every instant, if anybody does.
        deployments: In the order of the scenario.
        machines: Every replica as a machine.
        agenda: Keeps appointments.
        note: Takes the rows of ``fact_events``.
        scale: Cells simulated over cells, for what the scenario says of all cells together.
    """
    facility = scenario.facility
    grid = facility.grid or Grid()
    law = overhead(facility, scale)
    outside = _outside(scenario, grid, law)
    quarters = Quarters(scenario.run.epoch_at, facility.time_zone)
    if isinstance(law, ConstantPue) and _is_plain(scenario, grid, quarters):
        return PlainMeter(tree, law.pue, quarters, outside)

    def told(now_s: float, kind: str, value: float, detail: str) -> None:
        note((now_s, kind, tree.root.name, value, detail))

    supply = _supply(scenario, grid, scale, told)
    site = Site(tree.root, law, supply, quarters, outside, grid.response_s)
    if grid.curtailments:
        calls = [
            Call(
                each.at_s,
                each.duration_s,
                each.notice_s,
                None if each.limit_mw is None else each.limit_mw * _MW * scale,
                each.depth_ratio or 0.0,
            )
            for each in grid.curtailments
        ]
        means = _means(scenario, grid, tree, control, deployments, machines)
        Curtailments(calls, site, tree.root, means, agenda, told)
    return site


def _outside(scenario: Scenario, grid: Grid, law: object) -> Outside:
    def steps(section: Series | None) -> Steps | None:
        return None if section is None else steps_of(section, scenario)

    warm = scenario.facility.cooling.temperature
    temperature = None if isinstance(law, ConstantPue) else steps(warm)
    return Outside(temperature, steps(grid.price), steps(grid.carbon))


def _is_plain(scenario: Scenario, grid: Grid, quarters: Quarters) -> bool:
    """Whether the tree's own account by second holds all that the meter needs."""
    if grid.curtailments or grid.battery is not None or not quarters.is_whole:
        return False
    rated = [section for section in (grid.price, grid.carbon) if section is not None]
    if not rated:
        return True
    tables = [table_of(section, scenario.run.epoch_at) for section in rated]
    starts = [start for table in tables for start in table.starts_s]
    return float(scenario.run.window_s).is_integer() and all(map(float.is_integer, starts))


def _supply(
    scenario: Scenario, grid: Grid, scale: float, told: Callable[[float, str, float, str], None]
) -> Supply:
    details = {
        "battery_empty": "kW that the facility draws",
        "battery_full": "kW that the facility draws",
        "ramp_missed": "kW by which grid power jumps: the battery cannot carry the difference",
    }

    def heard(now_s: float, kind: str, watts: float) -> None:
        told(now_s, kind, watts / 1e3, details[kind])

    battery = grid.battery
    if battery is None:
        return Supply(NO_BATTERY, heard)
    capacity_j = battery.capacity_mwh * _J_PER_MWH * scale
    spec = BatterySpec(
        capacity_j,
        battery.power_mw * _MW * scale,
        battery.efficiency_ratio,
        capacity_j * battery.start_ratio,
    )
    ramp_w_per_s = peak_w = recharge_w = inf
    if "ramp" in battery.uses and grid.ramp_mw_per_min is not None:
        ramp_w_per_s = grid.ramp_mw_per_min * _MW / 60.0 * scale
    if "peak" in battery.uses:
        # What is contracted has been scaled with the cells already.
        if battery.peak_mw is not None:
            peak_w = battery.peak_mw * _MW * scale
        elif scenario.facility.contracted_mw is not None:
            peak_w = scenario.facility.contracted_mw * _MW
    if battery.recharge_mw is not None:
        recharge_w = battery.recharge_mw * _MW * scale
    return Supply(spec, heard, ramp_w_per_s, peak_w, recharge_w)


def _means(
    scenario: Scenario,
    grid: Grid,
    tree: PowerTree,
    control: IdealControl | None,
    deployments: Sequence[Deployment],
    machines: Sequence[Machine],
) -> Means:
    shed = give_up = None
    if "shed" in grid.policy:
        tenants = _shed_tenants(scenario, grid)
        shed = _shedding(deployments, tenants)
        if grid.shed_running == "give_up":
            give_up = _giving_up(deployments, tenants)
    rested: list[Rested] = []
    if "pause" in grid.policy:
        feeds = {feed.number: feed for rack in tree.racks for feed in rack.feeds}
        rested = [Rested(machine, feeds[machine.number]) for machine in machines]
    return Means(
        cap=_capping(tree.root, control) if "cap" in grid.policy else None,
        shed=shed,
        give_up=give_up,
        machines=rested,
        battery=grid.battery is not None and "curtailment" in grid.battery.uses,
        baseline_s=grid.baseline_s,
        check_s=grid.pause_check_s,
    )


def _capping(root: PowerNode, control: IdealControl | None) -> Callable[[float, float], None]:
    def cap(now_s: float, it_w: float) -> None:
        limit_w = min(it_w, root.rating_w)
        if control is not None:
            # What is drawn idle cannot be taken away: the site's meter counts it as excess.
            control.set_limit(now_s, root, max(limit_w, control.least_w(root)))
        else:
            root.set_limit(now_s, limit_w)

    return cap


def _shed_tenants(scenario: Scenario, grid: Grid) -> frozenset[int]:
    """Those named, in every cell, or those of the lowest priority."""
    tenants = scenario.workload.tenants
    named = grid.shed_tenants
    lowest = min(tenant.priority for tenant in tenants)
    return frozenset(
        number
        for number, tenant in enumerate(tenants)
        if (plain(tenant.name) in named if named else tenant.priority == lowest)
    )


def _shedding(
    deployments: Sequence[Deployment], tenants: frozenset[int]
) -> Callable[[float, bool], None]:
    def shed(now_s: float, is_on: bool) -> None:  # noqa: ARG001 - as `Means.shed`
        for deployment in deployments:
            deployment.barred = tenants if is_on else frozenset()

    return shed


def _giving_up(
    deployments: Sequence[Deployment], tenants: frozenset[int]
) -> Callable[[float], None]:
    def give_up(now_s: float) -> None:
        for deployment in deployments:
            for sequence in list(deployment.inside):
                if sequence.request.tenant in tenants and sequence in deployment.inside:
                    deployment.abort(sequence, REJECTED, now_s)

    return give_up


def write_site(found: Metered, scenario: Scenario, tables: RunTables, end_s: float) -> None:
    """Writes the rows of the grid's windows and of the demand meter's quarters.

    Args:
        found: What the site's meter says; the tree was closed before.
        scenario: As it was built.
        tables: Takes the rows.
        end_s: End of the run, s.
    """
    facility = scenario.facility
    grid = facility.grid or Grid()
    window_s = tables.constants.window_s
    outside = _outside(scenario, grid, overhead(facility))
    temperature, price, carbon = outside.temperature, outside.price, outside.carbon
    append = tables.appender("fact_grid")
    for index, (row, level_j, limit_w) in enumerate(
        zip(found.windows, found.levels_j, found.limits_w, strict=True)
    ):
        start_s, until_s = index * window_s, min((index + 1) * window_s, end_s)
        span_s = until_s - start_s
        # A window within a second has that second's mean, and at least its own.
        peak_w = _peak(found.grid_w, start_s, (index + 1) * window_s)
        if span_s:
            peak_w = max(peak_w, row[GRID_J] / span_s)
        append(
            (
                index, row[IT_J], row[FACILITY_J], row[GRID_J],
                row[CHARGED_J], row[DISCHARGED_J], nan if grid.battery is None else level_j,
                peak_w, limit_w, row[EXCESS_J], row[CURTAILED_S],
                _mean(temperature, start_s, until_s),
                _mean(price, start_s, until_s), _mean(carbon, start_s, until_s),
                nan if price is None else row[USD],
                nan if carbon is None else row[GRAMS],
            )
        )  # fmt: skip
    append = tables.appender("fact_demand_meter")
    quarters = Quarters(scenario.run.epoch_at, facility.time_zone)
    spans = quarters.spans(end_s)
    for (number, start_s, until_s, is_whole), joules in zip(spans, found.quarters_j, strict=True):
        append((number, start_s, until_s, joules, int(is_whole)))


def _mean(series: Steps | None, start_s: float, until_s: float) -> float:
    return nan if series is None else series.mean(start_s, until_s)


def _peak(watts: NDArray[np.float64], start_s: float, until_s: float) -> float:
    seconds = watts[int(start_s) : int(np.ceil(until_s))]
    return float(seconds.max()) if len(seconds) else 0.0
