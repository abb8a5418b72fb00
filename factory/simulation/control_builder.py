"""The operator's loops and the breakers of a run, wired to its power tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from factory.facility import breakers, reactive
from factory.facility.feed import Feed
from factory.facility.machines import Machine
from factory.facility.tree import PowerNode, PowerTree
from factory.kernel import Kernel
from factory.power.breaker_curves import BreakerCurve
from factory.scenario import Scenario
from factory.scenario.power_control import Breaker, LoopTerms, loop_terms
from factory.simulation.power_places import row_copies

_LOOPS = 1 << 24
"""Owners of the loops' timers, among those of power events, begin here."""

_BREAKERS = 1 << 25
"""Owners of the breakers' timers, among those of power events, begin here."""


@dataclass(frozen=True, slots=True)
class Control:
    """What acts on the power tree with delay: loops, and breakers where they came too late."""

    loops: tuple[reactive.Loop, ...]
    breakers: tuple[breakers.Breaker, ...]

    def rest(self) -> None:
        """Takes all timers back: the run is over."""
        for loop in self.loops:
            loop.rest()
        for breaker in self.breakers:
            breaker.rest()


def build_control(
    scenario: Scenario,
    tree: PowerTree,
    feeds: Sequence[Feed],
    machines: Sequence[Machine],
    kernel: Kernel,
    note: reactive.Note,
    goes_on: Callable[[], bool],
) -> Control:
    """Wires loops and breakers; they act by themselves from then on.

    Args:
        scenario: One that passes `preflight`, defaults filled in.
        tree: Its power tree.
        feeds: The plugs of all replicas.
        machines: What a breaker takes down.
        kernel: The environment.
        note: Takes (seconds, kind, subject, value, detail) of events.
        goes_on: Whether the run does: without it no loop takes another sample.
    """
    loops: list[reactive.Loop] = []
    control = scenario.facility.control
    if control.mode == "reactive":
        section = loop_terms(control)
        terms = _terms(section)
        locks = reactive.Locks()
        for node in tree.nodes:
            if node.level in section.levels and node.rating_w < inf:
                beneath = [feed for feed in feeds if node in feed.rack.path()]
                owner = _LOOPS + node.number * reactive.TIMERS
                loop = reactive.Loop(kernel, owner, node, beneath, terms, locks, note, goes_on)
                loops.append(loop)
    made = [
        _breaker(section, node, machines, kernel, note)
        for node, section in _protected(scenario, tree)
    ]
    return Control(tuple(loops), tuple(made))


def _terms(section: LoopTerms) -> reactive.Terms:
    brake = section.brake
    return reactive.Terms(
        interval_s=section.telemetry_s,
        samples=round(section.averaging_s / section.telemetry_s),
        actuation_s=section.actuation_s,
        brake_s=section.brake_s,
        hysteresis_ratio=section.hysteresis_ratio,
        rules=tuple(
            reactive.Rule(
                each.at_ratio, each.clock_ratio, inf if each.priority is None else each.priority
            )
            for each in section.thresholds
        ),
        brake=None if brake is None else reactive.Rule(brake.at_ratio, brake.clock_ratio),
    )


def _protected(scenario: Scenario, tree: PowerTree) -> list[tuple[PowerNode, Breaker]]:
    """The nodes with a breaker."""
    facility = scenario.facility
    sections: dict[str, list[Breaker | None]] = {
        "facility": [facility.breaker],
        "row": [facility.rows[number].breaker for number, _ in row_copies(facility)],
        "rack": [group.breaker for group in facility.racks for _ in range(group.count)],
    }
    found = []
    for level, breaker_of in sections.items():
        nodes = [node for node in tree.nodes if node.level == level]
        for node, section in zip(nodes, breaker_of, strict=True):
            if section is not None:
                found.append((node, section))
    return found


def _breaker(
    section: Breaker,
    node: PowerNode,
    machines: Sequence[Machine],
    kernel: Kernel,
    note: breakers.Note,
) -> breakers.Breaker:
    racks = set(node.racks())
    return breakers.Breaker(
        kernel,
        _BREAKERS + node.number * breakers.TIMERS,
        node,
        BreakerCurve(section.curve, section.cooling_s),
        node.rating_w / section.continuous_ratio,
        section.reset_s,
        [machine for machine in machines if machine.rack in racks],
        note,
    )
