"""The door of a deployment, decision by decision."""

from __future__ import annotations

from math import inf

import pytest

from factory.scenario.admission import Admission
from factory.serving.admission import (
    ADMIT,
    DEFER,
    REJECT,
    AdmissionControl,
    Limits,
    Terms,
)
from factory.serving.buckets import TokenBucket
from factory.serving.door import control, weights_of, yields_of
from factory.serving.sequence import Sequence
from factory.workload import Request


def sequence(index: int, tenant: int = 0, priority: int = 0, arrival_s: float = 0.0) -> Sequence:
    request = Request(index, tenant, 0, index, 0, -1, index, 0, arrival_s, 100, 10, ())
    return Sequence(request, 10, priority)


def test_a_bucket_saves_up_its_burst() -> None:
    # 2 a second, 3 at most: full at 0 s, and three pass. At 0.4 s there are 0.8, at 0.5 s one.
    bucket = TokenBucket(2.0, 3.0)
    for _ in range(3):
        assert bucket.has(1, 0.0)
        bucket.take(1)
    assert not bucket.has(1, 0.4)
    assert bucket.has(1, 0.5)
    bucket.take(1)
    # 100 s later it holds 3, not 200.
    assert bucket.has(3, 100.5)
    assert bucket.level == 3.0


def test_a_bucket_takes_rounding() -> None:
    bucket = TokenBucket(10.0, 1.0)
    bucket.has(1, 0.2)
    bucket.take(1)
    # (0.3 - 0.2) × 10 is 0.9999999999999998.
    assert bucket.has(1, 0.3)


def test_a_prompt_above_the_burst_passes_a_full_bucket_and_leaves_a_debt() -> None:
    bucket = TokenBucket(100.0, 1000.0)
    assert bucket.has(2500, 0.0)
    bucket.take(2500)
    # -1500: a request of 100 tokens waits for 1600 / 100 = 16 s.
    assert not bucket.has(100, 15.9)
    assert bucket.has(100, 16.0)


def test_tokens_of_an_answer_count_when_it_ends() -> None:
    door = AdmissionControl([Terms(tokens_per_s=100.0, burst_tokens=1000.0)], Limits())
    assert door.decide(0, 600, 0.0, 0) == ADMIT
    # 400 left and 1 s × 100; the answer takes 800: -300. 500 tokens are there after 8 s.
    door.left(0, 600, 800, 1.0)
    assert door.decide(0, 500, 8.9, 0) == REJECT
    assert door.decide(0, 500, 9.0, 0) == ADMIT


def test_a_rate_turns_away_without_charge() -> None:
    terms = Terms(requests_per_s=1.0, burst_requests=2.0, tokens_per_s=10.0, burst_tokens=50.0)
    door = AdmissionControl([terms], Limits())
    assert door.decide(0, 30, 0.0, 0) == ADMIT
    # 20 tokens are left: the next is turned away, and its place in the other bucket is kept.
    assert door.decide(0, 30, 0.0, 0) == REJECT
    assert door.decide(0, 20, 0.0, 0) == ADMIT
    assert door.inside == 2


def test_the_queue_limit_sheds_who_has_the_lower_share_first() -> None:
    door = AdmissionControl([Terms(), Terms(shed_at=0.5)], Limits(queue_requests=10.0))
    assert [door.decide(0, 1, 0.0, waiting) for waiting in (4, 5, 9, 10)] == [
        ADMIT, ADMIT, ADMIT, REJECT]  # fmt: skip
    assert [door.decide(1, 1, 0.0, waiting) for waiting in (4, 5, 9, 10)] == [
        ADMIT, REJECT, REJECT, REJECT]  # fmt: skip


def test_the_limit_per_replica_follows_the_replicas() -> None:
    door = AdmissionControl([Terms()], Limits(queue_requests=25.0, queue_requests_per_replica=10.0))
    for replicas, most in ((1, 10), (2, 20), (3, 25)):
        door.resize(replicas, 256.0, 1e6)
        assert door.decide(0, 1, 0.0, most - 1) == ADMIT
        assert door.decide(0, 1, 0.0, most) == REJECT


def test_the_predicted_ttft_sheds_by_the_tenants_own_limit() -> None:
    # 1.5 × 2 s = 3 s for the first; half of that for the second; the third has no limit.
    terms = [Terms(ttft_limit_s=2.0), Terms(ttft_limit_s=2.0, shed_at=0.5), Terms()]
    door = AdmissionControl(terms, Limits(ttft_factor=1.5))
    assert door.predicts
    for tenant, most_s in ((0, 3.0), (1, 1.5), (2, 1e9)):
        assert door.decide(tenant, 1, 0.0, 0, most_s) == ADMIT
        assert door.decide(tenant, 1, 0.0, 0, most_s * 1.01) == (ADMIT if tenant == 2 else REJECT)


def test_concurrency_waits_outside_in_turn() -> None:
    door = AdmissionControl([Terms(concurrency=2.0)], Limits())
    assert [door.decide(0, 100, 0.0, 0) for _ in range(2)] == [ADMIT, ADMIT]
    held = [sequence(2), sequence(3)]
    for one in held:
        assert door.decide(0, 100, 0.0, 0) == DEFER
        door.hold(one)
    assert door.release(0) is None
    door.left(0, 100, 10, 1.0)
    # A place is free, but a newcomer waits behind those who came before.
    assert door.decide(0, 100, 1.0, 0) == DEFER
    assert door.release(0) is held[0]
    assert door.release(0) is None
    door.abandon(held[1])
    assert (door.inside, door.held) == (2, 0)


def test_concurrency_may_turn_away() -> None:
    door = AdmissionControl([Terms(concurrency=1.0)], Limits(waits=False))
    assert [door.decide(0, 1, 0.0, 0) for _ in range(2)] == [ADMIT, REJECT]


def test_a_shared_concurrency_is_given_by_priority_then_by_weight() -> None:
    terms = [Terms(), Terms(weight=3.0), Terms(priority=1)]
    door = AdmissionControl(terms, Limits(concurrency=8.0))
    for _ in range(8):
        assert door.decide(0, 100, 0.0, 0) == ADMIT
    for tenant in range(3):
        for index in range(9):
            one = sequence(10 * tenant + index, tenant)
            assert door.decide(tenant, 100, 0.0, 0) == DEFER
            if tenant < 2 or index == 0:
                door.hold(one)
    given = []
    for _ in range(9):
        door.left(0, 100, 0, 1.0)
        released = door.release(0)
        assert released is not None
        given.append(released.request.tenant)
        if released.request.tenant == 0:
            break
    # Tenant 2 first. Then, as one leaves each time, tenant 0 has 6, 5, 4, 3, 2, 1 inside against 0,
    # 1/3, 2/3, 1, 4/3, 5/3 of tenant 1 per weight: the last is more.
    assert given == [2, 1, 1, 1, 1, 1, 0]


def test_batch_work_fills_the_valleys_and_yields() -> None:
    door = AdmissionControl([Terms(priority=1), Terms(batch=True)], Limits(batch_load=0.5))
    door.resize(1, requests=10.0, tokens=10_000.0)
    jobs = [sequence(i, 1) for i in range(9)]
    assert door.decide(1, 100, 0.0, 0) == ADMIT
    for job in jobs:
        # Something waits: batch work stays outside, whatever the load.
        assert door.decide(1, 100, 0.0, 1) == DEFER
        door.hold(job)
    assert door.release(1) is None
    # A valley: up to half of 10 requests, one of which is inside.
    assert [door.release(0) for _ in range(5)] == [*jobs[:4], None]
    assert door.load == 0.5
    # Interactive work is never kept out by it, and batch work not let in before some left.
    assert door.decide(0, 100, 1.0, 0) == ADMIT
    door.left(1, 100, 10, 2.0)
    assert door.release(0) is None
    door.left(0, 100, 10, 3.0)
    assert door.release(0) is jobs[4]
    # What is kept outside does not fill the interactive queue.
    strict = AdmissionControl([Terms(), Terms(batch=True)], Limits(queue_requests=1.0))
    assert strict.decide(1, 1, 0.0, 5) == DEFER
    strict.hold(sequence(0, 1))
    assert strict.decide(0, 1, 0.0, 0) == ADMIT


def test_the_load_is_of_requests_or_tokens() -> None:
    door = AdmissionControl([Terms(), Terms(batch=True)], Limits(batch_load=0.8))
    door.resize(2, requests=100.0, tokens=10_000.0)
    assert door.decide(0, 8000, 0.0, 0) == ADMIT
    assert door.load == 0.8
    assert door.decide(1, 100, 0.0, 0) == DEFER


def test_too_much_batch_work_is_turned_away() -> None:
    door = AdmissionControl([Terms(batch=True, held=1.0)], Limits())
    assert door.decide(0, 1, 0.0, 9) == DEFER
    door.hold(sequence(0))
    assert door.decide(0, 1, 0.0, 9) == REJECT


def test_a_scenario_without_limits_has_no_door() -> None:
    weighted = Admission.model_validate({"tenants": {"chat": {"weight": 2.0}}})
    assert control(weighted, ["chat"], [0], [inf]) is None
    assert weights_of(weighted, ["code", "chat"]) == {1: 2.0}


def test_the_door_of_a_scenario() -> None:
    section = Admission.model_validate(
        {
            "shed": "predicted_ttft",
            "ttft_factor": 1.0,
            "max_queue_requests_per_replica": 4,
            "tenants": {
                "jobs": {"kind": "batch"},
                "chat": {"rate_limit": {"requests_per_s": 0.1}, "shed_at": 0.5},
            },
        }
    )
    door = control(section, ["chat", "jobs", "code"], [1, 0, 1], [2.0, inf, 4.0])
    assert door is not None
    door.resize(2, 100.0, 1e6)
    assert yields_of(section, ["chat", "jobs", "code"]) == (False, True, False)
    # chat: half of 2 × 4 waiting, half of 2 s; 0.1/s × 60 s = 6 requests at once.
    assert door.decide(0, 1, 0.0, 4) == REJECT
    assert door.decide(0, 1, 0.0, 3, 1.1) == REJECT
    assert [door.decide(0, 1, 0.0, 0, 1.0) for _ in range(7)] == [ADMIT] * 6 + [REJECT]
    assert door.decide(2, 1, 0.0, 7, 4.0) == ADMIT
    assert door.decide(1, 1, 0.0, 1) == DEFER


@pytest.mark.parametrize("replicas", [0, 1])
def test_without_replicas_the_door_still_answers(replicas: int) -> None:
    door = AdmissionControl([Terms(batch=True)], Limits(queue_requests_per_replica=1.0))
    door.resize(replicas, 0.0, 0.0)
    assert door.decide(0, 1, 0.0, 0) == ADMIT
