import math
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.statistics import bonferroni, mean_interval, student_t
from factory.workload.arrivals import CHUNK, Renewal, client_starts
from factory.workload.arrivals.operational import unit_gaps, unit_times, weibull_shape
from factory.workload.arrivals.profiles import points


def arrivals(
    kind: Any, rate: float = 10.0, cv: float = 1.0, seed: int = 1, profile: Any = None
) -> Renewal:
    return Renewal(kind, rate, cv, f"test/{kind}/{cv}", seed, 0, profile)


def first(process: Renewal, n: int, until_s: float = math.inf) -> list[float]:
    return list(islice(chain.from_iterable(process.times(until_s)), n))


SHAPES = [("poisson", 1.0), ("gamma", 0.3), ("gamma", 3.0), ("weibull", 0.3), ("weibull", 3.0)]
BURSTY = [("gamma", 13.0), ("weibull", 13.0)]
LEVEL = bonferroni(0.999, 4 * (len(SHAPES) + len(BURSTY)))


@pytest.mark.parametrize(("kind", "cv"), SHAPES)
def test_gaps_have_the_moments_they_say(kind: str, cv: float) -> None:
    process = arrivals(kind, 4.0, cv)
    gaps = np.diff(first(process, 100_001))
    mean = mean_interval(gaps, LEVEL)
    assert process.gap_mean_s() in mean
    assert mean.relative < 0.05
    spread = mean_interval((gaps - process.gap_mean_s()) ** 2, LEVEL)
    assert process.gap_variance() in spread
    assert process.gap_variance() == pytest.approx((cv / 4.0) ** 2)


@pytest.mark.parametrize(("kind", "cv"), [*SHAPES, *BURSTY])
def test_gaps_have_the_quantiles_they_say(kind: str, cv: float) -> None:
    process = arrivals(kind, 4.0, cv, seed=2)
    assert_quantiles(process, gaps_of(process, 100_000), LEVEL)


def gaps_of(process: Renewal, n: int) -> Any:
    """Gaps before they are summed up: most of a very bursty process are lost in its times."""
    drawn = unit_gaps(process.kind, process.cv, process.name, process.seed, process.replication)
    return np.concatenate(list(islice(drawn, -(-n // CHUNK)))) / process.rate


def assert_quantiles(process: Renewal, gaps: Any, level: float) -> None:
    """The share of gaps below each quantile is binomial."""
    for p in (0.5, 0.9, 0.99):
        share = float(np.mean(gaps <= process.gap_quantile(p)))
        margin = student_t(level, len(gaps)) * math.sqrt(p * (1 - p) / len(gaps))
        assert share == pytest.approx(p, abs=margin)


@pytest.mark.parametrize(("kind", "cv"), BURSTY)
def test_very_bursty_arrivals_keep_their_mean(kind: str, cv: float) -> None:
    # The CV of code completion (Azure 2023); a heavy tail needs many gaps.
    gaps = gaps_of(arrivals(kind, 4.0, cv), 1_000_000)
    mean = mean_interval(gaps, LEVEL)
    assert 0.25 in mean
    assert mean.relative < 0.07


EXAMPLES = 25
EACH = bonferroni(0.999, 5 * EXAMPLES)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    kind=st.sampled_from(["gamma", "weibull"]),
    cv=st.floats(0.05, 20),
    rate=st.floats(1e-3, 1e4),
    seed=st.integers(0, 2**32),
)
def test_gaps_of_any_shape(kind: str, cv: float, rate: float, seed: int) -> None:
    process = arrivals(kind, rate, cv, seed)
    gaps = gaps_of(process, 20_000)
    assert_quantiles(process, gaps, EACH)
    if cv <= 2:
        assert process.gap_mean_s() in mean_interval(gaps, EACH)


@given(cv=st.floats(0.01, 100))
def test_the_shape_of_a_weibull_has_its_cv(cv: float) -> None:
    shape = weibull_shape(cv)
    ratio = math.exp(math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape))
    assert math.sqrt(ratio - 1) == pytest.approx(cv, rel=1e-9)


def test_the_shape_of_a_weibull_by_hand() -> None:
    assert weibull_shape(1.0) == pytest.approx(1.0, rel=1e-14)
    # k = 1/2: E[X] = Γ(3) = 2, E[X²] = Γ(5) = 24, so CV² = 24 / 4 - 1 = 5.
    assert weibull_shape(math.sqrt(5)) == pytest.approx(0.5, rel=1e-14)


@pytest.mark.parametrize("kind", ["gamma", "weibull"])
def test_a_cv_of_1_is_poisson(kind: str) -> None:
    def gaps(each: str) -> Any:
        return np.diff(first(Renewal(each, 2.0, 1.0, "one", 1, 0), 5000))  # type: ignore[arg-type]

    assert gaps(kind) == pytest.approx(gaps("poisson"), rel=1e-6)


# Counts from time 0 on, over as many seeds: the process is in equilibrium from the start.
SEEDS = 250


@pytest.mark.parametrize(("kind", "cv"), [*SHAPES, *BURSTY])
@pytest.mark.parametrize("with_profile", [False, True])
def test_the_expected_count_is_rate_times_time(kind: str, cv: float, *, with_profile: bool) -> None:
    profile = points([0, 20, 20, 40], [0, 2, 1, 1]) if with_profile else None
    counts = [
        sum(map(len, arrivals(kind, 10.0, cv, seed, profile).times(30.0))) for seed in range(SEEDS)
    ]
    area = float(profile.integral(30.0)) if profile else 30.0
    assert 10.0 * area in mean_interval(counts, LEVEL)


@pytest.mark.parametrize(("kind", "cv"), [("gamma", 0.3), ("gamma", 3.0), ("weibull", 3.0)])
def test_the_first_gap_is_what_is_left_of_one(kind: Any, cv: float) -> None:
    firsts = [float(next(unit_times(kind, cv, "left", seed, 0))[0]) for seed in range(1000)]
    interval = mean_interval(firsts, bonferroni(0.999, 3))
    # E[X²] / 2E[X], Cox 1962.
    assert (cv**2 + 1) / 2 in interval


def test_poisson_counts_are_poisson() -> None:
    times = first(arrivals("poisson", 5.0), 200_000, 20_000.0)
    counts = np.bincount(np.asarray(times).astype(int), minlength=20_000)
    # Index of dispersion 1: its standard deviation over n windows is sqrt(2/n).
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 20_000))


def test_deterministic_arrivals_do_not_drift() -> None:
    times = first(arrivals("deterministic", 3.0), 3 * CHUNK)
    assert times[-1] == 3 * CHUNK / 3.0
    assert arrivals("deterministic").gap_variance() == 0
    assert arrivals("deterministic").gap_quantile(0.5) == 0.1


@pytest.mark.parametrize("kind", ["poisson", "deterministic", "gamma", "weibull"])
def test_arrivals_rise_and_stop_in_time(kind: str) -> None:
    times = first(arrivals(kind, 100.0), 10**9, 77.0)
    assert times[0] > 0
    assert times == sorted(times)
    assert times[-1] < 77.0
    assert len(times) == pytest.approx(7700, rel=0.1)


@pytest.mark.parametrize("kind", ["poisson", "gamma", "weibull"])
def test_a_rate_stretches_the_same_arrivals(kind: str) -> None:
    slow, fast = (first(arrivals(kind, rate, 2.0), 10_000) for rate in (1.0, 8.0))
    assert [t / 8 for t in slow] == pytest.approx(fast)


def test_no_arrival_before_the_end() -> None:
    assert first(arrivals("deterministic", 1.0), 10, 0.5) == []
    assert first(arrivals("deterministic", 1.0), 10, 1.0) == []
    assert first(arrivals("deterministic", 1.0), 10, 1.1) == [1.0]


def test_a_profile_moves_the_same_arrivals() -> None:
    profile = points([0, 100, 100, 300], [1, 3, 0.5, 0.5])
    plain = first(arrivals("poisson", 5.0), 20_000)
    moved = first(arrivals("poisson", 5.0, profile=profile), 20_000)
    assert profile.integral(moved) == pytest.approx(np.array(plain), rel=1e-9)
    assert moved == sorted(moved)


def test_a_flat_profile_moves_nothing() -> None:
    plain = first(arrivals("gamma", 5.0, 2.0), 20_000, 3000.0)
    flat = first(arrivals("gamma", 5.0, 2.0, profile=points([0], [1])), 20_000, 3000.0)
    assert flat == pytest.approx(plain, rel=1e-12)


def test_a_profile_that_ends_ends_the_arrivals() -> None:
    drain = points([0, 100], [1, 0])
    times = first(arrivals("deterministic", 1.0, profile=drain), 1000)
    # Λ(t) < 50 up to the very end.
    assert len(times) == 49
    assert times[-1] <= 100.0
    assert times[0] == pytest.approx(100 - math.sqrt(100**2 - 200))


def test_clients_start_evenly() -> None:
    assert client_starts(4, 0.0) == [0.0] * 4
    assert client_starts(5, 60.0) == [0.0, 15.0, 30.0, 45.0, 60.0]
    assert client_starts(1, 60.0) == [0.0]
