"""What a server of a power measurement does, and draws, from its configuration alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.performance import RankWork, RooflineStepModel
from factory.power import StepWatts, gpu_watts, power_law
from factory.scenario import catalog
from factory.validation.power_bench import (
    CONTENDED_STEP_MS,
    TOKENS_PER_STEP,
    Bench,
    Lengths,
    bench_of,
    host_s,
    reached,
)

if TYPE_CHECKING:
    from factory.performance import Segment
    from factory.scenario import Catalog, GpuSpec
    from factory.validation.power_rows import Server

_LEAST_PROMPT_TOKENS = 256
_KERNEL_MFU, _KERNEL_MBU = 0.7, 0.8
"""What a kernel timed alone reaches of the peak it is bound by (assumed)."""
_WIDTH = 8192
"""Length of a kernel's weights or contexts, which the rows do not state (assumed)."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of step.

    Attributes:
        seconds: Of one such step.
        share: Of steps that are so.
        flops, hbm_bytes: Per GPU.
        waiting_s: Seconds in which its GPUs wait for the host.
    """

    seconds: float
    share: float
    flops: float
    hbm_bytes: float
    waiting_s: float


@dataclass(frozen=True, slots=True)
class SteadyState:
    """A server that always runs so many sequences.

    Attributes:
        phases: Steps that only decode, and steps with prompts.
        sequences: Sequences that decode, over the whole server.
        gpus: GPUs of the server.
    """

    phases: tuple[Phase, Phase]
    sequences: float
    gpus: int

    @property
    def step_s(self) -> float:
        """Mean seconds of a step."""
        return sum(one.seconds * one.share for one in self.phases)

    @property
    def tokens_per_s_per_gpu(self) -> float:
        """Answer tokens per second and GPU."""
        return self.sequences / (self.step_s * self.gpus)

    @property
    def itl_ms(self) -> float:
        """Median time between two tokens, ms: that of the kind of step that is more frequent."""
        return max(self.phases, key=lambda one: one.share).seconds * 1e3

    def watts(self, law: StepWatts, clock: float = 1.0) -> float:
        """Mean draw of a GPU, watts."""
        joules = sum(
            one.share
            * one.seconds
            * law(one.seconds, one.flops, one.hbm_bytes, clock, one.waiting_s)
            for one in self.phases
        )
        return joules / self.step_s


class Machine:
    """A server with its step model and its GPUs' power law.

    Args:
        server: What ran.
        book: The catalogue; by default the shipped one.
        bench: In place of the bench of the server's era.
    """

    def __init__(
        self, server: Server, book: Catalog | None = None, bench: Bench | None = None
    ) -> None:
        book = book or catalog()
        self.gpu: GpuSpec = book.gpus[server.gpu]
        self.layout = server.layout
        self.bench: Bench = bench or bench_of(server.era, self.gpu.generation)
        self.extra_ms = CONTENDED_STEP_MS if server.contended else 0.0
        self.model = RooflineStepModel(
            book.models[server.model],
            self.gpu,
            book.systems[server.system],
            server.layout,
            server.weights,
            "fp16",
            reached=reached(
                self.bench, self.gpu, server.layout, server.weights, self.extra_ms, book
            ),
        )
        self.law = power_law(self.gpu, self.model.peak_flops, self.model.peak_hbm)

    def steady(self, batch: float, lengths: Lengths, clock: float = 1.0) -> SteadyState:
        """The steady state of so many running sequences.

        Each of them ends after its answer and another takes its place, so steps see
        ``sequences / answer`` prompts each: some steps have one and the others none or, beyond one
        per step, every step has its share. Where the prompts of a full batch are more than a step
        may hold, fewer sequences decode and the rest wait.

        Args:
            batch: Sequences of the whole server.
            lengths: Of its requests.
            clock: Fraction of the nominal clock.
        """
        ranks = self.layout.dp
        n = batch / ranks
        room = max(TOKENS_PER_STEP - n, _LEAST_PROMPT_TOKENS)
        n = min(n, room / lengths.prompt * lengths.answer)
        rate = n / lengths.answer
        prompts = max(rate, 1.0)
        tokens = max(int(min(prompts * lengths.prompt, room)), 1)
        share = min(rate / (tokens / lengths.prompt), 1.0)
        decoding = self._plan(n, lengths.context, 0, 0.0, clock)
        mixed = self._plan(n, lengths.context, tokens, prompts, clock)
        waiting = host_s(self.bench, self.layout, n, self.extra_ms)
        phases = (
            _phase(decoding, 1.0 - share, waiting),
            _phase(mixed, share, waiting),
        )
        return SteadyState(phases, n * ranks, self.layout.gpus)

    def request(self, batch: float, lengths: Lengths, clock: float = 1.0) -> tuple[Phase, Phase]:
        """The prefill and the mean decode step of a batch run from start to end.

        Shares are 1 and the number of steps that follow.
        """
        n = batch / self.layout.dp
        tokens = max(int(n * lengths.prompt), 1)
        prefill = self._plan(0.0, 0.0, tokens, n, clock)
        decode = self._plan(n, lengths.prompt + 0.5 * lengths.answer, 0, 0.0, clock)
        waiting = host_s(self.bench, self.layout, n, self.extra_ms)
        steps = float(lengths.answer - 1)
        return _phase(prefill, 1.0, waiting), _phase(decode, steps, waiting)

    def _plan(self, n: float, context: float, tokens: int, prompts: float, clock: float) -> Segment:
        decode = max(round(n), 1) if n else 0
        ended = max(round(prompts), 1) if tokens else 0
        work = RankWork(
            decode=decode,
            context=round(decode * context),
            prefill_tokens=tokens,
            prefill_pairs=tokens * (tokens / ended + 1.0) / 2.0 if tokens else 0.0,
            prefill_context=tokens,
            logit_rows=decode + ended,
        )
        return self.model.plan([work] * self.layout.dp, clock, 1)


def _phase(segment: Segment, share: float, waiting_s: float) -> Phase:
    waiting_s = min(waiting_s, segment.base_s)
    return Phase(segment.base_s, share, segment.flops, segment.hbm_bytes, waiting_s)


def kernel_watts(gpu: GpuSpec, operator: str, stored: str, batch: float) -> float:
    """Watts of a kernel timed alone, of which only its kind and tokens are known.

    Products, and experts, read a weight once and use it for each token: the share of compute grows
    with tokens until compute binds. Attention over a prompt computes; a decode step's attention
    reads.

    Args:
        gpu: The GPU.
        operator: gemm, moe, context_attention, generation_attention or one of MLA's.
        stored: Format of its values.
        batch: Tokens, or sequences.
    """
    size = 0.5 if "4" in stored.rsplit("_", 1)[-1] else 1.0 if "8" in stored else 2.0
    fp8, fp4 = gpu.fp8_tflops or gpu.fp16_tflops, gpu.fp4_tflops or gpu.fp16_tflops
    peak = {2.0: gpu.fp16_tflops, 1.0: fp8, 0.5: fp4}[size]
    if "generation" in operator:
        intensity = 8.0
    elif "context" in operator:
        intensity = 2.0 * _WIDTH
    else:
        intensity = 2.0 * batch / size
    bound = intensity * gpu.hbm_tb_s / peak
    mfu, mbu = _KERNEL_MFU * min(bound, 1.0), _KERNEL_MBU * min(1.0 / bound, 1.0)
    return gpu_watts(gpu, 1.0, mfu, mbu, 1.0)
