"""Goodput and GPU time that failures take, over the spare trays that stand ready.

Run as ``python -m experiments.reliability.spares OUT``; the workload is synthetic.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.serving import charts
from experiments.serving.paired import markdown, mean
from experiments.serving.runs import Row, keep, run, told

DAY_S = 86_400.0

FASTER = 600.0
"""Lives and repairs are so many times shorter than in the world: 100 days become four hours."""

DAYS = 100.0
PER_1000_NODE_DAYS = 6.5
REPAIR_DAYS = (3.0, 5.0)
SWAP_S = 3600.0
"""Interruptions of a tray that need a replacement: the upper end of what operators report for all
interruptions, 3 to 5 days for a new one, an hour for a spare (assumed)."""

LOADS = {"85 % load": 1.0, "95 % load": 1.12}
"""Requests/s on 16 replicas that hold 1.18 together."""

SPARES = (0, 1, 2, 4)
SEEDS = (1, 2, 3)

SCENARIO: dict[str, Any] = {
    "name": "spares",
    "description": "16 replicas of 8 GPUs on two NVL72 racks: 64 GPUs of each serve, 8 stand ready",
    "facility": {"racks": [{"name": "nvl72", "system": "gb200-nvl72", "count": 2}]},
    "deployments": [
        {
            "name": "chat",
            "model": "llama-3.1-70b",
            "router": {"policy": "least_loaded"},
            "pools": [
                {
                    "name": "mixed",
                    "role": "aggregated",
                    "racks": "nvl72",
                    "replicas": 16,
                    "parallel": {"tp": 8},
                    "engine": {
                        "max_num_seqs": 4,
                        "step_model": {"kind": "fixed", "base_ms": 50, "per_prefill_token_ms": 0.1},
                    },
                }
            ],
        }
    ],
    "workload": {
        "tenants": [
            {
                "name": "chat",
                "slo": {"ttft_s": 10.0},
                "load": {"rate": 1.0},
                "timeouts": {"ttft_timeout_s": 60.0},
                "retry": {"attempts": 3},
                "input_tokens": {"distribution": "uniform", "min": 200, "max": 1800},
                "output_tokens": {"distribution": "uniform", "min": 500, "max": 1500},
            }
        ]
    },
    "run": {"duration_s": DAYS * DAY_S / FASTER, "window_s": 600.0},
}


def failures(spares: int) -> dict[str, Any]:
    """Trays that break, and so many spare ones; all times are shorter by `FASTER`."""
    low, high = (days * DAY_S / FASTER for days in REPAIR_DAYS)
    return {
        "processes": [
            {
                "name": "tray",
                "of": "tray",
                "mtbf_s": 1000 * DAY_S / PER_1000_NODE_DAYS / FASTER,
                "repair_s": {"distribution": "uniform", "min": low, "max": high},
                "kind": "replacement",
            }
        ],
        "spares": [{"racks": "nvl72", "of": "tray", "units": spares, "swap_s": SWAP_S / FASTER}],
        "startup": {"startup_s": 1.0},
    }


LOST = """
    SELECT sum(gpu_s_failed) / sum(gpu_s_provisioned) AS failed_ratio,
        sum(gpu_s_starting) / sum(gpu_s_provisioned) AS starting_ratio
    FROM fact_intervals WHERE role <> 'unassigned'
"""
"""Shares of the pool's GPU-seconds that were lost."""


def look(run_dir: Path) -> Row:
    """What of the pool's GPU-seconds was lost."""
    from factory.records.query import query

    found = query(run_dir, LOST)
    [row] = found.rows
    return dict(zip(found.columns, row, strict=True))


def rows(
    spares: Sequence[int] = SPARES,
    seeds: Sequence[int] = SEEDS,
    days: float = DAYS,
    loads: Sequence[str] = tuple(LOADS),
) -> Iterator[Row]:
    """One row per load, number of spares (`load`) and seed, beside the same without failures."""
    for design in loads:
        for seed in seeds:
            settings = [
                f"workload.tenants[0].load.rate={LOADS[design]}",
                f"run.duration_s={days * DAY_S / FASTER}",
            ]
            whole = run(SCENARIO, settings, seed)["goodput_requests_per_s"]
            for units in spares:
                scenario = copy.deepcopy(SCENARIO)
                scenario["facility"]["failures"] = failures(units)
                found = run(scenario, settings, seed, look)
                lost = 1.0 - found["goodput_requests_per_s"] / whole
                yield {"design": design, "load": units, "seed": seed, "lost_ratio": lost, **found}


def tables(found: Sequence[Row]) -> str:
    """What is lost by the number of spares, in percent."""
    designs = list(dict.fromkeys(row["design"] for row in found))
    units = sorted({row["load"] for row in found})
    lines = []
    for count in units:
        share = 100.0 * count / 32
        out = [mean(found, designs[0], count, f"{state}_ratio") for state in ("failed", "starting")]
        goodput = [mean(found, design, count, "lost_ratio") for design in designs]
        lines.append([f"{count:g}", f"{share:.1f}", *(f"{100 * x:.2f}" for x in (*out, *goodput))])
    head = ["spares", "of trays, %", "failed, %", "starting, %"]
    head += [f"goodput lost at {design}, %" for design in designs]
    return markdown(head, lines)


def draw(found: Sequence[Row], path: Path) -> None:
    """Goodput lost over the number of spares."""
    shown = [{**row, "lost": 100.0 * row["lost_ratio"]} for row in found]
    charts.save(
        charts.lines(
            shown,
            ("load", "spare trays beside 32 that serve"),
            ("lost", "goodput lost, %"),
            list(dict.fromkeys(row["design"] for row in found)),
            "What failures cost by the spares that stand ready",
        ),
        path,
    )


def main() -> None:
    """Runs all of it, writes rows and chart, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    found = told(rows(), len(LOADS) * len(SEEDS) * len(SPARES))
    keep(asked.out, "spares", found, tables)
    draw(found, asked.out / "spares")


if __name__ == "__main__":
    main()
