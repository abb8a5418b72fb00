"""Blast radius: which replicas a component takes down with it. Pure functions of where they stand.

A GPU takes its replica down, whose other GPUs can do nothing without it. A node or tray takes every
replica with a GPU there: 8 GPUs of an HGX server, 4 of an NVL72 tray, or more where replicas span
trays. An NVLink domain takes those that need it: replicas with several GPUs in it. A rack's power
or its uplink takes all that stand there, a row's power all of its racks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Hits = tuple[tuple[int, float], ...]
"""Machines, by position, and the share of the GPUs of each that the fault is on."""


@dataclass(frozen=True, slots=True)
class RackShape:
    """A rack as faults see it.

    Attributes:
        name: Its name.
        group: Name of its group.
        gpus: GPUs in it.
        node_gpus: GPUs of a node or tray.
        domain_gpus: GPUs of an NVLink domain.
        row: Number of its row; -1 for none.
    """

    name: str
    group: str
    gpus: int
    node_gpus: int
    domain_gpus: int
    row: int = -1


@dataclass(frozen=True, slots=True)
class Component:
    """Something that can break.

    Attributes:
        level: What it is: gpu, node, nvlink_domain, rack, row, network or replica.
        number: Of the rack, row or machine.
        part: Of the rack, where it is a GPU, node or domain of it.
        name: As in a scenario.
    """

    level: str
    number: int
    part: int
    name: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Where everything stands.

    Attributes:
        racks: The racks.
        rows: Name of each row.
        machines: Rack of each machine and its GPUs there.
        names: Name of each machine.
    """

    racks: tuple[RackShape, ...]
    rows: tuple[str, ...]
    machines: tuple[tuple[int, tuple[int, ...]], ...]
    names: tuple[str, ...]
    _by_rack: dict[int, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for position, (rack, _) in enumerate(self.machines):
            self._by_rack.setdefault(rack, []).append(position)

    def component(self, level: str, number: int, part: int = 0) -> Component:
        """A component by what it is."""
        if level == "row":
            name = self.rows[number]
        elif level == "replica":
            name = self.names[number]
        else:
            name = self.racks[number].name
            if level == "network":
                name = f"network/{name}"
            elif level != "rack":
                name += f"/{'domain' if level == 'nvlink_domain' else level}-{part}"
        return Component(level, number, part, name)

    def components(self, level: str, groups: Sequence[str] | None = None) -> Iterator[Component]:
        """All components of a level in these rack groups, by default in all, in order.

        A row counts if a rack of these groups stands in it.
        """
        chosen = [i for i, rack in enumerate(self.racks) if groups is None or rack.group in groups]
        if level == "row":
            for row in sorted({self.racks[rack].row for rack in chosen} - {-1}):
                yield self.component("row", row)
            return
        for rack in chosen:
            shape = self.racks[rack]
            each = {"gpu": 1, "node": shape.node_gpus, "nvlink_domain": shape.domain_gpus}
            count = -(-shape.gpus // each[level]) if level in each else 1
            for part in range(count):
                yield self.component(level, rack, part)

    def hits(self, component: Component) -> Hits:
        """Which machines a component takes down, in order."""
        level, number = component.level, component.number
        if level == "replica":
            return ((number, 1.0),)
        if level == "row":
            racks = [i for i, rack in enumerate(self.racks) if rack.row == number]
            return tuple((machine, 1.0) for rack in racks for machine in self._on(rack))
        if level in ("rack", "network"):
            return tuple((machine, 1.0) for machine in self._on(number))
        shape = self.racks[number]
        each = {"gpu": 1, "node": shape.node_gpus, "nvlink_domain": shape.domain_gpus}[level]
        found = []
        for machine in self._on(number):
            gpus = self.machines[machine][1]
            there = sum(gpu // each == component.part for gpu in gpus)
            if there > (level == "nvlink_domain"):
                found.append((machine, there / len(gpus)))
        return tuple(found)

    def _on(self, rack: int) -> Sequence[int]:
        return self._by_rack.get(rack, ())
