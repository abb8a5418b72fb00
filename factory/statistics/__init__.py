"""Random streams, quantiles and confidence intervals."""

from __future__ import annotations

from factory.statistics.intervals import (
    Interval,
    batch_means,
    bonferroni,
    mean_interval,
    student_t,
)
from factory.statistics.quantiles import quantiles, weighted_quantiles
from factory.statistics.streams import stream

__all__ = [
    "Interval",
    "batch_means",
    "bonferroni",
    "mean_interval",
    "quantiles",
    "stream",
    "student_t",
    "weighted_quantiles",
]
