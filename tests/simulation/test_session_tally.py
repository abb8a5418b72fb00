"""Sessions and tasks, worked out by hand: through the real tally, and most through the factory.

A step takes 10 ms and 0.5 ms for each prompt token (`scripted.STEP`); answers have one token, so
that a request alone takes 10 ms + 0.5 ms × its prompt.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import BoundedKernel
from scripted import MS, factory, near

from factory.records.batch import Limits
from factory.records.codes import COMPLETED, IN_FLIGHT, OUTCOMES, REJECTED, TIMED_OUT
from factory.records.fact_requests import REQUESTS
from factory.records.fact_sessions import SESSIONS, TASKS
from factory.scenario import catalog, load
from factory.simulation.plant import assemble
from factory.simulation.run import drive
from factory.simulation.session_tally import SessionTally
from factory.workload import Request, Workload
from factory.workload.loops import OpenLoop
from factory.workload.mix import Mix
from factory.workload.retries import Retries, RetryPolicy
from factory.workload.sessions.plan import PlanScript, SessionPlan

NAN = math.nan


@dataclass(frozen=True)
class Ask:
    """A request of a session: prompt, rows that it waits for, ms after them, task and agent."""

    prompt: int
    after: tuple[int, ...] = ()
    delay_ms: float = 0.0
    task: int = 0
    agent: int = 0


def plan(*asks: Ask) -> SessionPlan:
    """A session of these requests; answers have one token."""
    followers: list[list[int]] = [[] for _ in asks]
    for row, ask in enumerate(asks):
        for before in ask.after:
            followers[before].append(row)
    return SessionPlan(
        inputs=[ask.prompt for ask in asks],
        outputs=[1] * len(asks),
        blocks=[()] * len(asks),
        contexts=[()] * len(asks),
        waits=[len(ask.after) for ask in asks],
        followers=[tuple(rows) for rows in followers],
        delays_s=[ask.delay_ms * MS for ask in asks],
        parents=[ask.after[0] if ask.after else -1 for ask in asks],
        tasks=[ask.task for ask in asks],
        agents=[ask.agent for ask in asks],
    )


@dataclass(frozen=True)
class At:
    """Sessions start at these times."""

    starts_ms: tuple[float, ...]

    def times(self, until_s: float) -> Iterator[list[float]]:
        yield [at * MS for at in self.starts_ms if at * MS < until_s]


def workload(
    *sessions: tuple[float, SessionPlan],
    others: Sequence[tuple[float, SessionPlan]] = (),
    limit: int | None = None,
) -> Mix:
    """Sessions of tenant 0 that start at these ms; and of tenant 1."""
    given_ = [sessions, others] if others else [sessions]
    sources = [
        OpenLoop(
            PlanScript(iter([made for _, made in mine]), tenant, 0, tenant, len(given_)),
            At(tuple(at for at, _ in mine)),
            math.inf,
        )
        for tenant, mine in enumerate(given_)
    ]
    return Mix(sources, (1,), limit)


class Alone:
    """Tenant 0 alone has sessions: the other's requests are one each."""

    def __init__(self, inner: Workload) -> None:
        self.inner = inner
        self.session_tenants = frozenset((0,))
        self.block_size, self.skipped_rows = inner.block_size, 0
        self.start, self.on_done, self.cut_tasks = inner.start, inner.on_done, inner.cut_tasks


class Given:
    """Requests that wait for nothing."""

    session_tenants = frozenset((0,))
    block_size, skipped_rows = (1,), 0

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests

    def start(self) -> Iterator[Request]:
        yield from self.requests

    def on_done(self, *_: object) -> Sequence[Request]:
        return ()

    def cut_tasks(self, _: int) -> Sequence[int]:
        return ()


@dataclass
class Seen:
    """What a run wrote: rows by raw field."""

    requests: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    end_s: float


def run(demand: Workload, *, limits: Limits | None = None, **scenario: Any) -> Seen:
    """Plays a workload on one replica."""
    made = load({**factory(tenants=({}, {})), **scenario})
    level = limits or Limits()
    rows: list[Any] = []
    sessions: list[Any] = []
    tasks: list[Any] = []
    tally = SessionTally(demand, [level, level], rows.append, sessions.append, tasks.append)
    kernel = BoundedKernel(20_000)
    plant = assemble(made, catalog(), tally, kernel, tally.write, [].append)
    end_s = drive(made, plant, kernel, lambda: None, None, 0.0)
    tally.finish(end_s)
    return Seen(
        *(
            [dict(zip([f.name for f in table.raw], row, strict=True)) for row in found]
            for table, found in ((REQUESTS, rows), (TASKS, tasks), (SESSIONS, sessions))
        ),
        end_s,
    )


def times(row: dict[str, Any], *names: str) -> list[float]:
    return [row[name] for name in names]


def test_a_chain_with_tools() -> None:
    # 20 ms, a tool for 100 ms, 30 ms, a tool for 50 ms, 20 ms; a person thinks for 1 s; 25 ms.
    chain = plan(
        Ask(20), Ask(40, (0,), 100), Ask(20, (1,), 50), Ask(30, (2,), 1000, task=1)
    )  # fmt: skip
    seen = run(workload((0, chain)), run={"duration_s": 5})
    first, second = seen.tasks
    assert times(first, "start_time_s", "first_token_time_s", "end_time_s") == near(0, 20, 220)
    assert first["waited_s"] == near(70)
    assert (first["requests"], first["attempts"], first["agents"]) == (3, 3, 1)
    assert (first["input_tokens"], first["input_computed_tokens"]) == (80, 80)
    assert first["output_tokens"] == 3
    assert times(second, "start_time_s", "end_time_s", "waited_s") == near(1220, 1245, 25)
    [session] = seen.sessions
    assert times(session, "start_time_s", "end_time_s", "think_s") == near(0, 1245, 1000)
    assert (session["tasks"], session["requests"], session["outcome"]) == (2, 4, COMPLETED)
    assert session["peak_context_tokens"] == 41
    assert [session["gpu_s_input_computed"]] == pytest.approx(
        [sum(row["gpu_s_input_computed"] for row in seen.requests)]
    )
    assert first["gpu_s_input_at_decode"] == first["gpu_s_input_computed"]


def test_a_fan_out_and_its_join() -> None:
    # The main agent until 20 ms; one sub-agent 20 to 40 ms, another 30 to 80 (it waits for the step
    # of the first), a third after a tool 200 to 220; the join 220 to 240 ms.
    fan = plan(
        Ask(20),
        Ask(20, (0,), agent=1),
        Ask(60, (0,), 10, agent=2),
        Ask(20, (0,), 180, agent=3),
        Ask(20, (1, 2, 3)),
    )
    seen = run(workload((0, fan)), run={"duration_s": 5})
    [task] = seen.tasks
    assert times(task, "start_time_s", "end_time_s") == near(0, 240)
    assert task["waited_s"] == near(20 + 60 + 20 + 20)
    assert (task["requests"], task["subagent_requests"], task["agents"]) == (5, 3, 4)
    assert seen.sessions[0]["agents"] == 4


def test_a_request_tried_again_is_one() -> None:
    # The other's 180 tokens take the replica until 100 ms. A client gives up at 10 + 30 ms, comes
    # again half a second later and has its answer in 20 ms.
    tenants = ({"timeouts": {"ttft_timeout_s": 0.03}}, {})
    other = plan(Ask(180))
    made = workload((10, plan(Ask(20), Ask(20, (0,), 40))), others=[(0, other)])
    policy = RetryPolicy("t0", 2, 0.5, 2.0, 10.0, 0.0, frozenset((TIMED_OUT,)))
    scenario = factory(tenants=tenants)
    seen = run(
        Alone(Retries(made, {0: policy}, 1, 0)),
        workload=scenario["workload"],
        run={"duration_s": 5},
    )
    [task] = seen.tasks
    assert task["outcome"] == COMPLETED
    assert times(task, "start_time_s", "end_time_s") == near(10, 620)
    assert task["waited_s"] == near(30 + 20 + 20)
    assert (task["requests"], task["attempts"], task["requests_good"]) == (2, 3, 2)
    assert task["input_tokens"] == 60
    assert task["first_token_time_s"] == near(560)
    assert len(seen.requests) == 4
    assert len(seen.sessions) == 1


def test_a_session_that_is_not_served_ends() -> None:
    # The same without a second try: what waits for the second request never comes.
    tenants = ({"timeouts": {"ttft_timeout_s": 0.03}}, {})
    chain = plan(Ask(20), Ask(20, (0,), 40), Ask(20, (1,)), Ask(20, (2,), task=1))
    made = workload((0, chain), others=[(50, plan(Ask(180)))])
    seen = run(
        Alone(made), workload=factory(tenants=tenants)["workload"], run={"duration_s": 5}
    )  # fmt: skip
    [task], [session] = seen.tasks, seen.sessions
    assert (task["outcome"], session["outcome"]) == (TIMED_OUT, TIMED_OUT)
    assert (task["requests"], session["tasks"]) == (2, 1)
    assert times(task, "start_time_s", "end_time_s", "waited_s") == near(0, 90, 50)


def test_a_run_that_stops_leaves_sessions_in_flight() -> None:
    # At 100 ms: one has a tool at work, one is inside since 95 ms, of one the next task is to come.
    tool = plan(Ask(20), Ask(20, (0,), 500))
    inside = plan(Ask(180))
    thinks = plan(Ask(20), Ask(20, (0,), 500, task=1))
    seen = run(
        workload((0, tool), (30, thinks), (95, inside)), run={"duration_s": 0.1, "drain": False}
    )
    assert seen.end_s == near(100)
    found = {row["session"]: row for row in seen.tasks}
    assert [found[number]["outcome"] for number in range(3)] == [IN_FLIGHT, COMPLETED, IN_FLIGHT]
    assert [found[number]["waited_s"] for number in range(3)] == near(20, 20, 5)
    assert [math.isnan(found[number]["end_time_s"]) for number in range(3)] == [True, False, True]
    assert [row["outcome"] for row in seen.sessions] == [IN_FLIGHT] * 3
    assert all(math.isnan(row["think_s"]) for row in seen.sessions)
    assert [row["session"] for row in seen.sessions] == [0, 1, 2]


def test_requests_that_the_run_leaves_out_are_to_come() -> None:
    within = plan(Ask(20), Ask(20, (0,), 5))
    apart = plan(Ask(20), Ask(20, (0,), 5, task=1))
    seen = run(workload((0, within), (100, apart), limit=3), run={"requests": 3})
    assert [row["outcome"] for row in seen.tasks] == [COMPLETED, COMPLETED]
    assert [row["outcome"] for row in seen.sessions] == [COMPLETED, IN_FLIGHT]
    seen = run(workload((0, apart), (100, within), limit=3), run={"requests": 3})
    assert [row["outcome"] for row in seen.tasks] == [COMPLETED, COMPLETED, IN_FLIGHT]


def test_a_session_that_begins_with_several_requests_is_one() -> None:
    """Though the first is turned away before the second has been given out."""
    both = plan(Ask(5000), Ask(20), Ask(20, (1,)))
    engine = {"kv_capacity_tokens": 1000}
    scenario = factory({"engine": engine}, tenants=({}, {}))
    seen = run(
        workload((0, both)), deployments=scenario["deployments"], run={"duration_s": 1}
    )  # fmt: skip
    [session], [task] = seen.sessions, seen.tasks
    assert (session["outcome"], session["requests"], session["attempts"]) == (REJECTED, 3, 3)
    assert times(task, "start_time_s", "end_time_s", "waited_s") == near(0, 40, 40)


def test_a_session_under_way_is_kept_and_not_whole() -> None:
    """Two of its requests come at times of their own, seconds apart; it is one session."""
    rows = [(3, 0.0, 1), (4, 2.0, 1), (5, 3.0, 2)]
    given_ = [
        Request(index, 0, 0, 7, turn, -1, index, 0, at_s, 20, 1, (), task=task)
        for index, (turn, at_s, task) in enumerate(rows)
    ]
    seen = run(Given(given_), run={"duration_s": 5})
    [session] = seen.sessions
    assert (session["is_whole"], session["requests"], session["tasks"]) == (False, 3, 2)
    assert session["outcome"] == COMPLETED
    assert session["end_time_s"] == near(3020)
    assert [row["is_whole"] for row in seen.tasks] == [False, False]


def test_good_is_as_the_requests_say() -> None:
    chain = plan(Ask(20), Ask(40, (0,), 10), Ask(60, (1,), 10))
    seen = run(workload((0, chain)), limits=Limits(ttft_s=0.031), run={"duration_s": 1})
    assert seen.tasks[0]["requests_good"] == 2


class Played:
    """A world without limits: every request takes the time that it is given."""

    def __init__(
        self, demand: Workload, spans_ms: Sequence[float], outcomes: Sequence[int]
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        tasks: list[Any] = []
        sessions: list[Any] = []
        tally = SessionTally(demand, [Limits()], self._note, sessions.append, tasks.append)
        arrivals = tally.start()
        upcoming = next(arrivals, None)
        events: list[tuple[float, int, Request, bool]] = []
        count = 0
        while upcoming is not None or events:
            if upcoming is not None and (not events or upcoming.arrival_s <= events[0][0]):
                request, is_arrival = upcoming, True
                upcoming = next(arrivals, None)
            else:
                now_s, _, request, is_arrival = heapq.heappop(events)
            if is_arrival:
                span_s = spans_ms[count % len(spans_ms)] * MS
                count += 1
                left = (request.arrival_s + span_s, request.index, request, False)
                heapq.heappush(events, left)
                request.max_tokens = outcomes[count % len(outcomes)]
                continue
            tally.write(self._row(request, now_s))
            for later in tally.on_done(request, now_s, request.max_tokens):
                heapq.heappush(events, (later.arrival_s, later.index, later, True))
        tally.finish(1e6)
        self.tasks = [dict(zip([f.name for f in TASKS.raw], row, strict=True)) for row in tasks]
        self.sessions = sessions

    def _note(self, row: tuple[Any, ...]) -> None:
        self.rows.append(dict(zip([field.name for field in REQUESTS.raw], row, strict=True)))

    def _row(self, request: Request, left_s: float) -> tuple[Any, ...]:
        known = {
            "session": request.session,
            "task": request.task,
            "agent": request.agent,
            "tenant": request.tenant,
            "attempt": request.attempt,
            "outcome": request.max_tokens,
            "first_arrival_time_s": request.first_s,
            "arrival_time_s": request.arrival_s,
            "first_token_time_s": NAN,
            "completion_time_s": left_s,
            "input_tokens": request.input_tokens,
            "gpu_s_output": 0.25,
        }
        return tuple(known.get(field.name, 0) for field in REQUESTS.raw)


@st.composite
def sessions(draw: st.DrawFn) -> SessionPlan:
    """A session in which requests wait for some of those before them, in any pattern."""
    asks = [Ask(draw(st.integers(1, 9)))]
    for row in range(1, draw(st.integers(1, 9))):
        after = draw(st.sets(st.integers(0, row - 1), min_size=1, max_size=3))
        asks.append(
            Ask(
                draw(st.integers(1, 9)),
                tuple(sorted(after)),
                draw(st.sampled_from((0.0, 3.0, 10.0, 40.0))),
                task=draw(st.integers(0, 2)),
                agent=draw(st.integers(0, 3)),
            )
        )
    return plan(*asks)


def union_s(stretches: Sequence[tuple[float, float]]) -> float:
    covered, until = 0.0, -math.inf
    for begin, end in sorted(stretches):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), sessions()), min_size=1, max_size=4),
    st.lists(st.sampled_from((0.0, 2.0, 5.0, 11.0, 47.0)), min_size=1, max_size=7),
    st.lists(st.sampled_from((COMPLETED, COMPLETED, COMPLETED, REJECTED)), min_size=1, max_size=5),
)
def test_sums_and_spans_are_those_of_the_rows(
    made: list[tuple[int, SessionPlan]], spans_ms: list[float], outcomes: list[int]
) -> None:
    made.sort(key=lambda pair: pair[0])
    seen = Played(workload(*made), spans_ms, outcomes)
    assert len(seen.sessions) == len(made)
    by_task: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in seen.rows:
        by_task.setdefault((row["session"], row["task"]), []).append(row)
    assert len(by_task) == len(seen.tasks)
    for task in seen.tasks:
        rows = by_task[task["session"], task["task"]]
        assert task["requests"] == task["attempts"] == len(rows)
        assert task["input_tokens"] == sum(row["input_tokens"] for row in rows)
        assert task["gpu_s_output"] == 0.25 * len(rows)
        assert task["agents"] == len({row["agent"] for row in rows})
        assert task["subagent_requests"] == sum(row["agent"] > 0 for row in rows)
        assert task["start_time_s"] == min(row["arrival_time_s"] for row in rows)
        assert task["end_time_s"] == max(row["completion_time_s"] for row in rows)
        stays = [(row["arrival_time_s"], row["completion_time_s"]) for row in rows]
        assert task["waited_s"] == pytest.approx(union_s(stays), abs=1e-9)
        bad = [row["outcome"] for row in rows if row["outcome"] != COMPLETED]
        assert OUTCOMES[task["outcome"]] == OUTCOMES[bad[0] if bad else COMPLETED]


def test_nothing_is_kept_of_sessions_that_are_over() -> None:
    rows: list[Any] = []
    made = [(100.0 * number, plan(Ask(20))) for number in range(50)]
    demand = workload(*made)
    tally = SessionTally(demand, [Limits()], lambda _: None, rows.append, rows.append)
    world = Played.__new__(Played)
    most = 0
    for number, request in enumerate(tally.start()):
        left_s = request.arrival_s + 0.02
        tally.write(world._row(request, left_s))
        tally.on_done(request, left_s, COMPLETED)
        most = max(most, len(tally._live))
        assert len(rows) == 2 * number
    assert most <= 2
