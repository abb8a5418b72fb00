"""A replica's plug: where it draws, and the clock that it may run at."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Protocol

from factory.facility.tree import PowerNode

if TYPE_CHECKING:
    from factory.facility.ideal import IdealControl, Ladder, Place


class PowerLoad(Protocol):
    """What the facility sees of a replica."""

    def watts_at(self, clock: float) -> float:
        """Draw at ``clock`` with the work it has or is about to begin, watts."""

    def set_clock(self, now_s: float, clock: float) -> None:
        """Runs at ``clock`` from now on."""

    def suspend(self, now_s: float) -> None:
        """Stops in mid-step and draws what it draws idle, until it is resumed."""

    def resume(self, now_s: float) -> None:
        """Asks for a grant again."""


class Feed:
    """The plug of one replica (see the module).

    Args:
        number: Number of the replica in the run.
        pool: Code of its pool.
        role: Role of its pool.
        gpus: Its GPUs.
        rack: Where they stand.
        shares: Nodes below the rack that they draw on, with the share of each; empty where there
            are no such nodes.
        clocks: Clock ratios that it can run at, rising to its pool's own.
        cap_w: What each of its GPUs may draw, watts: their own firmware sees to that.
        priority: Who is slowed first under a budget: the lowest.
        span_w: Watts of a GPU between which water-filling has its levels, the same for all.

    Attributes:
        load: The replica; set when that is made.
        watts: What its GPUs draw now.
        lock: Highest clock ratio that commands of an operator allow now.
        control: Shares budgets out, if that happens at once; else None.
        is_controlled: Whether anything may ever change its clock: then it asks before it begins.
        is_held: Whether it has work and no power for it.
        places: Where it stands in the budgets above it, from the lowest.
        slowed_by: The ladder that sets its clock, or makes it wait; None at its own clock.
        refused_by: While it is held, the ladder that had no power for it; None if it gave way.
        refused_w: What it asked for more than its idle draw, at its lowest clock, watts.
    """

    __slots__ = (
        "_near", "_own", "cap_w", "clocks", "control", "gpus", "is_controlled", "is_held", "load",
        "lock", "number", "places", "pool", "priority", "rack", "refused_by", "refused_w", "role",
        "shares", "slowed_by", "span_w", "watts",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        pool: int,
        role: str,
        gpus: int,
        rack: PowerNode,
        shares: Sequence[tuple[PowerNode, float]],
        clocks: Sequence[float],
        cap_w: float = inf,
        priority: int = 0,
        span_w: tuple[float, float] = (0.0, 1000.0),
    ) -> None:
        self.number = number
        self.pool = pool
        self.role = role
        self.gpus = gpus
        self.rack = rack
        self.shares = tuple(shares)
        self.clocks = tuple(clocks)
        self.cap_w = cap_w
        self.priority = priority
        self.span_w = span_w
        self.load: PowerLoad
        self.watts = 0.0
        self.lock = 1.0
        self.control: IdealControl | None = None
        self.is_controlled = cap_w < inf
        self.is_held = False
        self.places: list[Place] = []
        self.slowed_by: Ladder | None = None
        self.refused_by: Ladder | None = None
        self.refused_w = 0.0
        self._own = inf
        # Where the last search for a clock ended: the next one starts there.
        self._near = len(self.clocks) - 1
        rack.feeds.append(self)
        for node, _ in self.shares:
            node.feeds.append(self)

    def draw(self, now_s: float, watts: float) -> None:
        """Its GPUs draw ``watts`` from now on."""
        delta_w = watts - self.watts
        if delta_w:
            self.watts = watts
            self.rack.change(now_s, delta_w)
            for node, share in self.shares:
                node.change(now_s, delta_w * share)

    def watts_on(self, node: PowerNode) -> float:
        """What it draws on its rack, or on a node below that, watts."""
        return self.watts * next((share for of, share in self.shares if of is node), 1.0)

    def released(self, now_s: float, *, given: bool) -> None:
        """Its GPUs are given back, or taken again."""
        self.rack.release(now_s, self.pool, self.number, self.gpus, given=given)

    def grant(self, now_s: float) -> float:
        """The clock at which its load may begin the work that `PowerLoad.watts_at` speaks of.

        Returns:
            A clock ratio; 0 if there is no power for it at any clock. Then the load waits, drawing
            what it draws idle, and is resumed when there is.
        """
        self.renew()
        if self.control is None:
            return self.own_clock
        return self.control.grant(now_s, self)

    def renew(self) -> None:
        """Its load's work has changed: what is known of its draws no longer holds."""
        self._own = inf

    @property
    def own_clock(self) -> float:
        """The highest clock that commands and the GPUs' own caps allow."""
        clock = self._own
        if clock == inf:
            clock = self.lock
            if self.cap_w < inf:
                clock = min(clock, self.capped_clock(self.cap_w * self.gpus))
            self._own = clock
        return clock

    def capped_clock(self, watts: float) -> float:
        """The highest clock at which it draws at most ``watts``; the lowest if none does."""
        clocks = self.clocks
        draw = self.load.watts_at
        at = self._near
        top = len(clocks) - 1
        if draw(clocks[at]) <= watts:
            while at < top and draw(clocks[at + 1]) <= watts:
                at += 1
        else:
            while at > 0 and draw(clocks[at]) > watts:
                at -= 1
        self._near = at
        return clocks[at]

    def water_clock(self, height: float) -> float:
        """The highest clock at which it draws no more per GPU than the water stands high.

        Args:
            height: Share of the way up `span_w`, 0 to 1.
        """
        low_w, high_w = self.span_w
        return self.capped_clock((low_w + (high_w - low_w) * height) * self.gpus)

    def set_lock(self, now_s: float, clock: float) -> None:
        """A command allows clocks up to ``clock`` from now on, and acts at once."""
        if clock == self.lock:
            return
        self.lock = clock
        self._own = inf
        if self.control is not None:
            self.control.renewed(now_s, self)
        else:
            self.load.set_clock(now_s, self.own_clock)
