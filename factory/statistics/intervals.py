"""Confidence intervals for means, from independent values and from one long run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval for a mean.

    Attributes:
        mean: The point estimate.
        half_width: Half the width, in the unit of the mean; infinite for fewer than two values.
        confidence: The level, e.g. 0.999.
        count: Independent values (or batches) behind it.
    """

    mean: float
    half_width: float
    confidence: float
    count: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width

    @property
    def relative(self) -> float:
        """Half-width as a share of the mean's size."""
        return self.half_width / abs(self.mean) if self.mean else math.inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def bonferroni(confidence: float, tests: int) -> float:
    """Returns the level at which each of `tests` intervals keeps them all right at `confidence`."""
    if tests < 1:
        raise ValueError(f"bonferroni: tests must be >= 1, got {tests}")
    return 1 - (1 - confidence) / tests


def student_t(confidence: float, degrees: int) -> float:
    """Returns the two-sided Student-t factor, e.g. 2.776 for 0.95 and 4 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + confidence) / 2))


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Returns the Student-t interval for the mean of independent values.

    Args:
        values: One number per replication; NaN is refused.
        confidence: The level, in (0, 1).

    Raises:
        ValueError: There is no value, one is NaN, or the level is not in (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0 or bool(np.isnan(sample).any()):
        raise ValueError("mean_interval: needs at least one value, and none of them NaN")
    if not 0 < confidence < 1:
        raise ValueError(f"mean_interval: confidence must be in (0, 1), got {confidence}")
    count = int(sample.size)
    mean = float(sample.mean())
    if count == 1:
        return Interval(mean, math.inf, confidence, count)
    error = float(sample.std(ddof=1)) / math.sqrt(count)
    return Interval(mean, student_t(confidence, count - 1) * error, confidence, count)


def batch_means(values: ArrayLike, confidence: float = 0.95, batches: int = 32) -> Interval:
    """Returns an interval for the mean of one stationary, correlated series.

    The series is cut into equal batches whose means are taken as independent (Law and Kelton,
    Simulation Modeling and Analysis, section 9.5.3); a remainder at its *start* is left out.

    Args:
        values: The series in time order, warm-up removed.
        confidence: The level, in (0, 1).
        batches: How many batches; 20 to 40 is usual.

    Raises:
        ValueError: There are fewer values than batches, or fewer than two batches.
    """
    series = np.asarray(values, dtype=np.float64)
    if batches < 2 or series.size < batches:
        raise ValueError(
            f"batch_means: needs at least two batches and a value for each, "
            f"got {series.size} values for {batches} batches"
        )
    size = series.size // batches
    means = series[series.size - size * batches :].reshape(batches, size).mean(axis=1)
    return mean_interval(means, confidence)
