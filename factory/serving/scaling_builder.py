"""A pool's autoscaling section becomes a policy and its limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from math import inf

from factory.scenario.autoscaling import (
    DEFAULT_INTERVAL_S,
    DEFAULT_LEVEL_SMOOTHING,
    DEFAULT_MAX_STEP,
    DEFAULT_PREDICTOR,
    DEFAULT_TREND_SMOOTHING,
    DEFAULT_WINDOW,
    TARGETS,
    Autoscaling,
)
from factory.serving.autoscaler import Limits
from factory.serving.forecast import Constant, Forecast, Holt, LinearTrend, MovingAverage
from factory.serving.scaling import (
    UNBOUNDED,
    DailySchedule,
    Load,
    Policy,
    Schedule,
    Targets,
    Thresholds,
    Throughput,
)

QUEUED_UP, QUEUED_DOWN = 1.0, 0.1
KV_UP, KV_DOWN = 1.0, 0.6
"""Thresholds by default, as shares of the longest sequence and of KV capacity; the lower ones are
shares of the upper where that is stated. Those of Dynamo's planner with `optimization_target:
throughput` (1.5, 2026)."""

WAITING_DOWN = 0.5
"""Lower threshold of waiting requests by default, as a share of the upper (assumed)."""


def build_limits(section: Autoscaling, gpus_per_replica: int) -> Limits:
    """The bounds that a section states; the budget shared with other pools is apart.

    Args:
        section: The pool's `autoscaling`.
        gpus_per_replica: GPUs.
    """
    own, stated = section.pool_gpu_budget, section.max_step
    return Limits(
        least=section.min_replicas,
        most=section.max_replicas,
        step=DEFAULT_MAX_STEP.get(section.policy, inf) if stated is None else stated,
        up_cooldown_s=section.scale_up_cooldown_s,
        down_cooldown_s=section.scale_down_cooldown_s,
        gpus_per_replica=gpus_per_replica,
        gpus=inf if own is None else own,
    )


def build_policy(
    section: Autoscaling,
    role: str,
    longest_tokens: int,
    capacity: Callable[[float, float], float] | None,
    epoch: dt.datetime,
    zone: str,
) -> Policy:
    """The policy of a section.

    Args:
        section: The pool's `autoscaling`.
        role: The pool's role.
        longest_tokens: The longest prompt and output that the pool takes.
        capacity: Requests per second that a replica serves at the service level for (mean prompt,
            mean output) tokens; needed by `throughput` without a stated target.
        epoch: Instant of simulated time 0, aware.
        zone: IANA time zone of the facility.
    """
    if section.policy == "schedule":
        entries = section.schedule or ()
        if any(entry.at is not None for entry in entries):
            daily = [(dt.time.fromisoformat(e.at), e.replicas) for e in entries if e.at is not None]
            return DailySchedule(daily, epoch, zone)
        return Schedule([(e.at_s, e.replicas) for e in entries if e.at_s is not None])
    interval_s = section.interval_s or DEFAULT_INTERVAL_S[section.policy]
    if section.policy == "load":
        return _load(section, role, longest_tokens, interval_s)
    stated = any(getattr(section, name) is not None for name in TARGETS)
    targets = Targets(
        section.requests_per_s_per_replica or inf,
        section.prefill_tokens_per_s_per_replica or inf,
        section.output_tokens_per_s_per_replica or inf,
        None if stated else capacity,
    )
    return Throughput(interval_s, targets, forecast(section), section.target_load_ratio or 1.0)


def forecast(section: Autoscaling) -> Callable[[], Forecast]:
    """Makes the forecast that a section of policy `throughput` asks for."""
    window = section.window or DEFAULT_WINDOW
    level, trend = section.level_smoothing, section.trend_smoothing
    smoothing = partial(
        Holt,
        DEFAULT_LEVEL_SMOOTHING if level is None else level,
        DEFAULT_TREND_SMOOTHING if trend is None else trend,
    )
    makers: dict[str, Callable[[], Forecast]] = {
        "constant": Constant,
        "moving_average": partial(MovingAverage, window),
        "linear_trend": partial(LinearTrend, window),
        "holt": smoothing,
    }
    return makers[section.predictor or DEFAULT_PREDICTOR]


def _load(section: Autoscaling, role: str, longest_tokens: int, interval_s: float) -> Load:
    """Thresholds as stated; if none is, those of the role's own signal."""
    queued = _bounds(
        section.up_queued_prefill_tokens, section.down_queued_prefill_tokens, QUEUED_DOWN
    )
    kv_use = _bounds(section.up_kv_use, section.down_kv_use, KV_DOWN)
    waiting = _bounds(section.up_waiting_requests, section.down_waiting_requests, WAITING_DOWN)
    if (queued, kv_use, waiting) == (UNBOUNDED, UNBOUNDED, UNBOUNDED):
        if role == "prefill":
            queued = Thresholds(QUEUED_UP * longest_tokens, QUEUED_DOWN * longest_tokens)
        else:
            kv_use = Thresholds(KV_UP, KV_DOWN * KV_UP)
    return Load(interval_s, queued, kv_use, waiting)


def _bounds(up: float | None, down: float | None, share: float) -> Thresholds:
    if up is None:
        return UNBOUNDED
    return Thresholds(up, share * up if down is None else down)
