"""Failures: by chance, by a trace, by script. Each takes down what its component carries.

The life of a component alternates: it works for a time drawn from its process, then it is away
until it is repaired or a spare has taken its place. Each component draws from a stream of its own,
named after it, so that designs with the same racks see the same failures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from factory.facility.agenda import Agenda
from factory.facility.faults import Component, Topology
from factory.facility.machines import Machine, fail_together
from factory.facility.spares import Place, SpareUnits
from factory.facility.tree import PowerNode
from factory.records.codes import STATE_FAILED

Note = Callable[[float, str, str, float, str], None]
"""Takes (seconds, kind, subject, value, detail) of an event."""

Draws = Callable[[str, int], np.random.Generator]
"""The random stream of a name, and the chunk of it."""

_CHUNK = 8
"""Lives of a component drawn at a time."""


class Lengths(Protocol):
    """A law of seconds."""

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draws n values."""
        ...


@dataclass(frozen=True, slots=True)
class Process:
    """What breaks by chance, and how.

    Attributes:
        name: Its name.
        mtbf_s: Mean seconds from a repair of a component to its next failure.
        shape: Of a Weibull law of that time; 1 is the exponential law.
        repair_s: Seconds until it works again.
        is_replacement: Whether a spare takes its place.
        stream: What its random streams are named after.
    """

    name: str
    mtbf_s: float
    shape: float
    repair_s: Lengths
    is_replacement: bool = False
    stream: str = "failures"

    def lives(self, component: str, draws: Draws) -> Iterator[tuple[float, float]]:
        """(seconds of work, seconds of repair) of a component, one life after the other."""
        scale_s = self.mtbf_s / math.gamma(1.0 + 1.0 / self.shape)
        name = f"{self.stream}/{self.name}/{component}"
        chunk = 0
        while True:
            numbers = draws(name, chunk)
            works = scale_s * numbers.weibull(self.shape, _CHUNK)
            yield from zip(
                works.tolist(), self.repair_s.sample(numbers, _CHUNK).tolist(), strict=True
            )
            chunk += 1


@dataclass(frozen=True, slots=True)
class Scripted:
    """A fault at a stated time.

    Attributes:
        at_s, duration_s: When, and until it works again, seconds.
        component: What breaks.
        is_replacement: Whether a spare takes its place.
    """

    at_s: float
    duration_s: float
    component: Component
    is_replacement: bool = False


class Failures:
    """Breaks components and mends them (see the module).

    Args:
        agenda: Keeps the times.
        topology: What stands where.
        machines: The machines, as the topology numbers them.
        racks, rows: Power nodes of racks and rows, in the topology's order.
        spares: Units that stand ready, by (rack group, whether they are GPUs).
        note: Takes ``fact_events``.
    """

    __slots__ = (
        "_agenda", "_count", "_machines", "_note", "_owners", "_racks", "_rows", "_spares",
        "_topology",
    )  # fmt: skip

    def __init__(
        self,
        agenda: Agenda,
        topology: Topology,
        machines: Sequence[Machine],
        racks: Sequence[PowerNode],
        rows: Sequence[PowerNode],
        spares: dict[tuple[str, bool], SpareUnits],
        note: Note,
    ) -> None:
        self._agenda = agenda
        self._topology = topology
        self._machines = machines
        self._racks = racks
        self._rows = rows
        self._spares = spares
        self._note = note
        self._owners = 0
        self._count = 0

    def run(self, process: Process, components: Sequence[Component], draws: Draws) -> None:
        """Lets components break by chance; those that no machine needs are left out."""
        for component in components:
            if self._topology.hits(component):
                self._owners += 1
                lives = process.lives(component.name, draws)
                self._live(process, component, lives, self._owners, 0.0)

    def script(self, faults: Sequence[Scripted]) -> None:
        """Lets stated faults happen, in order of time."""
        self._owners += 1
        ordered = iter(sorted(faults, key=lambda fault: fault.at_s))
        self._follow(ordered, self._owners)

    def _follow(self, faults: Iterator[Scripted], owner: int) -> None:
        fault = next(faults, None)
        if fault is None:
            return

        def act(now_s: float) -> None:
            self._follow(faults, owner)
            self._break(
                fault.component, "scripted", fault.duration_s, fault.is_replacement, owner, now_s
            )

        self._agenda.at(fault.at_s, owner, act)

    def _live(
        self,
        process: Process,
        component: Component,
        lives: Iterator[tuple[float, float]],
        owner: int,
        now_s: float,
    ) -> None:
        """A component works from now on."""
        works_s, repair_s = next(lives)

        def act(at_s: float) -> None:
            self._break(
                component,
                process.name,
                repair_s,
                process.is_replacement,
                owner,
                at_s,
                partial(self._live, process, component, lives, owner),
            )

        self._agenda.at(now_s + works_s, owner, act)

    def _break(
        self,
        component: Component,
        why: str,
        repair_s: float,
        is_replacement: bool,
        owner: int,
        now_s: float,
        then: Callable[[float], None] | None = None,
    ) -> None:
        hits = self._topology.hits(component)
        machines = [self._machines[position] for position, _ in hits]
        gpus = sum(len(machine.gpus) for machine in machines)
        self._count += 1
        cause = f"{why} {component.name} {self._count}"
        self._note(now_s, "failed", component.name, float(gpus), f"{why}: GPUs out of service")
        watts = [
            _watts(component.level, machine, share)
            for machine, (_, share) in zip(machines, hits, strict=True)
        ]
        keeps_weights = component.level == "network"
        fail_together(machines, now_s, STATE_FAILED, watts, cause, keeps_weights=keeps_weights)
        for node in self._dark(component):
            node.cut(now_s)

        def whole(at_s: float, swapped: bool) -> None:
            kind = "swapped" if swapped else "repaired"
            self._note(at_s, kind, component.name, at_s - now_s, "seconds since it failed")
            for node in self._dark(component):
                node.restore(at_s)
            for machine in machines:
                machine.repair(at_s, STATE_FAILED, cause)
            if then is not None:
                then(at_s)

        place = Place(owner, whole)
        spares = self._spares_for(component) if is_replacement else None

        def mended(at_s: float) -> None:
            if spares is None:
                whole(at_s, False)
            else:
                spares.back(place, at_s)

        if spares is not None:
            spares.broke(place, now_s)
        self._agenda.at(now_s + repair_s, owner, mended)

    def _dark(self, component: Component) -> tuple[PowerNode, ...]:
        """Nodes of the power tree that have no power while a component is broken."""
        if component.level == "rack":
            return (self._racks[component.number],)
        return (self._rows[component.number],) if component.level == "row" else ()

    def _spares_for(self, component: Component) -> SpareUnits | None:
        """Spares of the component's own kind, or of nodes for a GPU; None if there are none."""
        if component.level not in ("gpu", "node"):
            return None
        group = self._topology.racks[component.number].group
        nodes = self._spares.get((group, False))
        if component.level == "gpu":
            return self._spares.get((group, True), nodes)
        return nodes


def _watts(level: str, machine: Machine, share: float) -> float:
    """What a GPU of a machine draws while a fault holds it, mean over its GPUs.

    Those at fault are off, the others have lost what they had loaded. Behind a broken uplink all go
    on with nothing to do, and without the power of their rack they draw nothing.
    """
    if level in ("rack", "row"):
        return 0.0
    if level == "network":
        return machine.loaded_watts
    if level in ("nvlink_domain", "replica"):
        return machine.bare_watts
    return machine.bare_watts * (1.0 - share)
