"""DuckDB views on power: the tree, load duration, energy by cause, stranded power, the grid."""
# ruff: noqa: S608 - the SQL is made from the names of the schema, nothing else reaches it

from __future__ import annotations

from factory.records.codes import RESTART_BEGAN
from factory.records.sql import ratio, view

#: Quantiles of power over time that `v_load_duration` shows.
LOAD_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)

#: What energy goes to, as columns of `v_window_energy`: they add up to what the grid gave.
ENERGY_CAUSES = (
    "gpu_active",
    "gpu_idle",
    "hosts_and_network",
    "power_supplies",
    "facility_overhead",
    "battery_losses",
    "battery_stored",
)

#: States of the ledger in which a pool's GPUs are down; beside them, starts after one of them.
DOWN_STATES = ("failed", "tripped", "maintenance")

#: The state after which a start is part of a pause, which is no outage.
RESUMED_STATE = "paused"

#: States after which a replica starts again.
RESTART_STATES = (*DOWN_STATES, RESUMED_STATE)

#: Where a scenario says what share of what a battery takes it gives again.
BATTERY_EFFICIENCY = "facility.grid.battery.efficiency_ratio"

_EFFICIENCY = "coalesce(b.value_number, 1)"
_MARKED = ("capped", "braked", "dark", "curtailed")

#: Order of the levels of the tree, from the top.
LEVELS = ("facility", "row", "rack", "node")
_LEVEL = f"list_position([{', '.join(repr(level) for level in ('contract', *LEVELS))}], level)"
_NUMBER = "coalesce(try_cast(regexp_extract(power_node, '[0-9]+$') AS BIGINT), -1)"
_STEM = "regexp_replace(power_node, '[0-9]+$', '')"

#: From the top of the tree down, and `rack-2` before `rack-10`.
_TREE_ORDER = f"{_LEVEL}, {_STEM}, {_NUMBER}"

_SCALE = "CASE WHEN level = 'facility' THEN weight ELSE 1 END"
"""A row, rack or node speaks for itself; only the facility, which all share, for all cells."""


def power_views() -> tuple[str, ...]:
    """Every view on power, in an order in which each finds those it needs."""
    return (
        _power(),
        _power_nodes(),
        _load_duration(),
        _window_energy(),
        _energy_by_cause(),
        _stranded(),
        _grid(),
        _demand_quarters(),
        _peak_demand(),
        _availability(),
    )


def _power() -> str:
    energies = {
        "gpu": "energy_gpu_kwh",
        "other": "energy_other_kwh",
        "loss": "energy_loss_kwh",
        "facility": "energy_facility_kwh",
    }
    parts = [
        f"{ratio(f'{_SCALE} * {of} * 3600', 'window_s')} AS mean_{at}_kw"
        for at, of in energies.items()
    ]
    own = ("mean_it_kw", "peak_1s_it_kw", "budget_it_kw", "limit_it_kw", "mean_headroom_it_kw")
    powers = ",\n  ".join(f"{_SCALE} * {name} AS {name}" for name in own)
    parts += [f"{ratio(f'{what}_s', 'window_s')} AS {what}_ratio" for what in _MARKED]
    columns = ",\n  ".join(parts)
    return view(
        "v_power",
        "power node × window: power, headroom, and shares of time; of the node itself, of all "
        "cells for\n-- the facility.",
        f"""\
SELECT run_id, weight, power_node, level, window_index, window_start_time_s, window_start_at,
  window_s, is_measured,
  {powers},
  {ratio("f.mean_headroom_it_kw", "f.limit_it_kw")} AS headroom_ratio,
  {columns}
FROM fact_power f
ORDER BY run_id, {_TREE_ORDER}, window_index""",
    )


def _power_nodes() -> str:
    seconds = ", ".join(f"sum({what}_s) AS {what}_s" for what in _MARKED)
    one = "any_value(CASE WHEN level = 'facility' THEN weight ELSE 1 END)"
    return view(
        "v_power_nodes",
        "run × power node: power, limits, headroom and marked seconds in the measured interval; "
        "of the\n-- node itself, of all cells for the facility.",
        f"""\
SELECT run_id, power_node, level,
  {one} * sum(energy_it_kwh) * 3600 / NULLIF(sum(window_s), 0) AS mean_it_kw,
  {one} * max(peak_1s_it_kw) AS peak_1s_it_kw, {one} * max(budget_it_kw) AS budget_it_kw,
  {one} * min(limit_it_kw) AS limit_it_kw,
  {one} * sum(mean_headroom_it_kw * window_s)
    / NULLIF(sum(window_s) FILTER (mean_headroom_it_kw IS NOT NULL), 0) AS mean_headroom_it_kw,
  {seconds}
FROM fact_power
WHERE is_measured
GROUP BY run_id, power_node, level
ORDER BY run_id, {_TREE_ORDER}""",
    )


def _load_duration() -> str:
    values = ", ".join(f"({quantile}::DOUBLE)" for quantile in LOAD_QUANTILES)

    def ordered(by: str) -> str:
        return (
            f"sum(window_s) OVER (PARTITION BY run_id, power_node ORDER BY {by} "
            "ROWS UNBOUNDED PRECEDING)"
        )

    def reached(kw: str, at: str) -> str:
        return f"min({kw}) FILTER ({at} >= quantile_ratio * all_s * (1 - 1e-12)) AS {kw}"

    return view(
        "v_load_duration",
        "run × power node × quantile: power that is not passed for that share of the measured "
        "time;\n-- of the means of windows, and of the highest second of each; of the node itself, "
        "of all\n-- cells for the facility.",
        f"""\
SELECT run_id, power_node, level, quantile_ratio, 1 - quantile_ratio AS exceeded_ratio,
  {reached("mean_it_kw", "mean_s")},
  {reached("peak_1s_it_kw", "peak_s")}
FROM (
  SELECT run_id, power_node, level, {_SCALE} * f.mean_it_kw AS mean_it_kw,
    {_SCALE} * f.peak_1s_it_kw AS peak_1s_it_kw,
    {ordered("f.mean_it_kw")} AS mean_s,
    {ordered("f.peak_1s_it_kw")} AS peak_s,
    sum(window_s) OVER (PARTITION BY run_id, power_node) AS all_s
  FROM fact_power f
  WHERE is_measured AND window_s > 0
)
CROSS JOIN (VALUES {values}) q(quantile_ratio)
GROUP BY run_id, power_node, level, quantile_ratio
ORDER BY run_id, {_TREE_ORDER}, quantile_ratio""",
    )


def _window_energy() -> str:
    return view(
        "v_window_energy",
        "run × window: grid energy by what it went to; `battery_stored` is what the battery holds "
        "more\n-- than before, negative if less.",
        f"""\
SELECT g.run_id, g.window_index, g.window_start_time_s, g.window_start_at, g.window_s,
  g.is_measured,
  p.gpu_kwh - p.idle_kwh AS gpu_active_kwh, p.idle_kwh AS gpu_idle_kwh,
  g.weight * n.energy_other_kwh AS hosts_and_network_kwh,
  g.weight * n.energy_loss_kwh AS power_supplies_kwh,
  g.weight * (g.energy_facility_kwh - g.energy_it_kwh) AS facility_overhead_kwh,
  g.weight * g.battery_charged_kwh * (1 - {_EFFICIENCY}) AS battery_losses_kwh,
  g.weight * (g.energy_grid_kwh - g.energy_facility_kwh
    - g.battery_charged_kwh * (1 - {_EFFICIENCY})) AS battery_stored_kwh,
  g.weight * g.energy_grid_kwh AS grid_kwh,
  g.weight * g.electricity_usd AS electricity_usd,
  g.weight * g.emissions_g AS emissions_g
FROM fact_grid g
LEFT JOIN fact_run_parameters b ON b.run_id = g.run_id AND b.path = '{BATTERY_EFFICIENCY}'
JOIN fact_power n
  ON n.run_id = g.run_id AND n.window_index = g.window_index AND n.level = 'facility'
JOIN (
  SELECT run_id, window_index, sum(weight * energy_gpu_kwh) AS gpu_kwh,
    sum(weight * energy_gpu_idle_kwh) AS idle_kwh
  FROM fact_intervals GROUP BY run_id, window_index
) p ON p.run_id = g.run_id AND p.window_index = g.window_index""",
    )


def _energy_by_cause() -> str:
    columns = ", ".join(f"{cause}_kwh" for cause in ENERGY_CAUSES)
    causes = ", ".join(f"'{cause}'" for cause in ENERGY_CAUSES)

    def of_series(total: str) -> str:
        part = f"sum({total} * kwh / NULLIF(grid_kwh, 0))"
        return f"CASE WHEN count(*) = count({total}) THEN {part} END AS {total}"

    return view(
        "v_energy_by_cause",
        "run × cause: energy of the measured interval, its share of what the grid gave, and its "
        "part of\n-- the electricity bill and of emissions; null without series of them.",
        f"""\
SELECT run_id, replace(cause, '_kwh', '') AS cause, sum(kwh) AS energy_kwh,
  sum(kwh) / NULLIF(sum(sum(kwh)) OVER (PARTITION BY run_id), 0) AS energy_ratio,
  {of_series("electricity_usd")},
  {of_series("emissions_g")}
FROM (
  UNPIVOT (SELECT run_id, grid_kwh, electricity_usd, emissions_g, {columns}
    FROM v_window_energy WHERE is_measured)
  ON {columns} INTO NAME cause VALUE kwh
)
GROUP BY run_id, cause
ORDER BY run_id, list_position([{causes}], cause)""",
    )


def _stranded() -> str:
    return view(
        "v_stranded",
        "run × power node, and a row `contract` at the facility boundary: power granted, usable "
        "and\n-- stranded, what a budget withholds from those beneath, and the peak, MW; of the "
        "node itself,\n-- of all cells for the facility and the contract.",
        f"""\
WITH nodes AS (
  SELECT n.run_id, n.power_node, n.level, n.parent_power_node,
    CASE WHEN n.level = 'facility' THEN r.cells / r.cells_simulated ELSE 1 END / 1e3 AS mw, r.pue,
    CASE WHEN n.level = 'facility' THEN CAST(round(n.gpus * r.cells / r.cells_simulated) AS BIGINT)
      ELSE n.gpus END AS gpus,
    n.budget_it_kw, n.usable_it_kw, n.stranded_it_kw,
    (SELECT sum(c.usable_it_kw) FROM dim_power_nodes c
      WHERE c.run_id = n.run_id AND c.parent_power_node = n.power_node) AS beneath_kw,
    (SELECT max(p.peak_1s_it_kw) FROM fact_power p
      WHERE p.run_id = n.run_id AND p.power_node = n.power_node AND p.is_measured) AS peak_kw
  FROM dim_power_nodes n JOIN fact_runs r ON r.run_id = n.run_id
)
SELECT * FROM (
SELECT run_id, power_node, level, parent_power_node, 'it' AS boundary, gpus,
  mw * budget_it_kw AS granted_mw, mw * usable_it_kw AS usable_mw,
  mw * stranded_it_kw AS stranded_mw,
  mw * greatest(coalesce(beneath_kw, usable_it_kw) - usable_it_kw, 0) AS withheld_mw,
  mw * peak_kw AS peak_1s_mw,
  CASE WHEN stranded_it_kw > 1e-9 * budget_it_kw AND level IN ('rack', 'node')
      THEN 'its GPUs and hosts at their most draw less than its budget'
    WHEN stranded_it_kw > 1e-9 * budget_it_kw
      THEN 'what is beneath it can use less than its budget'
    WHEN beneath_kw > usable_it_kw * (1 + 1e-9) THEN 'its budget is below what is beneath it'
    WHEN budget_it_kw IS NULL THEN 'no budget of its own' ELSE 'all of it can be used' END AS why
FROM nodes
UNION ALL
SELECT r.run_id, 'contract', 'contract', NULL, 'facility', n.gpus,
  r.contracted_facility_mw, least(n.mw * n.usable_it_kw * n.pue, r.contracted_facility_mw),
  greatest(r.contracted_facility_mw - n.mw * n.usable_it_kw * n.pue, 0),
  greatest(n.mw * n.usable_it_kw * n.pue - r.contracted_facility_mw, 0),
  (SELECT max(g.weight * g.peak_1s_grid_kw) / 1e3 FROM fact_grid g
    WHERE g.run_id = r.run_id AND g.is_measured),
  CASE WHEN r.contracted_facility_mw > n.mw * n.usable_it_kw * n.pue * (1 + 1e-9)
      THEN 'budgets and racks, with the overhead, use less than is contracted'
    WHEN r.contracted_facility_mw < n.mw * n.usable_it_kw * n.pue * (1 - 1e-9)
      THEN 'racks could draw more than is contracted' ELSE 'all of it can be used' END
FROM fact_runs r JOIN nodes n ON n.run_id = r.run_id AND n.level = 'facility'
)
ORDER BY run_id, {_TREE_ORDER}""",
    )


def _grid() -> str:
    def kw(column: str) -> str:
        return ratio(f"weight * {column} * 3600", "window_s")

    return view(
        "v_grid",
        "run × window: the facility at its grid connection, all cells: power, overhead as PUE, "
        "battery,\n-- price paid and carbon intensity by energy.",
        f"""\
SELECT run_id, window_index, window_start_time_s, window_start_at, window_s, is_measured,
  {kw("energy_it_kwh")} AS it_kw, {kw("energy_facility_kwh")} AS facility_kw,
  {kw("energy_grid_kwh")} AS grid_kw,
  {ratio("energy_facility_kwh", "energy_it_kwh")} AS pue_ratio,
  weight * peak_1s_grid_kw AS peak_1s_grid_kw, weight * limit_grid_kw AS limit_grid_kw,
  weight * excess_kwh AS excess_kwh, {ratio("curtailed_s", "window_s")} AS curtailed_ratio,
  {kw("battery_charged_kwh")} AS battery_charged_kw,
  {kw("battery_discharged_kwh")} AS battery_discharged_kw,
  weight * battery_level_kwh AS battery_level_kwh, outside_c,
  price_usd_per_mwh, {ratio("electricity_usd * 1e3", "energy_grid_kwh")} AS paid_usd_per_mwh,
  carbon_g_per_kwh, weight * electricity_usd AS electricity_usd,
  weight * emissions_g AS emissions_g
FROM fact_grid
ORDER BY run_id, window_index""",
    )


def _demand_quarters() -> str:
    return view(
        "v_demand_quarters",
        "run × quarter of the local clock: mean grid power, all cells.",
        """\
SELECT run_id, quarter_index, start_time_s, start_at, end_time_s, end_at, quarter_local, is_whole,
  is_measured, weight * energy_grid_kwh AS energy_grid_kwh, weight * mean_grid_kw AS mean_grid_kw
FROM fact_demand_meter
ORDER BY run_id, quarter_index""",
    )


def _peak_demand() -> str:
    return view(
        "v_peak_demand",
        "run: the highest whole quarter of the measured interval, what a demand tariff bills; "
        "null where\n-- none is whole.",
        f"""\
SELECT r.run_id, max(q.mean_grid_kw) AS peak_15min_grid_kw,
  arg_max(q.quarter_local, q.mean_grid_kw) AS quarter_local,
  {
            ratio(
                "sum(q.energy_grid_kwh) * 3600 / sum(q.end_time_s - q.start_time_s)",
                "max(q.mean_grid_kw)",
            )
        } AS mean_to_peak_ratio
FROM fact_runs r
LEFT JOIN v_demand_quarters q ON q.run_id = r.run_id AND q.is_whole AND q.is_measured
GROUP BY r.run_id""",
    )


def _availability() -> str:
    down = ", ".join(f"sum(c.gpu_s_{state}) AS gpu_s_{state}" for state in DOWN_STATES)
    counts = ", ".join(
        f"count(*) FILTER (e.detail = 'after {state}') AS after_{state}"
        for state in RESTART_STATES[1:]
    )
    rest = " - ".join(("1", *(f"coalesce(s.after_{s}, 0) / s.n" for s in RESTART_STATES[1:])))
    shares = {
        DOWN_STATES[0]: f"coalesce({rest}, 1)",
        **{s: f"coalesce(s.after_{s} / s.n, 0)" for s in RESTART_STATES[1:]},
    }
    after = ",\n      ".join(
        f"coalesce(sum(c.gpu_s_starting * {share}) FILTER (NOT c.is_scaled), 0) AS "
        + ("gpu_s_resuming" if state == RESUMED_STATE else f"gpu_s_restarting_after_{state}")
        for state, share in shares.items()
    )
    restarting = " + ".join(f"gpu_s_restarting_after_{state}" for state in DOWN_STATES)
    lost = " - ".join(("gpu_s_provisioned", *(f"gpu_s_{state}" for state in DOWN_STATES)))
    return view(
        "v_availability",
        "run × pool, and `pool` NULL for all of them: GPU-seconds that were down while measured.\n"
        "-- Starts are told by what held the replica before, in pools that nothing scales; "
        "elsewhere they\n-- cannot be. Those after a pause (`gpu_s_resuming`) are no outage.",
        f"""\
SELECT *, {ratio(f"({lost} - gpu_s_restarting)", "gpu_s_provisioned")} AS availability_ratio
FROM (
  SELECT *, {restarting} AS gpu_s_restarting
  FROM (
    SELECT c.run_id, c.pool, sum(c.gpu_s_provisioned) AS gpu_s_provisioned,
      {down},
      {after}
    FROM (
      SELECT *, EXISTS (
        SELECT 1 FROM fact_events e WHERE e.run_id = i.run_id AND e.subject = i.pool
          AND e.kind IN ('scale_up', 'scale_down')) AS is_scaled
      FROM v_interval_costs i
      WHERE is_measured AND role <> 'unassigned'
    ) c
    LEFT JOIN (
      SELECT r.run_id, r.pool, count(*) AS n, {counts}
      FROM fact_events e JOIN dim_replicas r ON r.run_id = e.run_id AND r.replica = e.subject
      WHERE e.kind = '{RESTART_BEGAN}'
      GROUP BY r.run_id, r.pool
    ) s ON s.run_id = c.run_id AND s.pool = c.pool
    GROUP BY GROUPING SETS ((c.run_id, c.pool), (c.run_id))
  )
)
ORDER BY run_id, pool NULLS LAST""",
    )
