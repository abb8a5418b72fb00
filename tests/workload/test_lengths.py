import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.scenario import Length
from factory.statistics import bonferroni, mean_interval, stream
from factory.workload.lengths import Distribution, seconds, tokens

SHAPES: dict[str, dict[str, Any]] = {
    "constant": {"distribution": "constant", "value": 1024},
    "long constant": {"distribution": "constant", "value": 100_000},
    "uniform": {"distribution": "uniform", "min": 820, "max": 1024},
    "narrow uniform": {"distribution": "uniform", "min": 1, "max": 3},
    "normal": {"distribution": "normal", "mean": 500, "stddev": 50},
    "clipped normal": {"distribution": "normal", "mean": 10, "stddev": 20, "max": 30},
    "lognormal": {"distribution": "lognormal", "mu": 5.56, "sigma": 0.9},
    "lognormal by moments": {"distribution": "lognormal", "mean": 343, "stddev": 400},
    "bounded lognormal": {
        "distribution": "lognormal", "mu": 6.6, "sigma": 1.1, "min": 100, "max": 8000,
    },
    "exponential": {"distribution": "exponential", "mean": 300},
    "short exponential": {"distribution": "exponential", "mean": 2},
    "bounded exponential": {"distribution": "exponential", "mean": 20_000, "max": 50_000},
    "geometric": {"distribution": "geometric", "mean": 12.5},
    "bounded geometric": {"distribution": "geometric", "mean": 100, "min": 5, "max": 120},
    "pareto": {"distribution": "pareto", "alpha": 3.5, "min": 50},
    "bounded pareto": {"distribution": "pareto", "alpha": 1.2, "min": 10, "max": 1000},
}  # fmt: skip
SAMPLES = 100_000
# A false alarm once in a thousand runs, over two kinds of every shape.
LEVEL = bonferroni(0.999, 2 * len(SHAPES))


def length(**fields: Any) -> Length:
    return Length.model_validate(fields)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [tokens, seconds], ids=["tokens", "seconds"])
def test_sample_means_agree_with_the_analytic_mean(shape: str, kind: Any) -> None:
    made: Distribution = kind(length(**SHAPES[shape]))
    values = made.sample(stream(1, 0, f"test/{shape}"), SAMPLES)
    interval = mean_interval(values, LEVEL)
    assert abs(interval.mean - made.mean()) <= interval.half_width + 1e-9 * made.mean()
    assert interval.relative < 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_quantiles_agree(shape: str) -> None:
    made = seconds(length(**SHAPES[shape]))
    values = made.sample(stream(2, 0, f"test/{shape}"), SAMPLES)
    for p in (0.1, 0.5, 0.9, 0.99):
        # Share below the analytic quantile: binomial; discrete laws put mass on it.
        x = made.quantile(p)
        margin = 5 * math.sqrt(p * (1 - p) / SAMPLES)
        assert np.mean(values < x - 1e-9 * x) <= p + margin
        assert np.mean(values <= x + 1e-9 * x) >= p - margin


@pytest.mark.parametrize("shape", [s for s in SHAPES if s != "pareto"])
def test_variances_agree(shape: str) -> None:
    made = tokens(length(**SHAPES[shape]))
    values = made.sample(stream(3, 0, f"test/{shape}"), SAMPLES)
    squares = mean_interval((values - made.mean()) ** 2, LEVEL)
    assert abs(squares.mean - made.variance()) <= squares.half_width + 1e-9 * made.mean() ** 2


def test_a_tail_that_cannot_be_summed_says_so() -> None:
    with pytest.raises(ValueError, match="set a max"):
        tokens(length(distribution="pareto", alpha=1.5, min=10)).variance()
    with pytest.raises(ValueError, match="whole numbers only"):
        seconds(length(distribution="exponential", mean=1)).variance()


def test_an_infinite_mean_is_infinite() -> None:
    assert tokens(length(distribution="pareto", alpha=1.0, min=1)).mean() == math.inf


def test_every_whole_number_of_a_uniform_is_equally_likely() -> None:
    made = tokens(length(distribution="uniform", min=1, max=4))
    values = made.sample(stream(1, 0, "uniform"), 40_000)
    counts = np.bincount(values.astype(int))[1:]
    # Binomial(40000, 1/4): five standard deviations are 433.
    assert float(np.abs(counts - 10_000).max()) < 433
    assert made.mean() == 2.5
    assert made.variance() == pytest.approx(1.25)


@pytest.mark.parametrize(
    "fields",
    [
        {"distribution": "normal", "mean": 50, "stddev": 0},
        {"distribution": "lognormal", "mu": math.log(50), "sigma": 0},
        {"distribution": "uniform", "min": 50, "max": 50},
        {"distribution": "lognormal", "mean": 50, "stddev": 0},
        {"distribution": "constant", "value": 49.9},
    ],
)
def test_no_spread_is_a_constant(fields: dict[str, Any]) -> None:
    made = tokens(length(**fields))
    assert made.is_constant()
    assert set(made.sample(stream(1, 0, "x"), 5).tolist()) == {50.0}
    assert made.mean() == pytest.approx(50)


def test_tokens_are_whole_and_at_least_one() -> None:
    made = tokens(length(distribution="exponential", mean=0.8))
    values = made.sample(stream(1, 0, "x"), 1000)
    assert values.min() == 1
    assert bool((values == np.rint(values)).all())
    assert tokens(length(distribution="constant", value=0)).mean() == 1
    assert seconds(length(distribution="constant", value=0)).mean() == 0


def test_seconds_are_never_negative() -> None:
    made = seconds(length(distribution="normal", mean=0.1, stddev=5))
    assert made.sample(stream(1, 0, "x"), 1000).min() == 0


@given(
    mean=st.floats(1.5, 5000),
    low=st.integers(1, 50),
    width=st.integers(0, 9000),
    kind=st.sampled_from(["exponential", "geometric"]),
)
def test_means_stay_inside_their_bounds(mean: float, low: int, width: int, kind: str) -> None:
    made = tokens(length(distribution=kind, mean=mean, min=low, max=low + width))
    slack = 1e-9 * (low + width)
    assert low - slack <= made.mean() <= low + width + slack
    assert low <= made.quantile(0.5) <= low + width
    assert made.variance() <= (width / 2) ** 2 + 1e-6 * (low + width) ** 2


@given(mu=st.floats(0, 8), sigma=st.floats(0.1, 2), cut=st.floats(1, 1e5))
def test_a_bound_lowers_the_mean_by_what_it_cuts(mu: float, sigma: float, cut: float) -> None:
    free = seconds(length(distribution="lognormal", mu=mu, sigma=sigma))
    bounded = seconds(length(distribution="lognormal", mu=mu, sigma=sigma, max=cut))
    x = np.exp(np.linspace(math.log(1e-6), math.log(cut), 20_001))
    below = float(np.trapezoid(free.law.survival(x), x))
    assert bounded.mean() == pytest.approx(below, rel=1e-3, abs=1e-5)
    assert bounded.mean() <= free.mean() * (1 + 1e-12)
