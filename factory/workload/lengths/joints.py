"""Prompt and answer lengths that are drawn together."""
# ruff: noqa: D102 (the methods of every joint are those of the `Joint` protocol, documented there)

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from factory.workload.lengths.distributions import Distribution, clipped
from factory.workload.lengths.empirical_laws import discrete
from factory.workload.lengths.laws import Floats, normal_cdf
from factory.workload.lengths.mixtures import Bounded, Mixture, picks

# The largest number below 1: a quantile of 1 is infinite.
_BELOW_ONE = 1 - 2.0**-53


class Joint(Protocol):
    """Inputs and outputs of requests, drawn together."""

    @property
    def input(self) -> Distribution:
        """Input tokens alone."""
        ...

    @property
    def output(self) -> Distribution:
        """Output tokens alone."""
        ...

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        """Draws n inputs and outputs, both float64 and whole, shape (n,)."""
        ...


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs that occurred, drawn with replacement.

    Attributes:
        input: Input tokens alone.
        output: Output tokens alone.
        inputs: Input of each pair, whole and ≥ 1, shape (pairs,).
        outputs: Output of each pair, whole and ≥ 1, shape (pairs,).
        below: P(a pair up to this one), ending in 1; empty where all pairs are alike.
    """

    input: Distribution
    output: Distribution
    inputs: Floats
    outputs: Floats
    below: Floats

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        rows: NDArray[np.intp]
        if len(self.below):
            rows = np.searchsorted(self.below, rng.random(n), side="right")
        else:
            rows = rng.integers(len(self.inputs), size=n)
        return self.inputs[rows], self.outputs[rows]


@dataclass(frozen=True, slots=True)
class Copula:
    """Two distributions joined by a Gaussian copula.

    Attributes:
        input: Input tokens alone.
        output: Output tokens alone.
        normal_correlation: Pearson's correlation of the normals behind them, in [-1, 1].
    """

    input: Distribution
    output: Distribution
    normal_correlation: float

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        r = self.normal_correlation
        first = rng.standard_normal(n)
        second = r * first + math.sqrt(1 - r * r) * rng.standard_normal(n)
        return self.input.quantiles(_share(first)), self.output.quantiles(_share(second))


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of requests, each with its own distributions, independent within a class.

    Attributes:
        inputs: Input tokens of each class.
        outputs: Output tokens of each class.
        shares: Probability of each class; they add up to 1.
    """

    inputs: tuple[Distribution, ...]
    outputs: tuple[Distribution, ...]
    shares: tuple[float, ...]

    @property
    def input(self) -> Distribution:
        return mixed(self.inputs, self.shares)

    @property
    def output(self) -> Distribution:
        return mixed(self.outputs, self.shares)

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        inputs, outputs = np.empty(n), np.empty(n)
        classes = zip(self.inputs, self.outputs, picks(self.shares, rng, n), strict=True)
        for first, second, rows in classes:
            inputs[rows] = first.sample(rng, len(rows))
            outputs[rows] = second.sample(rng, len(rows))
        return inputs, outputs


@dataclass(frozen=True, slots=True)
class Clipped:
    """A joint with values above a bound moved to it.

    Attributes:
        joint: What is drawn.
        input_high: Largest input, tokens.
        output_high: Largest output, tokens.
    """

    joint: Joint
    input_high: float
    output_high: float

    @property
    def input(self) -> Distribution:
        return clipped(self.joint.input, self.input_high)

    @property
    def output(self) -> Distribution:
        return clipped(self.joint.output, self.output_high)

    def sample(self, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        inputs, outputs = self.joint.sample(rng, n)
        return np.minimum(inputs, self.input_high), np.minimum(outputs, self.output_high)


def pairs(inputs: Floats, outputs: Floats, weights: Floats | None = None) -> Pairs:
    """Joins pairs that occurred.

    Args:
        inputs: Input tokens, ≥ 0, rounded and moved to at least 1, shape (pairs,).
        outputs: Output tokens, likewise.
        weights: ≥ 0, not all 0, shape (pairs,); all alike by default.
    """
    inputs, outputs = (np.maximum(np.rint(values), 1.0) for values in (inputs, outputs))
    below = np.empty(0)
    if weights is not None:
        total = np.cumsum(weights)
        below = total / total[-1]
    first, second = (
        Distribution(discrete(values, weights), low=1.0, whole=True) for values in (inputs, outputs)
    )
    return Pairs(first, second, inputs, outputs, below)


def copula(first: Distribution, second: Distribution, rank_correlation: float) -> Copula:
    """Joins inputs and outputs by their rank correlation.

    For a Gaussian copula Spearman's ρ and the normals' r hold r = 2 sin(π ρ / 6) (Kruskal,
    Ordinal Measures of Association, 1958); exact for lengths that have no ties.

    Args:
        first: Input tokens.
        second: Output tokens.
        rank_correlation: Spearman's ρ, in [-1, 1].
    """
    return Copula(first, second, min(max(2 * math.sin(math.pi * rank_correlation / 6), -1.0), 1.0))


def mixed(parts: tuple[Distribution, ...], shares: tuple[float, ...]) -> Distribution:
    """The distribution of a value that is drawn from one of several, all in tokens.

    Args:
        parts: The distributions.
        shares: Their probabilities, which add up to 1.
    """
    law = Mixture(tuple(Bounded(part.law, part.low, part.high) for part in parts), shares)
    low = min(part.low for part in parts)
    return Distribution(law, low, max(part.high for part in parts), whole=True)


def _share(z: Floats) -> Floats:
    """P(Z ≤ z), below 1."""
    return np.minimum(normal_cdf(z), _BELOW_ONE)
