"""Rates of a GPU in its system, and how much of them kernels reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.performance.architecture import Format
    from factory.scenario.specs import GpuSpec, SystemSpec


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Achieved fractions of peak rates and fixed times of operations, one per kind.

    Kind ``fitted``, coarsely: round values near those that bring AIConfigurator's step times (0.12,
    2026-11) closest by the mean over groups of their median error. One set for all GPUs, models,
    precisions and engines. Compute efficiency of experts is over the busiest GPU's rows;
    ``expert_imbalance`` itself is assumed.

    Attributes:
        gemm_compute, gemm_hbm: Dense matrix products, of peak FLOPs and of HBM bandwidth.
        expert_compute, expert_hbm: Grouped products of experts.
        prefill_compute: Prefill attention, of peak FP16 FLOPs.
        decode_compute, decode_hbm: Attention over the KV cache, of FP16 FLOPs and HBM bandwidth.
        stream_hbm: Norms, activations and other element-wise traffic.
        link: Collectives, of the link's one-way bandwidth.
        expert_imbalance: Rows of the busiest GPU's experts over the mean.
        gemm_s, stream_s, attention_s: Fixed seconds of each such kernel.
        nvlink_s, scaleout_s: Fixed seconds of a collective inside an NVLink domain, beyond it.
    """

    gemm_compute: float = 0.65
    gemm_hbm: float = 0.80
    expert_compute: float = 0.20
    expert_hbm: float = 0.70
    prefill_compute: float = 0.70
    decode_compute: float = 0.60
    decode_hbm: float = 0.85
    stream_hbm: float = 0.50
    link: float = 0.45
    expert_imbalance: float = 1.5
    gemm_s: float = 10e-6
    stream_s: float = 3e-6
    attention_s: float = 10e-6
    nvlink_s: float = 10e-6
    scaleout_s: float = 30e-6


@dataclass(frozen=True, slots=True)
class Machine:
    """One GPU and the links around it, in SI units.

    Attributes:
        fp16, fp8, fp4: Peak dense FLOP/s of matrix products by weight format. A GPU without FP4
            units expands FP4 weights and computes in FP16.
        hbm: HBM bytes/s.
        nvlink, scaleout: One-way bytes/s per GPU inside and beyond the NVLink domain.
        domain: GPUs of an NVLink domain.
    """

    fp16: float
    fp8: float
    fp4: float
    hbm: float
    nvlink: float
    scaleout: float
    domain: int

    def peak(self, stored: Format) -> float:
        """Peak dense FLOP/s with weights stored so."""
        if stored == "fp16":
            return self.fp16
        return self.fp8 if stored == "fp8" else self.fp4


def machine(gpu: GpuSpec, system: SystemSpec) -> Machine:
    """The machine that a catalogue GPU is in a catalogue system."""
    fp16 = gpu.fp16_tflops * 1e12
    return Machine(
        fp16=fp16,
        fp8=gpu.fp8_tflops * 1e12 if gpu.fp8_tflops else fp16,
        fp4=gpu.fp4_tflops * 1e12 if gpu.fp4_tflops else fp16,
        hbm=gpu.hbm_tb_s * 1e12,
        nvlink=gpu.nvlink_gb_s * 1e9,
        scaleout=gpu.scaleout_gb_s * 1e9,
        domain=system.nvlink_domain_gpus,
    )
