import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from factory.scenario import Length
from factory.statistics import bonferroni, mean_interval, stream
from factory.workload.lengths import Distribution, seconds, tokens

# Output tokens of a coding agent (kv-cache-tester, 49,334 requests).
OUTPUTS = [[0, 1], [0.1, 105], [0.5, 216], [0.9, 898], [0.99, 3686], [1, 18195]]
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
    "lognormal by median and p99": {"distribution": "lognormal", "median": 216, "p99": 1751},
    "lognormal by mean and median": {"distribution": "lognormal", "mean": 300, "median": 216},
    "weibull": {"distribution": "weibull", "shape": 0.7, "scale": 200},
    "steep weibull": {"distribution": "weibull", "shape": 3, "mean": 900, "max": 1200},
    "quantiles": {"distribution": "empirical", "quantiles": OUTPUTS},
    "even quantiles": {
        "distribution": "empirical", "quantiles": OUTPUTS, "interpolate": "linear", "max": 900,
    },
    "quantiles with atoms": {
        "distribution": "empirical",
        "quantiles": [[0, 0], [0.1, 0], [0.2, 3.4], [0.5, 3.4], [0.7, 80], [1, 900]],
    },
    "histogram": {
        "distribution": "empirical", "edges": [0, 10, 50, 100, 400], "weights": [5, 0, 3, 2],
    },
    "values": {"distribution": "empirical", "values": [10, 10, 20, 400, 5, 5, 5, 20.4]},
    "weighted values": {
        "distribution": "empirical", "values": [10, 20, 3], "weights": [0.5, 0.3, 0.2],
    },
    "mixture": {
        "distribution": "mixture",
        "components": [
            {"weight": 0.55, "distribution": "lognormal", "median": 190, "p99": 400},
            {"weight": 0.25, "distribution": "normal", "mean": 600, "stddev": 90, "max": 700},
            {"weight": 0.2, "distribution": "constant", "value": 900},
        ],
    },
    "nested mixture": {
        "distribution": "mixture",
        "max": 500,
        "components": [
            {"weight": 3, "distribution": "pareto", "alpha": 0.8, "min": 4},
            {"weight": 1, "distribution": "mixture", "components": [
                {"weight": 1, "distribution": "uniform", "min": 40, "max": 60},
                {"weight": 1, "distribution": "geometric", "mean": 20},
            ]},
        ],
    },
}  # fmt: skip
SEEDS = (1, 2, 3, 4)
SAMPLES = 100_000
# A false alarm once in a thousand runs, over two kinds of every shape.
LEVEL = bonferroni(0.999, 2 * len(SHAPES))


def length(**fields: Any) -> Length:
    return Length.model_validate(fields)


def drawn(made: Distribution, name: str) -> NDArray[np.float64]:
    """Values of several seeds, pooled."""
    streams = [stream(seed, 0, f"test/{name}") for seed in SEEDS]
    return np.concatenate([made.sample(rng, SAMPLES // len(SEEDS)) for rng in streams])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [tokens, seconds], ids=["tokens", "seconds"])
def test_sample_means_agree_with_the_analytic_mean(shape: str, kind: Any) -> None:
    made: Distribution = kind(length(**SHAPES[shape]))
    interval = mean_interval(drawn(made, f"mean of {shape}"), LEVEL)
    assert abs(interval.mean - made.mean()) <= interval.half_width + 1e-9 * made.mean()
    assert interval.relative < 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_quantiles_agree(shape: str) -> None:
    made = seconds(length(**SHAPES[shape]))
    values = drawn(made, f"quantiles of {shape}")
    for p in (0.1, 0.5, 0.9, 0.99):
        # Share below the analytic quantile: binomial; discrete laws put mass on it.
        x = made.quantile(p)
        margin = 5 * math.sqrt(p * (1 - p) / SAMPLES)
        assert np.mean(values < x - 1e-9 * x) <= p + margin
        assert np.mean(values <= x + 1e-9 * x) >= p - margin


@pytest.mark.parametrize("shape", [s for s in SHAPES if s != "pareto"])
@pytest.mark.parametrize("kind", [tokens, seconds], ids=["tokens", "seconds"])
def test_variances_agree(shape: str, kind: Any) -> None:
    made = kind(length(**SHAPES[shape]))
    values = drawn(made, f"variance of {shape}")
    squares = mean_interval((values - made.mean()) ** 2, LEVEL)
    assert abs(squares.mean - made.variance()) <= squares.half_width + 1e-9 * made.mean() ** 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [tokens, seconds], ids=["tokens", "seconds"])
def test_log_moments_agree_with_the_quantile_function(shape: str, kind: Any) -> None:
    made = kind(length(**SHAPES[shape]))
    logs = np.log1p(drawn(made, f"logs of {shape}"))
    # E[f(X)] = ∫ f(Q(p)) dp, by the midpoint rule.
    p = (np.arange(20_000) + 0.5) / 20_000
    exact = np.log1p(made.quantiles(p))
    for power in (1, 2):
        interval = mean_interval(logs**power, bonferroni(LEVEL, 2))
        expected = float((exact**power).mean())
        assert abs(interval.mean - expected) <= interval.half_width + 1e-4 * expected


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_are_those_of_the_probabilities(shape: str) -> None:
    made = tokens(length(**SHAPES[shape]))
    least = np.arange(200_001)
    above = np.array([made.survival(float(k)) for k in range(-1, 20)])
    assert np.all(np.diff(above) <= 0)
    # P(X > k) of the law before bounds, where bounds do not decide.
    left = np.where(least >= made.high, 0.0, made.law.survival(least + 0.5))
    left = np.where(least < made.low, 1.0, left)
    assert left[:20] == pytest.approx(above[1:], abs=1e-12)
    # Past the numbers summed here a Pareto has 50^3.5 ∫ k^-3.5 dk left.
    rest = 50**3.5 * 200_000**-2.5 / 2.5 if shape == "pareto" else 0.0
    assert made.mean() == pytest.approx(float(left.sum()) + rest, rel=1e-6)
    if shape != "pareto":
        square = float(((2 * least + 1) * left).sum())
        variance = square - made.mean() ** 2
        assert made.variance() == pytest.approx(variance, rel=1e-5, abs=1e-6 * square)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_quantile_has_its_share_below_and_no_more(shape: str) -> None:
    made = seconds(length(**SHAPES[shape]))
    for p in (0.05, 0.25, 0.5, 0.75, 0.95):
        x = made.quantile(p)
        assert made.survival(x) <= 1 - p + 1e-9
        assert made.survival(x * (1 - 1e-9) - 1e-9) >= 1 - p - 1e-6


def test_a_variance_may_be_infinite() -> None:
    assert tokens(length(distribution="pareto", alpha=1.5, min=10)).variance() == math.inf
    assert seconds(length(distribution="pareto", alpha=2, min=10)).variance() == math.inf
    assert tokens(length(distribution="pareto", alpha=1.5, min=10, max=900)).variance() < 900**2


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
