"""Reads a finished run's tables into what the screen and the page show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.economics import summarize_pools, summarize_windows
from factory.economics.cache import LOWER_TIERS
from factory.records.codes import LEDGER_STATES
from factory.records.columns import Text
from factory.records.parquet import read_columns
from factory.records.reader import Columns, RunReader
from factory.records.schema import SCHEMA
from factory.report.attempts import REQUEST_COLUMNS, AttemptBooks, events
from factory.report.figures import known
from factory.report.model import (
    Figures,
    Limits,
    Offer,
    Pool,
    Quantiles,
    RunView,
    Tasks,
    Tenant,
    Timeline,
)
from factory.report.power_model import Power
from factory.report.power_view import cells_of, power_line, power_of
from factory.scenario import catalog
from factory.statistics.quantiles import quantiles

TIERS = ("gpu", *LOWER_TIERS)
_LATENCIES = ("ttft_s", "itl_s", "e2e_s")


def load_view(
    run_dir: Path, summary: Mapping[str, Any], changed_tables: Sequence[str] = ()
) -> RunView:
    """What is shown of a run.

    Args:
        run_dir: A finished run's directory.
        summary: The fields of ``run --json``, as `factory.economics.summarize` gives them.
        changed_tables: Tables that are not as the run wrote them.

    Returns:
        The view; figures that the run does not have are None.

    Raises:
        InputError: The directory holds no finished run, or lacks a table.
    """
    reader = RunReader(run_dir)
    run = _rows(reader, "fact_runs")[0]
    parameters = {
        row["path"]: row["value"] for row in _rows(reader, "fact_run_parameters") if row["value"]
    }
    prices = {
        row["system"]: row
        for row in _rows(reader, "dim_prices")
        if row["pricing_id"] == run["pricing_id"]
    }
    requests = reader.read("fact_requests", REQUEST_COLUMNS)
    pools = _rows(reader, "dim_pools")
    covers = ",".join(row["covers"] or "" for row in prices.values())
    nodes = _rows(reader, "dim_power_nodes")
    power = power_of(reader, run, nodes, summary, parameters, covers)
    cells = cells_of(summary)
    offers = _offers(pools, prices, cells.count)
    cut = requests.flag("is_truncated") & requests.flag("is_measured")
    books = AttemptBooks(reader, requests)
    happenings, decisions = events(reader)
    return RunView(
        name=str(run["scenario"]),
        description=parameters.get("description", ""),
        run_dir=run_dir,
        figures=figures_of(summary),
        offers=offers,
        models=tuple(dict.fromkeys(row["model"] for row in _rows(reader, "dim_deployments"))),
        pools=_pools(pools, summarize_pools(run_dir), cells.count),
        tenants=_tenants(
            _rows(reader, "dim_tenants"), requests, books, summary.get("attainment") or {}
        ),
        tasks=tasks_of(summary),
        timeline=_timeline(reader, run_dir, power),
        measured_s=run["measured_to_s"] - run["measured_from_s"],
        warmup_s=run["measured_from_s"],
        price_book=parameters.get("prices.book")
        or next((p["price_book"] for p in prices.values() if p["price_book"]), None),
        price_date=next((p["price_date"] for p in prices.values() if p["price_date"]), None),
        mean_queue_ms=_mean_queue_ms(requests),
        unfinished=round(
            float(requests.number("weight")[requests.is_equal("outcome", "in_flight")].sum())
        ),
        truncated=round(float(requests.number("weight")[cut].sum())),
        attempts=books.of(np.ones(requests.rows, np.bool_)),
        happenings=happenings,
        decisions=decisions,
        power=power,
        cells=cells,
        unpriced=tuple(
            offer.system for offer in offers if run["pricing_id"] and offer.usd_per_gpu_hour is None
        ),
        skipped_rows=int(known(summary.get("skipped_rows")) or 0),
        changed_tables=tuple(changed_tables),
        facts=_facts(run, parameters),
    )


def figures_of(summary: Mapping[str, Any]) -> Figures:
    """The fields of ``run --json`` as numbers or None; unknown fields are passed over."""

    def part(name: str) -> Mapping[str, Any]:
        value = summary.get(name)
        return value if isinstance(value, Mapping) else {}

    def latency(name: str) -> Quantiles:
        value = part("latency").get(name)
        row = value if isinstance(value, Mapping) else {}
        return Quantiles(*(known(row.get(key)) for key in ("mean", "p50", "p90", "p99")))

    cost, per_mw = part("cost"), part("tokens_per_s_per_mw")
    tokens, power = part("tokens"), part("power")
    shares = {state: known(value) or 0.0 for state, value in part("ledger").items()}
    return Figures(
        requests=known(summary.get("requests")),
        offered=known(summary.get("offered")),
        completed=known(summary.get("completed")),
        good=known(summary.get("good")),
        simulated_s=known(summary.get("simulated_s")),
        events=known(summary.get("events")),
        sim_cpu_s=known(summary.get("sim_cpu_s")),
        input_computed_tokens=known(tokens.get("input_computed")),
        input_cached_tokens=known(tokens.get("input_cached")),
        output_tokens=known(tokens.get("output")),
        ttft=latency("ttft_ms"),
        itl=latency("itl_ms"),
        e2e=latency("e2e_ms"),
        output_tokens_per_s_per_gpu=known(part("throughput").get("output_tokens_per_s_per_gpu")),
        busy_ratio=known(summary.get("busy_ratio")),
        load_factor_ratio=known(summary.get("load_factor_ratio")),
        cache_hit_ratio=known(summary.get("cache_hit_ratio")),
        cache={tier: known(part("cache").get(f"{tier}_hit_ratio")) or 0.0 for tier in TIERS},
        gpus_provisioned=known(summary.get("gpus_provisioned")),
        mean_gpu_kw=known(power.get("mean_gpu_kw")),
        mean_it_kw=known(power.get("mean_it_kw")),
        mean_facility_kw=known(power.get("mean_facility_kw")),
        energy_kwh=known(summary.get("energy_kwh")),
        cost_usd=known(cost.get("cost_usd")),
        usd_per_mtok_output_good=known(cost.get("cost_usd_per_mtok_output_good")),
        usd_per_mtok_output=known(cost.get("cost_usd_per_mtok_output")),
        usd_per_mtok_computed=known(cost.get("cost_usd_per_mtok_computed")),
        usd_per_mtok_all=known(cost.get("cost_usd_per_mtok_all")),
        tokens_per_s_per_mw_provisioned=known(per_mw.get("provisioned")),
        tokens_per_s_per_mw_measured=known(per_mw.get("measured")),
        ledger=shares,
    )


def tasks_of(summary: Mapping[str, Any]) -> tuple[Tasks, ...]:
    """Tasks of the tenants whose sessions have several requests, from ``run --json``."""
    by_tenant = (summary.get("tasks") or {}).get("by_tenant") or {}
    found = []
    for tenant, row in by_tenant.items():
        if not row.get("has_sessions") or not row.get("tasks"):
            continue
        prompt = [row.get(f"input_{kind}_tokens_per_task") or 0.0 for kind in _PROMPTS]
        times = (known(row.get(f"task_s_{at}")) for at in ("mean", "p50", "p90", "p99"))
        found.append(
            Tasks(
                tenant,
                round(row["tasks"]),
                round(row.get("completed") or 0),
                round(row.get("good") or 0),
                Quantiles(*(None if seconds is None else seconds * 1e3 for seconds in times)),
                known(row.get("requests_per_task")),
                sum(prompt),
                known(row.get("output_tokens_per_task")),
                known(row.get("cost_usd_per_task")),
                known(row.get("cost_usd_per_task_good")),
            )
        )
    return tuple(found)


_PROMPTS = ("computed", "cached")


def _rows(reader: RunReader, table: str) -> list[dict[str, Any]]:
    """Every row of a small table by column; null is None."""
    names = [column.name for column in SCHEMA.table(table).columns]
    columns = read_columns(reader.directory / f"{table}.parquet", names)
    lists = [_plain(columns[name]) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def _plain(column: NDArray[Any] | Text) -> list[Any]:
    """A column as Python values; null and NaN are None."""
    if isinstance(column, Text):
        spelled = [*column.values, None]
        return [spelled[code] for code in column.codes.tolist()]
    return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - NaN


def _offers(
    pools: list[dict[str, Any]], prices: Mapping[str, Mapping[str, Any]], cells: int
) -> tuple[Offer, ...]:
    gpus: dict[str, int] = {}
    for row in pools:
        gpus[row["system"]] = gpus.get(row["system"], 0) + int(row["gpus"])
    offers = []
    for system, number in gpus.items():
        spec = catalog().systems.get(system)
        price = prices.get(system, {})
        offers.append(
            Offer(
                system=system,
                gpus=number * cells,
                usd_per_gpu_hour=price.get("usd_per_gpu_hour"),
                price_kind=price.get("kind"),
                price_source=price.get("source"),
                peak_pflops=None if spec is None else spec.peak_pflops,
                peak_label=None if spec is None else spec.peak_pflops_label,
            )
        )
    return tuple(offers)


def _pools(
    rows: list[dict[str, Any]], summaries: Mapping[str, Mapping[str, Any]], cells: int
) -> tuple[Pool, ...]:
    """Pools that have GPUs, in the scenario's order, with what they did while measured.

    Figures are of all cells, as those of tables are; the dimension's are of one.
    """
    found = []
    for row in rows:
        figures = summaries.get(row["pool"], {})
        found.append(
            Pool(
                name=row["pool"],
                deployment=row["deployment"] or "",
                role=row["role"],
                system=row["system"],
                replicas=int(row["replicas"]) * cells,
                gpus=int(row["gpus"]) * cells,
                layout=_layout(row),
                busy_ratio=known(figures.get("busy_ratio")),
                load_factor_ratio=known(figures.get("load_factor_ratio")),
                ledger={s: known(figures.get(f"gpu_s_{s}")) or 0.0 for s in LEDGER_STATES},
                gpus_per_replica=int(row["gpus_per_replica"]) if row["gpus_per_replica"] else None,
            )
        )
    return tuple(pool for pool in found if pool.gpus)


def _layout(row: Mapping[str, Any]) -> str:
    """``tp 4 · dp 2``: degrees above one."""
    degrees = ((name, row[name]) for name in ("tp", "pp", "dp", "ep"))
    return " · ".join(f"{name} {degree:.0f}" for name, degree in degrees if (degree or 1) > 1)


def _tenants(
    rows: list[dict[str, Any]],
    requests: Columns,
    books: AttemptBooks,
    attainment: Mapping[str, Mapping[str, Any]],
) -> tuple[Tenant, ...]:
    completed = requests.flag("is_measured") & requests.is_equal("outcome", "completed")
    found = []
    for row in rows:
        mine = completed & requests.is_equal("tenant", row["tenant"])
        met = attainment.get(row["tenant"], {})
        latencies = {name: requests.number(name)[mine] for name in _LATENCIES}
        limits = {name: row[f"slo_{name}"] for name in _LATENCIES}
        found.append(
            Tenant(
                row["tenant"],
                round(met.get("offered") or 0),
                round(met.get("completed") or 0),
                round(met.get("good") or 0),
                row["target_ratio"],
                Limits(*(None if limit is None else limit * 1e3 for limit in limits.values())),
                _quantiles(latencies["ttft_s"] * 1e3),
                _quantiles(latencies["itl_s"] * 1e3),
                _quantiles(latencies["e2e_s"] * 1e3),
                row["deployment"] or "",
                {
                    name.removesuffix("_s"): float((latencies[name] > limit).mean())
                    for name, limit in limits.items()
                    if limit is not None and mine.any()
                },
                books.of(requests.is_equal("tenant", row["tenant"])),
            )
        )
    return tuple(found)


def _quantiles(values_ms: NDArray[np.float64]) -> Quantiles:
    """Mean and quantiles in ms of the requests that have the latency."""
    present = values_ms[~np.isnan(values_ms)]
    if not present.size:
        return Quantiles()
    return Quantiles(float(present.mean()), *quantiles(present, (0.5, 0.9, 0.99)))


def _mean_queue_ms(requests: Columns) -> float | None:
    """Mean wait from arrival to the start of prefill, ms."""
    queue_s = requests.number("queue_s")[requests.flag("is_measured")]
    queue_s = queue_s[~np.isnan(queue_s)]
    return float(queue_s.mean()) * 1e3 if queue_s.size else None


def _timeline(reader: RunReader, run_dir: Path, power: Power) -> Timeline | None:
    windows = summarize_windows(run_dir)
    if not windows:
        return None

    def column(name: str) -> tuple[float, ...]:
        return tuple(known(window[name]) or 0.0 for window in windows)

    ledger = {state: column(f"gpu_s_{state}") for state in LEDGER_STATES}
    return Timeline(
        start_s=column("window_start_time_s"),
        window_s=column("seconds"),
        is_measured=tuple(bool(window["is_measured"]) for window in windows),
        ledger=ledger,
        output_tokens=column("output_tokens"),
        output_good_tokens=column("output_good_tokens"),
        facility_kw=column("facility_kw"),
        contracted_kw=power.contracted_kw,
        budget_kw=power.budget_kw,
        power=power_line(reader, ledger, len(windows)),
    )


def _facts(run: Mapping[str, Any], parameters: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """How the run was made."""
    interval = f"{run['measured_from_s']:,.0f} to {run['measured_to_s']:,.0f} s of simulated time"
    facts = [
        ("run", str(run["run_id"])),
        ("measured interval", interval),
        ("window", f"{run['window_s']:g} s"),
        ("seed, replication", f"{run['seed']:.0f}, {run['replication']:.0f}"),
        ("engine", str(run["engine"])),
        ("PUE", f"{run['pue']:.3g}"),
        ("model version", str(run["model_version"])),
    ]
    if trace := parameters.get("workload.trace.path"):
        facts.append(("trace", trace))
    return tuple(facts)
