"""The serving side of a scenario: models, pools, engines, routers and KV transfer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from factory.scenario.admission import Admission
from factory.scenario.autoscaling import Autoscaling
from factory.scenario.base import (
    Count,
    Flag,
    Name,
    NonNegative,
    Part,
    Ratio,
    Share,
    Text,
)
from factory.scenario.kv_cache import KvCache
from factory.scenario.pool_power import PoolPower
from factory.scenario.routing import DecodeRouter, Router
from factory.scenario.scheduling import Scheduler
from factory.scenario.transfer import ConditionalDisaggregation, KvTransfer

Role = Literal["prefill", "decode", "aggregated"]


class Precision(Part):
    """Number formats."""

    weights: Literal["fp16", "fp8", "fp4"] = Field(
        default="fp8", description="Format of the weights and of the matrix products."
    )
    kv_cache: Literal["fp16", "fp8"] = Field(default="fp8", description="Format of the KV cache.")


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
    hybrid_kv_cache: Flag = Field(
        default=True,
        description="Sliding-window layers keep the KV of their window alone, in models that have "
        "full layers too; without it they keep that of the whole context.",
    )
    sliding_kv_ratio: Ratio | None = Field(
        default=None,
        description="Tokens that sliding-window layers have room for, over those of full layers, "
        "in an engine that splits its KV cache at a fixed ratio (SGLang: 0.8); by default what "
        "running sequences need.",
    )
    scheduler: Scheduler = Field(default=Scheduler(), description="How it fills its steps.")


class Pool(Part):
    """Identical replicas with one role."""

    name: Name = Field(description="Name of the pool.")
    role: Role = Field(description="What its replicas do.")
    racks: Name = Field(description="Name of the rack group it stands in.")
    replicas: Count = Field(description="Number of replicas.")
    parallel: Parallel = Field(default=Parallel(), description="Layout of one replica.")
    clock_ratio: Ratio = Field(default=1.0, description="GPU clock over its highest.")
    power: PoolPower = Field(
        default=PoolPower(), description="Caps, power profile and priority of its GPUs."
    )
    reference: Reference = Field(default=Reference(), description="Efficient operating point.")
    engine: Engine = Field(default=Engine(), description="Limits of the serving engine.")
    kv_cache: KvCache = Field(
        default=KvCache(), description="What of its KV is kept for later prompts, and where."
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="How the number of replicas follows the load; by default fixed."
    )

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of one replica: tp x pp x dp."""
        return self.parallel.gpus_per_replica

    @property
    def most_replicas(self) -> int:
        """Replicas that there is room for."""
        scaling = self.autoscaling
        return self.replicas if scaling is None else max(self.replicas, scaling.max_replicas)

    @property
    def gpus(self) -> int:
        """GPUs that the pool takes, those of replicas that are not up yet included."""
        return self.most_replicas * self.gpus_per_replica


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
    conditional_disaggregation: ConditionalDisaggregation | None = Field(
        default=None,
        description="Which prompts the decode pool prefills itself; by default none.",
    )
    speculation: Speculation | None = Field(
        default=None, description="Drafts verified by each decode step; by default none."
    )
    admission: Admission = Field(
        default=Admission(), description="Who enters, and what happens at the limits."
    )
    block_size: Count | None = Field(
        default=None, description="Tokens of a KV block; by default the trace's, else 64."
    )
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)] = Field(description="The pools.")
