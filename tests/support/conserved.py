"""What is conserved in a run whose rows and sums are in memory."""

from __future__ import annotations

import math

from observed import Observed

from factory.records.codes import COMPLETED, IN_FLIGHT
from factory.serving.meter import (
    CACHED,
    COMPUTED,
    ENERGY,
    OFFERED,
    OUTPUT,
    OUTPUT_GOOD,
    PROVISIONED_LESS,
    RECOMPUTED,
    RETRIED,
    STATES,
    TENANT_OUTPUT,
    TENANT_OUTPUT_GOOD,
)

WORKING = 4
TIGHT = 1e-9


def total(windows: list[list[list[float]]], field: int) -> float:
    """Sum of a field over all windows of all."""
    return math.fsum(row[field] for rows in windows for row in rows)


def violations(run: Observed, *, is_drained: bool) -> list[str]:
    """What a run did not conserve, in words.

    Args:
        run: The run.
        is_drained: Whether it went on until everything was done.
    """
    found = [
        *_tokens(run),
        *_steps(run),
        *_ledger(run),
        *_costs(run, is_drained=is_drained),
        *_budgets(run),
    ]
    return [*found, *_left_over(run)] if is_drained else found


def _tokens(run: Observed) -> list[str]:
    found = []
    names = {
        "computed": COMPUTED,
        "recomputed": RECOMPUTED,
        "cached": CACHED,
        "output_tokens": OUTPUT,
    }
    for name, field in names.items():
        mine, yours = sum(run.column(name)), total(run.pools, field)
        if mine != yours:
            found.append(f"{name} tokens: {mine} of requests, {yours} of pools")
    for field, other in ((TENANT_OUTPUT, OUTPUT), (TENANT_OUTPUT_GOOD, OUTPUT_GOOD)):
        if total(run.tenants, field) != total(run.pools, other):
            found.append("output tokens: tenants and pools differ")
    if total(run.tenants, OFFERED) + total(run.tenants, RETRIED) != len(run.rows):
        found.append("requests offered and tried again, and rows, differ")
    rows = zip(
        *(run.column(c) for c in ("outcome", "input_tokens", "computed", "cached")), strict=True
    )
    for outcome, prompt, computed, cached in rows:
        if outcome == COMPLETED and computed + cached != prompt:
            found.append(f"a prompt of {prompt} was computed {computed} and cached {cached}")
    return found


def _steps(run: Observed) -> list[str]:
    """A decode step gives a token and at most one for each draft; a prefill gives one."""
    names = ("deployment", "output_tokens", "decode_steps", "preemptions")
    rows = {
        pool.place.deployment: 1 + pool.replicas[0].ranks[0].limits.drafts
        for pool in run.plant.pools
    }
    found = []
    for deployment, tokens, steps, preemptions in zip(*map(run.column, names), strict=True):
        most = rows[deployment]
        if not tokens - 1 - preemptions <= steps * most or steps > max(tokens - 1, 0):
            found.append(f"{tokens} tokens in {steps} decode steps of at most {most}")
    return found


def _ledger(run: Observed) -> list[str]:
    found = []
    for pool in run.plant.pools:
        window_s, gpus = pool.windows.window_s, pool.place.pool.gpus
        for index, row in enumerate(pool.windows.rows):
            span_s = max(0.0, min((index + 1) * window_s, run.end_s) - index * window_s)
            states = row[STATES:ENERGY]
            paid = gpus * span_s - row[PROVISIONED_LESS]
            if not math.isclose(math.fsum(states), paid, rel_tol=TIGHT, abs_tol=TIGHT):
                found.append(f"window {index}: {math.fsum(states)} of {paid} GPU-seconds")
            if min(row) < -TIGHT:
                found.append(f"window {index}: field {row.index(min(row))} is {min(row)}")
    return found


def _costs(run: Observed, *, is_drained: bool) -> list[str]:
    names = ("gpu_s_computed", "gpu_s_cached", "gpu_s_output", "energy_input_j", "energy_output_j")
    least = {name: min(run.column(name), default=0.0) for name in names}
    found = [f"{name} is {value}" for name, value in least.items() if value < -TIGHT]
    working = math.fsum(total(run.pools, STATES + state) for state in range(WORKING))
    charged = math.fsum(math.fsum(run.column(name)) for name in names[:3])
    if charged > working * (1 + 1e-6) + TIGHT:
        found.append(f"{charged} GPU-seconds charged of {working} worked")
    if is_drained and not math.isclose(charged, working, rel_tol=1e-6, abs_tol=TIGHT):
        found.append(f"{charged} GPU-seconds charged, {working} worked")
    return found


def _budgets(run: Observed) -> list[str]:
    found = []
    if run.plant.ideal is None:
        return found
    for rack, seconds in zip(run.plant.tree.racks, run.seconds, strict=True):
        if seconds and max(seconds) > rack.rating_w * (1 + TIGHT):
            found.append(f"{max(seconds)} W drawn of {rack.rating_w}")
    return found


def _left_over(run: Observed) -> list[str]:
    found = []
    if IN_FLIGHT in run.column("outcome"):
        found.append("requests are in flight after the run has drained")
    for pool in run.plant.pools:
        for replica in pool.replicas:
            for rank in replica.ranks:
                cache, slots = rank.cache, rank.slots
                if cache.private or cache.pinned != cache.kept:
                    found.append(f"KV blocks: {cache.private} private, {cache.pinned} pinned")
                columns = (slots.requests, slots.waiting, slots.prefill_tokens, slots.kv_tokens)
                if any(column[rank.slot] for column in columns):
                    found.append(f"slots: {[column[rank.slot] for column in columns]}")
                if slots.queued or rank.owed:
                    found.append(f"{slots.queued} queued, {rank.owed} blocks owed")
                queues = (rank.waiting, rank.admitted, rank.ready, rank.unreserved)
                if any(queues) or rank.incoming or rank.outgoing:
                    found.append("a rank still holds sequences")
    return found
