"""Whole scenarios in which the engines once disagreed, as found."""

from __future__ import annotations

from typing import Any

# A waiting request gives up, and nobody tells who waits for room in the same rank.
ABORTED_WAITER: dict[str, Any] = {
    "schema_version": 1,
    "name": "found",
    "facility": {
        "racks": [
            {"name": "r", "system": "hgx-h200", "count": 1},
            {"name": "g", "system": "gb200-nvl72", "count": 1},
        ]
    },
    "deployments": [
        {
            "name": "a",
            "model": "deepseek-r1",
            "precision": {"weights": "fp8", "kv_cache": "fp8"},
            "router": {"policy": "round_robin"},
            "decode_router": {"policy": "round_robin"},
            "kv_transfer": {"overlap": "after"},
            "conditional_disaggregation": {"policy": "isl_or_load"},
            "pools": [
                {
                    "name": "p",
                    "role": "prefill",
                    "racks": "r",
                    "replicas": 1,
                    "parallel": {"tp": 8},
                    "engine": {"max_num_batched_tokens": 2048},
                },
                {
                    "name": "d",
                    "role": "decode",
                    "racks": "g",
                    "replicas": 1,
                    "parallel": {"tp": 8},
                    "engine": {"kv_capacity_tokens": 9000, "scheduler": {"policy": "vllm"}},
                },
            ],
        }
    ],
    "workload": {
        "tenants": [
            {
                "name": "chat",
                "deployment": "a",
                "load": {"rate": 12},
                "input_tokens": {"distribution": "uniform", "min": 500, "max": 6000},
                "output_tokens": {"distribution": "uniform", "min": 20, "max": 300},
                "slo": {"ttft_s": 0.5, "itl_ms": 30},
                "timeouts": {"ttft_timeout_s": 1, "timeout_s": 6},
            }
        ]
    },
    "run": {"requests": 300, "window_s": 7},
}

# A door lets a request in while the ranks of a replica compose one after another.
RELEASED_INTO_A_COMPOSED_RANK: dict[str, Any] = {
    "name": "found",
    "facility": {
        "racks": [{"name": "r", "system": "hgx-h200"}, {"name": "g", "system": "gb200-nvl72"}]
    },
    "deployments": [
        {
            "name": "a",
            "model": "deepseek-r1",
            "conditional_disaggregation": {"policy": "prefill_queue"},
            "admission": {"max_concurrency": 5, "tenants": {"nightly": {"kind": "batch"}}},
            "pools": [
                {
                    "name": "p",
                    "role": "prefill",
                    "racks": "r",
                    "replicas": 2,
                    "parallel": {"tp": 8},
                    "engine": {
                        "max_num_batched_tokens": 2048,
                        "kv_capacity_tokens": 30000,
                        "max_num_seqs": 64,
                        "scheduler": {"order": "lpm", "policy": "trtllm"},
                    },
                    "kv_cache": {
                        "ttl_s": 100,
                        "pin_shared_prefix": True,
                        "max_pinned_ratio": 0.2,
                        "tiers": [
                            {"kind": "host", "capacity_gib": 2},
                            {"kind": "ssd", "capacity_gib": 8, "shared_by": "replica"},
                            {"kind": "peer"},
                        ],
                        "write": "on_reuse",
                        "fetch": "always",
                        "onboarding": "blocking",
                    },
                },
                {
                    "name": "d",
                    "role": "decode",
                    "racks": "g",
                    "replicas": 2,
                    "parallel": {"tp": 2, "dp": 4, "ep": 8},
                    "engine": {
                        "kv_capacity_tokens": 20000,
                        "max_num_seqs": 32,
                        "scheduler": {"policy": "trtllm"},
                    },
                    "autoscaling": {
                        "policy": "load",
                        "max_replicas": 3,
                        "up_kv_use": 0.5,
                        "interval_s": 1,
                        "startup": {"startup_s": 2},
                        "ownership": "on_demand",
                        "drain_timeout_s": 3,
                    },
                },
            ],
        }
    ],
    "workload": {
        "tenants": [
            {
                "name": "chat",
                "load": {"rate": 25},
                "input_tokens": {"distribution": "uniform", "min": 500, "max": 6000},
                "output_tokens": {"distribution": "uniform", "min": 20, "max": 300},
                "shared_prefix": {"tokens": 1024, "count": 3},
                "session": {"turns": 3, "think_time_s": 1},
                "timeouts": {"timeout_s": 6},
                "retry": {"attempts": 3},
            },
            {"name": "nightly", "load": {"rate": 3}, "input_tokens": 4000, "output_tokens": 200},
        ]
    },
    "run": {"requests": 30},
}
