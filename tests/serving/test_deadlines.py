"""Time-outs: when they come, what they skip, and how few events they cost."""

from __future__ import annotations

import math
from collections.abc import Callable

from factory.kernel import CLASS_STEP, Kernel
from factory.serving.deadlines import END, FIRST_TOKEN, Deadlines
from factory.serving.sequence import Sequence
from factory.workload import Request


def sequence(index: int, arrival_s: float = 0.0) -> Sequence:
    return Sequence(Request(index, 0, 0, index, 0, -1, index, 0, arrival_s, 10, 10, ()), 10, 0)


class House:
    """A deployment of which only who is inside matters."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.inside: dict[Sequence, bool] = {}
        self.expired: list[tuple[int, float]] = []
        self.deadlines = Deadlines(self.kernel, 1, self.give_up, self.alive)
        self.times = 0

    def alive(self, one: Sequence, limit: int) -> bool:
        return one in self.inside and (limit == END or not self.inside[one])

    def give_up(self, one: Sequence, now_s: float) -> None:
        self.expired.append((one.request.index, now_s))
        self.leave(one)

    def come(self, one: Sequence, ttft_s: float = math.inf, e2e_s: float = math.inf) -> None:
        self.inside[one] = False
        arrival_s = one.request.arrival_s
        self.deadlines.watch(one, arrival_s + ttft_s, FIRST_TOKEN)
        self.deadlines.watch(one, arrival_s + e2e_s)

    def leave(self, one: Sequence) -> None:
        del self.inside[one]
        if not self.inside:
            self.deadlines.rest()

    def at(self, time_s: float, act: Callable[[], None]) -> None:
        self.times += 1
        self.kernel.timer(CLASS_STEP, self.times, lambda _: act()).set(time_s)


def test_each_expires_at_its_own_time() -> None:
    house = House()
    for index, due_s in enumerate((3.0, 1.0, 2.0)):
        house.come(sequence(index), e2e_s=due_s)
    house.kernel.run()
    assert house.expired == [(1, 1.0), (2, 2.0), (0, 3.0)]


def test_those_of_one_instant_expire_in_order_of_watching() -> None:
    house = House()
    for index in (2, 0, 1):
        house.come(sequence(index), e2e_s=1.0)
    house.kernel.run()
    assert house.expired == [(2, 1.0), (0, 1.0), (1, 1.0)]


def test_what_ends_when_it_is_due_is_in_time() -> None:
    house = House()
    one = sequence(0)
    house.come(one, e2e_s=1.0)
    house.at(1.0, lambda: house.leave(one))
    house.kernel.run()
    assert house.expired == []


def test_the_first_token_ends_the_first_limit_only() -> None:
    house = House()
    slow, long = sequence(0), sequence(1)
    for one in (slow, long):
        house.come(one, ttft_s=2.0, e2e_s=5.0)
    house.at(1.0, lambda: house.inside.update({long: True}))
    house.kernel.run()
    # Without a token at 2 s; with one, but not at the end of its answer at 5 s.
    assert house.expired == [(0, 2.0), (1, 5.0)]


def test_no_limit_costs_nothing() -> None:
    house = House()
    house.come(sequence(0))
    house.kernel.run()
    assert (len(house.deadlines), house.kernel.fired) == (0, 0)


def test_an_event_per_span_and_none_per_request() -> None:
    """1,000 requests, 10 a second, stay for 1 s and have 60 s.

    The timer is due at 60 s, for the first. Those of the first 59 s are over by then (the one of
    59.0 s at that very instant), so it is set for that of 59.1 s: at 119.1 s. The last one leaves
    at 100.9 s, and the house rests: that entry is stale.
    """
    house = House()
    for index in range(1000):
        one = sequence(index, index / 10)
        house.at(index / 10, lambda one=one: house.come(one, e2e_s=60.0))
        house.at(index / 10 + 1.0, lambda one=one: house.leave(one))
    house.kernel.run()
    assert house.expired == []
    assert house.kernel.fired == 2000 + 2
    assert house.kernel.acted_s == 100.9


def test_a_rest_does_not_outlast_the_work() -> None:
    """Rests between requests cost no entries: the one in the queue serves for later ones."""
    house = House()
    for index in range(50):
        one = sequence(index, float(index))
        house.at(float(index), lambda one=one: house.come(one, e2e_s=600.0))
        house.at(index + 0.5, lambda one=one: house.leave(one))
    house.kernel.run()
    assert house.kernel.fired == 100 + 1
    assert house.kernel.acted_s == 49.5


def test_those_that_left_do_not_pile_up() -> None:
    house = House()
    stays = sequence(0)
    house.come(stays, e2e_s=1e6)
    for index in range(1, 3000):
        one = sequence(index)
        house.come(one, e2e_s=1e6)
        house.leave(one)
    assert len(house.deadlines) <= 128


def test_a_time_out_may_bring_the_next_request() -> None:
    house = House()
    expired = house.give_up

    def again(one: Sequence, now_s: float) -> None:
        expired(one, now_s)
        if len(house.expired) < 3:
            house.come(sequence(one.request.index + 1, now_s), e2e_s=1.5)

    house.deadlines = Deadlines(house.kernel, 1, again, house.alive)
    house.come(sequence(0), e2e_s=1.5)
    house.kernel.run()
    assert house.expired == [(0, 1.5), (1, 3.0), (2, 4.5)]
