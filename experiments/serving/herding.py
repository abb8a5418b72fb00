"""What old signals do to a router that looks at load.

Run as ``python -m experiments.serving.herding OUT``; the workload is synthetic.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.serving import charts
from experiments.serving.paired import difference, markdown, mean, shown
from experiments.serving.runs import Row, keep, lognormal, run, told

SCENARIO: dict[str, Any] = {
    "name": "herding",
    "description": "16 small replicas, single prompts without common prefixes",
    "facility": {"racks": [{"name": "hopper", "system": "hgx-h200", "count": 1}]},
    "deployments": [
        {
            "name": "chat",
            "model": "llama-3.1-8b",
            "pools": [
                {
                    "name": "mixed",
                    "role": "aggregated",
                    "racks": "hopper",
                    "replicas": 16,
                    "engine": {"max_num_seqs": 64},
                }
            ],
        }
    ],
    "workload": {
        "tenants": [
            {
                "name": "chat",
                "slo": {"ttft_s": 1.0, "itl_ms": 50},
                "load": {"rate": 1.0},
                "input_tokens": lognormal(7.6, 0.8, 32_768),
                "output_tokens": lognormal(5.0, 0.7, 2048),
            }
        ]
    },
    "run": {"duration_s": 100.0, "warmup_s": 20.0, "window_s": 20.0},
}
INTERVALS_S = (0.0, 0.5, 1.0, 2.0, 5.0)
ROUTERS = ("least_loaded", "power_of_two")
BLIND = ("random", "round_robin")
RATE = 120.0
SEEDS = (1, 2, 3)


def rows(
    rate: float = RATE,
    intervals_s: Sequence[float] = INTERVALS_S,
    seeds: Sequence[int] = SEEDS,
    duration_s: float = SCENARIO["run"]["duration_s"],
) -> Iterator[Row]:
    """One row per router, age of its signals (`load`) and seed."""
    for router in (*ROUTERS, *BLIND):
        for seed in seeds:
            found: Row = {}
            for interval_s in intervals_s:
                # A router that looks at no load is the same whatever the age of signals.
                if not found or router in ROUTERS:
                    stale = f", signal_interval_s: {interval_s}" if router in ROUTERS else ""
                    settings = [
                        f"deployments[0].router={{policy: {router}{stale}}}",
                        f"workload.tenants[0].load.rate={rate}",
                        f"run.duration_s={duration_s}",
                    ]
                    found = run(SCENARIO, settings, seed)
                yield {"design": router, "load": interval_s, "seed": seed, **found}


def tables(found: Sequence[Row]) -> str:
    """TTFT by router and age of its signals, and how much two choices gain."""
    intervals = sorted({row["load"] for row in found})
    designs = list(dict.fromkeys(row["design"] for row in found))
    parts = []
    for figure, form in (("ttft_p50_s", "{:.3f}"), ("ttft_p99_s", "{:.2f}"),
                         ("attainment_ratio", "{:.3f}")):  # fmt: skip
        lines = [
            [f"{x:g}", *(form.format(mean(found, d, x, figure)) for d in designs)]
            for x in intervals
        ]
        parts.append(f"{figure}\n\n{markdown(['signals every, s', *designs], lines)}")
    lines = [
        [f"{x:g}", *(
            shown(difference(found, "least_loaded", other, x, "ttft_p99_s", len(intervals)), 3)
            for other in ("power_of_two", "round_robin")
        )]
        for x in intervals
    ]  # fmt: skip
    head = ["signals every, s", "less power_of_two", "less round_robin"]
    parts.append(f"TTFT p99 of least_loaded, s\n\n{markdown(head, lines)}")
    return "\n\n".join(parts)


def draw(found: Sequence[Row], path: Path) -> None:
    """TTFT p99 over the age of signals."""
    charts.save(
        charts.lines(
            found,
            ("load", "s between two looks at the load"),
            ("ttft_p99_s", "TTFT p99, s"),
            list(dict.fromkeys(row["design"] for row in found)),
            "Herding: everybody goes where load was least a while ago",
            log=True,
        ),
        path,
    )


def main() -> None:
    """Runs all of it, writes rows and chart, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    total = len(INTERVALS_S) * (len(ROUTERS) + len(BLIND)) * len(SEEDS)
    found = told(rows(), total)
    keep(asked.out, "herding", found, tables)
    draw(found, asked.out / "herding")


if __name__ == "__main__":
    main()
