"""The views over sessions and tasks: what they took, and what they cost.

A task's GPU time is priced by the pool that spent it: prompts by the pool that prefills, those
prefilled where they decode and all outputs by the pool that decodes. To `cost_usd_direct` comes a
share of the capacity that nothing used: each pool's own, by GPU time worked in it, and that of
pools and GPUs that did nothing, by cost. Over the GPU time worked in the measured interval, costs
with that share add up to the bill. Figures are of tasks that start in the interval; they may go on
beyond it, as others reach into it: `cost_usd_outside` is the rest of the bill.
"""
# ruff: noqa: S608 - the SQL is made from the names of the schema, nothing else reaches it

from __future__ import annotations

from collections.abc import Sequence

from factory.records.codes import LEDGER_STATES, WORKING_STATES
from factory.records.fact_sessions import SESSIONS, TASKS
from factory.records.service_views import QUANTILES
from factory.records.sql import ratio, view

_SUMMED = (
    "input_tokens",
    "input_computed_tokens",
    "input_cached_tokens",
    "output_tokens",
)
_ALLOCATED = (
    "gpu_s_input_computed",
    "gpu_s_input_cached",
    "gpu_s_input_at_decode",
    "gpu_s_output",
    "energy_j",
)
_WORKED = " + ".join(f"gpu_s_{LEDGER_STATES[state]}" for state in WORKING_STATES)
_UNSERVED = "outcome NOT IN ('completed', 'in_flight')"

#: Additive figures of tasks, by column of `v_task_costs`, that `v_tenant_tasks` gives per task.
PER_TASK = ("requests", "input_computed_tokens", "input_cached_tokens", "output_tokens")

#: Spans of completed tasks of which `v_tenant_tasks` gives the mean.
SPANS = ("task_s", "waited_s", "tools_s")


def task_views() -> tuple[str, ...]:
    """The statements that create them, each after those that it reads."""
    return (
        _lone_requests(),
        _tasks(),
        _sessions(),
        _gpu_second_costs(),
        _task_costs(),
        _summary("v_tenant_tasks", ("tenant",)),
        _summary("v_run_tasks", ()),
    )


def _lone_requests() -> str:
    sums = "".join(f"\n  sum(q.{name})::BIGINT AS {name}," for name in _SUMMED)
    both = "(q.gpu_s_input_computed + q.gpu_s_input_cached)"
    return view(
        "v_lone_requests",
        "Logical request of a tenant whose sessions have one request (not `has_sessions`), its "
        "attempts taken together.",
        f"""\
SELECT q.run_id, q.root_request_id, any_value(q.weight) AS weight, any_value(q.cell) AS cell,
  any_value(q.task_id) AS task_id, any_value(q.session_id) AS session_id,
  any_value(q.task) AS task, any_value(q.agent) AS agent,
  any_value(q.deployment) AS deployment, any_value(q.tenant) AS tenant,
  arg_max(q.outcome, q.attempt) AS outcome, bool_or(q.is_good) AS is_good,
  min(q.first_arrival_time_s) AS start_time_s, min(q.arrived_at) AS started_at,
  CASE WHEN count(*) = count(q.completion_time_s) THEN max(q.completion_time_s) END AS end_time_s,
  CASE WHEN count(*) = count(q.completion_time_s) THEN max(q.completed_at) END AS ended_at,
  min(q.first_token_time_s) AS first_token_time_s, count(*) AS attempts,
  sum(coalesce(q.completion_time_s, r.end_time_s) - q.arrival_time_s) AS waited_s,
  max(q.input_tokens + q.output_tokens) AS peak_context_tokens,{sums}
  sum(q.gpu_s_input_computed) AS gpu_s_input_computed,
  sum(q.gpu_s_input_cached) AS gpu_s_input_cached,
  sum(CASE WHEN q.prefill_replica = q.decode_replica THEN {both} ELSE 0 END)
    AS gpu_s_input_at_decode,
  sum(q.gpu_s_output) AS gpu_s_output, sum(q.energy_input_j + q.energy_output_j) AS energy_j
FROM fact_requests q
JOIN dim_tenants t ON t.run_id = q.run_id AND t.tenant = q.tenant AND NOT t.has_sessions
JOIN fact_runs r ON r.run_id = q.run_id
GROUP BY q.run_id, q.root_request_id""",
    )


def _grouped(key: str, more: str) -> str:
    """`v_lone_requests` by task or session, without what follows from its columns."""
    sums = "".join(f",\n    sum({name})::BIGINT AS {name}" for name in _SUMMED)
    sums += "".join(f",\n    sum({name}) AS {name}" for name in _ALLOCATED)
    return f"""\
  SELECT run_id, {key}, any_value(weight) AS weight, any_value(cell) AS cell,
    any_value(deployment) AS deployment,
    any_value(tenant) AS tenant,
    CASE WHEN count(*) FILTER ({_UNSERVED}) > 0 THEN arg_min(outcome, end_time_s)
      FILTER ({_UNSERVED}) WHEN bool_or(outcome = 'in_flight') THEN 'in_flight'
      ELSE 'completed' END AS outcome,
    min(start_time_s) AS start_time_s, min(started_at) AS started_at,
    CASE WHEN count(*) = count(end_time_s) THEN max(end_time_s) END AS end_time_s,
    CASE WHEN count(*) = count(end_time_s) THEN max(ended_at) END AS ended_at,
    count(*) AS requests, count(*) FILTER (is_good) AS requests_good,
    sum(attempts)::BIGINT AS attempts, count(*) FILTER (agent > 0) AS subagent_requests,
    count(DISTINCT agent) AS agents,
    {more}{sums}
  FROM v_lone_requests
  GROUP BY run_id, {key}"""


_MEASURED = "g.start_time_s >= r.measured_from_s AND g.start_time_s < r.measured_to_s"


def _united(
    table: str, key: str, more: str, derived: dict[str, str], columns: Sequence[str]
) -> str:
    """Rows of a table, and rows of the same columns made of lone requests."""
    made = {"is_measured": _MEASURED, "is_whole": "true", **derived}
    listed = ", ".join(columns)
    selected = ",\n  ".join(f"{made.get(name, f'g.{name}')} AS {name}" for name in columns)
    return f"""\
SELECT {listed}
FROM {table}
UNION ALL
SELECT {selected}
FROM (
{_grouped(key, more)}
) g
JOIN fact_runs r ON r.run_id = g.run_id
JOIN dim_tenants t ON t.run_id = g.run_id AND t.tenant = g.tenant"""


def _tasks() -> str:
    span = "g.end_time_s - g.start_time_s"
    in_time = f"CASE WHEN t.slo_task_s IS NULL THEN g.requests_good = g.requests ELSE {span}"
    return view(
        "v_tasks",
        "Task: `fact_tasks`, and of tenants whose sessions have one request that request; waited_s "
        "of these is the sum of their attempts' stays.",
        _united(
            "fact_tasks",
            "task_id",
            "any_value(session_id) AS session_id, any_value(task) AS task,\n"
            "    sum(waited_s) AS waited_s, min(first_token_time_s) AS first_token_time_s",
            {
                "task_s": f"CASE WHEN g.outcome = 'completed' THEN {span} END",
                "tools_s": f"greatest({span} - g.waited_s, 0)",
                "ttft_s": "g.first_token_time_s - g.start_time_s",
                "is_good": f"g.outcome = 'completed' AND {in_time} <= t.slo_task_s END",
            },
            [column.name for column in TASKS.columns],
        ),
    )


def _sessions() -> str:
    return view(
        "v_sessions",
        "Session: `fact_sessions`, and of the other tenants what their requests say; think_s of "
        "these is what no attempt was inside.",
        _united(
            "fact_sessions",
            "session_id",
            "count(DISTINCT task_id) AS tasks, max(peak_context_tokens) AS peak_context_tokens,\n"
            "    sum(waited_s) AS waited_s",
            {
                "session_s": "g.end_time_s - g.start_time_s",
                "think_s": "greatest(g.end_time_s - g.start_time_s - g.waited_s, 0)",
            },
            [column.name for column in SESSIONS.columns],
        ),
    )


def _gpu_second_costs() -> str:
    return view(
        "v_gpu_second_costs",
        "run × pool: price of a GPU-second, and what a GPU-second worked in the measured interval "
        "costs when each bears its share of those that nothing used.",
        f"""\
SELECT p.run_id, p.deployment, p.pool, p.role, d.usd_per_gpu_hour / 3600 AS usd_per_gpu_s,
  d.usd_per_gpu_hour / 3600
    * coalesce(p.gpu_s_provisioned / NULLIF({_WORKED}, 0), 1)
    * (t.cost_usd / NULLIF(sum(CASE WHEN {_WORKED} > 0 THEN p.cost_usd ELSE 0 END)
      OVER (PARTITION BY p.run_id), 0)) AS usd_per_gpu_s_with_idle
FROM v_pool_totals p
JOIN (SELECT run_id, cost_usd FROM v_run_totals) t ON t.run_id = p.run_id
JOIN fact_runs r ON r.run_id = p.run_id
LEFT JOIN dim_prices d
  ON d.run_id = p.run_id AND d.pricing_id = r.pricing_id AND d.system = p.system""",
    )


def _task_costs() -> str:
    prompt = "t.gpu_s_input_computed + t.gpu_s_input_cached - t.gpu_s_input_at_decode"
    decode = "t.gpu_s_input_at_decode + t.gpu_s_output"

    def cost(unit: str) -> str:
        return f"({prompt}) * e.{unit} + ({decode}) * d.{unit}"

    return view(
        "v_task_costs",
        "v_tasks with the cost of one (multiply by `weight` to add up), and with it the share of "
        "unused capacity.",
        f"""\
SELECT t.*, {cost("usd_per_gpu_s")} AS cost_usd_direct,
  {cost("usd_per_gpu_s_with_idle")} AS cost_usd_with_idle
FROM v_tasks t
LEFT JOIN v_gpu_second_costs e ON e.run_id = t.run_id AND e.deployment = t.deployment
  AND e.role IN ('prefill', 'aggregated')
LEFT JOIN v_gpu_second_costs d ON d.run_id = t.run_id AND d.deployment = t.deployment
  AND d.role IN ('decode', 'aggregated')""",
    )


def _summary(name: str, keys: Sequence[str]) -> str:
    group = ", ".join(["c.run_id", *(f"c.{key}" for key in keys)])
    done = "FILTER (c.outcome = 'completed')"
    tasks, good = "sum(c.weight)", "coalesce(sum(c.weight) FILTER (c.is_good), 0)"
    columns = {
        "tasks": tasks,
        "completed": f"coalesce(sum(c.weight) {done}, 0)",
        "good": good,
        "good_ratio": ratio(good, tasks),
        **{f"{what}_per_task": ratio(f"sum(c.weight * c.{what})", tasks) for what in PER_TASK},
    }
    for span in SPANS:
        columns[f"{span}_mean"] = f"avg(c.{span}) {done}"
    for suffix, at in QUANTILES.items():
        columns[f"task_s_{suffix}"] = f"quantile_cont(c.task_s, {at})"
    direct, whole = (
        f"(CASE WHEN count(*) = count(c.{cost}) THEN sum(c.weight * c.{cost}) END)"
        for cost in ("cost_usd_direct", "cost_usd_with_idle")
    )
    columns["cost_usd_direct"] = direct
    columns["cost_usd_with_idle"] = whole
    columns["cost_usd_direct_per_task"] = ratio(direct, tasks)
    columns["cost_usd_per_task"] = ratio(whole, tasks)
    columns["cost_usd_per_task_good"] = ratio(whole, good)
    join = ""
    if not keys:
        columns["cost_usd_outside"] = f"any_value(t.cost_usd) - {whole}"
        join = "\nJOIN v_run_totals t ON t.run_id = c.run_id"
    listed = ",\n  ".join(f"{sql} AS {column}" for column, sql in columns.items())
    return view(
        name,
        f"{' × '.join(['run', *keys])}: tasks that start in the measured interval, what one took "
        "and cost; spans are of completed ones.",
        f"""\
SELECT {group}, {listed}
FROM v_task_costs c{join}
WHERE c.is_measured
GROUP BY {group}""",
    )
