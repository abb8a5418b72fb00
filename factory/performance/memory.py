"""What a replica's GPUs hold, and how many tokens of KV fit beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.performance import architecture as arch
from factory.performance.forward import kv_bytes_per_layer

if TYPE_CHECKING:
    from factory.performance.architecture import Format
    from factory.performance.layout import Layout
    from factory.scenario.specs import GpuSpec, ModelSpec

GIB = 2.0**30

FRAMEWORK_BYTES = 3.4 * GIB
"""CUDA context, communication buffers, graphs and workspaces of one GPU (assumed: what
AIConfigurator 0.12 holds beyond weights, KV and activations)."""

ACTIVATION_VALUES_PER_HIDDEN = 11
"""Values of width ``hidden`` alive at the peak of a step, per token, BF16 (assumed: AIConfigurator
0.12, dense models at TP 1)."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory of one GPU of a replica, bytes, as vLLM divides it.

    Attributes:
        weights: Weights with scales.
        activations: Peak activations of a step of the full token budget.
        framework: Everything else that is not KV.
        budget: GPU memory times ``gpu_memory_utilization``.
        kv_bytes_per_token: KV of one token of context on one GPU.
        kv_capacity_tokens: Tokens of context that fit per attention rank; 0 if the model does not.
        missing_gib: GiB by which the model does not fit, KV of one token included; 0 if it does.
    """

    weights: float
    activations: float
    framework: float
    budget: float
    kv_bytes_per_token: float
    kv_capacity_tokens: int
    missing_gib: float

    @property
    def fits(self) -> bool:
        """Whether the model and at least one token of KV fit."""
        return self.missing_gib == 0.0


def weight_bytes_per_gpu(model: ModelSpec, layout: Layout, weights: Format) -> float:
    """Bytes of weights, scales included, on the fullest GPU of a replica."""
    stage = -(-model.layers // layout.pp) / model.layers
    matrices = [*arch.attention_matrices(model, weights), *arch.mlp_matrices(model, weights)]
    expansion = arch.mla_expansion(model, weights)
    if expansion is not None:
        matrices.append(expansion)
    layers = sum(m.bytes / (1 if m.split == "whole" else layout.tp) for m in matrices)
    layers += arch.expert_bytes(model, weights) / layout.stage_gpus + arch.norm_bytes(model)
    embedding = arch.embedding_bytes(model) / layout.tp
    head = 0.0 if model.tie_embeddings else arch.head_matrix(model).bytes / layout.tp
    # First stage: embedding; last: head, which is the embedding again where they are tied.
    ends = embedding + head if layout.pp == 1 else max(embedding, head)
    return layers * stage + ends


def kv_bytes_per_token_per_gpu(model: ModelSpec, layout: Layout, kv_cache: Format) -> float:
    """Bytes that one token of context takes on each GPU of its rank."""
    return -(-model.layers // layout.pp) * kv_bytes_per_layer(model, kv_cache, layout.tp)


def activation_bytes_per_gpu(model: ModelSpec, layout: Layout, tokens: int) -> float:
    """Bytes of activations at the peak of a step of so many tokens per rank."""
    values = ACTIVATION_VALUES_PER_HIDDEN * model.hidden
    if model.experts:
        # The rows that experts of this GPU receive, and what they make of them.
        rows = model.experts_per_token / layout.ep * layout.dp
        values += round(rows * (2 * model.hidden + 2 * model.moe_intermediate / layout.expert_tp))
    return 2.0 * values * tokens


def memory_plan(
    model: ModelSpec,
    gpu: GpuSpec,
    layout: Layout,
    weights: Format,
    kv_cache: Format,
    gpu_memory_utilization: float = 0.9,
    max_num_batched_tokens: int = 8192,
) -> MemoryPlan:
    """Divides a GPU's memory as vLLM does.

    The budget is ``gpu_memory_utilization`` of the whole memory; weights, peak activations and the
    framework come off it, and KV gets the rest.

    Args:
        model: The architecture.
        gpu: The GPU.
        layout: Parallel layout of the replica.
        weights: Format of the weights.
        kv_cache: Format of the KV cache.
        gpu_memory_utilization: Share of memory to use, in (0, 1].
        max_num_batched_tokens: Token budget of a step, per rank.
    """
    held = weight_bytes_per_gpu(model, layout, weights)
    activations = activation_bytes_per_gpu(model, layout, max_num_batched_tokens)
    per_token = kv_bytes_per_token_per_gpu(model, layout, kv_cache)
    budget = gpu.hbm_gb * 1e9 * gpu_memory_utilization
    left = budget - held - activations - FRAMEWORK_BYTES
    missing = max(per_token - left, 0.0) / GIB
    return MemoryPlan(
        weights=held,
        activations=activations,
        framework=FRAMEWORK_BYTES,
        budget=budget,
        kv_bytes_per_token=per_token,
        kv_capacity_tokens=max(int(left // per_token), 0),
        missing_gib=missing,
    )
