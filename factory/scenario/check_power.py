"""Checks of the power tree that need no more than the catalogue: rows, budgets, caps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.deployment import Pool
from factory.scenario.facility import Facility
from factory.scenario.findings import STAND_IN, repeated, unknown
from factory.scenario.schema import Scenario
from factory.scenario.specs import Catalog


def power_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Rows and their racks, names of nodes, declared ratios, and the caps of pools."""
    facility = scenario.facility
    yield from repeated("facility.rows", (row.name for row in facility.rows))
    rows = [row.name for row in facility.rows]
    for index, group in enumerate(facility.racks):
        if group.row is not None:
            yield from unknown(f"facility.racks[{index}].row", "row", group.row, rows)
    yield from _empty_rows(facility)
    yield from _name_clashes(facility)
    yield from _idle_ratios(facility)
    for number, deployment in enumerate(scenario.deployments):
        for position, pool in enumerate(deployment.pools):
            path = f"deployments[{number}].pools[{position}].power"
            yield from _cap_problems(path, pool, scenario, catalog)


def _empty_rows(facility: Facility) -> Iterator[Problem]:
    racks: Counter[str] = Counter()
    for group in facility.racks:
        if group.row is not None:
            racks[group.row] += group.count
    if STAND_IN in racks:
        return
    for index, row in enumerate(facility.rows):
        path, count = f"facility.rows[{index}]", racks[row.name]
        if not count:
            message = f"has no racks: name it in facility.racks[].row ({row.name}), or leave it out"
            yield Problem(path, message)
        elif count < row.count:
            noun = "rack" if count == 1 else "racks"
            message = f"is more rows than the {count} {noun} that stand in them"
            yield Problem(f"{path}.count", message, row.count, f"1 to {count}")


def _name_clashes(facility: Facility) -> Iterator[Problem]:
    """The names of nodes are keys of tables: facility, rows and racks must differ."""
    taken = {
        f"{group.name}-{number}": f"rack {number} of facility.racks[{index}]"
        for index, group in enumerate(facility.racks)
        for number in range(group.count)
    }
    if facility.name in taken:
        message = f"is the name of {taken[facility.name]} too; names must differ"
        yield Problem("facility.name", message, facility.name)
    taken[facility.name] = "the facility"
    for index, row in enumerate(facility.rows):
        nodes = [row.name] if row.count == 1 else [f"{row.name}-{i}" for i in range(row.count)]
        found = next((node for node in nodes if node in taken), None)
        if found is not None and row.name not in {other.name for other in facility.rows[:index]}:
            message = f"gives a row the name {found}, which {taken[found]} has; names must differ"
            yield Problem(f"facility.rows[{index}].name", message, row.name)
        taken |= dict.fromkeys(nodes, f"a row of facility.rows[{index}]")


def _idle_ratios(facility: Facility) -> Iterator[Problem]:
    """A declared ratio is over a budget."""
    declared = [("facility", facility.oversubscription_ratio, facility.budget_mw, "budget_mw")]
    declared += [
        (f"facility.rows[{index}]", row.oversubscription_ratio, row.budget_kw, "budget_kw")
        for index, row in enumerate(facility.rows)
    ]
    declared += [
        (f"facility.racks[{index}]", group.oversubscription_ratio, group.budget_kw, "budget_kw")
        for index, group in enumerate(facility.racks)
    ]
    for path, ratio, budget, field in declared:
        if ratio is not None and budget is None:
            message = f"is over a budget, and there is none: state {path}.{field}, or leave it out"
            yield Problem(f"{path}.oversubscription_ratio", message, ratio)


def _cap_problems(path: str, pool: Pool, scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """A device cap lies between what the GPU draws idle and its TDP."""
    cap_w = pool.power.cap_w
    group = next((rack for rack in scenario.facility.racks if rack.name == pool.racks), None)
    if cap_w is None or group is None or group.system not in catalog.systems:
        return
    name = catalog.systems[group.system].gpu
    gpu = catalog.gpus[name]
    if cap_w < gpu.idle_loaded_w:
        short_w = gpu.idle_loaded_w - cap_w
        message = f"is {short_w:g} W below what {name} draws idle with a model loaded"
    elif cap_w > gpu.tdp_w:
        message = f"is {cap_w - gpu.tdp_w:g} W above the TDP of {name}: it would never act"
    else:
        return
    allowed = f"{gpu.idle_loaded_w:g} to {gpu.tdp_w:g} W"
    yield Problem(f"{path}.cap_w", message, cap_w, allowed)
