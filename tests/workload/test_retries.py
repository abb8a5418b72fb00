"""Clients that try again: when, how often, and what the workload inside is told."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import pytest
from demand import facts, play, scenario, tenant, workload

from factory.records.codes import COMPLETED, FAILED, IN_FLIGHT, REJECTED, TIMED_OUT
from factory.scenario.admission import Retry
from factory.workload import Request
from factory.workload.retries import Retries, RetryPolicy, policy

Outcome = Callable[[Request], int]


def retries(*tenants: dict[str, Any], retry: dict[str, Any], **run: Any) -> Retries:
    """The workload of some tenants, all of which try again."""
    policies = {
        i: policy(own["name"], Retry.model_validate(retry)) for i, own in enumerate(tenants)
    }
    return Retries(workload(scenario(*tenants, **run)), policies, 1, 0)


def run(demand: Retries, outcome: Outcome, service_s: float = 1.0) -> list[Request]:
    """Plays a workload on a factory that ends every request after one time, somehow."""
    events: list[tuple[float, int, Request, bool]] = [
        (request.arrival_s, request.index, request, False) for request in demand.start()
    ]
    heapq.heapify(events)
    seen: list[Request] = []
    while events:
        now_s, _, request, is_done = heapq.heappop(events)
        if not is_done:
            seen.append(request)
            heapq.heappush(events, (now_s + service_s, request.index, request, True))
            continue
        for later in demand.on_done(request, now_s, outcome(request)):
            assert later.arrival_s >= now_s
            heapq.heappush(events, (later.arrival_s, later.index, later, False))
    return seen


EXACT = {"jitter": 0.0, "backoff_s": 0.5, "multiplier": 2.0, "max_backoff_s": 3.0, "attempts": 6}
ONE = tenant(load={"rate": 1.0, "arrival": "deterministic"})


def test_waits_double_up_to_the_longest() -> None:
    # Each attempt fails after 1 s; waits are 0.5, 1, 2, 3, 3 s (4 and 8 are cut).
    seen = run(retries(ONE, retry=EXACT, requests=1), lambda _: REJECTED)
    first = seen[0].arrival_s
    assert [r.arrival_s - first for r in seen] == [0.0, 1.5, 3.5, 6.5, 10.5, 14.5]
    assert [r.attempt for r in seen] == list(range(6))


def test_a_retry_is_the_same_request_again() -> None:
    talk = tenant(load={"rate": 1.0}, shared_prefix={"tokens": 640}, session={"turns": 2})
    seen = run(retries(talk, retry=EXACT, requests=1), lambda _: TIMED_OUT)
    same = ("tenant", "deployment", "session", "turn", "parent", "root", "input_tokens",
            "output_tokens", "blocks", "context_blocks", "max_tokens", "first_s")  # fmt: skip
    assert len(seen) == 6
    assert len({tuple(getattr(r, name) for name in same) for r in seen}) == 1
    assert [r.index for r in seen] == list(range(6))
    assert {r.root for r in seen} == {0}


def test_numbers_are_unique_and_in_order_of_creation() -> None:
    many = (tenant("a", load={"rate": 5.0}), tenant("b", load={"concurrency": 3}))
    demand = retries(*many, retry={"attempts": 3}, requests=200)
    seen = run(demand, lambda r: REJECTED if r.index % 3 == 0 else COMPLETED)
    assert sorted(r.index for r in seen) == list(range(demand.created))
    # The limit of the run is on first attempts.
    assert sum(r.attempt == 0 for r in seen) == 200
    assert demand.retried == len(seen) - 200 > 40
    firsts = {r.index for r in seen if r.attempt == 0}
    assert all(r.root in firsts and r.root <= r.index for r in seen)


def test_only_the_last_attempt_is_told() -> None:
    """A session of 3 turns: a retry that succeeds leads to the next turn, whose parent it is."""
    talk = tenant(load={"concurrency": 1}, session={"turns": 3, "think_time_s": 10.0})
    demand = retries(talk, retry={**EXACT, "attempts": 2}, requests=3)
    seen = run(demand, lambda r: REJECTED if r.attempt == 0 else COMPLETED)
    assert [(r.turn, r.attempt) for r in seen] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert [r.parent for r in seen] == [-1, -1, 1, 1, 3, 3]
    # 1 s of service, 0.5 s of waiting, 1 s of service, 10 s of thought: 12.5 s a turn.
    assert [r.arrival_s - seen[0].arrival_s for r in seen[::2]] == [0.0, 12.5, 25.0]


def test_a_session_ends_when_its_attempts_do() -> None:
    talk = tenant(load={"concurrency": 1}, session={"turns": 3})
    demand = retries(talk, retry={**EXACT, "attempts": 2}, duration_s=20.0)
    seen = run(demand, lambda r: REJECTED if r.session == 0 else COMPLETED)
    assert [(r.session, r.turn, r.attempt) for r in seen[:4]] == [
        (0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 1, 0)]  # fmt: skip


def test_a_closed_loop_keeps_its_concurrency_while_clients_wait() -> None:
    demand = retries(tenant(load={"concurrency": 4}), retry=EXACT, duration_s=60.0)
    seen = run(demand, lambda r: REJECTED if r.attempt < 2 else COMPLETED)
    # 1 + 0.5 + 1 + 1 + 1 = 4.5 s from a first attempt to the next: ceil(60 / 4.5) = 14 of each.
    assert sum(r.attempt == 0 for r in seen) == 4 * 14


@pytest.mark.parametrize(
    ("on", "outcome", "attempts"),
    [
        (["rejected"], REJECTED, 3),
        (["rejected"], TIMED_OUT, 1),
        (["timed_out", "failed"], FAILED, 3),
        (["rejected", "timed_out", "failed"], IN_FLIGHT, 1),
        (["rejected"], COMPLETED, 1),
    ],
)
def test_only_the_outcomes_stated(on: list[str], outcome: int, attempts: int) -> None:
    demand = retries(ONE, retry={"attempts": 3, "on": on}, requests=1)
    assert len(run(demand, lambda _: outcome)) == attempts


def test_a_tenant_without_a_policy_is_left_alone() -> None:
    both = scenario(tenant("a", load={"rate": 4.0}), tenant("b", load={"rate": 4.0}), requests=50)
    own = RetryPolicy("b", 2, 0.5, 2.0, 8.0, 0.0, frozenset({REJECTED}))
    seen = run(Retries(workload(both), {1: own}, 1, 0), lambda _: REJECTED)
    assert {r.tenant for r in seen if r.attempt} == {1}


def test_without_failures_the_demand_is_what_it_was() -> None:
    talk = tenant(load={"rate": 3.0}, session={"turns": 4, "think_time_s": 1.0, "growth": True})
    plain = play(workload(scenario(talk, duration_s=60.0)))
    tried = play(retries(talk, retry={}, duration_s=60.0))
    assert facts(plain) == facts(tried)
    assert [(r.index, r.parent, r.arrival_s) for r in plain] == [
        (r.index, r.parent, r.arrival_s) for r in tried
    ]


def test_jitter_shortens_by_its_share_and_is_drawn_from_a_stream_of_its_own() -> None:
    def waits(seed: int) -> list[float]:
        own = policy("chat", Retry(attempts=2, backoff_s=4.0, jitter=0.25))
        inner = workload(scenario(ONE, requests=400))
        return [
            r.arrival_s % 1.0 for r in run(Retries(inner, {0: own}, seed, 0), lambda _: REJECTED)
            if r.attempt
        ]  # fmt: skip

    assert waits(1) == waits(1) != waits(2)
    own = policy("chat", Retry(attempts=2, backoff_s=4.0, jitter=0.25))
    # 4 s × (1 - 0.25 U): between 3 and 4 s.
    assert own.wait_s(1, 0.0) == 4.0
    assert own.wait_s(1, 0.5) == 3.5
    assert policy("chat", Retry(jitter=1.0)).wait_s(1, 0.75) == 0.125


def test_a_client_that_never_gives_up_waits_no_longer_than_the_longest() -> None:
    own = policy("chat", Retry(attempts=10**6, jitter=0.0))
    assert [own.wait_s(n, 0.0) for n in (1, 2, 5, 6, 10**6)] == [0.5, 1.0, 8.0, 8.0, 8.0]


def test_the_throttle_stops_retries_when_most_fail() -> None:
    # 10 tokens; retries while more than 5 are left after the failure's own: 9, 8, 7, 6 are enough.
    throttled = {**EXACT, "attempts": 100, "throttle_tokens": 10, "throttle_ratio": 0.5}
    demand = retries(ONE, retry=throttled, requests=1)
    seen = run(demand, lambda _: REJECTED)
    assert len(seen) == 5
    # A success gives half a token back: of 5 after the fifth failure, two make 6, and the next
    # failure leaves 5 again; after three, 5.5 are left and it is tried again.
    for successes, tried in ((2, False), (3, True)):
        demand = retries(ONE, retry=throttled, requests=1)
        request = run(demand, lambda _: REJECTED)[-1]
        for _ in range(successes):
            demand.on_done(request, 0.0, COMPLETED)
        assert bool(demand.on_done(request, 0.0, REJECTED)) == tried


def test_attributes_are_those_of_the_inner_workload() -> None:
    demand = retries(ONE, retry={}, requests=1)
    assert demand.block_size == (64,)
    assert demand.skipped_rows == 0


def test_a_scenario_with_retries_has_them() -> None:
    made = scenario(ONE, tenant("b", load={"rate": 9.0}, retry={"attempts": 2}), requests=60)
    demand = workload(made)
    assert isinstance(demand, Retries)
    assert {r.tenant for r in run(demand, lambda _: FAILED) if r.attempt} == {1}
    assert not isinstance(workload(scenario(ONE, requests=1)), Retries)
