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
    voltage_ratio,
)
from factory.scenario import catalog

GPUS = catalog().gpus
names = st.sampled_from(sorted(GPUS))
ratios = st.floats(0.0, 1.0)
clocks = st.floats(0.1, 1.0)


def test_h100_by_hand() -> None:
    h100 = GPUS["h100-sxm"]
    # 120 + 232·1 + 530·0.2 + 213·√0.25 = 564.5 W
    assert gpu_watts(h100, 1.0, 0.2, 0.25, 1.0) == pytest.approx(564.5)
    # At 0.8 of the clock the voltage is 1 - 0.7·0.2 = 0.86 of its own, the energy of an operation
    # 0.86² = 0.7396; half of the memory's power follows it.
    assert gpu_watts(h100, 1.0, 0.16, 0.25, 0.8) == pytest.approx(
        120 + 232 * 0.8 * 0.7396 + 530 * 0.16 * 0.7396 + 213 * (0.5 + 0.5 * 0.7396) * 0.5
    )
    assert gpu_watts(h100, 1.0, 0.9, 0.9, 1.0) == h100.tdp_w == 700
    assert idle_watts(h100, loaded=True) == 120
    assert idle_watts(h100, loaded=False) == 72


def test_voltage_falls_to_its_floor() -> None:
    h100 = GPUS["h100-sxm"]
    assert voltage_ratio(h100, 1.0) == 1.0
    assert voltage_ratio(h100, 0.8) == pytest.approx(0.86)
    assert voltage_ratio(h100, 0.5) == voltage_ratio(h100, 0.4) == 0.7


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
    square = max(0.7, 1.0 - 0.7 * (1.0 - clock)) ** 2
    memory_w = gpu.power_mem_w * (0.5 + 0.5 * square)
    law = gpu.idle_loaded_w + gpu.power_busy_w * clock * square + memory_w * sqrt(mbu)
    assert gpu_watts(gpu, 1.0, 0.0, mbu, clock) == pytest.approx(min(law, gpu.tdp_w))


@given(st.floats(0.05, 1.0), st.integers(2, 64))
def test_levels_rise_to_exactly_one(lowest: float, count: int) -> None:
    levels = clock_levels(lowest, count)
    assert len(levels) == count
    assert levels[0] == lowest
    assert levels[-1] == 1.0
    assert list(levels) == sorted(levels)


def test_default_levels() -> None:
    assert len(clock_levels(0.4)) == CLOCK_LEVELS


def test_levels_end_at_the_pools_own_clock() -> None:
    levels = clock_levels(0.4, top=0.88)
    assert (levels[0], levels[-1], len(levels)) == (0.4, 0.88, CLOCK_LEVELS)
    assert list(levels) == sorted(levels)
    assert set(clock_levels(0.4, top=0.3)) == {0.3}


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


seconds_of = st.floats(0.0, 0.1)


@given(
    names, seconds_of, seconds_of, seconds_of, seconds_of, st.floats(0.1, 1.0), st.floats(0.1, 1.0)
)
def test_a_lower_clock_never_draws_more_for_the_same_step(
    name: str,
    compute_s: float,
    memory_s: float,
    serial_s: float,
    host_s: float,
    one: float,
    other: float,
) -> None:
    # Compute takes 1/clock as long, memory as long as ever; kernels overlap them or do not; the
    # host takes its own time.
    gpu = GPUS[name]
    law = power_law(gpu, 1e15, 4e12)
    low, high = sorted((one, other))

    def watts(clock: float) -> float:
        kernels = max(compute_s / clock, memory_s) + serial_s * (0.5 + 0.5 / clock)
        seconds = kernels + host_s
        return law(seconds, compute_s * 6e14, memory_s * 3e12, clock, host_s)

    assert watts(low) <= watts(high) * (1.0 + 1e-12)


@given(names, st.floats(1e-4, 1.0), ratios, ratios, clocks, ratios)
def test_waiting_for_the_host_saves_what_being_busy_costs(
    name: str, seconds: float, mfu: float, mbu: float, clock: float, waiting: float
) -> None:
    gpu = GPUS[name]
    law = power_law(gpu, 1e15, 4e12)
    flops, moved = mfu * seconds * 1e15, mbu * seconds * 4e12
    watts = law(seconds, flops, moved, clock, waiting * seconds)
    assert watts == pytest.approx(gpu_watts(gpu, 1.0 - waiting, mfu, mbu, clock))
    assert law(0.0, 0.0, 0.0, clock) <= gpu.tdp_w
    assert law(seconds, 0.0, 0.0, clock, 2.0 * seconds) == idle_watts(gpu, loaded=True)
