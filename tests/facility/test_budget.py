from __future__ import annotations

from collections.abc import Sequence

import pytest

from factory.facility import RackBudget, Windows
from factory.kernel import Kernel

LEVELS = (0.4, 0.6, 0.8, 1.0)


class Load:
    """Draws its watts times the clock when it works, a tenth of them when it does not."""

    def __init__(self, watts: float) -> None:
        self.watts = watts
        self.is_busy = False
        self.clocks: list[float] = []
        self.resumed: list[float] = []

    def watts_at(self, clock: float) -> float:
        return self.watts * (clock if self.is_busy else 0.1)

    def set_clock(self, now_s: float, clock: float) -> None:  # noqa: ARG002 (part of the protocol)
        self.clocks.append(clock)

    def resume(self, now_s: float) -> None:
        self.resumed.append(now_s)


class Rack:
    """A budget with loads on it."""

    def __init__(self, budget_w: float, watts: Sequence[float], fixed_w: float = 0.0) -> None:
        self.kernel = Kernel()
        self.windows = Windows(10.0, 2)
        self.notes: list[str] = []
        self.budget = RackBudget(
            budget_w,
            fixed_w,
            LEVELS,
            self.windows,
            lambda _time_s, kind, _clock: self.notes.append(kind),
            self.kernel,
            0,
        )
        self.loads = [Load(each) for each in watts]
        for load in self.loads:
            self.budget.add(load)

    def begin(self, now_s: float, number: int) -> float:
        load = self.loads[number]
        load.is_busy = True
        return self.budget.grant(now_s, load)

    def end(self, now_s: float, number: int) -> float:
        load = self.loads[number]
        load.is_busy = False
        return self.budget.grant(now_s, load)


def test_within_budget_nothing_is_slowed() -> None:
    rack = Rack(200.0, [100.0, 100.0])
    assert rack.begin(0.0, 0) == 1.0
    assert rack.begin(0.0, 1) == 1.0
    assert rack.loads[0].clocks == []


def test_others_are_slowed_before_a_higher_draw_begins() -> None:
    rack = Rack(170.0, [100.0, 100.0])
    assert rack.begin(0.0, 0) == 1.0
    # 2 x 100 W x 0.8 = 160 W is the highest within 170 W.
    assert rack.begin(5.0, 1) == 0.8
    assert rack.loads[0].clocks == [0.8]
    assert rack.end(7.0, 1) == 1.0
    assert rack.loads[0].clocks == [0.8, 1.0]
    assert rack.notes == ["cap_began", "cap_ended"]


def test_what_is_fixed_counts_too() -> None:
    rack = Rack(170.0, [100.0], fixed_w=100.0)
    assert rack.begin(0.0, 0) == 0.6


def test_capped_seconds_fall_into_their_windows() -> None:
    rack = Rack(170.0, [100.0, 100.0])
    rack.begin(0.0, 0)
    rack.begin(8.0, 1)
    rack.end(23.0, 1)
    rack.budget.account(40.0)
    assert [row[1] for row in rack.windows.rows] == pytest.approx([2.0, 10.0, 3.0])


def test_a_budget_exactly_met_is_kept() -> None:
    assert Rack(80.0, [100.0]).begin(0.0, 0) == 0.8


def test_who_gets_no_power_waits_and_tries_again_when_there_is_some() -> None:
    rack = Rack(70.0, [100.0, 100.0])
    assert rack.begin(0.0, 0) == pytest.approx(0.6)
    assert rack.begin(1.0, 1) == 0.0
    # It waits and draws as if idle, whatever it would like.
    rack.loads[1].is_busy = False
    rack.end(2.0, 0)
    rack.kernel.run()
    assert len(rack.loads[1].resumed) == 1
