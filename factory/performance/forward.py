"""One forward pass of a model on a machine: its operators, tallied by how many tokens go in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factory.performance import architecture as arch
from factory.performance.operators import OperatorTally, Vector

if TYPE_CHECKING:
    from factory.performance.architecture import Format
    from factory.performance.hardware import Efficiency, Machine
    from factory.performance.layout import Layout
    from factory.scenario.specs import ModelSpec


class ForwardPass:
    """Operators of a step that do not depend on context, as functions of token counts.

    Args:
        model: The architecture.
        machine: The GPU and its links.
        efficiency: Achieved fractions and fixed times.
        layout: How the GPUs share the model.
        weights: Format of the weights.
        kv_cache: Format of the KV cache.
        step_overhead_s: Host time of every step that nothing hides, seconds.
    """

    def __init__(
        self,
        model: ModelSpec,
        machine: Machine,
        efficiency: Efficiency,
        layout: Layout,
        weights: Format,
        kv_cache: Format,
        step_overhead_s: float,
    ) -> None:
        self.model = model
        self.machine = machine
        self.efficiency = efficiency
        self.layout = layout
        self.weights = weights
        self.kv_cache = kv_cache
        self.step_overhead_s = step_overhead_s
        self._matrices = (
            *arch.attention_matrices(model, weights),
            *arch.mlp_matrices(model, weights),
        )

    def body(self, tokens: Vector, clock: float) -> OperatorTally:
        """What a rank does per token, attention and LM head apart; experts too if it is alone."""
        return self._staged(tokens, clock, self._body)

    def experts(self, tokens: Vector, clock: float) -> OperatorTally:
        """Routed experts for the tokens of all ranks together."""
        return self._staged(tokens, clock, self._experts)

    def decoding(self, tokens: Vector, clock: float) -> OperatorTally:
        """What decoding sequences add whatever their context: the kernels, MLA's absorption."""
        return self._staged(tokens, clock, self._decoding)

    def head(self, rows: Vector, clock: float) -> OperatorTally:
        """The LM head and its gathering for so many rows."""
        return self._staged(rows, clock, self._head)

    def common(self, tokens: Vector, clock: float) -> OperatorTally:
        """Body and LM head of as many tokens: what a mixed step shares with a pure decode step."""
        return self.body(tokens, clock).plus(self.head(tokens, clock))

    def decode_step(self, tokens: Vector, clock: float) -> OperatorTally:
        """All of a pure decode step but attention over context (and the experts of other ranks)."""
        return self.common(tokens, clock).plus(self.decoding(tokens, clock))

    def stage_factor(self, count: Vector) -> Vector:
        """Times that the seconds of one microbatch through all layers make a pipeline lap.

        ``count`` tokens form ``min(count, pp)`` microbatches. A lap is the longer of one of them
        through all stages and all of them through the slowest stage, the one of
        ``ceil(layers / pp)`` layers.
        """
        pp, layers = self.layout.pp, self.model.layers
        slowest = -(-layers // pp) / layers
        return np.maximum(1.0, np.minimum(count, pp) * slowest)

    def _staged(self, count: Vector, clock: float, operators: _Operators) -> OperatorTally:
        pp = self.layout.pp
        micro = count if pp == 1 else np.ceil(count / pp)
        tally = OperatorTally(self.machine, self.efficiency, clock, len(count))
        operators(tally, micro)
        if pp > 1:
            busy = np.minimum(count, pp) / pp
            tally.seconds *= self.stage_factor(count)
            tally.flops *= busy
            tally.hbm *= busy
            tally.net *= busy
        return tally

    def _body(self, tally: OperatorTally, tokens: Vector) -> None:
        model, layout = self.model, self.layout
        tally.fixed(self.step_overhead_s)
        for matrix in self._matrices:
            tally.gemm(tokens, matrix, layout.tp)
        self._stream(tally, tokens)
        residual = tokens * (2.0 * model.hidden)
        sparse = arch.moe_layers(model)
        tally.all_reduce(residual, layout.tp, model.layers + (model.layers - sparse))
        if sparse and layout.dp == 1:
            self._experts(tally, tokens)
            tally.all_reduce(residual, layout.tp, sparse)
        elif sparse:
            self._dispatch(tally, tokens, sparse)
        if layout.pp > 1:
            reach = layout.gpus <= self.machine.domain
            link = self.machine.nvlink if reach else self.machine.scaleout
            fixed = self.efficiency.nvlink_s if reach else self.efficiency.scaleout_s
            tally.seconds += (layout.pp - 1) * (residual / (layout.tp * link) + fixed)
            tally.net += residual / layout.tp

    def _stream(self, tally: OperatorTally, tokens: Vector) -> None:
        """Norms with residuals (read and written), activations, and the KV that is written."""
        model, tp = self.model, self.layout.tp
        sparse = arch.moe_layers(model)
        width = (model.layers - sparse) * model.dense_intermediate
        width += sparse * model.shared_experts * model.moe_intermediate
        per_token = 2.0 * model.layers * 4 * model.hidden * 2.0 + 3.0 * width / tp * 2.0
        per_token += model.layers * kv_bytes_per_layer(model, self.kv_cache, tp)
        tally.stream(tokens * per_token, 3 * model.layers)

    def _dispatch(self, tally: OperatorTally, tokens: Vector, sparse: int) -> None:
        """Tokens to their experts (one byte per value unless weights are FP16) and back in BF16."""
        model, layout = self.model, self.layout
        groups = layout.ep * (1.0 - (1.0 - 1.0 / layout.ep) ** model.experts_per_token)
        values = tokens * (groups * model.hidden / layout.tp)
        there = 2.0 if self.weights == "fp16" else 1.0
        tally.all_to_all(values * there, layout.stage_gpus, sparse)
        tally.all_to_all(values * 2.0, layout.stage_gpus, sparse)

    def _experts(self, tally: OperatorTally, tokens: Vector) -> None:
        model, layout = self.model, self.layout
        if not model.experts:
            return
        tally.experts(
            tokens,
            layers=arch.moe_layers(model),
            experts=model.experts,
            per_token=model.experts_per_token,
            parameters=arch.expert_parameters(model),
            hidden=model.hidden,
            stored=self.weights,
            ep=layout.ep,
            expert_tp=layout.expert_tp,
        )

    def _decoding(self, tally: OperatorTally, tokens: Vector) -> None:
        expansion = arch.mla_expansion(self.model, self.weights)
        if expansion is not None:
            tally.gemm(tokens, expansion, self.layout.tp)
        tally.fixed(self.model.layers * self.efficiency.attention_s)

    def _head(self, tally: OperatorTally, rows: Vector) -> None:
        tally.gemm(rows, arch.head_matrix(self.model), self.layout.tp)


if TYPE_CHECKING:
    from collections.abc import Callable

    _Operators = Callable[[OperatorTally, Vector], None]


def kv_bytes_per_layer(model: ModelSpec, kv_cache: Format, tp: int) -> float:
    """Bytes of a token's KV in a layer on one GPU: heads are split, then copied; MLA is copied."""
    share = 1.0 if model.attention == "mla" else max(1.0 / tp, 1.0 / model.kv_heads)
    return arch.kv_values_per_layer(model) * arch.VALUE_BYTES[kv_cache] * share
