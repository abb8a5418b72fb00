"""One forward pass of a model on a machine: its operators, tallied by how many tokens go in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from factory.performance import architecture as arch
from factory.performance.operators import OperatorTally, Vector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from factory.performance.architecture import Format, Matrix
    from factory.performance.hardware import Efficiency, Machine
    from factory.performance.layout import Layout
    from factory.scenario.specs import ModelSpec

    _Operators = Callable[[OperatorTally, Vector], None]

GRAPH_TOKENS = 1024
"""Tokens of a rank's step up to which engines replay a captured graph, in which shared experts run
beside the routed ones (assumed: between vLLM's 512 and TensorRT-LLM's 2,048)."""


_SIDE_BY_SIDE = {"q_a_proj", "kv_a_proj", "in_proj_qkv", "in_proj_z", "in_proj_ba"}


class ForwardPass:
    """Operators of a step that do not depend on context, as functions of token counts.

    Args:
        model: The architecture.
        machine: The GPU and its links.
        efficiency: What kernels reach and the engine adds.
        layout: How the GPUs share the model.
        weights: Format of the weights.
        kv_cache: Format of the KV cache.
        step_overhead_s: Host time of every step that nothing hides, seconds.
        draft_tokens: Tokens that speculative decoding drafts per sequence and step; 0 if none.
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
        draft_tokens: int = 0,
    ) -> None:
        self.model = model
        self.machine = machine
        self.efficiency = efficiency
        self.layout = layout
        self.weights = weights
        self.kv_cache = kv_cache
        self.step_overhead_s = step_overhead_s
        self.draft_tokens = draft_tokens
        self.verified = draft_tokens + 1
        self._body_of = _Body(model, weights)
        self._draft_of = None
        if draft_tokens:
            stored = arch.mtp_format(model, weights)
            self._draft_of = _Body(arch.mtp_layer(model), stored, (arch.mtp_projection(model),))

    def body(self, tokens: Vector, clock: float) -> OperatorTally:
        """What a rank does per token, attention and LM head apart; experts too if it is alone."""
        return self._staged(tokens, clock, self._body)

    def experts(self, tokens: Vector, clock: float) -> OperatorTally:
        """Routed experts for the tokens of all ranks together."""
        return self._staged(tokens, clock, self._all_experts)

    def draft_experts(self, sequences: Vector, clock: float) -> OperatorTally:
        """Routed experts of the draft passes, for the decoding sequences of all ranks together."""
        return self._staged(sequences, clock, self._drafted_experts)

    def decoding(self, sequences: Vector, clock: float) -> OperatorTally:
        """What decoding sequences add whatever their context: kernels, absorption, drafts."""
        return self._staged(sequences, clock, self._decoding)

    def head(self, rows: Vector, clock: float) -> OperatorTally:
        """The LM head for so many rows."""
        return self._staged(rows, clock, self._head)

    def common(self, sequences: Vector, clock: float) -> OperatorTally:
        """Body and LM head of decoding sequences: what a mixed step shares with a decode step."""
        rows = sequences * self.verified
        return self.body(rows, clock).plus(self.head(rows, clock))

    def decode_step(self, sequences: Vector, clock: float) -> OperatorTally:
        """All of a pure decode step but attention over context (and the experts of other ranks)."""
        return self.common(sequences, clock).plus(self.decoding(sequences, clock))

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
        tally.seconds *= self.efficiency.engine.kernel_time
        if pp > 1:
            busy = np.minimum(count, pp) / pp
            tally.seconds *= self.stage_factor(count)
            tally.flops *= busy
            tally.hbm *= busy
            tally.net *= busy
            tally.host *= self.stage_factor(count)
        tally.seconds += tally.host
        return tally

    def _body(self, tally: OperatorTally, tokens: Vector) -> None:
        layout = self.layout
        tally.waited(self.step_overhead_s)
        tally.fixed(self.model.layers * self.efficiency.engine.layer_overhead_us * 1e-6)
        self._body_of.add(tally, tokens, layout, self.kv_cache)
        residual = tokens * (2.0 * self.model.hidden)
        tally.all_reduce(residual, layout.tp, 1)
        if layout.pp > 1:
            law = self.efficiency.kernels
            reach = layout.gpus <= self.machine.domain
            link = self.machine.nvlink if reach else self.machine.scaleout
            fixed = law.exchange_launch_us + (0.0 if reach else law.scaleout_launch_us)
            hop = residual / (layout.tp * link * law.link) + fixed * 1e-6
            tally.fixed((layout.pp - 1) * hop)
            tally.net += residual / layout.tp

    def _all_experts(self, tally: OperatorTally, tokens: Vector) -> None:
        self._body_of.add_experts(tally, tokens, self.layout)

    def _drafted_experts(self, tally: OperatorTally, sequences: Vector) -> None:
        if self._draft_of is not None:
            for _ in range(self.draft_tokens):
                self._draft_of.add_experts(tally, sequences, self.layout)

    def _decoding(self, tally: OperatorTally, sequences: Vector) -> None:
        law, engine = self.efficiency.kernels, self.efficiency.engine
        layers = arch.attention_layers(self.model)
        rows = sequences * self.verified
        self._absorption(tally, rows, self.model)
        tally.fixed(layers * law.decode_launch_us * 1e-6)
        tally.waited(sequences * (engine.sequence_overhead_us * 1e-6))
        self._recurrence(tally, sequences)
        if self._draft_of is not None:
            # Each draft is one pass of one MTP layer and the LM head over the sequences.
            for _ in range(self.draft_tokens):
                self._draft_of.add(tally, sequences, self.layout, self.kv_cache)
                self._absorption(tally, sequences, arch.mtp_layer(self.model))
                tally.fixed(law.decode_launch_us * 1e-6)
                self._head(tally, sequences)

    def _absorption(self, tally: OperatorTally, rows: Vector, model: ModelSpec) -> None:
        """MLA's expansion as two batched products around attention, 16-bit or as stored."""
        expansion = arch.mla_expansion(model, self.weights)
        if expansion is None:
            return
        half = expansion.outputs // 2
        both = replace(expansion, outputs=half, layers=2 * expansion.layers)
        tally.gemm(rows, both, self.layout.tp, storage(model, both.format))

    def _recurrence(self, tally: OperatorTally, sequences: Vector) -> None:
        """Linear attention in a decode step: each sequence's state is read and written."""
        model = self.model
        if model.linear_layers:
            state = arch.state_bytes_per_sequence(model) / self.layout.tp
            tally.stream(sequences * (2.0 * state), 2 * model.linear_layers)
            flops = model.linear_layers * arch.linear_attention_token_flops(model)
            tally.flops += sequences * (self.verified * flops / self.layout.tp)

    def _head(self, tally: OperatorTally, rows: Vector) -> None:
        tally.gemm(rows, arch.head_matrix(self.model), self.layout.tp, "fp16")


class _Body:
    """The layers of a model, attention over context apart."""

    def __init__(self, model: ModelSpec, weights: Format, more: tuple[Matrix, ...] = ()) -> None:
        self.model = model
        self.sparse = arch.moe_layers(model)
        matrices = (*arch.attention_matrices(model, weights), *arch.mlp_matrices(model, weights))
        shared = [m for m in matrices if m.name.startswith("shared_")]
        self._matrices = _fused([*more, *(m for m in matrices if m not in shared)])
        self._shared = _fused(shared)
        self._experts = arch.stored_format(model, "experts", weights)

    def add(self, tally: OperatorTally, tokens: Vector, layout: Layout, kv_cache: Format) -> None:
        """Adds the layers of one rank; routed experts too if it is alone."""
        model, sparse = self.model, self.sparse
        for matrix in self._matrices:
            tally.gemm(tokens, matrix, layout.tp, storage(model, matrix.format))
        self._stream(tally, tokens, layout, kv_cache)
        residual = tokens * (2.0 * model.hidden)
        tally.all_reduce(residual, layout.tp, model.layers + (model.layers - sparse))
        if not sparse:
            return
        shared = OperatorTally(tally.machine, tally.efficiency, tally.clock, len(tokens))
        for matrix in self._shared:
            # Ranks of attention data parallelism hold shared experts whole, as they do attention.
            shared.gemm(tokens, matrix, layout.tp, storage(model, matrix.format))
        hidden = np.where(tokens <= GRAPH_TOKENS, tally.efficiency.engine.shared_overlap, 0.0)
        if layout.dp == 1:
            routed = OperatorTally(tally.machine, tally.efficiency, tally.clock, len(tokens))
            self.add_experts(routed, tokens, layout)
            shared.seconds -= hidden * np.minimum(shared.seconds, routed.seconds)
            tally.plus(routed)
            tally.all_reduce(residual, layout.tp, sparse)
        else:
            shared.seconds *= 1.0 - hidden
            self._exchange(tally, tokens, layout)
        tally.plus(shared)

    def add_experts(self, tally: OperatorTally, tokens: Vector, layout: Layout) -> None:
        """Adds the routed experts for the tokens of all ranks."""
        model = self.model
        if not self.sparse:
            return
        tally.experts(
            tokens,
            layers=self.sparse,
            experts=model.experts,
            per_token=model.experts_per_token,
            width=model.moe_intermediate,
            hidden=model.hidden,
            weights=self._experts,
            stored=storage(model, self._experts),
            ep=layout.ep,
            expert_tp=layout.expert_tp,
        )

    def _stream(
        self, tally: OperatorTally, tokens: Vector, layout: Layout, kv_cache: Format
    ) -> None:
        """Norms with residuals (read and written), activations, and the KV that is written."""
        model, tp, sparse = self.model, layout.tp, self.sparse
        width = (model.layers - sparse) * model.dense_intermediate
        width += sparse * model.shared_experts * model.moe_intermediate
        per_token = 2.0 * model.layers * 4 * model.hidden * 2.0 + 3.0 * width / tp * 2.0
        per_token += arch.attention_layers(model) * arch.kv_bytes_per_layer(model, kv_cache, tp)
        tally.stream(tokens * per_token, 3 * model.layers)

    def _exchange(self, tally: OperatorTally, tokens: Vector, layout: Layout) -> None:
        """Tokens to their experts and back, between the ranks of attention data parallelism.

        Gathered, every rank receives the tokens of all, in 16 bits; sent, a token goes once to
        each group that holds one of its experts, with one byte per value unless weights are
        16-bit, and back in 16 bits.
        """
        model, gpus = self.model, layout.stage_gpus
        values = tokens * (model.hidden / layout.tp)
        if tally.kernels.exchange == "gather" or layout.ep == 1:
            others = values * ((layout.dp - 1) * 2.0)
            tally.exchange(others, gpus, 2 * self.sparse)
            return
        groups = layout.ep * (1.0 - (1.0 - 1.0 / layout.ep) ** model.experts_per_token)
        sent = values * (groups * (layout.ep - 1) / layout.ep)
        there = 2.0 if self._experts == "fp16" else 1.0
        tally.exchange(sent * there, gpus, self.sparse)
        tally.exchange(sent * 2.0, gpus, self.sparse)


def _fused(matrices: Iterable[Matrix]) -> tuple[Matrix, ...]:
    """Projections into attention that take the same input as one product, as engines run them."""
    joined: dict[tuple[object, ...], Matrix] = {}
    for matrix in matrices:
        key: tuple[object, ...] = (matrix.name,)
        if matrix.name in _SIDE_BY_SIDE:
            key = (matrix.inputs, matrix.layers, matrix.split, matrix.format)
        before = joined.get(key)
        outputs = matrix.outputs + (before.outputs if before else 0)
        joined[key] = replace(matrix, outputs=outputs)
    return tuple(joined.values())


def storage(model: ModelSpec, stored: Format) -> str:
    """Which product of the catalogue a model's weights in a format take."""
    if stored == "fp8":
        return "fp8_block" if model.fp8_block else "fp8"
    if stored == "fp4":
        return "nvfp4" if model.fp4_kind == "nvfp4" else "mxfp4"
    return stored
