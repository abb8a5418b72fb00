"""The power tree of a scenario on paper: its nodes, their budgets, and what they can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from factory.scenario import Catalog, Facility, Scenario, SystemSpec

Level = Literal["facility", "row", "rack", "node"]


@dataclass(frozen=True, slots=True)
class NodePlace:
    """One node of the power tree.

    Attributes:
        name: Its name in the tables, unique in the run.
        level: Where in the tree it is.
        parent: Code of the node above; -1 at the top.
        gpus: GPUs beneath.
        system: System of its GPUs; None where they are mixed.
        design_it_kw: Nameplate: design IT power of what is beneath, kW.
        budget_kw: IT power budget, kW; None without one.
        usable_kw: The least of its budget, its nameplate and what is usable beneath it, kW.
        group: Number of its rack group; -1 above racks.
    """

    name: str
    level: Level
    parent: int
    gpus: int
    system: str | None
    design_it_kw: float
    budget_kw: float | None
    usable_kw: float
    group: int = -1

    @property
    def stranded_kw(self) -> float:
        """What of its own budget nothing beneath it can draw, kW."""
        return 0.0 if self.budget_kw is None else max(self.budget_kw - self.usable_kw, 0.0)


@dataclass(frozen=True, slots=True)
class PowerPlaces:
    """All nodes, by code: the facility (0), then rows, racks, and servers or trays.

    Attributes:
        nodes: The nodes.
        racks: Code of each rack.
        servers: Codes of the servers of each rack, in order; none where they are no nodes.
    """

    nodes: tuple[NodePlace, ...]
    racks: tuple[int, ...]
    servers: tuple[tuple[int, ...], ...]


def row_copies(facility: Facility) -> tuple[tuple[int, int], ...]:
    """(number of the row, copy of it) of all rows, in order of their codes."""
    return tuple(
        (number, copy) for number, row in enumerate(facility.rows) for copy in range(row.count)
    )


def rows_of_racks(facility: Facility) -> tuple[int, ...]:
    """Which of `row_copies` each rack stands in; -1 for the facility itself.

    The racks of a group go in blocks over the copies of its row, as even as can be; what does not
    come out even goes to the copies that have the fewest racks of groups before, the first of them.
    """
    copies = row_copies(facility)
    racks: list[int] = []
    held = [0] * len(copies)
    names = [row.name for row in facility.rows]
    for group in facility.racks:
        if group.row is None:
            racks += [-1] * group.count
            continue
        own = [i for i, (row, _) in enumerate(copies) if names[row] == group.row]
        each, rest = divmod(group.count, len(own))
        emptiest = sorted(own, key=lambda i: (held[i], i))[:rest]
        for i in own:
            share = each + (i in emptiest)
            held[i] += share
            racks += [i] * share
    return tuple(racks)


def power_places(scenario: Scenario, catalog: Catalog, rack_group: Sequence[int]) -> PowerPlaces:
    """The nodes of the power tree of one cell.

    Args:
        scenario: Its rack groups and rows must be known.
        catalog: What its names refer to.
        rack_group: Rack group of each rack, in order.
    """
    facility = scenario.facility
    copies = row_copies(facility)
    rows = rows_of_racks(facility)
    groups = facility.racks
    first_rack = 1 + len(copies)
    racks: list[NodePlace] = []
    servers: list[NodePlace] = []
    server_codes: list[tuple[int, ...]] = []
    seen = [0] * len(groups)
    for rack, number in enumerate(rack_group):
        group = groups[number]
        system = catalog.systems[group.system]
        name = f"{group.name}-{seen[number]}"
        seen[number] += 1
        own: list[NodePlace] = []
        if group.node_budget_kw is not None or facility.power_tables == "node":
            own = _servers(name, first_rack + rack, number, system, group.node_budget_kw)
        first = first_rack + len(rack_group) + len(servers)
        server_codes.append(tuple(range(first, first + len(own))))
        servers += own
        design_kw = system.gpus_per_rack * system.design_it_kw_per_gpu
        beneath_kw = sum(node.usable_kw for node in own) if own else design_kw
        usable_kw = min(beneath_kw, group.budget_kw or beneath_kw)
        racks.append(
            NodePlace(
                name, "rack", 1 + rows[rack], system.gpus_per_rack, group.system, design_kw,
                group.budget_kw, usable_kw, number,
            )
        )  # fmt: skip
    made: list[NodePlace] = []
    for code, (number, copy) in enumerate(copies, start=1):
        row = facility.rows[number]
        name = row.name if row.count == 1 else f"{row.name}-{copy}"
        beneath = [rack for rack in racks if rack.parent == code]
        made.append(_above(name, "row", 0, beneath, row.budget_kw))
    top = made + [rack for rack in racks if rack.parent == 0]
    root = _above(facility.name, "facility", -1, top, facility_it_kw(scenario))
    nodes = (root, *made, *racks, *servers)
    codes = tuple(range(first_rack, first_rack + len(racks)))
    return PowerPlaces(nodes, codes, tuple(server_codes))


def facility_it_kw(scenario: Scenario) -> float | None:
    """IT power that ``facility.budget_mw`` leaves to one cell, kW.

    The budget is of all cells, behind the PUE; None without one.
    """
    budget_mw = scenario.facility.budget_mw
    if budget_mw is None:
        return None
    return budget_mw * 1e3 / scenario.cells.count / (scenario.facility.pue or 1.0)


def _servers(
    rack: str, code: int, group: int, system: SystemSpec, budget_kw: float | None
) -> list[NodePlace]:
    """The servers or trays of a rack; the last has fewer GPUs if they do not come out even."""
    nodes = []
    for number, first in enumerate(range(0, system.gpus_per_rack, system.gpus_per_node)):
        gpus = min(system.gpus_per_node, system.gpus_per_rack - first)
        design_kw = gpus * system.design_it_kw_per_gpu
        usable_kw = min(design_kw, budget_kw or design_kw)
        nodes.append(
            NodePlace(
                f"{rack}/node-{number}", "node", code, gpus, system.name, design_kw, budget_kw,
                usable_kw, group,
            )
        )  # fmt: skip
    return nodes


def _above(
    name: str, level: Level, parent: int, beneath: Sequence[NodePlace], budget_kw: float | None
) -> NodePlace:
    """A node that adds up those beneath it."""
    systems = {node.system for node in beneath}
    usable_kw = sum(node.usable_kw for node in beneath)
    return NodePlace(
        name,
        level,
        parent,
        sum(node.gpus for node in beneath),
        systems.pop() if len(systems) == 1 else None,
        sum(node.design_it_kw for node in beneath),
        budget_kw,
        min(usable_kw, budget_kw or usable_kw),
    )
