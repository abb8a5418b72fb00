"""The demand of a workload without a factory: every request is answered after a stated time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from factory.errors import InputError
from factory.records.codes import COMPLETED
from factory.workload.protocol import Workload
from factory.workload.request import Request

#: Requests that may follow from answers at one instant; more, and time will never move on.
STANDSTILL = 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrives, and what it waited for.

    Attributes:
        number: Position in order of arrival, from 0.
        request: The request.
        answered_s: When its answer ends, seconds.
        after: Number of the request of its session whose answer was the last that this one waited
            for; -1 if it waited for none.
        delay_s: Seconds from the end of that answer to the arrival; 0 if it waited for none.
    """

    number: int
    request: Request
    answered_s: float
    after: int
    delay_s: float


def answers_after(ttft_s: float, itl_s: float = 0.0) -> Callable[[Request], float]:
    """Returns how long answers take: the first token, then one more each `itl_s`.

    Args:
        ttft_s: Time to first token, seconds.
        itl_s: Time between output tokens, seconds.
    """

    def answer_s(request: Request) -> float:
        return ttft_s + itl_s * (request.output_tokens - 1)

    return answer_s


def generate(
    workload: Workload,
    answer_s: Callable[[Request], float],
    until_s: float = math.inf,
    limit: int | None = None,
) -> Iterator[tuple[Request, float]]:
    """Yields the requests of a workload in order of arrival, each answered after a given time.

    No factory serves them: every request completes `answer_s(request)` seconds after it arrived,
    so sessions, tools, think times and sub-agents unfold as they would on a factory of that speed
    with room for everybody. The memory held is that of the requests not yet answered.

    Args:
        workload: As `build` makes it; it is used up.
        answer_s: Seconds from the arrival of a request to the end of its answer, each ≥ 0;
            called once for every request, when it arrives.
        until_s: Requests that arrive from then on are left out, with all that follows from them.
        limit: Requests to yield at most; None for no bound.

    Yields:
        A request and the time at which its answer ends, seconds. Ties in arrival are broken by
        the request's index.

    Raises:
        InputError: Time does not move on: answers take no time and each leads to another request
            at once (a closed loop needs answers that take time).
    """
    for asked in unfold(workload, answer_s, until_s, limit):
        yield asked.request, asked.answered_s


def unfold(
    workload: Workload,
    answer_s: Callable[[Request], float],
    until_s: float = math.inf,
    limit: int | None = None,
    over: Callable[[int], None] | None = None,
) -> Iterator[Asked]:
    """Yields the requests of `generate`, each with what it waited for; see there.

    Args:
        workload: As for `generate`.
        answer_s: As for `generate`.
        until_s: As for `generate`.
        limit: As for `generate`.
        over: Told the number of each session of which no request is inside or to come. (What a
            trace replays at recorded times is taken for over between two requests.)
    """
    starts = workload.start()
    first = next(starts, None)
    events = _Events(workload, until_s, over)
    number = 0
    while limit is None or number < limit:
        start_s = math.inf if first is None else first.arrival_s
        next_s = events.until_arrival(start_s)
        if next_s >= until_s:
            return
        after, delay_s = -1, 0.0
        if first is not None and events.is_next(start_s, first.index):
            request = first
            first = next(starts, None)
            events.enter(request)
        else:
            request, after, delay_s = events.arrive()
        answered_s = next_s + answer_s(request)
        events.answer(answered_s, number, request)
        yield Asked(number, request, answered_s, after, delay_s)
        number += 1


class _Events:
    """Answers to come, and the requests that they lead to."""

    __slots__ = ("_answers", "_crowd", "_inside", "_instant", "_later", "_on_done", "_over",
                 "_until_s")  # fmt: skip

    def __init__(
        self, workload: Workload, until_s: float, over: Callable[[int], None] | None
    ) -> None:
        self._on_done: Callable[[Request, float, int], Sequence[Request]] = workload.on_done
        self._until_s = until_s
        self._over = over
        self._inside: dict[int, int] = {}  # session → its requests inside or to come
        self._answers: list[tuple[float, int, Request]] = []  # end, number, request
        self._later: list[tuple[float, int, Request, int, float]] = []
        self._instant = -math.inf
        self._crowd = 0

    def until_arrival(self, start_s: float) -> float:
        """Takes in the answers that end before the next arrival; returns its time."""
        answers, later = self._answers, self._later
        while True:
            next_s = min(start_s, later[0][0]) if later else start_s
            # What arrives at an instant comes before the answers that end then.
            if not answers or answers[0][0] >= min(next_s, self._until_s):
                return next_s
            time_s, number, request = heappop(answers)
            for made in self._on_done(request, time_s, COMPLETED):
                if made.arrival_s < self._until_s:
                    self._check_progress(made.arrival_s, request.arrival_s)
                    after, delay_s = number, made.arrival_s - time_s
                    if made.session != request.session:  # the next session of a closed loop
                        after, delay_s = -1, 0.0
                    heappush(later, (made.arrival_s, made.index, made, after, delay_s))
                    self.enter(made)
            self._leave(request)

    def is_next(self, time_s: float, index: int) -> bool:
        """Whether an arrival comes before all that waited for answers."""
        return not self._later or (time_s, index) < self._later[0][:2]

    def arrive(self) -> tuple[Request, int, float]:
        """Takes the next request that waited, with what it waited for and for how long since."""
        _, _, request, after, delay_s = heappop(self._later)
        return request, after, delay_s

    def answer(self, time_s: float, number: int, request: Request) -> None:
        """Sets when a request's answer ends."""
        heappush(self._answers, (time_s, number, request))

    def enter(self, request: Request) -> None:
        """Counts a request of a session that is inside or to come."""
        if self._over is not None:
            self._inside[request.session] = self._inside.get(request.session, 0) + 1

    def _check_progress(self, time_s: float, before_s: float) -> None:
        """Counts the requests that follow at the instant of the request before them."""
        if time_s > before_s:
            return
        if time_s > self._instant:
            self._instant, self._crowd = time_s, 0
        self._crowd += 1
        if self._crowd > STANDSTILL:
            raise InputError(
                f"time stands still at {time_s:g} s: more than {STANDSTILL:,} requests follow "
                "from answers that take no time; give answers a duration > 0 s"
            )

    def _leave(self, request: Request) -> None:
        if self._over is None:
            return
        session = request.session
        self._inside[session] -= 1
        if not self._inside[session]:
            del self._inside[session]
            self._over(session)
