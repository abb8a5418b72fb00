"""Breakers open at the instant that their curve says, and take down what is beneath."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, inf, log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from power_row import PowerRow

from factory.facility.breakers import Breaker
from factory.facility.feed import Feed
from factory.facility.tree import DARK_S, PowerNode
from factory.power.breaker_curves import BreakerCurve
from factory.records.codes import STATE_TRIPPED
from factory.scenario.power_control import CURVES

POINTS = ((1.1, 1000.0), (1.4, 60.0))


class TestCurve:
    def test_its_points_are_its_own(self) -> None:
        curve = BreakerCurve(POINTS)
        assert curve.tolerated_s(1.1) == pytest.approx(1000.0, rel=1e-12)
        assert curve.tolerated_s(1.4) == pytest.approx(60.0, rel=1e-12)

    def test_between_them_it_is_straight_in_logarithms(self) -> None:
        middle = BreakerCurve(POINTS).tolerated_s(sqrt(1.1 * 1.4))
        assert middle == pytest.approx(sqrt(1000.0 * 60.0), rel=1e-12)

    def test_below_the_first_point_it_carries_for_ever_beyond_the_last_as_at_it(self) -> None:
        curve = BreakerCurve(POINTS)
        assert curve.tolerated_s(1.05) == inf
        assert curve.tolerated_s(20.0) == pytest.approx(60.0, rel=1e-12)

    def test_cools_as_newton_says(self) -> None:
        curve = BreakerCurve(POINTS, cooling_s=100.0)
        assert curve.heat_after(0.5, 0.3, 200.0) == pytest.approx(0.5 * exp(-2.0))
        assert curve.heat_after(0.5, 1.05, 200.0) == 0.5
        assert BreakerCurve(POINTS).cooling_s == 1000.0

    @pytest.mark.parametrize("name", CURVES)
    def test_every_shipped_curve_falls(self, name: str) -> None:
        points = CURVES[name]
        curve = BreakerCurve(points)
        ratios = [points[0][0] + 0.01 * i for i in range(1000)]
        times = [curve.tolerated_s(ratio) for ratio in ratios]
        assert all(a >= b > 0.0 for a, b in pairwise(times))

    @given(st.lists(st.tuples(st.floats(0.5, 1.6), st.floats(0.1, 300.0)), min_size=1, max_size=20))
    def test_heat_does_not_hang_on_how_a_span_is_cut(
        self, spans: list[tuple[float, float]]
    ) -> None:
        curve = BreakerCurve(POINTS)
        whole = cut = 0.0
        for ratio, seconds in spans:
            whole = curve.heat_after(whole, ratio, seconds)
            for part in (0.2, 0.5, 0.3):
                cut = curve.heat_after(cut, ratio, part * seconds)
        assert cut == pytest.approx(whole, rel=1e-9)


@dataclass
class Server:
    """A machine that keeps what it was told, and stops drawing when it fails."""

    feed: Feed
    told: list[tuple[float, str]] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    is_shut: bool = False

    @property
    def rack(self) -> PowerNode:
        return self.feed.rack

    def shut(self) -> None:
        self.is_shut = True

    def fail(
        self, now_s: float, state: int, watts_per_gpu: float, cause: str, *, keeps_weights: bool
    ) -> None:
        assert self.is_shut
        assert state == STATE_TRIPPED
        assert cause not in self.causes
        assert not keeps_weights
        self.causes.add(cause)
        self.told.append((now_s, "fail"))
        self.feed.draw(now_s, watts_per_gpu * 8)

    def repair(self, now_s: float, state: int, cause: str) -> None:
        assert state == STATE_TRIPPED
        self.causes.remove(cause)
        self.told.append((now_s, "repair"))


class Guarded:
    """A row of two racks behind a breaker of 10 kW."""

    def __init__(self, cooling_s: float | None = None, reset_s: float = 600.0) -> None:
        self.row = PowerRow(10e3, [0, 0])
        self.servers = [Server(feed) for feed in self.row.feeds]
        curve = BreakerCurve(POINTS, cooling_s)
        self.breaker = Breaker(
            self.row.kernel, 0, self.row.row, curve, 10e3, reset_s, self.servers, self.row.note
        )

    def trips(self) -> list[float]:
        self.row.run(10_000.0)
        return [now_s for now_s, _ in self.row.seen("breaker_tripped")]


def seconds_at(ratio: float) -> float:
    """What the curve of `POINTS` says, by hand."""
    slope = log(60.0 / 1000.0) / log(1.4 / 1.1)
    return 1000.0 * (ratio / 1.1) ** slope


class TestInstant:
    def test_of_a_constant_overload_is_the_curve(self) -> None:
        guarded = Guarded()
        guarded.row.draw_at(17.0, 5000.0, 7000.0)
        assert guarded.trips() == [pytest.approx(17.0 + seconds_at(1.2), abs=1e-9)]

    def test_of_two_overloads_adds_their_shares(self) -> None:
        guarded = Guarded()
        guarded.row.draw_at(10.0, 5000.0, 6000.0)
        guarded.row.draw_at(510.0, 5000.0, 9000.0)
        # Half of what 1.1 tolerates is used up, half of that of 1.4 is left.
        assert guarded.trips() == [pytest.approx(510.0 + 30.0, abs=1e-9)]

    def test_after_cooling_it_tolerates_more(self) -> None:
        guarded = Guarded(cooling_s=200.0)
        guarded.row.draw_at(0.0, 5000.0, 9000.0)
        guarded.row.draw_at(30.0, 2000.0, 3000.0)
        guarded.row.draw_at(50.0, 2000.0, 1000.0)
        guarded.row.draw_at(130.0, 5000.0, 9000.0)
        left = 1.0 - 0.5 * exp(-100.0 / 200.0)
        assert guarded.trips() == [pytest.approx(130.0 + 60.0 * left, abs=1e-9)]

    def test_between_rating_and_curve_it_keeps_its_heat(self) -> None:
        guarded = Guarded(cooling_s=200.0)
        guarded.row.draw_at(0.0, 5000.0, 9000.0)
        guarded.row.draw_at(30.0, 5000.0, 5500.0)
        guarded.row.draw_at(530.0, 5000.0, 9000.0)
        assert guarded.trips() == [pytest.approx(560.0, abs=1e-9)]

    def test_at_its_rating_never(self) -> None:
        guarded = Guarded()
        guarded.row.draw_at(0.0, 5000.0, 5000.0)
        assert guarded.trips() == []
        assert guarded.row.kernel.fired == 1

    def test_an_overload_that_ends_in_time_leaves_no_event(self) -> None:
        guarded = Guarded()
        guarded.row.draw_at(0.0, 5000.0, 9000.0)
        guarded.row.draw_at(59.9, 5000.0, 5000.0)
        assert guarded.trips() == []
        assert guarded.row.kernel.acted_s == 59.9

    @given(st.lists(st.floats(0.0, 59.0), max_size=8))
    def test_looks_in_between_do_not_move_it(self, looks: list[float]) -> None:
        guarded = Guarded()
        guarded.row.draw_at(0.0, 5000.0, 9000.0)
        for when in looks:
            guarded.row.at(when, guarded.row.row.account)
        assert guarded.trips()[0] == pytest.approx(60.0, abs=1e-9)


class TestTrip:
    def test_everything_beneath_is_dark_until_it_is_closed(self) -> None:
        guarded = Guarded()
        row = guarded.row
        row.draw_at(0.0, 5000.0, 9000.0)
        row.run(60.5)
        assert guarded.breaker.is_open
        assert row.root.power_w == row.row.power_w == 0.0
        assert all(rack.is_dark for rack in row.racks)
        row.run(1000.0)
        assert not guarded.breaker.is_open
        assert not any(rack.is_dark for rack in row.racks)
        fails = pytest.approx(60.0, abs=1e-9)
        for server in guarded.servers:
            assert server.told == [(fails, "fail"), (pytest.approx(660.0, abs=1e-9), "repair")]
        row.tree.close(1000.0)
        for node in (row.row, *row.racks):
            assert sum(w[DARK_S] for w in node.windows.rows) == pytest.approx(600.0, abs=1e-9)
        (_, _, subject, ratio), (_, _, _, closed) = row.notes
        assert (subject, ratio, closed) == ("row", 1.4, 0.0)
        assert row.details[0] == "14 kW over 10 kW"

    def test_closed_it_is_cold_and_trips_again(self) -> None:
        guarded = Guarded(reset_s=100.0)
        guarded.row.draw_at(0.0, 5000.0, 9000.0)
        guarded.row.draw_at(200.0, 9000.0, 5000.1)
        first, second = guarded.trips()
        assert first == pytest.approx(60.0, abs=1e-9)
        assert second == pytest.approx(260.0, abs=1e-9)

    def test_rest_takes_its_timers_back(self) -> None:
        guarded = Guarded()
        guarded.row.draw_at(0.0, 5000.0, 9000.0)
        guarded.row.run(1.0)
        guarded.breaker.rest()
        assert guarded.trips() == []

    def test_one_within_another(self) -> None:
        row = PowerRow(10e3, [0, 0], rack_budget_w=6000.0)
        servers = [Server(feed) for feed in row.feeds]
        inner = Breaker(
            row.kernel, 2, row.racks[0], BreakerCurve([(1.2, 20.0)]), 6000.0, 600.0, servers[:1],
            row.note,
        )  # fmt: skip
        outer = Breaker(
            row.kernel, 0, row.row, BreakerCurve([(1.2, 40.0)]), 10e3, 100.0, servers, row.note
        )
        row.draw_at(0.0, 8000.0, 13e3)
        row.run(41.0)
        assert inner.is_open
        assert outer.is_open  # 13 kW on its own was still too much
        row.run(145.0)
        assert not outer.is_open
        assert [rack.is_dark for rack in row.racks] == [True, False]
        row.run(1000.0)
        assert [rack.is_dark for rack in row.racks] == [False, False]
        assert servers[0].told == [
            (20.0, "fail"), (40.0, "fail"), (140.0, "repair"), (620.0, "repair"),
        ]  # fmt: skip
