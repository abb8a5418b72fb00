"""How fast those who wait are let into batches, and how many go before a newcomer.

What a gateway can see of its engines without knowing why they are slow: prompts, full batches, full
KV memory and the steps that decoding takes show in it alike.
"""

from __future__ import annotations

from collections import deque

LAST = 64
"""Admissions that the pace is taken of (assumed)."""

FEWEST = 8
"""Admissions below which there is no pace yet (assumed)."""


class Pace:
    """Counts who waits, by priority, and the gaps between admissions while anybody does."""

    __slots__ = ("_times_s", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[int, int] = {}
        self._times_s: deque[float] = deque(maxlen=LAST)

    def came(self, priority: int) -> None:
        """A request waits from now on."""
        self._waiting[priority] = self._waiting.get(priority, 0) + 1

    def left(self, priority: int) -> None:
        """A request that waited gave up."""
        self._waiting[priority] -= 1

    def admitted(self, priority: int, now_s: float) -> None:
        """A request that waited was let into a batch."""
        self._waiting[priority] = max(self._waiting.get(priority, 0) - 1, 0)
        if any(self._waiting.values()):
            self._times_s.append(now_s)
        else:
            self._times_s.clear()

    def share_ahead(self, priority: int) -> float:
        """Share of those who wait that go before a newcomer of this priority; 1 if nobody waits."""
        everybody = sum(self._waiting.values())
        return self.ahead(priority) / everybody if everybody else 1.0

    def ahead(self, priority: int) -> int:
        """Requests that wait and go before a newcomer of this priority."""
        return sum(count for level, count in self._waiting.items() if level >= priority)

    def wait_s(self, priority: int) -> float:
        """Seconds until a newcomer is let in, at the pace of late; 0 if that is not known."""
        times = self._times_s
        if len(times) < FEWEST:
            return 0.0
        gap_s = (times[-1] - times[0]) / (len(times) - 1)
        return self.ahead(priority) * gap_s
