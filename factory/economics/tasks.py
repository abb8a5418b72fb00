"""What tasks took and what they cost, by tenant.

A task is what a person asks for, up to the answer that the person reads: a row of `fact_tasks`, or
a logical request of a tenant whose sessions have one. The figures are those of `v_tenant_tasks` and
`v_run_tasks`; how GPU time is priced stands in `factory.records.task_views`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.economics.lone_tasks import lone_tasks
from factory.economics.task_columns import Shown, names_of
from factory.economics.totals import PricedIntervals
from factory.economics.unit_costs import divided
from factory.records.codes import LEDGER_STATES, WORKING_STATES
from factory.records.reader import RunReader
from factory.records.service_views import QUANTILES
from factory.records.task_views import PER_TASK, SPANS


@dataclass(frozen=True, slots=True)
class _Unit:
    """USD of a GPU-second of a pool: its price, and with its share of what nothing used."""

    direct: float
    with_idle: float


def task_figures(reader: RunReader, intervals: PricedIntervals) -> dict[str, Any]:
    """Tasks that start in the measured interval, of all tenants together and by tenant.

    Args:
        reader: Tables of the run.
        intervals: The run's intervals with their prices.

    Returns:
        The columns of `v_run_tasks` (counts, means per task, seconds, USD), and `by_tenant` those
        of `v_tenant_tasks` for every tenant, with `has_sessions`. A figure that cannot be had is
        None.

    Raises:
        InputError: A table is missing.
    """
    dim = reader.read("dim_tenants", ("tenant", "has_sessions", "slo_task_s"))
    tenants = [str(name) for name in dim.strings("tenant")]
    has_sessions = dim.flag("has_sessions")
    groups = [_session_tasks(reader, tenants)] if has_sessions.any() else []
    if not has_sessions.all():
        groups.append(lone_tasks(reader, intervals.run, tenants, has_sessions, dim))
    units = _units(intervals)
    everyone = np.ones(len(tenants), dtype=np.bool_)
    whole = _figures(groups, everyone, units)
    bill, borne = intervals.run_total().cost_usd, whole["cost_usd_with_idle"]
    whole["cost_usd_outside"] = None if bill is None or borne is None else bill - borne
    found = {}
    for code, name in enumerate(tenants):
        mine = np.zeros(len(tenants), dtype=np.bool_)
        mine[code] = True
        found[name] = {
            "has_sessions": bool(has_sessions[code]),
            **_figures(groups, mine, units),
        }
    return {**whole, "by_tenant": found}


def _session_tasks(reader: RunReader, tenants: Sequence[str]) -> Shown:
    """The rows of `fact_tasks` that are measured."""
    rows = reader.read("fact_tasks", ("tenant", "deployment", "is_measured", "outcome", "is_good"))
    shown = rows.flag("is_measured")

    def column(name: str) -> NDArray[np.float64]:
        if name == "gpu_s_input":
            return column("gpu_s_input_computed") + column("gpu_s_input_cached")
        return reader.read("fact_tasks", (name,)).number(name)[shown]

    tenant, _ = names_of(rows.text("tenant"), tenants)
    deployment, deployments = names_of(rows.text("deployment"))
    return Shown(
        tenant[shown],
        deployment[shown],
        deployments,
        rows.is_equal("outcome", "completed")[shown],
        rows.flag("is_good")[shown],
        column,
    )


def _units(intervals: PricedIntervals) -> dict[str, tuple[_Unit, _Unit]]:
    """By deployment, what a GPU-second costs in the pool that prefills and the one that decodes."""
    totals = intervals.pool_totals()
    worked = {
        pool: sum(total.amounts[f"gpu_s_{LEDGER_STATES[state]}"] for state in WORKING_STATES)
        for pool, total in totals.items()
    }
    bill = intervals.run_total().cost_usd
    borne = sum(total.cost_usd or 0.0 for pool, total in totals.items() if worked[pool] > 0)
    shared = math.nan if bill is None or not borne else bill / borne
    found: dict[str, list[_Unit | None]] = {}
    for code, pool in enumerate(intervals.pools):
        deployment = intervals.deployments[code]
        if deployment is None:
            continue
        price = intervals.usd_per_gpu_hour[code] / 3600
        provisioned = totals[pool].amounts["gpu_s_provisioned"]
        idle = provisioned / worked[pool] if worked[pool] else 1.0
        unit = _Unit(price, price * idle * shared)
        places = found.setdefault(deployment, [None, None])
        role = intervals.roles[code]
        if role in {"prefill", "aggregated"}:
            places[0] = unit
        if role in {"decode", "aggregated"}:
            places[1] = unit
    none = _Unit(math.nan, math.nan)
    return {name: (places[0] or none, places[1] or none) for name, places in found.items()}


def _figures(
    groups: Sequence[Shown], of: NDArray[np.bool_], units: Mapping[str, tuple[_Unit, _Unit]]
) -> dict[str, Any]:
    """Figures of the tasks of some tenants."""
    tasks = sum(group.total("weight", of) for group in groups)
    good = sum(group.total("good", of) for group in groups)
    direct, whole = (
        sum(_cost(group, of, units, read) for group in groups) for read in (_direct, _with_idle)
    )
    spans = {
        name: np.concatenate([np.empty(0), *(group.span(name, of) for group in groups)])
        for name in SPANS
    }
    task_s = spans["task_s"]
    quantiles = dict.fromkeys(QUANTILES)
    if task_s.size:
        at = np.quantile(task_s, list(QUANTILES.values())).tolist()
        quantiles = dict(zip(QUANTILES, at, strict=True))
    paid = None if not tasks or math.isnan(direct) else direct
    borne = None if not tasks or math.isnan(whole) else whole
    return {
        "tasks": _count(tasks),
        "completed": _count(sum(group.total("completed", of) for group in groups)),
        "good": _count(good),
        "good_ratio": divided(good, tasks),
        **{
            f"{what}_per_task": divided(sum(group.total(what, of) for group in groups), tasks)
            for what in PER_TASK
        },
        **{
            f"{name}_mean": float(values.mean()) if values.size else None
            for name, values in spans.items()
        },
        **{f"task_s_{name}": value for name, value in quantiles.items()},
        "cost_usd_direct": paid,
        "cost_usd_with_idle": borne,
        "cost_usd_direct_per_task": divided(paid, tasks),
        "cost_usd_per_task": divided(borne, tasks),
        "cost_usd_per_task_good": divided(borne, good),
    }


def _direct(unit: _Unit) -> float:
    return unit.direct


def _with_idle(unit: _Unit) -> float:
    return unit.with_idle


def _cost(
    group: Shown,
    of: NDArray[np.bool_],
    units: Mapping[str, tuple[_Unit, _Unit]],
    read: Callable[[_Unit], float],
) -> float:
    """USD of the tasks of some tenants; NaN where a deployment of theirs has no price."""
    cost = 0.0
    for code, deployment in enumerate(group.deployments):
        if not group.has(of, code):
            continue
        prefill, decode = units[deployment]
        at_decode = group.total("gpu_s_input_at_decode", of, code)
        prompts = group.total("gpu_s_input", of, code) - at_decode
        outputs = group.total("gpu_s_output", of, code)
        cost += prompts * read(prefill) + (at_decode + outputs) * read(decode)
    return cost


def _count(weighted: float) -> int | float:
    """A count: an integer unless the weight of cells is none."""
    return int(weighted) if float(weighted).is_integer() else weighted
