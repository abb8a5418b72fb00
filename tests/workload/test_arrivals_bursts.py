import math
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.statistics import bonferroni, mean_interval
from factory.workload.arrivals import build
from factory.workload.arrivals.bursts import ModulatedPoisson
from factory.workload.arrivals.profiles import points

CHAINS: dict[str, dict[str, Any]] = {
    "bursts": {"factors": (1.0, 5.0), "means_s": (27.0, 3.0)},
    "on and off": {"factors": (0.0, 1.0), "means_s": (4.0, 1.0)},
    "three in turn": {"factors": (1.0, 6.0, 2.0), "means_s": (5.0, 1.0, 3.0)},
    "three at random": {
        "factors": (1.0, 6.0, 2.0), "means_s": (5.0, 1.0, 3.0), "order": "random",
    },
}  # fmt: skip
RATE, RUNS, RUN_S, WINDOW_S = 20.0, 60, 1500.0, 10.0
# A false alarm once in a thousand runs, over four figures of every chain.
LEVEL = bonferroni(0.999, 4 * len(CHAINS))


def process(seed: int = 1, rate: float = RATE, profile: Any = None, **fields: Any) -> Any:
    fields = {"order": "cyclic", **fields}
    return ModulatedPoisson(rate, name="test", seed=seed, replication=0, profile=profile, **fields)


def times(made: Any, until_s: float) -> Any:
    return np.array(list(chain.from_iterable(made.times(until_s))))


@pytest.mark.parametrize("chain_", CHAINS)
def test_gaps_and_counts_have_the_moments_they_say(chain_: str) -> None:
    fields = CHAINS[chain_]
    gaps, squares, counts, spreads = [], [], [], []
    for seed in range(RUNS):
        made = process(seed, **fields)
        found = times(made, RUN_S)
        assert np.all(np.diff(found) >= 0)
        between = np.diff(found)
        gaps.append(between.mean())
        squares.append(np.mean((between - made.gap_mean_s()) ** 2))
        n = np.bincount((found // WINDOW_S).astype(int), minlength=int(RUN_S / WINDOW_S))
        counts.append(n.mean())
        spreads.append(np.mean((n - RATE * WINDOW_S) ** 2) / (RATE * WINDOW_S))
    made = process(**fields)
    assert RATE * WINDOW_S in mean_interval(counts, LEVEL)
    assert mean_interval(counts, LEVEL).relative < 0.05
    # A mean of gaps per run is a ratio; its bias falls with the length of the run.
    assert mean_interval(gaps, LEVEL).mean == pytest.approx(1 / RATE, rel=0.05)
    squared = mean_interval(squares, LEVEL)
    assert abs(squared.mean - made.gap_variance()) <= squared.half_width + 0.02 * squared.mean
    assert made.dispersion(WINDOW_S) in mean_interval(spreads, LEVEL)


@pytest.mark.parametrize("chain_", CHAINS)
def test_it_is_in_its_steady_state_from_the_start(chain_: str) -> None:
    counts = [len(times(process(seed, **CHAINS[chain_]), 2.0)) for seed in range(300)]
    assert 2.0 * RATE in mean_interval(counts, LEVEL)


@given(
    slow=st.floats(0, 10), fast=st.floats(0.1, 10), one_s=st.floats(0.1, 1e3),
    other_s=st.floats(0.1, 1e3), rate=st.floats(0.01, 100),
)  # fmt: skip
def test_two_states_agree_with_the_formula(
    slow: float, fast: float, one_s: float, other_s: float, rate: float
) -> None:
    made = process(rate=rate, factors=(slow, fast), means_s=(one_s, other_s))
    r_1, r_2 = 1 / one_s, 1 / other_s
    l_1, l_2 = rate * made.relative_rates()
    # Fischer and Meier-Hellstern 1993: the index of dispersion of two states in the long run.
    long_run = 2 * r_1 * r_2 * (l_1 - l_2) ** 2 / ((r_1 + r_2) ** 2 * (l_1 * r_2 + l_2 * r_1))
    assert made.dispersion() == pytest.approx(1 + long_run, rel=1e-9)
    total = r_1 + r_2
    window_s = 3 / total
    share = 1 - (1 - math.exp(-total * window_s)) / (total * window_s)
    assert made.dispersion(window_s) == pytest.approx(1 + long_run * share, rel=1e-6)
    assert made.shares() @ made.relative_rates() == pytest.approx(1.0)
    assert made.gap_variance() >= (1 - 1e-6) / rate**2


def test_states_of_one_rate_are_poisson() -> None:
    made = process(factors=(3.0, 3.0, 3.0), means_s=(1.0, 2.0, 3.0), order="random")
    assert made.dispersion() == pytest.approx(1.0)
    assert made.gap_variance() == pytest.approx(1 / RATE**2)


def test_the_same_bursts_at_any_rate() -> None:
    fields = CHAINS["bursts"]
    slow, fast = (next(process(rate=rate, **fields).path()) for rate in (1.0, 50.0))
    assert (slow.starts == fast.starts).all()
    assert (slow.left == fast.left).all()
    assert set(np.round(slow.left / slow.left.min(), 9)) == {1.0, 5.0}


def test_random_states_never_follow_themselves_and_are_fair() -> None:
    path = next(process(**CHAINS["three at random"]).path())
    assert (np.diff(path.left) != 0).all()
    visits = np.unique(path.left, return_counts=True)[1]
    assert visits == pytest.approx(len(path.left) / 3, rel=0.1)


def test_a_profile_multiplies_the_rate_and_leaves_the_stays() -> None:
    profile = points([0, 40, 40, 80], [0, 2, 0.5, 0.5])
    counts = []
    for seed in range(200):
        found = times(process(seed, profile=profile, **CHAINS["bursts"]), 80.0)
        counts.append(np.bincount((found // 20).astype(int), minlength=4))
    areas = np.diff(profile.integral([0, 20, 40, 60, 80]))
    for quarter, area in enumerate(areas):
        interval = mean_interval([n[quarter] for n in counts], bonferroni(0.999, 4))
        assert RATE * area in interval


def test_a_load_without_states_has_quiet_and_bursts(load: Any, clock: Any) -> None:
    made = build(load(rate=2, arrival="bursts"), 2.0, None, "x", 1, 0, clock)
    assert made.factors == (1.0, 5.0)
    assert made.means_s == (270.0, 30.0)
    section = {"factor": 20, "burst_s": 10}
    made = build(load(rate=2, arrival="bursts", bursts=section), 2.0, None, "x", 1, 0, clock)
    assert made.factors == (1.0, 20.0)
    assert made.means_s == (270.0, 10.0)
    # A burst has 20 times the rate between bursts, and the mean stays.
    assert made.relative_rates() @ made.shares() == pytest.approx(1.0)
    assert made.relative_rates()[1] / made.relative_rates()[0] == pytest.approx(20.0)


def test_a_load_with_states(load: Any, clock: Any) -> None:
    states = [{"factor": 1, "mean_s": 10}, {"factor": 0, "mean_s": 5}, {"factor": 9, "mean_s": 1}]
    section = {"states": states, "next": "random"}
    made = build(load(rate=2, arrival="bursts", bursts=section), 2.0, None, "x", 1, 0, clock)
    assert made.factors == (1.0, 0.0, 9.0)
    assert made.means_s == (10.0, 5.0, 1.0)
    assert made.order == "random"


@pytest.fixture
def load() -> Any:
    from factory.scenario import Load

    return lambda **fields: Load.model_validate(fields)


@pytest.fixture
def clock() -> Any:
    import datetime as dt

    from factory.workload.arrivals.clock import Clock

    return Clock(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
