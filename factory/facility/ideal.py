"""Ideal control: no limit of the power tree is passed, not even for an instant.

It knows every draw and acts at once. Each node with a limit has a ladder. At its top everything
beneath runs at full clock; every rung below lowers one replica by one level, in turn, so that those
of a class are never more than one level apart. What a level is, and who is in which class, is the
policy of sharing. A node stands on the highest rung whose sum of draws is within its limit, and a
replica runs at the lowest of the levels that the nodes above it give. So nothing is left unused
that would lift somebody by a level, and a change of one replica's work costs about as many changes
of clock as it is large, not as many as there are replicas.

Where even the lowest level is too much, those that ask wait, in turn, and draw what they draw idle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from factory.facility.feed import Feed
from factory.facility.tree import CAPPED_S, PowerNode
from factory.kernel import CLASS_POWER, Kernel

Share = Literal["water_filling", "equal_clock", "priority", "prefill_first"]

WATER_LEVELS = 20
"""Levels of watts per GPU that water-filling chooses among."""

_RECOUNT = 4096
"""Changes after which a ladder adds its draws up anew, against the drift of rounding."""


@dataclass(slots=True)
class Place:
    """Where a replica stands on a ladder.

    Attributes:
        ladder: The ladder.
        position: Number of the replica there.
        share: Share of its draw that falls on the ladder's node.
    """

    ladder: Ladder
    position: int
    share: float


class Ladder:
    """The rungs of one node with a limit (see the module).

    Args:
        node: The node.
        classes: Who is lowered, the first class first; its members in turn.
        levels: Levels of each replica.

    Attributes:
        feeds: The replicas, class by class from the one that is raised first.
        level: Level of each.
        positions: Position of each.
        heights: How many ladders each stands on, from the lowest up to this one.
        counted_w: Draw of each that the sum holds, on this node.
        total_w: What the node would draw if nothing above it were in the way, watts.
        slowed: Replicas whose clock this ladder sets, or which wait because of it.
    """

    __slots__ = (
        "_changes", "_classes", "_gpu_w", "_it_w", "_levels", "_rack", "_racks", "counted_w",
        "feeds", "heights", "level", "node", "positions", "rung", "slowed", "top", "total_w",
    )  # fmt: skip

    def __init__(self, node: PowerNode, classes: Sequence[Sequence[Feed]], levels: int) -> None:
        self.node = node
        self._levels = levels
        raised = [list(group) for group in reversed(classes) if group]
        self.feeds = [feed for group in raised for feed in group]
        # Of each class: its first rung, its size, the position of its first member.
        self._classes: list[tuple[int, int, int]] = []
        rung = position = 0
        for group in raised:
            self._classes.append((rung, len(group), position))
            rung += len(group) * (levels - 1)
            position += len(group)
        self.rung = self.top = rung
        self.level = [levels - 1] * len(self.feeds)
        self.counted_w = [0.0] * len(self.feeds)
        # What stands between GPUs and IT power: the racks beneath, or the node itself below one.
        self._racks = [node] if node.level == "node" else list(node.racks())
        at = {rack.number: index for index, rack in enumerate(self._racks)}
        below = node.level == "node"
        self._rack = [0 if below else at[feed.rack.number] for feed in self.feeds]
        self._gpu_w: list[float] = []
        self._it_w: list[float] = []
        self.total_w = 0.0
        self._changes = 0
        self.slowed = 0
        self.positions = {feed: index for index, feed in enumerate(self.feeds)}
        for index, feed in enumerate(self.feeds):
            feed.places.append(Place(self, index, _share(feed, node)))
        self.heights = [len(feed.places) for feed in self.feeds]
        self.add_up()

    def add_up(self) -> None:
        """Forms the sums anew."""
        gpu_w = [rack.always_w for rack in self._racks]
        for rack, watts in zip(self._rack, self.counted_w, strict=True):
            gpu_w[rack] += watts
        self._gpu_w = gpu_w
        self._it_w = [rack.it_w(w) for rack, w in zip(self._racks, gpu_w, strict=True)]
        self.total_w = sum(self._it_w)

    def least_w(self) -> float:
        """The sum if all its replicas drew what they do idle, watts."""
        gpu_w = [rack.always_w for rack in self._racks]
        for rack, feed, height in zip(self._rack, self.feeds, self.heights, strict=True):
            gpu_w[rack] += feed.load.watts_at(0.0) * feed.places[height - 1].share
        return sum(rack.it_w(w) for rack, w in zip(self._racks, gpu_w, strict=True))

    def would_add(self, position: int, watts: float) -> float:
        """By how much the sum would grow if a replica drew ``watts`` on this node."""
        delta_w = watts - self.counted_w[position]
        if not delta_w:
            return 0.0
        rack = self._rack[position]
        return self._racks[rack].it_w(self._gpu_w[rack] + delta_w) - self._it_w[rack]

    def count(self, position: int, watts: float) -> None:
        """A replica draws ``watts`` on this node."""
        delta_w = watts - self.counted_w[position]
        if not delta_w:
            return
        self.counted_w[position] = watts
        self._changes += 1
        if not self._changes % _RECOUNT:
            self.add_up()
            return
        rack = self._rack[position]
        gpu_w = self._gpu_w[rack] = self._gpu_w[rack] + delta_w
        it_w = self._racks[rack].it_w(gpu_w)
        self.total_w += it_w - self._it_w[rack]
        self._it_w[rack] = it_w

    def at(self, rung: int) -> int:
        """Position of the replica that the climb from ``rung`` to the next one raises."""
        for first, size, position in reversed(self._classes):
            if rung >= first:
                return position + (rung - first) % size
        raise ValueError(rung)

    @property
    def is_over(self) -> bool:
        """Whether the sum is above the limit."""
        return self.total_w > self.node.limit_w


class IdealControl:
    """Keeps every limit of the tree at every instant (see the module).

    Args:
        nodes: The nodes that have a limit, or may get one.
        feeds: The replicas.
        share: How a limit is shared.
        kernel: The environment.
        note: Told as ``(now_s, kind, node)`` when a node begins and ends to slow somebody down.
    """

    __slots__ = ("_favoured", "_held", "_ladders", "_levels", "_note", "_retry", "_water")

    def __init__(
        self,
        nodes: Sequence[PowerNode],
        feeds: Sequence[Feed],
        share: Share,
        kernel: Kernel,
        note: Callable[[float, str, PowerNode], None],
    ) -> None:
        self._note = note
        self._held: dict[Feed, None] = {}
        self._favoured: Feed | None = None
        self._retry = kernel.timer(CLASS_POWER, 0, self._resume)
        self._water = share == "water_filling"
        self._levels = levels = WATER_LEVELS if self._water else _levels(feeds)
        self._ladders: dict[int, Ladder] = {}
        deepest = sorted(nodes, key=lambda node: (-len(node.path()), node.number))
        for node in deepest:
            beneath = [feed for feed in feeds if _stands_in(feed, node)]
            self._ladders[node.number] = Ladder(node, _classes(beneath, share), levels)
            for rack in node.racks():
                rack.resized.append(self._resized(self._ladders[node.number]))
        for feed in feeds:
            if feed.places:
                feed.control = self
                feed.is_controlled = True
                self._settle(feed)

    # -- what replicas ask ---------------------------------------------------------------------

    def grant(self, now_s: float, feed: Feed) -> float:
        """See `Feed.grant`."""
        was_held = feed in self._held
        feed.is_held = False
        if self._held and not was_held and feed is not self._favoured and self._must_yield(feed):
            self._hold(feed, None)
            self._retry.set(now_s)
        moved = self._settle(feed)
        over = self._over(feed)
        if over is not None and not feed.is_held and self._wants(feed):
            self._hold(feed, over)
            moved |= self._settle(feed)
            over = self._over(feed)
        while over is not None and self._relieve(now_s, over, feed, moved):
            over = self._over(feed)
        self._apply(now_s, moved, feed)
        if feed.is_held:
            return 0.0
        self._held.pop(feed, None)
        if self._held:
            self._retry.set(now_s)
        return self.clock(feed)

    def renewed(self, now_s: float, feed: Feed) -> None:
        """What a replica may draw has changed by command, its work has not."""
        moved = self._settle(feed)
        moved[feed] = None
        self._apply(now_s, moved)

    def set_limit(self, now_s: float, node: PowerNode, limit_w: float) -> None:
        """A node's limit is ``limit_w`` from now on, and is kept from now on.

        Replicas in the middle of a step are suspended if no clock is low enough, those of the
        lowest class first. Idle draw cannot be taken away.
        """
        node.set_limit(now_s, limit_w)
        self._changed(now_s, self._ladders[node.number])

    def least_w(self, node: PowerNode) -> float:
        """What a node draws when every replica beneath it is idle or waits, watts."""
        return self._ladders[node.number].least_w()

    # -- the ladders ---------------------------------------------------------------------------

    def clock(self, feed: Feed) -> float:
        """The clock that a replica may run at."""
        return self._clock_at(feed, self._level(feed, len(feed.places)))

    def _level(self, feed: Feed, places: int) -> int:
        """The lowest of the levels that the first so many ladders give."""
        level = self._levels - 1
        for place in feed.places[:places]:
            own = place.ladder.level[place.position]
            if own < level:
                level = own
        return level

    def _clock_at(self, feed: Feed, level: int) -> float:
        own = feed.own_clock
        if level == self._levels - 1:
            return own
        if not self._water:
            clock = feed.clocks[level]
        else:
            clock = feed.water_clock(level / (self._levels - 1))
        return clock if clock < own else own

    def _draw(self, feed: Feed, level: int) -> float:
        if feed.is_held:
            return feed.load.watts_at(0.0)
        return feed.load.watts_at(self._clock_at(feed, level))

    def _settle(self, feed: Feed) -> dict[Feed, None]:
        """Counts a replica's draw anew on all ladders; returns whose levels have changed."""
        moved: dict[Feed, None] = {}
        for place in feed.places:
            ladder = place.ladder
            ladder.count(place.position, self._on(ladder, place.position))
            if moved:
                self._recount(moved, ladder)
            moved |= self._climb(ladder)
        return moved

    def _spread(self, moved: dict[Feed, None], below: Ladder) -> None:
        """Lets the ladders above one know of the replicas whose levels it has changed."""
        above = below.node.parent
        while above is not None:
            ladder = self._ladders.get(above.number)
            if ladder is not None:
                self._recount(moved, ladder)
                moved |= self._climb(ladder)
            above = above.parent

    def _recount(self, moved: dict[Feed, None], ladder: Ladder) -> None:
        for other in moved:
            position = ladder.positions.get(other)
            if position is not None:
                ladder.count(position, self._on(ladder, position))

    def _climb(self, ladder: Ladder) -> dict[Feed, None]:
        """Goes to the highest rung within the limit; returns whose levels have changed."""
        moved: dict[Feed, None] = {}
        level = ladder.level
        while ladder.total_w > ladder.node.limit_w and ladder.rung > 0:
            ladder.rung -= 1
            position = ladder.at(ladder.rung)
            level[position] -= 1
            feed = ladder.feeds[position]
            ladder.count(position, self._on(ladder, position))
            moved[feed] = None
        while ladder.rung < ladder.top:
            position = ladder.at(ladder.rung)
            level[position] += 1
            feed = ladder.feeds[position]
            watts = self._on(ladder, position)
            if ladder.total_w + ladder.would_add(position, watts) > ladder.node.limit_w:
                level[position] -= 1
                break
            ladder.count(position, watts)
            ladder.rung += 1
            moved[feed] = None
        return moved

    def _on(self, ladder: Ladder, position: int) -> float:
        """What a replica draws on the node of a ladder, at its level there and below."""
        feed = ladder.feeds[position]
        height = ladder.heights[position]
        share = feed.places[height - 1].share
        return share * self._draw(feed, self._level(feed, height))

    # -- what follows --------------------------------------------------------------------------

    def _apply(self, now_s: float, moved: dict[Feed, None], asking: Feed | None = None) -> None:
        """Sets the clocks, those that fall first: no limit is passed on the way."""
        if asking is not None:
            own_w = self._draw(asking, self._level(asking, len(asking.places)))
            if own_w < asking.watts:
                asking.draw(now_s, own_w)
            self._mark(now_s, asking)
        changes = [
            (self.clock(feed), feed) for feed in moved if feed is not asking and not feed.is_held
        ]
        for is_raise in (False, True):
            for clock, feed in changes:
                if (feed.load.watts_at(clock) > feed.watts) is is_raise:
                    feed.load.set_clock(now_s, clock)
        for feed in moved:
            if feed is not asking:
                self._mark(now_s, feed)

    def _mark(self, now_s: float, feed: Feed) -> None:
        """Books a replica with the ladder that slows it down, or makes it wait, if one does."""
        slowest: Ladder | None = feed.refused_by if feed.is_held else None
        if not feed.is_held:
            level = self._levels - 1
            for place in feed.places:
                own = place.ladder.level[place.position]
                if own < level:
                    level, slowest = own, place.ladder
            if slowest is not None:
                clock = self._clock_at(feed, level)
                draw = feed.load.watts_at
                if clock >= feed.own_clock or draw(clock) <= draw(0.0):
                    slowest = None
        before = feed.slowed_by
        if slowest is not before:
            feed.slowed_by = slowest
            for ladder, change in ((before, -1), (slowest, 1)):
                if ladder is not None:
                    ladder.slowed += change
                    self._tell(now_s, ladder)

    def _tell(self, now_s: float, ladder: Ladder) -> None:
        node = ladder.node
        is_capped = ladder.slowed > 0
        if is_capped != node.is_capped:
            node.is_capped = is_capped
            node.mark(now_s, CAPPED_S, on=is_capped)
            self._note(now_s, "cap_began" if is_capped else "cap_ended", node)

    def _over(self, feed: Feed) -> Ladder | None:
        """The first ladder of a replica whose sum is above its limit on the lowest rung."""
        for place in feed.places:
            if place.ladder.is_over:
                return place.ladder
        return None

    def _hold(self, feed: Feed, ladder: Ladder | None) -> None:
        """A replica has to wait, for what a ladder cannot give or for others that go first."""
        draw = feed.load.watts_at
        feed.refused_w = draw(feed.clocks[0]) - draw(0.0)
        feed.refused_by = ladder
        feed.is_held = True
        self._held[feed] = None

    def _relieve(
        self, now_s: float, ladder: Ladder, asking: Feed | None, moved: dict[Feed, None]
    ) -> bool:
        """Suspends who can be, the lowest class first, until a sum is within its limit again."""
        for feed in reversed(ladder.feeds):
            if not ladder.is_over:
                break
            if feed is not asking and not feed.is_held and self._wants(feed):
                self._hold(feed, ladder)
                feed.load.suspend(now_s)
                moved |= self._settle(feed)
                moved[feed] = None
        return not ladder.is_over

    def _changed(self, now_s: float, ladder: Ladder) -> None:
        """What a ladder has to share is another."""
        moved = self._climb(ladder)
        self._relieve(now_s, ladder, None, moved)
        self._spread(moved, ladder)
        self._apply(now_s, moved)
        if self._held:
            self._retry.set(now_s)

    def _wants(self, feed: Feed) -> bool:
        """Whether a replica asks for more than its idle draw."""
        return feed.load.watts_at(feed.clocks[0]) > feed.load.watts_at(0.0)

    def _must_yield(self, feed: Feed) -> bool:
        """Whether one who has waited longer may need what this one asks for: let it try first."""
        if not self._wants(feed):
            return False
        own = {id(place.ladder) for place in feed.places}
        return any(id(place.ladder) in own for other in self._held for place in other.places)

    def _resume(self, now_s: float) -> None:
        """Lets those that wait try again, in turn: not who needs as much as one just refused."""
        refused: dict[int, float] = {}
        for feed in list(self._held):
            ladders = [id(place.ladder) for place in feed.places]
            if any(feed.refused_w >= refused.get(ladder, inf) for ladder in ladders):
                continue
            self._favoured = feed
            feed.load.resume(now_s)
            if feed.is_held and feed.refused_by is not None:
                key = id(feed.refused_by)
                refused[key] = min(refused.get(key, inf), feed.refused_w)
        self._favoured = None

    def _resized(self, ladder: Ladder) -> Callable[[float], None]:
        def told(now_s: float) -> None:
            ladder.add_up()
            self._changed(now_s, ladder)

        return told


def _levels(feeds: Sequence[Feed]) -> int:
    return min((len(feed.clocks) for feed in feeds), default=2)


def _stands_in(feed: Feed, node: PowerNode) -> bool:
    if node.level == "node":
        return any(of is node for of, _ in feed.shares)
    return node in feed.rack.path()


def _share(feed: Feed, node: PowerNode) -> float:
    """The share of a replica's draw that falls on a node, or on racks beneath it."""
    if node.level != "node":
        return 1.0
    return next(share for of, share in feed.shares if of is node)


def _classes(feeds: Sequence[Feed], share: Share) -> list[list[Feed]]:
    """Who is lowered, the first class first."""
    if share == "priority":
        keys = [feed.priority for feed in feeds]
    elif share == "prefill_first":
        keys = [int(feed.role == "prefill") for feed in feeds]
    else:
        keys = [0] * len(feeds)
    return [
        [feed for feed, own in zip(feeds, keys, strict=True) if own == key]
        for key in sorted(set(keys))
    ]
