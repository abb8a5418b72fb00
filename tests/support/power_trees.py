"""Small power trees for tests: racks with a plain law, and loads that draw by their clock."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from factory.facility import Feed, IdealControl, PowerNode, PowerTree
from factory.facility.ideal import Share
from factory.kernel import Kernel

CLOCKS = (0.4, 0.6, 0.8, 1.0)
OTHER_W = 10.0
LOSS = 0.05
TIGHT = 1 + 1e-9


def law(gpu_w: float, present: float) -> tuple[float, float]:
    """Ten watts of hosts, and 5 % lost in power supplies."""
    return OTHER_W * present, LOSS * gpu_w


class Load:
    """Draws ``idle_w``, and ``busy_w`` times the clock on top when it works."""

    def __init__(self, idle_w: float, busy_w: float) -> None:
        self.idle_w = idle_w
        self.busy_w = busy_w
        self.is_busy = self.runs = False
        self.clock = 1.0
        self.feed: Feed
        self.resumed: list[float] = []

    def plug(self, feed: Feed) -> None:
        self.feed = feed
        feed.load = self
        feed.draw(0.0, self.idle_w)

    def watts_at(self, clock: float) -> float:
        if not self.is_busy or not clock or self.feed.is_held:
            return self.idle_w
        return self.idle_w + self.busy_w * clock

    def set_clock(self, now_s: float, clock: float) -> None:
        self.clock = clock
        if self.runs:
            self.feed.draw(now_s, self.watts_at(clock))

    def suspend(self, now_s: float) -> None:
        self.runs = False
        self.feed.draw(now_s, self.idle_w)

    def resume(self, now_s: float) -> None:
        self.resumed.append(now_s)
        self.begin(now_s)

    def begin(self, now_s: float) -> float:
        """Begins work, or goes on with it; the clock granted, 0 if it has to wait."""
        self.is_busy = True
        clock = self.feed.grant(now_s)
        self.runs = clock > 0.0
        self.clock = clock
        self.feed.draw(now_s, self.watts_at(clock))
        return clock

    def end(self, now_s: float) -> None:
        """Has nothing more to do."""
        self.is_busy = self.runs = False
        self.feed.grant(now_s)
        self.feed.draw(now_s, self.idle_w)


class Hall:
    """A facility of rows of racks under ideal control.

    Args:
        rows: Racks of each row, and of each rack the (idle, busy) watts of its loads.
        facility_w, row_w, rack_w: Budgets; infinite for none.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[Sequence[tuple[float, float]]]],
        facility_w: float = inf,
        row_w: float = inf,
        rack_w: float = inf,
        share: Share = "equal_clock",
        priorities: Sequence[int] = (0,),
    ) -> None:
        self.kernel = Kernel()
        self.notes: list[tuple[float, str, str]] = []
        self.loads: list[Load] = []
        root = PowerNode("hall", 0, "facility", None, 0, facility_w, 10.0)
        nodes = [root]
        feeds: list[Feed] = []
        for racks in rows:
            row = PowerNode(f"row-{len(nodes)}", len(nodes), "row", root, 0, row_w, 10.0)
            nodes.append(row)
            for own in racks:
                number = len(nodes)
                rack = PowerNode(f"rack-{number}", number, "rack", row, len(own), rack_w, 10.0, law)
                nodes.append(rack)
                for idle_w, busy_w in own:
                    load = Load(idle_w, busy_w)
                    number = len(feeds)
                    role = ("prefill", "decode")[number % 2]
                    priority = priorities[number % len(priorities)]
                    feed = Feed(number, 0, role, 1, rack, (), CLOCKS, inf, priority, (0.0, 400.0))
                    load.plug(feed)
                    feeds.append(feed)
                    self.loads.append(load)
        self.tree = PowerTree(nodes)
        self.feeds = feeds
        limited = [node for node in nodes if node.rating_w < inf or node is root]
        self.control = IdealControl(limited, feeds, share, self.kernel, self._noted)

    def _noted(self, now_s: float, kind: str, node: PowerNode) -> None:
        self.notes.append((now_s, kind, node.name))

    def settle(self) -> None:
        """Lets everything happen that is due."""
        self.kernel.run()

    def over(self) -> list[str]:
        """Nodes that draw more than their limit."""
        return [
            f"{node.name} draws {node.power_w} of {node.limit_w} W"
            for node in self.tree.nodes
            if node.power_w > node.limit_w * TIGHT
        ]
