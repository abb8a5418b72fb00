"""Laws fitted to samples: what was drawn is found again, and distances are what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.scenario.check_lengths import length_problems
from factory.scenario.lengths import Length
from factory.statistics import stream
from factory.studies.trace_laws import (
    MOST_ERROR,
    MOST_KS,
    Sample,
    distribution,
    fit_law,
    ks_distance,
)
from factory.studies.trace_stats import TimeCounts, TokenCounts

N = 20_000
RNG = stream(11, 0, "tests/trace_laws", 0)


def tokens(values: np.ndarray, least: float = 1.0) -> Sample:
    counts = TokenCounts(np.maximum(np.rint(values), least).astype(np.int64))
    found, times = counts.distinct()
    return Sample(found.astype(np.float64), times, True, least)


def times(values: np.ndarray) -> Sample:
    counts = TimeCounts()
    counts.add(values)
    return Sample(*counts.distinct(), False)


# Standard errors at n = 20,000: σ/√n of μ (0.7 %), about 0.8/√n·shape of a Weibull's shape.
def test_a_lognormal_is_found_again() -> None:
    fit = fit_law(tokens(RNG.lognormal(6, 1, N)), mixes=False)
    assert fit.law == "lognormal"
    assert fit.section["mu"] == pytest.approx(6, abs=0.03)
    assert fit.section["sigma"] == pytest.approx(1, abs=0.03)
    assert fit.ks < 0.015
    assert fit.told["lognormal"] < fit.told["exponential"]


def test_a_weibull_is_found_again() -> None:
    fit = fit_law(times(500 * RNG.weibull(0.7, N)))
    assert fit.law == "weibull"
    assert fit.section["shape"] == pytest.approx(0.7, abs=0.02)
    assert fit.section["scale"] == pytest.approx(500, rel=0.05)


def test_two_lognormals_are_told_apart() -> None:
    values = np.concatenate((RNG.lognormal(4, 0.3, 8000), RNG.lognormal(8, 0.6, 12_000)))
    fit = fit_law(tokens(values))
    assert fit.law == "mixture"
    first, second = fit.section["components"]
    assert (first["weight"], first["mu"]) == pytest.approx((0.4, 4), abs=0.03)
    assert (second["weight"], second["mu"]) == pytest.approx((0.6, 8), abs=0.03)
    # Its quantiles have no closed form, so where they are needed a table takes its place.
    assert fit_law(tokens(values), mixes=False).law == "quantiles"


def test_what_no_law_fits_becomes_a_table() -> None:
    # Three in ten values are exactly 1000, the others even between 10 and 200.
    values = np.where(RNG.random(N) < 0.3, 1000, RNG.uniform(10, 200, N))
    sample = tokens(values)
    fit = fit_law(sample)
    assert fit.law == "quantiles"
    assert min(ks for law, ks in fit.told.items() if law != "quantiles") > MOST_KS
    assert fit.ks <= 0.025
    assert abs(fit.mean_error) < 0.02
    found = distribution(fit.section, sample)
    drawn = found.sample(stream(1, 0, "tests/trace_laws", 1), N)
    assert (drawn == 1000).mean() == pytest.approx((values == 1000).mean(), abs=0.03)


def test_whole_seconds_stay_whole_seconds() -> None:
    sample = times(np.rint(RNG.lognormal(2, 0.8, N)))
    fit = fit_law(sample)
    assert fit.law == "quantiles"
    assert fit.ks < 0.05


def test_few_values_are_no_reason_for_a_table() -> None:
    # Of 100 values half the samples are off by 0.083 or more from the law they come from.
    laws = [fit_law(tokens(RNG.lognormal(6, 1, 100)), mixes=False).law for _ in range(20)]
    assert laws.count("quantiles") <= 12
    table = fit_law(tokens(np.where(RNG.random(100) < 0.5, 10, 1000)))
    assert len(table.section["quantiles"]) <= 25


def test_one_value_is_a_constant() -> None:
    fit = fit_law(tokens(np.full(100, 512)))
    assert (fit.law, fit.ks, fit.errors["p99"]) == ("constant", 0.0, 0.0)
    assert fit.section == {"distribution": "constant", "value": 512}


def test_counts_may_be_zero() -> None:
    fit = fit_law(tokens(RNG.integers(0, 3, N), least=0.0))
    found = distribution(fit.section, tokens(np.arange(3), least=0.0))
    assert found.quantile(0.2) == 0


def test_ks_by_hand() -> None:
    # Values 1 to 4, once each; the law is always 2: F jumps from 0 to 1 at 2, the sample is at a
    # quarter before and a half after.
    sample = tokens(np.array([1, 2, 3, 4]))
    found = distribution({"distribution": "constant", "value": 2}, sample)
    assert ks_distance(sample, found) == 0.5


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
@settings(deadline=None, max_examples=60)
def test_every_fit_is_a_section_that_a_scenario_takes(values: list[int]) -> None:
    sample = tokens(np.array(values))
    fit = fit_law(sample)
    assert not list(length_problems("x", Length.model_validate(fit.section)))
    if fit.law not in {"quantiles", "constant"}:
        assert fit.ks <= max(MOST_KS, 0.83 / math.sqrt(len(values)))
        if len(values) >= 20:
            assert abs(fit.errors["p50"]) <= MOST_ERROR
    found = distribution(fit.section, sample)
    assert found.quantile(0.0) >= 1
    assert found.quantile(1.0) <= max(values) + 1
