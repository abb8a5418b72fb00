"""The admission control that a scenario asks for."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from math import inf

from factory.scenario.admission import TTFT_FACTOR, Admission, TenantAdmission
from factory.scenario.check_admission import BURST_S
from factory.serving.admission import AdmissionControl, Limits, Terms


def control(
    section: Admission, names: Seq[str], priorities: Seq[int], ttft_limits_s: Seq[float]
) -> AdmissionControl | None:
    """Builds the door of a deployment.

    Args:
        section: What the scenario says.
        names: Name of each tenant of the run.
        priorities: Priority of each.
        ttft_limits_s: Limit of each on the time to first token, seconds; infinite for none.

    Returns:
        The control, or None where everybody may enter at any time.
    """
    limited = section.shed != "none" or section.max_concurrency is not None
    if not limited and not any(map(_matters, section.tenants.values())):
        return None
    granted = [section.tenants.get(name, TenantAdmission()) for name in names]
    terms = [
        _terms(own, priority, limit_s)
        for own, priority, limit_s in zip(granted, priorities, ttft_limits_s, strict=True)
    ]
    factor = inf
    if section.shed == "predicted_ttft":
        factor = section.ttft_factor or TTFT_FACTOR
    limits = Limits(
        queue_requests=section.max_queue_requests or inf,
        queue_requests_per_replica=section.max_queue_requests_per_replica or inf,
        ttft_factor=factor,
        concurrency=section.max_concurrency or inf,
        waits=section.over_concurrency == "wait",
        batch_load=section.batch_load_ratio,
    )
    return AdmissionControl(terms, limits)


def weights_of(section: Admission, names: Seq[str]) -> dict[int, float]:
    """The weight of each tenant that states one, by position, as `queues.build` takes them."""
    stated = section.tenants
    return {i: stated[name].weight for i, name in enumerate(names) if name in stated}


def yields_of(section: Admission, names: Seq[str]) -> tuple[bool, ...]:
    """Whether running requests of each tenant give way to higher priority."""
    stated = section.tenants
    return tuple(name in stated and stated[name].yields for name in names)


def _matters(own: TenantAdmission) -> bool:
    """Whether a tenant's terms can keep any request out."""
    rate = own.rate_limit
    limits = (own.max_concurrency, rate.requests_per_s, rate.tokens_per_s)
    return own.kind == "batch" or limits != (None, None, None)


def _terms(own: TenantAdmission, priority: int, ttft_limit_s: float) -> Terms:
    rate = own.rate_limit
    requests_per_s, tokens_per_s = rate.requests_per_s or inf, rate.tokens_per_s or inf
    return Terms(
        priority=priority,
        weight=own.weight,
        batch=own.kind == "batch",
        shed_at=own.shed_at,
        ttft_limit_s=ttft_limit_s,
        concurrency=own.max_concurrency or inf,
        held=inf if own.max_held_requests is None else own.max_held_requests,
        requests_per_s=requests_per_s,
        burst_requests=rate.burst_requests or max(1.0, requests_per_s * BURST_S),
        tokens_per_s=tokens_per_s,
        burst_tokens=rate.burst_tokens or max(1.0, tokens_per_s * BURST_S),
    )
