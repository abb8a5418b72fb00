"""A curve that is never negative as straight lines end to end, stretch by stretch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Parts that a product of two sloping lines is cut into; each part is a line again.
_PARTS = 16


class Segments:
    """Lines end to end over [starts[0], end), with a jump where one does not meet the next.

    Args:
        starts: Where each line begins, s, rising; shape (n,).
        left: Heights at the starts, >= 0.
        right: Heights towards the ends, >= 0.
        end: Where the last line ends, s; infinite if that line is level.

    Attributes:
        slopes: Rise of each line per second.
        areas: Area under the lines from starts[0] to each start and to the end; shape (n + 1,).
    """

    __slots__ = ("areas", "end", "left", "right", "slopes", "starts")

    def __init__(self, starts: Floats, left: Floats, right: Floats, end: float) -> None:
        widths = np.append(starts[1:], end) - starts
        solid = widths > 0
        if not solid.all():
            starts, left, right, widths = starts[solid], left[solid], right[solid], widths[solid]
        if math.isinf(end):
            # A level line to infinity: its slope is 0, and it has an area unless it lies at 0.
            widths[-1] = math.inf if left[-1] > 0 else 0.0
            right = np.append(right[:-1], left[-1])
        self.starts = starts
        self.left = left
        self.right = right
        self.end = end
        self.slopes = np.divide(right - left, widths, out=np.zeros_like(left), where=widths > 0)
        self.areas = np.append(0.0, np.cumsum((left + right) / 2 * widths))

    @property
    def start(self) -> float:
        """Where the first line begins, s."""
        return float(self.starts[0])

    @property
    def area(self) -> float:
        """Area under all lines."""
        return float(self.areas[-1])

    def at(self, time_s: Floats) -> Floats:
        """Heights; at a jump that of the line which begins there."""
        i = self.index(time_s)
        return self.left[i] + self.slopes[i] * (time_s - self.starts[i])

    def integral(self, time_s: Floats) -> Floats:
        """Areas from the first start to each time."""
        i = self.index(time_s)
        passed = time_s - self.starts[i]
        return self.areas[i] + passed * (self.left[i] + self.slopes[i] * passed / 2)

    def inverse(self, area: Floats) -> Floats:
        """The first time at which the area is reached: the quadratic's root, exactly.

        Args:
            area: At most all of it.
        """
        i = np.maximum(np.searchsorted(self.areas, area, side="left") - 1, 0)
        rest = area - self.areas[i]
        height, slope = self.left[i], self.slopes[i]
        # The form without cancellation: 2c / (b + √(b² + 2ac)).
        below = height + np.sqrt(np.maximum(height * height + 2 * slope * rest, 0.0))
        passed = np.divide(2 * rest, below, out=np.zeros_like(rest), where=below > 0)
        ends = np.append(self.starts[1:], self.end)
        found: Floats = np.minimum(self.starts[i] + passed, ends[i])
        return found

    def cut(self, knots: Floats, end: float) -> tuple[Floats, Floats]:
        """Heights at the left and right of lines that begin at `knots`, which hold my starts."""
        i = self.index(knots)
        left = self.left[i] + self.slopes[i] * (knots - self.starts[i])
        widths = np.append(knots[1:], end) - knots
        return left, left + self.slopes[i] * np.where(np.isfinite(widths), widths, 0.0)

    def is_over(self, time_s: float) -> bool:
        """Whether the curve lies at 0 from some time on for good."""
        return math.isinf(self.end) and not self.left[-1] and float(self.starts[-1]) <= time_s

    def index(self, time_s: Floats) -> NDArray[np.intp]:
        """Which line stands over each time."""
        found: NDArray[np.intp] = np.searchsorted(self.starts, time_s, side="right") - 1
        return np.maximum(found, 0)


def joined(parts: Iterable[Segments]) -> Segments:
    """One stretch out of those that follow each other."""
    parts = list(parts)
    starts, left, right = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("starts", "left", "right")
    )
    return Segments(starts, left, right, parts[-1].end)


def product(first: Iterator[Segments], second: Iterator[Segments]) -> Iterator[Segments]:
    """Yields the product of two curves, a stretch at a time.

    Two sloping lines multiply to a parabola; it is cut into 16 parts and each part replaced by its
    chord, so that areas can still be inverted exactly. The chord of a part of width h is off by at
    most |slope × slope| h² / 4.
    """
    one, other = next(first, None), next(second, None)
    at = 0.0 if one is None else one.start
    while one is not None and other is not None:
        end = min(one.end, other.end)
        if one.is_over(at) or other.is_over(at):
            yield Segments(np.array([at]), np.zeros(1), np.zeros(1), math.inf)
            return
        yield _product(one, other, at, end)
        at = end
        one = next(first, None) if one.end == end else one
        other = next(second, None) if other.end == end else other


def _within(segments: Segments, start: float, end: float) -> Floats:
    """Starts strictly between two times."""
    first = np.searchsorted(segments.starts, start, side="right")
    return segments.starts[first : np.searchsorted(segments.starts, end, side="left")]


def _product(one: Segments, other: Segments, start: float, end: float) -> Segments:
    knots = np.append(start, np.union1d(_within(one, start, end), _within(other, start, end)))
    curved = (one.slopes[one.index(knots)] != 0) & (other.slopes[other.index(knots)] != 0)
    if curved.any():
        widths = np.append(knots[1:], end) - knots
        parts = np.where(curved, _PARTS, 1)
        before = np.repeat(np.cumsum(parts) - parts, parts)
        share = (np.arange(len(before)) - before) / np.repeat(parts, parts)
        widths = np.where(curved, widths, 0.0)
        knots = np.repeat(knots, parts) + np.repeat(widths, parts) * share
    (left, right), (left_2, right_2) = one.cut(knots, end), other.cut(knots, end)
    return Segments(knots, left * left_2, right * right_2, end)
