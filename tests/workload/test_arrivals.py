import math
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest

from factory.statistics import bonferroni, mean_interval
from factory.workload.arrivals import CHUNK, Renewal


def arrivals(kind: Any, rate: float = 10.0, cv: float = 1.0, seed: int = 1) -> Renewal:
    return Renewal(kind, rate, cv, f"test/{kind}/{cv}", seed, 0)


def first(process: Renewal, n: int, until_s: float = math.inf) -> list[float]:
    return list(islice(chain.from_iterable(process.times(until_s)), n))


SHAPES = [("poisson", 1.0), ("gamma", 0.3), ("gamma", 3.0)]
LEVEL = bonferroni(0.999, 2 * len(SHAPES))


@pytest.mark.parametrize(("kind", "cv"), SHAPES)
def test_gaps_have_the_moments_they_say(kind: str, cv: float) -> None:
    process = arrivals(kind, 4.0, cv)
    gaps = np.diff(first(process, 100_000), prepend=0.0)
    mean = mean_interval(gaps, LEVEL)
    assert process.gap_mean_s() in mean
    assert mean.relative < 0.05
    spread = mean_interval((gaps - process.gap_mean_s()) ** 2, LEVEL)
    assert process.gap_variance() in spread
    assert process.gap_variance() == pytest.approx((cv / 4.0) ** 2)


def test_poisson_counts_are_poisson() -> None:
    times = first(arrivals("poisson", 5.0), 200_000, 20_000.0)
    counts = np.bincount(np.asarray(times).astype(int), minlength=20_000)
    # Index of dispersion 1: its standard deviation over n windows is sqrt(2/n).
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 20_000))


def test_deterministic_arrivals_do_not_drift() -> None:
    times = first(arrivals("deterministic", 3.0), 3 * CHUNK)
    assert times[-1] == 3 * CHUNK / 3.0
    assert arrivals("deterministic").gap_variance() == 0


@pytest.mark.parametrize("kind", ["poisson", "deterministic", "gamma"])
def test_arrivals_rise_and_stop_in_time(kind: str) -> None:
    times = first(arrivals(kind, 100.0), 10**9, 77.0)
    assert times[0] > 0
    assert times == sorted(times)
    assert times[-1] < 77.0
    assert len(times) == pytest.approx(7700, rel=0.1)


def test_a_rate_stretches_the_same_arrivals() -> None:
    slow, fast = first(arrivals("poisson", 1.0), 10_000), first(arrivals("poisson", 8.0), 10_000)
    assert [t / 8 for t in slow] == pytest.approx(fast)


def test_no_arrival_before_the_end() -> None:
    assert first(arrivals("deterministic", 1.0), 10, 0.5) == []
    assert first(arrivals("deterministic", 1.0), 10, 1.0) == []
    assert first(arrivals("deterministic", 1.0), 10, 1.1) == [1.0]
