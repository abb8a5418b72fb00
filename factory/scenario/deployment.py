"""The serving side of a scenario: models, pools, engines, routers and KV transfer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from factory.scenario.base import (
    Count,
    Flag,
    Name,
    NonNegative,
    Part,
    Positive,
    Ratio,
    Share,
    Text,
)

RouterPolicy = Literal["random", "round_robin", "least_loaded", "kv_aware"]
Role = Literal["prefill", "decode", "aggregated"]


class Precision(Part):
    """Number formats."""

    weights: Literal["fp16", "fp8", "fp4"] = Field(
        default="fp8", description="Format of the weights and of the matrix products."
    )
    kv_cache: Literal["fp16", "fp8"] = Field(default="fp8", description="Format of the KV cache.")


class Router(Part):
    """How a request finds its replica."""

    policy: RouterPolicy = Field(default="kv_aware", description="Rule that picks the replica.")
    overlap_weight: NonNegative = Field(
        default=1.0, description="kv_aware: weight of the cached prefix against the load."
    )
    load_weight: NonNegative = Field(
        default=1.0, description="kv_aware: weight of the waiting and running work."
    )


class DecodeRouter(Router):
    """How a prefilled request finds its decode replica."""

    policy: RouterPolicy = Field(default="least_loaded", description="Rule that picks the replica.")


class KvTransfer(Part):
    """The path that KV takes from prefill to decode."""

    bandwidth_gb_s: Positive | None = Field(
        default=None,
        description="GB/s per GPU of the sender; by default NVLink inside an NVLink domain and the "
        "scale-out network between domains.",
    )
    latency_ms: NonNegative = Field(default=0.1, description="Fixed latency of a transfer, ms.")


class Parallel(Part):
    """How one replica is spread over GPUs."""

    tp: Count = Field(default=1, description="Tensor-parallel ranks.")
    pp: Count = Field(default=1, description="Pipeline stages.")
    dp: Count = Field(default=1, description="Attention data-parallel ranks of one replica.")
    ep: Count = Field(default=1, description="Expert-parallel ranks, laid over tp x dp.")

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of one replica: tp x pp x dp."""
        return self.tp * self.pp * self.dp


class Reference(Part):
    """The efficient operating point that the load factor is measured against."""

    context_tokens: Count = Field(default=4096, description="Context of a sequence, tokens.")


class StepModel(Part):
    """How long a step takes."""

    kind: Literal["roofline", "fixed", "table", "aic"] = Field(
        default="roofline",
        description="roofline: from hardware and model; fixed: stated below; table: measured, from "
        "a CSV file; aic: AIConfigurator's silicon database (extra aic).",
    )
    base_ms: NonNegative | None = Field(default=None, description="fixed: ms of every step.")
    per_seq_ms: NonNegative | None = Field(
        default=None, description="fixed: ms per decoding sequence in the step."
    )
    per_prefill_token_ms: NonNegative | None = Field(
        default=None, description="fixed: ms per prompt token computed in the step."
    )
    path: Text | None = Field(
        default=None,
        description="table: CSV of phase, batch, context, milliseconds; relative to the scenario's "
        "file.",
    )
    sha256: Text | None = Field(
        default=None, description="table: digest of the file; filled in, and checked if stated."
    )
    extrapolate: Flag | None = Field(
        default=None,
        description="table: go beyond its last rows along their lines, with a note on the run; by "
        "default that is an error.",
    )
    backend: Literal["trtllm", "sglang", "vllm"] | None = Field(
        default=None, description="aic: engine whose kernels were measured; by default trtllm."
    )
    version: Text | None = Field(
        default=None, description="aic: version of that engine; by default the current one."
    )
    system: Name | None = Field(
        default=None, description="aic: the database's system; by default that of the pool's racks."
    )
    model: Text | None = Field(
        default=None,
        description="aic: Hugging Face id, or folder of a config.json; by default the model's.",
    )


class Engine(Part):
    """Limits of the serving engine; per attention data-parallel rank where it says so."""

    profile: Name = Field(
        default="generic",
        description="Engine and era, from the catalogue: what it adds to the kernels' time.",
    )
    max_num_seqs: Count = Field(default=256, description="Sequences in a batch, per rank.")
    max_num_batched_tokens: Count = Field(default=8192, description="Tokens in a step, per rank.")
    gpu_memory_utilization: Ratio = Field(
        default=0.9, description="Share of GPU memory for weights, activations and KV cache."
    )
    enable_prefix_caching: Flag = Field(default=True, description="Keep KV for later prompts.")
    max_model_len: Count | None = Field(
        default=None, description="Longest prompt + output, tokens; by default the model's."
    )
    step_overhead_ms: NonNegative | None = Field(
        default=None,
        description="Fixed overhead of a step, ms; by default the roofline's own, and none on top "
        "of a table's or the database's times.",
    )
    step_model: StepModel = Field(default=StepModel(), description="How long a step takes.")
    kv_capacity_tokens: Count | None = Field(
        default=None, description="KV cache, tokens per rank; by default what memory leaves."
    )


class Pool(Part):
    """Identical replicas with one role."""

    name: Name = Field(description="Name of the pool.")
    role: Role = Field(description="What its replicas do.")
    racks: Name = Field(description="Name of the rack group it stands in.")
    replicas: Count = Field(description="Number of replicas.")
    parallel: Parallel = Field(default=Parallel(), description="Layout of one replica.")
    clock_ratio: Ratio = Field(default=1.0, description="GPU clock over its highest.")
    reference: Reference = Field(default=Reference(), description="Efficient operating point.")
    engine: Engine = Field(default=Engine(), description="Limits of the serving engine.")

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of one replica: tp x pp x dp."""
        return self.parallel.gpus_per_replica

    @property
    def gpus(self) -> int:
        """GPUs of the pool."""
        return self.replicas * self.gpus_per_replica


def _listed(value: Any) -> Any:
    """Accept one number for a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


class Speculation(Part):
    """Drafts of the next tokens, verified in one decode step."""

    method: Literal["mtp"] = Field(
        default="mtp", description="Who drafts: mtp, the model's own multi-token-prediction layers."
    )
    draft_tokens: Count = Field(description="Drafts of each sequence that a step verifies.")
    acceptance: Annotated[tuple[Share, ...], BeforeValidator(_listed), Field(min_length=1)] = Field(
        description="Chance that a draft is accepted if those before it were: one number for all, "
        "or one per draft."
    )

    @property
    def chances(self) -> tuple[float, ...]:
        """`acceptance`, one number per draft."""
        given = self.acceptance
        return given * self.draft_tokens if len(given) == 1 else given


class Deployment(Part):
    """One model served by pools, routers and a KV-transfer fabric."""

    name: Name = Field(description="Name of the deployment.")
    model: Name = Field(
        description="Model, from the catalogue or the scenario's own; or {hf_config: PATH, name: "
        "NAME} to read a Hugging Face config.json (relative to the scenario's file)."
    )
    precision: Precision = Field(default=Precision(), description="Number formats.")
    router: Router = Field(default=Router(), description="To the prefill (or aggregated) replica.")
    decode_router: DecodeRouter = Field(
        default=DecodeRouter(), description="From prefill to the decode replica."
    )
    kv_transfer: KvTransfer = Field(default=KvTransfer(), description="From prefill to decode.")
    speculation: Speculation | None = Field(
        default=None, description="Drafts verified by each decode step; by default none."
    )
    block_size: Count | None = Field(
        default=None, description="Tokens of a KV block; by default the trace's, else 64."
    )
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)] = Field(description="The pools.")
