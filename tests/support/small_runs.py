"""Scenarios small enough to run in a test, and their run directories."""

from __future__ import annotations

from typing import Any

from factory.power.rack import rack_law
from factory.scenario import catalog

BARE_W = catalog().gpus["h100-sxm"].idle_bare_w
"""Draw of an H100 with nothing loaded."""


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


def rack_kw(gpu_w: float) -> float:
    """IT power of a rack of H100 whose GPUs draw so much in all, kW."""
    return (gpu_w + sum(rack_law(catalog().systems["hgx-h100"], 32)(gpu_w, 1.0))) / 1e3


def budget_kw(watts_per_gpu: float) -> float:
    """A budget that leaves so much to each of four GPUs at work, kW; the rest is bare."""
    return rack_kw(28 * BARE_W + 4 * watts_per_gpu)


def capped(scenario: dict[str, Any], budget_kw: float) -> dict[str, Any]:
    """The scenario with a power budget for each rack."""
    racks = [{**rack, "budget_kw": budget_kw} for rack in scenario["facility"]["racks"]]
    return {**scenario, "facility": {**scenario["facility"], "racks": racks}}


def overloaded(**changes: Any) -> dict[str, Any]:
    """More than a GPU can serve: clients give up and try again, and many are turned away.

    Of chat, a queue limit turns away; of bulk, a rate limit, and prompts are longer than the KV.
    """
    made = aggregated(replicas=1, run={"duration_s": 30, "window_s": 10, "warmup_s": 10})
    [deployment] = made["deployments"]
    deployment["block_size"] = 16
    deployment["admission"] = {
        "shed": "queue_limit",
        "max_queue_requests": 12,
        "tenants": {"bulk": {"rate_limit": {"requests_per_s": 1.0, "burst_requests": 2}}},
    }
    deployment["pools"][0]["engine"] = engine(kv_capacity_tokens=6000, max_num_seqs=16)
    made["workload"]["tenants"] = [
        {
            "name": "chat",
            "slo": {"ttft_s": 1.0, "itl_ms": 50},
            "load": {"rate": 15.0},
            "input_tokens": {"distribution": "uniform", "min": 200, "max": 2000},
            "output_tokens": {"distribution": "uniform", "min": 50, "max": 200},
            "shared_prefix": {"tokens": 64, "count": 3},
            "timeouts": {"ttft_timeout_s": 2.0, "timeout_s": 3.0},
            "retry": {"attempts": 3, "backoff_s": 0.5},
        },
        {
            "name": "bulk",
            "load": {"rate": 3.0},
            "input_tokens": {"distribution": "uniform", "min": 100, "max": 8000},
            "output_tokens": 100,
            "retry": {"attempts": 2},
        },
    ]
    made["prices"] = {"usd_per_gpu_hour": {"hgx-h100": 2.0}}
    return {**made, "name": "overloaded", **changes}


def tiered(**changes: Any) -> dict[str, Any]:
    """The same with sessions of several turns, whose KV goes to host memory and disk."""
    made = overloaded(name="tiered")
    made["deployments"][0]["pools"][0]["kv_cache"] = {
        "tiers": [
            {"kind": "host", "capacity_tokens": 20_000},
            {"kind": "ssd", "capacity_tokens": 200_000},
        ]
    }
    made["workload"]["tenants"][0] |= {
        "session": {"turns": 4, "think_time_s": 1.0, "growth": True},
        "load": {"rate": 2.0},
    }
    return {**made, **changes}


def scaled(ownership: str = "on_demand", **changes: Any) -> dict[str, Any]:
    """A pool that grows and shrinks with its load."""
    made = aggregated(replicas=2, run={"duration_s": 120, "window_s": 30})
    [pool] = made["deployments"][0]["pools"]
    pool["engine"] = engine(kv_capacity_tokens=20_000)
    pool["autoscaling"] = {
        "policy": "load",
        "min_replicas": 1,
        "max_replicas": 6,
        "interval_s": 5,
        "ownership": ownership,
        "startup": {"startup_s": 12},
    }
    made["workload"]["tenants"][0]["load"] = {"rate": 25.0}
    return {**made, "name": "scaled", **changes}
