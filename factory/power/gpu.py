"""Power of one GPU from what it does."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.scenario.specs import GpuSpec


def gpu_watts(gpu: GpuSpec, busy: float, mfu: float, mbu: float, clock: float) -> float:
    """Watts of a GPU with a model loaded.

    ``min(tdp, idle + busy_w * busy + mfu_w * MFU * clock^2 + mem_w * sqrt(busy * MBU))``, with the
    coefficients of the catalogue. The law was fitted at full clock (H100, see their source). Below
    it, voltage follows the clock, so the energy of a floating-point operation falls with its square
    (``E = C V^2``; assumed: no voltage floor), while the rate is already in the achieved MFU.
    Memory has its own clock and keeps its power.

    Args:
        gpu: Coefficients, W.
        busy: Share of time with work on the GPU, 0 to 1.
        mfu: Achieved FLOP/s over the peak at *full* clock, 0 to 1.
        mbu: Achieved HBM bytes/s over the peak, 0 to 1.
        clock: Fraction of the nominal clock, in (0, 1].
    """
    watts = (
        gpu.idle_loaded_w
        + gpu.power_busy_w * busy
        + gpu.power_mfu_w * mfu * clock * clock
        + gpu.power_mem_w * sqrt(busy * mbu)
    )
    return min(watts, gpu.tdp_w)


def power_law(
    gpu: GpuSpec, peak_flops: float, peak_hbm: float
) -> Callable[[float, float, float, float], float]:
    """`gpu_watts` of a busy GPU as a function of a step, with everything else worked out before.

    Args:
        gpu: Coefficients, W.
        peak_flops: Peak at full clock in the format that the steps compute in, FLOP/s.
        peak_hbm: Peak of the memory, bytes/s.

    Returns:
        Watts from (seconds of the step, its FLOPs, its HBM bytes, clock).
    """
    constant_w = gpu.idle_loaded_w + gpu.power_busy_w
    flops_w = gpu.power_mfu_w
    memory_w = gpu.power_mem_w
    most_w = gpu.tdp_w

    def watts(seconds: float, flops: float, hbm_bytes: float, clock: float) -> float:
        mfu = flops / (seconds * peak_flops)
        mbu = hbm_bytes / (seconds * peak_hbm)
        if mfu > 1.0:
            mfu = 1.0
        if mbu > 1.0:
            mbu = 1.0
        draw = constant_w + flops_w * mfu * clock * clock + memory_w * sqrt(mbu)
        return draw if draw < most_w else most_w

    return watts


def idle_watts(gpu: GpuSpec, loaded: bool) -> float:
    """Watts of a GPU that does nothing, with a model loaded or bare."""
    return gpu.idle_loaded_w if loaded else gpu.idle_bare_w
