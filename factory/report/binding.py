"""What held a run back, said in a few words from its tables.

A rule of thumb with its thresholds in the open, in order of precedence:

1. power: a budget slowed or paused at least `NOTICEABLE` of the GPU-seconds;
2. failures and repairs took at least `NOTICEABLE`;
3. KV transfer: GPUs stalled on it for at least `NOTICEABLE`;
4. memory or batch limits: GPUs idled beside waiting work for at least `NOTICEABLE`;
5. a pool: the one with the highest load factor reaches `FULL`, or the busiest is `SATURATED` busy
   while requests wait in the queue for at least half of the time to their first token;
6. otherwise nothing was full: demand limits the factory. A pool that is `SATURATED` busy at a low
   load factor runs small batches: more requests at once would use it better.
"""

from __future__ import annotations

from dataclasses import dataclass

from factory.report.figures import percent
from factory.report.ledger import grouped
from factory.report.model import Pool, RunView

NOTICEABLE = 0.05
FULL = 0.8
SATURATED = 0.9


@dataclass(frozen=True, slots=True)
class Binding:
    """What binds.

    Attributes:
        kind: power, failures, transfer, memory, pool, demand or unknown.
        clause: ends a sentence, e.g. ``pool decode binds (94% busy)``.
        detail: one plain sentence of evidence.
    """

    kind: str
    clause: str
    detail: str


_LOSSES = (
    ("capped", "power", "the power budget binds", "It slowed or paused {} of the GPU time."),
    ("out", "failures", "outages bind", "{} of the GPU time went to starts, repairs and outages."),
    ("stalled", "transfer", "KV transfer binds", "GPUs waited for KV transfers {} of the time."),
    ("blocked", "memory", "memory or batch limits bind",
     "GPUs were idle {} of the time while work waited: KV memory or a batch limit was full."),
)  # fmt: skip


def binding(run: RunView) -> Binding:
    """What held the run back, by the rules of this module."""
    shares = grouped(run.figures.ledger)
    if not shares:
        return Binding("unknown", "what binds is not known", "The run has no ledger.")
    for key, kind, clause, detail in _LOSSES:
        if shares.get(key, 0.0) >= NOTICEABLE:
            share = percent(shares[key])
            return Binding(kind, f"{clause} ({share} of GPU time)", detail.format(share))
    return _full_pool(run) or Binding(
        "demand",
        "demand binds: no pool was full",
        f"GPUs had nothing to do {percent(shares.get('idle', 0.0))} of the time, and no pool was "
        "full: the same factory could serve more.",
    )


def _full_pool(run: RunView) -> Binding | None:
    """The pool that runs at its limit, if one does."""
    serving = [pool for pool in run.pools if pool.role != "unassigned"]

    def load(pool: Pool) -> float:
        return pool.load_factor_ratio or 0.0

    def busy(pool: Pool) -> float:
        return pool.busy_ratio or 0.0

    if not serving:
        return None
    loaded = max(serving, key=load)
    if load(loaded) >= FULL:
        share = percent(load(loaded))
        return Binding(
            "pool",
            f"pool {loaded.name} binds (load factor {share})",
            f"Pool {loaded.name} did {share} of the work its GPUs do at their efficient point.",
        )
    busiest = max(serving, key=busy)
    ttft = run.figures.ttft.mean
    waits = ttft is not None and run.mean_queue_ms is not None and run.mean_queue_ms >= ttft / 2
    if busy(busiest) < SATURATED:
        return None
    share = percent(busy(busiest))
    if waits:
        return Binding(
            "pool",
            f"pool {busiest.name} binds ({share} busy)",
            f"Pool {busiest.name} was busy {share} of the time, and requests spent at least half "
            "of the time to their first token in the queue.",
        )
    return Binding(
        "demand",
        "demand binds: batches stayed small",
        f"Pool {busiest.name} was busy {share} of the time, at a load factor of "
        f"{percent(busiest.load_factor_ratio)}: its batches were small, and it could serve more "
        "requests at once.",
    )
