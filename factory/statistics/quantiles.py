"""Quantiles of samples, with and without weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def quantiles(values: ArrayLike, probabilities: Sequence[float]) -> list[float]:
    """Returns sample quantiles, interpolated linearly (Hyndman and Fan 1996, type 7).

    Args:
        values: The sample; NaN stands for "did not happen" and is left out.
        probabilities: Each in [0, 1].

    Returns:
        One number per probability, in the unit of the values; NaN for an empty sample.
    """
    sample = np.asarray(values, dtype=np.float64)
    sample = sample[~np.isnan(sample)]
    if sample.size == 0:
        return [float("nan")] * len(probabilities)
    result: list[float] = np.quantile(sample, probabilities).tolist()
    return result


def weighted_quantiles(
    values: ArrayLike, weights: ArrayLike, probabilities: Sequence[float]
) -> list[float]:
    """Returns quantiles of a weighted sample: the smallest value whose weight share reaches p.

    Args:
        values: The sample; NaN is left out, with its weight.
        weights: One per value, ≥ 0, e.g. the cells that a simulated cell stands for.
        probabilities: Each in [0, 1].

    Returns:
        One number per probability; NaN for an empty sample or no weight at all.
    """
    sample = np.asarray(values, dtype=np.float64)
    weight: NDArray[np.float64] = np.asarray(weights, dtype=np.float64)
    kept = ~np.isnan(sample) & (weight > 0)
    sample, weight = sample[kept], weight[kept]
    if sample.size == 0:
        return [float("nan")] * len(probabilities)
    order = np.argsort(sample, kind="stable")
    share = np.cumsum(weight[order])
    share /= share[-1]
    at = np.searchsorted(share, np.asarray(probabilities) * (1 - 1e-12), side="left")
    found: list[float] = sample[order][np.minimum(at, sample.size - 1)].tolist()
    return found
