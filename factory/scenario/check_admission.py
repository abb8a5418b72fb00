"""Checks of admission, time-outs, retries and the order of queues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from factory.errors import Problem
from factory.scenario.admission import (
    Admission,
    Queueing,
    RateLimit,
    Retry,
    TenantAdmission,
    Timeouts,
)
from factory.scenario.base import Part
from factory.scenario.demand import Tenant
from factory.scenario.findings import unknown

QUEUE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "fcfs": (),
    "priority": ("ageing_s",),
    "shortest_first": ("ageing_tokens_per_s",),
    "fair": ("input_weight", "output_weight"),
    "lpm": ("max_matched",),
}
"""Fields of a queue that belong to one order."""

_LIMITS = ("max_queue_requests", "max_queue_requests_per_replica")
SHED_FIELDS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "queue_limit": _LIMITS,
    "predicted_ttft": (*_LIMITS, "ttft_factor"),
}
"""Fields of admission that belong to some policies of shedding."""

BURST_S = 60.0
"""Seconds of a rate that a bucket holds unless stated: API quotas are sold by the minute."""


def queueing_problems(
    path: str, queue: Queueing, *, prefix_caching: bool = True
) -> Iterator[Problem]:
    """The order of a queue.

    Args:
        path: Where it stands in the scenario.
        queue: The section.
        prefix_caching: Whether the engine it belongs to keeps prefixes.
    """
    yield from _foreign(path, "order", queue.order, queue, QUEUE_FIELDS)
    if queue.order == "fair" and queue.input_weight == queue.output_weight == 0.0:
        yield Problem(f"{path}.input_weight", "input_weight and output_weight may not both be 0", 0)
    if queue.order == "lpm" and not prefix_caching:
        message = "needs engine.enable_prefix_caching: there are no cached prefixes to compare"
        allowed = ", ".join(order for order in QUEUE_FIELDS if order != "lpm")
        yield Problem(f"{path}.order", message, "lpm", allowed)


def timeout_problems(path: str, timeouts: Timeouts) -> Iterator[Problem]:
    """A tenant's time-outs. One below its service level is fine: its clients are impatient."""
    first, whole = timeouts.ttft_timeout_s, timeouts.timeout_s
    if first is not None and whole is not None and first >= whole:
        message = f"must be < timeout_s ({whole:g}), which ends the wait before it"
        yield Problem(f"{path}.ttft_timeout_s", message, first)


def retry_problems(path: str, retry: Retry, timeouts: Timeouts | None = None) -> Iterator[Problem]:
    """A tenant's retries.

    Args:
        path: Where they stand in the scenario.
        retry: The section.
        timeouts: The tenant's time-outs, if known.
    """
    if retry.attempts == 1:
        message = "must be >= 2, the first attempt among them; leave retry out for none"
        yield Problem(f"{path}.attempts", message, 1)
    if not retry.on:
        message = "must name an outcome to try again; leave retry out for none"
        yield Problem(f"{path}.on", message, [], "rejected, timed_out, failed")
    if "backoff_s" in retry.model_fields_set and retry.backoff_s > retry.max_backoff_s:
        message = f"must be <= max_backoff_s ({retry.max_backoff_s:g})"
        yield Problem(f"{path}.backoff_s", message, retry.backoff_s)
    elif retry.backoff_s > retry.max_backoff_s:
        message = f"must be >= backoff_s ({retry.backoff_s:g})"
        yield Problem(f"{path}.max_backoff_s", message, retry.max_backoff_s)
    if (retry.throttle_tokens is None) != (retry.throttle_ratio is None):
        given = "throttle_ratio" if retry.throttle_tokens is None else "throttle_tokens"
        missing = "throttle_tokens" if retry.throttle_tokens is None else "throttle_ratio"
        yield Problem(f"{path}.{missing}", f"is missing: {given} needs it")
    patient = timeouts is not None and timeouts.ttft_timeout_s is timeouts.timeout_s is None
    if patient and "on" in retry.model_fields_set and tuple(retry.on) == ("timed_out",):
        message = "can never happen: the tenant has no timeouts"
        yield Problem(f"{path}.on", message, "timed_out", "rejected, failed")


def admission_problems(
    path: str,
    admission: Admission,
    tenants: Sequence[Tenant],
    timeouts: Sequence[Timeouts],
    others: Sequence[str] = (),
) -> Iterator[Problem]:
    """The admission of one deployment.

    Args:
        path: Where it stands in the scenario.
        admission: The section.
        tenants: The tenants that the deployment serves.
        timeouts: Their time-outs, one for each.
        others: Names of tenants that another deployment serves.
    """
    yield from _foreign(path, "shed", admission.shed, admission, SHED_FIELDS)
    limits = [getattr(admission, name) for name in _LIMITS]
    if admission.shed == "queue_limit" and limits == [None, None]:
        message = "needs max_queue_requests or max_queue_requests_per_replica"
        yield Problem(f"{path}.shed", message, "queue_limit")
    bounded = {
        tenant.name
        for tenant, patience in zip(tenants, timeouts, strict=True)
        if tenant.slo.ttft_s is not None or patience.ttft_timeout_s is not None
    }
    if admission.shed == "predicted_ttft" and not bounded:
        message = "needs a tenant with a limit on the time to first token (slo.ttft_s)"
        yield Problem(f"{path}.shed", message, "predicted_ttft", "none, queue_limit")
    names = [tenant.name for tenant in tenants]
    for name, terms in admission.tenants.items():
        place = f"{path}.tenants.{name}"
        if name in others:
            message = "is served by another deployment"
            yield Problem(place, message, name, ", ".join(names) or None)
        elif name not in names:
            yield from unknown(place, "tenant", name, names)
        else:
            tenant = tenants[names.index(name)]
            has_limit = name in bounded or limits != [None, None]
            yield from _terms_problems(place, terms, tenant, admission, has_limit=has_limit)
    yield from _batch_problems(path, admission, tenants)


def _terms_problems(
    path: str, terms: TenantAdmission, tenant: Tenant, admission: Admission, *, has_limit: bool
) -> Iterator[Problem]:
    if terms.shed_at != 1.0:
        if admission.shed == "none":
            message = "has no effect: nothing is shed"
            yield Problem(f"{path}.shed_at", message, terms.shed_at, "shed: queue_limit, …")
        elif terms.kind == "batch":
            message = "has no effect: batch work waits outside, where nothing is shed"
            yield Problem(f"{path}.shed_at", message, terms.shed_at)
        elif not has_limit:
            message = "has no effect: neither the queue nor the tenant's TTFT has a limit"
            yield Problem(f"{path}.shed_at", message, terms.shed_at)
    both = terms.max_concurrency is not None and admission.max_concurrency is not None
    if both and (terms.max_concurrency or 0) > (admission.max_concurrency or 0):
        message = f"must be <= that of the deployment ({admission.max_concurrency})"
        yield Problem(f"{path}.max_concurrency", message, terms.max_concurrency)
    if terms.max_held_requests is not None and terms.kind != "batch":
        limited = terms.max_concurrency is not None or admission.max_concurrency is not None
        if not limited or admission.over_concurrency == "reject":
            message = "has no effect: no request of the tenant is ever kept outside"
            yield Problem(f"{path}.max_held_requests", message, terms.max_held_requests)
    yield from _rate_problems(f"{path}.rate_limit", terms.rate_limit, tenant)


def _rate_problems(path: str, rate: RateLimit, tenant: Tenant) -> Iterator[Problem]:
    for unit in ("requests", "tokens"):
        burst = getattr(rate, f"burst_{unit}")
        if burst is not None and getattr(rate, f"{unit}_per_s") is None:
            message = f"goes with {unit}_per_s, which is missing"
            yield Problem(f"{path}.burst_{unit}", message, burst)
    if rate.tokens_per_s is None:
        return
    burst = rate.burst_tokens
    held = rate.tokens_per_s * BURST_S if burst is None else burst
    prompt = _prompt_tokens(tenant)
    if held < prompt:
        name, given = ("tokens_per_s", rate.tokens_per_s) if burst is None else (
            "burst_tokens", burst)  # fmt: skip
        message = f"holds less than a prompt of {tenant.name} ({prompt:g} tokens)"
        allowed = f"burst_tokens of at least {prompt:g}"
        yield Problem(f"{path}.{name}", message, given, allowed)


def _prompt_tokens(tenant: Tenant) -> float:
    """A prompt that a tenant surely has, tokens: the longest of its lengths, else their mean."""
    length = tenant.input_tokens
    if length is None:
        return 0.0
    for bound in (length.value, length.max, length.mean, length.min):
        if bound is not None:
            return bound + tenant.shared_prefix.tokens
    return float(tenant.shared_prefix.tokens)


def _batch_problems(
    path: str, admission: Admission, tenants: Sequence[Tenant]
) -> Iterator[Problem]:
    kinds = {name: terms.kind for name, terms in admission.tenants.items()}
    batch = [tenant for tenant in tenants if kinds.get(tenant.name) == "batch"]
    if not batch and _is_changed(admission, "batch_load_ratio"):
        message = "has no effect: no tenant is of kind batch"
        yield Problem(f"{path}.batch_load_ratio", message, admission.batch_load_ratio)
    served = [tenant for tenant in tenants if kinds.get(tenant.name) != "batch"]
    for tenant in batch:
        above = [other for other in served if other.priority < tenant.priority]
        if above:
            message = f"batch work may not go before {above[0].name} (priority {above[0].priority})"
            place = f"{path}.tenants.{tenant.name}.kind"
            yield Problem(place, message, "batch", f"a priority <= {above[0].priority}")


def _foreign(
    path: str, switch: str, chosen: str, part: Part, fields: Mapping[str, tuple[str, ...]]
) -> Iterator[Problem]:
    """A problem for each field stated that the chosen policy does not have."""
    names = dict.fromkeys(name for group in fields.values() for name in group)
    for name in names:
        if name not in fields[chosen] and _is_changed(part, name):
            owners = ", ".join(policy for policy, group in fields.items() if name in group)
            value = getattr(part, name)
            if value is not None:
                yield Problem(f"{path}.{name}", f"is for {switch}: {owners} only", value)


def _is_changed(part: Part, name: str) -> bool:
    """Whether a field is not as by default: a resolved scenario states every default."""
    return bool(getattr(part, name) != type(part).model_fields[name].default)
