"""Sessions and tasks of a run: sums over their requests while they last, a row when they are over.

The tally stands between the workload and the factory: it hears of each request when the workload
gives it out, of each attempt when its row is written, and of each answer on its way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf, nan
from operator import itemgetter
from typing import Any

from factory.records.batch import Limits
from factory.records.codes import COMPLETED, IN_FLIGHT
from factory.records.fact_requests import REQUESTS
from factory.workload import Request, Workload

Row = tuple[Any, ...]

_PLACES = {field.name: place for place, field in enumerate(REQUESTS.raw)}
_TENANT = _PLACES["tenant"]
_pick = itemgetter(
    *(
        _PLACES[name]
        for name in (
            "session",
            "task",
            "agent",
            "attempt",
            "tenant",
            "outcome",
            "first_arrival_time_s",
            "arrival_time_s",
            "first_token_time_s",
            "completion_time_s",
            "input_tokens",
            "input_computed_tokens",
            "input_cached_tokens",
            "output_tokens",
            "gpu_s_input_computed",
            "gpu_s_input_cached",
            "gpu_s_output",
            "energy_input_j",
            "energy_output_j",
            "prefill_replica",
            "decode_replica",
        )
    )
)


class _Task:
    """What is known of one task; `sums` are those of the attempts that have left.

    Attributes:
        is_whole: Whether it began in the run.
        open: Its requests that are inside or to come.
        bad: What became of its first request that was not served, a code; -1 for none.
        agents: Bit n is set once agent n has asked.
        start_s, end_s: When its first request arrived and its last one left.
        token_s: When the first token of any answer came; infinite until then.
        held_s: Arrival of the first attempt that is still inside at the end of the run.
        waited_s: Time covered by attempts, except those in `spans`.
        spans: Begin and end of stretches of time covered, one after the other, while others of its
            requests are open: one that has been inside for longer may join them.
        peak: Longest prompt with its answer, tokens.
        sums: What its row and that of its session share; None until there is a row of an attempt.
    """

    # Defaults of the class: an object without its own is made in a third of the time.
    is_whole = True
    open = 1
    bad = -1
    agents = peak = 0
    start_s = token_s = held_s = inf
    end_s = -inf
    waited_s = 0.0
    spans: list[float] | None = None
    sums: list[Any] | None = None

    def cover(self, from_s: float, to_s: float) -> None:
        """An attempt was inside; attempts come in the order in which they left."""
        spans = self.spans or []
        while spans and spans[-1] >= from_s:
            spans.pop()
            from_s = min(from_s, spans.pop())
        spans += (from_s, to_s)
        self.spans = spans
        if not self.open:
            self.settle()

    def settle(self) -> None:
        """Nothing will join the stretches of time any more."""
        if self.spans is not None:
            self.waited_s += sum(self.spans[1::2]) - sum(self.spans[::2])
            self.spans = None


_AGENTS = 4
"""Where the number of agents stands among the sums."""


class _Session:
    """A session of which a request is inside or to come.

    Attributes:
        is_whole: Whether it began in the run.
        open: How many are, and one more while it is kept.
        bad: What became of its first request that was not served, a code; -1 for none.
        tasks: By number.
    """

    __slots__ = ("bad", "deployment", "is_whole", "open", "tasks", "tenant")

    def __init__(self, tenant: int, deployment: int) -> None:
        self.tenant = tenant
        self.deployment = deployment
        self.is_whole = True
        self.open = 0
        self.bad = -1
        self.tasks: dict[int, _Task] = {}


class SessionTally:
    """A workload whose sessions are counted, for tenants whose sessions can have several requests.

    A session is over when none of its requests is inside or to come; its rows are written then,
    those of its tasks in their order. Sums count every attempt; requests count once.

    Args:
        workload: Who asks.
        limits: Service level of each tenant, by position.
        write: Takes a finished row of `fact_requests`.
        write_session: Takes a row of `fact_sessions`.
        write_task: Takes a row of `fact_tasks`.
    """

    __slots__ = ("_closed_s", "_closing", "_cut_tasks", "_limits", "_live", "_on_done", "_tenants",
                 "_workload", "_write", "_write_session", "_write_task")  # fmt: skip

    def __init__(
        self,
        workload: Workload,
        limits: Sequence[Limits],
        write: Callable[[Row], None],
        write_session: Callable[[Row], None],
        write_task: Callable[[Row], None],
    ) -> None:
        self._workload = workload
        self._on_done = workload.on_done
        self._cut_tasks = workload.cut_tasks
        self._tenants = workload.session_tenants
        self._limits = tuple(
            None if limit.ttft_s == limit.itl_s == limit.e2e_s == inf else limit for limit in limits
        )
        self._write = write
        self._write_session = write_session
        self._write_task = write_task
        self._live: dict[int, _Session] = {}
        self._closing: dict[int, _Session] = {}
        self._closed_s = 0.0

    @property
    def block_size(self) -> tuple[int, ...]:
        """Tokens per block, one number per deployment."""
        return self._workload.block_size

    @property
    def skipped_rows(self) -> int:
        """Malformed trace rows left out so far."""
        return self._workload.skipped_rows

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        return self._tenants

    def cut_tasks(self, session: int) -> Sequence[int]:
        """Tasks for which a session had more to send when demand ended; to be asked once."""
        return self._workload.cut_tasks(session)

    def start(self) -> Iterator[Request]:
        """Yields the requests that wait for no answer, lazily, by (arrival_s, index)."""
        tenants = self._tenants
        for request in self._workload.start():
            if request.tenant in tenants:
                if request.turn:
                    self._resume(request)
                self._expect(request)
            yield request

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Tells the workload that a request left, after its row; returns what follows from it."""
        later = self._on_done(request, time_s, outcome)
        if request.tenant not in self._tenants:
            return later
        if self._closing and time_s > self._closed_s:
            self._close()
        for made in later:
            self._expect(made)
        session = self._live[request.session]
        session.open -= 1
        if outcome != COMPLETED and not (later and later[0].attempt):
            task = session.tasks[request.task]
            if task.bad < 0:
                task.bad = outcome
            if session.bad < 0:
                session.bad = outcome
        if not session.open:
            # Of a session that begins with several requests, some may come at this very instant.
            self._closing[request.session] = session
            self._closed_s = time_s
        return later

    def write(self, row: Row) -> None:
        """Takes the row of an attempt that has left, or is inside at the end of the run."""
        self._write(row)
        if row[_TENANT] not in self._tenants:
            return
        (
            number, of, agent, attempt, tenant, outcome, first_s, arrival_s, token_s, left_s,
            prompt, computed, cached, output, gpu_s_computed, gpu_s_cached, gpu_s_output,
            input_j, output_j, prefill, decode,
        ) = _pick(row)  # fmt: skip
        task = self._live[number].tasks[of]
        if token_s < task.token_s:  # noqa: PLR1730 (here and below: calls would take longer)
            task.token_s = token_s
        if prompt + output > task.peak:  # noqa: PLR1730
            task.peak = prompt + output
        good = 0
        if outcome == COMPLETED:
            limit = self._limits[tenant]
            # As `derive.is_good` says it of rows.
            if limit is None or (
                token_s - arrival_s <= limit.ttft_s
                and left_s - first_s <= limit.e2e_s
                and (output < 2 or (left_s - token_s) / (output - 1) <= limit.itl_s)
            ):
                good = 1
        request = 0 if attempt else 1
        at_decode = gpu_s_computed + gpu_s_cached if prefill == decode else 0.0
        sums = task.sums
        if sums is not None:
            sums[0] += request
            sums[1] += good
            sums[2] += 1
            if agent:
                sums[3] += request
            sums[5] += prompt
            sums[6] += computed
            sums[7] += cached
            sums[8] += output
            sums[9] += gpu_s_computed
            sums[10] += gpu_s_cached
            sums[11] += at_decode
            sums[12] += gpu_s_output
            sums[13] += input_j + output_j
            if first_s < task.start_s:  # noqa: PLR1730
                task.start_s = first_s
        else:
            task.start_s = first_s
            task.sums = [
                request, good, 1, request if agent else 0, 0, prompt, computed, cached, output,
                gpu_s_computed, gpu_s_cached, at_decode, gpu_s_output, input_j + output_j,
            ]  # fmt: skip
        task.agents |= 1 << agent
        if outcome == IN_FLIGHT:
            task.held_s = min(task.held_s, arrival_s)
            return
        task.open -= 1
        task.end_s = left_s
        if task.open or task.spans is not None:
            task.cover(arrival_s, left_s)
        else:
            task.waited_s += left_s - arrival_s

    def finish(self, end_s: float) -> None:
        """Writes the sessions that are not over, in the order in which they began.

        Args:
            end_s: End of the run, seconds.
        """
        self._close()
        for number, session in self._live.items():
            if not session.is_whole:
                session.open -= 1
            self._rows(number, session, end_s)
        self._live.clear()

    def _resume(self, request: Request) -> None:
        """A request that waits for no answer of the run, and is not the first of its session.

        If it is the first that is seen of it, the session was under way when the run began. More of
        its requests may be given out later, so it is kept until the end of the run; its tasks that
        were under way with it are not whole.
        """
        session = self._live.get(request.session)
        if session is None:
            session = _Session(request.tenant, request.deployment)
            session.is_whole = False
            session.open = 1
            self._live[request.session] = session
        if not session.is_whole and request.task not in session.tasks:
            task = session.tasks[request.task] = _Task()
            task.open = 0
            task.is_whole = False

    def _expect(self, request: Request) -> None:
        """A request is to come."""
        session = self._live.get(request.session)
        if session is None:
            session = _Session(request.tenant, request.deployment)
            self._live[request.session] = session
        session.open += 1
        task = session.tasks.get(request.task)
        if task is None:
            session.tasks[request.task] = _Task()
        else:
            task.open += 1

    def _close(self) -> None:
        """Writes the sessions that are over."""
        live = self._live
        for number, session in self._closing.items():
            if not session.open:
                self._rows(number, session, nan)
                del live[number]
        self._closing.clear()

    def _rows(self, number: int, session: _Session, end_s: float) -> None:
        """Writes a session and its tasks."""
        tasks = session.tasks
        is_over = not session.open
        for of in self._cut_tasks(number):
            is_over = False
            if of in tasks:
                tasks[of].open += 1
        peak = agents = 0
        stretches: list[tuple[float, float]] = []
        parts: list[list[Any]] = []
        for of in tasks if len(tasks) == 1 else sorted(tasks):
            task = tasks[of]
            sums = task.sums
            if sums is None:
                continue
            self._task(number, of, session, task, sums, end_s)
            stretches.append((task.start_s, task.end_s))
            parts.append(sums)
            agents |= task.agents
            if task.peak > peak:  # noqa: PLR1730
                peak = task.peak
        if not parts:
            return
        outcome = session.bad
        if outcome < 0:
            outcome = COMPLETED if is_over else IN_FLIGHT
        total = list(map(sum, zip(*parts, strict=True))) if len(parts) > 1 else parts[0]
        total[_AGENTS] = agents.bit_count()
        self._write_session(
            (
                number,
                session.deployment,
                session.tenant,
                outcome,
                session.is_whole,
                len(parts),
                min(stretches)[0],
                max(end_s for _, end_s in stretches) if is_over else nan,
                _idle_s(stretches) if is_over else nan,
                *total,
                peak,
            )
        )

    def _task(
        self,
        number: int,
        of: int,
        session: _Session,
        task: _Task,
        sums: list[Any],
        end_s: float,
    ) -> None:
        """Writes a task."""
        is_over = not task.open
        if task.held_s < inf:
            task.cover(task.held_s, end_s)
        task.settle()
        outcome = task.bad
        if outcome < 0:
            outcome = COMPLETED if is_over else IN_FLIGHT
        sums[_AGENTS] = task.agents.bit_count()
        self._write_task(
            (
                number,
                session.deployment,
                session.tenant,
                outcome,
                task.is_whole,
                of,
                task.start_s,
                task.end_s if is_over else nan,
                task.waited_s,
                task.token_s if task.token_s < inf else nan,
                *sums,
            )
        )


def _idle_s(stretches: list[tuple[float, float]]) -> float:
    """Time between the first start and the last end that no stretch covers; sorts them."""
    stretches.sort()
    idle_s, until_s = 0.0, stretches[0][1]
    for start_s, end_s in stretches:
        if start_s > until_s:
            idle_s += start_s - until_s
        until_s = max(until_s, end_s)
    return idle_s
