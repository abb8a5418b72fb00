"""What a model consists of, from its published configuration: matrices, KV, attention work.

Bytes and counts here are exact in the numbers of a ``ModelSpec``. Query-key norms and biases, which
it does not carry, are left out (under 0.01 % of any catalogue model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from factory.scenario.specs import ModelSpec

Format = Literal["fp16", "fp8", "fp4"]
Split = Literal["columns", "rows", "whole"]

VALUE_BYTES: dict[str, float] = {"fp16": 2.0, "fp8": 1.0, "fp4": 0.5}
"""Bytes of one value, scales left out."""

SCALE_BYTES: dict[str, float] = {"fp16": 0.0, "fp8": 4.0 / (128 * 128), "fp4": 1.0 / 16}
"""Bytes of scales per value: FP8 one FP32 per 128 x 128 block (DeepSeek-V3 report, 2024, section
3.3); FP4 one FP8 per 16 values (NVFP4)."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight matrix that every token of a step is multiplied with.

    Attributes:
        name: What it is called in the field.
        inputs, outputs: Its shape; a token costs ``2 * inputs * outputs`` FLOPs.
        layers: How many layers hold one.
        split: How tensor parallelism shards it.
        format: How its weights are stored.
    """

    name: str
    inputs: int
    outputs: int
    layers: int
    split: Split
    format: Format

    @property
    def bytes(self) -> float:
        """Bytes of all its copies over the layers, scales included."""
        return self.inputs * self.outputs * self.layers * format_bytes(self.format)


def format_bytes(stored: Format) -> float:
    """Bytes per weight, scales included."""
    return VALUE_BYTES[stored] + SCALE_BYTES[stored]


def moe_layers(model: ModelSpec) -> int:
    """Layers whose MLP is a mixture of experts."""
    return model.layers - model.dense_layers if model.experts else 0


def attention_format(model: ModelSpec, weights: Format) -> Format:
    """How attention weights are stored: FP4 checkpoints of MoE models leave them in BF16.

    True of openai/gpt-oss-120b (``modules_to_not_convert``) and nvidia/DeepSeek-*-NVFP4.
    """
    return "fp16" if weights == "fp4" and model.experts else weights


def attention_matrices(model: ModelSpec, weights: Format) -> tuple[Matrix, ...]:
    """Projections around attention. MLA's key-value expansion is apart: ``mla_expansion``."""
    stored = attention_format(model, weights)
    hidden, heads, layers = model.hidden, model.heads, model.layers
    if model.attention == "mla":
        query = heads * (model.qk_nope_head_dim + model.qk_rope_head_dim)
        latent = model.kv_lora_rank + model.qk_rope_head_dim
        out = Matrix("o_proj", heads * model.v_head_dim, hidden, layers, "rows", stored)
        down = Matrix("kv_a_proj", hidden, latent, layers, "whole", stored)
        if not model.q_lora_rank:
            return (Matrix("q_proj", hidden, query, layers, "columns", stored), down, out)
        return (
            Matrix("q_a_proj", hidden, model.q_lora_rank, layers, "whole", stored),
            Matrix("q_b_proj", model.q_lora_rank, query, layers, "columns", stored),
            down,
            out,
        )
    width = (heads + 2 * model.kv_heads) * model.head_dim
    return (
        Matrix("qkv_proj", hidden, width, layers, "columns", stored),
        Matrix("o_proj", heads * model.head_dim, hidden, layers, "rows", stored),
    )


def mla_expansion(model: ModelSpec, weights: Format) -> Matrix | None:
    """MLA's ``kv_b_proj``: expands latents for prefill, absorbed into the query for decode."""
    if model.attention != "mla":
        return None
    outputs = model.heads * (model.qk_nope_head_dim + model.v_head_dim)
    stored = attention_format(model, weights)
    return Matrix("kv_b_proj", model.kv_lora_rank, outputs, model.layers, "columns", stored)


def mlp_matrices(model: ModelSpec, weights: Format) -> tuple[Matrix, ...]:
    """Gated MLPs of the dense layers, shared experts and routers (these last always BF16)."""
    hidden, sparse = model.hidden, moe_layers(model)
    matrices: list[Matrix] = []
    dense = model.layers - sparse
    if dense:
        width = model.dense_intermediate
        matrices += [
            Matrix("gate_up_proj", hidden, 2 * width, dense, "columns", weights),
            Matrix("down_proj", width, hidden, dense, "rows", weights),
        ]
    if sparse:
        matrices.append(Matrix("router", hidden, model.experts, sparse, "whole", "fp16"))
    if sparse and model.shared_experts:
        width = model.shared_experts * model.moe_intermediate
        matrices += [
            Matrix("shared_gate_up_proj", hidden, 2 * width, sparse, "columns", weights),
            Matrix("shared_down_proj", width, hidden, sparse, "rows", weights),
        ]
    return tuple(matrices)


def expert_parameters(model: ModelSpec) -> int:
    """Parameters of one routed expert in one layer: gate, up and down projection."""
    return 3 * model.hidden * model.moe_intermediate


def head_matrix(model: ModelSpec) -> Matrix:
    """The LM head, BF16 in every published checkpoint of the catalogue."""
    return Matrix("lm_head", model.hidden, model.vocab, 1, "columns", "fp16")


def embedding_bytes(model: ModelSpec) -> float:
    """Bytes of the input embedding, BF16."""
    return 2.0 * model.vocab * model.hidden


def norm_bytes(model: ModelSpec) -> float:
    """Bytes of all RMS norms, BF16: two per layer and a last one; MLA adds two over its ranks."""
    per_layer = 2 * model.hidden
    if model.attention == "mla":
        per_layer += model.q_lora_rank + model.kv_lora_rank
    return 2.0 * (per_layer * model.layers + model.hidden)


def expert_bytes(model: ModelSpec, weights: Format) -> float:
    """Bytes of all routed experts, scales included."""
    count = moe_layers(model) * model.experts
    return count * expert_parameters(model) * format_bytes(weights)


def weight_bytes(model: ModelSpec, weights: Format) -> float:
    """Bytes of the whole model, scales included, speculative (MTP) layers left out."""
    matrices = (*attention_matrices(model, weights), *mlp_matrices(model, weights))
    expansion = mla_expansion(model, weights)
    total = sum(matrix.bytes for matrix in matrices) + expert_bytes(model, weights)
    total += expansion.bytes if expansion else 0.0
    head = 0.0 if model.tie_embeddings else head_matrix(model).bytes
    return total + embedding_bytes(model) + head + norm_bytes(model)


def kv_values_per_layer(model: ModelSpec) -> int:
    """Values that a token keeps in a layer: MLA its latent and rope key, else keys and values."""
    if model.attention == "mla":
        return model.kv_lora_rank + model.qk_rope_head_dim
    return 2 * model.kv_heads * model.head_dim


def kv_bytes_per_token(model: ModelSpec, kv_cache: Format) -> float:
    """Bytes that one token of context takes in the KV cache of the whole model.

    Sliding layers count as full ones: engines allocate them so unless told otherwise.
    """
    return model.layers * kv_values_per_layer(model) * VALUE_BYTES[kv_cache]


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
