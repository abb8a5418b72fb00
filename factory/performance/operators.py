"""Seconds, FLOPs and bytes of operators, over an array of step sizes at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from factory.performance.architecture import Format, Matrix, format_bytes
from factory.performance.hardware import Efficiency, Machine

Vector = npt.NDArray[np.float64]


class OperatorTally:
    """Adds up operators for one GPU, one entry per step size.

    An operator takes the longer of its compute and its memory time, and its kernel's fixed time.
    Compute slows with the clock; memory, links and fixed times do not.

    Args:
        machine: The GPU and its links.
        efficiency: Achieved fractions and fixed times.
        clock: Fraction of the nominal clock.
        size: Entries of the arrays.
    """

    def __init__(self, machine: Machine, efficiency: Efficiency, clock: float, size: int) -> None:
        self.machine = machine
        self.efficiency = efficiency
        self.clock = clock
        self.seconds: Vector = np.zeros(size)
        self.flops: Vector = np.zeros(size)
        self.hbm: Vector = np.zeros(size)
        self.net: Vector = np.zeros(size)

    def gemm(self, rows: Vector, matrix: Matrix, tp: int) -> None:
        """Products of ``rows`` tokens with a matrix split over ``tp`` GPUs, in all its layers."""
        inputs = float(matrix.inputs) / (tp if matrix.split == "rows" else 1)
        outputs = float(matrix.outputs) / (tp if matrix.split == "columns" else 1)
        layers, eff = matrix.layers, self.efficiency
        flops = (2.0 * inputs * outputs * layers) * rows
        stored = inputs * outputs * layers * format_bytes(matrix.format)
        moved = stored + (2.0 * layers * (inputs + outputs)) * rows
        compute = flops / (self.machine.peak(matrix.format) * eff.gemm_compute * self.clock)
        self._add(np.maximum(compute, moved / (self.machine.hbm * eff.gemm_hbm)), flops, moved)
        self.seconds += layers * eff.gemm_s

    def experts(
        self,
        tokens: Vector,
        *,
        layers: int,
        experts: int,
        per_token: int,
        parameters: int,
        hidden: int,
        stored: Format,
        ep: int,
        expert_tp: int,
    ) -> None:
        """Routed experts of the busiest GPU.

        The weights read are those of the distinct experts that ``tokens`` uniform choices of
        ``per_token`` out of ``experts`` touch: ``experts * (1 - (1 - per_token/experts)^tokens)``.

        Args:
            tokens: Tokens over all ranks.
            layers: Layers with experts.
            experts: Experts in a layer.
            per_token: Experts that a token is sent to.
            parameters: Parameters of one expert.
            hidden: Width of a token.
            stored: Format of the weights.
            ep: Groups that the experts are spread over.
            expert_tp: GPUs that split one expert.
        """
        eff = self.efficiency
        skew = eff.expert_imbalance if ep > 1 else 1.0
        rows = tokens * (per_token / ep)
        untouched = np.power(1.0 - per_token / experts, tokens)
        distinct = (experts / ep) * (1.0 - untouched)
        flops = rows * (2.0 * parameters * layers / expert_tp)
        moved = distinct * (parameters * layers / expert_tp * format_bytes(stored))
        moved = moved + rows * (4.0 * hidden * layers)
        compute = flops * skew / (self.machine.peak(stored) * eff.expert_compute * self.clock)
        self._add(np.maximum(compute, moved / (self.machine.hbm * eff.expert_hbm)), flops, moved)
        self.seconds += 2 * layers * eff.gemm_s

    def stream(self, moved: Vector, kernels: int) -> None:
        """Element-wise traffic of ``moved`` bytes in so many kernels."""
        eff = self.efficiency
        self._add(moved / (self.machine.hbm * eff.stream_hbm), 0.0, moved)
        self.seconds += kernels * eff.stream_s

    def all_reduce(self, moved: Vector, gpus: int, times: int) -> None:
        """All-reduce of ``moved`` bytes over ``gpus``, so often; in two levels across domains.

        Ring volume ``2 (g - 1) / g`` per GPU (Patarasuk and Yuan, 2009); beyond a domain each GPU
        reduces its own share of the data across domains.
        """
        if gpus == 1:
            return
        machine, eff = self.machine, self.efficiency
        inner = min(gpus, machine.domain)
        outer = -(-gpus // inner)
        near = moved * (2.0 * (inner - 1) / inner)
        far = moved * (2.0 * (outer - 1) / outer / inner)
        seconds = near / (machine.nvlink * eff.link) + far / (machine.scaleout * eff.link)
        fixed = eff.nvlink_s if outer == 1 else eff.nvlink_s + eff.scaleout_s
        self.seconds += times * (seconds + fixed)
        self.net += times * (near + far)

    def all_to_all(self, moved: Vector, gpus: int, times: int) -> None:
        """Exchange: each GPU sends ``moved`` bytes evenly over ``gpus``, itself included."""
        if gpus == 1:
            return
        machine, eff = self.machine, self.efficiency
        inner = min(gpus, machine.domain)
        near = moved * ((inner - 1) / gpus)
        far = moved * ((gpus - inner) / gpus)
        seconds = np.maximum(near / machine.nvlink, far / machine.scaleout) / eff.link
        fixed = eff.nvlink_s if gpus == inner else eff.scaleout_s
        self.seconds += times * (seconds + fixed)
        self.net += times * (near + far)

    def fixed(self, seconds: float) -> None:
        """Time that depends on nothing."""
        self.seconds += seconds

    def plus(self, other: OperatorTally) -> OperatorTally:
        """Adds another tally's totals to this one, and is this one."""
        self.seconds += other.seconds
        self.flops += other.flops
        self.hbm += other.hbm
        self.net += other.net
        return self

    def _add(self, seconds: Vector, flops: Vector | float, moved: Vector) -> None:
        self.seconds += seconds
        self.flops += flops
        self.hbm += moved


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
