"""When sessions start: at times of their own (open loop) or when another ends (closed loop)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import Protocol

from factory.records.codes import COMPLETED, IN_FLIGHT
from factory.workload.request import Request
from factory.workload.sessions.plan import Answers, PlanScript

#: A client whose request was turned away waits this long before its next session (assumed), so
#: that a closed loop in which everything is rejected still moves time on.
BACKOFF_S = 1.0

NOTHING: tuple[Request, ...] = ()

_arrival = attrgetter("arrival_s")


class Script(Protocol):
    """What sessions ask, without when they start."""

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        ...

    def begin(self, time_s: float) -> Sequence[Request]:
        """Starts the next session; returns what it begins with, nothing if there is none left.

        The requests are not yet numbered, and all arrive at `time_s`.
        """
        ...

    def follow(self, request: Request, time_s: float, outcome: int) -> Sequence[Request] | None:
        """Returns what an answered request leads to, or None if its session is over."""
        ...


class Starts(Protocol):
    """When sessions start."""

    def times(self, until_s: float) -> Iterator[list[float]]:
        """Yields times in seconds, ascending, all below `until_s`, a chunk at a time."""
        ...


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Sessions that began before the run.

    Attributes:
        script: What they ask, and the sessions after them.
        starts: When they began, seconds, ascending, all below 0; one for each client of a closed
            loop.
        answers: How long their answers took before the run.
    """

    script: PlanScript
    starts: Sequence[float]
    answers: Answers

    def sessions(self) -> list[Request]:
        """What sessions of an open loop send next, by arrival."""
        resume, answers = self.script.resume, self.answers
        made = [request for time_s in self.starts for request in resume(time_s, answers)[0]]
        made.sort(key=_arrival)
        return made

    def clients(self) -> list[Request]:
        """What the clients of a closed loop send next, by arrival: one session each at a time."""
        made: list[Request] = []
        for time_s in self.starts:
            begun_s = time_s
            while math.isfinite(begun_s):
                since_s = begun_s
                requests, begun_s = self.script.resume(since_s, self.answers)
                made += requests
                if begun_s == since_s:
                    break  # whole sessions that take no time: time would never move on
        made.sort(key=_arrival)
        return made


class OpenLoop:
    """Sessions start at the times of an arrival process, whatever the factory does.

    Args:
        script: What sessions ask.
        starts: When they start.
        until_s: No session starts from then on, seconds.
        under_way: Sessions that began before the run, of the same script.
    """

    __slots__ = ("_script", "_starts", "_under_way", "_until_s")

    def __init__(
        self, script: Script, starts: Starts, until_s: float, under_way: UnderWay | None = None
    ) -> None:
        self._script = script
        self._starts = starts
        self._until_s = until_s
        self._under_way = under_way

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        return self._script.session_tenants

    def start(self) -> Iterator[Request]:
        """Yields what every session begins with, in time order."""
        if self._under_way is None:
            return self._begin()
        return merge(self._under_way.sessions(), self._begin(), key=_arrival)

    def _begin(self) -> Iterator[Request]:
        begin = self._script.begin
        for times in self._starts.times(self._until_s):
            for time_s in times:
                yield from begin(time_s)

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Returns what the session sends next, if anything."""
        return self._script.follow(request, time_s, outcome) or NOTHING


class ClosedLoop:
    """A fixed number of clients, each with one session at a time: one ends, the next starts.

    Args:
        script: What sessions ask.
        starts: When each client begins, seconds, ascending.
        until_s: No session starts from then on.
        under_way: Clients whose sessions began before the run, of the same script.
    """

    __slots__ = ("_script", "_starts", "_under_way", "_until_s")

    def __init__(
        self,
        script: Script,
        starts: Sequence[float],
        until_s: float,
        under_way: UnderWay | None = None,
    ) -> None:
        self._script = script
        self._starts = starts
        self._until_s = until_s
        self._under_way = under_way

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        return self._script.session_tenants

    def start(self) -> Iterator[Request]:
        """Yields what the first session of each client begins with."""
        if self._under_way is None:
            return self._begin()
        return merge(self._under_way.clients(), self._begin(), key=_arrival)

    def _begin(self) -> Iterator[Request]:
        for time_s in self._starts:
            if time_s < self._until_s:
                yield from self._script.begin(time_s)

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Returns what the session sends next, or what the client's next session begins with."""
        later = self._script.follow(request, time_s, outcome)
        if later is not None:
            return later
        if outcome != COMPLETED:
            if outcome == IN_FLIGHT:
                return NOTHING
            time_s += BACKOFF_S
        if time_s >= self._until_s:
            return NOTHING
        return self._script.begin(time_s)
