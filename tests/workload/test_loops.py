from collections import Counter
from itertools import pairwise

import pytest
from demand import facts, play, scenario, tenant, workload

from factory.records.codes import COMPLETED, IN_FLIGHT, REJECTED
from factory.workload import Request, Workload
from factory.workload.loops import BACKOFF_S

CLOSED = tenant(load={"concurrency": 7})
TALK = tenant("talk", load={"concurrency": 5}, session={"turns": 3, "think_time_s": 2.0})


def in_flight(requests: list[Request], service_s: float) -> list[int]:
    """How many requests are in flight just after each arrival."""
    return [sum(r.arrival_s <= q.arrival_s < r.arrival_s + service_s for r in requests)
            for q in requests]  # fmt: skip


def test_a_closed_loop_keeps_its_concurrency() -> None:
    requests = play(workload(scenario(CLOSED, requests=98)))
    assert len(requests) == 98
    assert set(in_flight(requests, 1.0)[7:]) == {7}
    assert [r.arrival_s for r in requests[:8]] == [0.0] * 7 + [1.0]


def test_sessions_are_numbered_in_order_of_start() -> None:
    requests = play(workload(scenario(CLOSED, requests=100)))
    assert [r.session for r in requests] == list(range(100))
    assert [r.index for r in requests] == list(range(100))


def test_a_closed_loop_asks_the_same_however_it_is_served() -> None:
    made = scenario(TALK, requests=600)
    fast, slow = (play(workload(made), service_s) for service_s in (0.1, 40.0))
    assert len(fast) == len(slow) == 600
    assert facts(fast)[:500] == facts(slow)[:500]


def test_a_thinking_session_keeps_its_slot() -> None:
    requests = play(workload(scenario(TALK, duration_s=300)))
    starts = sorted(r.arrival_s for r in requests if r.turn == 0)
    # Three turns of 1 s and two thoughts of 2 s: every slot starts a session each 7 s.
    assert starts == sorted(7.0 * i for i in range(43) for _ in range(5))
    assert len(requests) == 3 * len(starts)


def test_sessions_can_be_cut_at_the_duration() -> None:
    made = workload(scenario(TALK, duration_s=300, cut_sessions=True))
    requests = play(made)
    assert max(r.arrival_s for r in requests) < 300.0
    turns = Counter(r.session for r in requests)
    cut = [session for session, sent in turns.items() if sent < 3]
    assert cut
    assert [bool(made.cut_tasks(session)) for session in sorted(turns)] == [
        session in cut for session in sorted(turns)
    ]


def test_no_session_starts_after_the_duration() -> None:
    for made in (CLOSED, TALK, tenant(load={"rate": 9.0})):
        requests = play(workload(scenario(made, duration_s=20.0)))
        assert max(r.arrival_s for r in requests if r.turn == 0) < 20.0
    assert max(r.arrival_s for r in play(workload(scenario(TALK, duration_s=20.0)), 2.5)) > 20.0


@pytest.mark.parametrize("limit", [1, 6, 7, 8, 4095, 4096, 4097])
def test_the_number_of_requests_is_exact(limit: int) -> None:
    tenants = (CLOSED, TALK, tenant("open", load={"rate": 50.0}))
    for made in (tenants, tenants[:1], tenants[2:]):
        requests = play(workload(scenario(*made, requests=limit)))
        assert len(requests) == limit
        assert sorted(r.index for r in requests) == list(range(limit))


def test_both_bounds_hold() -> None:
    assert len(play(workload(scenario(CLOSED, requests=5, duration_s=100)))) == 5
    assert len(play(workload(scenario(CLOSED, requests=500, duration_s=1.0)))) == 7


def test_a_closed_loop_that_is_rejected_moves_time_on() -> None:
    requests = play(workload(scenario(CLOSED, duration_s=10)), service_s=0.0, outcome=REJECTED)
    assert len(requests) == 7 * int(10 / BACKOFF_S)


def test_the_end_of_a_run_starts_nothing() -> None:
    demand = workload(scenario(CLOSED, duration_s=10))
    request = next(demand.start())
    assert not demand.on_done(request, 1.0, IN_FLIGHT)


def test_nothing_is_the_same_empty_tuple() -> None:
    demand = workload(scenario(tenant(load={"rate": 1.0}), requests=3))
    done = [demand.on_done(r, r.arrival_s, COMPLETED) for r in demand.start()]
    assert all(later is done[0] for later in done)
    assert done[0] == ()


def test_starts_come_in_order_from_several_sources() -> None:
    made = scenario(
        tenant("a", load={"rate": 5.0}),
        tenant("b", load={"rate": 7.0, "arrival": "gamma", "cv": 2.0}),
        tenant("c", load={"concurrency": 3}),
        duration_s=50.0,
    )
    requests = list(workload(made).start())
    assert all((a.arrival_s, a.index) < (b.arrival_s, b.index) for a, b in pairwise(requests))
    assert {r.tenant for r in requests} == {0, 1, 2}
    assert {(r.tenant, r.session % 3) for r in requests} == {(0, 0), (1, 1), (2, 2)}
    assert len({r.session for r in requests}) == len(requests)


def test_starts_are_drawn_lazily() -> None:
    demand: Workload = workload(scenario(tenant(load={"rate": 1e6}), duration_s=1e9))
    starts = demand.start()
    assert [next(starts).index for _ in range(3)] == [0, 1, 2]


def test_tenants_go_to_their_deployment() -> None:
    made = scenario(
        tenant("a", load={"concurrency": 1}, shared_prefix={"tokens": 128}),
        tenant("b", load={"concurrency": 1}, shared_prefix={"tokens": 128}, deployment="d1"),
        deployments=2,
        requests=2,
    )
    demand = workload(made, [64, 16])
    first, second = demand.start()
    assert demand.block_size == (64, 16)
    assert (first.deployment, second.deployment) == (0, 1)
    assert (first.blocks[1], second.blocks[1]) == (2, 8)
    assert first.blocks[0] != second.blocks[0]
