"""Checks of autoscaling: limits that hold, fields that belong, thresholds and times in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from factory.errors import Problem
from factory.scenario.autoscaling import (
    DEFAULT_PREDICTOR,
    POLICY_FIELDS,
    PREDICTOR_FIELDS,
    SOURCE_FIELDS,
    TARGETS,
    THRESHOLDS,
    Autoscaling,
    ScheduledReplicas,
    Startup,
)
from factory.scenario.deployment import Pool

Scaled = tuple[str, Pool, Autoscaling]
"""Path of a pool (``deployments[0].pools[1]``), the pool, and how it is scaled."""

_FOREIGN = {
    "prefill": ("output_tokens_per_s_per_replica", "up_kv_use", "down_kv_use"),
    "decode": (
        "prefill_tokens_per_s_per_replica",
        "up_queued_prefill_tokens",
        "down_queued_prefill_tokens",
    ),
}
"""Fields on what the other role of a disaggregated deployment does."""


def pool_autoscaling_problems(
    path: str,
    pool: Pool,
    section: Autoscaling,
    rack_gpus: int | None = None,
    *,
    has_service_level: bool = True,
) -> Iterator[Problem]:
    """What is wrong with the autoscaling of one pool.

    Args:
        path: Of the pool, e.g. ``deployments[0].pools[1]``.
        pool: The pool.
        section: Its `autoscaling`.
        rack_gpus: GPUs of the rack group it stands in; None if that is unknown.
        has_service_level: Whether a tenant of the deployment states a TTFT, ITL or E2E limit.
    """
    place = f"{path}.autoscaling"
    yield from _limit_problems(path, pool, section)
    yield from _room_problems(place, pool, section, rack_gpus)
    yield from _field_problems(place, pool, section)
    if section.policy == "throughput":
        yield from _target_problems(place, pool, section, has_service_level=has_service_level)
    if section.policy == "load":
        yield from _threshold_problems(place, section)
    if section.policy == "schedule":
        yield from _schedule_problems(place, section)
    yield from _startup_problems(f"{place}.startup", section)


def budget_problems(pools: Sequence[Scaled]) -> Iterator[Problem]:
    """What is wrong with the GPU budget that the pools of one deployment share.

    Args:
        pools: Its autoscaled pools.
    """
    sharing = [scaled for scaled in pools if scaled[2].gpu_budget is not None]
    if not sharing:
        return
    first, _, section = sharing[0]
    budget = section.gpu_budget or 0
    for path, _, other in sharing[1:]:
        if other.gpu_budget != budget:
            message = f"must be {budget}, as in {first}.autoscaling: the pools share one budget"
            yield Problem(f"{path}.autoscaling.gpu_budget", message, other.gpu_budget)
            return
    least = sum(max(each.min_replicas, 1) * pool.gpus_per_replica for _, pool, each in sharing)
    start = sum(pool.gpus for _, pool, _ in sharing)
    place = f"{first}.autoscaling.gpu_budget"
    if least > budget:
        which = (
            "min_replicas" if any(each.min_replicas for _, _, each in sharing) else "one replica"
        )
        message = f"cannot hold {which} of each pool that shares it: {least} GPUs"
        yield Problem(place, message, budget, f"at least {least}, or fewer min_replicas")
    elif start > budget:
        message = f"cannot hold the replicas that its pools start with: {start} GPUs"
        yield Problem(place, message, budget, f"at least {start}, or fewer replicas")


def _limit_problems(path: str, pool: Pool, section: Autoscaling) -> Iterator[Problem]:
    place = f"{path}.autoscaling"
    least, most = section.min_replicas, section.max_replicas
    if least > most:
        yield Problem(f"{place}.min_replicas", f"must be <= max_replicas ({most})", least)
    elif not least <= pool.replicas <= most:
        message = f"must lie within the pool's autoscaling, {least} to {most}: it is the start"
        yield Problem(f"{path}.replicas", message, pool.replicas, f"{max(least, 1)} to {most}")
    if least == 0 and not section.wake_on_arrival:
        message = "leaves a pool that no request could wake"
        allowed = "at least 1, or wake_on_arrival: true"
        yield Problem(f"{place}.min_replicas", message, least, allowed)
    if least > 0 and section.wake_on_arrival:
        message = "goes with min_replicas: 0; this pool never sleeps"
        yield Problem(f"{place}.wake_on_arrival", message, section.wake_on_arrival)
    if section.max_step is not None and section.max_step > most:
        message = f"must be <= max_replicas ({most})"
        yield Problem(f"{place}.max_step", message, section.max_step)


def _room_problems(
    place: str, pool: Pool, section: Autoscaling, rack_gpus: int | None
) -> Iterator[Problem]:
    each = pool.gpus_per_replica
    # A replica too large for the racks, or a start too large, is told about the pool itself.
    start = pool.replicas * each
    if rack_gpus is not None and start <= rack_gpus < section.max_replicas * each:
        message = (
            f"takes {section.max_replicas * each} GPUs ({section.max_replicas} x {each}), racks "
            f"{pool.racks} hold {rack_gpus}"
        )
        allowed = f"at most {rack_gpus // each}"
        yield Problem(f"{place}.max_replicas", message, section.max_replicas, allowed)
    own = section.pool_gpu_budget
    need = max(section.min_replicas, 1) * each
    if own is not None and own < need:
        count = max(section.min_replicas, 1)
        message = f"cannot hold {count} {'replica' if count == 1 else 'replicas'} of {each} GPUs"
        yield Problem(f"{place}.pool_gpu_budget", message, own, f"at least {need}")
    elif own is not None and own < start:
        message = f"cannot hold the {pool.replicas} replicas that the pool starts with"
        allowed = f"at least {start}, or fewer replicas"
        yield Problem(f"{place}.pool_gpu_budget", message, own, allowed)


def _field_problems(place: str, pool: Pool, section: Autoscaling) -> Iterator[Problem]:
    foreign = _FOREIGN.get(pool.role, ())
    for owner, names in POLICY_FIELDS.items():
        for name in names:
            value = getattr(section, name)
            if value is None:
                continue
            if owner != section.policy:
                yield Problem(f"{place}.{name}", f"is for policy: {owner} only", value)
            elif name in foreign:
                message = f"says nothing of a {pool.role} pool"
                allowed = ", ".join(n for n in (*names, "max_step") if n not in foreign)
                yield Problem(f"{place}.{name}", message, value, allowed)
    if section.policy == "schedule" and section.interval_s is not None:
        message = "is for policy: throughput and load only; a schedule states its times"
        yield Problem(f"{place}.interval_s", message, section.interval_s)


def _target_problems(
    place: str, pool: Pool, section: Autoscaling, *, has_service_level: bool
) -> Iterator[Problem]:
    predictor = section.predictor or DEFAULT_PREDICTOR
    for name, owners in PREDICTOR_FIELDS.items():
        value = getattr(section, name)
        if value is not None and predictor not in owners:
            message = f"is for predictor: {' and '.join(owners)} only"
            yield Problem(f"{place}.{name}", message, value)
    if predictor == "linear_trend" and section.window == 1:
        yield Problem(f"{place}.window", "must be > 1: one point makes no line", section.window)
    if not has_service_level and all(getattr(section, name) is None for name in TARGETS):
        foreign = _FOREIGN.get(pool.role, ())
        message = "cannot derive what a replica serves: no tenant states a service level"
        stated = " or ".join(name for name in TARGETS if name not in foreign)
        allowed = f"{stated}, or an slo of a tenant"
        yield Problem(place, message, None, allowed)


def _threshold_problems(place: str, section: Autoscaling) -> Iterator[Problem]:
    for upper, lower in THRESHOLDS:
        up, down = getattr(section, upper), getattr(section, lower)
        if down is not None and up is None:
            yield Problem(f"{place}.{lower}", f"needs {upper} beside it", down)
        elif down is not None and up is not None and down >= up:
            message = f"must be < {upper} ({up:g}), or the pool would swing"
            yield Problem(f"{place}.{lower}", message, down)


def _schedule_problems(place: str, section: Autoscaling) -> Iterator[Problem]:
    entries = section.schedule or ()
    if not entries:
        message = "policy: schedule needs at least one of {at_s or at, replicas}"
        yield Problem(f"{place}.schedule", message)
        return
    daily = entries[0].at is not None
    before: ScheduledReplicas | None = None
    for number, entry in enumerate(entries):
        path = f"{place}.schedule[{number}]"
        if (entry.at_s is None) == (entry.at is None):
            given = "neither" if entry.at is None else "both"
            yield Problem(path, "must give exactly one of at_s and at", given)
        elif (entry.at is not None) != daily:
            name = "at" if daily else "at_s"
            yield Problem(path, f"must give {name}, as the first entry does: once or every day")
        else:
            if entry.at_s == 0.0:
                message = "must be > 0: the pool's replicas are where it starts"
                yield Problem(f"{path}.at_s", message, entry.at_s)
            if before is not None and not _later(entry, before):
                name, value = ("at", entry.at) if daily else ("at_s", entry.at_s)
                yield Problem(f"{path}.{name}", "must be later than the entry before", value)
            before = entry
        if not section.min_replicas <= entry.replicas <= section.max_replicas:
            message = "must lie within min_replicas and max_replicas"
            allowed = f"{section.min_replicas} to {section.max_replicas}"
            yield Problem(f"{path}.replicas", message, entry.replicas, allowed)


def _later(entry: ScheduledReplicas, before: ScheduledReplicas) -> bool:
    """Whether an entry comes after another of its kind."""
    if entry.at is not None and before.at is not None:
        return entry.at > before.at
    return entry.at_s is not None and before.at_s is not None and entry.at_s > before.at_s


def _startup_problems(place: str, section: Autoscaling) -> Iterator[Problem]:
    startup = section.startup
    unstated = Startup()
    if startup.startup_s is not None:
        for name in SOURCE_FIELDS:
            value = getattr(startup, name)
            if value != getattr(unstated, name):
                message = "says nothing beside startup_s, which is the whole of it"
                yield Problem(f"{place}.{name}", message, value)
    elif startup.engine_start_s is not None and startup.compile_cache != unstated.compile_cache:
        message = "says nothing beside engine_start_s, which states its outcome"
        yield Problem(f"{place}.compile_cache", message, startup.compile_cache)
