"""How KV gets from prefill to decode, and which prompts need not go that way."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Count, NonNegative, NonNegativeCount, Part, Positive, Ratio

Network = Literal["auto", "nvlink", "infiniband", "ethernet"]
LocalPolicy = Literal["isl_bounding", "prefill_load", "isl_or_load", "prefill_queue"]

Oversubscription = Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)]


class KvTransfer(Part):
    """The path that KV takes from prefill to decode."""

    network: Network = Field(
        default="auto",
        description="Links between the pools. auto: NVLink where both ranks stand in one NVLink "
        "domain, else InfiniBand, for each pair of its own.",
    )
    overlap: Literal["after", "by_layer"] = Field(
        default="after",
        description="after: KV leaves when its prompt is computed; by_layer: layer by layer while "
        "it is, into room reserved on the decode side when prefill begins.",
    )
    bandwidth_gb_s: NonNegative | None = Field(
        default=None,
        description="GB/s of each GPU each way that transfers reach, shared with no other replica; "
        "by default what the network carries, from the catalogue.",
    )
    latency_ms: NonNegative | None = Field(
        default=None,
        description="Fixed latency of a transfer, ms; by default 0.1 on NVLink and InfiniBand, 0.2 "
        "on Ethernet.",
    )
    efficiency_ratio: Ratio | None = Field(
        default=None,
        description="Share of its links' bandwidth that a transfer reaches; by default 0.9 on "
        "NVLink and InfiniBand, 0.87 on Ethernet.",
    )
    nics_per_node: NonNegativeCount | None = Field(
        default=None,
        description="Network cards of a node, which all its GPUs share; by default each GPU has "
        "its own.",
    )
    nic_gb_s: Positive | None = Field(
        default=None,
        description="GB/s of a network card each way; by default the GPU's share of the scale-out "
        "network, from the catalogue.",
    )
    oversubscription: Oversubscription = Field(
        default=1.0,
        description="Bandwidth of a rack's network cards over that of its uplinks; 1 never binds.",
    )


class ConditionalDisaggregation(Part):
    """Which prompts are prefilled where they will be decoded, without a transfer.

    Policies and defaults are those of Dynamo's conditional disaggregation (1.5, 2026) and, as
    `prefill_queue`, of its first router (0.3, 2025).
    """

    policy: LocalPolicy = Field(
        default="isl_bounding",
        description="isl_bounding: short and mostly cached at the decode replica; prefill_load: "
        "too many prompts wait for prefill; isl_or_load: either; prefill_queue: short, or too many "
        "wait.",
    )
    max_uncached_tokens: Count | None = Field(
        default=None,
        description="isl_bounding, isl_or_load: uncached prompt tokens must be below this "
        "(Dynamo's eff_isl_threshold), by default 2048; prefill_queue: at most this "
        "(max_local_prefill_length), by default 1000.",
    )
    max_uncached_ratio: Ratio | None = Field(
        default=None,
        description="isl_bounding, isl_or_load: uncached over all prompt tokens must be below this "
        "(eff_isl_ratio_threshold); by default 0.7.",
    )
    max_queued_prefills: Count | None = Field(
        default=None,
        description="prefill_load, isl_or_load, prefill_queue: prompts that wait for prefill at "
        "which the next stays (max_prefill_queue_size); by default 2.",
    )


LOCAL_FIELDS: dict[str, tuple[LocalPolicy, ...]] = {
    "max_uncached_tokens": ("isl_bounding", "isl_or_load", "prefill_queue"),
    "max_uncached_ratio": ("isl_bounding", "isl_or_load"),
    "max_queued_prefills": ("prefill_load", "isl_or_load", "prefill_queue"),
}
"""Fields of `ConditionalDisaggregation` that belong to some policies, and to which."""
