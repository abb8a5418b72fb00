"""KV in host memory: hit ratio and TTFT of conversations that the GPUs' memory cannot hold.

Run as ``python -m experiments.serving.host_tier OUT``; the workload is synthetic.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.serving import charts
from experiments.serving.paired import difference, less, markdown, mean, shown
from experiments.serving.runs import Row, keep, lognormal, run, told

SCENARIO: dict[str, Any] = {
    "name": "host-tier",
    "description": "Conversations of ten turns over little GPU memory",
    "facility": {"racks": [{"name": "hopper", "system": "hgx-h200", "count": 1}]},
    "deployments": [
        {
            "name": "chat",
            "model": "llama-3.1-70b",
            "router": {"policy": "kv_aware"},
            "pools": [
                {
                    "name": "mixed",
                    "role": "aggregated",
                    "racks": "hopper",
                    "replicas": 4,
                    "parallel": {"tp": 4},
                    "engine": {"max_num_seqs": 128, "kv_capacity_tokens": 400_000},
                }
            ],
        }
    ],
    "workload": {
        "tenants": [
            {
                "name": "chat",
                "slo": {"ttft_s": 2.0, "itl_ms": 50},
                "load": {"rate": 1.0},
                "input_tokens": lognormal(7.3, 0.8, 16_384),
                "output_tokens": lognormal(5.5, 0.6, 2048),
                "session": {
                    "turns": {"distribution": "geometric", "mean": 10, "max": 30},
                    "think_time_s": {"distribution": "exponential", "mean": 30},
                    "growth": True,
                },
            }
        ]
    },
    "run": {"duration_s": 900.0, "warmup_s": 420.0, "window_s": 60.0},
}
GIB = (0.0, 128.0, 256.0, 512.0)
"""Host memory for KV of one replica (4 GPUs), GiB."""

OFF = 0.0
BOTH = "0.6 sessions/s, kv_aware"
EVENTS = "0.6 sessions/s, kv_aware, events"
DESIGNS: Mapping[str, tuple[float, str]] = {
    "0.4 sessions/s, kv_aware": (0.4, "kv_aware"),
    BOTH: (0.6, "kv_aware"),
    EVENTS: (0.6, "kv_aware, index: events"),
    "0.6 sessions/s, kv_cost": (0.6, "kv_cost"),
    "0.6 sessions/s, session_affinity": (0.6, "session_affinity"),
}
"""Sessions started per second, and the router: kv_aware and kv_cost count what the host holds in
part, session_affinity brings every turn to the replica of the first. With events alone kv_aware
does not count on what it sent in the last 120 s."""

SEEDS = (1, 2, 3, 4, 5, 6)


def rows(
    sizes_gib: Sequence[float] = GIB,
    designs: Sequence[str] = tuple(DESIGNS),
    seeds: Sequence[int] = SEEDS,
    duration_s: float = SCENARIO["run"]["duration_s"],
) -> Iterator[Row]:
    """One row per rate and router (`design`), size of the tier (`load`) and seed."""
    for design in designs:
        rate, router = DESIGNS[design]
        for size in sizes_gib:
            tiers = f"[{{kind: host, capacity_gib: {size}}}]" if size else "[]"
            settings = [
                f"workload.tenants[0].load.rate={rate}",
                f"run.duration_s={duration_s}",
                f"deployments[0].router={{policy: {router}}}",
                f"deployments[0].pools[0].kv_cache.tiers={tiers}",
            ]
            for seed in seeds:
                found = run(SCENARIO, settings, seed)
                yield {"design": design, "load": size, "seed": seed, **found}


def tables(found: Sequence[Row]) -> str:
    """Hits, TTFT and goodput by size of the tier, and its gain over none."""
    designs = list(dict.fromkeys(row["design"] for row in found))
    sizes = sorted({row["load"] for row in found})
    figures = (
        ("cache_hit_ratio", "{:.3f}"),
        ("ttft_p50_s", "{:.3f}"),
        ("ttft_p99_s", "{:.2f}"),
        ("goodput_requests_per_s", "{:.2f}"),
        ("attainment_ratio", "{:.3f}"),
    )
    lines = [
        [design, f"{x:g}", *(form.format(mean(found, design, x, name)) for name, form in figures)]
        for design in designs
        for x in sizes
    ]
    parts = [markdown(["design", "host GiB per replica", *(name for name, _ in figures)], lines)]
    tests = len(designs) * (len(sizes) - 1)
    lines = []
    for design in designs:
        as_rows = [
            {**row, "design": f"{row['load']:g}", "load": 0.0}
            for row in found
            if row["design"] == design
        ]
        for x in sizes[1:]:
            lines.append([design, f"{x:g}", *(
                shown(difference(as_rows, f"{x:g}", f"{OFF:g}", 0.0, name, tests), 3)
                for name in ("cache_hit_ratio", "ttft_p50_s", "goodput_requests_per_s")
            )])  # fmt: skip
    head = ["design", "host GiB per replica", "hit ratio", "TTFT p50, s", "good requests/s"]
    parts.append(f"Gain over no tier, paired, all {tests} of a column\n\n{markdown(head, lines)}")
    compared = {
        "hit ratio": ("cache_hit_ratio", 3),
        "TTFT p50, s": ("ttft_p50_s", 3),
        "TTFT p99, s": ("ttft_p99_s", 2),
        "good requests/s": ("goodput_requests_per_s", 2),
    }
    for other in designs:
        if other != BOTH and DESIGNS[other][0] == DESIGNS[BOTH][0]:
            table = less(found, BOTH, other, ("host GiB per replica", sizes), compared)
            parts.append(f"{BOTH} less {other}, all {len(sizes)} of a column\n\n{table}")
    return "\n\n".join(parts)


def draw(found: Sequence[Row], path: Path) -> None:
    """Hits and TTFT over the size of the tier."""
    designs = list(dict.fromkeys(row["design"] for row in found))
    x = ("load", "GiB of host memory per replica")
    panels = [
        charts.lines(found, x, (name, title), designs, head, log=log, width=300)
        for name, title, head, log in (
            ("cache_hit_ratio", "share of prompt tokens", "Prefix cache hits, all tiers", False),
            ("ttft_p50_s", "TTFT p50, s", "Time to first token", False),
        )
    ]
    charts.save(panels[0] | panels[1], path)


def main() -> None:
    """Runs all of it, writes rows and chart, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    found = told(rows(), len(GIB) * len(DESIGNS) * len(SEEDS))
    keep(asked.out, "host_tier", found, tables)
    draw(found, asked.out / "host_tier")


if __name__ == "__main__":
    main()
