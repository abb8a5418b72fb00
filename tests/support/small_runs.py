"""Scenarios small enough to run in a test, and their run directories."""

from __future__ import annotations

from typing import Any


def engine(base_ms: float | None = None, **limits: Any) -> dict[str, Any]:
    """Engine limits; with ``base_ms``, a stated step time."""
    if base_ms is None:
        return dict(limits)
    return {"step_model": {"kind": "fixed", "base_ms": base_ms}, **limits}


def split(**changes: Any) -> dict[str, Any]:
    """Prefill and decode on one rack: sessions that share a prefix, and a closed loop beside.

    Args:
        changes: Replace sections of the top level.
    """
    pools = [
        {"name": "prefill", "role": "prefill", "replicas": 2, "parallel": {"dp": 2}},
        {"name": "decode", "role": "decode", "replicas": 2, "parallel": {"tp": 2}},
    ]
    for pool in pools:
        pool["racks"] = "r"
        pool["engine"] = engine(kv_capacity_tokens=4096, max_num_batched_tokens=512)
    return {
        "name": "split",
        "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
        "deployments": [{"name": "d", "model": "llama-3.1-8b", "block_size": 16, "pools": pools}],
        "workload": {
            "tenants": [
                {
                    "name": "chat",
                    "slo": {"ttft_s": 1.0, "itl_ms": 50.0},
                    "load": {"rate": 20.0},
                    "input_tokens": {"distribution": "lognormal", "mean": 200, "stddev": 150},
                    "output_tokens": {"distribution": "geometric", "mean": 40},
                    "shared_prefix": {"tokens": 64, "count": 3},
                    "session": {
                        "turns": {"distribution": "geometric", "mean": 2},
                        "think_time_s": {"distribution": "exponential", "mean": 0.5},
                        "growth": True,
                    },
                },
                {
                    "name": "agent",
                    "load": {"concurrency": 4},
                    "input_tokens": 300,
                    "output_tokens": {"distribution": "uniform", "min": 1, "max": 60},
                },
            ]
        },
        "prices": {"usd_per_gpu_hour": {"hgx-h100": 2.0}},
        "run": {"duration_s": 12, "window_s": 5, "warmup_s": 5},
        **changes,
    }


def aggregated(replicas: int = 4, concurrency: int = 16, **changes: Any) -> dict[str, Any]:
    """Replicas of one GPU, in a closed loop that keeps them busy."""
    return {
        "name": "aggregated",
        "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
        "deployments": [
            {
                "name": "d",
                "model": "llama-3.1-8b",
                "router": {"policy": "least_loaded"},
                "pools": [{"name": "p", "role": "aggregated", "racks": "r", "replicas": replicas}],
            }
        ],
        "workload": {
            "tenants": [
                {
                    "name": "t",
                    "load": {"concurrency": concurrency},
                    "input_tokens": {"distribution": "uniform", "min": 200, "max": 2000},
                    "output_tokens": {"distribution": "uniform", "min": 20, "max": 200},
                }
            ]
        },
        "run": {"requests": 200, "window_s": 10},
        **changes,
    }


def drafting(**changes: Any) -> dict[str, Any]:
    """A model with its own drafts, and so little KV that sequences are preempted."""
    made = aggregated(replicas=2, concurrency=24, run={"requests": 120, "window_s": 1})
    made["facility"]["racks"][0]["system"] = "hgx-h200"
    [deployment] = made["deployments"]
    deployment.update(
        model="deepseek-r1",
        block_size=16,
        speculation={"draft_tokens": 2, "acceptance": [0.8, 0.5]},
    )
    [pool] = deployment["pools"]
    pool["parallel"] = {"tp": 8, "ep": 8}
    pool["engine"] = engine(kv_capacity_tokens=4000, max_num_seqs=64)
    return {**made, "name": "drafting", **changes}


def capped(scenario: dict[str, Any], budget_kw: float) -> dict[str, Any]:
    """The scenario with a power budget for each rack."""
    racks = [{**rack, "budget_kw": budget_kw} for rack in scenario["facility"]["racks"]]
    return {**scenario, "facility": {**scenario["facility"], "racks": racks}}
