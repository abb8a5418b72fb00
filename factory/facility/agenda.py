"""What is to happen at stated times: failures, repairs, starts. One timer for all of it.

A timer that always sets itself again would keep a run alive for ever. So what is due after the
run's load may end is waited for only while requests are inside or expected: a repair that somebody
waits for comes, and a failure that would hit nobody does not.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from factory.kernel import CLASS_ARRIVAL, Kernel

CLASS_OUTAGE = CLASS_ARRIVAL + 1
"""Class of the agenda's events: after steps, transfers and arrivals of an instant, so that what
ends at the very moment of a failure has ended."""

_OWNER = 1 << 30
"""Its owner among the timers of that class."""


class Appointment:
    """Something to be done at a time, unless it is called off."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[float], None]) -> None:
        self.act: Callable[[float], None] | None = act

    def call_off(self) -> None:
        """It is not done."""
        self.act = None


class Agenda:
    """Keeps appointments (see the module).

    Args:
        kernel: The environment.
        until_s: Until when the run goes on in any case, seconds; 0 if requests alone keep it going.
        is_busy: Whether a request is inside or expected.
    """

    __slots__ = ("_heap", "_is_busy", "_is_open", "_next", "_timer", "_until_s")

    def __init__(self, kernel: Kernel, until_s: float, is_busy: Callable[[], bool]) -> None:
        self._timer = kernel.timer(CLASS_OUTAGE, _OWNER, self._fire)
        self._until_s = until_s
        self._is_busy = is_busy
        self._heap: list[tuple[float, int, int, Appointment]] = []
        self._next = 0
        self._is_open = False

    def at(self, due_s: float, owner: int, act: Callable[[float], None]) -> Appointment:
        """Does something at ``due_s``, seconds, absolute; at one instant by ``owner``."""
        made = Appointment(act)
        if due_s < inf:
            self._next += 1
            heappush(self._heap, (due_s, owner, self._next, made))
            if self._is_open:
                self._aim()
            else:  # whether anybody is expected is not known before the run begins
                self._timer.set(0.0)
        return made

    def goes_on(self, now_s: float) -> bool:
        """Whether the run does: its time is not over, or a request is inside or expected."""
        return now_s < self._until_s or self._is_busy()

    def rest(self) -> None:
        """Nobody is inside any more: what is due too late shall not keep the run alive."""
        if self._is_open:
            self._aim()

    def _aim(self) -> None:
        heap = self._heap
        while heap and heap[0][3].act is None:
            heappop(heap)
        if heap and (heap[0][0] <= self._until_s or self._is_busy()):
            self._timer.set(heap[0][0])
        else:
            self._timer.due = inf

    def _fire(self, now_s: float) -> None:
        self._is_open = True
        heap = self._heap
        while heap and heap[0][0] <= now_s:
            act = heappop(heap)[3].act
            if act is not None:
                act(now_s)
        self._aim()
