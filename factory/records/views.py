"""The ratios, as DuckDB views over the tables: stored nowhere, redone wherever they are asked for.

`factory.economics` computes the same figures in Python; tests hold the two equal to 1e-12.
"""
# ruff: noqa: S608 - the SQL is made from the names of the schema, nothing else reaches it

from __future__ import annotations

from collections.abc import Sequence

from factory.records.cell_views import cell_views
from factory.records.codes import LEDGER_STATES, WORKING_STATES
from factory.records.columns import Schema
from factory.records.power_views import power_views
from factory.records.service_views import service_views
from factory.records.sql import ratio, view
from factory.records.task_views import task_views

#: Denominators of unit costs and of token rates, by suffix, as sums of token columns.
DENOMINATORS = {
    "output_good": ("output_good_tokens",),
    "output": ("output_tokens",),
    "computed": ("input_computed_tokens", "output_tokens"),
    "all": ("input_computed_tokens", "input_cached_tokens", "output_tokens"),
}

_ADDITIVE = (
    "gpu_s_provisioned",
    "input_computed_tokens",
    "input_recomputed_tokens",
    "input_cached_tokens",
    "output_tokens",
    "output_good_tokens",
    *(f"gpu_s_{state}" for state in LEDGER_STATES),
    "reference_gpu_s",
    "energy_gpu_kwh",
    "energy_gpu_idle_kwh",
    "energy_it_kwh",
    "energy_facility_kwh",
)
_BUSY = " + ".join(f"gpu_s_{LEDGER_STATES[state]}" for state in WORKING_STATES)

_HEAD = """\
-- Views over the tables of one run (schema {name} {version}), for DuckDB.
-- Open them in the run's directory: duckdb -init views.sql
-- Every figure is multiplied by `weight`, and covers the measured interval unless it has windows.
-- A ratio whose denominator is 0 is NULL; a cost is NULL where a system has no price.
"""


def views_sql(schema: Schema) -> str:
    """The text of `views.sql`, with tables read from `tables/` under the current directory."""
    tables = [
        f"CREATE OR REPLACE VIEW {table.name} AS "
        f"SELECT * FROM read_parquet('tables/{table.name}.parquet');"
        for table in schema.tables
    ]
    views = [
        _interval_costs(),
        _totals("v_run_totals", ()),
        _totals("v_window_totals", ("window_index", "window_start_time_s", "window_start_at")),
        _totals("v_pool_totals", ("deployment", "pool", "role", "system")),
        _summary("v_run_summary", "v_run_totals", provisioned=True),
        _summary("v_window_summary", "v_window_totals", provisioned=True),
        _summary("v_pool_summary", "v_pool_totals", provisioned=False),
        _role_costs(),
        _ledger(),
        *service_views(),
        *task_views(),
        *cell_views(),
        *power_views(),
    ]
    head = _HEAD.format(name=schema.name, version=schema.version)
    return "\n".join([head, *tables, "", "\n\n".join(views), ""])


def _tokens(suffix: str) -> str:
    return f"({' + '.join(DENOMINATORS[suffix])})"


def _interval_costs() -> str:
    weighted = ",\n  ".join(f"i.weight * i.{column} AS {column}" for column in _ADDITIVE)
    price = "i.weight * i.{} / 3600 * d.usd_per_gpu_hour AS {}"
    return view(
        "v_interval_costs",
        "Pool × cell × window, all windows: weighted columns, with their cost at the run's prices.",
        f"""\
SELECT i.run_id, i.cell, i.deployment, i.pool, p.role, p.system, i.window_index,
  i.window_start_time_s, i.window_start_at, i.window_s, i.is_measured, d.usd_per_gpu_hour,
  {price.format("gpu_s_provisioned", "cost_usd")},
  {price.format("reference_gpu_s", "nameplate_cost_usd")},
  {weighted}
FROM fact_intervals i
JOIN fact_runs r ON r.run_id = i.run_id
JOIN dim_pools p ON p.run_id = i.run_id AND p.pool = i.pool
LEFT JOIN dim_prices d
  ON d.run_id = i.run_id AND d.system = p.system AND d.pricing_id = r.pricing_id""",
    )


def _totals(name: str, keys: Sequence[str]) -> str:
    windowed = "window_index" in keys
    group = ", ".join(["c.run_id", *(f"c.{key}" for key in keys)])
    priced = "count(*) FILTER (c.usd_per_gpu_hour IS NULL AND c.gpu_s_provisioned > 0) = 0"
    sums = ",\n  ".join(f"sum(c.{column}) AS {column}" for column in _ADDITIVE)
    seconds = "max(c.window_s)" if windowed else "any_value(r.measured_to_s - r.measured_from_s)"
    measured = "bool_and(c.is_measured) AS is_measured,\n  " if windowed else ""
    where = "" if windowed else "\nWHERE c.is_measured"
    grain = " × ".join(["run", *(["window"] if windowed else keys[1:2])])
    return view(
        name,
        f"{grain}: additive figures, weighted.",
        f"""\
SELECT {group},
  {measured}{seconds} AS seconds,
  any_value(r.contracted_facility_mw) AS contracted_facility_mw,
  CASE WHEN {priced} THEN coalesce(sum(c.cost_usd), 0) END AS cost_usd,
  CASE WHEN {priced} THEN coalesce(sum(c.nameplate_cost_usd), 0) END AS nameplate_cost_usd,
  {sums}
FROM v_interval_costs c JOIN fact_runs r ON r.run_id = c.run_id{where}
GROUP BY {group}""",
    )


def _summary(name: str, totals: str, *, provisioned: bool) -> str:
    ratios = {
        "busy_ratio": ratio(f"({_BUSY})", "gpu_s_provisioned"),
        "load_factor_ratio": ratio("reference_gpu_s", "gpu_s_provisioned"),
        "cache_hit_ratio": ratio(
            "input_cached_tokens", "(input_cached_tokens + input_computed_tokens)"
        ),
        "usd_per_gpu_hour": ratio("cost_usd", "(gpu_s_provisioned / 3600)"),
        "gpus_provisioned": ratio("gpu_s_provisioned", "seconds"),
        "gpu_kw": ratio("energy_gpu_kwh * 3600", "seconds"),
        "it_kw": ratio("energy_it_kwh * 3600", "seconds"),
        "facility_kw": ratio("energy_facility_kwh * 3600", "seconds"),
    }
    for suffix in DENOMINATORS:
        tokens = _tokens(suffix)
        rate = ratio(tokens, "seconds")
        ratios[f"cost_usd_per_mtok_{suffix}"] = ratio("cost_usd * 1e6", tokens)
        ratios[f"nameplate_cost_usd_per_mtok_{suffix}"] = ratio("nameplate_cost_usd * 1e6", tokens)
        ratios[f"tokens_per_s_{suffix}"] = rate
        ratios[f"tokens_per_s_{suffix}_per_gpu"] = ratio(tokens, "gpu_s_provisioned")
        if provisioned:
            ratios[f"tokens_per_s_{suffix}_per_mw_provisioned"] = ratio(
                rate, "contracted_facility_mw"
            )
        ratios[f"tokens_per_s_{suffix}_per_mw_measured"] = ratio(
            tokens, "(energy_facility_kwh * 3.6)"
        )
        ratios[f"tokens_per_j_{suffix}"] = ratio(tokens, "(energy_facility_kwh * 3.6e6)")
    for state in LEDGER_STATES:
        ratios[f"ledger_{state}_ratio"] = ratio(f"gpu_s_{state}", "gpu_s_provisioned")
    columns = ",\n  ".join(f"{sql} AS {column}" for column, sql in ratios.items())
    return view(
        name,
        f"{totals} with unit costs, utilization, token rates, power and ledger shares.",
        f"SELECT *,\n  {columns}\nFROM {totals}",
    )


def _role_costs() -> str:
    prefill = "FILTER (role = 'prefill')"
    decode = "FILTER (role = 'decode')"
    apart = "count(*) FILTER (role = 'aggregated') = 0"
    is_priced = "count(*) FILTER (role = '{}' AND cost_usd IS NULL) = 0"
    return view(
        "v_deployment_role_costs",
        "deployment: cost by role; null unless its pools are disaggregated.",
        f"""\
SELECT run_id, deployment,
  CASE WHEN {apart} AND {is_priced.format("prefill")} THEN sum(cost_usd) {prefill} * 1e6
    / NULLIF(sum(input_computed_tokens), 0) END
    AS prefill_cost_usd_per_mtok_input_computed,
  CASE WHEN {apart} AND {is_priced.format("decode")} THEN sum(cost_usd) {decode} * 1e6
    / NULLIF(sum(output_tokens), 0) END
    AS decode_cost_usd_per_mtok_output
FROM v_pool_totals
WHERE deployment IS NOT NULL
GROUP BY run_id, deployment""",
    )


def _ledger() -> str:
    columns = ", ".join(f"gpu_s_{state}" for state in LEDGER_STATES)
    return view(
        "v_ledger",
        "run × pool × ledger state: GPU-seconds, their share of the run's, and their cost.",
        f"""\
SELECT run_id, pool, system, replace(state, 'gpu_s_', '') AS state, sum(gpu_s) AS gpu_s,
  sum(gpu_s) / NULLIF(sum(sum(gpu_s)) OVER (PARTITION BY run_id), 0) AS ledger_ratio,
  sum(gpu_s / 3600 * usd_per_gpu_hour) AS cost_usd
FROM (
  UNPIVOT (SELECT run_id, pool, system, usd_per_gpu_hour, {columns}
    FROM v_interval_costs WHERE is_measured)
  ON {columns} INTO NAME state VALUE gpu_s
)
GROUP BY run_id, pool, system, state""",
    )
