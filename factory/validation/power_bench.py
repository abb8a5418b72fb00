"""The benches on which GPU power was measured: their engines' host time, and their requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.performance.hardware import efficiency

if TYPE_CHECKING:
    from factory.performance.architecture import Format
    from factory.performance.hardware import Efficiency
    from factory.performance.layout import Layout
    from factory.scenario import Catalog, GpuSpec

TOKENS_PER_STEP = 8192
"""Tokens of a step (``max-num-batched-tokens`` in the configurations of the ML.ENERGY Benchmark
v3, github.com/ml-energy/benchmark, 2025)."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Requests of a data set.

    Attributes:
        prompt, answer: Mean lengths, tokens.
    """

    prompt: int
    answer: int

    @property
    def context(self) -> float:
        """KV tokens of a running sequence, mean over sequences and time.

        Three quarters of an answer, not half: long answers run longer, so more of those are seen
        (``(1 + CV^2) / 2`` at a coefficient of variation of 0.7, assumed).
        """
        return self.prompt + 0.75 * self.answer


LENGTHS: Mapping[str, Lengths] = {
    "lm-arena-chat": Lengths(570, 717),
    "gpqa": Lengths(250, 6988),
    "sourcegraph-fim": Lengths(460, 100),
    "chat": Lengths(200, 250),
    "azure": Lengths(1155, 211),
}
"""By data set. Answers of lm-arena-chat and gpqa: means that ML.ENERGY publishes (Chung et al.,
arXiv:2601.22076, 2026). Prompts of lm-arena-chat and sourcegraph-fim: fitted, one number each, to
throughput and median ITL on H100 (``experiments/power_fit``). The rest is assumed: GPQA's
questions; one-line completions; first turns of ShareGPT (ML.ENERGY v2), filtered to short ones;
powertrace-sim's conversations as Azure's of 2023."""

DEFAULT_DATASET = "lm-arena-chat"


@dataclass(frozen=True, slots=True)
class Bench:
    """An engine of an era, on a GPU generation: what it adds to the kernels of the catalogue.

    Attributes:
        step_ms: Host time of a step that nothing hides, ms.
        worker_ms: More of it for each GPU beyond the first, ms.
        sequence_us: More of it for each running sequence of a rank, us.
        layer_us: Fixed time of a layer, us.
        kernel_time, prefill_attention_time, expert_time: Factors on kernels' times.
        expert_fp8_us: Fixed time of a layer of FP8 experts in parallel, us.
        mxfp4_expert_time: In place of ``expert_time`` for experts in MXFP4.
    """

    step_ms: float
    sequence_us: float
    worker_ms: float = 0.0
    layer_us: float = 0.0
    kernel_time: float = 1.0
    prefill_attention_time: float = 1.0
    expert_time: float = 1.0
    expert_fp8_us: float = 0.0
    mxfp4_expert_time: float = 1.0


VLLM_0_5 = Bench(step_ms=5.5, worker_ms=8.6, sequence_us=411.0)
VLLM_0_11: Mapping[str, Bench] = {
    "hopper": Bench(
        step_ms=1.95,
        sequence_us=21.0,
        layer_us=1.0,
        kernel_time=0.92,
        prefill_attention_time=0.79,
        expert_time=1.54,
        expert_fp8_us=64.0,
        mxfp4_expert_time=0.77,
    ),
    "blackwell": Bench(
        step_ms=2.4,
        sequence_us=27.0,
        layer_us=1.0,
        kernel_time=0.84,
        prefill_attention_time=0.88,
        expert_time=1.8,
        expert_fp8_us=102.0,
        mxfp4_expert_time=0.35,
    ),
}
CONTENDED_STEP_MS = 22.6
"""Host time of a step beyond the bench's, where many one-GPU servers of a reasoning task share the
host of B200 (GPQA; gpt-oss apart). Fitted; the cause is not stated: each server runs eight API
processes there, and power is as low as waiting GPUs draw."""

ERAS = ("vllm-0.5", "vllm-0.11", "generic")
"""vLLM 0.5.4 of ML.ENERGY v2 (2024-09: Python on the step's path, one process per GPU), vLLM 0.11.1
of v3 (2025-12: asynchronous scheduling), and the catalogue's ``generic``. The numbers of the first
two are fitted to throughput and median ITL of these benches (``experiments/power_fit``); step times
of nothing else use them."""


def bench_of(era: str, generation: str) -> Bench:
    """The bench of an era on a generation; of vLLM 0.11 those that are not Blackwell as Hopper."""
    if era == "vllm-0.5":
        return VLLM_0_5
    if era == "generic":
        return Bench(0.5, 0.0)
    return VLLM_0_11["blackwell" if generation == "blackwell" else "hopper"]


def host_s(bench: Bench, layout: Layout, sequences: float, extra_ms: float = 0.0) -> float:
    """Seconds of a step in which its GPUs wait for the host.

    Args:
        bench: The engine.
        layout: Parallel layout.
        sequences: Running sequences of one rank.
        extra_ms: More of it, ms.
    """
    fixed_ms = bench.step_ms + bench.worker_ms * (layout.gpus - 1) + extra_ms
    return fixed_ms * 1e-3 + sequences * bench.sequence_us * 1e-6


def reached(
    bench: Bench,
    gpu: GpuSpec,
    layout: Layout,
    weights: Format,
    extra_ms: float = 0.0,
    book: Catalog | None = None,
) -> Efficiency:
    """What kernels reach on a bench, for a step model.

    Args:
        bench: The engine.
        gpu: The GPU; its generation says which kernels.
        layout: Parallel layout.
        weights: Format of the weights; ``fp4`` is MXFP4 on these benches.
        extra_ms: Host time beyond the bench's, ms.
        book: The catalogue; by default the shipped one.
    """
    plain = efficiency(gpu.generation, "generic", book)
    engine = dataclasses.replace(
        plain.engine,
        step_overhead_ms=host_s(bench, layout, 0.0, extra_ms) * 1e3,
        # A step model's sequences are those of one microbatch; one host serves all of them.
        sequence_overhead_us=bench.sequence_us * layout.pp,
        layer_overhead_us=bench.layer_us,
        kernel_time=bench.kernel_time,
        prefill_attention_time=bench.prefill_attention_time,
        expert_time=bench.mxfp4_expert_time if weights == "fp4" else bench.expert_time,
        expert_parallel_fp8_us=bench.expert_fp8_us,
    )
    return dataclasses.replace(plain, engine=engine)
