"""What a sequence's KV weighs when it moves from one replica to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factory.performance import architecture as arch

if TYPE_CHECKING:
    from factory.performance.architecture import Format
    from factory.scenario.specs import ModelSpec


def transfer_bytes(
    model: ModelSpec,
    kv_cache: Format,
    tokens: int,
    *,
    held_tokens: int = 0,
    draft: bool = False,
    hybrid: bool = True,
) -> float:
    """Bytes that the decode side needs of a prompt's KV, over all GPUs of a rank.

    Full layers send every token, sliding layers those that their window still sees, and layers of
    linear attention their state, which is the same at any length (vLLM's NIXL connector, 2026, does
    so with its hybrid KV cache manager; an engine with one block table for all layers sends sliding
    ones whole). Each value goes once: where tensor parallelism holds copies of heads or of MLA's
    latents, the ranks send a part each.

    Args:
        model: The architecture.
        kv_cache: Format of the KV cache.
        tokens: Tokens of the prompt, those found in a cache included.
        held_tokens: First tokens of it that the decode side has; the state is sent even so.
        draft: Whether the MTP layers' KV goes along.
        hybrid: Whether sliding layers keep, and send, their window alone.
    """
    new = max(tokens - held_tokens, 0)
    sliding = arch.sliding_layers(model) if hybrid else 0
    full = arch.attention_layers(model) - sliding
    full += model.mtp_layers if draft else 0
    values = full * new + sliding * min(new, model.sliding_window)
    values *= arch.kv_values_per_layer(model)
    return values * arch.VALUE_BYTES[kv_cache] + arch.state_bytes_per_sequence(model)


def last_layer_bytes(model: ModelSpec, kv_cache: Format, tokens: int) -> float:
    """Bytes that are there only when a prefill is done: the last layer's of the last step.

    In the hybrid models published so far (Qwen3.5, gpt-oss) the last layer attends to the whole
    context. Where there is none such, it is the state of one layer.

    Args:
        model: The architecture.
        kv_cache: Format of the KV cache.
        tokens: Prompt tokens that the last step computes.
    """
    if not arch.attention_layers(model):
        return arch.state_bytes_per_sequence(model) / model.layers
    return tokens * arch.kv_values_per_layer(model) * arch.VALUE_BYTES[kv_cache]
