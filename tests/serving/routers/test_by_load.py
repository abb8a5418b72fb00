"""Routers that look at no prompt, arrival by arrival."""

from __future__ import annotations

from collections import Counter

import pytest

from factory.serving.routers import Ask, choice, drawer, uniform_from
from factory.serving.routers.choice import Turns, column, softmax_least
from factory.serving.routers.plain import LeastLoaded, PowerOfTwo, Random, RoundRobin
from factory.serving.routers.power_aware import PowerAware
from factory.serving.routers.session_affinity import SessionAffinity
from factory.statistics import stream
from factory.testing import surroundings

ASK = Ask(0.0, 100)


def scripted(*numbers: float):  # type: ignore[no-untyped-def]
    """A pool whose router's stream is these numbers."""
    left = iter(numbers)
    return {"uniform": lambda: next(left), "draw": drawer(lambda: next(left))}


@pytest.mark.parametrize(
    ("values", "last", "chosen"),
    [([3, 1, 2], -1, 1), ([1, 1, 1], 0, 1), ([1, 1, 1], 2, 0), ([1, 2, 1], 0, 2), ([5], 0, 0)],
)
def test_equals_take_turns(pool, values, last, chosen) -> None:  # type: ignore[no-untyped-def]
    turns = Turns()
    turns._last = last
    slots = pool(requests=values)
    assert turns.least(column(slots.requests), slots) == chosen


def test_many_slots_take_turns_as_few_do(pool, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def chosen() -> list[int]:
        random = stream(3, 0, "values")
        turns, slots = Turns(), pool(requests=[0] * 40)
        found = []
        for number in range(400):
            if number % 5 == 0:
                slots.shut([int(random.integers(1, 40))])
            if number % 7 == 0:
                slots.open([int(random.integers(40))])
            found.append(turns.least(random.integers(0, 4, 40), slots))
        return found

    few = chosen()
    monkeypatch.setattr(choice, "FEW", 0)
    assert chosen() == few
    assert len(set(few)) > 30


def test_turns_go_on_among_those_that_are_live(pool) -> None:  # type: ignore[no-untyped-def]
    turns, slots = Turns(), pool(requests=[0, 0, 0, 0])
    slots.shut([1])
    chosen = [turns.least(column(slots.requests), slots) for _ in range(4)]
    slots.open([1])
    assert chosen == [0, 2, 3, 0]
    assert turns.least(column(slots.requests), slots) == 1


def test_round_robin_takes_every_live_slot_in_turn(pool) -> None:  # type: ignore[no-untyped-def]
    router, slots = RoundRobin(), pool(requests=[9, 0, 0])
    assert [router.choose(ASK, slots) for _ in range(4)] == [0, 1, 2, 0]
    slots.shut([1])
    assert [router.choose(ASK, slots) for _ in range(3)] == [2, 0, 2]


def test_least_loaded_counts_waiting_and_running_and_takes_turns(pool) -> None:  # type: ignore[no-untyped-def]
    router, slots = LeastLoaded(), pool(requests=[1, 0, 0])
    chosen = []
    for _ in range(5):
        slot = router.choose(ASK, slots)
        slots.requests[slot] += 1
        chosen.append(slot)
    assert chosen == [1, 2, 0, 1, 2]


def test_random_is_uniform_and_its_stream_is_its_own(pool) -> None:  # type: ignore[no-untyped-def]
    slots = pool(requests=[0] * 4)
    one, other = (Random(surroundings(4)) for _ in range(2))
    chosen = [one.choose(ASK, slots) for _ in range(8000)]
    assert chosen == [other.choose(ASK, slots) for _ in range(8000)]
    # 8000 draws: a count strays by 5 standard deviations (39 each) once in a million times.
    assert all(abs(count - 2000) < 195 for count in Counter(chosen).values())


# 4 slots with 3, 1, 2, 0 requests. Draws 0.5 and 0.4: the first slot is int(0.5 x 4) = 2; of the 3
# others the one int(0.4 x 3) = 1 further than the next, (2 + 1 + 1) mod 4 = 0. Of 2 and 3 requests
# slot 2 has fewer. Draws 0.0 and 0.0: slots 0 and 1, of which 1 has fewer.
def test_power_of_two_takes_the_less_loaded_of_two(pool) -> None:  # type: ignore[no-untyped-def]
    router = PowerOfTwo(surroundings(4, **scripted(0.5, 0.4, 0.0, 0.0)))
    slots = pool(requests=[3, 1, 2, 0])
    assert [router.choose(ASK, slots) for _ in range(2)] == [2, 1]


def test_power_of_two_draws_every_pair_alike(pool) -> None:  # type: ignore[no-untyped-def]
    router, slots = PowerOfTwo(surroundings(3)), pool(requests=[0, 1, 2])
    got = Counter(router.choose(ASK, slots) for _ in range(3000))
    # Slot 0 wins the pairs 01 and 02, slot 1 the pair 12: 2000 and 1000, +- 5 x 26.
    assert abs(got[0] - 2000) < 130
    assert got[2] == 0


def test_a_session_sticks_while_its_slot_lives(pool) -> None:  # type: ignore[no-untyped-def]
    router, slots = SessionAffinity(max_sessions=10), pool(requests=[2, 0, 1])
    asks = {name: Ask(0.0, 10, session=name) for name in (7, 8)}
    assert router.choose(asks[7], slots) == 1  # 0 requests
    slots.requests[1] = 9
    assert router.choose(asks[7], slots) == 1  # it sticks, at 9 requests against 1
    assert router.choose(asks[8], slots) == 2  # 1 request is the least
    slots.shut([1])
    assert router.choose(asks[7], slots) == 2  # 1 of (2, 1)
    slots.open([1])
    assert router.choose(asks[7], slots) == 2  # its new slot, the old one is forgotten


def test_the_session_that_asked_longest_ago_is_forgotten(pool) -> None:  # type: ignore[no-untyped-def]
    router, slots = SessionAffinity(max_sessions=2), pool(requests=[0, 0, 0])
    first, second, third = (Ask(0.0, 10, session=name) for name in range(3))
    assert [router.choose(ask, slots) for ask in (first, second, first, third)] == [0, 1, 0, 2]
    assert router.choose(first, slots) == 0  # remembered: it asked after the second
    assert router.choose(second, slots) == 0  # new, so its turn among equals: after 2 comes 0


# Racks with 0.3, 0.05 and 0 headroom; below 0.1 a rack counts up to 4 requests more: 0, 4 x 0.05 /
# 0.1 = 2 and 4. Loads 5, 2, 0 become 5, 4, 4: slot 1, then in turn slot 2. With a load of 3 on
# slot 0 that one wins.
def test_power_aware_prefers_racks_with_headroom(pool) -> None:  # type: ignore[no-untyped-def]
    around = surroundings(3, headroom=[0.3, 0.05, 0.0].__getitem__, racks=(0, 1, 2))
    router = PowerAware(around, min_headroom=0.1, power_penalty=4.0)
    slots = pool(requests=[5, 2, 0])
    assert [router.choose(ASK, slots) for _ in range(3)] == [1, 2, 1]
    slots.requests[0] = 3
    assert router.choose(ASK, slots) == 0


# Values 1, 2, 3 scaled by their range of 2 and a temperature of 0.5: weights exp(0), exp(-1),
# exp(-2) = 1, 0.368, 0.135; shares 0.665, 0.245, 0.090.
def test_softmax_draws_low_values_more_often() -> None:
    import numpy as np

    values = np.array([1.0, 2.0, 3.0])
    for number, place in ((0.66, 0), (0.67, 1), (0.90, 1), (0.92, 2)):
        assert softmax_least(values, 0.5, lambda number=number: number) == place  # type: ignore[misc]
    same = [softmax_least(np.ones(4), 0.5, lambda n=n: n) for n in (0.1, 0.3, 0.6, 0.9)]  # type: ignore[misc]
    assert same == [0, 1, 2, 3]


def test_a_drawer_stays_below_its_bound() -> None:
    draw = drawer(uniform_from(stream(2, 0, "d")))
    assert {draw(2) for _ in range(200)} == {0, 1}
