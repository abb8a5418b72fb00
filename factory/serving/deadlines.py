"""Time-outs of a deployment's requests: one timer for all of them.

A request has up to two: until its first token, and until its end. Nearly all requests are done long
before, so nothing is cancelled when one is: at the due time of the earliest, whatever is over by
then is skipped, and the timer is set to the earliest that is not. With a time-out of D seconds and
requests that stay for L, it fires about once in D - L seconds, however many requests there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.serving.sequence import STAGE_GONE, Sequence

FIRST_TOKEN = 0
"""Limit on the time until the first token."""
END = 1
"""Limit on the time until the last token."""

_FEWEST = 64
"""Entries from which on those that are over are considered for clearing out."""


class Deadlines:
    """The time-outs of a deployment (see the module).

    What ends at the very instant it is due is in time: steps and transfers fire before the timer.

    Args:
        kernel: The environment.
        owner: Number of the timer among those of its class (`factory.kernel.CLASS_ARRIVAL`).
        expired: Called as ``(sequence, now_s)`` for each that is out of time, in order of due time,
            then of watching.
        alive: Whether a limit (`FIRST_TOKEN` or `END`) can still be missed by a sequence: it is
            inside, and for `FIRST_TOKEN` has none yet. Once False it must stay so.
    """

    __slots__ = ("_alive", "_expired", "_heap", "_kept", "_number", "_timer")

    def __init__(
        self,
        kernel: Kernel,
        owner: int,
        expired: Callable[[Sequence, float], None],
        alive: Callable[[Sequence, int], bool],
    ) -> None:
        self._timer = kernel.timer(CLASS_ARRIVAL, owner, self._fire)
        self._expired = expired
        self._alive = alive
        self._heap: list[tuple[float, int, int, Sequence]] = []
        self._number = 0
        self._kept = _FEWEST

    def __len__(self) -> int:
        return len(self._heap)

    def watch(self, sequence: Sequence, due_s: float, limit: int = END) -> None:
        """Lets a sequence expire at ``due_s`` (seconds, absolute) if its limit is alive then.

        Infinity is no time-out. O(log n), and O(1) where all have one time-out.
        """
        if due_s == math.inf:
            return
        heap = self._heap
        if len(heap) >= 2 * self._kept:
            alive = self._alive
            heap[:] = [entry for entry in heap if alive(entry[3], entry[2])]
            heapify(heap)
            self._kept = max(_FEWEST, len(heap))
        self._number += 1
        heappush(heap, (due_s, self._number, limit, sequence))
        if due_s < self._timer.due:
            self._timer.set(due_s)

    def rest(self) -> None:
        """Nothing is inside any more: the timer is not due, and a run can end before it were."""
        self._heap.clear()
        self._timer.due = math.inf

    def _fire(self, now_s: float) -> None:
        heap = self._heap
        alive = self._alive
        while heap:
            due_s, _, limit, sequence = heap[0]
            if due_s > now_s and alive(sequence, limit):
                self._timer.set(due_s)
                return
            heappop(heap)
            if due_s <= now_s and alive(sequence, limit):
                self._expired(sequence, now_s)


def alive(sequence: Sequence, limit: int) -> bool:
    """Whether a sequence can still miss a limit."""
    if sequence.stage == STAGE_GONE:
        return False
    return limit == END or math.isnan(sequence.first_token_s)
