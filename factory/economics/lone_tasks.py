"""Tasks of tenants whose sessions have one request: what `v_tasks` makes of their requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from factory.economics.task_columns import ADDITIVE, Shown, names_of
from factory.economics.totals import RunFacts
from factory.records.reader import Columns, RunReader

_Floats = NDArray[np.float64]


def lone_tasks(
    reader: RunReader,
    run: RunFacts,
    tenants: Sequence[str],
    has_sessions: NDArray[np.bool_],
    dim: Columns,
) -> Shown:
    """The tasks of tenants without sessions that start in the measured interval.

    Args:
        reader: Tables of the run.
        run: Its row.
        tenants: Names.
        has_sessions: Which tenants have their tasks in `fact_tasks`, shape (tenants,).
        dim: `slo_task_s` of the tenants.
    """
    rows = reader.read("fact_requests", ("tenant", "deployment", "attempt", "turn"))
    tenant, _ = names_of(rows.text("tenant"), tenants)
    deployment, deployments = names_of(rows.text("deployment"))
    lone = ~has_sessions[tenant]
    slo_s = np.nan_to_num(dim.number("slo_task_s"), nan=np.inf)
    limit_s = slo_s[tenant]
    is_many = bool(
        (rows.number("attempt")[lone] > 0).any() or (rows.number("turn")[lone] > 0).any()
    )
    if is_many:
        return _grouped(reader, run, lone, tenant, deployment, deployments, limit_s)
    shown = lone & reader.read("fact_requests", ("is_measured",)).flag("is_measured")
    flags = reader.read("fact_requests", ("outcome", "is_good", "e2e_s"))
    completed = flags.is_equal("outcome", "completed")
    e2e_s = flags.number("e2e_s")
    good = np.where(np.isfinite(limit_s), completed & (e2e_s <= limit_s), flags.flag("is_good"))

    def column(name: str) -> _Floats:
        if name in {"task_s", "waited_s"}:
            return e2e_s[shown]
        if name == "tools_s":
            return np.zeros(int(shown.sum()))
        if name == "requests":
            return np.ones(int(shown.sum()))
        return _attempts(reader, name)[shown]

    return Shown(
        tenant[shown], deployment[shown], deployments, completed[shown], good[shown], column
    )


def _attempts(reader: RunReader, name: str) -> _Floats:
    """A figure of every attempt, shape (rows,)."""
    if name == "gpu_s_input":
        parts = reader.read("fact_requests", ("gpu_s_input_computed", "gpu_s_input_cached"))
        return parts.number("gpu_s_input_computed") + parts.number("gpu_s_input_cached")
    if name == "gpu_s_input_at_decode":
        places = reader.read("fact_requests", ("prefill_replica", "decode_replica"))
        prefill, decode = places.text("prefill_replica"), places.text("decode_replica")
        code = {value: number for number, value in enumerate(decode.values)}
        alike = np.array([*(code.get(value, -2) for value in prefill.values), -2])
        is_alike = alike[prefill.codes] == decode.codes
        return np.where(is_alike, _attempts(reader, "gpu_s_input"), 0.0)
    return reader.read("fact_requests", (name,)).number(name)


def _grouped(
    reader: RunReader,
    run: RunFacts,
    lone: NDArray[np.bool_],
    tenant: NDArray[np.int64],
    deployment: NDArray[np.int64],
    deployments: Sequence[str],
    limit_s: _Floats,
) -> Shown:
    """The same where requests are tried again, or sessions of a replay have several."""
    rows = reader.read("fact_requests", ("root_request_id", "task_id", "outcome", "is_good"))
    numbers = ("weight", "attempt", "arrival_time_s", "first_arrival_time_s", "completion_time_s")
    times = reader.read("fact_requests", numbers)
    attempt, left_s = times.number("attempt")[lone], times.number("completion_time_s")[lone]
    _, root = np.unique(rows.text("root_request_id").codes[lone], return_inverse=True)
    # The last attempt of each logical request, in their order.
    order = np.lexsort((attempt, root))
    last = order[np.flatnonzero(np.diff(root[order], append=-1))]
    _, task_of = np.unique(rows.text("task_id").codes[lone], return_inverse=True)
    task = task_of[last]
    count = int(task.max(initial=-1)) + 1
    completed = rows.is_equal("outcome", "completed")[lone][last]
    in_flight = rows.is_equal("outcome", "in_flight")[lone][last]
    good = np.bincount(root, rows.flag("is_good")[lone])[root[last]] > 0

    start_s = np.full(count, np.inf)
    np.minimum.at(start_s, task, times.number("first_arrival_time_s")[lone][last])
    end_s = np.full(count, -np.inf)
    np.maximum.at(end_s, task, np.where(in_flight, np.inf, left_s[last]))
    requests = np.bincount(task, minlength=count)
    is_completed = np.bincount(task, completed, count) == requests
    stays = np.where(np.isnan(left_s), run.end_s, left_s) - times.number("arrival_time_s")[lone]
    waited_s = np.bincount(task_of, stays, count)
    task_s = end_s - start_s
    first = np.zeros(count, np.int64)
    first[task] = last
    limit = limit_s[lone][first]
    by_request = np.bincount(task, good, count) == requests
    is_good = is_completed & np.where(np.isfinite(limit), task_s <= limit, by_request)
    shown = (start_s >= run.measured_from_s) & (start_s < run.measured_to_s)
    made: dict[str, _Floats] = {
        "requests": requests.astype(np.float64),
        "weight": times.number("weight")[lone][first],
        "task_s": task_s,
        "waited_s": waited_s.astype(np.float64),
        "tools_s": np.maximum(task_s - waited_s, 0.0),
    }
    for name in ADDITIVE:
        if name not in made:
            sums = np.bincount(task_of, _attempts(reader, name)[lone], count)
            made[name] = sums.astype(np.float64)

    def column(name: str) -> _Floats:
        return made[name][shown]

    return Shown(
        tenant[lone][first][shown],
        deployment[lone][first][shown],
        deployments,
        is_completed[shown],
        is_good[shown],
        column,
    )
