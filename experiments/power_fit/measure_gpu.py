"""Measures the power of an NVIDIA GPU at rest and at work, and predicts it beside.

    python -m experiments.power_fit.measure_gpu --gpu h100-sxm --out points.csv [--lock 1.0,0.8,0.6]

Needs a GPU, ``nvidia-ml-py`` and ``torch``; where one of them is missing it says so and ends with
exit status 2. Locking clocks (``--lock``) needs root and changes the GPU's settings for the length
of a point: leave it out on a machine that is not yours.

NVML's sampling: ``nvmlDeviceGetPowerUsage`` gives a mean over about a second on some generations
and a sample each 100 ms on others, and on A100 and H100 the sensor looks only 25 of each 100 ms
(Yang et al., "Part-time power measurements", SC 2024). Kernels that repeat in step with it are seen
far too high or too low. So each point lasts seconds, its kernels take well under 25 ms, and its
watts are the difference of the energy counter (``nvmlDeviceGetTotalEnergyConsumption``, mJ) over
the time between two changes of it; the gauge's mean is written beside. The first two seconds of a
load do not count: voltage, clock and leakage settle.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from factory.power import gpu_watts, idle_watts
from factory.scenario import catalog

SETTLING_S = 2.0
WIDTH = 8192
PREFILL_ROWS = (256, 1024, 8192)
DECODE_ROWS = (1, 16, 64)
COLUMNS = (
    "gpu", "point", "clock_ratio", "mfu", "mbu", "watts", "watts_gauge", "predicted_watts",
    "seconds", "clock_mhz",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """Watts over a span.

    Attributes:
        watts: By the energy counter.
        gauge: Mean of the power gauge.
        seconds: How long.
        clock_mhz: Mean clock of the SMs.
    """

    watts: float
    gauge: float
    seconds: float
    clock_mhz: float


class Meter:
    """One GPU's counters.

    Args:
        nvml: The module ``pynvml``, initialised.
        index: Number of the GPU.
    """

    def __init__(self, nvml: Any, index: int) -> None:
        self.nvml = nvml
        self.handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.name = str(nvml.nvmlDeviceGetName(self.handle))

    def over(self, seconds: float, work: Callable[[], None] | None = None) -> Measured:
        """Watts while ``work`` is called again and again."""
        self._keep(SETTLING_S, work, [], [])
        gauges: list[float] = []
        clocks: list[float] = []
        begin_mj, begin_s = self._edge(work)
        self._keep(seconds, work, gauges, clocks)
        end_mj, end_s = self._edge(work)
        lasted = end_s - begin_s
        return Measured(
            (end_mj - begin_mj) * 1e-3 / lasted,
            sum(gauges) / len(gauges),
            lasted,
            sum(clocks) / len(clocks),
        )

    def _edge(self, work: Callable[[], None] | None) -> tuple[int, float]:
        """The counter as it changes, and when: between changes it is up to 100 ms old."""
        before = self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)
        while True:
            if work is not None:
                work()
            now = self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)
            if now != before:
                return now, time.perf_counter()
            time.sleep(0.0 if work is not None else 1e-3)

    def _keep(
        self,
        seconds: float,
        work: Callable[[], None] | None,
        gauges: list[float],
        clocks: list[float],
    ) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            if work is None:
                time.sleep(0.02)
            else:
                work()
            gauges.append(self.nvml.nvmlDeviceGetPowerUsage(self.handle) * 1e-3)
            clocks.append(
                self.nvml.nvmlDeviceGetClockInfo(self.handle, self.nvml.NVML_CLOCK_SM) * 1.0
            )


def main() -> None:
    """Measures each point and writes a row for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="h100-sxm", choices=sorted(catalog().gpus))
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each point")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lock", default="", help="clock ratios to lock, as root")
    asked = parser.parse_args()
    nvml = _nvml()
    meter = Meter(nvml, asked.index)
    spec = catalog().gpus[asked.gpu]
    sys.stdout.write(f"{meter.name}, predicted as {spec.name}\n")
    rows: list[dict[str, object]] = []

    def note(point: str, clock: float, mfu: float, mbu: float, got: Measured, law: float) -> None:
        values = (
            spec.name, point, f"{clock:g}", f"{mfu:.3f}", f"{mbu:.3f}", f"{got.watts:.1f}",
            f"{got.gauge:.1f}", f"{law:.1f}", f"{got.seconds:.1f}", f"{got.clock_mhz:.0f}",
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        sys.stdout.write("  ".join(values) + "\n")

    note("idle bare", 1.0, 0, 0, meter.over(asked.seconds), idle_watts(spec, loaded=False))
    torch = _torch()
    weights = torch.randn(4, WIDTH, 4 * WIDTH, device="cuda", dtype=torch.bfloat16)
    torch.cuda.synchronize()
    note("idle loaded", 1.0, 0, 0, meter.over(asked.seconds), idle_watts(spec, loaded=True))
    most_mhz = nvml.nvmlDeviceGetMaxClockInfo(meter.handle, nvml.NVML_CLOCK_SM)
    for clock in [float(part) for part in asked.lock.split(",") if part] or [1.0]:
        if asked.lock:
            mhz = round(clock * most_mhz)
            nvml.nvmlDeviceSetGpuLockedClocks(meter.handle, mhz, mhz)
        try:
            for rows_in in (*DECODE_ROWS, *PREFILL_ROWS):
                work, counted = _products(torch, weights, rows_in)
                got = meter.over(asked.seconds, work)
                per_s = _rate(work, counted)
                flops = per_s * 2.0 * rows_in * weights[0].numel()
                moved = per_s * 2.0 * weights[0].numel()
                mfu = flops / (spec.fp16_tflops * 1e12)
                mbu = min(moved / (spec.hbm_tb_s * 1e12), 1.0)
                kind = "decode" if rows_in in DECODE_ROWS else "prefill"
                law = gpu_watts(spec, 1.0, min(mfu, 1.0), mbu, clock)
                note(f"{kind}-like, {rows_in} rows", clock, mfu, mbu, got, law)
        finally:
            if asked.lock:
                nvml.nvmlDeviceResetGpuLockedClocks(meter.handle)
    with asked.out.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _products(torch: Any, weights: Any, rows: int) -> tuple[Callable[[], None], list[int]]:
    """Products of ``rows`` tokens with weights larger than any cache, a few ms at a time."""
    tokens = torch.randn(rows, weights.shape[1], device="cuda", dtype=torch.bfloat16)
    counted = [0]

    def work() -> None:
        for part in weights:
            tokens @ part
        torch.cuda.synchronize()
        counted[0] += len(weights)

    return work, counted


def _rate(work: Callable[[], None], counted: list[int]) -> float:
    """Products per second, once warm."""
    before, begin = counted[0], time.perf_counter()
    while time.perf_counter() - begin < 1.0:
        work()
    return (counted[0] - before) / (time.perf_counter() - begin)


def _nvml() -> Any:
    try:
        import pynvml

    except ImportError as error:
        _cannot(f"NVML's binding is missing ({error}); install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        _cannot(f"there is no NVIDIA GPU that NVML can read ({error})")
    if count < 1:
        _cannot("there is no NVIDIA GPU: NVML knows of none")
    return pynvml


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        _cannot(f"the loads need torch ({error})")
    if not torch.cuda.is_available():
        _cannot("torch was built without CUDA, or sees no GPU")
    return torch


def _cannot(why: str) -> NoReturn:
    sys.stderr.write(f"measure_gpu: nothing was measured: {why}\n")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
