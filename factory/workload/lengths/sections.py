"""Distributions of lengths and times, as a scenario states them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from factory.workload.lengths.columns import read_columns
from factory.workload.lengths.distributions import Distribution
from factory.workload.lengths.empirical_laws import discrete, histogram, table
from factory.workload.lengths.joints import Classes, Joint, copula, pairs
from factory.workload.lengths.laws import (
    Constant,
    Exponential,
    Floats,
    Geometric,
    Law,
    Lognormal,
    Normal,
    Pareto,
    Uniform,
    Weibull,
)
from factory.workload.lengths.mixtures import Bounded, Mixture, shares_of

if TYPE_CHECKING:
    from factory.scenario.lengths import Component, JointLengths, Length

T = TypeVar("T")

# The standard normal's 99th percentile.
_Z99 = 2.3263478740408408


def tokens(length: Length) -> Distribution:
    """Returns a length in tokens (or turns): whole numbers of at least 1.

    Raises:
        InputError: Its values come from a file that cannot be used.
    """
    return _bounded(length, smallest=1.0, whole=True)


def counts(length: Length) -> Distribution:
    """Returns how many there are of something: whole numbers of at least 0.

    Raises:
        InputError: Its values come from a file that cannot be used.
    """
    return _bounded(length, smallest=0.0, whole=True)


def seconds(length: Length) -> Distribution:
    """Returns a time in seconds: any number of at least 0.

    Raises:
        InputError: Its values come from a file that cannot be used.
    """
    return _bounded(length, smallest=0.0, whole=False)


def joint(section: JointLengths) -> Joint:
    """Returns input and output tokens that are drawn together.

    Raises:
        InputError: The pairs come from a file that cannot be used.
    """
    if section.samples is not None:
        inputs, outputs = np.array(section.samples, dtype=np.float64).T
        return pairs(inputs, outputs, _array(section.weights))
    if section.path is not None:
        inputs, outputs = read_columns(
            section.path, [_given(section.input), _given(section.output)]
        )
        return pairs(inputs, outputs)
    if section.components is not None:
        classes = [item for item in section.components if item.weight > 0]
        return Classes(
            tuple(tokens(item.input_tokens) for item in classes),
            tuple(tokens(item.output_tokens) for item in classes),
            shares_of(tuple(item.weight for item in classes)),
        )
    first, second = tokens(_given(section.input_tokens)), tokens(_given(section.output_tokens))
    return copula(first, second, _given(section.correlation))


def _bounded(length: Length, smallest: float, whole: bool) -> Distribution:
    low = max(smallest, length.min or 0.0)
    high = math.inf if length.max is None else length.max
    if whole:
        low, high = math.ceil(low), high if math.isinf(high) else math.floor(high)
    if length.components is not None:
        law = _mixture(length.components, smallest, whole)
    else:
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
    if kind == "empirical":
        return _empirical(length, whole)
    return _parametric(length)


def _parametric(length: Length) -> Law:
    kind = length.distribution
    if kind == "lognormal":
        return _lognormal(length)
    if kind == "weibull":
        return _weibull(length)
    mean = _given(length.mean)
    if kind == "normal":
        stddev = _given(length.stddev)
        return Normal(mean, stddev) if stddev > 0 else Constant(mean)
    if kind == "exponential":
        return Exponential(mean) if mean > 0 else Constant(0.0)
    return Geometric(mean) if mean > 1 else Constant(1.0)


def _lognormal(length: Length) -> Law:
    mu, sigma = length.mu, length.sigma
    if length.median is not None:
        mu = math.log(length.median)
        if length.p99 is not None:
            sigma = (math.log(length.p99) - mu) / _Z99
        elif length.mean is not None:
            sigma = math.sqrt(2 * max(math.log(length.mean) - mu, 0.0))
    elif mu is None:
        mean = _given(length.mean)
        if mean <= 0:
            return Constant(0.0)
        variance = math.log1p((_given(length.stddev) / mean) ** 2)
        mu, sigma = math.log(mean) - variance / 2, math.sqrt(variance)
    return Lognormal(mu, sigma) if sigma else Constant(math.exp(mu))


def _weibull(length: Length) -> Law:
    shape, scale = _given(length.shape), length.scale
    if scale is None:
        mean = _given(length.mean)
        if mean <= 0:
            return Constant(0.0)
        scale = math.exp(math.log(mean) - math.lgamma(1 + 1 / shape))
    return Weibull(shape, scale)


def _mixture(components: Sequence[Component], smallest: float, whole: bool) -> Law:
    parts: list[Law] = []
    weights: list[float] = []
    for component in components:
        if component.weight > 0:
            part = _bounded(component, smallest, whole)
            parts.append(Bounded(part.law, part.low, part.high))
            weights.append(component.weight)
    return parts[0] if len(parts) == 1 else Mixture(tuple(parts), shares_of(tuple(weights)))


def _empirical(length: Length, whole: bool) -> Law:
    if length.quantiles is not None:
        corners = _settled(length.quantiles) if whole else length.quantiles
        law: Law = table(corners, is_log=length.interpolate != "linear")
        first, last = corners[0][1], corners[-1][1]
        return law if first < last else Constant(first)
    if length.edges is not None:
        return histogram(length.edges, _given(length.weights))
    if length.values is not None:
        values, weights = np.array(length.values, dtype=np.float64), _array(length.weights)
    else:
        (values,), weights = read_columns(_given(length.path), [_given(length.column)]), None
    if whole:
        np.rint(values, out=values)
    law = discrete(values, weights)
    return law if len(law.values) > 1 else Constant(float(law.values[0]))


def _settled(quantiles: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A table of quantiles whose atoms are whole numbers, so that rounding keeps them."""
    p, values = np.array(quantiles).T
    same = np.diff(values) == 0
    is_atom = np.append(same, False) | np.append(False, same)
    values = np.where(is_atom, np.rint(values), values)
    least = np.maximum.accumulate(np.where(is_atom, values, -np.inf))
    most = np.minimum.accumulate(np.where(is_atom, values, np.inf)[::-1])[::-1]
    return list(zip(p.tolist(), np.clip(values, least, most).tolist(), strict=True))


def _array(values: Sequence[float] | None) -> Floats | None:
    return None if values is None else np.array(values, dtype=np.float64)


def _given(value: T | None) -> T:
    assert value is not None, "the scenario's own checks require this parameter"
    return value
