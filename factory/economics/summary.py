"""The summary of a run, from its tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factory.economics.cache import cache_hits
from factory.economics.cells import cell_figures
from factory.economics.power import availability, energy_figures, power_figures
from factory.economics.roles import role_costs
from factory.economics.service import Service, service
from factory.economics.tasks import task_figures
from factory.economics.totals import PricedIntervals, RunFacts, Totals, priced_intervals
from factory.economics.unit_costs import divided, unit_costs
from factory.records.codes import LEDGER_STATES
from factory.records.reader import RunReader
from factory.records.views import DENOMINATORS


def summarize(run: Path) -> dict[str, Any]:
    """The figures of `factory run --json` that come from tables.

    `requests`, `offered`, `retried`, the outcomes, `truncated` and `rejected_too_long` count
    attempts of the whole run (`offered` first ones, so logical requests); `good` counts logical
    requests. Everything else is of the measured interval: tokens, cost, power and the ledger of its
    windows; latency and attainment of the requests that arrive in it. In `measured`, outcomes are
    those of logical requests, by their last attempt, which add up to `offered`; in
    `measured.attempts`, of the attempts that arrive in it. A figure that cannot be had (no price,
    nothing delivered) is None.

    Args:
        run: A run's directory, or a directory of its tables.

    Returns:
        Plain values, ready for JSON; units stand in the names. `tokens_per_s_per_mw.provisioned`
        and `.measured` count output tokens; the same with another denominator has its suffix.

    Raises:
        InputError: The directory holds no run, or a table is missing.
    """
    reader = RunReader(run)
    intervals = priced_intervals(reader)
    served = service(reader)
    totals = intervals.run_total()
    ratios = unit_costs(totals)
    facts = intervals.run
    return {
        **{name: _count(value) for name, value in served.attempts.items()},
        "good": _count(served.good),
        "simulated_s": facts.end_s,
        "events": facts.events,
        "events_per_request": divided(
            facts.events * facts.cells, served.attempts["requests"] * facts.cells_simulated
        ),
        "measured": _measured(facts, served),
        "tokens": {
            column.removesuffix("_tokens"): totals.amounts[column]
            for column in (
                "input_computed_tokens",
                "input_recomputed_tokens",
                "input_cached_tokens",
                "output_tokens",
                "output_good_tokens",
            )
        },
        "latency": served.latency_ms,
        "interactivity": {
            name: divided(1000.0, itl) for name, itl in served.latency_ms["itl_ms"].items()
        },
        "throughput": {**_rates(reader, facts), **_token_rates(ratios)},
        "gpus_provisioned": ratios["gpus_provisioned"],
        "busy_ratio": ratios["busy_ratio"],
        "load_factor_ratio": ratios["load_factor_ratio"],
        "cache_hit_ratio": ratios["cache_hit_ratio"],
        "cache": cache_hits(
            reader,
            facts,
            totals.amounts["input_cached_tokens"] + totals.amounts["input_computed_tokens"],
        ),
        "power": {
            "mean_gpu_kw": ratios["gpu_kw"],
            "mean_it_kw": ratios["it_kw"],
            "mean_facility_kw": ratios["facility_kw"],
            **power_figures(reader, facts),
        },
        "energy_kwh": totals.amounts["energy_facility_kwh"],
        "energy": {
            **{f"{at}_kwh": totals.amounts[f"energy_{at}_kwh"] for at in _ENERGIES},
            **{
                f"tokens_per_j_{suffix}": ratios[f"tokens_per_j_{suffix}"]
                for suffix in DENOMINATORS
            },
            **energy_figures(reader, totals),
        },
        "availability": availability(reader),
        "cost": _cost(totals, ratios, intervals),
        "tokens_per_s_per_mw": _per_mw(ratios),
        "ledger": {state: ratios[f"ledger_{state}_ratio"] for state in LEDGER_STATES},
        "attainment": served.attainment,
        "tasks": task_figures(reader, intervals),
        "cells": cell_figures(intervals),
    }


def summarize_windows(run: Path) -> list[dict[str, Any]]:
    """Unit costs, utilization, token rates and power of every window.

    Args:
        run: A run's directory, or a directory of its tables.

    Returns:
        One mapping per window, in order, by column of `v_window_summary`.

    Raises:
        InputError: The directory holds no run, or a table is missing.
    """
    intervals = priced_intervals(RunReader(run))
    starts = dict(
        zip(intervals.window_index.tolist(), intervals.window_start_s.tolist(), strict=True)
    )
    measured = dict(
        zip(intervals.window_index.tolist(), intervals.is_measured.tolist(), strict=True)
    )
    return [
        {
            "window_index": window,
            "window_start_time_s": starts[window],
            "is_measured": measured[window],
            **_flat(totals),
        }
        for window, totals in intervals.window_totals().items()
    ]


def summarize_pools(run: Path) -> dict[str, dict[str, Any]]:
    """Unit costs, utilization, token rates and power of every pool, over the measured interval.

    Args:
        run: A run's directory, or a directory of its tables.

    Returns:
        By pool, then by column of `v_pool_summary`.

    Raises:
        InputError: The directory holds no run, or a table is missing.
    """
    intervals = priced_intervals(RunReader(run))
    return {
        pool: {
            name: value
            for name, value in _flat(totals).items()
            if "_per_mw_provisioned" not in name
        }
        for pool, totals in intervals.pool_totals().items()
    }


def _flat(totals: Totals) -> dict[str, Any]:
    return {
        "seconds": totals.seconds,
        "cost_usd": totals.cost_usd,
        "nameplate_cost_usd": totals.nameplate_cost_usd,
        **totals.amounts,
        **unit_costs(totals),
    }


def _count(weighted: float) -> int | float:
    """A count of requests: an integer unless the weight of cells is none."""
    return int(weighted) if weighted.is_integer() else weighted


def _measured(facts: RunFacts, served: Service) -> dict[str, Any]:
    return {
        "from_s": facts.measured_from_s,
        "to_s": facts.measured_to_s,
        "seconds": facts.measured_s,
        **{name: _count(value) for name, value in served.measured.items()},
        "attainment_ratio": divided(served.measured["good"], served.measured["offered"]),
        "attempts": {name: _count(value) for name, value in served.measured_attempts.items()},
        "retry_ratio": divided(
            served.measured_attempts["retried"], served.measured_attempts["requests"]
        ),
    }


def _rates(reader: RunReader, facts: RunFacts) -> dict[str, float | None]:
    """Requests and good requests that completed in the measured windows, per second."""
    rows = reader.read("fact_tenant_intervals", ("weight", "is_measured", "completed", "good"))
    weight = rows.number("weight") * rows.flag("is_measured")
    completed = float((weight * rows.number("completed")).sum())
    good = float((weight * rows.number("good")).sum())
    return {
        "requests_per_s": divided(completed, facts.measured_s),
        "goodput_requests_per_s": divided(good, facts.measured_s),
    }


def _token_rates(ratios: Mapping[str, float | None]) -> dict[str, float | None]:
    found = {}
    for suffix in DENOMINATORS:
        found[f"{suffix}_tokens_per_s"] = ratios[f"tokens_per_s_{suffix}"]
        found[f"{suffix}_tokens_per_s_per_gpu"] = ratios[f"tokens_per_s_{suffix}_per_gpu"]
    return found


def _per_mw(ratios: Mapping[str, float | None]) -> dict[str, float | None]:
    found = {
        which: ratios[f"tokens_per_s_output_per_mw_{which}"]
        for which in ("provisioned", "measured")
    }
    for which in ("provisioned", "measured"):
        for suffix in DENOMINATORS:
            found[f"{which}_{suffix}"] = ratios[f"tokens_per_s_{suffix}_per_mw_{which}"]
    return found


def _cost(
    totals: Totals, ratios: Mapping[str, float | None], intervals: PricedIntervals
) -> dict[str, Any]:
    names = [f"cost_usd_per_mtok_{suffix}" for suffix in DENOMINATORS]
    return {
        "cost_usd": totals.cost_usd,
        "usd_per_gpu_hour": ratios["usd_per_gpu_hour"],
        **{name: ratios[name] for name in names},
        "nameplate_cost_usd": totals.nameplate_cost_usd,
        **{f"nameplate_{name}": ratios[f"nameplate_{name}"] for name in names},
        "by_role": role_costs(intervals),
    }


_ENERGIES = ("gpu", "gpu_idle", "it", "facility")
