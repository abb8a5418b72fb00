"""Power of one GPU from what it does."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.scenario.specs import GpuSpec


CORE_SHARE_OF_MEMORY_POWER = 0.5
"""Share of the memory term that is drawn on the core side (caches, on-chip network) and so follows
the core's voltage; the rest is in the memory itself, which has its own clock (assumed: decode keeps
its speed at half its power, POLCA and NVIDIA's power profiles)."""


def gpu_watts(gpu: GpuSpec, busy: float, mfu: float, mbu: float, clock: float) -> float:
    """Watts of a GPU with a model loaded.

    ``min(tdp, idle + busy_w * busy * clock^3 + mfu_w * MFU * clock^2
    + mem_w * (1 - s + s * clock^2) * sqrt(busy * MBU))`` with the coefficients of the catalogue and
    ``s`` = `CORE_SHARE_OF_MEMORY_POWER`. The law was fitted at full clock (H100, see their source).
    Below it, voltage follows the clock (assumed: no floor), so the energy of an operation falls
    with the clock's square (``E = C V^2``); the rate is already in the achieved MFU and MBU.

    Args:
        gpu: Coefficients, W.
        busy: Share of time with work on the GPU, 0 to 1.
        mfu: Achieved FLOP/s over the peak at *full* clock, 0 to 1.
        mbu: Achieved HBM bytes/s over the peak, 0 to 1.
        clock: Fraction of the nominal clock, in (0, 1].
    """
    busy_w, mfu_w, memory_w = _coefficients(gpu, clock)
    watts = gpu.idle_loaded_w + busy_w * busy + mfu_w * mfu + memory_w * sqrt(busy * mbu)
    return min(watts, gpu.tdp_w)


def _coefficients(gpu: GpuSpec, clock: float) -> tuple[float, float, float]:
    """Watts at busy, MFU and busy * MBU of 1, at a clock."""
    square = clock * clock
    core = CORE_SHARE_OF_MEMORY_POWER
    return (
        gpu.power_busy_w * square * clock,
        gpu.power_mfu_w * square,
        gpu.power_mem_w * (1.0 - core + core * square),
    )


def power_law(
    gpu: GpuSpec, peak_flops: float, peak_hbm: float
) -> Callable[[float, float, float, float], float]:
    """`gpu_watts` of a busy GPU as a function of a step.

    Args:
        gpu: Coefficients, W.
        peak_flops: Peak at full clock in the format that the steps compute in, FLOP/s.
        peak_hbm: Peak of the memory, bytes/s.

    Returns:
        Watts from (seconds of the step, its FLOPs, its HBM bytes, clock).
    """
    idle_w = gpu.idle_loaded_w
    most_w = gpu.tdp_w
    by_clock: dict[float, tuple[float, float, float]] = {}

    def watts(seconds: float, flops: float, hbm_bytes: float, clock: float) -> float:
        found = by_clock.get(clock)
        if found is None:
            found = by_clock[clock] = _coefficients(gpu, clock)
        busy_w, mfu_w, memory_w = found
        if seconds <= 0.0:
            return idle_w + busy_w
        mfu = flops / (seconds * peak_flops)
        mbu = hbm_bytes / (seconds * peak_hbm)
        if mfu > 1.0:
            mfu = 1.0
        if mbu > 1.0:
            mbu = 1.0
        draw = idle_w + busy_w + mfu_w * mfu + memory_w * sqrt(mbu)
        return draw if draw < most_w else most_w

    return watts


def idle_watts(gpu: GpuSpec, loaded: bool) -> float:
    """Watts of a GPU that does nothing, with a model loaded or bare."""
    return gpu.idle_loaded_w if loaded else gpu.idle_bare_w
