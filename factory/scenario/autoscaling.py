"""How many replicas a pool runs, and how a replica starts and leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from factory.scenario.base import (
    Count,
    Flag,
    NonNegative,
    NonNegativeCount,
    Part,
    Positive,
    Ratio,
    Share,
    TimeOfDay,
)

ScalingPolicy = Literal["throughput", "load", "schedule"]
Predictor = Literal["constant", "moving_average", "linear_trend", "holt"]
WeightSource = Literal["local_ssd", "shared_storage", "object_store", "peer"]
Ownership = Literal["owned", "on_demand"]

DEFAULT_INTERVAL_S: Mapping[str, float] = {"throughput": 180.0, "load": 5.0}
"""Seconds between decisions: `throughput_adjustment_interval_seconds` and
`load_adjustment_interval_seconds` of Dynamo's planner (1.5, 2026)."""

DEFAULT_MAX_STEP: Mapping[str, int] = {"throughput": 8, "load": 1}
"""Replicas that one decision may add or take: `max_throughput_scaling_replicas` of Dynamo's planner
(1.5, 2026); its load loop moves by one."""

DEFAULT_PREDICTOR: Predictor = "holt"
"""Dynamo's planner has ARIMA by default; Holt's linear method is ARIMA(0, 2, 2) (Hyndman and
Athanasopoulos, Forecasting: Principles and Practice, 2021, section 9.10)."""

DEFAULT_WINDOW = 5
"""Intervals that a moving average or a trend line looks back: `kalman_min_points` of Dynamo's
planner (1.5, 2026), the fewest that it forecasts from."""

DEFAULT_LEVEL_SMOOTHING, DEFAULT_TREND_SMOOTHING = 0.42, 0.18
"""Gains to which the local-linear-trend Kalman filter of Dynamo's planner settles with its defaults
(variances 1.0 of the level, 0.1 of the trend, 10.0 of a measurement): Holt's method is that filter
in its steady state."""

POLICY_FIELDS: Mapping[str, tuple[str, ...]] = {
    "throughput": (
        "predictor",
        "window",
        "level_smoothing",
        "trend_smoothing",
        "requests_per_s_per_replica",
        "prefill_tokens_per_s_per_replica",
        "output_tokens_per_s_per_replica",
        "target_load_ratio",
    ),
    "load": (
        "up_queued_prefill_tokens",
        "down_queued_prefill_tokens",
        "up_kv_use",
        "down_kv_use",
        "up_waiting_requests",
        "down_waiting_requests",
    ),
    "schedule": ("schedule",),
}
"""Fields that belong to one policy."""

PREDICTOR_FIELDS: Mapping[str, tuple[str, ...]] = {
    "window": ("moving_average", "linear_trend"),
    "level_smoothing": ("holt",),
    "trend_smoothing": ("holt",),
}
"""Fields of the throughput policy that belong to some predictors."""

SOURCE_FIELDS = (
    "provision_s",
    "source",
    "node_gb_s",
    "gpu_gb_s",
    "source_gb_s",
    "compile_cache",
    "engine_start_s",
)
"""Fields that say nothing once `startup_s` is stated."""

TARGETS = (
    "requests_per_s_per_replica",
    "prefill_tokens_per_s_per_replica",
    "output_tokens_per_s_per_replica",
)
THRESHOLDS = (
    ("up_queued_prefill_tokens", "down_queued_prefill_tokens"),
    ("up_kv_use", "down_kv_use"),
    ("up_waiting_requests", "down_waiting_requests"),
)


class ScheduledReplicas(Part):
    """A number of replicas from some time on."""

    at_s: NonNegative | None = Field(default=None, description="Simulated time, s; once.")
    at: TimeOfDay | None = Field(
        default=None, description="Time of day in facility.time_zone, as 08:30; every day."
    )
    replicas: NonNegativeCount = Field(description="Replicas from then on.")


class Startup(Part):
    """How long a replica takes from the decision to its first request."""

    startup_s: NonNegative | None = Field(
        default=None,
        description="Seconds in all; by default provision_s, the weights' way and the engine's "
        "start.",
    )
    provision_s: NonNegative = Field(
        default=0.0,
        description="Before the engine's process starts, s: a cloud instance, an image to pull.",
    )
    source: WeightSource = Field(default="local_ssd", description="Where the weights come from.")
    node_gb_s: Positive | None = Field(
        default=None, description="GB/s that a node reads; by default by source."
    )
    gpu_gb_s: Positive | None = Field(
        default=None, description="GB/s that a GPU's process reads; by default by source."
    )
    source_gb_s: Positive | None = Field(
        default=None,
        description="GB/s of the source for all replicas that start at once; by default no limit.",
    )
    compile_cache: Literal["warm", "cold"] = Field(
        default="warm",
        description="warm: compiled kernels are kept between starts; cold: each start compiles.",
    )
    engine_start_s: NonNegative | None = Field(
        default=None,
        description="Imports, compilation, graph capture and warm-up, s; by default by the "
        "weights' size.",
    )


class Autoscaling(Part):
    """How many replicas a pool runs; `pools[].replicas` is where it starts."""

    policy: ScalingPolicy = Field(
        description="throughput: predicted demand over a replica's rate; load: thresholds on "
        "queues and KV use; schedule: by the clock."
    )
    min_replicas: NonNegativeCount = Field(default=1, description="Replicas to keep at least.")
    max_replicas: Count = Field(description="Replicas at most; the racks must hold them.")
    wake_on_arrival: Flag = Field(
        default=False,
        description="With min_replicas 0: a request that finds no replica starts one, and waits.",
    )
    interval_s: Positive | None = Field(
        default=None,
        description="Seconds between decisions; by default 180 (throughput) or 5 (load).",
    )
    predictor: Predictor | None = Field(
        default=None,
        description="throughput: constant: as in the last interval; moving_average: mean of the "
        "window; linear_trend: its line one interval on; holt: exponential smoothing of level and "
        "trend. By default holt.",
    )
    window: Count | None = Field(
        default=None,
        description="throughput, moving_average and linear_trend: intervals to look back; by "
        "default 5.",
    )
    level_smoothing: Share | None = Field(
        default=None, description="throughput, holt: weight of the newest value; by default 0.42."
    )
    trend_smoothing: Share | None = Field(
        default=None, description="throughput, holt: weight of the newest step; by default 0.18."
    )
    requests_per_s_per_replica: Positive | None = Field(
        default=None,
        description="throughput: what a replica serves at the service level; by default, if no "
        "target is stated, derived from the step model.",
        json_schema_extra={"unit": "requests/s"},
    )
    prefill_tokens_per_s_per_replica: Positive | None = Field(
        default=None,
        description="throughput: prompt tokens that a replica computes at the service level.",
        json_schema_extra={"unit": "tokens/s"},
    )
    output_tokens_per_s_per_replica: Positive | None = Field(
        default=None,
        description="throughput: output tokens that a replica gives at the service level.",
        json_schema_extra={"unit": "tokens/s"},
    )
    target_load_ratio: Ratio | None = Field(
        default=None, description="throughput: share of that rate to plan with; by default 1."
    )
    up_queued_prefill_tokens: NonNegative | None = Field(
        default=None,
        description="load: more prompt tokens waiting at any replica add one; prefill pools: by "
        "default the longest sequence.",
    )
    down_queued_prefill_tokens: NonNegative | None = Field(
        default=None,
        description="load: fewer at every replica, if one less shared them, let one go; by "
        "default a tenth of up_queued_prefill_tokens.",
    )
    up_kv_use: NonNegative | None = Field(
        default=None,
        description="load: more KV use (running and waiting over capacity) at any replica adds "
        "one; decode and aggregated pools: by default 1.0.",
    )
    down_kv_use: NonNegative | None = Field(
        default=None,
        description="load: less at every replica, if one less shared it, lets one go; by default "
        "0.6 of up_kv_use.",
    )
    up_waiting_requests: NonNegative | None = Field(
        default=None, description="load: more requests waiting at any replica add one."
    )
    down_waiting_requests: NonNegative | None = Field(
        default=None,
        description="load: fewer at every replica, if one less shared them, let one go; by "
        "default half of up_waiting_requests.",
    )
    schedule: tuple[ScheduledReplicas, ...] | None = Field(
        default=None,
        description="schedule: replicas by time, in order; before the first at_s, and until a "
        "first time of day comes, the pool's replicas.",
    )
    max_step: Count | None = Field(
        default=None,
        description="Replicas that one decision may add or take; by default 8 (throughput), 1 "
        "(load), any number (schedule).",
    )
    scale_up_cooldown_s: NonNegative = Field(
        default=0.0, description="No replica is added so soon after the pool last changed, s."
    )
    scale_down_cooldown_s: NonNegative = Field(
        default=0.0, description="No replica is let go so soon after the pool last changed, s."
    )
    gpu_budget: Count | None = Field(
        default=None,
        description="GPUs that the deployment's pools which state it may hold together.",
    )
    pool_gpu_budget: Count | None = Field(
        default=None, description="GPUs that this pool may hold; by default no limit of its own."
    )
    min_headroom_ratio: Share | None = Field(
        default=None,
        description="No replica starts in a rack unless its rack, row and facility each have "
        "budget left for its peak draw, and at least this share of their budget. By default "
        "power is not looked at.",
    )
    drain_timeout_s: NonNegative | None = Field(
        default=None,
        description="A leaving replica takes no new request and finishes its own; what is left "
        "after so many seconds is lost there; clients that retry ask anew. By default it waits for "
        "the last.",
    )
    ownership: Ownership = Field(
        default="owned",
        description="owned: GPUs of replicas that are off stay provisioned and paid; on_demand: "
        "released, they leave the bill and every ratio.",
    )
    startup: Startup = Field(default=Startup(), description="From decision to first request.")
