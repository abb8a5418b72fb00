"""Steps over time: values, changes and exact integrals; days on a local clock."""

from __future__ import annotations

import datetime as dt
from itertools import count
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.power.battery import level_change_j, moved_j, seconds_until
from factory.power.series import Steps, constant, days
from factory.workload.arrivals.clock import Clock


def test_values_changes_and_integrals() -> None:
    steps = Steps([(0.0, 1.0), (10.0, 1.0), (20.0, 3.0), (30.0, -1.0)])
    assert [steps.at(time) for time in (-5.0, 0.0, 19.9, 20.0, 29.0, 30.0, 1e9)] == [
        1.0, 1.0, 1.0, 3.0, 3.0, -1.0, -1.0
    ]  # fmt: skip
    assert steps.next_change(0.0) == 20.0
    assert steps.next_change(20.0) == 30.0
    assert steps.next_change(30.0) == inf
    assert list(steps.spans(5.0, 35.0)) == [(5.0, 20.0, 1.0), (20.0, 30.0, 3.0), (30.0, 35.0, -1.0)]
    assert steps.integral(5.0, 35.0) == 15.0 + 30.0 - 5.0
    assert steps.mean(20.0, 40.0) == 1.0
    assert steps.mean(20.0, 20.0) == 3.0
    assert constant(4.0).next_change(0.0) == inf


@given(
    st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(-5.0, 5.0)), min_size=1, max_size=20),
    st.floats(0.0, 100.0),
    st.floats(0.0, 100.0),
)
def test_integrals_are_those_of_the_parts(
    steps: list[tuple[float, float]], one: float, other: float
) -> None:
    made = sorted(dict(steps).items())
    start, end = min(one, other), max(one, other)
    edges = sorted({start, end, *(time for time, _ in made if start < time < end)})
    brute = sum(
        next((v for t, v in reversed(made) if t <= left), made[0][1]) * (right - left)
        for left, right in zip(edges, edges[1:], strict=False)  # noqa: RUF007
    )
    assert Steps(made).integral(start, end) == pytest.approx(brute, rel=1e-9, abs=1e-9)


def test_endless_steps_are_laid_out_as_far_as_asked() -> None:
    steps = Steps((float(number), float(number % 3)) for number in count())
    assert steps.at(1000.5) == 1.0
    assert steps.next_change(1000.5) == 1001.0
    assert len(steps.starts_s) < 1010


def test_a_day_on_a_clock_that_is_put_forward() -> None:
    """New York, 8 March 2026: the hour from 02:00 is skipped, so 03:00 comes two hours after 01."""
    epoch = dt.datetime(2026, 3, 8, 5, tzinfo=dt.UTC)  # midnight there
    hours = [3600.0 * hour for hour in range(24)]
    steps = days(hours, [float(h) for h in range(24)], Clock(epoch, "America/New_York").stretches())
    assert [steps.at(3600.0 * hour) for hour in (0, 1, 2, 22, 23, 24)] == [0, 1, 3, 23, 0, 1]
    assert steps.at(3600.0 * 23) == 0.0


def test_a_day_that_begins_in_its_middle() -> None:
    epoch = dt.datetime(2026, 1, 1, 12, 30, tzinfo=dt.UTC)
    steps = days([0.0, 46_800.0], [1.0, 2.0], Clock(epoch).stretches())
    assert (steps.at(0.0), steps.next_change(0.0)) == (1.0, 1800.0)
    assert steps.next_change(1800.0) == 1800.0 + 11 * 3600.0
    assert days([0.0, 60.0], [5.0, 5.0], Clock(epoch).stretches()).next_change(0.0) == inf


@given(st.floats(1.0, 1e6), st.floats(1.0, 1e6), st.floats(-1e4, 1e4))
def test_when_a_linear_power_has_given_an_energy(
    energy_j: float, power_w: float, slope: float
) -> None:
    seconds = seconds_until(energy_j, power_w, slope)
    if seconds == inf:
        assert slope < 0.0
        assert moved_j(power_w, slope, -power_w / slope) <= energy_j * (1 + 1e-9)
    else:
        assert moved_j(power_w, slope, seconds) == pytest.approx(energy_j, rel=1e-9)
        assert power_w + slope * seconds >= -1e-6 * power_w
    assert seconds_until(-energy_j, -power_w, -slope) == seconds


def test_losses_are_booked_as_it_charges() -> None:
    assert level_change_j(10.0, 0.8) == -10.0
    assert level_change_j(-10.0, 0.8) == 8.0
