"""Sums by window and energy by second: what a meter writes into."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def seconds_between(start_s: float, end_s: float, window_s: float) -> Iterator[tuple[int, float]]:
    """(number of the window, seconds) of the parts of a span, cut at the edges of windows."""
    index = int(start_s / window_s)
    while start_s < end_s:
        edge_s = (index + 1) * window_s
        until_s = end_s if end_s < edge_s else edge_s
        if until_s > start_s:
            yield index, until_s - start_s
            start_s = until_s
        index += 1


class Windows:
    """Sums of one thing (a pool, a tenant, a rack) by window, made as they are needed.

    Args:
        window_s: Length of a window, seconds.
        fields: Sums per window.
    """

    __slots__ = ("fields", "rows", "window_s")

    def __init__(self, window_s: float, fields: int) -> None:
        self.window_s = window_s
        self.fields = fields
        self.rows: list[list[float]] = []

    def row(self, index: int) -> list[float]:
        """The sums of window ``index``, from 0."""
        rows = self.rows
        while len(rows) <= index:
            rows.append([0.0] * self.fields)
        return rows[index]

    def index(self, time_s: float) -> int:
        """The window that holds ``time_s``; a window begins at its edge."""
        index = int(time_s / self.window_s)
        if time_s < index * self.window_s:
            index -= 1
        elif time_s >= (index + 1) * self.window_s:
            index += 1
        return index

    def at(self, time_s: float) -> list[float]:
        """The sums of the window that holds ``time_s``."""
        return self.row(self.index(time_s))

    def fold(self, count: int) -> list[list[float]]:
        """The first ``count`` windows.

        What happened exactly at the run's end, a window's edge, belongs to the last of them.
        """
        rows = [self.row(index) for index in range(count)]
        for late in self.rows[count:]:
            rows[-1] = [a + b for a, b in zip(rows[-1], late, strict=True)]
        return rows


class EnergyBins:
    """Energy of one power node by second, for its one-second peak.

    A span is a constant draw, so it costs its two partial seconds and two marks, however long it
    is.
    """

    __slots__ = ("changes", "joules")

    def __init__(self) -> None:
        self.joules = array("d", bytes(8 * 1024))
        self.changes = array("d", bytes(8 * 1024))

    def add(self, start_s: float, end_s: float, watts: float) -> None:
        """A draw of ``watts`` from ``start_s`` to ``end_s``."""
        first = int(start_s)
        last = int(end_s)
        joules = self.joules
        if last >= len(joules):
            grow = max(last + 1 - len(joules), len(joules))
            joules.frombytes(bytes(8 * grow))
            self.changes.frombytes(bytes(8 * grow))
        if first == last:
            joules[first] += watts * (end_s - start_s)
        else:
            joules[first] += watts * (first + 1 - start_s)
            joules[last] += watts * (end_s - last)
            self.changes[first + 1] += watts
            self.changes[last] -= watts

    def watts(self, until_s: float) -> NDArray[np.float64]:
        """Mean draw of each second up to ``until_s``, of the last over its simulated part.

        Shape (seconds begun,).
        """
        whole = int(until_s)
        count = whole + (until_s > whole)
        joules, changes = np.zeros(count), np.zeros(count)
        known = min(count, len(self.joules))
        joules[:known] = self.joules[:known]
        changes[:known] = self.changes[:known]
        means = joules + np.cumsum(changes)
        if count > whole:
            means[-1] /= until_s - whole
        return means
