"""Sources of requests made of a trace's sessions, or of its requests one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from factory.workload.blocks import SOURCE_SPAN, Runs, refined, trimmed
from factory.workload.loops import ClosedLoop, OpenLoop
from factory.workload.replay import moved
from factory.workload.request import Request
from factory.workload.sessions.plan import PlanScript, SessionPlan
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.rows import Rows
from factory.workload.traces.sessions import TraceSession


@dataclass(frozen=True, slots=True)
class Place:
    """Where the requests of a trace belong.

    Attributes:
        tenant: Position of the tenant.
        deployment: Position of the deployment that serves it.
        source: Position of the source among the `sources` of the workload.
        sources: How many there are.
        block_size: Tokens per block of the deployment.
        factor: How many of those make a block of the trace.
        until_s: Requests (of sessions, the first) from then on are left out.
    """

    tenant: int
    deployment: int
    source: int
    sources: int
    block_size: int
    factor: int
    until_s: float

    def runs(self, runs: Runs, tokens: int, base: int) -> Runs:
        """A prompt's blocks as the deployment names them.

        Args:
            runs: At the trace's block size.
            tokens: Length of the prompt.
            base: Added to every id, in blocks of the deployment.
        """
        whole = -(-tokens // self.block_size)
        return moved(trimmed(refined(runs, self.factor), whole), base + self.source * SOURCE_SPAN)


class Replay:
    """What an open or closed loop sends of a trace whose malformed rows are counted."""

    __slots__ = ("_bad", "_loop")

    def __init__(self, loop: OpenLoop | ClosedLoop, bad: BadRows) -> None:
        self._loop = loop
        self._bad = bad

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        return self._loop.session_tenants

    @property
    def skipped_rows(self) -> int:
        """Malformed rows left out so far."""
        return self._bad.count

    def start(self) -> Iterator[Request]:
        """Yields the requests that wait for no answer, by arrival time."""
        return self._loop.start()

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Returns what follows from the end of a request."""
        return self._loop.on_done(request, time_s, outcome)


def recorded(
    sessions: Iterator[TraceSession], bad: BadRows, place: Place, time_scale: float
) -> Replay:
    """Makes a source of sessions that start when they started; requests wait for answers.

    Args:
        sessions: By start.
        bad: Where malformed rows are counted.
        place: Where they belong.
        time_scale: Multiplies starts and recorded times, not the delays after answers.
    """
    timed = _Timed(sessions, place, time_scale)
    script = PlanScript(timed.plans(), place.tenant, place.deployment, place.source, place.sources)
    return Replay(OpenLoop(script, timed, place.until_s), bad)


def closed_sessions(
    sessions: Iterator[TraceSession], bad: BadRows, place: Place, concurrency: int
) -> Replay:
    """Makes a source of sessions of which so many are there at a time: one ends, the next starts.

    Recorded times are dropped; delays after answers are kept. Arguments as for `recorded`.
    """
    plans = _Timed(sessions, place, None).all_plans()
    script = PlanScript(plans, place.tenant, place.deployment, place.source, place.sources)
    return Replay(ClosedLoop(script, [0.0] * concurrency, place.until_s), bad)


def closed_requests(rows: Iterator[Rows], bad: BadRows, place: Place, concurrency: int) -> Replay:
    """Makes a source of requests of which so many are there at a time: one ends, the next comes."""
    return Replay(ClosedLoop(_Requests(rows, place), [0.0] * concurrency, place.until_s), bad)


class _Timed:
    """Sessions as starts and plans, side by side."""

    def __init__(
        self, sessions: Iterator[TraceSession], place: Place, time_scale: float | None
    ) -> None:
        self._sessions = sessions
        self._place = place
        self._scale = time_scale
        self._base = 0  # ids of sessions with ids of their own, in blocks of the deployment
        self._held: SessionPlan | None = None

    def times(self, until_s: float) -> Iterator[list[float]]:
        """Yields the start of one session at a time; its plan is the next one."""
        scale = 1.0 if self._scale is None else self._scale
        for session in self._sessions:
            start_s = session.start_s * scale
            if start_s >= until_s:
                return
            self._held = self._plan(session)
            yield [start_s]

    def plans(self) -> Iterator[SessionPlan]:
        """Yields the plan of the session that `times` came to last."""
        while self._held is not None:
            plan, self._held = self._held, None
            yield plan

    def all_plans(self) -> Iterator[SessionPlan]:
        """Yields all plans, whatever their starts."""
        return map(self._plan, self._sessions)

    def _plan(self, session: TraceSession) -> SessionPlan:
        plan, place, base = session.plan, self._place, 0
        if session.span:
            base = self._base
            self._base += session.span * place.factor
        plan.blocks = [
            place.runs(runs, tokens, base)
            for runs, tokens in zip(plan.blocks, plan.inputs, strict=True)
        ]
        plan.contexts = [
            place.runs(runs, prompt + answer, base) if runs else ()
            for runs, prompt, answer in zip(plan.contexts, plan.inputs, plan.outputs, strict=True)
        ]
        if self._scale is None:
            plan.times_s = None
        elif plan.times_s is not None:
            plan.times_s = [time_s * self._scale for time_s in plan.times_s]
        return plan


class _Requests:
    """A script of sessions of one request each."""

    def __init__(self, rows: Iterator[Rows], place: Place) -> None:
        self._place = place
        self._session = place.source
        self._rows = (
            row
            for batch in rows
            for row in zip(batch.inputs, batch.outputs, batch.blocks, strict=True)
        )

    @property
    def session_tenants(self) -> frozenset[int]:
        """None: every session is one request."""
        return frozenset()

    def begin(self, time_s: float) -> Sequence[Request]:
        """Sends the next request; nothing if there is none left."""
        row = next(self._rows, None)
        if row is None:
            return ()
        prompt, answer, runs = row
        place = self._place
        session = self._session
        self._session = session + place.sources
        blocks = place.runs(runs, prompt, 0)
        return (
            Request(
                -1, place.tenant, place.deployment, session, 0, -1, -1, 0, time_s, prompt, answer,
                blocks,
            ),
        )  # fmt: skip

    def follow(
        self,
        request: Request,  # noqa: ARG002 (no request of a trace waits for another)
        time_s: float,  # noqa: ARG002
        outcome: int,  # noqa: ARG002
    ) -> Sequence[Request] | None:
        """Nothing follows."""
        return None
