"""Probability laws of lengths and times, before bounds and rounding."""
# ruff: noqa: D102 (the methods of every law are those of the `Law` protocol, documented there)

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Law(Protocol):
    """A distribution before bounds and rounding."""

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Draws n values."""
        ...

    def survival(self, x: Floats) -> Floats:
        """P(X > x)."""
        ...

    def limited_mean(self, x: float) -> float:
        """E[min(X, x)]; the mean for x = inf."""
        ...

    def quantile(self, p: Floats) -> Floats:
        """Smallest x with P(X ≤ x) ≥ p."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """Always `value`."""

    value: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:  # noqa: ARG002 (nothing to draw)
        return np.full(n, float(self.value))

    def survival(self, x: Floats) -> Floats:
        return (self.value > x).astype(np.float64)

    def limited_mean(self, x: float) -> float:
        return min(self.value, x)

    def quantile(self, p: Floats) -> Floats:
        return np.full(p.shape, float(self.value))


@dataclass(frozen=True, slots=True)
class Uniform:
    """Even between `low` and `high`."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.uniform(self.low, self.high, n)

    def survival(self, x: Floats) -> Floats:
        if self.high == self.low:
            return (self.low > x).astype(np.float64)
        return np.clip((self.high - x) / (self.high - self.low), 0.0, 1.0)

    def limited_mean(self, x: float) -> float:
        if x >= self.high:
            return (self.low + self.high) / 2
        if x <= self.low:
            return x
        return x - (x - self.low) ** 2 / (2 * (self.high - self.low))

    def quantile(self, p: Floats) -> Floats:
        return self.low + p * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Normal:
    """Gaussian; `stddev` > 0."""

    mean: float
    stddev: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.normal(self.mean, self.stddev, n)

    def survival(self, x: Floats) -> Floats:
        return _normal_cdf((self.mean - x) / self.stddev)

    def limited_mean(self, x: float) -> float:
        if math.isinf(x):
            return self.mean
        z = (x - self.mean) / self.stddev
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return x - self.stddev * (z * _phi(z) + density)

    def quantile(self, p: Floats) -> Floats:
        return self.mean + self.stddev * _normal_quantile(p)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """exp of a Gaussian with mean `mu` and standard deviation `sigma` > 0."""

    mu: float
    sigma: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.lognormal(self.mu, self.sigma, n)

    def survival(self, x: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            return _normal_cdf((self.mu - np.log(np.maximum(x, 0.0))) / self.sigma)

    def limited_mean(self, x: float) -> float:
        mean = math.exp(self.mu + self.sigma**2 / 2)
        if math.isinf(x):
            return mean
        if x <= 0:
            return x
        z = (math.log(x) - self.mu) / self.sigma
        return mean * _phi(z - self.sigma) + x * _phi(-z)

    def quantile(self, p: Floats) -> Floats:
        return np.exp(self.mu + self.sigma * _normal_quantile(p))


@dataclass(frozen=True, slots=True)
class Exponential:
    """Memoryless, with `mean` > 0."""

    mean: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.exponential(self.mean, n)

    def survival(self, x: Floats) -> Floats:
        return np.exp(-np.maximum(x, 0.0) / self.mean)

    def limited_mean(self, x: float) -> float:
        return x if x <= 0 else -self.mean * math.expm1(-x / self.mean)

    def quantile(self, p: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            return -self.mean * np.log1p(-p)


@dataclass(frozen=True, slots=True)
class Geometric:
    """Trials up to the first success: 1, 2, …, with `mean` > 1."""

    mean: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        return rng.geometric(1 / self.mean, n).astype(np.float64)

    def survival(self, x: Floats) -> Floats:
        return np.power(1 - 1 / self.mean, np.maximum(np.floor(x), 0.0))

    def limited_mean(self, x: float) -> float:
        if math.isinf(x):
            return self.mean
        if x <= 0:
            return x
        # ∫ of the survival function, which is flat between whole numbers.
        whole = math.floor(x)
        stay = 1 - 1 / self.mean
        return float(self.mean * (1 - stay**whole) + (x - whole) * stay**whole)

    def quantile(self, p: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            x = np.log1p(-p) / math.log1p(-1 / self.mean)
        return np.maximum(np.ceil(x * (1 - 1e-12)), 1.0)


@dataclass(frozen=True, slots=True)
class Pareto:
    """P(X > x) = (scale / x)^alpha from `scale` on (type I)."""

    scale: float
    alpha: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        return self.scale * (1.0 + rng.pareto(self.alpha, n))

    def survival(self, x: Floats) -> Floats:
        return np.power(self.scale / np.maximum(x, self.scale), self.alpha)

    def limited_mean(self, x: float) -> float:
        if x <= self.scale:
            return x
        if self.alpha == 1:
            return self.scale * (1 + math.log(x / self.scale))
        tail = self.scale * math.pow(x / self.scale, 1 - self.alpha) / (self.alpha - 1)
        return self.scale * self.alpha / (self.alpha - 1) - tail

    def quantile(self, p: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            return self.scale * np.power(1 - p, -1 / self.alpha)


def _phi(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def _normal_cdf(z: Floats) -> Floats:
    from scipy.special import ndtr

    result: Floats = ndtr(z)
    return result


def _normal_quantile(p: Floats) -> Floats:
    from scipy.special import ndtri

    result: Floats = ndtri(p)
    return result
