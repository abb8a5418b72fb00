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

    def limited_square(self, x: float) -> float:
        """E[min(X, x)²] for x ≥ 0; the second moment for x = inf."""
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

    def limited_square(self, x: float) -> float:
        return min(self.value, x) ** 2

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

    def limited_square(self, x: float) -> float:
        if x <= self.low:
            return x * x
        top = min(x, self.high)
        # The mean square up to `top`, which has the share of the width below it.
        below = (top**2 + top * self.low + self.low**2) / 3
        if top == self.high:
            return below
        share = (top - self.low) / (self.high - self.low)
        return share * below + (1 - share) * x * x

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
        return normal_cdf((self.mean - x) / self.stddev)

    def limited_mean(self, x: float) -> float:
        if math.isinf(x):
            return self.mean
        z = (x - self.mean) / self.stddev
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return x - self.stddev * (z * _phi(z) + density)

    def limited_square(self, x: float) -> float:
        square = self.mean**2 + self.stddev**2
        if math.isinf(x):
            return square
        z = (x - self.mean) / self.stddev
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return square * _phi(z) - self.stddev * (self.mean + x) * density + x * x * _phi(-z)

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
            return normal_cdf((self.mu - np.log(np.maximum(x, 0.0))) / self.sigma)

    def limited_mean(self, x: float) -> float:
        return self._limited(1, x) if x > 0 else x

    def limited_square(self, x: float) -> float:
        return self._limited(2, x) if x > 0 else x * x

    def _limited(self, power: int, x: float) -> float:
        """E[min(X, x)^power], x > 0."""
        log_moment = power * self.mu + (power * self.sigma) ** 2 / 2
        if math.isinf(x):
            return _exp(log_moment)
        z = (math.log(x) - self.mu) / self.sigma
        return _exp(log_moment + _log_phi(z - power * self.sigma)) + x**power * _phi(-z)

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

    def limited_square(self, x: float) -> float:
        if math.isinf(x):
            return 2 * self.mean**2
        u = max(x, 0.0) / self.mean
        return 2 * self.mean**2 * (-math.expm1(-u) - u * math.exp(-u))

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

    def limited_square(self, x: float) -> float:
        stay = 1 - 1 / self.mean
        if math.isinf(x):
            return self.mean**2 * (1 + stay)
        # Σ (2j + 1) stay^j for whole j below x, and the rest of the step that x stands on.
        whole = math.floor(max(x, 0.0))
        left = stay**whole
        ramp = self.mean**2 * stay * (1 - left) - self.mean * whole * left
        return 2 * ramp + self.mean * (1 - left) + (x * x - whole * whole) * left

    def quantile(self, p: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            x = np.log1p(-p) / math.log1p(-1 / self.mean)
        return np.maximum(np.ceil(x * (1 - 1e-12)), 1.0)


@dataclass(frozen=True, slots=True)
class Weibull:
    """P(X > x) = exp(-(x / scale)^shape)."""

    shape: float
    scale: float

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        values = rng.weibull(self.shape, n)
        values *= self.scale
        return values

    def survival(self, x: Floats) -> Floats:
        with np.errstate(over="ignore"):
            return np.exp(-np.power(np.maximum(x, 0.0) / self.scale, self.shape))

    def limited_mean(self, x: float) -> float:
        return self._limited(1, x) if x > 0 else x

    def limited_square(self, x: float) -> float:
        return self._limited(2, x) if x > 0 else x * x

    def _limited(self, power: int, x: float) -> float:
        """E[min(X, x)^power] = s^power Γ(1 + power/shape) P(1 + power/shape, u) + x^power e^-u.

        s is the scale, u = (x / s)^shape; P is the regularized lower incomplete gamma function.
        """
        from scipy.special import gammainc

        order = power / self.shape
        whole = _exp(math.lgamma(1 + order) + power * math.log(self.scale))
        if math.isinf(x):
            return whole
        end = _exp(self.shape * math.log(x / self.scale))
        at_x = x**power * math.exp(-end)
        return whole * float(gammainc(1 + order, end)) + at_x

    def quantile(self, p: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            return self.scale * np.power(-np.log1p(-p), 1 / self.shape)


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
        return self._limited(1, x) if x > self.scale else x

    def limited_square(self, x: float) -> float:
        return self._limited(2, x) if x > self.scale else x * x

    def _limited(self, power: int, x: float) -> float:
        """E[min(X, x)^power] = scale^power (1 + power ∫ t^(power - 1 - alpha) dt), x > scale."""
        rise = power - self.alpha
        if math.isinf(x):
            area = math.inf if rise >= 0 else -1 / rise
        else:
            log_ratio = math.log(x / self.scale)
            area = math.expm1(rise * log_ratio) / rise if rise else log_ratio
        return float(self.scale**power * (1 + power * area))

    def quantile(self, p: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            return self.scale * np.power(1 - p, -1 / self.alpha)


def _exp(x: float) -> float:
    """exp(x); infinite where the result is beyond what a number holds."""
    return math.exp(x) if x < 709.0 else math.inf


def _log_phi(z: float) -> float:
    from scipy.special import log_ndtr

    return float(log_ndtr(z))


def _phi(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def normal_cdf(z: Floats) -> Floats:
    """P(Z ≤ z) of a standard normal."""
    from scipy.special import ndtr

    result: Floats = ndtr(z)
    return result


def _normal_quantile(p: Floats) -> Floats:
    from scipy.special import ndtri

    result: Floats = ndtri(p)
    return result
