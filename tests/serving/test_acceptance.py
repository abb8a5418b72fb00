"""The decode steps of an answer: their exact distribution, and whose luck they are."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factory.serving.acceptance import Acceptance
from factory.statistics import bonferroni, stream

CHANCES = [(0.8,), (0.0,), (1.0,), (0.9, 0.6, 0.3), (1.0, 0.5), (0.7, 0.0, 0.9), (0.5,) * 5]
TOKENS = [1, 2, 3, 7, 40, 301]


def acceptance(chances: tuple[float, ...], seed: int = 1) -> Acceptance:
    return Acceptance(chances, stream(seed, 0, "speculation:test"))


def distribution(chances: tuple[float, ...], tokens: int) -> NDArray[np.float64]:
    """P(steps = 1, 2, …) of the renewal process, by its recursion over steps."""
    joint = np.concatenate(([1.0], np.cumprod(chances)))
    gives = joint - np.append(joint[1:], 0.0)
    emitted = np.zeros(tokens)
    emitted[0] = 1.0
    done = []
    while emitted.sum() > 0.0 and len(done) < tokens:
        after = np.convolve(emitted, np.concatenate(([0.0], gives)))
        done.append(after[tokens:].sum())
        emitted = after[:tokens]
    return np.array(done)


def drawn(chances: tuple[float, ...], tokens: int, count: int) -> NDArray[np.int64]:
    source = acceptance(chances, seed=tokens)
    return np.array([source.steps(request, tokens) for request in range(count)])


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("chances", CHANCES, ids=str)
def test_steps_follow_the_renewal_process(chances: tuple[float, ...], tokens: int) -> None:
    """Pearson's test over steps with at least ten expected, and mean and variance beside it."""
    from scipy.stats import chi2

    count = 1500
    exact = distribution(chances, tokens)
    assert exact.sum() == pytest.approx(1.0, abs=1e-12)
    steps = drawn(chances, tokens, count)
    seen = np.bincount(steps, minlength=len(exact) + 1)[1:]
    assert len(seen) == len(exact)
    assert not seen[exact == 0.0].any()
    confidence = bonferroni(0.999, 3 * len(TOKENS) * len(CHANCES))
    common = exact * count >= 10
    if common.sum() > 1:
        rare = [(seen[~common].sum(), exact[~common].sum() * count)] if not common.all() else []
        pairs = [*zip(seen[common], exact[common] * count, strict=True), *rare]
        off = sum((got - want) ** 2 / want for got, want in pairs if want > 1.0)
        assert off < chi2.ppf(confidence, len(pairs) - 1)
    numbers = np.arange(1, len(exact) + 1)
    mean = float(numbers @ exact)
    variance = float((numbers - mean) ** 2 @ exact)
    fourth = float((numbers - mean) ** 4 @ exact)
    wide = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    assert abs(steps.mean() - mean) <= wide * math.sqrt(variance / count) + 1e-9
    spread = math.sqrt(max(fourth - variance**2, 0.0) / count)
    # The sample's variance is about its own mean, whose error enters squared.
    assert abs(steps.var() - variance) <= wide * spread + wide**2 * variance / count + 1e-9


@pytest.mark.parametrize("chances", CHANCES, ids=str)
def test_mean_tokens_per_step(chances: tuple[float, ...]) -> None:
    source = acceptance(chances)
    joint = np.cumprod(chances)
    assert source.tokens_per_step == pytest.approx(1.0 + joint.sum())
    # By Wald's identity a long answer takes its tokens over these, plus what its end cuts.
    exact = distribution(chances, 2000)
    steps = float(np.arange(1, len(exact) + 1) @ exact)
    assert 0.0 <= steps - 2000 / source.tokens_per_step <= len(chances) + 1


@given(
    chances=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    tokens=st.integers(1, 3000),
    others=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 3000)), max_size=4),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_a_row_is_its_requests_own(
    chances: list[float], tokens: int, others: list[tuple[int, int]]
) -> None:
    """What was drawn before changes nothing, nor does a longer answer the steps of its start."""
    source = acceptance(tuple(chances))
    for request, more in others:
        source.steps(request, more)
    steps = source.steps(7, tokens)
    assert steps == acceptance(tuple(chances)).steps(7, tokens)
    assert -(-tokens // (len(chances) + 1)) <= steps <= tokens
    assert steps <= source.steps(7, tokens + 1) <= steps + 1


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.integers(1, 500))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_more_acceptance_never_takes_more_steps(chances: list[float], tokens: int) -> None:
    """Request by request: under one seed two designs share their luck."""
    better = tuple(math.sqrt(chance) for chance in chances)
    for request in range(5):
        steps = [acceptance(c).steps(request, tokens) for c in (tuple(chances), better)]
        assert steps[0] >= steps[1]
        # One more draft that is never accepted changes nothing.
        assert acceptance((*chances, 0.0)).steps(request, tokens) == steps[0]


def test_rows_are_independent() -> None:
    """Steps of neighbouring requests, and of requests a power of two apart, are uncorrelated."""
    steps = drawn((0.7, 0.5), 60, 4096).astype(float)
    steps -= steps.mean()
    for lag in (1, 2, 64, 1024):
        correlation = float(np.mean(steps[lag:] * steps[:-lag]) / steps.var())
        assert abs(correlation) < 4.5 / math.sqrt(len(steps) - lag)


def test_streams_differ_by_name_replication_and_seed() -> None:
    makers = [(1, 0, "a"), (2, 0, "a"), (1, 1, "a"), (1, 0, "b")]
    sources = [Acceptance((0.6,), stream(*maker)) for maker in makers]
    steps = [tuple(source.steps(i, 200) for i in range(20)) for source in sources]
    assert len(set(steps)) == len(steps)
