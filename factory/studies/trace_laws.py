"""Laws fitted to counted values, as a scenario states them, and how near they come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from factory.scenario.lengths import Length
from factory.studies.trace_stats import Floats, Ints
from factory.workload import lengths
from factory.workload.lengths.distributions import Distribution

#: A law is taken if no share is further off than this (Kolmogorov–Smirnov distance) …
MOST_KS = 0.03
#: … and neither the median nor the 90th or 99th percentile by more than this share of it. Few
#: values may be as far off as chance alone puts them, and show no tail.
MOST_ERROR = 0.1

_TOLD = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_CORNERS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
_MOST_CORNERS = 30
_MOST_FOR_MEAN = 8
_GOOD_KS = 0.02
_GOOD_MEAN = 0.01
_RISE = 1e-5
#: Half of the samples of n values of a law are off from it by this over √n (Kolmogorov 1933).
_MEDIAN_KS = 0.83
#: A quantile is compared if so many values lie beyond it.
_FEWEST_BEYOND = 10
_MOST_CELLS = 4000


@dataclass(frozen=True, slots=True)
class Sample:
    """Counted values.

    Attributes:
        values: Distinct values, ascending, ≥ 0; where times are counted in cells, their middles.
        counts: How often each was seen.
        whole: Whether values are whole numbers (tokens, requests), else seconds.
        least: Smallest value that the law may give; whole numbers start at 1 or at 0.
    """

    values: Floats
    counts: Ints
    whole: bool
    least: float = 1.0

    @property
    def n(self) -> int:
        """Values in all."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean."""
        return float(self.values @ self.counts) / self.n

    def shares(self) -> Floats:
        """Share of the values that each distinct value does not fall short of: F(value)."""
        found: Floats = np.cumsum(self.counts) / self.n
        return found

    def quantile(self, p: float) -> float:
        """The smallest value that a share p does not exceed."""
        at = int(np.searchsorted(self.shares(), p * (1 - 1e-12)))
        return float(self.values[min(at, len(self.values) - 1)])


@dataclass(frozen=True, slots=True)
class Fit:
    """A distribution fitted to a sample.

    Attributes:
        law: lognormal, weibull, exponential, mixture, quantiles or constant.
        section: As a scenario states it.
        n: Values that it was fitted to.
        ks: Largest difference of the two distribution functions.
        mean_error: Mean over that of the sample, less 1.
        errors: p50, p90, p99 over those of the sample, less 1; NaN where that is 0.
        told: Of each law that was tried its distance.
    """

    law: str
    section: Mapping[str, Any]
    n: int
    ks: float
    mean_error: float
    errors: Mapping[str, float]
    told: Mapping[str, float]


def fit_law(sample: Sample, *, mixes: bool = True) -> Fit:
    """Returns the law that describes a sample best.

    Of lognormal, Weibull, exponential and a mixture of two lognormals (maximum likelihood) the one
    with the least AIC (Akaike 1974), if it comes near enough (`MOST_KS`, `MOST_ERROR`); otherwise a
    table of quantiles.

    Args:
        sample: At least one value; values below 1 (whole) or 0 are not there.
        mixes: Whether a mixture will do; its quantiles have no closed form, which a correlation
            needs.
    """
    if len(sample.values) == 1:
        value = float(sample.values[0])
        section: dict[str, Any] = {"distribution": "constant", "value": _rounded(value)}
        return _fit("constant", section, sample, {"constant": 0.0})
    found = []
    for law, section, parameters in _candidates(sample):
        if law == "mixture" and not mixes:
            continue
        fitted = _fit(law, section, sample, {})
        found.append((2 * parameters - 2 * _likelihood(section, sample), law, fitted))
    told = {law: fitted.ks for _, law, fitted in found}
    near = [
        (aic, law, fitted)
        for aic, law, fitted in found
        if fitted.ks <= _by_chance(MOST_KS, _MEDIAN_KS, sample.n)
        and all(
            not abs(fitted.errors[name]) > MOST_ERROR
            for name, p in _TOLD.items()
            if sample.n * (1 - p) >= _FEWEST_BEYOND
        )
    ]
    if near:
        _, law, fitted = min(near, key=lambda entry: (entry[0], entry[1]))
        return _fit(law, fitted.section, sample, told)
    table = _table(sample)
    fitted = _fit("quantiles", table, sample, {})
    return _fit("quantiles", table, sample, {**told, "quantiles": fitted.ks})


def _by_chance(limit: float, factor: float, n: int) -> float:
    """A limit of the distance, or what n values are off by chance if that is more."""
    return max(limit, factor / math.sqrt(n))


def distribution(section: Mapping[str, Any], sample: Sample) -> Distribution:
    """The distribution that a scenario's section stands for, of the kind of a sample."""
    length = Length.model_validate(section)
    if not sample.whole:
        return lengths.seconds(length)
    return lengths.tokens(length) if sample.least else lengths.counts(length)


def ks_distance(sample: Sample, found: Distribution) -> float:
    """Largest difference between a distribution function and that of a sample."""
    return float(_distances(sample, found).max())


def _distances(sample: Sample, found: Distribution) -> Floats:
    at, before = _function(sample, found)
    shares = sample.shares()
    below = np.concatenate((np.zeros(1), shares[:-1]))
    return np.maximum(np.abs(at - shares), np.abs(before - below))


def _function(sample: Sample, found: Distribution) -> tuple[Floats, Floats]:
    """F at each value and just below it; for times at the edges of the cells they stand for."""
    if sample.whole:
        return _below(found, sample.values + 0.5), _below(found, sample.values - 0.5)
    # Cells reach half a percent above and below the middle.
    return _below(found, sample.values * 1.005), _below(found, sample.values / 1.005)


def _below(found: Distribution, x: Floats) -> Floats:
    """P(value ≤ x) of the law within its bounds, before rounding."""
    shares = 1.0 - found.law.survival(x)
    margin = 0.5 if found.whole else 0.0
    shares = np.where(x < found.low - margin, 0.0, shares)
    result: Floats = np.where(x >= found.high - margin, 1.0, shares)
    return result


def _fit(law: str, section: Mapping[str, Any], sample: Sample, told: Mapping[str, float]) -> Fit:
    found = distribution(section, sample)
    errors = {}
    for name, p in _TOLD.items():
        true = sample.quantile(p)
        errors[name] = found.quantile(p) / true - 1 if true else math.nan
    mean = sample.mean
    off = found.mean() / mean - 1 if mean else math.nan
    return Fit(law, section, sample.n, ks_distance(sample, found), off, errors, told)


def _likelihood(section: Mapping[str, Any], sample: Sample) -> float:
    """Logarithm of the probability of the counted values, each standing for its cell."""
    at, before = _function(sample, distribution(section, sample))
    return float(np.log(np.maximum(at - before, 1e-12)) @ sample.counts)


def _candidates(sample: Sample) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Laws by maximum likelihood: name, section and number of parameters."""
    floor = 1.0 if sample.whole else 1e-3
    values = np.maximum(sample.values, floor)
    weights = sample.counts / sample.n
    bounds = {"min": _rounded(sample.values[0]), "max": _rounded(sample.values[-1])}
    logs = np.log(values)
    mu = float(weights @ logs)
    sigma = math.sqrt(float(weights @ (logs - mu) ** 2))
    mean = float(weights @ values)
    yield "exponential", {"distribution": "exponential", "mean": _rounded(mean), **bounds}, 1
    yield "lognormal", _lognormal(mu, sigma, bounds), 2
    shape, scale = _weibull(values, logs, weights)
    weibull = {"distribution": "weibull", "shape": _rounded(shape), "scale": _rounded(scale)}
    yield "weibull", {**weibull, **bounds}, 2
    if sample.n >= 50:
        yield "mixture", _mixture(logs, weights, bounds), 5


def _lognormal(mu: float, sigma: float, bounds: Mapping[str, float]) -> dict[str, Any]:
    parameters = {"mu": round(mu, 4), "sigma": round(sigma, 4)}
    return {"distribution": "lognormal", **parameters, **bounds}


def _weibull(values: Floats, logs: Floats, weights: Floats) -> tuple[float, float]:
    """Shape and scale by maximum likelihood; the shape's equation has one root (bisection)."""
    largest, mean_log = logs.max(), float(weights @ logs)

    def slope(shape: float) -> float:
        powers = weights * np.exp(shape * (logs - largest))
        return float(powers @ logs / powers.sum()) - 1 / shape - mean_log

    low, high = 0.05, 50.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    scale = float((weights * (values / values[-1]) ** low).sum()) ** (1 / low) * values[-1]
    return low, float(scale)


def _mixture(logs: Floats, weights: Floats, bounds: Mapping[str, float]) -> dict[str, Any]:
    """Two lognormals by expectation and maximisation, begun at the lower and the upper third."""
    if len(logs) > _MOST_CELLS:
        edges = np.linspace(logs[0], logs[-1], _MOST_CELLS)
        cell = np.searchsorted(edges, logs)
        total: Floats = np.bincount(cell, weights, _MOST_CELLS).astype(np.float64)
        sums: Floats = np.bincount(cell, weights * logs, _MOST_CELLS).astype(np.float64)
        logs, weights = sums[total > 0] / total[total > 0], total[total > 0]
    share = np.cumsum(weights)
    spread = max(math.sqrt(float(weights @ (logs - weights @ logs) ** 2)), 1e-3)
    mus = np.interp([0.2, 0.8], share, logs)
    sigmas, shares = np.full(2, spread / 2), np.full(2, 0.5)
    for _ in range(200):
        z = (logs[:, None] - mus) / sigmas
        density = shares / sigmas * np.exp(-z * z / 2) + 1e-300
        part = density / density.sum(axis=1, keepdims=True) * weights[:, None]
        old, shares = shares, part.sum(axis=0)
        mus = part.T @ logs / shares
        deviation = (part * (logs[:, None] - mus) ** 2).sum(axis=0) / shares
        sigmas = np.sqrt(np.maximum(deviation, 1e-4))
        if np.abs(shares - old).max() < 1e-5:
            break
    first = round(float(shares[0]), 4)
    parts = [
        {
            "weight": weight,
            "distribution": "lognormal",
            "mu": round(mu, 4),
            "sigma": round(sigma, 4),
        }
        for weight, mu, sigma in zip(
            (first, round(1 - first, 4)), mus.tolist(), sigmas.tolist(), strict=True
        )
    ]
    return {"distribution": "mixture", "components": parts, **bounds}


def _table(sample: Sample) -> dict[str, Any]:
    """A table of quantiles, with more corners where it is furthest from the sample.

    All corners lie on the sample's distribution function. Whole numbers are drawn by rounding, so
    the table gives n between n − ½ and n + ½.
    """
    steps = _Steps(sample)
    low = max(float(sample.values[0]) - steps.half, sample.least if sample.whole else 0.0)
    corners = {(0.0, low), (1.0, float(sample.values[-1]) + steps.half)}
    for p in _CORNERS:
        corners |= steps.ends(p, one=True)
    while len(corners) < _MOST_CORNERS:
        off = _distances(sample, distribution(_section(corners), sample))
        added = steps.ends(float(steps.upto[int(off.argmax())]))
        if off.max() <= _by_chance(_GOOD_KS, _MEDIAN_KS / 2, sample.n) or added <= corners:
            break
        corners |= added
    for _ in range(_MOST_FOR_MEAN):
        found = distribution(_section(corners), sample)
        added = steps.ends(steps.heaviest(sorted(corners)), one=True)
        if abs(found.mean() / sample.mean - 1) <= _GOOD_MEAN or added <= corners:
            break
        corners |= added
    return _section(corners)


class _Steps:
    """A sample's distribution function as steps."""

    def __init__(self, sample: Sample) -> None:
        self.half = 0.5 if sample.whole else 0.0
        self.upto = sample.shares()
        self._values = sample.values
        self._sums = np.concatenate((np.zeros(1), np.cumsum(sample.values * sample.counts)))
        self._n = sample.n

    def ends(self, p: float, *, one: bool = False) -> set[tuple[float, float]]:
        """Both ends of the step that a share p reaches, or the upper one only."""
        at = int(np.searchsorted(self.upto, p * (1 - 1e-12)))
        value = float(self._values[at])
        found = {(float(self.upto[at]), value + self.half)}
        if at and not one:
            found.add((float(self.upto[at - 1]), value - self.half))
        return {corner for corner in found if 0 < corner[0] < 1}

    def heaviest(self, corners: list[tuple[float, float]]) -> float:
        """The middle of the stretch between corners that falsifies the mean most, as a share."""
        worst, middle = -1.0, 0.5
        for (p, a), (q, b) in pairwise(corners):
            ends = np.searchsorted(self.upto, [p, q], side="right")
            true = float(self._sums[ends[1]] - self._sums[ends[0]]) / self._n
            told = (b - a) / math.log(b / a) if 0 < a < b else (a + b) / 2
            if abs(told * (q - p) - true) > worst and ends[1] - ends[0] > 1:
                worst, middle = abs(told * (q - p) - true), (p + q) / 2
        return middle


def _section(corners: Iterable[tuple[float, float]]) -> dict[str, Any]:
    """Corners as a table, whose p must rise: a jump in the values takes a hundred-thousandth."""
    pairs: list[list[float]] = []
    for p, value in sorted(corners):
        least = pairs[-1][0] + _RISE if pairs else 0.0
        pairs.append([round(max(p, least), 5), _rounded(value)])
    # What was pushed to the end or past it gives way to the last corner.
    pairs = [pair for pair in pairs[:-1] if pair[0] < 1] + [[1, pairs[-1][1]]]
    pairs[0][0] = 0
    return {"distribution": "empirical", "quantiles": pairs}


def _rounded(value: float) -> float | int:
    """A number with five significant digits, whole where it is."""
    if value == 0:
        return 0
    value = float(f"{float(value):.5g}") if abs(value) < 1e5 else float(round(value))
    return int(value) if value.is_integer() else value
