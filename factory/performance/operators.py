"""Seconds, FLOPs and bytes of operators, over an array of step sizes at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from factory.performance import architecture as arch
from factory.performance.architecture import Format, Matrix, format_bytes
from factory.performance.hardware import Efficiency, Machine

Vector = npt.NDArray[np.float64]


SHARPNESS = 2.5
"""Exponent of the sum of compute and memory time: their maximum, rounded off where they meet."""


class OperatorTally:
    """Adds up operators for one GPU, one entry per step size.

    The laws and their constants are those of ``factory.scenario.kernels``. Compute slows with the
    clock; memory, links and fixed times do not.

    Args:
        machine: The GPU and its links.
        efficiency: What kernels reach and the engine adds.
        clock: Fraction of the nominal clock.
        size: Entries of the arrays.
    """

    def __init__(self, machine: Machine, efficiency: Efficiency, clock: float, size: int) -> None:
        self.machine = machine
        self.efficiency = efficiency
        self.kernels = efficiency.kernels
        self.clock = clock
        self.seconds: Vector = np.zeros(size)
        self.flops: Vector = np.zeros(size)
        self.hbm: Vector = np.zeros(size)
        self.net: Vector = np.zeros(size)
        self.host: Vector = np.zeros(size)

    def gemm(self, rows: Vector, matrix: Matrix, tp: int, stored: str) -> None:
        """Products of ``rows`` tokens with a matrix split over ``tp`` GPUs, in all its layers.

        Args:
            rows: Tokens.
            matrix: The matrix; ``layers`` of them, of ``copies`` in each.
            tp: GPUs that split it.
            stored: Storage of its weights: which product it is.
        """
        law = self.efficiency.products[stored]
        machine, layers = self.machine, matrix.layers
        inputs = float(matrix.inputs) / (tp if matrix.split == "rows" else 1)
        outputs = float(matrix.outputs) / (tp if matrix.split == "columns" else 1)
        width = arch.VALUE_BYTES[matrix.format]
        weights = inputs * outputs * layers * format_bytes(matrix.format)
        moved = weights + layers * (width * inputs + 2.0 * outputs) * rows
        padded = (2.0 * layers * outputs * (inputs + law.pad_inner)) * (rows + law.pad_rows)
        compute = padded / (machine.peak(stored) * law.compute * self.clock)
        seconds = longer(compute, moved / (machine.hbm * law.memory))
        if matrix.format != "fp16":
            seconds += rows * (layers * inputs * (2.0 + width) / (machine.hbm * law.quantize))
        seconds += layers * law.launch_us * 1e-6
        flops = (2.0 * inputs * outputs * layers) * rows
        self._add(self._at_least(seconds, flops, stored, moved), flops, moved)

    def experts(
        self,
        tokens: Vector,
        *,
        layers: int,
        experts: int,
        per_token: int,
        width: int,
        hidden: int,
        weights: Format,
        stored: str,
        ep: int,
        expert_tp: int,
    ) -> None:
        """Routed experts of the busiest GPU.

        Args:
            tokens: Tokens over all ranks.
            layers: Layers with experts.
            experts: Experts in a layer.
            per_token: Experts that a token is sent to.
            width: Inner width of an expert (gate, up and down projections).
            hidden: Width of a token.
            weights: Format of the weights.
            stored: Their storage: which product it is.
            ep: Groups that the experts are spread over.
            expert_tp: GPUs that split one expert.
        """
        law, machine, engine = (
            self.efficiency.products[stored],
            self.machine,
            self.efficiency.engine,
        )
        spread = self.kernels.experts_dispersion
        skew = float(ep) ** engine.expert_skew
        mean = tokens * (per_token / experts)
        distinct = (experts / ep) * (1.0 - (1.0 + mean / spread) ** -spread)
        # The experts of one token are all different.
        distinct = np.maximum(distinct, np.minimum(tokens, 1.0) * (per_token / ep))
        rows = tokens * (per_token / ep)
        busiest = rows * skew
        inner = width / expert_tp
        parameters = 3.0 * hidden * inner * layers
        each = layers * (2.0 * hidden + 3.0 * inner) * arch.VALUE_BYTES[weights]
        moved = distinct * (parameters * format_bytes(weights)) + busiest * each
        padded = 6.0 * hidden * (inner + law.experts_pad_inner) * layers
        compute = padded * (busiest + distinct * law.experts_pad_rows) * engine.expert_compute_time
        seconds = longer(
            compute / (machine.peak(stored) * law.experts_compute * self.clock),
            moved / (machine.hbm * law.experts_memory),
        )
        seconds += busiest * (layers * 3.0 * hidden / (machine.hbm * law.experts_permute))
        seconds += layers * law.experts_launch_us * 1e-6
        seconds = self._at_least(
            seconds * engine.expert_time, busiest * (2.0 * parameters), stored, moved
        )
        self._add(seconds, rows * (2.0 * parameters), moved)
        if ep > 1 and weights == "fp8":
            self.seconds += layers * engine.expert_parallel_fp8_us * 1e-6

    def stream(self, moved: Vector, kernels: int) -> None:
        """Element-wise traffic of ``moved`` bytes in so many kernels."""
        law = self.kernels
        seconds = moved / (self.machine.hbm * law.stream_memory)
        seconds += kernels * law.stream_launch_us * 1e-6
        self._add(self._at_least(seconds, 0.0, "fp16", moved), 0.0, moved)

    def all_reduce(self, moved: Vector, gpus: int, times: int) -> None:
        """All-reduce of ``moved`` bytes over ``gpus``, so often.

        Ring volume ``2 (g - 1) / g`` per GPU (Patarasuk and Yuan, 2009); beyond a domain the rings
        also cross the network, as many as adapters take part.
        """
        if gpus == 1:
            return
        machine, law = self.machine, self.kernels
        inner = min(gpus, machine.domain)
        outer = -(-gpus // inner)
        near = moved * (2.0 * (inner - 1) / inner)
        rings = min(float(inner), law.scaleout_rails)
        far = moved * (2.0 * (gpus - 1) / gpus / rings if outer > 1 else 0.0)
        ramp = law.reduce_ramp_us * 1e-6 * near / (near + law.reduce_ramp_mb * 1e6)
        seconds = ramp + near / (machine.nvlink * law.link) + far / (machine.scaleout * law.link)
        fixed = law.reduce_launch_us + (0.0 if outer == 1 else law.scaleout_launch_us)
        self.seconds += times * (seconds + fixed * 1e-6)
        self.net += times * (near + far)

    def exchange(self, moved: Vector, gpus: int, times: int) -> None:
        """Exchange in which a GPU receives ``moved`` bytes, evenly from the others of ``gpus``."""
        if gpus == 1:
            return
        machine, law = self.machine, self.kernels
        inner = min(gpus, machine.domain)
        near = moved * ((inner - 1) / (gpus - 1))
        far = moved - near
        seconds = np.maximum(near / machine.nvlink, far / machine.scaleout) / law.link
        fixed = law.exchange_launch_us + (0.0 if gpus == inner else law.scaleout_launch_us)
        shown = 1.0 - self.efficiency.engine.exchange_overlap
        self.seconds += (times * shown) * (seconds + fixed * 1e-6)
        self.net += times * moved

    def fixed(self, seconds: Vector | float) -> None:
        """Time of kernels that depends on nothing."""
        self.seconds += seconds

    def waited(self, seconds: Vector | float) -> None:
        """Time of the host, in which the GPU waits."""
        self.host += seconds

    def plus(self, other: OperatorTally) -> OperatorTally:
        """Adds another tally's totals to this one, and is this one."""
        self.seconds += other.seconds
        self.flops += other.flops
        self.hbm += other.hbm
        self.net += other.net
        self.host += other.host
        return self

    def _at_least(
        self, seconds: Vector, flops: Vector | float, stored: str, moved: Vector
    ) -> Vector:
        """Seconds that an engine's ``kernel_time`` does not take below the roofline."""
        machine, engine = self.machine, self.efficiency.engine
        least = np.maximum(flops / (machine.peak(stored) * self.clock), moved / machine.hbm)
        raised: Vector = np.maximum(seconds, least / engine.kernel_time)
        return raised

    def _add(self, seconds: Vector, flops: Vector | float, moved: Vector) -> None:
        self.seconds += seconds
        self.flops += flops
        self.hbm += moved


def longer(compute: Vector, memory: Vector) -> Vector:
    """Seconds of a kernel from its compute and its memory seconds (see ``SHARPNESS``)."""
    both: Vector = (compute**SHARPNESS + memory**SHARPNESS) ** (1.0 / SHARPNESS)
    return both


Row = tuple[float, float, float, float, float]


class CostTable:
    """Costs by an integer size, worked out many sizes at a time when first asked for.

    Each row is ``(seconds, seconds at full clock, flops, hbm bytes, net bytes)``. A list lookup is
    what makes a plan cheap whatever sizes occur, with no cache to miss. Up to 4,096 rows are exact;
    larger sizes are linear between multiples of 64, so a table stays under 2 MiB.

    Args:
        evaluate: Costs of an array of sizes at a clock.
        clock: Clock of the first column.
    """

    EXACT = 4096
    SPAN = 1024
    STRIDE = 64

    def __init__(self, evaluate: Callable[[Vector, float], OperatorTally], clock: float) -> None:
        self._evaluate = evaluate
        self._clock = clock
        self._coarse: list[Row] = []
        self.rows: list[Row] = self._rows(0, self.SPAN, 1)
        self.rows[0] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def __call__(self, size: int) -> Row:
        """Costs of a step of this size; nothing for size 0."""
        rows = self.rows
        if size < len(rows):
            return rows[size]
        if size >= self.EXACT:
            return self._between(size)
        while size >= len(rows):
            rows.extend(self._rows(len(rows), self.SPAN, 1))
        return rows[size]

    def _between(self, size: int) -> Row:
        stride, coarse = self.STRIDE, self._coarse
        cell, rest = divmod(size - self.EXACT, stride)
        while cell + 1 >= len(coarse):
            coarse.extend(self._rows(self.EXACT + len(coarse) * stride, self.SPAN // 4, stride))
        a0, a1, a2, a3, a4 = coarse[cell]
        b0, b1, b2, b3, b4 = coarse[cell + 1]
        t = rest / stride
        return (
            a0 + (b0 - a0) * t,
            a1 + (b1 - a1) * t,
            a2 + (b2 - a2) * t,
            a3 + (b3 - a3) * t,
            a4 + (b4 - a4) * t,
        )

    def _rows(self, first: int, count: int, stride: int) -> list[Row]:
        sizes = np.arange(count, dtype=np.float64) * stride + first
        tally = self._evaluate(sizes, self._clock)
        full = tally if self._clock == 1.0 else self._evaluate(sizes, 1.0)
        columns = (tally.seconds, full.seconds, tally.flops, tally.hbm, tally.net)
        return list(zip(*(column.tolist() for column in columns), strict=True))
