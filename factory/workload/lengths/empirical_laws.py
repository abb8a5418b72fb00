"""Laws given by measurements: tables of quantiles, histograms, and values that occurred."""
# ruff: noqa: D102 (the methods of every law are those of the `Law` protocol, documented there)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.workload.lengths.laws import Floats


@dataclass(frozen=True, slots=True)
class Table:
    """A distribution function by its corners: F(values[i]) = p[i].

    Between two corners the value, or the logarithm of the value, is even. Corners of one value
    are an atom; corners of one p are a gap.

    Attributes:
        p: Rising from 0 to 1, shape (n,).
        values: Not falling, ≥ 0, shape (n,).
        logs: Natural logarithms of the values; any number where the value is 0.
        split: p from which on logarithms are even, below it values are.
        means: E[X; U ≤ p[i]] up to each corner, shape (n,).
        squares: E[X²; U ≤ p[i]] up to each corner, shape (n,).
    """

    p: Floats
    values: Floats
    logs: Floats
    split: float
    means: Floats
    squares: Floats

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        return self.quantile(rng.random(n))

    def quantile(self, p: Floats) -> Floats:
        if self.split >= 1:
            return np.interp(p, self.p, self.values)
        logs = np.interp(p, self.p, self.logs)
        values = np.exp(logs, out=logs)
        # Corners come out as they were given, whatever exp and log round.
        at = np.clip(np.searchsorted(self.p, p, side="right") - 1, 0, len(self.p) - 2)
        np.clip(values, self.values[at], self.values[at + 1], out=values)
        values[p >= 1] = self.values[-1]
        if self.split > 0:
            low = p < self.split
            values[low] = np.interp(p[low], self.p, self.values)
        return values

    def survival(self, x: Floats) -> Floats:
        _, _, below = self._place(x)
        return 1.0 - below

    def limited_mean(self, x: float) -> float:
        if x <= self.values[0]:
            return float(x)
        corner, is_log, below = self._place(np.array([x]))
        i = int(corner[0])
        mean = float(self.means[i])
        if i + 1 < len(self.p):
            a, share = float(self.values[i]), float(below[0] - self.p[i])
            mean += share * _mean_between(a, x, bool(is_log[0]))
        return mean + _over(x, float(1 - below[0]))

    def limited_square(self, x: float) -> float:
        if x <= self.values[0]:
            return float(x) ** 2
        corner, is_log, below = self._place(np.array([x]))
        i = int(corner[0])
        square = float(self.squares[i])
        if i + 1 < len(self.p):
            a, share = float(self.values[i]), float(below[0] - self.p[i])
            square += share * _square_between(a, x, bool(is_log[0]))
        return square + _over(x, float(1 - below[0])) * (x if below[0] < 1 else 0.0)

    def _place(self, x: Floats) -> tuple[np.ndarray, np.ndarray, Floats]:
        """Last corner at or below each x (0 if none), whether logs are even after it, and F(x)."""
        found = np.searchsorted(self.values, x, side="right") - 1
        i = np.clip(found, 0, len(self.p) - 2)
        is_log = self.p[i] >= self.split
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(np.minimum(np.maximum(x, self.values[i]), self.values[i + 1]))
            even_log = (logs - self.logs[i]) / (self.logs[i + 1] - self.logs[i])
            even = (x - self.values[i]) / (self.values[i + 1] - self.values[i])
        share = np.nan_to_num(np.where(is_log, even_log, even), nan=0.0, posinf=0.0, neginf=0.0)
        below = self.p[i] + np.clip(share, 0.0, 1.0) * (self.p[i + 1] - self.p[i])
        below = np.where(x >= self.values[-1], 1.0, np.where(found < 0, 0.0, below))
        return np.where(x >= self.values[-1], len(self.p) - 1, i), is_log, below


@dataclass(frozen=True, slots=True)
class Discrete:
    """Values that occur, each with its share.

    Attributes:
        values: Rising, shape (n,).
        below: P(X ≤ values[i]), ending in 1, shape (n,).
        means: E[X; X ≤ values[i]], shape (n,).
        squares: E[X²; X ≤ values[i]], shape (n,).
        alike: The values as they were given where each of them is as likely; empty otherwise.
    """

    values: Floats
    below: Floats
    means: Floats
    squares: Floats
    alike: Floats

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        if len(self.alike):
            return self.alike[rng.integers(len(self.alike), size=n)]
        return self.values[np.searchsorted(self.below, rng.random(n), side="right")]

    def survival(self, x: Floats) -> Floats:
        at = np.searchsorted(self.values, x, side="right") - 1
        return np.where(at < 0, 1.0, 1.0 - self.below[np.maximum(at, 0)])

    def limited_mean(self, x: float) -> float:
        below, mean, _ = self._up_to(x)
        return mean + _over(x, 1 - below)

    def limited_square(self, x: float) -> float:
        below, _, square = self._up_to(x)
        return square + (_over(x, 1 - below) * x if below < 1 else 0.0)

    def quantile(self, p: Floats) -> Floats:
        at = np.searchsorted(self.below, p, side="left")
        return self.values[np.minimum(at, len(self.values) - 1)]

    def _up_to(self, x: float) -> tuple[float, float, float]:
        at = int(np.searchsorted(self.values, x, side="right")) - 1
        if at < 0:
            return 0.0, 0.0, 0.0
        return float(self.below[at]), float(self.means[at]), float(self.squares[at])


def table(corners: Sequence[tuple[float, float]], is_log: bool = True) -> Table:
    """Makes the law of a table of quantiles.

    Args:
        corners: Pairs of p, rising from 0 to 1, and value, not falling and ≥ 0.
        is_log: Even in the logarithm between values that are both > 0; else even in the value.
    """
    p, values = np.array(corners, dtype=np.float64).T.copy()
    positive = values > 0
    # Values do not fall, so those that have no logarithm come first.
    first = int(np.argmax(positive)) if positive.any() else len(p) - 1
    split = float(p[first]) if is_log else 1.0
    logs = np.log(values, out=np.zeros_like(values), where=positive)
    mass = np.diff(p)
    means, squares = np.zeros_like(p), np.zeros_like(p)
    for i, (share, a, b) in enumerate(zip(mass, values[:-1], values[1:], strict=True)):
        even_log = bool(p[i] >= split)
        means[i + 1] = means[i] + share * _mean_between(float(a), float(b), even_log)
        squares[i + 1] = squares[i] + share * _square_between(float(a), float(b), even_log)
    return Table(p, values, logs, split, means, squares)


def histogram(edges: Sequence[float], weights: Sequence[float]) -> Table:
    """Makes the law of a histogram: even within each bin.

    Args:
        edges: Rising, ≥ 0, shape (bins + 1,).
        weights: ≥ 0, not all 0, shape (bins,).
    """
    total = np.cumsum(weights)
    p = [0.0, *(total / total[-1]).tolist()]
    return table(list(zip(p, edges, strict=True)), is_log=False)


def discrete(values: Floats, weights: Floats | None = None) -> Discrete:
    """Makes the law of values that occur.

    Args:
        values: In any order, shape (n,), n ≥ 1.
        weights: ≥ 0, not all 0; each value as likely as any other by default.
    """
    every = np.ones(len(values)) if weights is None else weights
    unique, where = np.unique(values[every > 0], return_inverse=True)
    mass = np.bincount(where, every[every > 0])
    total = np.cumsum(mass)
    share = mass / total[-1]
    return Discrete(
        unique,
        total / total[-1],
        np.cumsum(share * unique),
        np.cumsum(share * unique**2),
        np.sort(values) if weights is None else np.empty(0),
    )


def _mean_between(a: float, b: float, is_log: bool) -> float:
    """Mean of a value (or of one whose logarithm is) even in [a, b]."""
    if a == b or not is_log or b - a < 1e-9 * b:
        return (a + b) / 2
    return float((b - a) / np.log(b / a))


def _square_between(a: float, b: float, is_log: bool) -> float:
    """Mean square of a value (or of one whose logarithm is) even in [a, b]."""
    if a == b or not is_log or b - a < 1e-9 * b:
        return (a * a + a * b + b * b) / 3
    return float((b * b - a * a) / (2 * np.log(b / a)))


def _over(x: float, survival: float) -> float:
    """The product x · P(X > x), 0 where nothing is above x."""
    return x * survival if survival > 0 else 0.0
