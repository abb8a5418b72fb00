"""How many sessions each tenant of a mix starts, so that what the mix holds stays as stated.

With rate R of what is held, shares s and a mean m of what is held per session, tenant i starts
R·s_i / m_i sessions per second. Σ rate_i·m_i = R then, whatever the shares are: a sweep along
`position` moves work from one tenant to another and adds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from factory.scenario.mix import Held, Mix, tenants_of
from factory.scenario.tenant_load import Load, RateProfile

if TYPE_CHECKING:
    from factory.workload.sessions.expected import SessionMeans


def shares_at(mix: Mix, at_s: float = 0.0) -> dict[str, float]:
    """Returns the share of each tenant of a mix, in order of mention.

    Args:
        mix: With `shares` or `schedule`; its position moves them toward `toward`.
        at_s: Time since the run began, seconds; matters with a schedule only.
    """
    return {name: _share(mix, name, at_s) for name in tenants_of(mix)}


def per_session(means: SessionMeans, hold: Held) -> float:
    """Returns how much of what is held a session holds in the mean."""
    if hold == "sessions":
        return 1.0
    if hold == "requests":
        return means.requests
    if hold == "output_tokens":
        return means.output_tokens
    return means.input_tokens + means.output_tokens


def rates(mix: Mix, means: Mapping[str, SessionMeans], at_s: float = 0.0) -> dict[str, float]:
    """Returns the sessions that each tenant starts per second, the mix's profile left aside.

    Args:
        mix: The mix.
        means: Means of a session by tenant, each > 0; those of every tenant with a share.
        at_s: Time since the run began, seconds; matters with a schedule only.
    """
    return {
        name: mix.rate * share / per_session(means[name], mix.hold) if share else 0.0
        for name, share in shares_at(mix, at_s).items()
    }


def share_profile(mix: Mix, tenant: str) -> list[tuple[float, float]]:
    """Returns a tenant's share over time as points (seconds, share), linear between them.

    Args:
        mix: The mix.
        tenant: Name of the tenant.
    """
    times = [0.0, *(point.at_s for point in mix.schedule or () if point.at_s > 0)]
    return [(at_s, _share(mix, tenant, at_s)) for at_s in times]


def loads(
    mix: Mix, means: Mapping[str, SessionMeans], shapes: Mapping[str, Load | None]
) -> dict[str, Load]:
    """Returns the load of each tenant that a mix feeds; one whose share is always 0 has none.

    Args:
        mix: The mix; its profile multiplies every tenant's rate.
        means: Means of a session by tenant, each > 0.
        shapes: By tenant, a load that says how arrivals are spread (`arrival`, `cv`, `bursts`)
            and not how many they are, or None for Poisson.
    """
    made = {}
    for name in tenants_of(mix):
        points = share_profile(mix, name)
        highest = max(share for _, share in points)
        if not highest:
            continue
        profile = mix.profile
        if mix.schedule is not None:
            relative = tuple((at_s, share / highest) for at_s, share in points)
            profile = (profile or RateProfile()).model_copy(update={"points": relative})
        rate = mix.rate * highest / per_session(means[name], mix.hold)
        shape = shapes.get(name) or Load()
        made[name] = shape.model_copy(update={"rate": rate, "profile": profile})
    return made


def _share(mix: Mix, tenant: str, at_s: float) -> float:
    if mix.schedule is None:
        share = (mix.shares or {}).get(tenant, 0.0)
    else:
        times = [point.at_s for point in mix.schedule]
        values = [point.shares.get(tenant, 0.0) for point in mix.schedule]
        share = float(np.interp(at_s, times, values))
    if mix.toward is None:
        return share
    return share + mix.position * (mix.toward.get(tenant, 0.0) - share)
