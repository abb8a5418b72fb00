"""A law within bounds, rounded where values are counted, with its exact moments."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from factory.workload.lengths.laws import Constant, Floats, Law

# Rounded values are summed one by one up to so many above the lowest; beyond, the integral is as
# good (its error is below 1/12 square token in the variance, and far less in the mean).
_SUMMED = 1 << 15


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
        return self._settled(self.law.draw(rng, n))

    def is_constant(self) -> bool:
        """Whether every value is the same."""
        return isinstance(self.law, Constant) or self.low == self.high

    def mean(self) -> float:
        """Returns the exact mean, bounds and rounding included; may be infinite.

        E[X] = low + ∫ P(X > x) dx over [low, high] (a sum for whole numbers).
        """
        mean, last = self.low, self.low
        if self.whole:
            last = min(self.high, self.low + _SUMMED)
            mean += float(self.law.survival(self._steps(last) - 0.5).sum())
        if last < self.high:
            mean += self.law.limited_mean(self.high) - self.law.limited_mean(last)
        return mean

    def variance(self) -> float:
        """Returns the exact variance, bounds and rounding included; may be infinite.

        E[X²] = low² + ∫ 2x P(X > x) dx over [low, high] (a sum for whole numbers).
        """
        if self.is_constant():
            return 0.0
        square, last = self.low**2, self.low
        if self.whole:
            last = min(self.high, self.low + _SUMMED)
            k = self._steps(last)
            square += float(((2 * k - 1) * self.law.survival(k - 0.5)).sum())
        if last < self.high:
            square += self.law.limited_square(self.high) - self.law.limited_square(last)
        return math.inf if math.isinf(square) else max(square - self.mean() ** 2, 0.0)

    def survival(self, x: float) -> float:
        """P(X > x), bounds and rounding included."""
        if x < self.low:
            return 1.0
        if x >= self.high:
            return 0.0
        edge = math.floor(x) + 0.5 if self.whole else x
        return float(self.law.survival(np.array([edge]))[0])

    def quantile(self, p: float) -> float:
        """Returns the p-quantile, p in [0, 1]."""
        return float(self.quantiles(np.array([p]))[0])

    def quantiles(self, p: Floats) -> Floats:
        """Returns the quantiles of many p in [0, 1]."""
        return self._settled(self.law.quantile(p))

    def _settled(self, values: Floats) -> Floats:
        """Values of the law, which change, as values of the distribution."""
        if self.whole:
            np.rint(values, out=values)
        if self.low > -math.inf or self.high < math.inf:
            np.clip(values, self.low, self.high, out=values)
        return values

    def _steps(self, last: float) -> Floats:
        """The whole numbers above the lowest, up to `last`."""
        return np.arange(self.low + 1, last + 1)


def clipped(distribution: Distribution, high: float) -> Distribution:
    """The distribution with values above `high` moved to it.

    Args:
        distribution: Any.
        high: E.g. the longest prompt that a model takes, tokens; values stay at least 1 token.
    """
    if distribution.whole:
        high = max(math.floor(high), 1.0) if math.isfinite(high) else high
    return replace(distribution, low=min(distribution.low, high), high=min(distribution.high, high))
