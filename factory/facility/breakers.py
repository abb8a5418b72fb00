"""Breakers: they open after as much overload as their curve tolerates, and darken what is beneath.

A breaker follows the power of its node. Power is constant between changes, so that the instant at
which it opens is exact: a timer, moved at each change. A change that leaves the node at or below
the rating costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from factory.facility.machines import Machine, fail_together
from factory.facility.tree import PowerNode
from factory.kernel import CLASS_POWER, Kernel
from factory.power.breaker_curves import BreakerCurve
from factory.records.codes import STATE_TRIPPED

BREAKER_TRIPPED, BREAKER_CLOSED = "breaker_tripped", "breaker_closed"
"""Kinds of rows of ``fact_events`` that a breaker writes."""

TIMERS = 2
"""Owners, among those of power events, that a breaker takes."""

Note = Callable[[float, str, str, float, str], None]
"""Takes (seconds, kind, subject, value, detail) of an event."""


class Breaker:
    """The breaker of one node (see the module).

    Args:
        kernel: The environment.
        owner: The first of `TIMERS` owners among those of power events.
        node: What it protects.
        curve: What it tolerates.
        rating_w: Its own rating, watts of IT power.
        reset_s: Seconds until it is closed again.
        machines: What is beneath.
        note: Takes its events.

    Attributes:
        is_open: Whether it has tripped and is not closed again.
    """

    __slots__ = (
        "_closes", "_curve", "_heat", "_machines", "_node", "_note", "_opens", "_rating_w",
        "_ratio", "_reset_s", "_since_s", "is_open",
    )  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        owner: int,
        node: PowerNode,
        curve: BreakerCurve,
        rating_w: float,
        reset_s: float,
        machines: Sequence[Machine],
        note: Note,
    ) -> None:
        self._node = node
        self._curve = curve
        self._rating_w = rating_w
        self._reset_s = reset_s
        self._machines = tuple(machines)
        self._note = note
        self._heat = 0.0
        self._ratio = 0.0
        self._since_s = 0.0
        self.is_open = False
        self._opens = kernel.timer(CLASS_POWER, owner, self._trip)
        self._closes = kernel.timer(CLASS_POWER, owner + 1, self._close)
        node.watchers.append(self._changed)
        self._changed(0.0, node.power_w)

    def rest(self) -> None:
        """Takes the timers back: the run is over."""
        self._opens.due = inf
        self._closes.due = inf

    def heat(self, now_s: float) -> float:
        """How near it is to opening: 0 is cold, at 1 it opens."""
        return self._curve.heat_after(self._heat, self._ratio, now_s - self._since_s)

    def _changed(self, now_s: float, power_w: float) -> None:
        """The node draws ``power_w`` from now on."""
        if self.is_open or (power_w <= self._rating_w and self._ratio <= 1.0):
            return
        self._heat = self.heat(now_s)
        self._since_s = now_s
        self._ratio = power_w / self._rating_w
        left_s = self._curve.trips_after_s(self._heat, self._ratio)
        if left_s < inf:
            self._opens.set(now_s + left_s)
        else:
            self._opens.due = inf

    def _trip(self, now_s: float) -> None:
        self.is_open = True
        node = self._node
        detail = f"{node.power_w / 1e3:g} kW over {self._rating_w / 1e3:g} kW"
        self._note(now_s, BREAKER_TRIPPED, node.name, self._ratio, detail)
        node.cut(now_s)
        machines = self._machines
        fail_together(machines, now_s, STATE_TRIPPED, [0.0] * len(machines), node.name)
        self._closes.set(now_s + self._reset_s)

    def _close(self, now_s: float) -> None:
        """Someone has closed it; it has cooled, and machines start again."""
        self._heat = 0.0
        self._ratio = 0.0
        self._since_s = now_s
        self.is_open = False
        node = self._node
        self._note(now_s, BREAKER_CLOSED, node.name, 0.0, "machines start again")
        node.restore(now_s)
        for machine in self._machines:
            machine.repair(now_s, STATE_TRIPPED, node.name)
