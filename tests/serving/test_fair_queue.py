"""The virtual token counter: who is next, and that shares become weights."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.scenario.admission import Queueing
from factory.serving.fair_queue import Fair
from factory.serving.queues import Queue, build
from factory.serving.sequence import Sequence
from factory.workload import Request

A, B, C = 0, 1, 2


def asks(tenant: int, number: int, tokens: int, priority: int = 0) -> Sequence:
    """A request of a tenant."""
    request = Request(number, tenant, 0, number, 0, -1, number, 0, float(number), tokens, 10, ())
    return Sequence(request, 10, priority)


def test_the_least_served_goes_first() -> None:
    queue = Fair({}, 1.0, 2.0)
    assert queue.add(asks(A, 0, 100))
    assert not queue.add(asks(A, 1, 100))
    assert not queue.add(asks(B, 2, 50))
    # Both at 0: the first tenant, whose prompt makes it 100. B is first now, and 50 after.
    assert queue.take().request.index == 0
    assert queue.take().request.index == 2
    assert queue.take().request.index == 1
    assert queue.service == {A: 200.0, B: 50.0}
    # 10 tokens of answer count 2 each for A, 200 for B.
    assert not queue.served(A, 10)
    assert not queue.served(B, 200)
    assert queue.service == {A: 220.0, B: 450.0}


def test_what_was_served_changes_who_is_first() -> None:
    queue = Fair({}, 1.0, 2.0)
    queue.add(asks(A, 0, 100))
    queue.add(asks(B, 1, 100))
    assert queue.first().request.tenant == A
    assert queue.served(A, 1)
    assert queue.first().request.tenant == B
    assert not queue.served(A, 1)


def test_a_tenant_that_was_idle_has_saved_nothing_up() -> None:
    queue = Fair({}, 1.0, 2.0)
    for number in range(8):
        queue.add(asks(A, number, 100))
    for _ in range(5):
        queue.take()
    # A has had 500 and still waits: B starts level with it, not at 0, and they take turns.
    queue.add(asks(B, 8, 100))
    queue.add(asks(B, 9, 100))
    assert queue.service[B] == 500.0
    assert [queue.take().request.tenant for _ in range(5)] == [A, B, A, B, A]
    # Nobody waits: C starts level with the tenant that was last to, at 800.
    queue.add(asks(C, 10, 10))
    assert queue.service == {A: 800.0, B: 700.0, C: 800.0}


def test_who_comes_back_starts_level() -> None:
    queue = Fair({}, 1.0, 2.0)
    queue.add(asks(B, 0, 10))
    queue.take()
    queue.add(asks(A, 1, 500))
    queue.take()
    queue.add(asks(A, 2, 500))
    queue.add(asks(B, 3, 10))
    # A began level with B, the last to wait: 10 + 500. B comes back with 10: it is lifted to A.
    assert queue.service == {A: 510.0, B: 510.0}


def test_a_preempted_prompt_is_charged_once() -> None:
    queue = Fair({}, 1.0, 2.0)
    first = asks(A, 0, 100)
    queue.add(first)
    queue.add(asks(A, 1, 100))
    queue.add(asks(B, 2, 100))
    assert queue.take() is first
    assert queue.first().request.tenant == B
    # The charge is taken back, so A is first again with its oldest request.
    assert queue.put_back(first)
    assert queue.take() is first
    assert queue.service == {A: 100.0, B: 0.0}


def test_a_request_that_gave_up_costs_nothing() -> None:
    queue = Fair({}, 1.0, 2.0)
    one, two = asks(A, 0, 100), asks(B, 1, 100)
    queue.add(one)
    queue.add(two)
    assert queue.discard(one)
    assert queue.first() is two
    assert queue.service[A] == 0.0


def test_priority_comes_before_fairness() -> None:
    queue = Fair({}, 1.0, 2.0)
    queue.add(asks(A, 0, 10))
    for number in (1, 2, 3):
        queue.add(asks(B, number, 1000, priority=1))
    assert [queue.take().request.tenant for _ in range(4)] == [B, B, B, A]


def serve(queue: Queue, sizes: dict[int, tuple[int, int]], rounds: int, batch: int) -> list[float]:
    """Keeps every tenant backlogged; answers end `batch` admissions later. Service of each."""
    number = 0
    for tenant, (prompt, _) in sizes.items():
        for _ in range(2):
            queue.add(asks(tenant, number, prompt))
            number += 1
    given = [0.0] * len(sizes)
    running: deque[int] = deque()
    for _ in range(rounds):
        tenant = queue.take().request.tenant
        prompt = sizes[tenant][0]
        given[tenant] += prompt
        running.append(tenant)
        if len(running) > batch:
            done = running.popleft()
            queue.served(done, sizes[done][1])
            given[done] += 2.0 * sizes[done][1]
        queue.add(asks(tenant, number, prompt))
        number += 1
    return given


def test_shares_converge_to_the_weights() -> None:
    # A has three shares, with prompts of 100 and answers of 50: 100 + 2 × 50 = 200 a request.
    # B has one, with 300 and 10: 320 a request. Service given must come to 3 : 1.
    section = Queueing(order="fair")
    queue = build(section, {A: 3.0, B: 1.0})
    given = serve(queue, {A: (100, 50), B: (300, 10)}, 4000, batch=8)
    assert given[A] / given[B] == pytest.approx(3.0, rel=0.01)
    # The bound: a request and the answers that run, in service per weight, at whatever length.
    assert abs(given[A] / 3.0 - given[B]) <= 320.0 + 8 * 100.0


def test_first_come_gives_all_to_who_asks_most() -> None:
    # A sends ten requests for every one of B, all alike. Of the first 20 served, first come gives B
    # the one that came among them; fair serves them in turn: 10.
    for order, ours in (("fcfs", 1), ("fair", 10)):
        queue = build(Queueing.model_validate({"order": order}))
        for number in range(110):
            queue.add(asks(B if number % 11 == 10 else A, number, 100))
        assert [queue.take().request.tenant for _ in range(20)].count(B) == ours


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 200)), min_size=2, max_size=4),
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=4, max_size=4),
)
def test_the_gap_between_backlogged_tenants_is_bounded(
    sizes: list[tuple[int, int]], weights: list[float]
) -> None:
    """Sheng et al., theorem 4.4: the gap in service per weight does not grow with time."""
    queue = Fair(dict(enumerate(weights)), 1.0, 2.0)
    given = serve(queue, dict(enumerate(sizes)), 600, batch=0)
    shares = [given[i] / weights[i] for i in range(len(sizes))]
    most = max((prompt + 2 * answer) / weights[i] for i, (prompt, answer) in enumerate(sizes))
    assert max(shares) - min(shares) <= most * (1.0 + 1e-9)
