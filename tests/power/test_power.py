from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.power import (
    CLOCK_LEVELS,
    clock_levels,
    gpu_watts,
    idle_watts,
    power_law,
)
from factory.scenario import catalog

GPUS = catalog().gpus
names = st.sampled_from(sorted(GPUS))
ratios = st.floats(0.0, 1.0)
clocks = st.floats(0.1, 1.0)


def test_h100_by_hand() -> None:
    # 120 + 66·1 + 829·0.3 + 385·√0.25 = 627.2 W
    assert gpu_watts(GPUS["h100-sxm"], 1.0, 0.3, 0.25, 1.0) == pytest.approx(627.2)
    # At half the clock an operation takes a quarter of the energy, half of the memory's included.
    assert gpu_watts(GPUS["h100-sxm"], 1.0, 0.15, 0.25, 0.5) == pytest.approx(
        120 + 66 / 8 + 829 * 0.15 / 4 + 385 * (0.5 + 0.5 / 4) * 0.5
    )
    assert gpu_watts(GPUS["h100-sxm"], 1.0, 0.9, 0.9, 1.0) == GPUS["h100-sxm"].tdp_w == 700
    assert idle_watts(GPUS["h100-sxm"], loaded=True) == 120
    assert idle_watts(GPUS["h100-sxm"], loaded=False) == 72


@given(names, ratios, ratios, ratios, clocks)
def test_between_idle_and_tdp(name: str, busy: float, mfu: float, mbu: float, clock: float) -> None:
    gpu = GPUS[name]
    watts = gpu_watts(gpu, busy, mfu, mbu, clock)
    assert gpu.idle_bare_w <= idle_watts(gpu, loaded=True) <= watts <= gpu.tdp_w
    assert gpu_watts(gpu, 0.0, 0.0, 0.0, clock) == idle_watts(gpu, loaded=True)


@given(names, ratios, ratios, ratios, clocks, st.floats(0.0, 1.0))
def test_more_load_never_draws_less(
    name: str, busy: float, mfu: float, mbu: float, clock: float, part: float
) -> None:
    gpu = GPUS[name]
    most = gpu_watts(gpu, busy, mfu, mbu, clock)
    assert gpu_watts(gpu, busy * part, mfu, mbu, clock) <= most
    assert gpu_watts(gpu, busy, mfu * part, mbu, clock) <= most
    assert gpu_watts(gpu, busy, mfu, mbu * part, clock) <= most
    # A lower clock computes no faster, and draws no more.
    assert gpu_watts(gpu, busy, mfu * part, mbu, clock * max(part, 0.1)) <= most


@given(names, st.floats(0.01, 1.0), clocks)
def test_the_law_as_written(name: str, mbu: float, clock: float) -> None:
    gpu = GPUS[name]
    memory_w = gpu.power_mem_w * (0.5 + 0.5 * clock**2)
    law = gpu.idle_loaded_w + gpu.power_busy_w * clock**3 + memory_w * sqrt(mbu)
    assert gpu_watts(gpu, 1.0, 0.0, mbu, clock) == pytest.approx(min(law, gpu.tdp_w))


@given(st.floats(0.05, 1.0), st.integers(2, 64))
def test_levels_rise_to_exactly_one(lowest: float, count: int) -> None:
    levels = clock_levels(lowest, count)
    assert len(levels) == count
    assert levels[0] == lowest
    assert levels[-1] == 1.0
    assert list(levels) == sorted(levels)


def test_default_levels() -> None:
    assert len(clock_levels(0.4)) == CLOCK_LEVELS == 32


@pytest.mark.parametrize(("lowest", "count"), [(0.0, 32), (1.1, 32), (0.5, 1)])
def test_levels_out_of_range(lowest: float, count: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        clock_levels(lowest, count)


@given(names, st.floats(1e-4, 1.0), ratios, ratios, clocks)
def test_the_law_of_a_step_is_the_same(
    name: str, seconds: float, mfu: float, mbu: float, clock: float
) -> None:
    gpu = GPUS[name]
    law = power_law(gpu, 1e15, 4e12)
    watts = law(seconds, mfu * seconds * 1e15, mbu * seconds * 4e12, clock)
    assert watts == pytest.approx(gpu_watts(gpu, 1.0, mfu, mbu, clock))
