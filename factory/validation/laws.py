"""The operational laws, held against a finished run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from factory.economics.totals import priced_intervals
from factory.economics.unit_costs import unit_costs
from factory.records.codes import LEDGER_STATES
from factory.records.reader import Columns, RunReader
from factory.records.run_directory import changed_tables, read_manifest
from factory.validation.power_laws import power_laws
from factory.validation.request_laws import largest, request_laws
from factory.validation.results import LawResult, departure, within
from factory.validation.scale_laws import replicas_that_hold_gpus
from factory.validation.task_laws import task_laws

__all__ = ["LawResult", "check_run", "check_tables"]


def check_run(run_dir: Path) -> list[LawResult]:
    """Every law, and that the tables are those that the run wrote.

    Args:
        run_dir: A finished run.

    Returns:
        One result per law, those that do not hold too.

    Raises:
        InputError: The directory holds no finished run, or a table cannot be read.
    """
    tables = read_manifest(run_dir)["tables"]
    changed = changed_tables(run_dir)
    told = f"; not as written: {', '.join(changed)}" if changed else ""
    own = within("tables_as_written", len(changed), 0, f"{len(tables)} tables by SHA-256{told}")
    return [own, *check_tables(run_dir)]


def check_tables(run: Path) -> list[LawResult]:
    """Every law over the tables of a run, finished or about to be.

    Args:
        run: A run's directory, or a directory of its tables.

    Raises:
        InputError: It holds no tables, or one cannot be read.
    """
    reader = RunReader(run)
    row = reader.read("fact_runs", ("end_time_s", "requests"))
    end_s, requests = float(row.number("end_time_s")[0]), int(row.number("requests")[0])
    pools = reader.read(
        "fact_intervals",
        (
            "pool",
            "cell",
            "window_index",
            "window_s",
            "is_measured",
            "gpu_s_provisioned",
            *(f"gpu_s_{state}" for state in LEDGER_STATES),
        ),
    )
    return [
        *request_laws(reader, end_s, requests),
        *task_laws(reader),
        _ledger(pools),
        _no_negative_state(pools),
        _provisioned(reader, pools),
        replicas_that_hold_gpus(reader, pools, end_s),
        *power_laws(reader),
        _cost_identity(reader),
    ]


def _states(pools: Columns) -> NDArray[np.float64]:
    """GPU-seconds by ledger state, shape (states, rows)."""
    return np.stack([pools.number(f"gpu_s_{state}") for state in LEDGER_STATES])


def _where(pools: Columns, row: int) -> str:
    if row < 0:
        return ""
    window = int(pools.number("window_index")[row])
    return f" (pool {pools.strings('pool')[row]}, window {window})"


def _ledger(pools: Columns) -> LawResult:
    """The states of every pool and window add up to the provisioned GPU-seconds."""
    provisioned = pools.number("gpu_s_provisioned")
    off = np.abs(_states(pools).sum(axis=0) - provisioned) / np.maximum(provisioned, 1e-9)
    worst, row = largest(off)
    detail = f"Σ states against provisioned, {pools.rows} rows{_where(pools, row)}"
    return within("ledger_adds_up", worst, 1e-9, detail)


def _no_negative_state(pools: Columns) -> LawResult:
    """No pool spends less than no time in a state."""
    below, row = largest(np.maximum(-_states(pools).min(axis=0), 0.0))
    return within("ledger_never_negative", below, 1e-6, f"GPU-seconds below 0{_where(pools, row)}")


def _provisioned(reader: RunReader, pools: Columns) -> LawResult:
    """No pool has more GPU-seconds in a window than its GPUs have."""
    dim = reader.read("dim_pools", ("pool", "gpus"))
    gpus = dict(zip(dim.strings("pool"), dim.number("gpus").tolist(), strict=True))
    have = np.array([gpus.get(pool, 0.0) for pool in pools.strings("pool")])
    have = have * pools.number("window_s")
    provisioned = pools.number("gpu_s_provisioned")
    over, row = largest((provisioned - have) / np.maximum(have, 1e-9))
    detail = f"{provisioned.sum():.9g} GPU s provisioned of {have.sum():.9g}{_where(pools, row)}"
    return within("provisioned_within_gpus", max(over, 0.0), 1e-9, detail)


def _cost_identity(reader: RunReader) -> LawResult:
    """$/GPU-hour ÷ (tokens/s per provisioned GPU × 3600) × 1e6 = $/Mtok."""
    totals = priced_intervals(reader).run_total()
    ratios = unit_costs(totals)
    price, cost = ratios["usd_per_gpu_hour"], ratios["cost_usd_per_mtok_output"]
    speed = ratios["tokens_per_s_output_per_gpu"]
    if price is None or cost is None or not speed:
        return within("cost_identity", 0.0, 1e-9, "performance only, or nothing delivered")
    derived = price / (speed * 3600) * 1e6
    detail = (
        f"${price:.6g}/GPU h at {speed:.6g} tokens/s/GPU = ${derived:.9g}, has ${cost:.9g}/Mtok"
    )
    return within("cost_identity", departure(derived, cost), 1e-9, detail)
