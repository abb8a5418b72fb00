import math

import numpy as np
import pytest

from factory.statistics import quantiles, weighted_quantiles


def test_quantiles_interpolate() -> None:
    assert quantiles([4.0, 1.0, 3.0, 2.0], [0.0, 0.5, 1.0]) == [1.0, 2.5, 4.0]


def test_what_did_not_happen_does_not_count() -> None:
    assert quantiles([1.0, math.nan, 3.0], [0.5]) == [2.0]
    assert weighted_quantiles([1.0, math.nan, 3.0], [1, 9, 1], [0.9]) == [3.0]


def test_an_empty_sample_has_none() -> None:
    assert all(math.isnan(q) for q in quantiles([], [0.5, 0.9]))
    assert all(math.isnan(q) for q in weighted_quantiles([1.0], [0.0], [0.5, 0.9]))


def test_a_weight_is_as_many_copies() -> None:
    values, weights = [5.0, 1.0, 3.0], [1, 2, 3]
    copies = np.sort(np.repeat(values, weights))
    for p in (0.01, 0.3, 1 / 3, 0.5, 5 / 6, 0.9, 1.0):
        expected = copies[max(math.ceil(p * len(copies) - 1e-9) - 1, 0)]
        assert weighted_quantiles(values, weights, [p]) == [pytest.approx(expected)]
