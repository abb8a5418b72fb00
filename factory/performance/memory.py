"""What a replica's GPUs hold, and how many tokens of KV fit beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from factory.performance import architecture as arch
from factory.performance.kv_layers import hybrid_bytes, kv_layers_per_gpu, window_tokens

if TYPE_CHECKING:
    from factory.performance.architecture import Format, Matrix
    from factory.performance.layout import Layout
    from factory.scenario.specs import GpuSpec, ModelSpec

Phase = Literal["prefill", "decode"]

GIB = 2.0**30
MIB = 2.0**20

FRAMEWORK_BYTES = 3.5 * GIB
"""CUDA context, graphs, library workspaces and allocator slack of one GPU (published: ``other_mem``
of AIConfigurator 0.12's system files; the 0.6 GiB once measured, raised there for safety)."""

COLLECTIVE_BYTES = 392 * MIB
"""Buffers of NCCL's collectives among the GPUs of a tensor-parallel group (published: ``nccl_mem``
of AIConfigurator 0.12; 342 MiB between two)."""

PYTHON_ENGINE_FACTOR = {"sglang": 1.2}
"""Framework memory of an engine over TensorRT-LLM's and vLLM's (published: AIConfigurator 0.12)."""

WHOLE_WIDTHS = 4
"""Activations of a dense layer that every tensor-parallel GPU holds whole, in widths: residual,
normed input, attention output, MLP output (BF16). What it holds a share of is gate and up. Together
11 widths for Llama at TP 1, which is what AIConfigurator 0.12 measured with TensorRT-LLM."""

SPARSE_WHOLE_WIDTHS, SPARSE_SPLIT_WIDTHS = 8, 14
"""The same for a MoE layer, whose dispatched and combined tokens lie beside the residual (fitted:
AIConfigurator 0.12 holds 22, 13, 10 and 10 widths at TP 1, 2, 4 and 8)."""

SCALE_BLOCK = 128
"""Values of a dispatched token that share an FP32 scale in the experts' workspace."""

LEAST_ACTIVATION_BYTES = 70 * MIB
"""What an engine reserves however small the step (published: AIConfigurator 0.12)."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory of one GPU of a replica, bytes, as vLLM divides it.

    Attributes:
        weights: Weights with scales; with speculative decoding its MTP layers too.
        activations: Peak activations of a step of the full token budget.
        framework: Everything else that is not KV.
        budget: GPU memory times ``gpu_memory_utilization``.
        kv_bytes_per_token: KV that one more token of context takes on one GPU; that of full layers
            alone where sliding ones have their own, ``sliding_bytes``.
        kv_capacity_tokens: Tokens of context that fit per attention rank; 0 if the model does not.
        missing_gib: GiB by which the model does not fit, KV of one token included; 0 if it does.
        state_bytes: Linear attention's state of as many sequences as a rank may run, on one GPU.
        whole: All of the GPU's memory.
        sliding_bytes: KV set aside for the windows of as many sequences as a rank may run and for
            the tokens of a step, on one GPU; 0 where sliding layers are counted as full ones.
    """

    weights: float
    activations: float
    framework: float
    budget: float
    kv_bytes_per_token: float
    kv_capacity_tokens: int
    missing_gib: float
    state_bytes: float = 0.0
    whole: float = 0.0
    sliding_bytes: float = 0.0

    @property
    def fits(self) -> bool:
        """Whether the model and at least one token of KV fit."""
        return self.missing_gib == 0.0


def weight_bytes_per_gpu(
    model: ModelSpec, layout: Layout, weights: Format, *, draft: bool = False
) -> float:
    """Bytes of weights, scales included, on the fullest GPU of a replica.

    Args:
        model: The architecture.
        layout: Parallel layout of the replica.
        weights: Format of the checkpoint.
        draft: Whether the MTP layers are loaded too; they stand on the last stage.
    """
    stage = -(-model.layers // layout.pp) / model.layers
    layers = _layer_bytes_per_gpu(model, layout, weights) + arch.norm_bytes(model)
    embedding = arch.embedding_bytes(model) / layout.tp
    head = 0.0 if model.tie_embeddings else arch.head_matrix(model).bytes / layout.tp
    # First stage: embedding; last: head, which is the embedding again where they are tied.
    last = head + (_mtp_bytes_per_gpu(model, layout, weights) if draft else 0.0)
    ends = embedding + last if layout.pp == 1 else max(embedding, last)
    return layers * stage + ends


def kv_bytes_per_token_per_gpu(
    model: ModelSpec, layout: Layout, kv_cache: Format, *, draft: bool = False
) -> float:
    """Bytes that one token of context takes on each GPU of its rank, MTP layers' with ``draft``.

    Sliding layers count as full ones.
    """
    return kv_layers_per_gpu(model, layout, kv_cache, draft=draft).uniform_bytes


def activation_bytes_per_gpu(model: ModelSpec, layout: Layout, tokens: int) -> float:
    """Bytes of activations at the peak of a step of so many tokens per rank.

    Experts add a workspace of grouped products: an FP32 scale per 128 values of a token for each of
    its copies, of all ranks, in each expert of the GPU (as AIConfigurator 0.12 sizes it: a bound,
    since no expert sees more than one copy).
    """
    width = model.hidden
    if model.attention == "gqa":
        width = max(width, model.heads * model.head_dim)
    if not model.experts:
        values = WHOLE_WIDTHS * width + 2 * model.dense_intermediate / layout.tp
        return max(2.0 * values * tokens, LEAST_ACTIVATION_BYTES)
    values = (SPARSE_WHOLE_WIDTHS + SPARSE_SPLIT_WIDTHS / layout.tp) * width
    copies = model.experts / layout.ep * model.experts_per_token * layout.dp
    workspace = copies * model.hidden / SCALE_BLOCK * 4.0
    return max((2.0 * values + workspace) * tokens, LEAST_ACTIVATION_BYTES)


def framework_bytes_per_gpu(layout: Layout, engine: str = "vllm") -> float:
    """Bytes of one GPU that are neither weights, activations nor KV.

    Args:
        layout: Parallel layout of the replica.
        engine: ``trtllm``, ``vllm`` or ``sglang``.
    """
    buffers = 0.0 if layout.tp == 1 else 342 * MIB if layout.tp == 2 else COLLECTIVE_BYTES
    return FRAMEWORK_BYTES * PYTHON_ENGINE_FACTOR.get(engine, 1.0) + buffers


def memory_plan(
    model: ModelSpec,
    gpu: GpuSpec,
    layout: Layout,
    weights: Format,
    kv_cache: Format,
    gpu_memory_utilization: float = 0.9,
    max_num_batched_tokens: int = 8192,
    *,
    max_num_seqs: int = 0,
    draft: bool = False,
    block_size: int = 1,
    max_model_len: int | None = None,
    hybrid_kv_cache: bool = True,
    sliding_kv_ratio: float | None = None,
) -> MemoryPlan:
    """Divides a GPU's memory as vLLM does.

    The budget is ``gpu_memory_utilization`` of the whole memory; weights, peak activations and the
    framework come off it, and KV gets the rest.

    Sliding layers beside full ones keep their windows alone (``kv_layers.hybrid_bytes``): these are
    set aside for as many sequences as may run, and full layers get what is left.

    Args:
        model: The architecture.
        gpu: The GPU.
        layout: Parallel layout of the replica.
        weights: Format of the weights.
        kv_cache: Format of the KV cache.
        gpu_memory_utilization: Share of memory to use, in (0, 1].
        max_num_batched_tokens: Token budget of a step, per rank.
        max_num_seqs: Sequences of a rank whose windows and linear-attention state are held; 0 for
            none.
        draft: Whether MTP layers are loaded, for speculative decoding.
        block_size: Tokens of a KV block.
        max_model_len: Tokens of the longest sequence; by default the model's longest context.
        hybrid_kv_cache: Whether sliding layers keep their window alone.
        sliding_kv_ratio: Tokens that sliding layers have room for over those of full ones, where
            KV is split at a fixed ratio (SGLang, 2025); None where they get what they need.
    """
    held = weight_bytes_per_gpu(model, layout, weights, draft=draft)
    activations = activation_bytes_per_gpu(model, layout, max_num_batched_tokens)
    framework = framework_bytes_per_gpu(layout)
    layers = kv_layers_per_gpu(model, layout, kv_cache, draft=draft)
    state = max_num_seqs * state_bytes_per_sequence_per_gpu(model, layout)
    budget = gpu.hbm_gb * 1e9 * gpu_memory_utilization
    left = budget - held - activations - framework - state
    span = window_tokens(model.sliding_window, block_size, max_model_len or model.max_context)
    reserved = max_num_seqs * span + max_num_batched_tokens
    per_token, sliding = layers.uniform_bytes, 0.0
    if hybrid_kv_cache and layers.sliding:
        per_token, sliding = hybrid_bytes(layers, left, reserved, sliding_kv_ratio)
    left -= sliding
    missing = max(per_token - left, 0.0) / GIB
    return MemoryPlan(
        weights=held,
        activations=activations,
        framework=framework,
        budget=budget,
        kv_bytes_per_token=per_token,
        kv_capacity_tokens=max(int(left // per_token), 0),
        missing_gib=missing,
        state_bytes=state,
        whole=gpu.hbm_gb * 1e9,
        sliding_bytes=sliding,
    )


def state_bytes_per_sequence_per_gpu(model: ModelSpec, layout: Layout) -> float:
    """Bytes of linear attention's state of a sequence on one GPU: its heads are split."""
    share = max(1.0 / layout.tp, 1.0 / max(model.linear_value_heads, 1))
    return arch.state_bytes_per_sequence(model) * share / layout.pp


def predicted_memory_gib(
    model: ModelSpec,
    layout: Layout,
    weights: Format,
    kv_cache: Format,
    *,
    phase: Phase,
    batch: int,
    context: int,
    draft_tokens: int = 0,
    engine: str = "vllm",
) -> float:
    """GiB that one GPU holds during a step of a fixed batch.

    KV is what the sequences need, sliding layers keeping their window alone (``kv_bytes``).

    Args:
        model: The architecture.
        layout: Parallel layout of the replica.
        weights: Format of the weights.
        kv_cache: Format of the KV cache.
        phase: ``prefill`` computes the whole context of each sequence, ``decode`` one token and
            its drafts.
        batch: Sequences of an attention rank.
        context: Tokens of context of each.
        draft_tokens: Tokens that the MTP layers draft per step; 0 loads none.
        engine: ``trtllm``, ``vllm`` or ``sglang``.
    """
    draft = draft_tokens > 0
    rows = batch * (context if phase == "prefill" else 1 + draft_tokens)
    share = arch.kv_share(model, layout.tp) / layout.pp
    sequence = arch.kv_bytes(model, kv_cache, context) * share
    if draft:
        sequence += model.mtp_layers * arch.kv_bytes_per_layer(model, kv_cache, layout.tp) * context
    sequence += state_bytes_per_sequence_per_gpu(model, layout)
    held = weight_bytes_per_gpu(model, layout, weights, draft=draft)
    held += activation_bytes_per_gpu(model, layout, rows)
    return (held + framework_bytes_per_gpu(layout, engine) + batch * sequence) / GIB


def _layer_bytes_per_gpu(model: ModelSpec, layout: Layout, weights: Format) -> float:
    """Matrices and experts of all layers on one GPU."""
    matrices = [*arch.attention_matrices(model, weights), *arch.mlp_matrices(model, weights)]
    expansion = arch.mla_expansion(model, weights)
    if expansion is not None:
        matrices.append(expansion)
    layers = sum(matrix.bytes * _share(model, matrix, layout.tp) for matrix in matrices)
    return layers + arch.expert_bytes(model, weights) / layout.stage_gpus


def _mtp_bytes_per_gpu(model: ModelSpec, layout: Layout, weights: Format) -> float:
    if not model.mtp_layers:
        return 0.0
    one = arch.mtp_layer(model)
    stored = arch.mtp_format(model, weights)
    layer = _layer_bytes_per_gpu(one, layout, stored)
    whole = arch.mtp_bytes(model, weights) / model.mtp_layers
    # Norms and the projection that joins embedding and hidden state are on every GPU.
    copied = whole - (arch.weight_bytes(one, stored) - arch.norm_bytes(one) - _ends(one))
    return model.mtp_layers * (layer + copied)


def _ends(model: ModelSpec) -> float:
    head = 0.0 if model.tie_embeddings else arch.head_matrix(model).bytes
    return arch.embedding_bytes(model) + head


def _share(model: ModelSpec, matrix: Matrix, tp: int) -> float:
    """Part of a matrix on each GPU; key and value heads that are too few to split are copied."""
    if matrix.split == "whole":
        return 1.0
    if matrix.name != "qkv_proj":
        return 1.0 / tp
    keys = 2 * model.kv_heads * model.head_dim
    return ((matrix.outputs - keys) / tp + keys * arch.kv_share(model, tp)) / matrix.outputs
