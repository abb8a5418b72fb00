"""A week of diurnal mixed traffic, five million requests, on 64 replicas.

Run as ``python -m experiments.agentic.week OUT``; OUT is the run's directory.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import factory

WEEK_S = 7 * 86_400.0
REQUESTS = 5_000_000.0


def scenario(days: float = 7.0) -> dict[str, Any]:
    """The shipped mix of 2026 on 64 replicas of Llama-3.1-70B, two H200 each.

    Args:
        days: To simulate; less than a week is a part of the same week.
    """
    diurnal = {"peak_to_mean": 1.8, "peak_hour": 14, "weekend_factor": 0.6}
    return {
        "name": "week",
        "facility": {
            "time_zone": "America/Chicago",
            "racks": [{"name": "h200", "system": "hgx-h200", "count": 4}],
        },
        "deployments": [
            {
                "name": "llama",
                "model": "llama-3.1-70b",
                "precision": {"weights": "fp8", "kv_cache": "fp8"},
                "router": {"policy": "kv_aware"},
                "pools": [
                    {
                        "name": "all",
                        "role": "aggregated",
                        "racks": "h200",
                        "replicas": 64,
                        "parallel": {"tp": 2},
                    }
                ],
            }
        ],
        "workload": {
            "use": "mixed-2026",
            "mix": {"rate": REQUESTS / WEEK_S, "profile": {"diurnal": diurnal}},
            "tenants": [
                {
                    "name": "coding-agent",
                    # The recorded sessions had up to a million tokens of context.
                    "session": {
                        "first_input_tokens": {"max": 90_000},
                        "compaction": {"at_tokens": {"max": 110_000}},
                    },
                }
            ],
        },
        "prices": {"book": "hyperscaler-owned-2025-10"},
        "run": {
            "duration_s": days * 86_400.0,
            "window_s": 900.0,
            "cut_sessions": True,
            # A Monday, midnight in Chicago.
            "epoch": "2026-01-05T06:00:00Z",
        },
    }


def main() -> None:
    """Runs it, and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the run's directory")
    parser.add_argument("--days", type=float, default=7.0)
    asked = parser.parse_args()
    result = factory.simulate(factory.load(scenario(asked.days)), asked.out)
    names = ("requests", "events_per_request", "sim_cpu_s", "requests_per_cpu_s", "peak_rss_mib")
    json.dump({name: result.summary[name] for name in names}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
