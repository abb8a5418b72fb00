"""The power tree: facility › row › rack › node, what each draws, and the exact account of it.

Power is IT power, watts, and constant between changes: every integral is a sum of products, does
not depend on windows, and adds up along the tree. A rack turns the draw of its GPUs into IT power
by its own law (hosts, switches, fans, power supplies); everything above adds up racks, and a node
below one is its GPUs with an equal share of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING, Literal

from factory.facility.metering import EnergyBins, Windows, seconds_between

if TYPE_CHECKING:
    from factory.facility.feed import Feed

Level = Literal["facility", "row", "rack", "node"]

GPU_J = 0
OTHER_J = 1
LOSS_J = 2
CAPPED_S = 3
BRAKED_S = 4
DARK_S = 5
CURTAILED_S = 6
FIELDS = 7
"""Fields of a node's windows: joules of GPUs, of the rest, of power supplies (of racks and of nodes
below them; what is above adds them up), and seconds that were capped, braked, dark, curtailed."""

_REBASE = 4096
"""Changes after which a sum of draws is formed anew, against the drift of rounding."""

_NOTHING_W = 1e-3
"""Below this a sum of draws is formed anew: what is left may be rounding alone."""

RackLaw = Callable[[float, float], tuple[float, float]]
"""Watts of (hosts, network and fans; power supplies) of a rack, from the watts of its GPUs and the
share of its GPUs that are there."""


class PowerNode:
    """One node of the tree (see the module).

    Args:
        name: Its name in the tables.
        number: Its code there; 0 is the facility.
        level: Where in the tree it is.
        parent: The node above; None for the facility.
        gpus: GPUs beneath.
        rating_w: Its budget, watts of IT power; infinite if none.
        window_s: Window of the tables, seconds.
        law: What a rack adds to its GPUs, or a bound of the part that falls to a node below one.
        spare_w: Draw of the GPUs of a rack, or of a node of it, that no replica uses, watts.

    Attributes:
        children: The nodes beneath.
        limit_w: What it may draw now: its rating, unless something lowers it.
        gpu_w, other_w, loss_w, power_w: Drawn now by GPUs, the rest, power supplies; IT in all.
        is_dark: Whether it has no power.
        is_capped: Whether its limit slows anybody down now.
        watchers: Called as ``(now_s, power_w)`` after each change of its IT power.
        resized: Called as ``(now_s)`` when its law or what is always drawn there changes: it goes
            dark or is lit again, or GPUs are given back.
        windows: Sums by window.
        bins: Joules by second: of a rack its IT, of a node below one its GPUs.
        limits: (time, limit) at each change, the first at 0.
        released: (pool, GPUs, from, to) of GPUs that were given back for a while.
    """

    __slots__ = (
        "_changes", "_dark", "_it_j", "_law", "_marks", "_out", "_since_s", "bins", "children",
        "feeds", "gpu_w", "gpus", "is_capped", "is_dark", "level", "limit_w", "limits", "loss_w",
        "name", "number", "other_w", "parent", "power_w", "present", "rating_w", "released",
        "resized", "spare_w", "watchers", "windows",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        number: int,
        level: Level,
        parent: PowerNode | None,
        gpus: int,
        rating_w: float,
        window_s: float,
        law: RackLaw | None = None,
        spare_w: float = 0.0,
    ) -> None:
        self.name = name
        self.number = number
        self.level = level
        self.parent = parent
        self.gpus = gpus
        self.children: list[PowerNode] = []
        self.feeds: list[Feed] = []
        self.rating_w = rating_w
        self.limit_w = rating_w
        self.limits: list[tuple[float, float]] = [(0.0, rating_w)]
        self.windows = Windows(window_s, FIELDS)
        self.bins = EnergyBins() if level in ("rack", "node") else None
        self.watchers: list[Callable[[float, float], None]] = []
        self.resized: list[Callable[[float], None]] = []
        self.released: list[tuple[int, int, float, float]] = []
        self.is_dark = False
        self.is_capped = False
        self.present = 1.0
        self.gpu_w = self.other_w = self.loss_w = self.power_w = 0.0
        self._law = law
        self.spare_w = spare_w
        self._out: dict[tuple[int, int], tuple[int, float]] = {}
        self._marks: dict[int, float] = {}
        self._dark = 0
        self._since_s = 0.0
        self._it_j = 0.0
        self._changes = 0
        if parent is not None:
            parent.children.append(self)
        self.gpu_w = spare_w
        if level == "rack":
            self._settle(0.0)
        elif level == "node":
            self.power_w = self.it_w(spare_w)

    # -- what is drawn -------------------------------------------------------------------------

    def change(self, now_s: float, delta_w: float) -> None:
        """GPUs beneath draw ``delta_w`` more from now on (of a rack, or of a node below one)."""
        if now_s > self._since_s:
            self.account(now_s)
        self._changes += 1
        self.gpu_w += delta_w
        if self.gpu_w < _NOTHING_W or not self._changes % _REBASE:
            self.gpu_w = self._sum_w()
        if self.level == "rack":
            self._settle(now_s)
        else:
            self.power_w = self.it_w(self.gpu_w)

    def _settle(self, now_s: float) -> None:
        """Turns the draw of a rack's GPUs into its IT power, and tells those above."""
        gpu_w = self.gpu_w
        if self.is_dark:
            other_w = loss_w = power_w = 0.0
        else:
            assert self._law is not None
            other_w, loss_w = self._law(gpu_w, self.present)
            power_w = gpu_w + other_w + loss_w
        delta_w = power_w - self.power_w
        self.other_w = other_w
        self.loss_w = loss_w
        self.power_w = power_w
        for watcher in self.watchers:
            watcher(now_s, power_w)
        above = self.parent
        while above is not None:
            above.add(now_s, delta_w)
            above = above.parent

    def add(self, now_s: float, delta_w: float) -> None:
        """A rack beneath draws ``delta_w`` more."""
        self._it_j += self.power_w * (now_s - self._since_s)
        self._since_s = now_s
        self._changes += 1
        self.power_w += delta_w
        if self.power_w < _NOTHING_W or not self._changes % _REBASE:
            self.power_w = sum(child.power_w for child in self.children)
        for watcher in self.watchers:
            watcher(now_s, self.power_w)

    @property
    def always_w(self) -> float:
        """Draw of its GPUs that no replica uses, watts."""
        return 0.0 if self.is_dark else self.spare_w

    def it_w(self, gpu_w: float) -> float:
        """What a rack, or a node below one, would draw if its GPUs drew ``gpu_w``; IT watts."""
        if self.is_dark:
            return 0.0
        assert self._law is not None
        other_w, loss_w = self._law(gpu_w, self.present)
        return gpu_w + other_w + loss_w

    def it_j(self, now_s: float) -> float:
        """IT energy of a rack or of what is above one, from the start to ``now_s``, joules."""
        return self._it_j + self.power_w * (now_s - self._since_s)

    # -- what happens to it --------------------------------------------------------------------

    def set_limit(self, now_s: float, limit_w: float) -> None:
        """It may draw ``limit_w`` from now on; whoever controls it sees to that."""
        if limit_w != self.limit_w:
            self.limit_w = limit_w
            self.limits.append((now_s, limit_w))

    def cut(self, now_s: float) -> None:
        """It has no power from now on, nor has what is beneath; each `cut` needs a `restore`.

        Of a node below a rack only the GPUs go dark, which is theirs to say (see `feed.Feed.draw`):
        fans and switches of the rack go on.
        """
        self._lights(now_s, 1)

    def restore(self, now_s: float) -> None:
        """The power of a `cut` is back."""
        self._lights(now_s, -1)

    def _lights(self, now_s: float, change: int) -> None:
        for node in self.subtree():
            node.mark(now_s, DARK_S, on=change > 0)
            if node.level == "rack" or (node.level == "node" and node is not self):
                node.darken(now_s, change)

    def darken(self, now_s: float, change: int) -> None:
        """One reason more, or less, for a rack, or a server of one, to have no power."""
        self._dark += change
        if self.is_dark != (self._dark > 0):
            self.account(now_s)
            self.is_dark = not self.is_dark
            self.gpu_w = self._sum_w()
            if self.level == "rack":
                self._settle(now_s)
            else:
                self.power_w = self.it_w(self.gpu_w)
            self._resized(now_s)

    def _sum_w(self) -> float:
        """The draw of its GPUs, added up anew: exactly 0 if nothing draws."""
        return self.always_w + sum(feed.watts_on(self) for feed in self.feeds)

    def _resized(self, now_s: float) -> None:
        for told in self.resized:
            told(now_s)

    def mark(self, now_s: float, field: int, *, on: bool) -> None:
        """Begins or ends to count the seconds of a field; marks may overlap, like brackets."""
        marks = self._marks
        depth = -field - 1  # how many marks of the field are open
        count = marks.get(depth, 0.0) + (1.0 if on else -1.0)
        if on and count == 1.0:
            marks[field] = now_s
        elif not on and not count:
            self._span(field, marks.pop(field), now_s)
        marks[depth] = count

    def _span(self, field: int, from_s: float, to_s: float) -> None:
        for index, seconds in seconds_between(from_s, to_s, self.windows.window_s):
            self.windows.row(index)[field] += seconds

    def release(self, now_s: float, pool: int, replica: int, gpus: int, *, given: bool) -> None:
        """GPUs of a rack are given back, hosts and all, or taken again."""
        key = (pool, replica)
        self.account(now_s)
        if given:
            self._out[key] = (gpus, now_s)
        else:
            self.released.append((pool, *self._out.pop(key), now_s))
        self.present += (-gpus if given else gpus) / self.gpus
        self._settle(now_s)
        self._resized(now_s)

    # -- the account ---------------------------------------------------------------------------

    def account(self, until_s: float) -> None:
        """Books what was drawn up to ``until_s``."""
        start_s = self._since_s
        if until_s <= start_s:
            return
        watts = self.power_w
        seconds = until_s - start_s
        self._it_j += watts * seconds
        self._since_s = until_s
        bins = self.bins
        if bins is None:
            return
        bins.add(start_s, until_s, watts)
        windows = self.windows
        window_s = windows.window_s
        index = int(start_s / window_s)
        if until_s < (index + 1) * window_s and index < len(windows.rows):
            row = windows.rows[index]
            row[GPU_J] += self.gpu_w * seconds
            row[OTHER_J] += self.other_w * seconds
            row[LOSS_J] += self.loss_w * seconds
            return
        for index, part_s in seconds_between(start_s, until_s, window_s):
            row = windows.row(index)
            row[GPU_J] += self.gpu_w * part_s
            row[OTHER_J] += self.other_w * part_s
            row[LOSS_J] += self.loss_w * part_s

    def close(self, now_s: float) -> None:
        """Books everything up to the end of the run."""
        self.account(now_s)
        for field, since_s in list(self._marks.items()):
            if field >= 0:
                self._span(field, since_s, now_s)
                del self._marks[field]
        for (pool, _), (gpus, since_s) in self._out.items():
            self.released.append((pool, gpus, since_s, now_s))
        self._out.clear()

    # -- the tree ------------------------------------------------------------------------------

    def subtree(self) -> Iterator[PowerNode]:
        """It and all nodes beneath, from the top."""
        yield self
        for child in self.children:
            yield from child.subtree()

    def racks(self) -> Iterator[PowerNode]:
        """The racks beneath, itself if it is one, its own if it is a node."""
        if self.level == "node":
            assert self.parent is not None
            yield self.parent
            return
        for node in self.subtree():
            if node.level == "rack":
                yield node

    def path(self) -> tuple[PowerNode, ...]:
        """It and the nodes above, to the facility."""
        nodes = [self]
        while nodes[-1].parent is not None:
            nodes.append(nodes[-1].parent)
        return tuple(nodes)

    @property
    def headroom_ratio(self) -> float:
        """Share of its limit that nothing draws now; 1 without a limit."""
        if self.limit_w == inf:
            return 1.0
        return max(1.0 - self.power_w / self.limit_w, 0.0) if self.limit_w else 0.0


class PowerTree:
    """The nodes of a facility by number, the facility first, parents before their children."""

    __slots__ = ("nodes", "racks", "root")

    def __init__(self, nodes: Sequence[PowerNode]) -> None:
        self.nodes = tuple(nodes)
        self.root = self.nodes[0]
        self.racks = tuple(node for node in self.nodes if node.level == "rack")

    def node(self, name: str) -> PowerNode:
        """The node of a name.

        Raises:
            KeyError: There is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def close(self, now_s: float) -> None:
        """Books everything up to the end of the run."""
        for node in self.nodes:
            node.close(now_s)
