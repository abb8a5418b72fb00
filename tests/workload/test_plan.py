"""Planned sessions: a request goes out when all that it waits for is answered."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.records.codes import COMPLETED, REJECTED
from factory.workload.loops import ClosedLoop, OpenLoop, UnderWay
from factory.workload.mix import Mix
from factory.workload.request import Request
from factory.workload.sessions.plan import Answers, PlanScript, SessionPlan


def plan(
    after: list[tuple[int, ...]], delays: list[float], tasks: list[int] | None = None
) -> SessionPlan:
    """A session whose row i waits for the rows `after[i]`."""
    n = len(after)
    followers: list[list[int]] = [[] for _ in range(n)]
    for row, rows in enumerate(after):
        for before in rows:
            followers[before].append(row)
    return SessionPlan(
        [100 + row for row in range(n)],
        [10 + row for row in range(n)],
        [()] * n,
        [()] * n,
        [len(rows) for rows in after],
        [tuple(rows) for rows in followers],
        delays,
        [rows[-1] if rows else -1 for rows in after],
        tasks or [0] * n,
        [0] * n,
    )


def mix(plans: list[SessionPlan], clients: int = 1) -> Mix:
    return Mix([ClosedLoop(PlanScript(iter(plans), 3, 0, 0, 1), [0.0] * clients, 1e9)], [64])


def rows(requests: list[Request]) -> list[tuple[int, float]]:
    return [(r.turn, r.arrival_s) for r in requests]


def test_a_join_waits_for_the_last_answer_and_its_delay() -> None:
    # 0 → (1, 2) → 3
    workload = mix([plan([(), (0,), (0,), (1, 2)], [0.0, 1.0, 2.0, 5.0], [0, 0, 0, 1])])
    (first,) = workload.start()
    assert rows([first]) == [(0, 0.0)]
    fan = list(workload.on_done(first, 10.0, COMPLETED))
    assert rows(fan) == [(1, 11.0), (2, 12.0)]
    assert [r.parent for r in fan] == [first.index] * 2
    assert workload.on_done(fan[1], 20.0, COMPLETED) in ((), [])
    (last,) = workload.on_done(fan[0], 31.0, COMPLETED)
    assert rows([last]) == [(3, 36.0)]
    assert last.parent == fan[1].index
    assert (last.task, last.tenant) == (1, 3)
    assert not workload.on_done(last, 40.0, COMPLETED)


def test_followers_are_sent_by_time() -> None:
    workload = mix([plan([(), (0,), (0,)], [0.0, 7.0, 2.0])])
    (first,) = workload.start()
    assert rows(list(workload.on_done(first, 1.0, COMPLETED))) == [(2, 3.0), (1, 8.0)]


def test_what_waits_for_a_lost_request_never_comes() -> None:
    workload = mix([plan([(), (), (0, 1), (1,)], [0.0] * 4), plan([()], [0.0])])
    a, b = workload.start()
    assert not workload.on_done(a, 1.0, REJECTED)
    (own,) = workload.on_done(b, 2.0, COMPLETED)
    assert own.turn == 3
    # The session is over without its row 2; the client's next one starts.
    (following,) = workload.on_done(own, 3.0, COMPLETED)
    assert (following.session, following.turn, following.arrival_s) == (1, 0, 3.0)
    assert not workload.on_done(following, 4.0, COMPLETED)


@given(st.lists(st.sets(st.integers(0, 8), max_size=3), min_size=1, max_size=9), st.randoms())
def test_every_request_comes_once_after_all_that_it_waits_for(
    waits: list[set[int]], chance: object
) -> None:
    after = [tuple(sorted(b for b in before if b < row)) for row, before in enumerate(waits)]
    workload = mix([plan(after, [0.5] * len(after))])
    inside = list(workload.start())
    done: dict[int, float] = {}
    sent: dict[int, float] = {r.turn: r.arrival_s for r in inside}
    now = 0.0
    while inside:
        request = inside.pop(chance.randrange(len(inside)))  # type: ignore[attr-defined]
        now = max(now, request.arrival_s) + 1.0
        done[request.turn] = now
        for later in workload.on_done(request, now, COMPLETED):
            assert later.turn not in sent
            sent[later.turn] = later.arrival_s
            inside.append(later)
    assert sorted(done) == list(range(len(after)))
    for row, before in enumerate(after):
        due = max((done[b] for b in before), default=-0.5) + 0.5
        assert sent[row] == pytest.approx(due)


def test_a_session_under_way_is_where_it_would_be() -> None:
    # 0 → (1, 2) → 3 → 4; answers take 1 + 0.5 × (tokens − 1) s: 5.5, 6, 6.5, 7, 7.5 s.
    after: list[tuple[int, ...]] = [(), (0,), (0,), (1, 2), (3,)]
    delays = [0.0, 1.0, 2.0, 5.0, 30.0]
    answers = Answers(1.0, 0.5)

    def left(start_s: float) -> tuple[list[tuple[int, float]], float]:
        script = PlanScript(iter([plan(after, delays)]), 3, 0, 0, 1)
        requests, end_s = script.resume(start_s, answers)
        return rows(list(requests)), end_s

    # Row 0 ends at 5.5, 1 runs 6.5–12.5, 2 runs 7.5–14, 3 runs 19–26, 4 runs 56–63.5.
    assert left(-1.0) == ([(0, 0.0)], math.inf)
    assert left(-6.0) == ([(1, 0.5), (2, 1.5)], math.inf)
    assert left(-13.0) == ([(2, 0.0)], math.inf)
    assert left(-15.0) == ([(3, 4.0)], math.inf)
    assert left(-40.0) == ([(4, 16.0)], math.inf)
    assert left(-64.0) == ([], pytest.approx(-0.5))
    assert PlanScript(iter([]), 3, 0, 0, 1).resume(-1.0, answers) == ((), -math.inf)


def test_what_follows_a_session_under_way_comes_when_its_answers_do() -> None:
    script = PlanScript(iter([plan([(), (0,), (0,), (1, 2)], [0.0, 1.0, 2.0, 5.0])]), 3, 0, 0, 1)
    loop = OpenLoop(script, Never(), 1e9, UnderWay(script, [-13.0], Answers(1.0, 0.5)))
    workload = Mix([loop], [64])
    (second,) = workload.start()
    assert (second.turn, second.parent) == (2, -1)
    (last,) = workload.on_done(second, 4.0, COMPLETED)
    assert rows([last]) == [(3, 9.0)]


def test_clients_under_way_go_through_whole_sessions_first() -> None:
    plans = [plan([(), (0,)], [0.0, 3.0]) for _ in range(6)]
    script = PlanScript(iter(plans), 3, 0, 0, 1)
    # A session takes 5.5 + 3 + 6 = 14.5 s.
    loop = ClosedLoop(script, [], 1e9, UnderWay(script, [-30.0, -4.0], Answers(1.0, 0.5)))
    made = list(Mix([loop], [64]).start())
    assert [(r.session, r.turn, r.arrival_s) for r in made] == [(2, 0, 0.0), (3, 0, 0.0)]


def test_a_session_under_way_can_end_with_the_demand() -> None:
    script = PlanScript(iter([plan([(), (0,)], [0.0, 50.0])]), 3, 0, 0, 1)
    loop = OpenLoop(script, Never(), 20.0, UnderWay(script, [-10.0], Answers(1.0, 0.5)))
    workload = Mix([loop], [64], until_s=20.0)
    assert list(workload.start()) == []
    assert workload.created == 0


class Never:
    """No session starts."""

    def times(self, until_s: float) -> Iterator[list[float]]:  # noqa: ARG002
        return iter(())
