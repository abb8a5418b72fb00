"""When sessions start: at times of their own (open loop) or when another ends (closed loop)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from factory.records.codes import COMPLETED, IN_FLIGHT
from factory.workload.arrivals import Renewal
from factory.workload.request import Request
from factory.workload.tenants import Script

#: A client whose request was turned away waits this long before its next session (assumed), so
#: that a closed loop in which everything is rejected still moves time on.
BACKOFF_S = 1.0

NOTHING: tuple[Request, ...] = ()


class OpenLoop:
    """Sessions start at the times of an arrival process, whatever the factory does."""

    __slots__ = ("_arrivals", "_script", "_until_s")

    def __init__(self, script: Script, arrivals: Renewal, until_s: float) -> None:
        self._script = script
        self._arrivals = arrivals
        self._until_s = until_s

    def start(self) -> Iterator[Request]:
        """Yields the first request of every session, in time order."""
        begin = self._script.begin
        for times in self._arrivals.times(self._until_s):
            yield from map(begin, times)

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Returns the session's next turn, if it has one."""
        return self._script.follow(request, time_s, outcome) or NOTHING


class ClosedLoop:
    """A fixed number of sessions in flight: one ends, the next starts at once."""

    __slots__ = ("_begin", "_concurrency", "_follow", "_until_s")

    def __init__(self, script: Script, concurrency: int, until_s: float) -> None:
        self._begin = script.begin
        self._follow = script.follow
        self._concurrency = concurrency
        self._until_s = until_s

    def start(self) -> Iterator[Request]:
        """Yields the first request of `concurrency` sessions, all at time 0."""
        for _ in range(self._concurrency):
            yield self._begin(0.0)

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Returns the session's next turn, or the first request of the session after it."""
        later = self._follow(request, time_s, outcome)
        if later is not None:
            return later
        if outcome != COMPLETED:
            if outcome == IN_FLIGHT:
                return NOTHING
            time_s += BACKOFF_S
        if time_s >= self._until_s:
            return NOTHING
        return (self._begin(time_s),)
