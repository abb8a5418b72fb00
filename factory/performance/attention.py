"""Seconds and work of attention over context: piecewise affine in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.performance import architecture as arch
from factory.performance.forward import storage
from factory.performance.operators import SHARPNESS

if TYPE_CHECKING:
    from factory.performance.forward import ForwardPass


@dataclass(frozen=True, slots=True)
class DecodeLine:
    """Decode attention of ``n`` sequences with ``c`` context tokens in all, on one GPU.

    Every quantity is ``fixed * n + token * c``.
    """

    fixed_s: float
    token_s: float
    full_fixed_s: float
    full_token_s: float
    fixed_flops: float
    token_flops: float
    fixed_hbm: float
    token_hbm: float


@dataclass(frozen=True, slots=True)
class PrefillRates:
    """Prefill attention on one GPU, in all layers.

    Seconds are the longer of ``pair_s * pairs + context_s * context`` (compute; the second term is
    MLA's expansion of latents) and ``read_s * context`` (memory), and beside them
    ``window_s * min(pairs, window * tokens)`` for sliding layers and ``token_s * tokens``.
    """

    pair_s: float
    context_s: float
    read_s: float
    window_s: float
    token_s: float
    pair_flops: float
    context_flops: float
    token_flops: float
    read_hbm: float
    window_flops: float
    window: int
    fixed_s: float


def context_edges(forward: ForwardPass) -> tuple[int, ...]:
    """Mean contexts at which the line of decode attention changes: its linearisation's grid."""
    model = forward.model
    return (model.sliding_window,) if model.sliding_layers and model.sliding_window else ()


def decode_lines(forward: ForwardPass, clock: float, sequences: int) -> tuple[DecodeLine, ...]:
    """The line below the first edge, between the edges, and above the last.

    A token of context costs the longer of its compute and its memory time (rounded off as all
    kernels are); a sequence costs ``decode_pad_context`` tokens more than it has, in each layer.

    Args:
        forward: The forward pass whose attention it is.
        clock: Fraction of the nominal clock.
        sequences: Decoding sequences; beyond the pipeline's stages it makes no difference.
    """
    model, layout = forward.model, forward.layout
    law = forward.efficiency.kernels
    flops = arch.decode_pair_flops(model) / layout.tp
    moved = arch.kv_bytes_per_layer(model, forward.kv_cache, layout.tp)
    layer_s = _decode_layer_s(forward, forward.verified, clock)
    full_layer_s = _decode_layer_s(forward, forward.verified, 1.0)
    # Drafts of an MTP layer attend to the context too, one query at a time.
    drafted = forward.draft_tokens
    draft_s = drafted * _decode_layer_s(forward, 1, clock)
    full_draft_s = drafted * _decode_layer_s(forward, 1, 1.0)
    layers = arch.attention_layers(model)
    # A lap sees each microbatch in every layer, or all of them in the slowest stage's layers.
    spread = max(1.0 / min(sequences, layout.pp), -(-model.layers // layout.pp) / model.layers)

    def line(full_layers: int, windowed: int) -> DecodeLine:
        tokens = windowed * model.sliding_window
        padding = layers * law.decode_pad_context + tokens
        pad = law.decode_pad_context
        return DecodeLine(
            fixed_s=(padding * layer_s + pad * draft_s) * spread,
            token_s=(full_layers * layer_s + draft_s) * spread,
            full_fixed_s=(padding * full_layer_s + pad * full_draft_s) * spread,
            full_token_s=(full_layers * full_layer_s + full_draft_s) * spread,
            fixed_flops=tokens * flops * forward.verified / layout.pp,
            token_flops=(full_layers * forward.verified + drafted) * flops / layout.pp,
            fixed_hbm=tokens * moved / layout.pp,
            token_hbm=(full_layers + drafted) * moved / layout.pp,
        )

    if not context_edges(forward):
        return (line(layers, 0),)
    return (line(layers, 0), line(layers - model.sliding_layers, model.sliding_layers))


def _decode_layer_s(forward: ForwardPass, queries: int, clock: float) -> float:
    """Seconds of a token of context in one layer, for so many queries of its sequence.

    Whatever the engine makes of the kernel, it is never below the roofline.
    """
    model, tp = forward.model, forward.layout.tp
    machine, law, engine = (
        forward.machine,
        forward.efficiency.kernels,
        forward.efficiency.engine,
    )
    heads = max(model.heads / tp, 1.0)
    compute_s = arch.decode_pair_flops(model) / tp * queries / (machine.fp16 * clock)
    read_s = arch.kv_bytes_per_layer(model, forward.kv_cache, tp) / machine.hbm
    padding = 1.0 + law.decode_pad_rows / (heads * queries)
    reached = law.decode_fp8_memory if forward.kv_cache == "fp8" else law.decode_memory
    kernel_s = _longer(compute_s * padding / law.decode_compute, read_s / reached)
    scale = engine.kernel_time * engine.decode_attention_time
    return max(scale * kernel_s, compute_s, read_s)


def prefill_rates(forward: ForwardPass, clock: float) -> PrefillRates:
    """Rates of prefill attention at a clock.

    The softmax costs as much as ``prefill_softmax_dims`` more dimensions of each head and product;
    each prompt token attends to ``prefill_pad_context`` positions more than it has.
    """
    model, layout = forward.model, forward.layout
    machine, law = forward.machine, forward.efficiency.kernels
    windowed = model.sliding_layers if model.sliding_window else 0
    full = arch.attention_layers(model) - windowed
    engine = forward.efficiency.engine
    scale = engine.kernel_time * engine.prefill_attention_time
    # Prompt tokens are spread over microbatches, so a lap passes them through the slowest stage.
    spread = -(-model.layers // layout.pp) / model.layers
    flops = arch.prefill_pair_flops(model) / layout.tp
    softmax = 4.0 * model.heads * law.prefill_softmax_dims / layout.tp
    expansion = arch.mla_expansion(model, forward.weights)
    expand = 2.0 * expansion.inputs * expansion.outputs / layout.tp if expansion else 0.0
    expand_s = 0.0
    if expansion:
        stored = storage(model, expansion.format)
        reached = forward.efficiency.products[stored].compute
        expand_s = max(scale / reached, 1.0) * expand / (machine.peak(stored) * clock)
    moved = arch.kv_bytes_per_layer(model, forward.kv_cache, layout.tp)
    # Whatever the engine makes of the kernels, they are never below the roofline.
    padded_s = scale * (flops + softmax) / (machine.fp16 * law.prefill_compute * clock)
    pair_s = max(padded_s, flops / (machine.fp16 * clock))
    token_s = (full + windowed) * law.prefill_pad_context * pair_s
    linear = model.linear_layers * arch.linear_attention_token_flops(model) / layout.tp
    token_s += max(scale / law.prefill_compute, 1.0) * linear / (machine.fp16 * clock)
    launches = max(1.0, layout.pp * spread) * scale * model.layers
    return PrefillRates(
        pair_s=full * pair_s * spread,
        context_s=full * expand_s * spread,
        read_s=full * max(scale / law.decode_memory, 1.0) * moved / machine.hbm * spread,
        window_s=windowed * pair_s * spread,
        token_s=token_s * spread,
        pair_flops=full * flops / layout.pp,
        context_flops=full * expand / layout.pp,
        token_flops=linear / layout.pp,
        read_hbm=full * moved / layout.pp,
        window_flops=windowed * flops / layout.pp,
        window=model.sliding_window if windowed else 0,
        fixed_s=launches * law.prefill_launch_us * 1e-6,
    )


def _longer(compute_s: float, memory_s: float) -> float:
    return float((compute_s**SHARPNESS + memory_s**SHARPNESS) ** (1.0 / SHARPNESS))
