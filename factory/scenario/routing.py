"""The ``router`` sections of a scenario: a policy and its settings, in one flat section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from factory.scenario.base import Count, Flag, NonNegative, Part, Positive, Share

RouterPolicy = Literal[
    "random",
    "round_robin",
    "least_loaded",
    "session_affinity",
    "power_of_two",
    "prefix_threshold",
    "kv_cost",
    "weighted_scorers",
    "min_ttft",
    "power_aware",
    "kv_aware",
    "longest_prefix",
    "custom",
]

_STALE: Mapping[str, Any] = {"signal_interval_s": 0.0}
_INDEX: Mapping[str, Any] = {"index": "events", "index_delay_s": 0.0, "index_ttl_s": 120.0}

POLICY_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "random": {},
    "round_robin": {},
    "least_loaded": {**_STALE},
    "session_affinity": {"max_sessions": 65_536, **_STALE},
    "power_of_two": {**_STALE},
    "prefix_threshold": {
        "cache_threshold": 0.3,
        "balance_abs_threshold": 64,
        "balance_rel_threshold": 1.5,
        **_INDEX,
        **_STALE,
    },
    "kv_cost": {
        "prefill_load_scale": 1.0,
        "device_credit": 1.0,
        "host_credit": 0.75,
        "disk_credit": 0.25,
        "temperature": 0.0,
        **_INDEX,
        **_STALE,
    },
    "weighted_scorers": {
        "queue_weight": 2.0,
        "kv_use_weight": 2.0,
        "prefix_weight": 3.0,
        **_INDEX,
        **_STALE,
    },
    "min_ttft": {"early_rejection": True, "replicate_ratio": 2.0, **_INDEX, **_STALE},
    "power_aware": {"min_headroom": 0.1, "power_penalty": 4.0, **_STALE},
    "kv_aware": {
        "overlap_weight": 10.0,
        "load_weight": 0.05,
        "churn_weight": 2.0,
        **_INDEX,
        "index": "both",
        **_STALE,
    },
    "longest_prefix": {**_INDEX, **_STALE},
    "custom": {"entry": None, **_INDEX, **_STALE},
}
"""Fields of each policy, with their defaults."""

INDEX_READERS = tuple(policy for policy, fields in POLICY_FIELDS.items() if "index" in fields)
"""Policies that ask which slots hold the start of a prompt."""

_Entry = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]


class Router(Part):
    """How a request finds its replica."""

    policy: RouterPolicy = Field(default="kv_aware", description="Rule that picks the replica.")
    overlap_weight: NonNegative | None = Field(
        default=None,
        description="kv_aware: prompt tokens in the queue that a token to be computed is worth; by "
        "default 10.",
    )
    load_weight: NonNegative | None = Field(
        default=None,
        description="kv_aware: the same of a token of KV in use; by default 0.05.",
    )
    churn_weight: NonNegative | None = Field(
        default=None,
        description="kv_aware: the same of a token computed where most was computed lately, whose "
        "cache turns over fastest; by default 2.",
    )
    max_sessions: Count | None = Field(
        default=None, description="session_affinity: sessions remembered; by default 65536."
    )
    cache_threshold: Share | None = Field(
        default=None,
        description="prefix_threshold: share of the prompt above which the longest prefix decides; "
        "by default 0.3.",
    )
    balance_abs_threshold: NonNegative | None = Field(
        default=None,
        description="prefix_threshold: requests between the most and the least loaded replica "
        "above which load decides; by default 64.",
    )
    balance_rel_threshold: NonNegative | None = Field(
        default=None,
        description="prefix_threshold: and the ratio of the two loads; by default 1.5.",
    )
    prefill_load_scale: NonNegative | None = Field(
        default=None, description="kv_cost: weight of prefill against decode; by default 1."
    )
    device_credit: NonNegative | None = Field(
        default=None, description="kv_cost: worth of a block held on the GPU; by default 1."
    )
    host_credit: NonNegative | None = Field(
        default=None, description="kv_cost: worth of a block in host memory; by default 0.75."
    )
    disk_credit: NonNegative | None = Field(
        default=None, description="kv_cost: worth of a block on disk; by default 0.25."
    )
    temperature: NonNegative | None = Field(
        default=None,
        description="kv_cost: 0 takes the least cost, more draws by softmax; by default 0.",
    )
    queue_weight: NonNegative | None = Field(
        default=None, description="weighted_scorers: weight of short queues; by default 2."
    )
    kv_use_weight: NonNegative | None = Field(
        default=None, description="weighted_scorers: weight of free KV memory; by default 2."
    )
    prefix_weight: NonNegative | None = Field(
        default=None, description="weighted_scorers: weight of the cached prefix; by default 3."
    )
    early_rejection: Flag | None = Field(
        default=None,
        description="min_ttft: turn away what no replica could start within its tenant's limit; by "
        "default true.",
    )
    replicate_ratio: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] | None = Field(
        default=None,
        description="min_ttft: how many times longer than its own a prefix elsewhere must be for a "
        "replica to fetch it; by default 2.",
    )
    min_headroom: Annotated[float, Field(strict=True, gt=0, le=1)] | None = Field(
        default=None,
        description="power_aware: share of its power budget that a rack must have free to be "
        "chosen by load alone; by default 0.1.",
    )
    power_penalty: NonNegative | None = Field(
        default=None,
        description="power_aware: requests that a rack without any headroom counts more; by "
        "default 4.",
    )
    entry: _Entry | None = Field(
        default=None,
        description="custom: what makes the router, as package.module:name (see docs/routers.md).",
    )
    index: Literal["events", "approximate", "both"] | None = Field(
        default=None,
        description="Policies that look at prefixes: events, what the caches report; approximate, "
        "what the router sent where; both, whichever knows of more. kv_aware: by default both; "
        "others: by default events.",
    )
    index_delay_s: NonNegative | None = Field(
        default=None, description="index: events: how late they arrive, seconds; by default 0."
    )
    index_ttl_s: Positive | None = Field(
        default=None,
        description="index: approximate, both: how long a prompt is remembered, seconds; by "
        "default 120.",
    )
    signal_interval_s: NonNegative | None = Field(
        default=None,
        description="Policies that look at load: least age of the loads they see before they are "
        "read again, seconds; by default 0, always fresh.",
    )


class DecodeRouter(Router):
    """How a prefilled request finds its decode replica."""

    policy: RouterPolicy = Field(default="least_loaded", description="Rule that picks the replica.")


def settings_of(section: Router) -> dict[str, Any]:
    """The settings of a section's policy: those stated, and the defaults of the others."""
    return {
        name: default if (stated := getattr(section, name)) is None else stated
        for name, default in POLICY_FIELDS[section.policy].items()
    }
