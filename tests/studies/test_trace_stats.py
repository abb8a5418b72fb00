"""Statistics of one reading: by hand, and against the same figures of the whole sample."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.studies.trace_stats import WIDTHS_S, Arrivals, TimeCounts, TokenCounts

SHARES = (0.01, 0.5, 0.9, 0.99, 0.999)


@given(
    st.lists(
        st.lists(st.one_of(st.integers(0, 50), st.integers(0, 2**31)), max_size=20), max_size=6
    )
)
@settings(deadline=None)
def test_token_counts_are_exact(chunks: list[list[int]]) -> None:
    counts = TokenCounts()
    for chunk in chunks:
        counts.add(chunk)
    whole = np.array([value for chunk in chunks for value in chunk], np.float64)
    assert counts.n == len(whole)
    if not len(whole):
        assert math.isnan(counts.mean)
        assert all(map(math.isnan, counts.quantiles(SHARES)))
        return
    assert counts.total == int(whole.sum())
    assert counts.quantiles(SHARES) == pytest.approx(np.quantile(whole, SHARES).tolist())
    assert counts.stddev == pytest.approx(whole.std(), rel=1e-9, abs=1e-6)
    values, times = counts.distinct()
    assert (np.diff(values) > 0).all()
    assert times.sum() == counts.n
    assert sum(n for _, _, n in counts.histogram()) == counts.n


def test_a_histogram_has_cells_of_equal_ratio() -> None:
    cells = TokenCounts([0, 1, 1, 5, 99, 100]).histogram(cells_per_decade=1)
    assert cells == [(1.0, 10.0, 4), (10.0, 100.0, 1), (100.0, 1000.0, 1)]


def test_time_quantiles_are_within_half_a_percent() -> None:
    times = np.random.default_rng(1).lognormal(2, 2, 20_000)
    counts = TimeCounts()
    for part in np.array_split(times, 7):
        counts.add(part)
    for share, found in zip(SHARES, counts.quantiles(SHARES), strict=True):
        value = np.quantile(times, share, method="lower")
        assert found == pytest.approx(value, rel=0.00501)
    assert counts.mean == pytest.approx(times.mean())
    assert counts.cv == pytest.approx(times.std() / times.mean())


def test_time_zero_is_zero() -> None:
    counts = TimeCounts()
    counts.add([0.0, 0.0, 0.0, 1.0])
    assert counts.quantiles([0.5]) == [0.0]
    assert counts.quantiles([1.0])[0] == pytest.approx(1.0, rel=0.005)
    assert math.isnan(TimeCounts().cv)


def test_arrivals_by_hand() -> None:
    # Gaps 1, 1, 2, 0: mean 1, variance (0 + 0 + 1 + 1) / 4.
    arrivals = Arrivals()
    arrivals.add([10.0, 11.0])
    arrivals.add([12.0, 14.0, 14.0])
    assert (arrivals.n, arrivals.start_s, arrivals.span_s, arrivals.rate) == (5, 10.0, 4.0, 1.0)
    assert arrivals.gap_cv == pytest.approx(math.sqrt(0.5))
    assert arrivals.tied == 1
    windows = arrivals.windows(4)
    assert windows.width_s == 1.0
    assert windows.counts.tolist() == [1, 1, 1, 0, 2]
    # The window that the last arrivals stand in has just begun: that is too little for a rate.
    assert windows.rates[:4].tolist() == [1, 1, 1, 0]
    assert math.isnan(windows.rates[4])
    assert windows.gaps.tolist() == [0, 1, 1, 0, 2]
    assert windows.sums_s.tolist() == [0, 1, 1, 0, 2]


def test_windows_grow_with_the_trace_and_lose_nothing() -> None:
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.exponential(20.0, 30_000))
    arrivals = Arrivals()
    for part in np.array_split(times, 40):
        arrivals.add(part)
    assert arrivals._columns.shape[1] <= 8192
    gaps = np.diff(times)
    assert arrivals.gap_cv == pytest.approx(gaps.std() / gaps.mean())
    windows = arrivals.windows(60)
    assert len(windows.counts) <= 61
    edges = times[0] + windows.width_s * np.arange(len(windows.counts) + 1)
    assert windows.counts.tolist() == np.histogram(times, edges)[0].tolist()
    assert windows.sums_s.sum() == pytest.approx(arrivals.span_s)
    assert windows.gaps.sum() == len(gaps)
    # Poisson: CV 1 in each window, variance of counts as large as their mean.
    assert np.nanmean(windows.gap_cvs) == pytest.approx(1, abs=0.05)
    assert windows.cv_within == pytest.approx(1, abs=0.03)
    assert 0.5 < windows.dispersion < 1.6


def test_a_rate_that_changes_is_no_burst_within_windows() -> None:
    rng = np.random.default_rng(9)
    slow, fast = np.cumsum(rng.exponential(1.0, 2000)), np.cumsum(rng.exponential(0.1, 20_000))
    arrivals = Arrivals()
    arrivals.add(slow)
    arrivals.add(slow[-1] + fast)
    windows = arrivals.windows(60)
    assert arrivals.gap_cv > 1.5
    assert windows.cv_within == pytest.approx(1, abs=0.06)
    assert windows.dispersion > 50
    assert windows.peak_to_mean == pytest.approx(10 / 5.5, rel=0.15)


def test_one_arrival_has_no_rate() -> None:
    arrivals = Arrivals()
    arrivals.add([3.0])
    assert math.isnan(arrivals.rate)
    assert math.isnan(arrivals.gap_cv)
    assert arrivals.windows().peak_to_mean == 1


def test_each_width_divides_the_next() -> None:
    for width, wider in pairwise(WIDTHS_S):
        assert wider / width == pytest.approx(round(wider / width))
