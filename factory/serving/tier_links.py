"""Copies of KV blocks between tiers: links with fair sharing, one timer, one event a copy.

A copy goes over one or more links at once (a drive, the host's bus) and gets the least of its fair
shares of them. It takes its place on them when it begins and moves its first block one latency
later, as a read that is queued at a device does. So its arrival is its only event; one more is
stale where a later copy has slowed it down.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from factory.kernel import CLASS_TRANSFER, Kernel


class Link:
    """One direction of a path.

    Attributes:
        blocks_per_s: Bandwidth, KV blocks per second.
        copies: Copies that have a share of it, by number.
    """

    __slots__ = ("blocks_per_s", "copies")

    def __init__(self, blocks_per_s: float) -> None:
        self.blocks_per_s = blocks_per_s
        self.copies: dict[int, Copy] = {}


Path = tuple[Link, ...]


class Copy:
    """Blocks on their way: `left` of them at time `changed_s`, from when on they move at `rate`."""

    __slots__ = ("arrived", "changed_s", "left", "links", "number", "rate", "version")

    def __init__(
        self,
        number: int,
        links: Path,
        left: float,
        changed_s: float,
        arrived: Callable[[float], None],
    ) -> None:
        self.number = number
        self.links = links
        self.left = left
        self.changed_s = changed_s
        self.arrived = arrived
        self.rate = 0.0
        self.version = 0


class Copies:
    """All copies that may share a link with each other.

    Args:
        kernel: The environment.
        owner: Stable id of its timer among those of transfers.
    """

    __slots__ = ("_due", "_kernel", "_next", "_timer")

    def __init__(self, kernel: Kernel, owner: int) -> None:
        self._kernel = kernel
        self._timer = kernel.timer(CLASS_TRANSFER, owner, self._fire)
        # (time, number, version, copy); of a copy only the latest version is meant.
        self._due: list[tuple[float, int, int, Copy]] = []
        self._next = 0

    @property
    def now_s(self) -> float:
        """Time, seconds."""
        now_s: float = self._kernel.now
        return now_s

    def start(
        self,
        links: Path,
        blocks: float,
        latency_s: float,
        now_s: float,
        arrived: Callable[[float], None],
    ) -> Copy:
        """Begins to copy ``blocks`` over ``links``; calls ``arrived(now_s)`` when all are there."""
        self._next = number = self._next + 1
        copy = Copy(number, links, blocks, now_s + latency_s, arrived)
        for link in links:
            link.copies[number] = copy
        self._share(links, now_s)
        self._set_timer()
        return copy

    def stop(self, copy: Copy, now_s: float) -> None:
        """Breaks a copy off; nothing is called. One that has arrived is left alone."""
        if copy.number in copy.links[0].copies:
            self._take_off(copy)
            self._share(copy.links, now_s)
            self._set_timer()

    def _take_off(self, copy: Copy) -> None:
        copy.version += 1
        for link in copy.links:
            del link.copies[copy.number]

    def _share(self, links: Path, now_s: float) -> None:
        """Works out the rates of all copies on ``links``."""
        for link in links:
            for copy in link.copies.values():
                self._set_rate(copy, now_s)

    def _set_rate(self, copy: Copy, now_s: float) -> None:
        rate = share(copy.links, 0)
        if rate == copy.rate:
            return
        if now_s > copy.changed_s:
            left = copy.left - copy.rate * (now_s - copy.changed_s)
            copy.left = left if left > 0.0 else 0.0
            copy.changed_s = now_s
        copy.rate = rate
        copy.version += 1
        heappush(self._due, (copy.changed_s + copy.left / rate, copy.number, copy.version, copy))

    def _set_timer(self) -> None:
        due = self._due
        while due and due[0][2] != due[0][3].version:
            heappop(due)
        if due:
            self._timer.set(due[0][0])
        else:
            self._timer.due = inf

    def _fire(self, now_s: float) -> None:
        due = self._due
        done: list[Copy] = []
        while due and (due[0][0] <= now_s or due[0][2] != due[0][3].version):
            _, _, version, copy = heappop(due)
            if version == copy.version:
                self._take_off(copy)
                done.append(copy)
        for copy in done:
            self._share(copy.links, now_s)
        self._set_timer()
        for copy in done:
            copy.arrived(now_s)


def share(links: Path, more: int) -> float:
    """Blocks per second that a copy over ``links`` gets with ``more`` copies beside those there."""
    rate = inf
    for link in links:
        own = link.blocks_per_s / (len(link.copies) + more)
        if own < rate:
            rate = own
    return rate
