"""What is wrong with the grid's side of a facility that files and racks must tell."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from factory.errors import InputError, Problem
from factory.power.overhead import overhead
from factory.power.rack import idle_rack_w, most_rack_w
from factory.scenario import Catalog, RackGroup, Scenario
from factory.scenario.check_cooling import COLDEST_C, HOTTEST_C
from factory.scenario.grid import Curtailment, Grid
from factory.scenario.series import Series, Table, covering_problem, table_of
from factory.simulation.site_builder import steps_of


def site_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Series that cannot be used, and curtailments that nothing can keep.

    Args:
        scenario: From `factory.scenario.load`, with defaults filled in.
        catalog: What its names refer to.
    """
    facility = scenario.facility
    places: list[tuple[str, Series | None, float, float]] = [
        ("facility.cooling.temperature", facility.cooling.temperature, COLDEST_C, HOTTEST_C)
    ]
    grid = facility.grid
    if grid is not None:
        places += [
            ("facility.grid.price", grid.price, -inf, inf),
            ("facility.grid.carbon", grid.carbon, 0.0, inf),
        ]
    problems = [
        problem
        for path, section, least, most in places
        if section is not None
        for problem in _series_problems(path, section, least, most, scenario)
    ]
    yield from problems
    if grid is not None and not problems:
        for number, call in enumerate(grid.curtailments):
            path = f"facility.grid.curtailments[{number}]"
            yield from _depth_problems(path, call, grid, scenario, catalog)


def _series_problems(
    path: str, section: Series, least: float, most: float, scenario: Scenario
) -> Iterator[Problem]:
    try:
        table: Table = table_of(section, scenario.run.epoch_at)
    except InputError as error:
        yield Problem(f"{path}.path", str(error))
        return
    yield from covering_problem(path, section, table, scenario.run.duration_s)
    if section.value is not None:
        return  # the scenario's own checks have judged it
    lowest, highest = min(table.values), max(table.values)
    if lowest < least:
        message = f"falls to {lowest:.6g}; it must be >= {least:g}"
        yield Problem(path, message, section.path or section.shape)
    if highest > most:
        message = f"rises to {highest:.6g}; it must be <= {most:g}"
        yield Problem(path, message, section.path or section.shape)


def _depth_problems(
    path: str, call: Curtailment, grid: Grid, scenario: Scenario, catalog: Catalog
) -> Iterator[Problem]:
    """A limit below what idle racks draw, with all that the battery can give.

    A depth is a share of what is drawn before, of which only the most is known.
    """
    law = overhead(scenario.facility)
    coldest_c = hottest_c = 0.0
    if scenario.facility.cooling.kind != "constant":
        warm = steps_of(scenario.facility.cooling.temperature, scenario)
        coldest_c = min(value for *_, value in warm.spans(call.at_s, call.at_s + call.duration_s))
        from_s = max(call.at_s - call.notice_s - grid.baseline_s, 0.0)
        # A baseline is never without a moment: at the start of the run it is that of then.
        before = warm.spans(from_s, max(call.at_s - call.notice_s, from_s + 1.0))
        hottest_c = max(value for *_, value in before)
    rested = "pause" in grid.policy
    idle_mw = law.watts(_idle_w(scenario, catalog, rested=rested), coldest_c) / 1e6
    battery_mw = 0.0
    battery = grid.battery
    if battery is not None and "curtailment" in battery.uses:
        hours = call.duration_s / 3600.0
        battery_mw = min(battery.power_mw, battery.capacity_mwh * battery.start_ratio / hours)
    state = "with every replica at rest" if rested else "idle"
    with_battery = f" with {battery_mw:.4g} MW of the battery" if battery_mw else ""
    below = f"{idle_mw:.4g} MW that the facility draws {state}{with_battery}: no policy can keep it"
    if call.limit_mw is not None and call.limit_mw + battery_mw < idle_mw:
        short_mw = idle_mw - call.limit_mw - battery_mw
        message = f"is {short_mw:.4g} MW below the {below}"
        allowed = f"at least {idle_mw - battery_mw:.4g}"
        yield Problem(f"{path}.limit_mw", message, call.limit_mw, allowed)
    if call.depth_ratio is not None:
        most_mw = law.watts(_most_w(scenario, catalog), hottest_c) / 1e6
        left_mw = (1.0 - call.depth_ratio) * most_mw
        if left_mw + battery_mw < idle_mw:
            short_mw = idle_mw - left_mw - battery_mw
            message = (
                f"leaves {left_mw:.4g} MW of the {most_mw:.4g} MW that all replicas draw at most, "
                f"{short_mw:.4g} MW below the {below}"
            )
            deepest = max(1.0 - (idle_mw - battery_mw) / most_mw, 0.0)
            allowed = f"at most {int(deepest * 1e4) / 1e4:g}"
            yield Problem(f"{path}.depth_ratio", message, call.depth_ratio, allowed)


def _idle_w(scenario: Scenario, catalog: Catalog, *, rested: bool) -> float:
    """IT power of all cells with nothing to do, W; replicas at rest have nothing loaded."""
    total_w = 0.0
    for group in scenario.facility.racks:
        system = catalog.systems[group.system]
        gpu = catalog.gpus[system.gpu]
        total_w += group.count * idle_rack_w(system, gpu)
        if not rested:
            total_w += _used_gpus(group, scenario) * (gpu.idle_loaded_w - gpu.idle_bare_w)
    return total_w * scenario.cells.count


def _most_w(scenario: Scenario, catalog: Catalog) -> float:
    """The most that all cells draw behind their power supplies, W.

    The rest of a rack is convex in its GPUs' draw, so that racks in part full are bounded by so
    many full ones and idle ones.
    """
    total_w = 0.0
    for group in scenario.facility.racks:
        system = catalog.systems[group.system]
        gpu = catalog.gpus[system.gpu]
        idle_w = idle_rack_w(system, gpu)
        full = _used_gpus(group, scenario) / system.gpus_per_rack
        total_w += group.count * idle_w + full * (most_rack_w(system, gpu) - idle_w)
    return total_w * scenario.cells.count


def _used_gpus(group: RackGroup, scenario: Scenario) -> int:
    """GPUs of one cell's racks that replicas hold."""
    return sum(
        pool.gpus
        for deployment in scenario.deployments
        for pool in deployment.pools
        if pool.racks == group.name
    )
