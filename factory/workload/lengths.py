"""Distributions of lengths and times, with their moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from factory.workload.laws import (
    Constant,
    Exponential,
    Floats,
    Geometric,
    Law,
    Lognormal,
    Normal,
    Pareto,
    Uniform,
)

if TYPE_CHECKING:
    from factory.scenario import Length

# Rounded values are summed one by one up to here; beyond, the integral is as good.
_SUMMED = 4096
_LARGEST = 1 << 22


@dataclass(frozen=True, slots=True)
class Distribution:
    """A law, moved into bounds, and rounded to whole numbers for tokens and turns.

    Attributes:
        law: The distribution before bounds.
        low: Smaller values become this; ≥ 0, and whole where values are.
        high: Larger values become this; may be infinite.
        whole: Values are rounded to the nearest whole number.
    """

    law: Law
    low: float = 0.0
    high: float = math.inf
    whole: bool = False

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Draws n values (float64, whole numbers where `whole`)."""
        values = self.law.draw(rng, n)
        if self.whole:
            np.rint(values, out=values)
        if self.low > -math.inf or self.high < math.inf:
            np.clip(values, self.low, self.high, out=values)
        return values

    def is_constant(self) -> bool:
        """Whether every value is the same."""
        return isinstance(self.law, Constant) or self.low == self.high

    def mean(self) -> float:
        """Returns the exact mean, bounds and rounding included; may be infinite.

        E[X] = low + ∫ P(X > x) dx over [low, high] (a sum for whole numbers).
        """
        if not self.whole:
            return self.low + self.law.limited_mean(self.high) - self.law.limited_mean(self.low)
        last = min(self.high, self.low + _SUMMED)
        steps = np.arange(self.low + 1, last + 1) - 0.5
        mean = self.low + float(self.law.survival(steps).sum())
        if last < self.high:
            mean += self.law.limited_mean(self.high) - self.law.limited_mean(last)
        return mean

    def variance(self) -> float:
        """Returns the exact variance of a whole-number distribution, summed term by term.

        Raises:
            ValueError: The values are not whole, or the tail is too heavy to sum.
        """
        if not self.whole:
            raise ValueError("variance: known for whole numbers only")
        second = self.low**2
        start = self.low + 1
        while start <= self.high:
            k = np.arange(start, min(self.high, start + 65_535) + 1)
            terms = (2 * k - 1) * self.law.survival(k - 0.5)
            second += float(terms.sum())
            start = float(k[-1]) + 1
            if float(terms[-1]) * start <= 1e-12 * second:
                break
            if start > _LARGEST:
                raise ValueError("variance: the tail is too heavy to sum; set a max")
        return second - self.mean() ** 2

    def quantile(self, p: float) -> float:
        """Returns the p-quantile, p in [0, 1]."""
        x = float(self.law.quantile(np.array([p]))[0])
        if self.whole and math.isfinite(x):
            x = float(np.rint(x))
        return min(max(x, self.low), self.high)


def tokens(length: Length) -> Distribution:
    """Returns a length in tokens (or turns): whole numbers of at least 1."""
    return _bounded(length, smallest=1.0, whole=True)


def seconds(length: Length) -> Distribution:
    """Returns a time in seconds: any number of at least 0."""
    return _bounded(length, smallest=0.0, whole=False)


def _bounded(length: Length, smallest: float, whole: bool) -> Distribution:
    low = max(smallest, length.min or 0.0)
    high = math.inf if length.max is None else length.max
    if whole:
        low, high = math.ceil(low), high if math.isinf(high) else math.floor(high)
    law = _law(length, low, high, whole)
    return Distribution(law, low, max(low, high), whole)


def _law(length: Length, low: float, high: float, whole: bool) -> Law:
    kind = length.distribution
    if kind == "uniform":
        # Half a step of margin makes every whole number between the bounds equally likely.
        margin = 0.5 if whole else 0.0
        return Uniform(low - margin, max(low, high) + margin)
    if kind == "constant":
        value = _given(length.value)
        return Constant(float(np.rint(value)) if whole else value)
    if kind == "pareto":
        return Pareto(_given(length.min), _given(length.alpha))
    if kind == "lognormal":
        return _lognormal(length)
    mean = _given(length.mean)
    if kind == "normal":
        stddev = _given(length.stddev)
        return Normal(mean, stddev) if stddev > 0 else Constant(mean)
    if kind == "exponential":
        return Exponential(mean) if mean > 0 else Constant(0.0)
    return Geometric(mean) if mean > 1 else Constant(1.0)


def _lognormal(length: Length) -> Law:
    if length.mu is not None:
        mu, sigma = length.mu, _given(length.sigma)
    else:
        mean = _given(length.mean)
        if mean <= 0:
            return Constant(0.0)
        variance = math.log1p((_given(length.stddev) / mean) ** 2)
        mu, sigma = math.log(mean) - variance / 2, math.sqrt(variance)
    return Lognormal(mu, sigma) if sigma > 0 else Constant(math.exp(mu))


def _given(value: float | None) -> float:
    assert value is not None, "the scenario's own checks require this parameter"
    return value
