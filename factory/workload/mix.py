"""Several sources of requests as one workload."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from heapq import merge
from operator import attrgetter
from typing import Protocol

from factory.workload.loops import NOTHING
from factory.workload.request import Request


class Source(Protocol):
    """Where requests come from. Their `index` and `root` are set when they leave the mix."""

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        ...

    def start(self) -> Iterator[Request]:
        """Yields the requests that wait for no answer, lazily, by arrival time."""
        ...

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Takes the outcome of one of its requests and returns what follows from it."""
        ...


class Mix:
    """A workload made of sources; source i owns the sessions whose number is i modulo their count.

    Sessions are cut at the horizon: a turn that would be sent from then on is not.

    Attributes:
        block_size: Tokens per block, one number per deployment.
        created: Requests created so far.
    """

    __slots__ = ("_cut", "_limit", "_react", "_sources", "_until_s", "block_size", "created")

    def __init__(
        self,
        sources: Sequence[Source],
        block_size: Sequence[int],
        limit: int | None = None,
        until_s: float = math.inf,
    ) -> None:
        """Joins sources.

        Args:
            sources: In the order that breaks ties between arrivals.
            block_size: Tokens per block, one number per deployment.
            limit: Requests to create at most, all sources together.
            until_s: No request is sent from then on, seconds.
        """
        self._sources = tuple(sources)
        self._react = tuple(source.on_done for source in self._sources)
        self._limit = sys.maxsize if limit is None else limit
        self.block_size = tuple(block_size)
        self._until_s = until_s
        self._cut: dict[int, list[int]] = {}
        self.created = 0

    @property
    def skipped_rows(self) -> int:
        """Malformed trace rows left out so far."""
        return sum(getattr(source, "skipped_rows", 0) for source in self._sources)

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        return frozenset[int]().union(*(source.session_tenants for source in self._sources))

    def cut_tasks(self, session: int) -> Sequence[int]:
        """Tasks for which a session had more to send when demand ended; to be asked once."""
        return self._cut.pop(session, ())

    def start(self) -> Iterator[Request]:
        """Yields the requests that wait for no answer, lazily, by (arrival_s, index)."""
        requests = self._sources[0].start()
        if len(self._sources) > 1:
            starts = [source.start() for source in self._sources]
            requests = iter(merge(*starts, key=attrgetter("arrival_s")))
        limit = self._limit
        while self.created < limit:
            request = next(requests, None)
            if request is None:
                return
            if request.arrival_s >= self._until_s:
                self._leave_out((request,))
                continue
            index = self.created
            self.created = index + 1
            request.index = request.root = index
            yield request

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Tells the request's source that it left; returns later requests, numbered."""
        react = self._react
        later = react[request.session % len(react)](request, time_s, outcome)
        if not later:
            return NOTHING
        if later[-1].arrival_s >= self._until_s:
            self._leave_out([made for made in later if made.arrival_s >= self._until_s])
            later = [made for made in later if made.arrival_s < self._until_s]
        index = self.created
        room = self._limit - index
        if len(later) > room:
            self._leave_out(later[room:])
            later = later[:room]
        for made in later:
            made.index = made.root = index
            index += 1
        self.created = index
        return later

    def _leave_out(self, later: Sequence[Request]) -> None:
        """Notes what sessions that have begun would have sent."""
        for made in later:
            if made.turn:
                self._cut.setdefault(made.session, []).append(made.task)
