"""A row of racks with loads that a test sets by hand, and what happened on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from factory.facility.feed import Feed
from factory.facility.tree import PowerNode, PowerTree
from factory.kernel import CLASS_STEP, Kernel

CLOCKS = (0.25, 0.5, 0.75, 1.0)


class Load:
    """A replica that draws its watts times its clock, and works or not as it is told."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.watts = 0.0
        self.clock = 1.0

    def watts_at(self, clock: float) -> float:
        return self.watts * clock

    def set_clock(self, now_s: float, clock: float) -> None:
        self.clock = clock
        self.feed.draw(now_s, self.watts * clock)

    def work(self, now_s: float, watts: float) -> None:
        """Draws ``watts`` at full clock from now on."""
        self.watts = watts
        self.feed.draw(now_s, watts * self.clock)

    def suspend(self, now_s: float) -> None:
        """Never asked of it."""

    def resume(self, now_s: float) -> None:
        """Never asked of it."""


class PowerRow:
    """A facility with one row of racks, one replica of 8 GPUs each; racks add nothing to GPUs.

    Args:
        budget_w: Budget of the row.
        priorities: Priority of the replica of each rack.
        rack_budget_w: Budget of each rack.
    """

    def __init__(
        self, budget_w: float, priorities: Sequence[int], rack_budget_w: float = inf
    ) -> None:
        self.kernel = Kernel()
        self.notes: list[tuple[float, str, str, float]] = []
        self.details: list[str] = []
        self.ends_s = inf
        gpus = 8 * len(priorities)
        self.root = PowerNode("hall", 0, "facility", None, gpus, inf, 100.0)
        self.row = PowerNode("row", 1, "row", self.root, gpus, budget_w, 100.0)
        self.racks = [
            PowerNode(f"rack-{i}", 2 + i, "rack", self.row, 8, rack_budget_w, 100.0, _nothing)
            for i in range(len(priorities))
        ]
        self.tree = PowerTree([self.root, self.row, *self.racks])
        self.feeds = [
            Feed(i, 0, "aggregated", 8, rack, (), CLOCKS, priority=priority)
            for i, (rack, priority) in enumerate(zip(self.racks, priorities, strict=True))
        ]
        self.loads = [Load(feed) for feed in self.feeds]
        for feed, load in zip(self.feeds, self.loads, strict=True):
            feed.load = load
        self._changes = 0

    def note(self, now_s: float, kind: str, subject: str, value: float, detail: str) -> None:
        self.notes.append((now_s, kind, subject, value))
        self.details.append(detail)

    def goes_on(self) -> bool:
        return self.kernel.now < self.ends_s

    def at(self, time_s: float, what: Callable[[float], None]) -> None:
        """Has ``what(now)`` happen at a time."""
        self.kernel.timer(CLASS_STEP, self._changes, what).set(time_s)
        self._changes += 1

    def draw_at(self, time_s: float, *watts: float) -> None:
        """Has the replicas work at so many watts each from a time on."""

        def change(now_s: float) -> None:
            for load, each in zip(self.loads, watts, strict=True):
                load.work(now_s, each)

        self.at(time_s, change)

    def run(self, until_s: float) -> None:
        """Fires what is due up to ``until_s``."""
        self.kernel.run_events(1_000_000, until_s)

    def seen(self, *kinds: str) -> list[tuple[float, str]]:
        """(time, kind) of the notes of some kinds, of all without any."""
        return [(now_s, kind) for now_s, kind, _, _ in self.notes if not kinds or kind in kinds]


def _nothing(gpu_w: float, present: float) -> tuple[float, float]:
    """The law of a rack that has nothing but GPUs."""
    return 0.0, 0.0
