"""Monotone surfaces of step times over a grid: what a measured table says between its rows.

A surface is a set of rows, each a line through the same knots. It is made monotone once: where a
time falls although its step does more, it is lifted to the time before (noise of measurement;
`StepSurface.lifts` keeps by how much). Between rows and between knots it is linear; beyond the
last ones it goes on along the last line, which callers allow or refuse.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from factory.performance.step_table import Row


@dataclass(frozen=True, slots=True)
class Lift:
    """A measured time that lies below that of a smaller step.

    Attributes:
        row: The row of the table.
        ratio: The time it is lifted to, over its own, minus 1.
    """

    row: Row
    ratio: float


class StepSurface:
    """Seconds over rows (batch, or tokens) and knots (KV tokens), never falling in either.

    Args:
        points: Row, knot and milliseconds of each measured step, and the table's row.
        beyond: Seconds per knot unit with which a row goes on before its first and after its last
            point; None for its own last line, and level before its first point.
        first_knot: A knot at which no row is measured, to start the surface at.

    Attributes:
        rows: The rows' coordinates, rising.
        knots: The knots' coordinates, rising.
        lifts: What was lifted, the largest first.
        values: Seconds of each row at each knot.
    """

    __slots__ = ("_beyond", "_last_slopes", "knots", "lifts", "rows", "values")

    def __init__(
        self,
        points: Sequence[tuple[float, float, Row]],
        beyond: Callable[[float], float] | None = None,
        first_knot: float | None = None,
    ) -> None:
        self.rows = sorted({row for row, _, _ in points})
        knots = {knot for _, knot, _ in points}
        self.knots = sorted(knots if first_knot is None else {first_knot, *knots})
        self._beyond = beyond
        values = np.array([self._filled(row, points) for row in self.rows])
        values = np.maximum.accumulate(np.maximum.accumulate(values, axis=0), axis=1)
        lifts = []
        for row, knot, measured in points:
            value = values[self.rows.index(row), self.knots.index(knot)]
            ratio = value / (measured.milliseconds * 1e-3) - 1.0
            if ratio > 1e-12:
                lifts.append(Lift(measured, float(ratio)))
        self.lifts = tuple(sorted(lifts, key=lambda lift: -lift.ratio))
        self.values: list[list[float]] = values.tolist()
        slopes = np.zeros(len(self.rows))
        if len(self.knots) > 1:
            slopes = (values[:, -1] - values[:, -2]) / (self.knots[-1] - self.knots[-2])
        self._last_slopes: list[float] = np.maximum.accumulate(slopes).tolist()

    def _filled(self, row: float, points: Sequence[tuple[float, float, Row]]) -> list[float]:
        """One row's seconds at all knots."""
        own = sorted((knot, at.milliseconds * 1e-3) for r, knot, at in points if r == row)
        knots = np.array([knot for knot, _ in own])
        seconds = np.array([value for _, value in own])
        before = after = 0.0
        if self._beyond is not None:
            before = after = self._beyond(row)
            before = min(before, 0.9 * own[0][1] / max(own[0][0] - self.knots[0], 1e-9))
        elif len(own) > 1:
            after = max((own[-1][1] - own[-2][1]) / (own[-1][0] - own[-2][0]), 0.0)
        at = np.array(self.knots)
        filled = np.interp(at, knots, seconds)
        filled -= before * np.maximum(own[0][0] - at, 0.0)
        filled += after * np.maximum(at - own[-1][0], 0.0)
        return [float(value) for value in filled]

    def row_weights(self, x: float) -> tuple[int, int, float]:
        """The rows around ``x`` and the weight of the second; above 1 beyond the last row."""
        rows = self.rows
        above = bisect_right(rows, x)
        if above == 0:
            return 0, 0, 0.0
        if above == len(rows):
            above -= 1
        if above == 0:
            return 0, 0, 0.0
        low, high = rows[above - 1], rows[above]
        return above - 1, above, (x - low) / (high - low)

    def mixed(self, x: float) -> list[float]:
        """Seconds at every knot, for the row coordinate ``x``.

        Before the first row its times hold. After the last one they go on along the line through
        the last two; a surface of one row grows in proportion.
        """
        low, high, weight = self.row_weights(x)
        first = self.values[low]
        if low == high:
            scale = max(x / self.rows[0], 1.0)
            return [value * scale for value in first]
        second = self.values[high]
        mixed = [a + weight * (b - a) for a, b in zip(first, second, strict=True)]
        if weight > 1.0:
            for knot in range(1, len(mixed)):
                mixed[knot] = max(mixed[knot], mixed[knot - 1])
        return mixed

    def last_slope(self, x: float) -> float:
        """Seconds per knot unit after the last knot, for the row coordinate ``x``.

        A row goes on no flatter than those before it, so that times do not fall from row to row.
        """
        if self._beyond is not None:
            return self._beyond(x)
        low, high, weight = self.row_weights(x)
        first, second = self._last_slopes[low], self._last_slopes[high]
        if low == high:
            return first * max(x / self.rows[0], 1.0)
        return first + weight * (second - first)
