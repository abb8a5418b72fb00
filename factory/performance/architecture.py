"""What a model consists of, from its published configuration: matrices, KV, attention work.

Bytes and counts here are exact in the numbers of a ``ModelSpec``: weights with their scales, norms,
biases, routers and embeddings, as the checkpoint of each format is published. Scales of activations
and of the KV cache are not weights and are left out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from factory.scenario.specs import ModelSpec

Format = Literal["fp16", "fp8", "fp4"]
Split = Literal["columns", "rows", "whole"]

VALUE_BYTES: dict[str, float] = {"fp16": 2.0, "fp8": 1.0, "fp4": 0.5}
"""Bytes of one value, scales left out."""

SCALE_BYTES: dict[str, float] = {"fp16": 0.0, "fp8": 4.0 / (128 * 128), "fp4": 1.0 / 16}
"""Bytes of scales per value where a rate will do: FP8 one FP32 per 128 x 128 block (DeepSeek-V3
report, 2024, section 3.3); FP4 one FP8 per 16 values (NVFP4). ``Matrix.bytes`` counts them."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight matrix that every token of a step is multiplied with.

    Attributes:
        name: What it is called in the field.
        inputs, outputs: Its shape; a token costs ``2 * inputs * outputs`` FLOPs.
        layers: How many layers hold one.
        split: How tensor parallelism shards it.
        format: How its weights are stored.
        extra_bytes: Bytes of its scales and biases in one layer.
    """

    name: str
    inputs: int
    outputs: int
    layers: int
    split: Split
    format: Format
    extra_bytes: float = 0.0

    @property
    def bytes(self) -> float:
        """Bytes of all its copies over the layers, scales and biases included."""
        values = self.inputs * self.outputs * VALUE_BYTES[self.format]
        return self.layers * (values + self.extra_bytes)


def format_bytes(stored: Format) -> float:
    """Bytes per weight, scales included at the usual rate."""
    return VALUE_BYTES[stored] + SCALE_BYTES[stored]


def stored_format(model: ModelSpec, name: str, weights: Format) -> Format:
    """How the checkpoint in ``weights`` stores the matrices called ``name``."""
    excluded = {"fp16": (), "fp8": model.fp8_excluded, "fp4": model.fp4_excluded}[weights]
    return "fp16" if name in excluded else weights


def scale_bytes(model: ModelSpec, stored: Format, inputs: int, outputs: int) -> int:
    """Bytes of the scales of one matrix; a block or group that is not full has a scale too."""
    if stored == "fp8":
        side = model.fp8_block
        blocks = -(-inputs // side) * -(-outputs // side) if side else 1
        return blocks * model.fp8_scale_bytes
    if stored == "fp4":
        groups = -(-inputs // model.fp4_group) * outputs
        return groups * model.fp4_scale_bytes + (4 if model.fp4_kind == "nvfp4" else 0)
    return 0


def moe_layers(model: ModelSpec) -> int:
    """Layers whose MLP is a mixture of experts."""
    return model.layers - model.dense_layers if model.experts else 0


def attention_layers(model: ModelSpec) -> int:
    """Layers of attention over the context: those with a KV cache."""
    return model.layers - model.linear_layers


def sliding_layers(model: ModelSpec) -> int:
    """Layers of attention that see a window of the context alone."""
    return model.sliding_layers if model.sliding_window else 0


def attention_matrices(model: ModelSpec, weights: Format) -> tuple[Matrix, ...]:
    """Projections around attention, linear attention's included.

    MLA's key-value expansion is apart: ``mla_expansion``.
    """
    hidden, heads, layers = model.hidden, model.heads, attention_layers(model)
    linear = linear_attention_matrices(model, weights)
    if not layers:
        return linear
    if model.attention == "mla":
        query = heads * (model.qk_nope_head_dim + model.qk_rope_head_dim)
        latent = model.kv_lora_rank + model.qk_rope_head_dim
        width = heads * model.v_head_dim
        down = _matrix(model, weights, "kv_a_proj", hidden, (latent,), layers, "whole")
        out = _matrix(model, weights, "o_proj", width, (hidden,), layers, "rows")
        if not model.q_lora_rank:
            whole = _matrix(model, weights, "q_proj", hidden, (query,), layers, "columns")
            return (whole, down, out, *linear)
        rank = model.q_lora_rank
        return (
            _matrix(model, weights, "q_a_proj", hidden, (rank,), layers, "whole"),
            _matrix(model, weights, "q_b_proj", rank, (query,), layers, "columns"),
            down,
            out,
            *linear,
        )
    width = heads * model.head_dim
    keys = model.kv_heads * model.head_dim
    parts = (2 * width if model.attention_gate else width, keys, keys)
    bias, out_bias = model.qkv_bias, model.output_bias
    return (
        _matrix(model, weights, "qkv_proj", hidden, parts, layers, "columns", bias=bias),
        _matrix(model, weights, "o_proj", width, (hidden,), layers, "rows", bias=out_bias),
        *linear,
    )


def linear_attention_matrices(model: ModelSpec, weights: Format) -> tuple[Matrix, ...]:
    """Projections of the Gated DeltaNet layers: queries, keys and values; gate; decay and rate."""
    layers, hidden = model.linear_layers, model.hidden
    if not layers:
        return ()
    heads, values = model.linear_value_heads, _linear_values(model)
    joined = (_linear_channels(model),)
    return (
        _matrix(model, weights, "in_proj_qkv", hidden, joined, layers, "columns"),
        _matrix(model, weights, "in_proj_z", hidden, (values,), layers, "columns"),
        _matrix(model, weights, "in_proj_ba", hidden, (heads, heads), layers, "columns"),
        _matrix(model, weights, "out_proj", values, (hidden,), layers, "rows"),
    )


def mla_expansion(model: ModelSpec, weights: Format) -> Matrix | None:
    """MLA's ``kv_b_proj``: expands latents for prefill, absorbed into the query for decode."""
    if model.attention != "mla":
        return None
    outputs = (model.heads * (model.qk_nope_head_dim + model.v_head_dim),)
    layers = attention_layers(model)
    return _matrix(model, weights, "kv_b_proj", model.kv_lora_rank, outputs, layers, "columns")


def mlp_matrices(model: ModelSpec, weights: Format) -> tuple[Matrix, ...]:
    """Gated MLPs of the dense layers, shared experts and routers (these last never quantized)."""
    hidden, sparse = model.hidden, moe_layers(model)
    matrices: list[Matrix] = []
    dense = model.layers - sparse
    if dense:
        width = model.dense_intermediate
        both = (width, width)
        matrices += [
            _matrix(model, weights, "gate_up_proj", hidden, both, dense, "columns"),
            _matrix(model, weights, "down_proj", width, (hidden,), dense, "rows"),
        ]
    if sparse:
        extra = float((model.router_bytes - 2) * hidden * model.experts)
        extra += model.experts * (2 * model.router_bias + 4 * model.router_correction)
        router = Matrix("router", hidden, model.experts, sparse, "whole", "fp16", extra)
        matrices.append(router)
    if sparse and model.shared_experts:
        width = model.shared_experts * model.moe_intermediate
        both = (width, width)
        matrices += [
            _matrix(model, weights, "shared_gate_up_proj", hidden, both, sparse, "columns"),
            _matrix(model, weights, "shared_down_proj", width, (hidden,), sparse, "rows"),
        ]
        if model.shared_expert_gate:
            gate = Matrix("shared_expert_gate", hidden, 1, sparse, "whole", "fp16")
            matrices.append(gate)
    return tuple(matrices)


def expert_parameters(model: ModelSpec) -> int:
    """Parameters of one routed expert in one layer: gate, up and down projection, no biases."""
    return 3 * model.hidden * model.moe_intermediate


def head_matrix(model: ModelSpec) -> Matrix:
    """The LM head, BF16 in every published checkpoint of the catalogue."""
    return Matrix("lm_head", model.hidden, model.vocab, 1, "columns", "fp16")


def embedding_bytes(model: ModelSpec) -> float:
    """Bytes of the input embedding, BF16."""
    return 2.0 * model.vocab * model.hidden


def norm_bytes(model: ModelSpec) -> float:
    """Bytes of all RMS norms, BF16, and of what attention holds besides its matrices.

    Two norms per layer and a last one; MLA adds two over its ranks; then norms of queries and keys,
    sinks, and the convolution and small vectors of linear attention (its own norm and decay FP32).
    """
    per_layer = 2 * model.hidden
    attention = 0
    if model.attention == "mla":
        attention += model.q_lora_rank + model.kv_lora_rank
    if model.qk_norm == "head":
        attention += 2 * model.head_dim
    if model.qk_norm == "layer":
        attention += (model.heads + model.kv_heads) * model.head_dim
    if model.attention_sinks:
        attention += model.heads
    values = per_layer * model.layers + attention * attention_layers(model) + model.hidden
    return 2.0 * values + model.linear_layers * _linear_vector_bytes(model)


def expert_bytes(model: ModelSpec, weights: Format) -> float:
    """Bytes of all routed experts, scales and biases included."""
    stored = stored_format(model, "experts", weights)
    hidden, width = model.hidden, model.moe_intermediate
    one = expert_parameters(model) * VALUE_BYTES[stored]
    one += 2 * scale_bytes(model, stored, hidden, width)
    one += scale_bytes(model, stored, width, hidden)
    one += 2 * (2 * width + hidden) * model.expert_bias
    return moe_layers(model) * model.experts * one


def weight_bytes(model: ModelSpec, weights: Format) -> float:
    """Bytes of the whole language model, scales included, MTP layers left out (``mtp_bytes``)."""
    head = 0.0 if model.tie_embeddings else head_matrix(model).bytes
    return _layer_bytes(model, weights) + norm_bytes(model) + embedding_bytes(model) + head


def mtp_layer(model: ModelSpec) -> ModelSpec:
    """One multi-token-prediction layer as a model of one layer: attention, and experts if any."""
    return dataclasses.replace(
        model, layers=1, linear_layers=0, sliding_layers=0, dense_layers=0 if model.experts else 1
    )


def mtp_format(model: ModelSpec, weights: Format) -> Format:
    """How the checkpoint in ``weights`` stores the MTP layers."""
    return stored_format(model, "mtp", weights)


def mtp_projection(model: ModelSpec) -> Matrix:
    """What joins embedding and hidden state before an MTP layer; BF16 in published checkpoints."""
    return Matrix("eh_proj", 2 * model.hidden, model.hidden, 1, "whole", "fp16")


def mtp_bytes(model: ModelSpec, weights: Format) -> float:
    """Bytes of all MTP layers: each one layer, its projection and three norms.

    Embedding and LM head are the model's (DeepSeek-V3 report, 2024, section 2.2; its checkpoint
    holds copies of both).
    """
    one = mtp_layer(model)
    layer = _layer_bytes(one, mtp_format(model, weights)) + norm_bytes(one)
    # ``norm_bytes`` has the last norm already; those of embedding and hidden state come on top.
    return model.mtp_layers * (layer + mtp_projection(model).bytes + 2.0 * 2 * model.hidden)


def kv_values_per_layer(model: ModelSpec) -> int:
    """Values that a token keeps in a layer: MLA its latent and rope key, else keys and values."""
    if model.attention == "mla":
        return model.kv_lora_rank + model.qk_rope_head_dim
    return 2 * model.kv_heads * model.head_dim


def kv_share(model: ModelSpec, tp: int) -> float:
    """Part of a layer's KV on each of ``tp`` GPUs: heads are split, then copied; MLA is copied."""
    return 1.0 if model.attention == "mla" else max(1.0 / tp, 1.0 / model.kv_heads)


def kv_bytes_per_layer(model: ModelSpec, kv_cache: Format, tp: int) -> float:
    """Bytes of a token's KV in a layer of attention on one GPU of ``tp``."""
    return kv_values_per_layer(model) * VALUE_BYTES[kv_cache] * kv_share(model, tp)


def kv_bytes_per_token(model: ModelSpec, kv_cache: Format) -> float:
    """Bytes that one token of context takes in the KV cache of the whole model.

    Sliding layers count as full ones: what engines allocate where one block table serves all
    layers (a hybrid KV cache does not: ``kv_layers``). Layers of linear attention have
    no KV: ``state_bytes_per_sequence``.
    """
    return attention_layers(model) * kv_values_per_layer(model) * VALUE_BYTES[kv_cache]


def kv_bytes(model: ModelSpec, kv_cache: Format, context: int) -> float:
    """Bytes of KV that one sequence needs at a context, tokens.

    Sliding layers keep their window alone, as a hybrid KV manager holds them.
    """
    sliding = sliding_layers(model)
    full = attention_layers(model) - sliding
    tokens = full * context + sliding * min(context, model.sliding_window)
    return tokens * kv_values_per_layer(model) * VALUE_BYTES[kv_cache]


def state_bytes_per_sequence(model: ModelSpec) -> float:
    """Bytes of recurrent and convolution state of linear attention; the same at any context.

    Per layer one ``key x value`` matrix per value head, and the last ``kernel - 1`` inputs of the
    convolution in BF16 (Yang et al., Gated Delta Networks, 2024).
    """
    size = model.linear_key_head_dim * model.linear_value_head_dim * model.linear_value_heads
    recurrent = size * model.linear_state_bytes
    convolved = 2 * _linear_channels(model) * max(model.linear_conv_kernel - 1, 0)
    return float(model.linear_layers * (recurrent + convolved))


def linear_attention_token_flops(model: ModelSpec) -> float:
    """FLOPs of a token in the recurrence of one linear-attention layer, all heads.

    Decay of the state (1), its product with the key (2), the rank-one update (2) and its product
    with the query (2), per value of the state (Yang et al., 2024, equation 10).
    """
    size = model.linear_key_head_dim * model.linear_value_head_dim
    return 7.0 * size * model.linear_value_heads


def decode_pair_flops(model: ModelSpec) -> float:
    """FLOPs of one new token attending to one cached token in one layer, all heads.

    MLA absorbed: scores over latent and rope key, values over the latent (DeepSeek-V2 report,
    2024, section 2.1).
    """
    if model.attention == "mla":
        return 2.0 * model.heads * (2 * model.kv_lora_rank + model.qk_rope_head_dim)
    return 4.0 * model.heads * model.head_dim


def prefill_pair_flops(model: ModelSpec) -> float:
    """FLOPs of a prompt token attending to one position in one layer, all heads; MLA expanded."""
    if model.attention == "mla":
        per_head = model.qk_nope_head_dim + model.qk_rope_head_dim + model.v_head_dim
        return 2.0 * model.heads * per_head
    return 4.0 * model.heads * model.head_dim


def _matrix(
    model: ModelSpec,
    weights: Format,
    name: str,
    inputs: int,
    parts: tuple[int, ...],
    layers: int,
    split: Split,
    *,
    bias: bool = False,
) -> Matrix:
    """A matrix of ``parts`` that the checkpoint holds side by side, each with its own scales."""
    stored = stored_format(model, name, weights)
    outputs = sum(parts)
    extra = sum(scale_bytes(model, stored, inputs, part) for part in parts) + 2 * outputs * bias
    return Matrix(name, inputs, outputs, layers, split, stored, float(extra))


def _layer_bytes(model: ModelSpec, weights: Format) -> float:
    """Bytes of all matrices and experts of the layers, norms left out."""
    matrices = [*attention_matrices(model, weights), *mlp_matrices(model, weights)]
    expansion = mla_expansion(model, weights)
    if expansion is not None:
        matrices.append(expansion)
    return sum(matrix.bytes for matrix in matrices) + expert_bytes(model, weights)


def _linear_values(model: ModelSpec) -> int:
    return model.linear_value_heads * model.linear_value_head_dim


def _linear_channels(model: ModelSpec) -> int:
    """Channels of the convolution: queries, keys and values."""
    keys = model.linear_key_heads * model.linear_key_head_dim
    return 2 * keys + _linear_values(model)


def _linear_vector_bytes(model: ModelSpec) -> int:
    """Convolution and rate bias in BF16; decay and output norm in FP32; of one layer."""
    convolution = 2 * _linear_channels(model) * model.linear_conv_kernel
    heads = model.linear_value_heads
    return convolution + 2 * heads + 4 * heads + 4 * model.linear_value_head_dim
