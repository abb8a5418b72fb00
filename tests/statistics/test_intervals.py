import math

import numpy as np
import pytest

from factory.statistics import batch_means, bonferroni, mean_interval, stream, student_t


def test_student_t_as_in_the_tables() -> None:
    assert student_t(0.95, 4) == pytest.approx(2.776, abs=5e-4)
    assert student_t(0.999, 1000) == pytest.approx(3.300, abs=5e-4)


def test_an_interval_by_hand() -> None:
    interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.95)
    assert interval.mean == 3.0
    assert interval.half_width == pytest.approx(2.776 * math.sqrt(2.5 / 5), rel=1e-3)
    assert 3.0 in interval
    assert 6.0 not in interval
    assert interval.relative == pytest.approx(interval.half_width / 3)
    assert interval.low == pytest.approx(6 - interval.high)


def test_one_value_says_nothing_of_its_error() -> None:
    assert mean_interval([2.0]).half_width == math.inf


@pytest.mark.parametrize("values", [[], [1.0, math.nan]])
def test_values_that_cannot_be_averaged(values: list[float]) -> None:
    with pytest.raises(ValueError, match="none of them NaN"):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 99.9])
def test_a_level_outside_its_range(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
        mean_interval([1.0, 2.0], confidence)


def test_intervals_cover_as_often_as_they_say() -> None:
    samples = stream(1, 0, "coverage").normal(5.0, 2.0, (2000, 10))
    covered = sum(5.0 in mean_interval(sample, 0.9) for sample in samples)
    # Binomial(2000, 0.9): five standard deviations are 67.
    assert abs(covered - 1800) < 67


def test_batch_means_see_correlation() -> None:
    noise = stream(1, 0, "ar1").normal(size=64_000)
    series = np.empty_like(noise)
    state = 0.0
    for i, shock in enumerate(noise.tolist()):
        state = 0.95 * state + shock
        series[i] = state
    naive, batched = mean_interval(series, 0.999), batch_means(series, 0.999)
    assert batched.half_width > 3 * naive.half_width
    assert 0.0 in batched
    assert batched.count == 32


def test_batches_need_values() -> None:
    with pytest.raises(ValueError, match="3 values for 4 batches"):
        batch_means([1.0, 2.0, 3.0], batches=4)


def test_bonferroni() -> None:
    assert bonferroni(0.999, 10) == pytest.approx(0.9999)
    with pytest.raises(ValueError, match=">= 1"):
        bonferroni(0.999, 0)
