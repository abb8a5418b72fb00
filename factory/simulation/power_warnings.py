"""What of a power tree holds, but is seldom meant: sums above budgets, limits that never act."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from factory.errors import Problem
from factory.power import gpu_watts
from factory.scenario import Catalog, Scenario
from factory.scenario.resolve import design_it_mw
from factory.simulation.names import Layout, lay_out
from factory.simulation.power_checks import one_cell, path_of, pools_of
from factory.units import kilowatts


def power_warnings(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """What a reader of the scenario should look at, each with its place.

    Args:
        scenario: One that passes `factory.simulation.preflight`.
        catalog: What its names refer to.
    """
    cell = one_cell(scenario)
    layout = lay_out(cell, catalog)
    said: set[str] = set()
    for code, node in enumerate(layout.power.nodes):
        path = path_of(cell, layout, code)
        if node.budget_kw is None or path in said:
            continue
        found = [*_nameplate(scenario, layout, code, path), *_sums(scenario, layout, code, path)]
        if found:
            said.add(path)
            yield from found
    facility = scenario.facility
    budget_mw, contracted_mw = facility.budget_mw, facility.contracted_mw
    if budget_mw is not None and contracted_mw is not None and budget_mw > contracted_mw:
        message = f"is above facility.contracted_mw ({contracted_mw:.4g})"
        yield Problem("facility.budget_mw", message, budget_mw)
    yield from _plant(scenario, catalog)
    yield from _pools(scenario, catalog, layout)
    yield from _upgrades(scenario)


def _nameplate(scenario: Scenario, layout: Layout, code: int, path: str) -> Iterator[Problem]:
    node = layout.power.nodes[code]
    budget_kw = node.budget_kw or 0.0
    if budget_kw <= node.design_it_kw * (1.0 + 1e-9):
        return
    given = budget_kw
    said = "is above"
    if node.level == "facility":
        given = scenario.facility.budget_mw or 0.0
        said = f"leaves {kilowatts(budget_kw)} to IT{_one_of(scenario)}, above"
    nameplate = kilowatts(node.design_it_kw)
    message = f"{said} the {nameplate} nameplate of what is beneath: it never binds"
    yield Problem(path, message, given)


def _sums(scenario: Scenario, layout: Layout, code: int, path: str) -> Iterator[Problem]:
    """Budgets of children that add up to more than their parent's, beyond what is declared."""
    node = layout.power.nodes[code]
    children = [child for child in layout.power.nodes if child.parent == code]
    without = sum(child.budget_kw is None for child in children)
    if without == len(children) or node.budget_kw is None:
        return
    total_kw = sum(child.budget_kw or child.usable_kw for child in children)
    ratio = total_kw / node.budget_kw
    declared = _declared(scenario, layout, code)
    if ratio <= (declared or 1.0) * (1.0 + 1e-9):
        return
    levels = {child.level for child in children}
    named = {"row": "rows", "rack": "racks", "node": "servers"}
    kinds = " and ".join(named[level] for level in ("row", "rack", "node") if level in levels)
    if len(children) == 1:
        kinds = kinds.removesuffix("s")
    rest = f" (the nameplate of {without} without one counted in)" if without else ""
    said = "no oversubscription is declared"
    if declared is not None:
        said = f"{declared:g} is declared"
    cell = _one_of(scenario) if node.level == "facility" else ""
    message = (
        f"budgets of the {len(children)} {kinds} of {node.name} add up to {kilowatts(total_kw)}"
        f"{rest}: {ratio:.3g} times the {kilowatts(node.budget_kw)} of IT power{cell} above them, "
        f"and {said}"
    )
    field = f"{path.rpartition('.')[0]}.oversubscription_ratio"
    remedy = f"{field}: {ceil(ratio * 100 - 1e-6) / 100:g} says that it is meant"
    yield Problem(path, f"{message}; {remedy}")


def _one_of(scenario: Scenario) -> str:
    """Says of a share of the facility's that it is one cell's."""
    count = scenario.cells.count
    return f" of one cell of {count}" if count > 1 else ""


def _declared(scenario: Scenario, layout: Layout, code: int) -> float | None:
    facility = scenario.facility
    node = layout.power.nodes[code]
    if node.level == "facility":
        return facility.oversubscription_ratio
    if node.level == "row":
        rows = [row for row in facility.rows for _ in range(row.count)]
        return rows[code - 1].oversubscription_ratio
    return facility.racks[node.group].oversubscription_ratio


def _plant(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """A plant that was built for less than the racks are."""
    cooling = scenario.facility.cooling
    if cooling.kind == "constant" or cooling.design_it_mw is None:
        return
    racks_mw = design_it_mw(scenario.facility, catalog, scenario.cells.count)
    if cooling.design_it_mw < racks_mw * (1.0 - 1e-9):
        message = (
            f"is below the {racks_mw:.4g} MW design IT power of the racks: losses and cooling are "
            "carried on beyond what the plant was built for"
        )
        yield Problem("facility.cooling.design_it_mw", message, cooling.design_it_mw)


def _upgrades(scenario: Scenario) -> Iterator[Problem]:
    """Upgrades that take a whole pool out at once."""
    for number, upgrade in enumerate(scenario.facility.failures.upgrades):
        for deployment in scenario.deployments:
            for pool in deployment.pools:
                is_meant = upgrade.pool == pool.name or upgrade.deployment == deployment.name
                if not is_meant or upgrade.at_once < pool.most_replicas:
                    continue
                message = (
                    f"takes all of pool {pool.name} out at once ({pool.most_replicas} "
                    f"replica{'s' * (pool.most_replicas > 1)}): it serves nothing meanwhile"
                )
                path = f"facility.failures.upgrades[{number}].at_once"
                yield Problem(path, message, upgrade.at_once)


def _pools(scenario: Scenario, catalog: Catalog, layout: Layout) -> Iterator[Problem]:
    nodes = layout.power.nodes
    for (path, pool), place in zip(pools_of(scenario), layout.pools, strict=True):
        name = catalog.systems[scenario.facility.racks[place.group].system].gpu
        gpu = catalog.gpus[name]
        lowest = min(gpu.min_clock_ratio, pool.clock_ratio)
        least_w = gpu_watts(gpu, 1.0, lowest, 1.0, lowest)
        cap_w = pool.power.cap_w
        if cap_w is not None and cap_w < least_w:
            message = (
                f"is below the {least_w:.0f} W that a {name} at full work can draw at its lowest "
                f"clock ({lowest:g}): it runs there, and the cap is not kept"
            )
            yield Problem(f"{path}.power.cap_w", message, cap_w)
        scaling = pool.autoscaling
        if scaling is None or scaling.min_headroom_ratio is None:
            continue
        codes = {layout.power.racks[rack] for rack in place.racks}
        above = codes | {nodes[code].parent for code in codes} | {0}
        if all(nodes[code].budget_kw is None for code in above):
            message = "looks at no budget: neither its racks, their rows nor the facility have one"
            field = f"{path}.autoscaling.min_headroom_ratio"
            yield Problem(field, message, scaling.min_headroom_ratio)
