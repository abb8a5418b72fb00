"""Seconds and work of attention over context: piecewise affine in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.performance import architecture as arch
from factory.performance.forward import kv_bytes_per_layer

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
    ``window_s * min(pairs, window * tokens)`` for sliding layers.
    """

    pair_s: float
    context_s: float
    read_s: float
    window_s: float
    pair_flops: float
    context_flops: float
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

    Args:
        forward: The forward pass whose attention it is.
        clock: Fraction of the nominal clock.
        sequences: Decoding sequences; beyond the pipeline's stages it makes no difference.
    """
    model, layout = forward.model, forward.layout
    machine, eff = forward.machine, forward.efficiency
    flops = arch.decode_pair_flops(model) / layout.tp
    moved = kv_bytes_per_layer(model, forward.kv_cache, layout.tp)
    read_s = moved / (machine.hbm * eff.decode_hbm)
    compute_s = flops / (machine.fp16 * eff.decode_compute)
    layer_s, full_layer_s = max(compute_s / clock, read_s), max(compute_s, read_s)
    # A lap sees each microbatch in every layer, or all of them in the slowest stage's layers.
    spread = max(1.0 / min(sequences, layout.pp), -(-model.layers // layout.pp) / model.layers)

    def line(full_layers: int, windowed: int) -> DecodeLine:
        tokens = windowed * model.sliding_window
        return DecodeLine(
            fixed_s=tokens * layer_s * spread,
            token_s=full_layers * layer_s * spread,
            full_fixed_s=tokens * full_layer_s * spread,
            full_token_s=full_layers * full_layer_s * spread,
            fixed_flops=tokens * flops / layout.pp,
            token_flops=full_layers * flops / layout.pp,
            fixed_hbm=tokens * moved / layout.pp,
            token_hbm=full_layers * moved / layout.pp,
        )

    if not context_edges(forward):
        return (line(model.layers, 0),)
    return (
        line(model.layers, 0),
        line(model.layers - model.sliding_layers, model.sliding_layers),
    )


def prefill_rates(forward: ForwardPass, clock: float) -> PrefillRates:
    """Rates of prefill attention at a clock."""
    model, layout = forward.model, forward.layout
    machine, eff = forward.machine, forward.efficiency
    windowed = model.sliding_layers if model.sliding_window else 0
    full = model.layers - windowed
    # Prompt tokens are spread over microbatches, so a lap passes them through the slowest stage.
    spread = -(-model.layers // layout.pp) / model.layers
    flops = arch.prefill_pair_flops(model) / layout.tp
    expansion = arch.mla_expansion(model, forward.weights)
    expand = 2.0 * expansion.inputs * expansion.outputs / layout.tp if expansion else 0.0
    expand_peak = machine.peak(expansion.format) if expansion else machine.fp16
    moved = kv_bytes_per_layer(model, forward.kv_cache, layout.tp)
    pair_s = flops / (machine.fp16 * eff.prefill_compute * clock)
    expand_s = expand / (expand_peak * eff.gemm_compute * clock)
    return PrefillRates(
        pair_s=full * pair_s * spread,
        context_s=full * expand_s * spread,
        read_s=full * moved / (machine.hbm * eff.decode_hbm) * spread,
        window_s=windowed * pair_s * spread,
        pair_flops=full * flops / layout.pp,
        context_flops=full * expand / layout.pp,
        read_hbm=full * moved / layout.pp,
        window_flops=windowed * flops / layout.pp,
        window=model.sliding_window if windowed else 0,
        fixed_s=max(1.0, layout.pp * spread) * model.layers * eff.attention_s,
    )
