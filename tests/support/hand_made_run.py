"""A run of six requests made by hand through the real writer; every figure can be redone on paper.

Windows of 10 s, measured interval [10, 30), end at 35 s. Prefill has 2 GPUs and decode 4; 2 more
are in no pool. GPUs draw 300 W each, at rest too, and IT 400 W (60 W of hosts and network, 40 W
lost in power supplies); PUE is 1.25. System a costs $1.80 per GPU-hour (0.0005 per GPU-second),
system b $3.60 (0.001).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factory.records.batch import CodeTables, Limits, RunConstants
from factory.records.codes import COMPLETED, LEDGER_STATES, REJECTED
from factory.records.run_directory import RunDirectory
from factory.records.tables import RunTables

NAN = math.nan
WINDOWS_S = (10.0, 10.0, 10.0, 5.0)
END_S = 35.0
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

CODES = CodeTables(
    deployments=["main"],
    tenants=["chat", "agent"],
    tenant_limits=[Limits(ttft_s=2.0, itl_s=0.15), Limits()],
    pools=["prefill", "decode", "unassigned/a"],
    pool_deployments=[0, 0, -1],
    pool_roles=["prefill", "decode", "unassigned"],
    replicas=["prefill/0", "decode/0"],
    replica_pools=[0, 1],
    power_nodes=["facility", "a-0", "b-0"],
    power_node_levels=["facility", "rack", "rack"],
)

Row = tuple[Any, ...]


def request(
    number: int,
    tenant: int,
    times: tuple[float, ...],
    tokens: tuple[int, int, int, int, int],
    gpu_s: tuple[float, float, float],
    *,
    outcome: int = COMPLETED,
    attempt: int = 0,
    root: int | None = None,
    first_s: float | None = None,
    tiers: tuple[int, int, int] = (0, 0, 0),
    task: int = 0,
    capped_gpu_s: float = 0.0,
) -> Row:
    """A row of fact_requests; `tokens` is input, computed, recomputed, cached, output.

    Of the cached tokens, `tiers` came from host memory, disk, and a shared store or a peer. A
    decode step gives two output tokens, after the first. Time that a cap added takes energy alone.
    """
    served = outcome == COMPLETED
    replicas = (0, 0, 1, 0) if served else (-1, -1, -1, -1)
    root = number if root is None else root
    prompt, computed, recomputed, cached, output = tokens
    return (
        *(number, root, attempt, tenant, number, -1 if number == 0 else 0, 0, tenant),
        *replicas,
        outcome,
        times[0] if first_s is None else first_s,
        *times,
        *(prompt, computed, recomputed, cached, *tiers),
        *(output if served else 7, output, output // 2, 1 if recomputed else 0),
        *(4096 if served else 0, 0.25 if served else NAN),
        *gpu_s,
        *(300.0 * (gpu_s[0] + gpu_s[1]), 300.0 * (gpu_s[2] + capped_gpu_s)),
        *(task, 0),
    )


REQUESTS = [
    request(0, 0, (1, 1, 2, 2.5, 6.5), (100, 100, 0, 0, 41), (2, 0, 16)),
    request(3, 1, (15, NAN, NAN, NAN, 15), (50, 0, 0, 0, 0), (0, 0, 0), outcome=REJECTED),
    request(1, 0, (12, 12, 13, 13.5, 17.5), (200, 150, 0, 50, 41), (1.5, 0.5, 16)),
    request(2, 0, (14, 16, 17, 17.5, 21.5), (300, 300, 0, 0, 81), (2, 0, 16), capped_gpu_s=2),
    request(
        *(4, 1, (22, 22, 24, 24.5, 24.5), (1000, 400, 0, 600, 1), (3, 1, 0)),
        tiers=(128, 64, 8),
        task=1,
    ),
    request(5, 0, (26, 26, 27, 27.5, 33), (100, 100, 20, 0, 56), (2, 0, 22)),
]

# The agent's two requests are a task each, of one session: whose it is, its outcome, that it is
# whole, its number (of the session: how many); instants and spans; requests, good ones, attempts,
# those of sub-agents, agents; tokens, GPU-seconds, joules.
TASKS = [
    (
        *(1, 0, 1, REJECTED, 1, 0, 15.0, 15.0, 0.0, NAN),
        *(1, 0, 1, 0, 1, 50, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    (
        *(1, 0, 1, COMPLETED, 1, 1, 22.0, 24.5, 2.5, 24.5),
        *(1, 1, 1, 0, 1, 1000, 400, 600, 1, 3.0, 1.0, 0.0, 0.0, 1200.0),
    ),
]
SESSIONS = [
    (
        *(1, 0, 1, REJECTED, 1, 2, 15.0, 24.5, 7.0),
        *(2, 1, 2, 0, 1, 1050, 400, 600, 1, 3.0, 1.0, 0.0, 0.0, 1200.0, 1001),
    )
]

# (pool, window) → tokens (computed, recomputed, cached, output, good), ledger, reference GPU s.
_POOLS: dict[tuple[int, int], tuple[tuple[float, ...], dict[str, float], float]] = {
    (0, 0): ((100, 0, 0, 0, 0), {"prefill_new": 2, "idle": 18}, 0.5),
    (0, 1): (
        (450, 0, 50, 0, 0),
        {"prefill_new": 3.5, "fetch_cached": 0.5, "idle_waiting_work": 2, "idle": 14},
        2,
    ),
    (0, 2): (
        (500, 20, 600, 0, 0),
        {"prefill_new": 4.6, "prefill_recomputed": 0.4, "fetch_cached": 1, "idle": 14},
        3,
    ),
    (0, 3): ((0, 0, 0, 0, 0), {"idle": 10}, 0),
    (1, 0): ((0, 0, 0, 41, 41), {"decode": 16, "idle": 24}, 4),
    (1, 1): (
        (0, 0, 0, 91, 41),
        {"decode": 26, "stalled_transfer": 1, "power_capped": 2, "idle": 11},
        10,
    ),
    (1, 2): ((0, 0, 0, 57, 1), {"decode": 16, "idle": 24}, 9),
    (1, 3): ((0, 0, 0, 31, 56), {"decode": 12, "idle": 8}, 3),
    **{(2, w): ((0, 0, 0, 0, 0), {"unassigned": 2 * s}, 0) for w, s in enumerate(WINDOWS_S)},
}
_GPUS = (2, 4, 2)
_RESTING = ("idle", "idle_waiting_work", "stalled_transfer", "unassigned")

INTERVALS = [
    (
        *(pool, window, _GPUS[pool] * WINDOWS_S[window], *tokens),
        *(ledger.get(state, 0.0) for state in LEDGER_STATES),
        reference,
        300.0 * _GPUS[pool] * WINDOWS_S[window],
        300.0 * sum(seconds for state, seconds in ledger.items() if state in _RESTING),
        *(watts * _GPUS[pool] * WINDOWS_S[window] for watts in (400.0, 500.0)),
        *(7, 3),
    )
    for (pool, window), (tokens, ledger, reference) in _POOLS.items()
]

# deployment, tenant, window, offered, retried, completed, good, rejected, timed out, failed, input,
# output, good output
TENANT_INTERVALS = [
    (0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 100, 41, 41),
    (0, 0, 1, 2, 0, 1, 1, 0, 0, 0, 500, 91, 41),
    (0, 0, 2, 1, 0, 1, 0, 0, 0, 0, 100, 56, 0),
    (0, 0, 3, 0, 0, 1, 1, 0, 0, 0, 0, 31, 56),
    (0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    (0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 50, 0, 0),
    (0, 1, 2, 1, 0, 1, 1, 0, 0, 0, 1000, 1, 1),
    (0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
]

# b-0 has a budget of 1.7 kW and draws 1.6.
POWER = [
    (
        *(node, w),
        *(watts * gpus * s for watts in (300.0, 60.0, 40.0, 400.0, 500.0)),
        *(400.0 * gpus, budget, budget, (budget - 400.0 * gpus) * s),
        *(2.0 * (node == 2), 0.0, 0.0, 0.0),
    )
    for node, gpus, budget in ((0, 8, NAN), (1, 4, NAN), (2, 4, 1700.0))
    for w, s in enumerate(WINDOWS_S)
]

# No battery, no curtailment, 18 °C, power at $60 per MWh and 400 g of CO2 per kWh.
GRID = [
    (
        *(w, 3200.0 * s, 4000.0 * s, 4000.0 * s, 0.0, 0.0, NAN, 4000.0, NAN, 0.0, 0.0),
        *(18.0, 60.0, 400.0, 4000.0 * s / 3.6e9 * 60.0, 4000.0 * s / 3.6e6 * 400.0),
    )
    for w, s in enumerate(WINDOWS_S)
]
DEMAND_METER = [(0, 0.0, END_S, 4000.0 * END_S, 0)]

EVENTS = [(0.0, "start", "facility", NAN, None), (12.5, "cap", "b-0", 0.9, "clock ratio")]

DIMS: dict[str, list[dict[str, Any]]] = {
    "fact_runs": [
        {
            "scenario": "by-hand",
            "replication": 0,
            "pricing_id": "book",
            "seed": 2**53 + 1,
            "engine": "leap",
            "model_version": "0.1.0",
            "time_zone": "UTC",
            "end_time_s": END_S,
            "measured_from_s": 10.0,
            "measured_to_s": 30.0,
            "window_s": 10.0,
            "pue": 1.25,
            "contracted_facility_mw": 0.008,
            "cells": 1,
            "cells_simulated": 1,
            "requests": 6,
            "events": 24,
        }
    ],
    "fact_run_parameters": [
        {"path": "facility.pue", "value": "1.25"},
        {"path": "name", "value": "by-hand"},
        {"path": "prices", "value": None},
    ],
    "dim_deployments": [
        {
            "deployment": "main",
            "model": "tiny",
            "weights_precision": "fp8",
            "kv_cache_precision": "fp8",
            "router_policy": "kv_aware",
            "block_size_tokens": 64,
            "draft_tokens": 1,
            "longest_prompt_tokens": 4000,
        }
    ],
    "dim_pools": [
        {
            "pool": pool,
            "deployment": deployment,
            "role": role,
            "system": system,
            "racks": system,
            "replicas": 1 if deployment else 0,
            "gpus_per_replica": gpus if deployment else None,
            "gpus": gpus,
        }
        for pool, deployment, role, system, gpus in (
            ("prefill", "main", "prefill", "a", 2),
            ("decode", "main", "decode", "b", 4),
            ("unassigned/a", None, "unassigned", "a", 2),
        )
    ],
    "dim_power_nodes": [
        {
            "power_node": node,
            "level": "rack" if parent else "facility",
            "parent_power_node": parent,
            "gpus": gpus,
            "cell": 0 if parent else None,
            "design_it_kw": usable_kw,
            "budget_it_kw": budget_kw,
            "usable_it_kw": usable_kw,
            "stranded_it_kw": 0.0 if budget_kw is None else budget_kw - usable_kw,
        }
        for node, parent, gpus, budget_kw, usable_kw in (
            ("facility", None, 8, None, 3.4),
            ("a-0", "facility", 4, None, 1.8),
            ("b-0", "facility", 4, 1.7, 1.6),
        )
    ],
    "dim_tenants": [
        {
            "tenant": "chat",
            "deployment": "main",
            "priority": -1,
            "slo_ttft_s": 2.0,
            "slo_itl_s": 0.15,
            "target_ratio": 0.99,
            "has_sessions": False,
        },
        {
            "tenant": "agent",
            "deployment": "main",
            "priority": 0,
            "target_ratio": 0.9,
            "has_sessions": True,
        },
    ],
    "dim_prices": [
        {
            "pricing_id": "book",
            "system": system,
            "usd_per_gpu_hour": usd,
            "price_book": "book",
            "price_date": "2025-10-01",
            "covers": "server,electricity",
            "kind": "assumed",
        }
        for system, usd in (("a", 1.8), ("b", 3.6))
    ],
    "bridge_replica_state": [
        {"replica": "prefill/0", "role": "prefill", "valid_from_time_s": 0.0},
        {
            "replica": "decode/0",
            "role": "decode",
            "valid_from_time_s": 0.0,
            "valid_to_time_s": 35.0,
        },
    ],
}

STREAMS: dict[str, list[Row]] = {
    "fact_requests": REQUESTS,
    "fact_sessions": SESSIONS,
    "fact_tasks": TASKS,
    "fact_intervals": INTERVALS,
    "fact_tenant_intervals": TENANT_INTERVALS,
    "fact_power": POWER,
    "fact_grid": GRID,
    "fact_demand_meter": DEMAND_METER,
    "fact_events": EVENTS,
}

Change = Callable[[dict[str, list[Row]], dict[str, list[dict[str, Any]]]], None]


def constants(**changes: Any) -> RunConstants:
    """The constants of the run."""
    values: dict[str, Any] = {
        "run_id": "c0ffee",
        "epoch": EPOCH,
        "window_s": 10.0,
        "pue": 1.25,
        "measured_from_s": 10.0,
        "measured_to_s": 30.0,
    }
    return RunConstants(**(values | changes))


def write(out: Path, change: Change | None = None, **changes: Any) -> Path:
    """Writes the run, changed as a test wants it.

    Args:
        out: The run's directory.
        change: Changes the rows of streamed tables and the dimensions in place.
        **changes: To the run's constants.
    """
    streams = {name: list(rows) for name, rows in STREAMS.items()}
    dims = {name: [dict(row) for row in rows] for name, rows in DIMS.items()}
    if change is not None:
        change(streams, dims)
    with RunDirectory(out, "by-hand", "c0ffee") as directory:
        tables = RunTables(directory.tables, constants(**changes), CODES)
        for name, rows in streams.items():
            append = tables.appender(name)
            for row in rows:
                append(row)
            tables.maybe_flush()
        for name, dim in dims.items():
            tables.write_dim(name, dim)
        directory.commit({"seed": 1}, tables.finish(END_S))
    return out
