"""The views over requests: attainment, latency, outcomes, cache hits."""
# ruff: noqa: S608 - the SQL is made from the names of the schema, nothing else reaches it

from __future__ import annotations

from collections.abc import Sequence

from factory.records.codes import OUTCOMES
from factory.records.sql import ratio, view

#: Quantiles of latencies, by suffix.
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

_COUNTED = ("offered", "retried", "completed", "good", "rejected", "timed_out", "failed")


def service_views() -> tuple[str, ...]:
    """The statements that create them, each after those that it reads."""
    return (
        _roots(),
        _attainment("v_run_attainment", ()),
        _attainment("v_tenant_attainment", ("tenant",)),
        _attainment_5min(),
        _latency("v_run_latency", ()),
        _latency("v_tenant_latency", ("tenant",)),
        _goodput(),
        _outcomes(),
        _tenant_windows(),
        _cache(),
    )


def _roots() -> str:
    return view(
        "v_logical_requests",
        "Logical request that arrives in the measured interval: its attempts taken together, with "
        "the outcome of the last one.",
        """\
SELECT run_id, root_request_id, any_value(tenant) AS tenant, any_value(cell) AS cell,
  any_value(weight) AS weight, min(first_arrival_time_s) AS arrival_time_s, count(*) AS attempts,
  arg_max(outcome, attempt) AS outcome, bool_or(is_good) AS is_good
FROM fact_requests
GROUP BY run_id, root_request_id
HAVING bool_or(is_measured AND attempt = 0)""",
    )


def _attainment(name: str, keys: Sequence[str]) -> str:
    group = ", ".join(["q.run_id", *(f"q.{key}" for key in keys)])
    target = ", any_value(t.target_ratio) AS target_ratio" if keys else ""
    join = (
        "\nLEFT JOIN dim_tenants t ON t.run_id = q.run_id AND t.tenant = q.tenant" if keys else ""
    )
    outcomes = "".join(
        f"  coalesce(sum(q.weight) FILTER (q.outcome = '{outcome}'), 0) AS {outcome},\n"
        for outcome in OUTCOMES
    )
    return view(
        name,
        f"{' × '.join(['run', *keys])}: good over offered logical requests, and the outcomes of "
        "their last attempts.",
        f"""\
SELECT {group}, sum(q.weight) AS offered,
{outcomes}  coalesce(sum(q.weight) FILTER (q.is_good), 0) AS good,
  {ratio("coalesce(sum(q.weight) FILTER (q.is_good), 0)", "sum(q.weight)")}
    AS attainment_ratio{target}
FROM v_logical_requests q{join}
GROUP BY {group}""",
    )


def _attainment_5min() -> str:
    return view(
        "v_tenant_attainment_5min",
        "run × tenant × 5 minutes of arrival: good over offered logical requests.",
        f"""\
SELECT run_id, tenant, floor(arrival_time_s / 300) * 300 AS from_s, sum(weight) AS offered,
  coalesce(sum(weight) FILTER (is_good), 0) AS good,
  {ratio("coalesce(sum(weight) FILTER (is_good), 0)", "sum(weight)")} AS attainment_ratio
FROM v_logical_requests
GROUP BY run_id, tenant, from_s""",
    )


def _latency(name: str, keys: Sequence[str]) -> str:
    group = ", ".join(["run_id", *keys])
    columns = []
    for what in ("ttft", "itl", "e2e"):
        columns.append(f"avg({what}_s * 1000) AS {what}_ms_mean")
        columns += [
            f"quantile_cont({what}_s * 1000, {at}) AS {what}_ms_{suffix}"
            for suffix, at in QUANTILES.items()
        ]
    columns += [
        "1000 / NULLIF(avg(itl_s * 1000), 0) AS interactivity_mean",
        *(
            f"1000 / NULLIF(quantile_cont(itl_s * 1000, {at}), 0) AS interactivity_{suffix}"
            for suffix, at in QUANTILES.items()
        ),
    ]
    listed = ",\n  ".join(columns)
    return view(
        name,
        f"{' × '.join(['run', *keys])}: latency of completed requests that arrive measured; "
        "interactivity is 1000 / ITL in ms, tokens/s/user.",
        f"""\
SELECT {group}, count(*) AS requests,
  {listed}
FROM fact_requests
WHERE is_measured AND outcome = 'completed'
GROUP BY {group}""",
    )


def _goodput() -> str:
    return view(
        "v_run_goodput",
        "run: requests that completed in the measured windows, and good ones, per second; what "
        "came and went beside them; further attempts over all.",
        f"""\
SELECT t.run_id, {_weighted("t", _COUNTED)},
  {ratio("sum(t.weight * t.retried)", "sum(t.weight * (t.offered + t.retried))")} AS retry_ratio,
  {ratio("sum(t.weight * t.completed)", "any_value(r.measured_to_s - r.measured_from_s)")}
    AS requests_per_s,
  {ratio("sum(t.weight * t.good)", "any_value(r.measured_to_s - r.measured_from_s)")}
    AS goodput_requests_per_s
FROM fact_tenant_intervals t JOIN fact_runs r ON r.run_id = t.run_id
WHERE t.is_measured
GROUP BY t.run_id""",
    )


def _outcomes() -> str:
    return view(
        "v_tenant_outcomes",
        "run × tenant × outcome: attempts that arrive in the measured interval, how many of them "
        "have a truncated answer, or a prompt longer than their deployment takes, and the GPU time "
        "spent on them.",
        """\
SELECT q.run_id, q.tenant, q.outcome, sum(q.weight) AS requests,
  coalesce(sum(q.weight) FILTER (q.attempt > 0), 0) AS retried,
  coalesce(sum(q.weight) FILTER (q.is_truncated), 0) AS truncated,
  coalesce(sum(q.weight) FILTER (q.input_tokens > d.longest_prompt_tokens), 0) AS too_long,
  min(q.input_tokens) AS shortest_input_tokens,
  sum(q.weight * (q.gpu_s_input_computed + q.gpu_s_input_cached + q.gpu_s_output)) AS gpu_s
FROM fact_requests q
LEFT JOIN dim_deployments d ON d.run_id = q.run_id AND d.deployment = q.deployment
WHERE q.is_measured
GROUP BY q.run_id, q.tenant, q.outcome""",
    )


def _tenant_windows() -> str:
    return view(
        "v_tenant_windows",
        "run × deployment × tenant × window, all windows: what came and went, per second too; "
        "further attempts over all; good over offered logical requests that arrive in it.",
        f"""\
WITH logical AS (
  SELECT q.run_id, q.deployment, q.tenant, floor(q.first_s / r.window_s) AS window_index,
    sum(q.weight) AS asked, coalesce(sum(q.weight) FILTER (q.is_good), 0) AS met
  FROM (
    SELECT run_id, root_request_id, any_value(deployment) AS deployment,
      any_value(tenant) AS tenant, any_value(weight) AS weight,
      min(first_arrival_time_s) AS first_s, bool_or(is_good) AS is_good
    FROM fact_requests
    GROUP BY run_id, root_request_id
  ) q JOIN fact_runs r ON r.run_id = q.run_id
  GROUP BY q.run_id, q.deployment, q.tenant, floor(q.first_s / r.window_s)
)
SELECT t.run_id, t.deployment, t.tenant, t.window_index, t.window_start_time_s, t.window_start_at,
  t.window_s, t.is_measured,
  {", ".join(f"t.weight * t.{name} AS {name}" for name in _COUNTED)},
  {ratio("t.weight * t.completed", "t.window_s")} AS requests_per_s,
  {ratio("t.weight * t.good", "t.window_s")} AS goodput_requests_per_s,
  {ratio("t.retried", "(t.offered + t.retried)")} AS retry_ratio,
  {ratio("l.met", "l.asked")} AS attainment_ratio
FROM (
  SELECT run_id, deployment, tenant, window_index, any_value(weight) AS weight,
    any_value(window_start_time_s) AS window_start_time_s,
    any_value(window_start_at) AS window_start_at, any_value(window_s) AS window_s,
    any_value(is_measured) AS is_measured,
    {", ".join(f"sum({name}) AS {name}" for name in _COUNTED)}
  FROM fact_tenant_intervals
  GROUP BY run_id, deployment, tenant, window_index
) t
LEFT JOIN logical l ON l.run_id = t.run_id AND l.deployment = t.deployment
  AND l.tenant = t.tenant AND l.window_index = t.window_index""",
    )


def _cache() -> str:
    below = ("host", "disk", "remote")
    lower = " + ".join(f"q.input_cached_{tier}_tokens" for tier in below)
    sums = ",\n    ".join(
        f"coalesce(sum(q.weight * {tokens}), 0) AS {tier}_tokens"
        for tier, tokens in (
            ("gpu", f"(q.input_cached_tokens - ({lower}))"),
            *((tier, f"q.input_cached_{tier}_tokens") for tier in below),
        )
    )
    prompts = "(t.input_cached_tokens + t.input_computed_tokens)"
    ratios = ",\n  ".join(
        f"{ratio(f'h.{tier}_tokens', prompts)} AS {tier}_hit_ratio" for tier in ("gpu", *below)
    )
    return view(
        "v_run_cache",
        "run: cached prompt tokens by the tier they came from, and their share of prompt tokens; "
        "of prompts whose prefill ends in the measured interval.",
        f"""\
SELECT h.*, {ratios}
FROM (
  SELECT r.run_id,
    {sums}
  FROM fact_runs r LEFT JOIN fact_requests q ON q.run_id = r.run_id
    AND q.prefill_end_time_s >= r.measured_from_s
    AND (q.prefill_end_time_s < r.measured_to_s OR r.measured_to_s >= r.end_time_s)
  GROUP BY r.run_id
) h LEFT JOIN v_run_totals t ON t.run_id = h.run_id""",
    )


def _weighted(alias: str, columns: Sequence[str]) -> str:
    return ",\n  ".join(f"sum({alias}.weight * {alias}.{name}) AS {name}" for name in columns)
