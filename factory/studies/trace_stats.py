"""Statistics of a trace that is read once, in bounded memory.

Exact: counts, sums, means, coefficients of variation, the distribution of token counts (every whole
number is counted) and the counts of requests per window. Approximate, within 0.5 %: quantiles of
times, which are counted in cells of equal ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DENSE = 1 << 18
_MOST_WINDOWS = 8192

#: Lengths of windows, s; each divides the next, so windows can be joined exactly.
WIDTHS_S = (0.01, 0.1, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 10800.0,
            21600.0, 43200.0, 86400.0, 604800.0, 6048000.0)  # fmt: skip


class TokenCounts:
    """Whole numbers ≥ 0, each counted: all that follows is exact.

    Memory grows with the number of distinct values, not with how many there are.
    """

    __slots__ = ("_dense", "_large", "_large_counts", "n", "total")

    def __init__(self, values: Sequence[int] | Ints = ()) -> None:
        self.n = 0
        self.total = 0
        self._dense: Ints = np.zeros(0, np.int64)
        self._large: Ints = np.zeros(0, np.int64)
        self._large_counts: Ints = np.zeros(0, np.int64)
        if len(values):
            self.add(values)

    def add(self, values: Sequence[int] | Ints) -> None:
        """Counts whole numbers ≥ 0, shape (n,)."""
        found = np.asarray(values, np.int64)
        if not len(found):
            return
        self.n += len(found)
        self.total += int(found.sum())
        small = np.bincount(found[found < _DENSE])
        if len(small) > len(self._dense):
            self._dense = np.concatenate((self._dense, np.zeros(len(small), np.int64)))[
                : max(len(small), len(self._dense))
            ]
        self._dense[: len(small)] += small
        large = found[found >= _DENSE]
        if len(large):
            values_, counts = np.unique(large, return_counts=True)
            both, place = np.unique(np.concatenate((self._large, values_)), return_inverse=True)
            weights = np.concatenate((self._large_counts, counts))
            self._large = both
            self._large_counts = np.bincount(place, weights).astype(np.int64)

    def distinct(self) -> tuple[Ints, Ints]:
        """Returns the distinct values, ascending, and how often each was seen."""
        at = np.flatnonzero(self._dense)
        return (
            np.concatenate((at, self._large)),
            np.concatenate((self._dense[at], self._large_counts)),
        )

    @property
    def mean(self) -> float:
        """Mean; NaN without values."""
        return self.total / self.n if self.n else math.nan

    @property
    def stddev(self) -> float:
        """Standard deviation of the values; NaN without values."""
        values, counts = self.distinct()
        if not self.n:
            return math.nan
        return math.sqrt(float(counts @ (values - self.mean) ** 2) / self.n)

    def quantiles(self, probabilities: Sequence[float]) -> list[float]:
        """Returns quantiles, interpolated linearly (Hyndman and Fan 1996, type 7)."""
        if not self.n:
            return [math.nan] * len(probabilities)
        values, counts = self.distinct()
        upto = np.cumsum(counts)
        place = np.asarray(probabilities) * (self.n - 1)
        low = values[np.searchsorted(upto, np.floor(place), side="right")]
        high = values[np.searchsorted(upto, np.ceil(place), side="right")]
        found: list[float] = (low + (place - np.floor(place)) * (high - low)).tolist()
        return found

    def histogram(self, cells_per_decade: int = 12) -> list[tuple[float, float, int]]:
        """Counts values in cells of equal ratio: (from, to, how many); 0 stands with the 1s."""
        if not self.n:
            return []
        values, counts = self.distinct()
        return _histogram(np.maximum(values, 1), counts, cells_per_decade)


class TimeCounts:
    """Times ≥ 0 in seconds, counted in cells of equal ratio (DDSketch: Masson et al., VLDB 2019).

    Quantiles are within 0.5 % of a value that was there; count, mean and deviation are exact.
    Times below a microsecond count as 0.
    """

    __slots__ = ("_cells", "n", "squares", "total")

    _ACCURACY = 0.005
    _GAMMA = (1 + _ACCURACY) / (1 - _ACCURACY)
    _SMALLEST_S = 1e-6
    _CELLS = 4096

    def __init__(self) -> None:
        self.n = 0
        self.total = 0.0
        self.squares = 0.0
        self._cells: Ints = np.zeros(self._CELLS, np.int64)

    def add(self, times_s: Sequence[float] | Floats) -> None:
        """Counts times in seconds, shape (n,), each ≥ 0."""
        found = np.asarray(times_s, np.float64)
        if not len(found):
            return
        self.n += len(found)
        self.total += float(found.sum())
        self.squares += float(found @ found)
        ratio = np.maximum(found, self._SMALLEST_S) / self._SMALLEST_S
        cell = np.ceil(np.log(ratio) / math.log(self._GAMMA)).astype(np.int64)
        self._cells += np.bincount(np.clip(cell, 0, self._CELLS - 1), minlength=self._CELLS)

    @property
    def mean(self) -> float:
        """Mean, s; NaN without times."""
        return self.total / self.n if self.n else math.nan

    @property
    def cv(self) -> float:
        """Coefficient of variation; NaN without times or where all are 0."""
        return _cv(self.n, self.total, self.squares)

    def quantiles(self, probabilities: Sequence[float]) -> list[float]:
        """Returns quantiles in seconds: the value of the cell that holds each."""
        if not self.n:
            return [math.nan] * len(probabilities)
        upto = np.cumsum(self._cells)
        rank = np.floor(np.asarray(probabilities) * (self.n - 1))
        cell = np.searchsorted(upto, rank, side="right")
        middle = self._SMALLEST_S * 2 * self._GAMMA**cell / (self._GAMMA + 1)
        found: list[float] = np.where(cell == 0, 0.0, middle).tolist()
        return found

    def histogram(self, cells_per_decade: int = 8) -> list[tuple[float, float, int]]:
        """Counts times in cells of equal ratio: (from, to, how many), s; the first from 1 ms on."""
        if not self.n:
            return []
        times, counts = self.distinct()
        return _histogram(np.maximum(times, 1e-3), counts, cells_per_decade)

    def distinct(self) -> tuple[Floats, Ints]:
        """Returns the middle of each cell that holds a time, ascending, and how many it holds."""
        at = np.flatnonzero(self._cells)
        middle = self._SMALLEST_S * 2 * self._GAMMA**at / (self._GAMMA + 1)
        return np.where(at == 0, 0.0, middle), self._cells[at]


@dataclass(frozen=True, slots=True)
class Windows:
    """Arrivals in windows of one length.

    Attributes:
        start_s: Start of the first window, on the clock of the times that were added.
        width_s: Length of a window, s.
        span_s: From the first arrival to the last, s.
        counts: Arrivals in each window, shape (windows,).
        gaps: Gaps that end in each window, shape (windows,).
        sums_s: Their sum, s.
        squares: The sum of their squares, s².
    """

    start_s: float
    width_s: float
    span_s: float
    counts: Ints
    gaps: Ints
    sums_s: Floats
    squares: Floats

    @property
    def rates(self) -> Floats:
        """Arrivals per second of each window.

        The last window is as long as arrivals go on; NaN if that is less than half of it.
        """
        n = len(self.counts)
        spans = np.full(n, self.width_s)
        rest = self.span_s - (n - 1) * self.width_s
        spans[-1] = rest if n == 1 or rest >= self.width_s / 2 else np.nan
        with np.errstate(divide="ignore"):
            found: Floats = self.counts / spans
        return found

    @property
    def peak_to_mean(self) -> float:
        """Rate of the busiest window over the mean; 1 without a span."""
        if not self.span_s:
            return 1.0
        mean = float(self.counts.sum()) / self.span_s
        return float(np.nanmax(self.rates)) / mean

    @property
    def gap_cvs(self) -> Floats:
        """Coefficient of variation of the gaps of each window; NaN where fewer than 8 end."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = self.sums_s / self.gaps
            found: Floats = np.sqrt(np.maximum(self.squares / self.gaps / mean**2 - 1, 0))
        found[(self.gaps < 8) | ~np.isfinite(found)] = np.nan
        return found

    @property
    def cv_within(self) -> float:
        """CV of gaps over the mean gap of their own window: burstiness without the slow rate."""
        cvs, weights = self.gap_cvs, self.gaps
        known = ~np.isnan(cvs)
        if not known.any():
            return math.nan
        return math.sqrt(float(cvs[known] ** 2 @ weights[known]) / float(weights[known].sum()))

    @property
    def dispersion(self) -> float:
        """Variance over mean of the counts of whole windows: 1 for a steady Poisson process."""
        whole = self.counts[:-1]
        if len(whole) < 2 or not whole.any():
            return math.nan
        return float(whole.var(ddof=1) / whole.mean())


class Arrivals:
    """Arrival times, ascending: the rate over time and how gaps vary. All exact."""

    __slots__ = ("_columns", "_first_s", "_last_s", "_level", "n", "squares", "tied")

    def __init__(self) -> None:
        self.n = 0
        self.squares = 0.0  # of all gaps, s²
        self.tied = 0  # gaps of 0 s
        self._first_s = self._last_s = 0.0
        self._level = 0
        # Counts, gaps that end there, their sum and squares, by window.
        self._columns: Floats = np.zeros((4, 0))

    def add(self, times_s: Sequence[float] | Floats) -> None:
        """Counts arrivals; times in seconds, shape (n,), that never fall from call to call."""
        times = np.asarray(times_s, np.float64)
        if not len(times):
            return
        if not self.n:
            self._first_s = self._last_s = float(times[0])
        gaps = np.diff(times, prepend=self._last_s)
        is_gap = np.ones(len(times))
        is_gap[0] = self.n > 0
        self.n += len(times)
        self._last_s = float(times[-1])
        self.squares += float(gaps @ gaps)
        self.tied += int(((gaps == 0) & (is_gap > 0)).sum())
        while self.span_s / WIDTHS_S[self._level] >= _MOST_WINDOWS:
            self._columns = _joined(self._columns, _ratio(self._level))
            self._level += 1
        since = (times - self._first_s) / WIDTHS_S[self._level]
        place = np.floor(since + 1e-9).astype(np.int64)
        n = max(int(place[-1]) + 1, self._columns.shape[1])
        grown = np.zeros((4, n))
        grown[:, : self._columns.shape[1]] = self._columns
        for row, weights in enumerate((None, is_gap, gaps, gaps * gaps)):
            grown[row] += np.bincount(place, weights, n)
        self._columns = grown

    @property
    def start_s(self) -> float:
        """Time of the first arrival, s."""
        return self._first_s

    @property
    def span_s(self) -> float:
        """From the first arrival to the last, s."""
        return self._last_s - self._first_s

    @property
    def rate(self) -> float:
        """Arrivals per second: gaps over the span; NaN without a span."""
        return (self.n - 1) / self.span_s if self.span_s else math.nan

    @property
    def gap_cv(self) -> float:
        """Coefficient of variation of all gaps; NaN without a span."""
        return _cv(self.n - 1, self.span_s, self.squares)

    def windows(self, most: int = 60) -> Windows:
        """Returns the arrivals in windows of the shortest length that makes at most `most`."""
        columns, level = self._columns, self._level
        while self.span_s / WIDTHS_S[level] > most and level + 1 < len(WIDTHS_S):
            columns = _joined(columns, _ratio(level))
            level += 1
        return Windows(
            self._first_s,
            WIDTHS_S[level],
            self.span_s,
            columns[0].astype(np.int64),
            columns[1].astype(np.int64),
            columns[2],
            columns[3],
        )


def _ratio(level: int) -> int:
    return round(WIDTHS_S[level + 1] / WIDTHS_S[level])


def _joined(columns: Floats, ratio: int) -> Floats:
    """Windows `ratio` at a time."""
    missing = -columns.shape[1] % ratio
    padded = np.pad(columns, ((0, 0), (0, missing)))
    joined: Floats = padded.reshape(4, -1, ratio).sum(axis=2)
    return joined


def _histogram(
    values: Ints | Floats, counts: Ints, cells_per_decade: int
) -> list[tuple[float, float, int]]:
    first = math.floor(math.log10(values[0]) * cells_per_decade + 1e-9)
    last = math.floor(math.log10(values[-1]) * cells_per_decade + 1e-9) + 1
    edges = 10.0 ** (np.arange(first, last + 1) / cells_per_decade)
    cell = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    found = np.bincount(cell, counts, len(edges) - 1).astype(np.int64)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), found.tolist(), strict=True))


def _cv(n: int, total: float, squares: float) -> float:
    if n < 1 or total <= 0:
        return math.nan
    mean = total / n
    return math.sqrt(max(squares / n / mean**2 - 1, 0.0))
