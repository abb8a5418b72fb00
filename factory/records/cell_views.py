"""The views over cells: what each simulated one did, and how far they differ."""
# ruff: noqa: S608 - the SQL is made from the names of the schema, nothing else reaches it

from __future__ import annotations

from factory.records.codes import LEDGER_STATES, WORKING_STATES
from factory.records.sql import ratio, view

#: Additive figures of a cell.
_SUMS = (
    "cost_usd",
    "gpu_s_provisioned",
    "output_tokens",
    "output_good_tokens",
    "reference_gpu_s",
    "energy_it_kwh",
    "energy_facility_kwh",
)

#: What `v_cell_spread` compares between cells, by column of `v_cells`.
SPREAD = (
    "tokens_per_s_output_good",
    "cost_usd",
    "cost_usd_per_mtok_output_good",
    "facility_kw",
    "busy_ratio",
    "load_factor_ratio",
    "ledger_power_capped_ratio",
)


def cell_views() -> tuple[str, ...]:
    """The statements that create them; they read `v_interval_costs` and `v_logical_requests`."""
    return _cells(), _spread()


def _cells() -> str:
    one = "any_value(r.cells_simulated) / any_value(r.cells)"
    sums = ",\n    ".join(
        f"sum(c.{name}) * {one} AS {name}" for name in (*_SUMS[1:], "gpu_s_power_capped")
    )
    busy = " + ".join(f"c.gpu_s_{LEDGER_STATES[state]}" for state in WORKING_STATES)
    priced = "count(*) FILTER (c.usd_per_gpu_hour IS NULL AND c.gpu_s_provisioned > 0) = 0"
    ratios = {
        "tokens_per_s_output_good": ratio("output_good_tokens", "seconds"),
        "cost_usd_per_mtok_output_good": ratio("cost_usd * 1e6", "output_good_tokens"),
        "it_kw": ratio("energy_it_kwh * 3600", "seconds"),
        "facility_kw": ratio("energy_facility_kwh * 3600", "seconds"),
        "busy_ratio": ratio("busy_gpu_s", "gpu_s_provisioned"),
        "load_factor_ratio": ratio("reference_gpu_s", "gpu_s_provisioned"),
        "ledger_power_capped_ratio": ratio("gpu_s_power_capped", "gpu_s_provisioned"),
        "attainment_ratio": ratio("good", "offered"),
    }
    columns = ",\n  ".join(f"{sql} AS {name}" for name, sql in ratios.items())
    return view(
        "v_cells",
        "run × simulated cell, of the measured interval: figures of the one cell, not weighted.",
        f"""\
SELECT *,
  {columns}
FROM (
  SELECT c.run_id, c.cell,
    any_value(r.measured_to_s - r.measured_from_s) AS seconds,
    CASE WHEN {priced} THEN coalesce(sum(c.cost_usd), 0) * {one} END AS cost_usd,
    {sums},
    sum({busy}) * {one} AS busy_gpu_s
  FROM v_interval_costs c JOIN fact_runs r ON r.run_id = c.run_id
  WHERE c.is_measured
  GROUP BY c.run_id, c.cell
) LEFT JOIN (
  SELECT run_id, cell, count(*) AS offered, count(*) FILTER (is_good) AS good
  FROM v_logical_requests
  GROUP BY run_id, cell
) USING (run_id, cell)
ORDER BY run_id, cell""",
    )


def _spread() -> str:
    figures = ", ".join(SPREAD)
    named = ", ".join(f"'{figure}'" for figure in SPREAD)
    return view(
        "v_cell_spread",
        "run × figure of `v_cells`: mean over the simulated cells, the variance between them, and "
        "the standard error of that mean; the last two are null for one cell.",
        f"""\
SELECT run_id, figure, count(*) AS cells, avg(value) AS mean, var_samp(value) AS variance,
  stddev_samp(value) / sqrt(count(*)) AS stderr
FROM (
  UNPIVOT (SELECT run_id, cell, {figures} FROM v_cells)
  ON {figures} INTO NAME figure VALUE value
)
GROUP BY run_id, figure
ORDER BY run_id, list_position([{named}], figure)""",
    )
