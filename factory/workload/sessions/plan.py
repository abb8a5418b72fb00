"""Sessions whose requests wait for each other in any pattern: loops of tools, sub-agents, jobs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from factory.records.codes import COMPLETED
from factory.workload.blocks import Runs
from factory.workload.request import Request

_arrival = attrgetter("arrival_s")


@dataclass(slots=True)
class SessionPlan:
    """All requests of a session, and what each waits for; row i is request i.

    A row stands behind the rows that it waits for.

    Attributes:
        inputs: Prompt tokens, each ≥ 1.
        outputs: Answer tokens, each ≥ 1.
        blocks: Runs of block ids of each prompt, chained, with the ids of the whole workload.
        contexts: Runs of the whole blocks of prompt and answer, of which `blocks` are the start,
            where a later prompt may continue the answer; else ().
        waits: How many answers of the session a request waits for; 0: sent when the session starts.
        followers: Rows that wait for the answer to a row.
        delays_s: Seconds from the last awaited answer to the request.
        parents: Row whose answer a request continues; -1 for none.
        tasks: Number of the task in the session that a request serves.
        agents: 0 for the session's main agent, 1, 2, … for its sub-agents.
        times_s: Seconds from the session's start before which a request is not sent, whenever what
            it waits for is answered (recorded times); None where there are none.
    """

    inputs: list[int]
    outputs: list[int]
    blocks: list[Runs]
    contexts: list[Runs]
    waits: list[int]
    followers: list[tuple[int, ...]]
    delays_s: list[float]
    parents: list[int]
    tasks: list[int]
    agents: list[int]
    times_s: list[float] | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """How long answers take where no factory gives them: sessions under way at the start.

    Attributes:
        ttft_s: Time to first token, seconds.
        itl_s: Inter-token latency, seconds.
    """

    ttft_s: float
    itl_s: float

    def span_s(self, output_tokens: int) -> float:
        """From a request to the end of its answer, seconds."""
        return self.ttft_s + self.itl_s * (output_tokens - 1)


class _Live:
    """A session of which requests are in flight or to come."""

    __slots__ = ("indices", "inside", "plan", "start_s", "waits")

    def __init__(self, plan: SessionPlan, start_s: float) -> None:
        self.plan = plan
        self.start_s = start_s
        self.waits = plan.waits.copy()
        self.indices = [-1] * len(self.waits)  # of the requests sent
        self.inside = 0  # requests sent and not answered


class PlanScript:
    """Sends what planned sessions ask: a request goes out when all it waits for is answered.

    What waits for a request that is not completed never comes; the rest of the session goes on.

    Args:
        plans: One per session, in the order in which sessions start.
        tenant: Position of the tenant in the scenario.
        deployment: Position of the deployment that serves it.
        source: Position of this source among the `sources` of the workload.
        sources: How many sources there are; session numbers step by it.
        max_tokens: Output tokens that clients allow; 0 for those of each answer.
    """

    __slots__ = ("_deployment", "_live", "_max_tokens", "_plans", "_session", "_step", "_tenant")

    def __init__(
        self,
        plans: Iterator[SessionPlan],
        tenant: int,
        deployment: int,
        source: int,
        sources: int,
        max_tokens: int = 0,
    ) -> None:
        self._plans = plans
        self._tenant = tenant
        self._deployment = deployment
        self._session = source
        self._step = sources
        self._max_tokens = max_tokens
        self._live: dict[int, _Live] = {}

    @property
    def session_tenants(self) -> frozenset[int]:
        """The tenant."""
        return frozenset((self._tenant,))

    def begin(self, time_s: float) -> Sequence[Request]:
        """Starts the next session; returns what it begins with, nothing if there is none left."""
        plan = next(self._plans, None)
        if plan is None:
            return ()
        session = self._session
        self._session = session + self._step
        live = _Live(plan, time_s)
        first = [row for row, waits in enumerate(live.waits) if not waits]
        live.inside = len(first)
        self._live[session] = live
        return [self._request(live, session, row, time_s) for row in first]

    def resume(self, start_s: float, answers: Answers) -> tuple[Sequence[Request], float]:
        """Starts the next session before the run, where it would be at time 0.

        Args:
            start_s: When it started, seconds, below 0.
            answers: How long its answers took up to then.

        Returns:
            What it sends next, by arrival: a request in flight at time 0 is sent then, and has no
            parent of this run. Beside it the end of a session that is over before 0 (and sends
            nothing), else infinity; minus infinity if there is no further session.
        """
        plan = next(self._plans, None)
        if plan is None:
            return (), -math.inf
        session = self._session
        self._session = session + self._step
        live = _Live(plan, start_s)
        end_s = start_s
        ready = [start_s] * len(live.waits)
        sent: list[tuple[int, float]] = []
        for row, followers in enumerate(plan.followers):
            if live.waits[row]:
                continue  # waits for an answer of the run
            send_s = ready[row] + plan.delays_s[row]
            if plan.times_s is not None:
                send_s = max(send_s, start_s + plan.times_s[row])
            done_s = send_s + answers.span_s(plan.outputs[row])
            if done_s > 0.0:
                sent.append((row, max(0.0, send_s)))
                continue
            end_s = max(end_s, done_s)
            for later in followers:
                live.waits[later] -= 1
                ready[later] = max(ready[later], done_s)
        if not sent:
            return (), end_s
        live.inside = len(sent)
        self._live[session] = live
        made = [self._request(live, session, row, time_s) for row, time_s in sent]
        made.sort(key=_arrival)
        return made, math.inf

    def follow(self, request: Request, time_s: float, outcome: int) -> Sequence[Request] | None:
        """Returns what an answer leads to; None once its session is over."""
        session, row = request.session, request.turn
        live = self._live[session]
        live.inside -= 1
        made: list[Request] = []
        if outcome == COMPLETED:
            live.indices[row] = request.index
            plan = live.plan
            waits = live.waits
            for later in plan.followers[row]:
                waits[later] -= 1
                if not waits[later]:
                    send_s = time_s + plan.delays_s[later]
                    if plan.times_s is not None:
                        send_s = max(send_s, live.start_s + plan.times_s[later])
                    made.append(self._request(live, session, later, send_s))
            live.inside += len(made)
            if len(made) > 1:
                made.sort(key=_arrival)
        if live.inside:
            return made
        del self._live[session]
        return None

    def _request(self, live: _Live, session: int, row: int, time_s: float) -> Request:
        plan = live.plan
        parent = plan.parents[row]
        return Request(
            -1,
            self._tenant,
            self._deployment,
            session,
            row,
            -1 if parent < 0 else live.indices[parent],
            -1,
            0,
            time_s,
            plan.inputs[row],
            plan.outputs[row],
            plan.blocks[row],
            plan.contexts[row],
            self._max_tokens,
            None,
            plan.tasks[row],
            plan.agents[row],
        )
