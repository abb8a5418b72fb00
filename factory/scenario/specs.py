"""Catalogue records: plain numbers, each with where it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from factory.scenario.kernels import EngineSpec, KernelSpec, ProductSpec

Kind = Literal["measured", "published", "fitted", "assumed"]
Attention = Literal["gqa", "mla"]
QkNorm = Literal["none", "head", "layer"]
Fp4Kind = Literal["nvfp4", "mxfp4", "int4"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a number comes from.

    Attributes:
        kind: measured, published, fitted (the source says to what) or assumed (it says why).
        source: who says so.
        date: when it was said or read, ``YYYY-MM`` or ``YYYY-MM-DD``.
    """

    kind: Kind
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """One GPU.

    Power at full clock, W (fitted, see the provenance; `factory.power.gpu_watts` has the clock)::

        min(tdp_w, idle_loaded_w + power_busy_w·busy + power_mfu_w·MFU + power_mem_w·sqrt(MBU))

    Attributes:
        name: key in the catalogue.
        generation: ampere, hopper, blackwell, cdna3 or cdna4.
        fp16_tflops: dense 16-bit tensor throughput, TFLOP/s.
        fp8_tflops: dense 8-bit tensor throughput, TFLOP/s; None if absent.
        fp4_tflops: dense 4-bit tensor throughput, TFLOP/s; None if absent.
        fp8_sparse_tflops: as advertised with 2:4 sparsity, TFLOP/s; None if absent.
        fp4_sparse_tflops: as advertised with 2:4 sparsity, TFLOP/s; None if absent.
        hbm_gb: memory, 1e9 bytes.
        hbm_tb_s: memory bandwidth, 1e12 bytes/s.
        nvlink_gb_s: scale-up links (NVLink, or Infinity Fabric), one direction, 1e9 bytes/s.
        scaleout_gb_s: share of the scale-out network, one direction, 1e9 bytes/s.
        host_link_gb_s: link to host memory, one direction, 1e9 bytes/s.
        tdp_w: thermal design power, W.
        idle_bare_w: idle without a context, W.
        idle_loaded_w: idle with a model loaded, W.
        power_busy_w: W at busy = 1.
        power_mfu_w: W at MFU = 1.
        power_mem_w: W at MBU = 1.
        power_mem_core_ratio: share of power_mem_w drawn on the core side (caches, on-chip network),
            which follows the core's voltage; the memory itself has its own clock.
        voltage_slope_ratio: fall of the core's voltage, over that at full clock, per unit of clock.
        voltage_floor_ratio: lowest core voltage over that at full clock.
        min_clock_ratio: lowest clock over the highest.
        provenance: by field.
    """

    name: str
    generation: str
    fp16_tflops: float
    fp8_tflops: float | None
    fp4_tflops: float | None
    fp8_sparse_tflops: float | None
    fp4_sparse_tflops: float | None
    hbm_gb: float
    hbm_tb_s: float
    nvlink_gb_s: float
    scaleout_gb_s: float
    host_link_gb_s: float
    tdp_w: float
    idle_bare_w: float
    idle_loaded_w: float
    power_busy_w: float
    power_mfu_w: float
    power_mem_w: float
    power_mem_core_ratio: float
    voltage_slope_ratio: float
    voltage_floor_ratio: float
    min_clock_ratio: float
    provenance: Mapping[str, Provenance] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """A server or rack that GPUs come in.

    Power beside the GPUs is in W per GPU; `factory.power.rack` says how the parts make up a rack.

    Attributes:
        name: key in the catalogue.
        gpu: GPU, from the catalogue.
        scale_up: what joins the GPUs of a domain, in words.
        gpus_per_node: GPUs of a node (the blast radius of a node failure).
        nvlink_domain_gpus: GPUs that reach each other over the scale-up links.
        gpus_per_rack: GPUs of a rack.
        other_it_w_per_gpu: IT power per GPU beside the GPU, at its TDP, W: what the parts below are
            held to, power supplies' losses and share of the network included.
        load_gpu_w: draw of a GPU at which the figures at load hold (its TDP), W.
        host_base_w: CPUs, their memory and boards while GPUs draw nothing, W.
        host_load_w: what they draw more at load, W.
        nic_w: NICs, DPUs and transceivers in the servers, at any load, W.
        switch_base_w: scale-up switches (NVSwitch) while GPUs draw nothing, W; 0 if none.
        switch_load_w: what they draw more at load, W.
        storage_w: drives in the servers, W.
        fan_w: fans of the servers at load, W.
        pump_w: pumps of coolant in the rack at load, W; 0 where air cools, or a unit in the row.
        cooling_least_speed_ratio: lowest speed of fans and pumps over that at load.
        network_w: share of the scale-out switches, which have power supplies of their own, W.
        psu_rated_w: rated output of all power supplies, which share the load, W.
        psu_efficiency_10_ratio: their efficiency at 10 % of rated output.
        psu_efficiency_20_ratio: at 20 %.
        psu_efficiency_50_ratio: at 50 %.
        design_it_kw_per_gpu: IT power per GPU to provision for, kW.
        facility_kw_per_gpu_published: facility power per GPU as published in 2025, kW.
        design_pue: PUE at peak that the design assumes.
        peak_pflops_label: what ``peak_pflops`` counts, e.g. ``sparse FP8``.
        peak_pflops: peak per GPU as the published PFLOPS-per-$ divides it, PFLOP/s.
        provenance: by field.
    """

    name: str
    gpu: str
    scale_up: str
    gpus_per_node: int
    nvlink_domain_gpus: int
    gpus_per_rack: int
    other_it_w_per_gpu: float
    load_gpu_w: float
    host_base_w: float
    host_load_w: float
    nic_w: float
    switch_base_w: float
    switch_load_w: float
    storage_w: float
    fan_w: float
    pump_w: float
    cooling_least_speed_ratio: float
    network_w: float
    psu_rated_w: float
    psu_efficiency_10_ratio: float
    psu_efficiency_20_ratio: float
    psu_efficiency_50_ratio: float
    design_it_kw_per_gpu: float
    facility_kw_per_gpu_published: float
    design_pue: float
    peak_pflops_label: str
    peak_pflops: float
    provenance: Mapping[str, Provenance] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The architecture of a model; counts are 0 where a part is absent.

    Attributes:
        name: key in the catalogue.
        hf_id: name on Hugging Face.
        layers: transformer layers.
        hidden: width of the residual stream.
        heads: query heads.
        kv_heads: key-value heads (gqa).
        head_dim: size of a query-key head (mla: without and with position together).
        attention: gqa or mla.
        q_lora_rank: mla: rank of the query projection; 0 if it is full.
        kv_lora_rank: mla: rank of the compressed KV.
        qk_nope_head_dim: mla: head size without position.
        qk_rope_head_dim: mla: head size with position.
        v_head_dim: size of a value head.
        dense_layers: layers whose MLP is dense.
        dense_intermediate: width of a dense MLP.
        moe_intermediate: width of an expert.
        experts: routed experts of a MoE layer.
        experts_per_token: routed experts a token visits.
        shared_experts: experts every token visits.
        vocab: vocabulary.
        tie_embeddings: whether the LM head is the embedding.
        sliding_window: window of the sliding layers, tokens; 0 if none.
        sliding_layers: layers with a sliding window.
        max_context: longest context, tokens.
        mtp_layers: multi-token-prediction layers that the published weights hold.
        qk_norm: RMS norm of queries and keys: none, one weight per value of a head, or one per
            value of all heads of a layer.
        qkv_bias: whether query, key and value projections have biases.
        output_bias: whether the attention's output projection has one.
        attention_sinks: whether each head has a learned sink.
        attention_gate: whether attention's output is gated (the query projection is twice as wide).
        router_bias: whether the router has a bias.
        router_correction: whether each expert has an FP32 score correction.
        router_bytes: bytes of a router's weight.
        expert_bias: whether experts have biases.
        shared_expert_gate: whether the shared experts' output is gated by a vector.
        linear_layers: layers of gated linear attention (Gated DeltaNet) in place of attention.
        linear_key_heads, linear_value_heads: their heads.
        linear_key_head_dim, linear_value_head_dim: sizes of these heads.
        linear_conv_kernel: width of their causal convolution, tokens.
        linear_state_bytes: bytes of a value of their recurrent state.
        fp8_block: side of the square block that shares a scale in the FP8 checkpoint; 0 if a whole
            matrix does.
        fp8_scale_bytes: bytes of such a scale.
        fp8_excluded: matrices that the FP8 checkpoint keeps in 16 bits, by name (``Matrix.name`` of
            ``factory.performance.architecture``; ``mtp`` for all of the MTP layers). Routers,
            embeddings, LM head and norms always stay so.
        fp4_kind: format of the 4-bit checkpoint. nvfp4 has an FP32 scale per matrix besides.
        fp4_group: values that share a scale in it.
        fp4_scale_bytes: bytes of such a scale.
        fp4_excluded: as ``fp8_excluded``, of the 4-bit checkpoint.
        provenance: by field.
    """

    name: str
    hf_id: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    attention: Attention
    q_lora_rank: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    dense_layers: int
    dense_intermediate: int
    moe_intermediate: int
    experts: int
    experts_per_token: int
    shared_experts: int
    vocab: int
    tie_embeddings: bool
    sliding_window: int
    sliding_layers: int
    max_context: int
    mtp_layers: int
    qk_norm: QkNorm
    qkv_bias: bool
    output_bias: bool
    attention_sinks: bool
    attention_gate: bool
    router_bias: bool
    router_correction: bool
    router_bytes: int
    expert_bias: bool
    shared_expert_gate: bool
    linear_layers: int
    linear_key_heads: int
    linear_value_heads: int
    linear_key_head_dim: int
    linear_value_head_dim: int
    linear_conv_kernel: int
    linear_state_bytes: int
    fp8_block: int
    fp8_scale_bytes: int
    fp8_excluded: tuple[str, ...]
    fp4_kind: Fp4Kind
    fp4_group: int
    fp4_scale_bytes: int
    fp4_excluded: tuple[str, ...]
    provenance: Mapping[str, Provenance] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What a GPU-hour costs, by system.

    Attributes:
        name: key in the catalogue.
        date: date of its dollars, ``YYYY-MM``.
        currency: always USD.
        covers: what the price includes: server, network, facility, electricity, staff.
        usd_per_gpu_hour: by system, USD per GPU-hour.
        provenance: by system.
    """

    name: str
    date: str
    currency: str
    covers: tuple[str, ...]
    usd_per_gpu_hour: Mapping[str, float]
    provenance: Mapping[str, Provenance] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a scenario can refer to, by name."""

    gpus: Mapping[str, GpuSpec]
    systems: Mapping[str, SystemSpec]
    models: Mapping[str, ModelSpec]
    price_books: Mapping[str, PriceBook]
    products: Mapping[str, ProductSpec]
    kernels: Mapping[str, KernelSpec]
    engines: Mapping[str, EngineSpec]
