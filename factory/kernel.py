"""The event kernel: SimPy's environment with absolute times and a stable order.

SimPy schedules by delay, and ``now + (t - now)`` need not be ``t`` in floating point. The leap and
the step engine must agree exactly, so timers here are set to absolute times, and events at one
instant fire in the order of (class, owner), never in the order of creation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.core import EmptySchedule

CLASS_POWER = 1
CLASS_STEP = 2
CLASS_TRANSFER = 3
CLASS_ARRIVAL = 4
_CLASS_SHIFT = 32


def rank_of(event_class: int, owner: int) -> int:
    """Rank of an event among those of one instant.

    Args:
        event_class: One of the ``CLASS_`` constants; lower fires first.
        owner: Stable id of what the event belongs to, below 2**32.

    Returns:
        A single integer that sorts by (class, owner), after SimPy's own priorities.
    """
    return (event_class << _CLASS_SHIFT) + owner


class Kernel(simpy.Environment):
    """A SimPy environment that also carries timers and counts what it fires.

    Attributes:
        fired: Events taken from the queue so far, stale ones included.
        acted_s: Time of the last event that was not stale, seconds.
        order: Rank of the event that fires now among those of its instant (see `rank_of`).
    """

    def __init__(self) -> None:
        super().__init__(0.0)
        self.fired = 0
        self.acted_s = 0.0
        self.order = 0

    def timer(self, event_class: int, owner: int, callback: Callable[[float], None]) -> Timer:
        """A timer that calls ``callback(now)`` when it is due; it is not set yet."""
        return Timer(self, rank_of(event_class, owner), callback)

    def step(self) -> None:
        """Fires the next event.

        Raises:
            EmptySchedule: If no event is left.
        """
        if not self._queue:
            raise EmptySchedule
        self.run_events(1, math.inf)

    def run_events(self, most: int, until_s: float) -> bool:
        """Fires up to ``most`` events that are due by ``until_s``; says whether more are left."""
        queue: list[Any] = self._queue
        for _ in range(most):
            if not queue:
                return False
            entry = heappop(queue)
            now, order, _, event = entry
            if now > until_s:
                heappush(queue, entry)
                return False
            self._now = now
            self.fired += 1
            if type(event) is Timer:
                pending = event.pending
                pending.pop()
                due = event.due
                if due == now:
                    event.due = math.inf
                    self.acted_s = now
                    self.order = order
                    event.callback(now)
                elif due < math.inf and (not pending or due < pending[-1]):
                    event.set(due)
            else:
                self.acted_s = now
                self.order = order
                _process(event)
        return True


def _process(event: Any) -> None:
    """Runs an event of SimPy's own kind, as `simpy.Environment.step` does."""
    callbacks, event.callbacks = event.callbacks, None
    for callback in callbacks:
        callback(event)
    if not event._ok and not hasattr(event, "_defused"):
        raise event._value


class Timer:
    """One owner's next event, moved by setting it again.

    A later time leaves the pending queue entry in place: when that fires early, the timer is queued
    anew. Only an earlier time costs a new entry, so an owner whose end moves back with every
    joining request pays one stale event, not one for each. Entries of one timer differ in time, and
    those of two in order: they need no count of creation to be told apart.

    Attributes:
        due: Absolute time in seconds, infinite when not set.
        pending: Times of its entries in the queue, falling.
        callback: Called with the time when it is due.
        order: Its rank among the events of an instant.
    """

    __slots__ = ("_queue", "callback", "due", "order", "pending")

    def __init__(self, kernel: Kernel, rank: int, callback: Callable[[float], None]) -> None:
        self._queue: list[Any] = kernel._queue
        self.order = rank
        self.callback = callback
        self.pending: list[float] = []
        self.due = math.inf

    def set(self, time: float) -> None:
        """Be due at ``time`` (seconds, absolute, not before now) instead of any earlier setting."""
        self.due = time
        pending = self.pending
        if not pending or time < pending[-1]:
            pending.append(time)
            heappush(self._queue, (time, self.order, 0, self))
