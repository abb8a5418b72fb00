"""Power of one GPU from what it does."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from factory.scenario.specs import GpuSpec


class StepWatts(Protocol):
    """Watts of a GPU as a function of a step."""

    def __call__(
        self, seconds: float, flops: float, hbm_bytes: float, clock: float, waiting_s: float = 0.0
    ) -> float:
        """Watts over a step.

        Args:
            seconds: Of the step.
            flops: That the GPU computes in it.
            hbm_bytes: That it moves.
            clock: Fraction of the nominal clock.
            waiting_s: Seconds of it in which the GPU has nothing to run and waits for its host.
        """
        ...


def gpu_watts(gpu: GpuSpec, busy: float, mfu: float, mbu: float, clock: float) -> float:
    """Watts of a GPU with a model loaded.

    ``min(tdp, idle + busy_w * busy * clock * v^2 + mfu_w * MFU * v^2
    + mem_w * (1 - s + s * v^2) * sqrt(MBU))`` with ``v`` of `voltage_ratio` and ``s`` the share of
    the memory term that follows the core's voltage. At full clock the law is fitted (see the
    coefficients' provenance and ``docs/power-model.md``). An operation's energy goes with the
    voltage's square (``E = C V^2``); the rate is already in the achieved MFU and MBU, and what a
    busy GPU draws whatever it computes (clocks, schedulers, stalled kernels) goes with the clock.

    Args:
        gpu: Coefficients, W.
        busy: Share of time with work on the GPU, 0 to 1.
        mfu: Achieved FLOP/s over the peak at *full* clock, 0 to 1, a mean over all the time.
        mbu: Achieved HBM bytes/s over the peak, 0 to 1, a mean over all the time.
        clock: Fraction of the nominal clock, in (0, 1].
    """
    busy_w, mfu_w, memory_w = _coefficients(gpu, clock)
    watts = gpu.idle_loaded_w + busy_w * busy + mfu_w * mfu + memory_w * sqrt(mbu)
    return min(watts, gpu.tdp_w)


def voltage_ratio(gpu: GpuSpec, clock: float) -> float:
    """Core voltage over that at full clock: a line in the clock down to a floor.

    ``max(floor, 1 - slope * (1 - clock))``: below some clock the voltage can fall no further, and
    only the rate does (Guerreiro et al., HPCA 2018, measure the shape on NVIDIA GPUs).

    Args:
        gpu: Slope and floor.
        clock: Fraction of the nominal clock, in (0, 1].
    """
    return max(gpu.voltage_floor_ratio, 1.0 - gpu.voltage_slope_ratio * (1.0 - clock))


def _coefficients(gpu: GpuSpec, clock: float) -> tuple[float, float, float]:
    """Watts at busy, MFU and MBU of 1, at a clock."""
    square = voltage_ratio(gpu, clock) ** 2
    core = gpu.power_mem_core_ratio
    return (
        gpu.power_busy_w * clock * square,
        gpu.power_mfu_w * square,
        gpu.power_mem_w * (1.0 - core + core * square),
    )


def power_law(gpu: GpuSpec, peak_flops: float, peak_hbm: float) -> StepWatts:
    """`gpu_watts` as a function of a step.

    Of one and the same work a lower clock never draws more, as long as it makes the work no faster
    and ``waiting_s`` stays what it was.

    Args:
        gpu: Coefficients, W.
        peak_flops: Peak at full clock in the format that the steps compute in, FLOP/s.
        peak_hbm: Peak of the memory, bytes/s.

    Returns:
        Watts from (seconds of the step, its FLOPs, its HBM bytes, clock, seconds waiting for the
        host). A GPU that waits for its peers is busy: it spins in a collective.
    """
    idle_w = gpu.idle_loaded_w
    most_w = gpu.tdp_w
    by_clock: dict[float, tuple[float, float, float]] = {}

    def watts(
        seconds: float, flops: float, hbm_bytes: float, clock: float, waiting_s: float = 0.0
    ) -> float:
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
        if waiting_s:
            busy_w *= 1.0 - waiting_s / seconds if waiting_s < seconds else 0.0
        draw = idle_w + busy_w + mfu_w * mfu + memory_w * sqrt(mbu)
        return draw if draw < most_w else most_w

    return watts


def idle_watts(gpu: GpuSpec, loaded: bool) -> float:
    """Watts of a GPU that does nothing, with a model loaded or bare."""
    return gpu.idle_loaded_w if loaded else gpu.idle_bare_w
