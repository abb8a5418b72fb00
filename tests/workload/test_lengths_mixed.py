"""Mixtures, tables of quantiles, histograms and values, whatever their parameters."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.scenario import Length
from factory.statistics import stream
from factory.workload.lengths import Distribution, clipped, counts, seconds, tokens
from factory.workload.lengths.empirical_laws import discrete, histogram, table


def length(**fields: Any) -> Length:
    return Length.model_validate(fields)


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Tables of quantiles, with atoms and with values of 0."""
    inner = draw(st.lists(st.floats(0.01, 0.99), max_size=6, unique=True))
    p = [0.0, *sorted(inner), 1.0]
    number = st.one_of(st.just(0.0), st.floats(1e-3, 5000))
    values = sorted(draw(st.lists(number, min_size=len(p), max_size=len(p))))
    return list(zip(p, values, strict=True))


PARTS = st.one_of(
    st.builds(lambda v: {"value": v}, st.integers(0, 300)),
    st.builds(
        lambda mu, sigma, top: {
            "distribution": "lognormal", "mu": mu, "sigma": sigma, "max": top,
        },
        st.floats(0, 6), st.floats(0.05, 2), st.integers(2, 5000),
    ),
    st.builds(
        lambda shape, scale: {
            "distribution": "weibull", "shape": shape, "scale": scale, "max": 9000,
        },
        st.floats(0.2, 20), st.floats(0.1, 900),
    ),
    st.builds(
        lambda low, width: {"distribution": "uniform", "min": low, "max": low + width},
        st.integers(0, 300), st.integers(0, 900),
    ),
    st.builds(lambda corners: {"quantiles": corners}, tables()),
)  # fmt: skip
MIXTURES = st.lists(
    st.tuples(st.integers(1, 9), PARTS).map(lambda pair: {"weight": pair[0], **pair[1]}),
    min_size=1,
    max_size=4,
)


@settings(max_examples=50, deadline=None)
@given(corners=tables(), is_log=st.booleans())
def test_a_table_has_the_moments_of_its_quantile_function(
    corners: list[tuple[float, float]], is_log: bool
) -> None:
    law = table(corners, is_log)
    p = (np.arange(40_000) + 0.5) / 40_000
    values = law.quantile(p)
    assert np.all(np.diff(values) >= -1e-9 * values[1:])
    top = corners[-1][1]
    assert law.limited_mean(math.inf) == pytest.approx(values.mean(), rel=2e-3, abs=1e-3 * top)
    square = float((values**2).mean())
    assert law.limited_square(math.inf) == pytest.approx(square, rel=5e-3, abs=1e-3 * top**2)
    for cut in (0.3 * top, 0.8 * top):
        limited = np.minimum(values, cut)
        slack = 1e-3 * top
        assert law.limited_mean(cut) == pytest.approx(limited.mean(), rel=2e-3, abs=slack)
        square = float((limited**2).mean())
        assert law.limited_square(cut) == pytest.approx(square, rel=5e-3, abs=slack * top)


@settings(max_examples=50, deadline=None)
@given(corners=tables(), is_log=st.booleans())
def test_a_table_keeps_its_corners(corners: list[tuple[float, float]], is_log: bool) -> None:
    law = table(corners, is_log)
    p, values = np.array(corners).T
    assert np.all(law.survival(values) <= 1 - p + 1e-9)
    if len(set(values)) == len(values) and np.diff(values).min() > 1e-6 * values.max():
        assert law.quantile(p) == pytest.approx(values, rel=1e-9, abs=1e-9)
        assert law.survival(values) == pytest.approx(1 - p, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(parts=MIXTURES, top=st.one_of(st.none(), st.integers(1, 4000)))
def test_a_mixture_is_made_of_its_parts(parts: list[dict[str, Any]], top: int | None) -> None:
    bound = {} if top is None else {"max": top}
    for kind in (tokens, counts, seconds):
        made = kind(length(components=parts, **bound))
        weights = np.array([part["weight"] for part in parts])
        each = [kind(length(**{k: v for k, v in part.items() if k != "weight"})) for part in parts]
        if top is not None:
            each = [clipped(part, top) for part in each]
        shares = weights / weights.sum()
        mean = float(sum(s * d.mean() for s, d in zip(shares, each, strict=True)))
        assert made.mean() == pytest.approx(mean, rel=1e-9, abs=1e-9)
        square = sum(s * (d.variance() + d.mean() ** 2) for s, d in zip(shares, each, strict=True))
        scale = 1e-9 * (mean**2 + float(square))
        assert made.variance() == pytest.approx(float(square) - mean**2, rel=1e-6, abs=scale)
        for x in (0.0, 1.0, 17.0, 300.0, 2000.5):
            above = float(sum(s * d.survival(x) for s, d in zip(shares, each, strict=True)))
            assert made.survival(x) == pytest.approx(above, abs=1e-12)
        values = made.sample(stream(1, 0, "mixture"), 64)
        assert values.min() >= made.low - 1e-9
        assert values.max() <= made.high + 1e-9


@settings(max_examples=50, deadline=None)
@given(parts=MIXTURES, p=st.floats(0.001, 0.999))
def test_quantiles_of_a_mixture_are_the_smallest_that_do(
    parts: list[dict[str, Any]], p: float
) -> None:
    law = seconds(length(components=parts)).law
    x = law.quantile(np.array([p]))
    assert law.survival(x)[0] <= 1 - p + 1e-9
    assert law.survival(np.maximum(x * (1 - 1e-9) - 1e-12, 0))[0] >= 1 - p - 1e-6 or x[0] == 0


def test_corners_of_a_table_come_out_as_given() -> None:
    law = seconds(length(quantiles=[[0, 0], [0.5, 667], [0.8, 667], [1, 4000]])).law
    assert law.quantile(np.array([0.5, 0.6, 0.75, 0.8, 1.0])).tolist() == [667, 667, 667, 667, 4000]


def test_a_mixture_of_constants_draws_no_other_value() -> None:
    made = tokens(length(points=[{"value": 128, "weight": 40}, {"value": 512, "weight": 60}]))
    values = made.sample(stream(1, 0, "points"), 10_000)
    # Binomial(10000, 0.4): five standard deviations are 245.
    assert abs(int((values == 128).sum()) - 4000) < 245
    assert set(values.tolist()) == {128.0, 512.0}
    assert made.mean() == pytest.approx(0.4 * 128 + 0.6 * 512)
    assert (made.quantile(0.4), made.quantile(0.41)) == (128, 512)


def test_weights_of_zero_are_never_drawn() -> None:
    made = tokens(
        length(components=[{"weight": 1, "value": 4}, {"weight": 0, "value": 9}, {"value": 6}])
    )
    assert set(made.sample(stream(1, 0, "zero"), 100).tolist()) == {4.0, 6.0}
    made = tokens(length(values=[4, 9, 6], weights=[1, 0, 1]))
    assert set(made.sample(stream(1, 0, "zero"), 100).tolist()) == {4.0, 6.0}


def test_a_histogram_is_even_within_its_bins() -> None:
    law = histogram([0, 10, 20], [1, 3])
    assert law.quantile(np.array([0.125, 0.25, 0.625])).tolist() == [5, 10, 15]
    assert law.survival(np.array([5, 10, 15, 20.0])).tolist() == [0.875, 0.75, 0.375, 0]
    assert law.limited_mean(math.inf) == 0.25 * 5 + 0.75 * 15


def test_values_have_the_moments_of_a_sample() -> None:
    values = np.array([3.0, 8.0, 8.0, 1.0])
    law = discrete(values)
    assert law.limited_mean(math.inf) == values.mean()
    assert law.limited_square(math.inf) == (values**2).mean()
    assert law.limited_mean(4.0) == np.minimum(values, 4).mean()
    assert law.quantile(np.array([0, 0.25, 0.26, 0.5, 0.51, 1])).tolist() == [1, 1, 3, 3, 8, 8]


@pytest.mark.parametrize(
    "fields",
    [
        {"quantiles": [[0, 7], [1, 7]]},
        {"values": [7, 7.2]},
        {"values": [7, 3], "weights": [1, 0]},
        {"distribution": "lognormal", "median": 7, "p99": 7},
        {"distribution": "lognormal", "median": 7, "mean": 7},
        {"distribution": "lognormal", "median": 7, "sigma": 0},
        {"type": "fixed", "mean": 7},
    ],
)
def test_no_spread_is_a_constant(fields: dict[str, Any]) -> None:
    made = tokens(length(**fields))
    assert made.is_constant()
    assert (made.mean(), made.variance()) == (pytest.approx(7), 0)


@settings(max_examples=50, deadline=None)
@given(shape=st.floats(0.15, 40), scale=st.floats(0.01, 5000), cut=st.floats(0.01, 1e5))
def test_a_weibull_has_the_moments_of_its_quantiles(shape: float, scale: float, cut: float) -> None:
    made = seconds(length(distribution="weibull", shape=shape, scale=scale, max=cut))
    # With p = 1 - e^-v steps of v are finer the further out in the tail they are.
    v = (np.arange(36_000) + 0.5) / 1000
    values = made.quantiles(-np.expm1(-v))
    weights = np.exp(-v)
    mean = float(np.average(values, weights=weights))
    square = float(np.average(values**2, weights=weights))
    assert made.mean() == pytest.approx(mean, rel=2e-3)
    assert made.variance() == pytest.approx(square - mean**2, rel=5e-3, abs=4e-3 * mean**2)
    free = seconds(length(distribution="weibull", shape=shape, mean=scale))
    assert free.mean() == pytest.approx(scale)


def test_a_lognormal_by_its_percentiles_has_them() -> None:
    made = seconds(length(distribution="lognormal", median=50_000, p99=400_000))
    assert made.quantile(0.5) == pytest.approx(50_000)
    assert made.quantile(0.99) == pytest.approx(400_000)
    # AIPerf's documentation gives about 74.6k for it (docs/tutorials/yaml-distributions, 2026).
    assert made.mean() == pytest.approx(74_600, rel=1e-3)
    made = seconds(length(mean=1024, median=512))
    assert (made.mean(), made.quantile(0.5)) == (pytest.approx(1024), pytest.approx(512))


def test_clipping_moves_what_is_above() -> None:
    free = tokens(length(distribution="lognormal", mu=6, sigma=1))
    bound = clipped(free, 1000.7)
    values = free.sample(stream(1, 0, "clip"), 1000)
    again = bound.sample(stream(1, 0, "clip"), 1000)
    assert np.array_equal(again, np.minimum(values, 1000))
    assert (bound.high, bound.survival(1000), bound.survival(999)) == (1000, 0, free.survival(999))
    assert clipped(free, math.inf) == free
    assert clipped(bound, 5000) == bound
    assert clipped(tokens(length(distribution="uniform", min=50, max=90)), 20).mean() == 20
    assert clipped(free, -3).mean() == 1


def test_a_law_far_above_its_lowest_value_keeps_its_moments() -> None:
    made = tokens(length(mean=400_000, stddev=50_000))
    assert made.mean() == pytest.approx(400_000, rel=1e-9)
    assert made.variance() == pytest.approx(50_000**2, rel=1e-6)
    atom = tokens(length(quantiles=[[0, 90_000.4], [0.5, 90_000.4], [1, 90_000.4 * 2]]))
    values = atom.quantiles((np.arange(50_000) + 0.5) / 50_000)
    assert atom.mean() == pytest.approx(float(values.mean()), rel=1e-6)


def test_numbers_of_things_may_be_zero() -> None:
    made = counts(length(components=[{"weight": 1, "value": 0}, {"weight": 1, "value": 3}]))
    assert made.mean() == 1.5
    assert isinstance(made, Distribution)
    assert counts(length(quantiles=[[0, 0], [0.5, 0], [1, 8]])).quantile(0.25) == 0
