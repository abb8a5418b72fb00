"""Laws made of laws: moved into bounds, and mixed."""
# ruff: noqa: D102 (the methods of every law are those of the `Law` protocol, documented there)

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.workload.lengths.laws import Floats, Law

# Halvings after which two numbers that hold a quantile between them are neighbours.
_HALVINGS = 120


@dataclass(frozen=True, slots=True)
class Bounded:
    """A law whose values outside 0 ≤ `low` ≤ `high` become the bound."""

    law: Law
    low: float
    high: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        values = self.law.draw(rng, n)
        return np.clip(values, self.low, self.high, out=values)

    def survival(self, x: Floats) -> Floats:
        inside = np.where(x < self.low, 1.0, self.law.survival(x))
        return np.where(x >= self.high, 0.0, inside)

    def limited_mean(self, x: float) -> float:
        if x <= self.low:
            return x
        top = min(x, self.high)
        return self.low + self.law.limited_mean(top) - self.law.limited_mean(self.low)

    def limited_square(self, x: float) -> float:
        if x <= self.low:
            return x * x
        top = min(x, self.high)
        return self.low**2 + self.law.limited_square(top) - self.law.limited_square(self.low)

    def quantile(self, p: Floats) -> Floats:
        return np.clip(self.law.quantile(p), self.low, self.high)


@dataclass(frozen=True, slots=True)
class Mixture:
    """One of several laws, each with a probability.

    Attributes:
        laws: The components, each ≥ 0.
        shares: Their probabilities, which add up to 1, all > 0.
    """

    laws: tuple[Law, ...]
    shares: tuple[float, ...]

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        values = np.empty(n)
        for law, rows in zip(self.laws, picks(self.shares, rng, n), strict=True):
            values[rows] = law.draw(rng, len(rows))
        return values

    def survival(self, x: Floats) -> Floats:
        total = np.zeros(x.shape)
        for law, share in self._parts():
            total += share * law.survival(x)
        return total

    def limited_mean(self, x: float) -> float:
        return sum(share * law.limited_mean(x) for law, share in self._parts())

    def limited_square(self, x: float) -> float:
        return sum(share * law.limited_square(x) for law, share in self._parts())

    def quantile(self, p: Floats) -> Floats:
        """Smallest x with P(X ≤ x) ≥ p, by halving between the quantiles of the components."""
        each = np.array([law.quantile(p) for law in self.laws])
        low, high = each.min(axis=0), each.max(axis=0)
        # Shares that add up to p may fall short of it by a rounding.
        missed = (1.0 - p) * (1 + 4e-16)
        for _ in range(_HALVINGS):
            middle = low / 2 + high / 2
            enough = self.survival(middle) <= missed
            high = np.where(enough, middle, high)
            low = np.where(enough, low, middle)
        quantile: Floats = np.where(self.survival(low) <= missed, low, high)
        return quantile

    def _parts(self) -> zip[tuple[Law, float]]:
        return zip(self.laws, self.shares, strict=True)


def picks(shares: tuple[float, ...], rng: np.random.Generator, n: int) -> list[NDArray[np.intp]]:
    """Draws which of n rows belong to which component.

    Args:
        shares: Probabilities of the components, which add up to 1.
        rng: The stream; n numbers are drawn from it.
        n: How many rows.

    Returns:
        The rows of each component, rising.
    """
    chance = rng.random(n)
    edges = np.cumsum(shares)[:-1]
    which = np.zeros(n, dtype=np.int16)
    for edge in edges:
        np.add(which, chance >= edge, out=which)
    return [np.flatnonzero(which == i) for i in range(len(shares))]


def shares_of(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Weights divided by their sum."""
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)
