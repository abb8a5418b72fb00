"""How well kernels and engines use a GPU: the fitted part of the catalogue.

A kernel lasts ``launch + (compute ** p + memory ** p) ** (1 / p)`` with ``p = 2.5``: the longer of
the two, and somewhat more where they are alike. ``compute`` is the FLOPs over the peak times the
fraction named here, of a shape padded by the constants named here (tiles that are not full,
pipelines that fill and drain); ``memory`` is bytes over the peak bandwidth times a fraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from factory.scenario.specs import Provenance

Exchange = Literal["gather", "alltoall"]

FRACTIONS = frozenset(
    {
        "compute", "memory", "quantize", "experts_compute", "experts_memory", "experts_permute",
        "decode_compute", "decode_memory", "decode_fp8_memory", "prefill_compute", "stream_memory",
        "link",
    }
)  # fmt: skip
"""Fields that are a fraction of a peak: above 0, at most 1."""

SHARES = frozenset({"shared_overlap", "exchange_overlap"})
"""Fields that are a share: from 0 to 1."""

POSITIVE = frozenset(
    {
        "experts_dispersion", "reduce_ramp_mb", "scaleout_rails", "kernel_time",
        "decode_attention_time", "prefill_attention_time", "expert_time", "expert_compute_time",
    }
)  # fmt: skip
"""Fields that divide or multiply: above 0. All others are 0 or more."""


@dataclass(frozen=True, slots=True)
class ProductSpec:
    """Matrix products of one GPU generation with weights of one format.

    Attributes:
        name: key in the catalogue: generation, hyphen, storage of the weights (fp16; fp8 with one
            scale per tensor, fp8_block with one per 128 x 128; nvfp4 computed in 4 bits, mxfp4
            expanded and computed in 16).
        launch_us: fixed time of a product, of its activations' quantisation too, microseconds.
        compute: fraction of peak FLOP/s that a large product reaches.
        memory: fraction of peak HBM bandwidth.
        pad_rows: rows added to each product.
        pad_inner: added to the inner dimension of each product.
        quantize: fraction of peak HBM bandwidth at which activations are quantised.
        experts_launch_us: fixed time of all grouped kernels of a mixture of experts.
        experts_compute: fraction of peak FLOP/s that they reach.
        experts_memory: fraction of peak HBM bandwidth.
        experts_pad_rows: rows added to each expert that has any.
        experts_pad_inner: added to the inner width of an expert on a GPU.
        experts_permute: fraction of peak HBM bandwidth at which tokens are permuted.
        provenance: by field.
    """

    name: str
    launch_us: float
    compute: float
    memory: float
    pad_rows: float
    pad_inner: float
    quantize: float
    experts_launch_us: float
    experts_compute: float
    experts_memory: float
    experts_pad_rows: float
    experts_pad_inner: float
    experts_permute: float
    provenance: Mapping[str, Provenance] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """Attention, element-wise kernels and collectives of one GPU generation.

    Attributes:
        name: key in the catalogue: the ``GpuSpec.generation``.
        experts_dispersion: how unevenly tokens choose experts: with ``x`` the mean rows of an
            expert, ``(1 + x / experts_dispersion) ** -experts_dispersion`` of them get none.
        decode_launch_us: fixed time of attention in a layer of a decode step, microseconds.
        decode_compute: fraction of peak 16-bit FLOP/s that decode attention reaches.
        decode_memory: fraction of peak HBM bandwidth.
        decode_fp8_memory: the same with an 8-bit KV cache.
        decode_pad_rows: query rows (heads times tokens of a sequence) added to those of a GPU.
        decode_pad_context: KV tokens added to each sequence.
        prefill_launch_us: fixed time of attention in a layer of prefill, microseconds.
        prefill_compute: fraction of peak 16-bit FLOP/s that prefill attention reaches.
        prefill_softmax_dims: cost of the softmax, in dimensions of a head.
        prefill_pad_context: KV tokens added to those that each prompt token attends to.
        stream_launch_us: fixed time of an element-wise kernel, microseconds.
        stream_memory: fraction of peak HBM bandwidth of element-wise kernels.
        reduce_launch_us: fixed time of an all-reduce inside an NVLink domain, microseconds.
        reduce_ramp_us: what a large all-reduce takes beyond its volume, microseconds.
        reduce_ramp_mb: volume at which half of that is reached, 1e6 bytes.
        link: fraction of the link bandwidth that collectives reach.
        exchange: whether tokens are gathered on every expert rank or sent where they go.
        exchange_launch_us: fixed time of a dispatch or combine inside a domain, microseconds.
        scaleout_launch_us: fixed time that a collective across domains adds, microseconds.
        scaleout_rails: network adapters of a domain that an all-reduce across domains drives.
        provenance: by field.
    """

    name: str
    experts_dispersion: float
    decode_launch_us: float
    decode_compute: float
    decode_memory: float
    decode_fp8_memory: float
    decode_pad_rows: float
    decode_pad_context: float
    prefill_launch_us: float
    prefill_compute: float
    prefill_softmax_dims: float
    prefill_pad_context: float
    stream_launch_us: float
    stream_memory: float
    reduce_launch_us: float
    reduce_ramp_us: float
    reduce_ramp_mb: float
    link: float
    exchange: Exchange
    exchange_launch_us: float
    scaleout_launch_us: float
    scaleout_rails: float
    provenance: Mapping[str, Provenance] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What a serving engine of some era makes of the kernels.

    Attributes:
        name: key in the catalogue.
        request_overhead_ms: from a client's sending to the scheduler: connection, tokenising, ms.
        request_wait_steps: steps of the entry pool that a request waits beside that, because the
            scheduler looks for new ones every so often.
        handover_wait_steps: steps of a decode replica between the arrival of a sequence's KV and
            its joining the batch.
        step_overhead_ms: host time of every step that nothing hides, ms.
        layer_overhead_us: fixed time of each layer beyond that of its kernels (kernels that are not
            fused, gaps between them), microseconds.
        sequence_overhead_us: host time per decoding sequence of a rank (scheduling, sampling,
            detokenising), microseconds.
        prompt_overhead_ms: host time per prompt that a step completes, ms.
        kernel_time: seconds of kernels over those of the generation's ``KernelSpec``.
        decode_attention_time, prefill_attention_time, expert_time: the same, beside it, of these.
        expert_compute_time: the same of what experts compute, beside ``expert_time``: it counts
            where they have many tokens.
        expert_parallel_fp8_us: fixed time of a layer of 8-bit experts spread over groups, beyond
            that of its kernels, microseconds.
        shared_overlap: share of the shared experts that hides behind the routed ones in steps
            small enough for a captured graph.
        exchange_overlap: share of dispatch and combine that hides behind compute.
        expert_skew: exponent ``s`` of the load of the busiest expert-parallel group over the mean,
            ``ep ** s``.
        provenance: by field.
    """

    name: str
    request_overhead_ms: float
    request_wait_steps: float
    handover_wait_steps: float
    step_overhead_ms: float
    layer_overhead_us: float
    sequence_overhead_us: float
    prompt_overhead_ms: float
    kernel_time: float
    decode_attention_time: float
    prefill_attention_time: float
    expert_time: float
    expert_compute_time: float
    expert_parallel_fp8_us: float
    shared_overlap: float
    exchange_overlap: float
    expert_skew: float
    provenance: Mapping[str, Provenance] = field(compare=False, repr=False)
