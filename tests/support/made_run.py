"""A finished run made by hand, small enough to check every figure on paper."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factory.records.batch import CodeTables, Limits, RunConstants
from factory.records.codes import COMPLETED, IN_FLIGHT, LEDGER_STATES, REJECTED
from factory.records.run_directory import RunDirectory
from factory.records.tables import RunTables

NAN = float("nan")
HOSTILE = "agent <script>alert('x')</script> & co"


def ledger(**seconds: float) -> list[float]:
    """GPU-seconds by state, in the order of the ledger."""
    unknown = set(seconds) - set(LEDGER_STATES)
    assert not unknown, unknown
    return [seconds.get(state, 0.0) for state in LEDGER_STATES]


def request_row(index: int, tenant: int, arrival_s: float, outcome: int) -> tuple[Any, ...]:
    """A request: 100 tokens in, 11 out, TTFT 0.5 s, ITL 50 ms when it completes.

    One that is rejected has 5000 tokens, more than the deployment takes.
    """
    done = outcome == COMPLETED
    start = arrival_s + 0.3 if done else NAN
    times = (start, start + 0.1, arrival_s + 0.5, arrival_s + 1.0) if done else (NAN,) * 4
    if outcome == REJECTED:
        times = (NAN, NAN, NAN, arrival_s)
    out = 11 if done else 0
    identity = (index, index, 0, index, 0, -1, 0, tenant)
    places = (0, 0, 1, 0) if done else (-1, -1, -1, -1)
    prompt = 5000 if outcome == REJECTED else 100
    tiers = (10, 5, 0) if done else (0, 0, 0)
    tokens = (prompt, 60 if done else 0, 0, 40 if done else 0, *tiers, 11, out, out - done, 0, 0)
    instants = (arrival_s, arrival_s, *times)
    return (*identity, *places, outcome, *instants, *tokens, NAN, 0.5, 0.1, 0.4, 1.0, 2.0, 0, 0)


def make_run(
    where: Path,
    *,
    windows: int = 4,
    requests_per_window: int = 5,
    priced: bool = True,
    outcomes: Sequence[int] = (COMPLETED, COMPLETED, COMPLETED, REJECTED, IN_FLIGHT),
    name: str = "made",
) -> Path:
    """Write a run of 60 s windows, the first of them warm-up, and return its directory.

    Two pools of 8 GPUs and a pseudo-pool of 2: prefill is half busy; decode is busy all the time.
    """
    codes = CodeTables(
        deployments=["main"],
        tenants=["chat", HOSTILE],
        tenant_limits=[Limits(ttft_s=1.0), Limits(ttft_s=0.2)],
        pools=["prefill", "decode", "unassigned-rack"],
        pool_deployments=[0, 0, -1],
        pool_roles=["prefill", "decode", "unassigned"],
        replicas=["prefill-0", "decode-0"],
        replica_pools=[0, 1],
        power_nodes=["facility", "rack-0"],
        power_node_levels=["facility", "rack"],
    )
    window_s = 60.0
    end_s = windows * window_s
    measured_from_s = window_s if windows > 1 else 0.0
    constants = RunConstants(
        "0123456789ab", datetime(2026, 1, 1, tzinfo=UTC), window_s, 1.25, measured_from_s, end_s
    )
    with RunDirectory(where / name, name, constants.run_id) as directory:
        tables = RunTables(directory.tables, constants, codes)
        requests = tables.appender("fact_requests")
        for index in range(windows * requests_per_window):
            window = index // requests_per_window
            outcome = outcomes[index % len(outcomes)]
            requests(request_row(index, index % 2, window * window_s + 1.0, outcome))
        intervals = tables.appender("fact_intervals")
        tenant_intervals = tables.appender("fact_tenant_intervals")
        power = tables.appender("fact_power")
        grid = tables.appender("fact_grid")
        for window in range(windows):
            gpu_s = 8 * window_s
            work = (100.0, 0.0, 50.0)
            half = ledger(prefill_new=gpu_s / 2, idle=gpu_s / 2)
            full = ledger(decode=gpu_s)
            none = ledger(unassigned=2 * window_s)
            # GPU, of it idle, IT, facility.
            pre, dec = (1e6, 2e5, 2e6, 2.5e6), (2e6, 0.0, 3e6, 3.75e6)
            spare = (1e5, 1e5, 1e5, 1.25e5)
            intervals((0, window, gpu_s, *work, 0.0, 0.0, *half, gpu_s / 4, *pre, 9, 3))
            intervals((1, window, gpu_s, 0, 0, 0, 600.0, 300.0, *full, gpu_s / 2, *dec, 9, 3))
            intervals((2, window, 2 * window_s, 0, 0, 0, 0, 0, *none, 0.0, *spare, 0, 0))
            for tenant in (0, 1):
                tenant_intervals((0, tenant, window, 3, 0, 2, 1, 1, 0, 0, 300, 300.0, 150))
            for node in (0, 1):
                energies = (3.1e6, 1.8e6, 0.2e6, 5.1e6, 6.375e6)
                power((node, window, *energies, 9e4, NAN, NAN, NAN, 0.0, 0.0, 0.0, 0.0))
            site = (5.1e6, 6.375e6, 6.375e6, 0.0, 0.0, NAN)
            grid((window, *site, 1.125e5, NAN, 0.0, 0.0, *(NAN,) * 5))
        pool_row = {"deployment": "main", "system": "gb200-nvl72", "racks": "rack", "replicas": 1}
        sizes = {"gpus_per_replica": 8, "gpus": 8, "tp": 8, "pp": 1, "dp": 1, "ep": 1}
        tables.write_dim(
            "dim_pools",
            [
                {"pool": "prefill", "role": "prefill", **pool_row, **sizes},
                {"pool": "decode", "role": "decode", **pool_row, **sizes},
                {
                    "pool": "unassigned-rack", "role": "unassigned", "system": "gb200-nvl72",
                    "racks": "rack", "replicas": 0, "gpus": 2,
                },
            ],
        )  # fmt: skip
        tables.write_dim(
            "dim_deployments",
            [
                {
                    "deployment": "main", "model": "deepseek-r1", "weights_precision": "fp8",
                    "kv_cache_precision": "fp8", "router_policy": "kv_aware",
                    "block_size_tokens": 64, "draft_tokens": 0, "longest_prompt_tokens": 4096,
                }
            ],
        )  # fmt: skip
        tables.write_dim(
            "dim_tenants",
            [
                {"tenant": tenant, "deployment": "main", "priority": 0, "slo_ttft_s": limit,
                 "target_ratio": 0.5, "has_sessions": False}
                for tenant, limit in (("chat", 1.0), (HOSTILE, 0.2))
            ],
        )  # fmt: skip
        kw = {"gpus": 18, "design_it_kw": 40.0, "usable_it_kw": 40.0, "stranded_it_kw": 0.0}
        tables.write_dim(
            "dim_power_nodes",
            [
                {"power_node": "facility", "level": "facility", **kw},
                {"power_node": "rack-0", "level": "rack", "parent_power_node": "facility", **kw},
            ],
        )  # fmt: skip
        if priced:
            tables.write_dim(
                "dim_prices",
                [
                    {"pricing_id": "run", "system": "gb200-nvl72", "usd_per_gpu_hour": 2.0,
                     "price_book": "made-up", "price_date": "2026-01", "covers": "server",
                     "kind": "assumed", "source": "made up"}
                ],
            )  # fmt: skip
        tables.write_dim(
            "fact_run_parameters",
            [{"path": "description", "value": "Made <b>by</b> hand."}],
        )
        tables.write_dim("fact_runs", [_run_row(name, windows, requests_per_window, priced)])
        rows = tables.finish(end_s)
        return directory.commit({"scenario": {"name": name}}, rows)


def _run_row(name: str, windows: int, requests_per_window: int, priced: bool) -> dict[str, Any]:
    return {
        "scenario": name, "replication": 0, "seed": 1, "engine": "leap", "model_version": "0.1.0",
        "pricing_id": "run" if priced else None, "time_zone": "UTC", "end_time_s": windows * 60.0,
        "measured_from_s": 60.0 if windows > 1 else 0.0, "measured_to_s": windows * 60.0,
        "window_s": 60.0, "pue": 1.25, "contracted_facility_mw": 0.05, "cells": 1,
        "cells_simulated": 1, "requests": windows * requests_per_window, "events": 100,
    }  # fmt: skip


SUMMARY: dict[str, Any] = {
    "run_dir": "made",
    "requests": 20,
    "completed": 9,
    "good": 5,
    "simulated_s": 240.0,
    "events": 100,
    "events_per_request": 5.0,
    "sim_cpu_s": 0.1,
    "requests_per_cpu_s": 200.0,
    "peak_rss_mib": 80.0,
    "tokens": {"input_computed": 300.0, "input_cached": 150.0, "output": 1800.0},
    "latency": {
        name: {"mean": mean, "p50": mean, "p90": 1.2 * mean, "p99": 1.3 * mean}
        for name, mean in (("ttft_ms", 500.0), ("itl_ms", 50.0), ("e2e_ms", 1000.0))
    },
    "throughput": {"output_tokens_per_s_per_gpu": 0.5556},
    "busy_ratio": 2 / 3,
    "load_factor_ratio": 1 / 3,
    "cache_hit_ratio": 1 / 3,
    "power": {"mean_gpu_kw": 51.7, "mean_it_kw": 85.0, "mean_facility_kw": 106.25},
    "attainment": {
        "chat": {"offered": 7.0, "completed": 4.0, "good": 4.0},
        HOSTILE: {"offered": 8.0, "completed": 5.0, "good": 0.0},
    },
    "energy_kwh": 5.3,
    "cost": {
        "cost_usd": 1.8,
        "cost_usd_per_mtok_output_good": 2000.0,
        "cost_usd_per_mtok_output": 1000.0,
        "cost_usd_per_mtok_computed": 857.1,
        "cost_usd_per_mtok_all": 800.0,
    },
    "tokens_per_s_per_mw": {"provisioned": 200.0, "measured": 94.1},
    "ledger": {"prefill_new": 4 / 18, "decode": 8 / 18, "idle": 4 / 18, "unassigned": 2 / 18},
}
