"""Layers with KV, full and sliding, and how a hybrid KV cache divides memory between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.performance import architecture as arch

if TYPE_CHECKING:
    from factory.performance.architecture import Format
    from factory.performance.layout import Layout
    from factory.scenario.specs import ModelSpec


@dataclass(frozen=True, slots=True)
class KvLayers:
    """Layers with KV on the GPU of a rank that has most of them.

    Attributes:
        full: Layers that keep every token of the context, MTP layers among them.
        sliding: Layers that need their window alone.
        layer_bytes: KV of one token in one layer on one GPU, bytes.
    """

    full: int
    sliding: int
    layer_bytes: float

    @property
    def uniform_bytes(self) -> float:
        """Bytes of a token of context on one GPU where every layer keeps it."""
        return (self.full + self.sliding) * self.layer_bytes


def kv_layers_per_gpu(
    model: ModelSpec, layout: Layout, kv_cache: Format, *, draft: bool = False
) -> KvLayers:
    """Layers with KV of the fullest stage, which is taken to have its share of full ones.

    A model whose layers all slide counts as one of full layers: what its windows take is no number
    of tokens of context.
    """
    attending = arch.attention_layers(model)
    layers = -(-attending // layout.pp)
    full = -(-(attending - arch.sliding_layers(model)) // layout.pp) or layers
    drafting = model.mtp_layers if draft else 0
    size = arch.kv_bytes_per_layer(model, kv_cache, layout.tp)
    return KvLayers(full + drafting, layers - full, size)


def window_tokens(window: int, block_size: int, context: int) -> int:
    """Tokens of whole blocks that a window spans wherever it begins, of a context at most.

    Args:
        window: Tokens that a sliding layer sees.
        block_size: Tokens of a KV block.
        context: Tokens of the longest sequence.
    """
    return min(-(-window // block_size) + 1, -(-context // block_size)) * block_size


def hybrid_bytes(
    layers: KvLayers, left: float, reserved: int, ratio: float | None
) -> tuple[float, float]:
    """Bytes of a token of context, and bytes set aside for windows, as a hybrid KV cache has them.

    Sliding layers need, of each running sequence, the blocks that its window spans, and the tokens
    that a step computes (vLLM, PR 17996, 2025: its hybrid KV cache manager, on by default;
    TensorRT-LLM 1.3, 2026, has a pool per window size). So much is set aside for as many sequences
    as may run; of F full and S sliding layers, each of ``b`` bytes a token, that leaves
    ``(left - S b reserved) / (F b)`` tokens. Windows never hold more than the contexts they belong
    to: where ``left / ((F + S) b)`` is more, that is what fits.

    A fixed split gives sliding layers room for ``ratio`` of the tokens of full ones, whatever runs
    (SGLang 0.5, 2025, ``swa_full_tokens_ratio``): ``left / ((F + ratio S) b)``.

    Args:
        layers: Layers with KV of one GPU.
        left: Bytes for KV.
        reserved: Tokens that sliding layers hold at most while sequences run.
        ratio: Tokens of sliding layers over those of full ones; None for no fixed split.
    """
    if ratio is not None:
        return (layers.full + ratio * layers.sliding) * layers.layer_bytes, 0.0
    if left <= reserved * layers.uniform_bytes:
        return layers.uniform_bytes, 0.0
    return layers.full * layers.layer_bytes, reserved * layers.sliding * layers.layer_bytes
