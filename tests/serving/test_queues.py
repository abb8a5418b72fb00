"""Orders of waiting, arrival by arrival, with the arithmetic of the keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import FactoryError
from factory.scenario.admission import Queueing
from factory.serving.queues import FirstCome, Keyed, Queue, ageing_priority, build, shortest
from factory.serving.sequence import Sequence
from factory.workload import Request


def waiting(
    index: int,
    arrival_s: float = 0.0,
    *,
    tokens: int = 100,
    priority: int = 0,
    tenant: int = 0,
    expected: int | None = None,
) -> Sequence:
    """A sequence that waits, with so many prompt tokens to compute."""
    request = Request(index, tenant, 0, index, 0, -1, index, 0, arrival_s, tokens, 10, ())
    sequence = Sequence(request, 10, priority)
    sequence.expected = tokens if expected is None else expected
    return sequence


def drained(queue: Queue) -> list[int]:
    """The order in which a queue gives its sequences, by their numbers."""
    return [queue.take().request.index for _ in range(len(queue))]


def test_equal_priorities_are_served_as_they_came() -> None:
    queue = FirstCome()
    assert [queue.add(waiting(i)) for i in range(3)] == [True, False, False]
    assert queue.first().request.index == 0
    assert drained(queue) == [0, 1, 2]
    with pytest.raises(IndexError):
        queue.first()


def test_higher_priority_goes_before_all_of_lower() -> None:
    queue = FirstCome()
    leads = [queue.add(waiting(i, priority=p)) for i, p in enumerate((0, 1, 0, 2, 1))]
    # 1 passes 0, then 3 passes 1: only these two become first.
    assert leads == [True, True, False, True, False]
    assert [s.request.index for s in queue] == [3, 1, 4, 0, 2]
    assert drained(queue) == [3, 1, 4, 0, 2]


def test_a_preempted_sequence_returns_to_the_place_of_its_arrival() -> None:
    queue = FirstCome()
    early, late = waiting(1, 1.0), waiting(2, 2.0)
    for sequence in (waiting(3, 3.0), waiting(4, 4.0)):
        queue.add(sequence)
    # Preempted latest first, as a scheduler does: 2 to the front, then 1 before it.
    assert queue.put_back(late)
    assert queue.put_back(early)
    urgent = waiting(5, 5.0, priority=1)
    assert queue.add(urgent)
    assert drained(queue) == [5, 1, 2, 3, 4]


def test_put_back_among_later_arrivals_only() -> None:
    queue = FirstCome()
    queue.add(waiting(0, 0.5))
    queue.add(waiting(2, 2.5))
    assert not queue.put_back(waiting(1, 1.5))
    assert drained(queue) == [0, 1, 2]


def test_ageing_gains_one_level_per_span() -> None:
    # One level per 10 s. A (priority 0) came at 0 s, B (priority 1) at 9 s, C (priority 1) at 11 s.
    # At 20 s: A = 0 + 20/10 = 2.0, B = 1 + 11/10 = 2.1, C = 1 + 9/10 = 1.9. So B, A, C, as at any
    # other time: the keys are arrival - 10 × priority = 0, -1, 1.
    queue = Keyed(ageing_priority(10.0))
    assert queue.add(waiting(0, 0.0))
    assert queue.add(waiting(1, 9.0, priority=1))
    assert not queue.add(waiting(2, 11.0, priority=1))
    assert drained(queue) == [1, 0, 2]


def test_shortest_first_with_ageing() -> None:
    # 100 tokens per second waited: keys are tokens + 100 × arrival.
    # 0: 1000 + 0 = 1000; 1: 700 + 200 = 900; 2: 200 + 900 = 1100; 3 came first of equals: 1000.
    queue = Keyed(shortest(100.0))
    for index, (arrival_s, tokens) in enumerate(((0.0, 1000), (2.0, 700), (9.0, 200), (0.0, 1000))):
        queue.add(waiting(index, arrival_s, tokens=tokens))
    assert drained(queue) == [1, 0, 3, 2]


def test_shortest_first_counts_what_is_to_compute_not_what_is_cached() -> None:
    queue = build(Queueing(order="shortest_first"))
    queue.add(waiting(0, tokens=500))
    queue.add(waiting(1, tokens=9000, expected=300))
    queue.add(waiting(2, tokens=100, priority=-1))
    assert drained(queue) == [1, 0, 2]


def test_shortest_first_takes_a_preempted_one_by_all_it_computes_again() -> None:
    queue = Keyed(shortest(0.0))
    queue.add(waiting(0, tokens=400))
    again = waiting(1, tokens=300)
    again.expected, again.left = 0, 300 + 150
    assert not queue.put_back(again)
    assert drained(queue) == [0, 1]


@pytest.mark.parametrize("order", ["fcfs", "priority", "shortest_first", "fair", "lpm"])
def test_discard_by_its_place(order: str) -> None:
    queue = build(Queueing.model_validate({"order": order}), cached=lambda _: 0)
    sequences = [waiting(i, float(i)) for i in range(4)]
    for sequence in sequences:
        queue.add(sequence)
    assert not queue.discard(sequences[2])
    assert queue.discard(sequences[0])
    assert [s.request.index for s in queue] == [1, 3]
    assert len(queue) == queue.count == 2
    assert not queue.add(sequences[2])
    assert sorted(drained(queue)) == [1, 2, 3]
    assert queue.count == 0


def test_priority_without_ageing_is_first_come() -> None:
    assert isinstance(build(Queueing(order="priority")), FirstCome)
    assert isinstance(build(Queueing(order="priority", ageing_s=5.0)), Keyed)


def test_longest_prefix_and_its_fall_back() -> None:
    cached = {0: 0, 1: 64, 2: 128, 3: 64}
    section = Queueing(order="lpm", max_matched=3)
    queue = build(section, cached=lambda s: cached[s.request.index])
    assert [queue.add(waiting(i, float(i))) for i in range(3)] == [True, True, True]
    assert queue.first().request.index == 2
    # A fourth is one too many: first come, first served. The first changes, though it is not it.
    assert queue.add(waiting(3, 3.0))
    assert queue.take().request.index == 0
    # Three are left: prefixes are looked up anew, and of equals the one that came first.
    cached[2] = 0
    cached[3] = 640
    assert queue.first().request.index == 2
    assert queue.refresh()
    assert drained(queue) == [3, 1, 2]


def test_longest_prefix_needs_a_cache() -> None:
    with pytest.raises(FactoryError, match="what is cached"):
        build(Queueing(order="lpm"))


Op = tuple[str, int, int, int]
OPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "take", "put_back", "discard"]),
        st.integers(-1, 1),
        st.integers(0, 5),
        st.integers(0, 9),
    ),
    max_size=80,
)


def _levels(sequence: Sequence) -> tuple[float, ...]:
    return (-sequence.priority,)


@settings(max_examples=150, deadline=None)
@given(OPS)
@pytest.mark.parametrize(
    ("make", "key"),
    [
        (FirstCome, _levels),
        (lambda: Keyed(ageing_priority(3.0)), lambda s: (s.request.arrival_s - 3.0 * s.priority,)),
        (lambda: Keyed(shortest(1.0)), lambda s: (-s.priority, s.expected + s.request.arrival_s)),
    ],
)
def test_against_a_sorted_list(
    make: Callable[[], Queue], key: Callable[[Sequence], tuple[float, ...]], ops: list[Op]
) -> None:
    """Every order is that of a list sorted by its key, and says when its first changes."""
    queue = make()
    model: list[Sequence] = []
    taken: list[Sequence] = []

    def order(sequence: Sequence) -> tuple[object, ...]:
        return (key(sequence), sequence.request.arrival_s, sequence.request.index)

    for number, (name, priority, tokens, pick) in enumerate(ops):
        before = model[0] if model else None
        changed = False
        if name == "add":
            made = waiting(number, float(number), tokens=tokens, priority=priority)
            model.append(made)
            changed = queue.add(made)
        elif name == "take" and model:
            assert queue.take() is model[0]
            taken.append(model.pop(0))
            before = model[0] if model else None
        elif name == "put_back" and taken:
            made = taken.pop()
            made.left = made.expected
            model.append(made)
            changed = queue.put_back(made)
        elif name == "discard" and model:
            gone = model.pop(pick % len(model))
            changed = queue.discard(gone)
        model.sort(key=order)
        after = model[0] if model else None
        assert changed == (after is not before)
        assert len(queue) == len(model)
        assert sorted(queue, key=order) == model
        if model:
            assert queue.first() is model[0]


def test_those_that_left_do_not_pile_up() -> None:
    for queue in (FirstCome(), Keyed(shortest(0.0))):
        queue.add(waiting(0, tokens=1))
        for i in range(1, 2000):
            sequence = waiting(i, float(i), tokens=9)
            queue.add(sequence)
            queue.discard(sequence)
        lanes = getattr(queue, "_lanes", None)
        held = len(lanes[0]) if lanes else len(queue._heap)  # type: ignore[attr-defined]
        assert held < 40
