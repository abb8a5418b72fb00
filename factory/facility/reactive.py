"""An operator's power control: a loop that measures, decides, and acts when its command arrives.

A loop watches one power node. It knows the mean power that the node's meter reports, nothing else:
neither what replicas do now nor what they will. Above a threshold it asks for lower clocks of some
priorities; the command goes out of band, and acts after a delay. Commands on their way cannot be
called back: each acts when it arrives, and the newest that has arrived counts. The brake has a
faster way of its own. What a node draws in the meantime its breaker must bear.

Ticks are at multiples of the interval, actions at a tick plus a delay: no instant depends on what
the replicas do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from factory.facility.feed import Feed
from factory.facility.telemetry import Telemetry
from factory.facility.tree import BRAKED_S, CAPPED_S, PowerNode
from factory.kernel import CLASS_POWER, Kernel

CAP_ASKED, CAP_BEGAN, CAP_CHANGED, CAP_ENDED = "cap_asked", "cap_began", "cap_changed", "cap_ended"
BRAKE_ASKED, BRAKE_RELEASE_ASKED = "brake_asked", "brake_release_asked"
BRAKE_BEGAN, BRAKE_ENDED = "brake_began", "brake_ended"
"""Kinds of rows of ``fact_events`` that a loop writes."""

TIMERS = 3
"""Owners, among those of power events, that a loop takes."""

Note = Callable[[float, str, str, float, str], None]
"""Takes (seconds, kind, subject, value, detail) of an event."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold: above a share of the budget, a highest clock.

    Attributes:
        at_ratio: Mean power over the budget above which it holds.
        clock_ratio: Highest clock that it allows.
        priority: Replicas of at most this priority obey.
    """

    at_ratio: float
    clock_ratio: float
    priority: float = inf


@dataclass(frozen=True, slots=True)
class Terms:
    """What a loop does, and how fast.

    Attributes:
        interval_s: Seconds between samples.
        samples: Intervals over which a report is the mean.
        actuation_s: Seconds from a sample to the clocks that it asks for.
        brake_s: The same of the brake.
        hysteresis_ratio: A rule lets go this share of the budget below where it began.
        rules: Thresholds, by rising `Rule.at_ratio`. Of several at one ratio each waits until the
            one before has acted for a whole averaging span and did not help.
        brake: The last resort, of all replicas; None if there is none.
    """

    interval_s: float
    samples: int
    actuation_s: float
    brake_s: float
    hysteresis_ratio: float
    rules: tuple[Rule, ...]
    brake: Rule | None = None


@dataclass(slots=True)
class Locks:
    """The clocks that all loops hold replicas to; a replica obeys the lowest."""

    held: dict[Feed, dict[int, float]] = field(default_factory=dict)

    def hold(self, now_s: float, source: int, feed: Feed, clock: float) -> None:
        """A command of ``source`` allows a replica clocks up to ``clock``, 1 for any."""
        clocks = self.held.setdefault(feed, {})
        if clock < 1.0:
            clocks[source] = clock
        else:
            clocks.pop(source, None)
        feed.set_lock(now_s, min(clocks.values(), default=1.0))


class Loop:
    """The loop of one node (see the module).

    Args:
        kernel: The environment.
        owner: The first of `TIMERS` owners among those of power events.
        node: What it watches; it must have a budget.
        feeds: The replicas beneath.
        terms: What it does.
        locks: Of all loops together.
        note: Takes its events.
        goes_on: Whether the run does; without it no further sample is taken.
    """

    __slots__ = (
        "_acts_s", "_asked", "_brake_asked", "_brake_timer", "_brakes", "_braking", "_cap_timer",
        "_capping", "_caps", "_feeds", "_goes_on", "_locks", "_marked", "_node", "_note", "_owner",
        "_sample_timer", "_telemetry", "_terms", "_unbraked_s",
    )  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        owner: int,
        node: PowerNode,
        feeds: Sequence[Feed],
        terms: Terms,
        locks: Locks,
        note: Note,
        goes_on: Callable[[], bool],
    ) -> None:
        self._node = node
        self._feeds = tuple(feeds)
        for feed in feeds:
            feed.is_controlled = True
        self._terms = terms
        self._locks = locks
        self._note = note
        self._goes_on = goes_on
        self._owner = owner
        self._telemetry = Telemetry(node, terms.interval_s, terms.samples)
        # Of each rule whether it is asked for, and when that acts; the same of the brake.
        self._asked = [False] * len(terms.rules)
        self._acts_s = [inf] * len(terms.rules)
        self._brake_asked = False
        self._braking = False
        self._unbraked_s = 0.0
        self._capping: tuple[bool, ...] = tuple(self._asked)
        self._caps: deque[tuple[float, tuple[bool, ...]]] = deque()
        self._brakes: deque[tuple[float, bool]] = deque()
        self._marked: dict[int, dict[PowerNode, None]] = {CAPPED_S: {}, BRAKED_S: {}}
        self._brake_timer = kernel.timer(CLASS_POWER, owner, self._brake)
        self._cap_timer = kernel.timer(CLASS_POWER, owner + 1, self._cap)
        self._sample_timer = kernel.timer(CLASS_POWER, owner + 2, self._sample)
        self._sample_timer.set(self._telemetry.next_s)

    def rest(self) -> None:
        """Takes the timers back: the run is over."""
        for timer in (self._brake_timer, self._cap_timer, self._sample_timer):
            timer.due = inf

    # -- decide --------------------------------------------------------------------------------

    def _sample(self, now_s: float) -> None:
        limit_w = self._node.limit_w
        watts = self._telemetry.sample(now_s)
        ratio = watts / limit_w if limit_w else inf
        if self._terms.brake is not None:
            self._decide_brake(now_s, ratio, self._terms.brake)
        self._decide_caps(now_s, ratio)
        if self._goes_on():
            self._sample_timer.set(self._telemetry.next_s)

    def _decide_brake(self, now_s: float, ratio: float, brake: Rule) -> None:
        asked = self._brake_asked
        if not asked and ratio > brake.at_ratio:
            asked = True
        elif asked and ratio < brake.at_ratio - self._terms.hysteresis_ratio:
            asked = False
        if asked == self._brake_asked:
            return
        self._brake_asked = asked
        acts_s = now_s + self._terms.brake_s
        self._brakes.append((acts_s, asked))
        kind = BRAKE_ASKED if asked else BRAKE_RELEASE_ASKED
        what = f"clock ratio {brake.clock_ratio:g}" if asked else "the brake lets go"
        self._say(now_s, kind, ratio, f"{what}, acts at {acts_s:g} s")
        if self._brake_timer.due == inf:
            self._brake_timer.set(acts_s)

    def _decide_caps(self, now_s: float, ratio: float) -> None:
        terms = self._terms
        seen_s = now_s - terms.samples * terms.interval_s
        # What is measured under the brake says nothing of what would be drawn without it.
        is_braked = self._brake_asked or self._braking or seen_s < self._unbraked_s
        wanted = list(self._asked)
        for number, rule in enumerate(terms.rules):
            if self._asked[number]:
                if ratio < rule.at_ratio - terms.hysteresis_ratio and not is_braked:
                    wanted[number] = False
            elif ratio > rule.at_ratio:
                before = number - 1
                follows = before >= 0 and terms.rules[before].at_ratio == rule.at_ratio
                wanted[number] = not follows or self._acts_s[before] <= seen_s
        if wanted == self._asked:
            return
        acts_s = now_s + terms.actuation_s
        for number, is_wanted in enumerate(wanted):
            if is_wanted != self._asked[number]:
                self._acts_s[number] = acts_s if is_wanted else inf
        self._asked = wanted
        self._caps.append((acts_s, tuple(wanted)))
        self._say(now_s, CAP_ASKED, ratio, f"{self._clocks(wanted)}, acts at {acts_s:g} s")
        if self._cap_timer.due == inf:
            self._cap_timer.set(acts_s)

    # -- act -----------------------------------------------------------------------------------

    def _cap(self, now_s: float) -> None:
        """A command on clocks arrives."""
        rules = self._terms.rules
        _, capping = self._caps.popleft()
        if self._caps:
            self._cap_timer.set(self._caps[0][0])
        was = any(self._capping)
        self._capping = capping
        held = [rule for rule, holds in zip(rules, capping, strict=True) if holds]
        lowered = []
        for feed in self._feeds:
            clocks = [rule.clock_ratio for rule in held if feed.priority <= rule.priority]
            # A lock below a GPU's lowest clock leaves it there; only the brake goes lower.
            clock = max(min(clocks), feed.clocks[0]) if clocks else 1.0
            self._locks.hold(now_s, self._owner, feed, clock)
            if clock < feed.clocks[-1]:
                lowered.append(feed)
        self._mark(now_s, CAPPED_S, lowered)
        kind = CAP_ENDED if not held else CAP_CHANGED if was else CAP_BEGAN
        lowest = min((rule.clock_ratio for rule in held), default=1.0)
        self._say(now_s, kind, lowest, self._clocks(capping))

    def _brake(self, now_s: float) -> None:
        """A command on the brake arrives."""
        brake = self._terms.brake
        assert brake is not None
        _, braking = self._brakes.popleft()
        if self._brakes:
            self._brake_timer.set(self._brakes[0][0])
        self._braking = braking
        if not braking:
            self._unbraked_s = now_s
        clock = brake.clock_ratio if braking else 1.0
        for feed in self._feeds:
            self._locks.hold(now_s, self._owner + 1, feed, clock)
        self._mark(now_s, BRAKED_S, self._feeds if braking else ())
        kind = BRAKE_BEGAN if braking else BRAKE_ENDED
        self._say(now_s, kind, clock, "clock ratio of all replicas beneath")

    def _mark(self, now_s: float, seconds: int, lowered: Sequence[Feed]) -> None:
        """Counts the seconds of the node, and of the nodes beneath it that feed ``lowered``."""
        above = set(self._node.path()[1:])
        marked: dict[PowerNode, None] = {}
        for feed in lowered:
            for node in feed.rack.path():
                if node not in above:
                    marked[node] = None
        before = self._marked[seconds]
        for node in before:
            if node not in marked:
                node.mark(now_s, seconds, on=False)
        for node in marked:
            if node not in before:
                node.mark(now_s, seconds, on=True)
        self._marked[seconds] = marked

    # -- say -----------------------------------------------------------------------------------

    def _say(self, now_s: float, kind: str, value: float, detail: str) -> None:
        self._note(now_s, kind, self._node.name, value, detail)

    def _clocks(self, holds: Sequence[bool]) -> str:
        """The rules that hold, in words."""
        parts = [
            f"{rule.clock_ratio:g}"
            + ("" if rule.priority == inf else f" for priority <= {rule.priority:g}")
            for rule, held in zip(self._terms.rules, holds, strict=True)
            if held
        ]
        return "clock ratio " + ", ".join(parts) if parts else "all clocks"
