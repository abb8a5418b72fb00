"""Curves of rate over time: points, and days on a local clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from factory.workload.arrivals.clock import Clock
from factory.workload.arrivals.segments import Floats, Segments, product

_DAY_S = 86400.0
_QUARTER_S = 900.0
_SATURDAY = 5
#: Lines of a repeating curve that are laid out together.
_LINES = 2048


class Curve(Protocol):
    """A rate over time that is never negative."""

    def spans(self) -> Iterator[Segments]:
        """Yields its stretches from time 0 on, each beginning where the last one ends."""
        ...


@dataclass(frozen=True, slots=True)
class Points:
    """Straight lines between points; before the first and after the last the rate holds.

    Attributes:
        times_s: Times, not falling, from 0 on; two points at one time are a jump.
        factors: Rates at these times, >= 0.
        repeat: Whether the points begin again at the last one's time; then the first is at 0.
    """

    times_s: Floats
    factors: Floats
    repeat: bool = False

    def spans(self) -> Iterator[Segments]:
        """The points as they are and a level end, or their repetitions a few at a time."""
        times, factors = self.times_s, self.factors
        if not self.repeat:
            if times[0] > 0:
                times, factors = np.append(0.0, times), np.append(factors[0], factors)
            yield Segments(times, factors, np.append(factors[1:], factors[-1]), math.inf)
            return
        period = float(times[-1])
        copies = max(1, _LINES // len(times))
        left, right = np.tile(factors[:-1], copies), np.tile(factors[1:], copies)
        done = 0
        while True:
            begins = period * np.arange(done, done + copies)
            starts = (begins[:, None] + times[:-1]).ravel()
            done += copies
            yield Segments(starts, left, right, period * done)


@dataclass(frozen=True, slots=True)
class Days:
    """Days of one shape on a local clock, and quieter or busier weekends.

    The shape has its highest rate at a local hour and the mean 1 over 24 hours. Up to a peak of 2
    it is the cosine 1 + (peak - 1) cos x; beyond, peak × ((1 + cos x) / 2)^k with the k that gives
    the mean 1: then the night is nearly empty. Both are the same curve at 2. Days of the week are
    scaled so that a week's mean is 1. When the clock is changed, the hour that it skips is
    missing from that day, and the hour that it shows twice counts twice.

    Attributes:
        clock: Simulated time's clock in the users' zone.
        peak_to_mean: Highest rate over the day's mean, 1 to 12.
        peak_hour: Local hour of the highest rate, 0 up to 24.
        weekend_factor: Rate of Saturday and Sunday over that of other days.
    """

    clock: Clock
    peak_to_mean: float
    peak_hour: float = 0.0
    weekend_factor: float = 1.0
    _shape: Segments = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shape", _day(self.peak_to_mean, self.peak_hour))

    def spans(self) -> Iterator[Segments]:
        """A stretch for each local day; two or more on a day when the clock is changed."""
        working = 7 / (5 + 2 * self.weekend_factor)
        shape = self._shape
        for start_s, end_s, local_s, weekday in self.clock.stretches():
            scale = working * (self.weekend_factor if weekday >= _SATURDAY else 1.0)
            until = local_s + end_s - start_s
            knots = shape.starts[(shape.starts > local_s) & (shape.starts < until)]
            knots = np.append(local_s, knots)
            left, right = shape.cut(knots, until)
            yield Segments(knots + (start_s - local_s), scale * left, scale * right, end_s)


@dataclass(frozen=True, slots=True)
class From:
    """A curve from a later time on; that time becomes 0.

    Attributes:
        curve: The curve.
        at_s: The time, s, finite.
    """

    curve: Curve
    at_s: float

    def spans(self) -> Iterator[Segments]:
        """What is left of its stretches."""
        for span in self.curve.spans():
            if span.end <= self.at_s:
                continue
            knots = np.append(max(span.start, self.at_s), span.starts[span.starts > self.at_s])
            left, right = span.cut(knots, span.end)
            yield Segments(knots - self.at_s, left, right, span.end - self.at_s)


@dataclass(frozen=True, slots=True)
class Product:
    """Two curves multiplied."""

    first: Curve
    second: Curve

    def spans(self) -> Iterator[Segments]:
        """Stretches that end wherever one of the two does."""
        return product(self.first.spans(), self.second.spans())


def _day(peak: float, hour: float) -> Segments:
    """The 24 hours of a day: a point each quarter of an hour from the peak on, and midnight."""
    angle: Floats = np.arange(96, dtype=np.float64) * (2 * math.pi / 96)
    heights = _heights(peak, angle)
    times: Floats = (hour * 3600 + np.arange(96, dtype=np.float64) * _QUARTER_S) % _DAY_S
    order = np.argsort(times)
    times, heights = times[order], heights[order]
    midnight = np.interp(0.0, [times[-1] - _DAY_S, times[0]], [heights[-1], heights[0]])
    if times[0] > 0:
        times, heights = np.append(0.0, times), np.append(midnight, heights)
    return Segments(times, heights, np.append(heights[1:], midnight), _DAY_S)


def _heights(peak: float, angle: Floats) -> Floats:
    """A day's curve by the angle from its peak; the mean over equal angles is 1."""
    if peak <= 2:
        return 1 + (peak - 1) * np.cos(angle)
    base = np.clip((1 + np.cos(angle)) / 2, 0.0, 1.0)
    low, high = 1.0, 256.0
    for _ in range(200):
        middle = (low + high) / 2
        if peak * float(np.mean(base**middle)) > 1:
            low = middle
        else:
            high = middle
    heights: Floats = peak * base ** ((low + high) / 2)
    return heights
