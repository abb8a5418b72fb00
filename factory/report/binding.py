"""What held a run back, said in a few words from its tables.

A rule of thumb with its thresholds in the open, in order of precedence:

1. power: at least `NOTICEABLE` of the GPU-seconds were slowed or paused. It is called a
   curtailment, or the brake, where at least half of that fell in windows in which the grid
   curtailed the facility, or a brake was on; a device cap where pools have one and less than half
   fell in windows in which a node of the power tree lowered clocks; else it is the budget;
2. outages took at least `NOTICEABLE`, each with the starts after it: breakers that tripped,
   failures, or maintenance and upgrades, whichever took most;
3. KV transfer: GPUs stalled on it for at least `NOTICEABLE`;
4. memory or batch limits: GPUs idled beside waiting work for at least `NOTICEABLE`;
5. time-outs: at least `WASTED` of the GPU time of requests went to answers whose clients gave up;
6. a pool: the one with the highest load factor reaches `FULL`, or the busiest is `SATURATED` busy
   while requests wait in the queue for at least half of the time to their first token;
7. a service level: a tenant misses its target while a pool that serves it is `PACED` busy, and half
   of what it lacks came too late. The limit that most of its requests miss binds there: such a pool
   would take more, but not in time;
8. start-ups: a tenant misses its target, and replicas that start took at least `NOTICEABLE`;
9. attempts were rejected for their length, turned away or given up, the latter two at least `LOST`
   of all: what took most of them binds, whatever else was free;
10. a budget lowered clocks for at least `ALWAYS` of the time, however little that took;
11. otherwise nothing was full: demand limits the factory. A pool that is `SATURATED` busy at a low
   load factor runs small batches: more requests at once would use it better. Where a tenant misses
   its target all the same, no more is said than that no pool was full.

Where something else than power binds, and a budget lowered clocks for `ALWAYS`, the evidence says
that too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from factory.report.figures import percent
from factory.report.ledger import grouped
from factory.report.model import Pool, RunView, Tenant

NOTICEABLE = 0.05
FULL = 0.8
SATURATED = 0.9
PACED = 0.95
WASTED = 0.2
LOST = 0.01
ALWAYS = 0.9


@dataclass(frozen=True, slots=True)
class Binding:
    """What binds.

    Attributes:
        kind: power, device_cap, brake, curtailment, failures, trips, maintenance, transfer, memory,
            timeouts, pool, service, startup, length, admission, latency, demand or unknown.
        clause: ends a sentence, e.g. ``pool decode binds (94% busy)``.
        detail: one plain sentence of evidence.
    """

    kind: str
    clause: str
    detail: str


_LOSSES = (
    ("stalled", "transfer", "KV transfer binds", "GPUs waited for KV transfers {} of the time."),
    ("blocked", "memory", "memory or batch limits bind",
     "GPUs were idle {} of the time while work waited: KV memory or a batch limit was full."),
)  # fmt: skip


def binding(run: RunView) -> Binding:
    """What held the run back, by the rules of this module."""
    shares = grouped(run.figures.ledger)
    if not shares:
        return Binding("unknown", "what binds is not known", "The run has no ledger.")
    found = _power(run) or _outages(run)
    if found:
        return found
    found = (
        _loss(shares)
        or _wasted(run)
        or _full_pool(run)
        or _service_level(run)
        or _startup(run, shares)
        or _unserved(run)
    )
    always = _always_capped(run)
    if found is None:
        return always or _demand(run)
    if always is None:
        return found
    return dataclasses.replace(found, detail=f"{found.detail} {always.detail}")


def _loss(shares: Mapping[str, float]) -> Binding | None:
    """What GPUs waited for, if they did for long."""
    for key, kind, clause, detail in _LOSSES:
        if shares.get(key, 0.0) >= NOTICEABLE:
            share = percent(shares[key])
            return Binding(kind, f"{clause} ({share} of GPU time)", detail.format(share))
    return None


def _always_capped(run: RunView) -> Binding | None:
    """A budget that lowers clocks nearly all the time, and what of GPU time that took."""
    site = run.power
    if site.capped_ratio < ALWAYS:
        return None
    of = f" of {site.capped_node}" if site.capped_node else ""
    lost = percent(_power_share(run))
    capped = percent(site.capped_ratio)
    return Binding(
        "power",
        f"the power budget{of} binds (capped {capped} of the time)",
        f"The budget{of} lowered clocks {capped} of the time, which took {lost} of the GPU time.",
    )


def _power_share(run: RunView) -> float:
    """Share of the GPU-seconds that were slowed or paused."""
    return sum(run.figures.ledger.get(state, 0.0) for state in ("power_capped", "paused"))


def _power(run: RunView) -> Binding | None:
    """What slowed or paused GPUs, if anything did."""
    share = _power_share(run)
    if share < NOTICEABLE:
        return None
    kind, clause, culprit = "power", "the power budget binds", "A power budget"
    if _share_under(run, "curtailed") >= _MOST:
        kind, clause, culprit = "curtailment", "the grid's curtailment binds", "A curtailment"
    elif _share_under(run, "braked") >= _MOST:
        kind, clause, culprit = "brake", "the power brake binds", "A power budget's brake"
    elif run.power.device_caps and _share_under(run, "capped") < _MOST:
        pools = ", ".join(run.power.device_caps)
        kind, clause = "device_cap", "the device cap binds"
        culprit = f"The cap of each GPU (pools[].power.cap_w of {pools})"
    paused = run.figures.ledger.get("paused", 0.0)
    detail = f"{culprit} slowed or paused {percent(share)} of the GPU time"
    if not paused:
        detail = f"{culprit} slowed {percent(share)} of the GPU time"
    elif paused < share:
        detail += f", {percent(paused)} paused altogether"
    return Binding(kind, f"{clause} ({percent(share)} of GPU time)", f"{detail}.")


_MOST = 0.5


def _share_under(run: RunView, mark: str) -> float:
    """Share of the slowed and paused GPU-seconds in measured windows with a mark."""
    line = run.timeline
    marked = () if line is None else line.power.marks.get(mark, ())
    if line is None or not marked:
        return 0.0
    lost = [
        capped + paused
        for capped, paused in zip(
            line.ledger.get("power_capped", ()), line.ledger.get("paused", ()), strict=True
        )
    ]
    rows = list(zip(lost, marked, line.is_measured, strict=True))
    total = sum(gpu_s for gpu_s, _, is_measured in rows if is_measured)
    under = sum(gpu_s for gpu_s, share, is_measured in rows if is_measured and share > 0.0)
    return under / total if total else 0.0


_OUTAGES = {
    "tripped": ("trips", "breakers that tripped bind", "racks without power behind open breakers"),
    "failed": ("failures", "failures bind", "what had failed, and to starts after it"),
    "maintenance": (
        "maintenance",
        "maintenance binds",
        "maintenance and upgrades, and to starts after it",
    ),
}


def _outages(run: RunView) -> Binding | None:
    """What took GPUs out of service, if much did."""
    shares = {
        state: run.figures.ledger.get(state, 0.0) + run.power.restarting.get(state, 0.0)
        for state in _OUTAGES
    }
    total = sum(shares.values())
    if total < NOTICEABLE:
        return None
    kind, clause, what = _OUTAGES[max(shares, key=lambda state: shares[state])]
    most = max(shares.values())
    detail = f"{percent(most)} of the GPU time went to {what}"
    if total > most:
        detail += f"; {percent(total)} to outages of any kind"
    return Binding(kind, f"{clause} ({percent(total)} of GPU time)", f"{detail}.")


def furthest_short(run: RunView) -> list[Tenant]:
    """Tenants that miss their targets, the one furthest from it first."""
    missed = [tenant for tenant in run.tenants if tenant.misses_target]
    return sorted(missed, key=lambda t: (t.attainment_ratio or 0.0) - (t.target or 0.0))


def _serving(run: RunView) -> list[Pool]:
    return [pool for pool in run.pools if pool.role != "unassigned"]


def _busy(pool: Pool) -> float:
    return pool.busy_ratio or 0.0


def _load(pool: Pool) -> float:
    return pool.load_factor_ratio or 0.0


def _wasted(run: RunView) -> Binding | None:
    """Time-outs, if much of the work was for clients that gave up."""
    share = percent(run.attempts.wasted_ratio)
    if run.attempts.wasted_ratio < WASTED:
        return None
    return Binding(
        "timeouts",
        f"time-outs bind ({share} of the work was for clients that gave up)",
        f"{share} of the GPU time of requests went to answers whose clients gave up: fewer let in, "
        "more patience or more GPUs would make good tokens of it.",
    )


def _full_pool(run: RunView) -> Binding | None:
    """The pool that runs at its limit, if one does."""
    serving = _serving(run)
    if not serving:
        return None
    loaded = max(serving, key=_load)
    if _load(loaded) >= FULL:
        share = percent(_load(loaded))
        return Binding(
            "pool",
            f"pool {loaded.name} binds (load factor {share})",
            f"Pool {loaded.name} did {share} of the work its GPUs do at their efficient point.",
        )
    busiest = max(serving, key=_busy)
    ttft = run.figures.ttft.mean
    waits = ttft is not None and run.mean_queue_ms is not None and run.mean_queue_ms >= ttft / 2
    if _busy(busiest) < SATURATED or not waits:
        return None
    share = percent(_busy(busiest))
    return Binding(
        "pool",
        f"pool {busiest.name} binds ({share} busy)",
        f"Pool {busiest.name} was busy {share} of the time, and requests spent at least half "
        "of the time to their first token in the queue.",
    )


_PACE = {
    "ttft": ("TTFT", ("prefill", "aggregated")),
    "itl": ("ITL", ("decode", "aggregated")),
    "e2e": ("E2E", ("decode", "aggregated")),
}


def _service_level(run: RunView) -> Binding | None:
    """The limit that a tenant misses while a pool that serves it has no time left, if one does."""
    for tenant in furthest_short(run):
        late = max(tenant.late, key=lambda key: tenant.late[key], default=None)
        if late is None or tenant.late[late] * tenant.completed * 2 < tenant.offered - tenant.good:
            continue
        limit, roles = _PACE[late]
        pools = [
            pool
            for pool in _serving(run)
            if _busy(pool) >= PACED and tenant.deployment in {"", pool.deployment}
        ]
        if not pools:
            continue
        pool = max(pools, key=lambda pool: (pool.role in roles, _busy(pool)))
        share = percent(_busy(pool))
        return Binding(
            "service",
            f"the {limit} limit of {tenant.name} binds (pool {pool.name} {share} busy)",
            f"Pool {pool.name} was busy {share} of the time, and {percent(tenant.late[late])} of "
            f"{tenant.name}'s completed requests missed their {limit} limit: it may take more, "
            "but not in time.",
        )
    return None


def _startup(run: RunView, shares: Mapping[str, float]) -> Binding | None:
    """The time that replicas take to start, if a target was missed meanwhile."""
    share = shares.get("starting", 0.0)
    if share < NOTICEABLE or not furthest_short(run):
        return None
    return Binding(
        "startup",
        f"start-ups bind ({percent(share)} of GPU time)",
        f"Replicas were starting for {percent(share)} of the GPU time, serving nothing, while a "
        "target was missed.",
    )


def _unserved(run: RunView) -> Binding | None:
    """What kept most of the attempts from being served, if no pool did."""
    attempts = run.attempts
    many = LOST * attempts.total
    causes = {
        "length": attempts.too_long,
        "admission": attempts.turned_away if attempts.turned_away >= many else 0,
        "timeouts": attempts.timed_out if attempts.timed_out >= many else 0,
    }
    kind = max(causes, key=lambda name: causes[name])
    if not causes[kind]:
        return None
    share = percent(attempts.share(causes[kind]))
    clause, detail = _UNSERVED[kind]
    return Binding(kind, clause.format(share, attempts.noun), detail)


_UNSERVED = {
    "length": (
        "limits of length bind ({} of {}s rejected)",
        (
            "Prompts were rejected that are too long for the model's context or for the KV memory "
            "of a replica."
        ),
    ),
    "admission": (
        "admission binds ({} of {}s turned away)",
        "Queue limits, rate limits or early rejection turned them away while no pool was full.",
    ),
    "timeouts": (
        "time-outs bind ({} of {}s given up)",
        "Clients gave up before they were served, though no pool was full.",
    ),
}


def _demand(run: RunView) -> Binding:
    """Nothing was full."""
    idle = percent(grouped(run.figures.ledger).get("idle", 0.0))
    if any(tenant.misses_target for tenant in run.tenants):
        return Binding(
            "latency",
            "no pool was full",
            f"GPUs had nothing to do {idle} of the time: the service level was missed for another "
            "reason than want of GPU time.",
        )
    busiest = max(_serving(run), key=_busy, default=None)
    if busiest is None or _busy(busiest) < SATURATED:
        return Binding(
            "demand",
            "demand binds: no pool was full",
            f"GPUs had nothing to do {idle} of the time, and no pool was full: the same factory "
            "could serve more.",
        )
    return Binding(
        "demand",
        "demand binds: batches stayed small",
        f"Pool {busiest.name} was busy {percent(_busy(busiest))} of the time, at a load factor of "
        f"{percent(busiest.load_factor_ratio)}: its batches were small, and it could serve more "
        "requests at once.",
    )
