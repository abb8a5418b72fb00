"""Cost per task and tokens/s/MW as the mix moves from chat to coding agents at one service level.

Run as ``python -m experiments.agentic.mix OUT``.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import factory
from experiments.serving import charts
from experiments.serving.paired import cell, markdown, mean
from experiments.serving.runs import Row, keep, told

POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Share of the coding agents in all requests."""

SEEDS = (1, 2, 3)
TARGET = 0.95
SLO = {"ttft_s": 5.0, "itl_ms": 50.0, "target": TARGET}
"""One service level for both: 95 % of requests start within 5 s and stream at 20 tokens/s."""

WARMUP_S, SPAN_S = 5400.0, 1800.0
"""Agents' contexts are computed and then used for hours."""

CHAT_WARMUP_S, CHAT_SPAN_S = 900.0, 600.0
"""Without agents: a chat lasts minutes, and there are a hundred times as many."""

CLOSE = 1.05
"""Rates held and not held are this close in the end."""

DESIGNS: dict[str, tuple[Row, ...]] = {
    "gpu": (),
    "host": ({"kind": "host", "capacity_gib": 1600, "shared_by": "replica"},),
}
"""Where KV may stay that a GPU gives up: nowhere, or in the host memory of its node."""

TITLES = {"gpu": "KV in GPU memory only", "host": "1.6 TiB of host memory a node besides"}

CHAT_GUESS = 36.0
"""Where the search begins, requests/s."""

COLUMNS = {
    "requests/s": ("requests_per_s", "{:.2f}"),
    "tasks/s": ("tasks_per_s", "{:.2f}"),
    "hits": ("cache_hit_ratio", "{:.1%}"),
    "busy": ("busy_ratio", "{:.0%}"),
    "load factor": ("load_factor_ratio", "{:.1%}"),
    "USD a chat answer": ("chat_cost_usd_per_task", "{:.5f}"),
    "USD an agent's task": ("agent_cost_usd_per_task", "{:.3f}"),
    "USD per M good output": ("cost_usd_per_mtok_output_good", "{:.2f}"),
    "output tokens/s/MW": ("output_tokens_per_s_per_mw", "{:,.0f}"),
    "all tokens/s/MW": ("all_tokens_per_s_per_mw", "{:,.0f}"),
}

TENANTS = ("chat", "agent")
_ASKED: dict[str, Row] = {
    "chat": {"like": "chat"},
    # The recorded sessions had up to a million tokens of context, this model has 164k.
    "agent": {
        "like": "coding-agent",
        "session": {
            "first_input_tokens": {"max": 100_000},
            "compaction": {"at_tokens": {"max": 140_000}},
        },
    },
}


def scenario(design: str, position: float, rate: float) -> dict[str, Any]:
    """A rack of 32 H200 that serves DeepSeek-R1 to a mix of chat and coding agents.

    Args:
        design: One of `DESIGNS`.
        position: Share of the agents in all requests.
        rate: Requests per second, both together.
    """
    warmup_s, span_s = (WARMUP_S, SPAN_S) if position else (CHAT_WARMUP_S, CHAT_SPAN_S)
    shares = {"chat": 1.0 - position, "agent": position}
    warm = {"span_s": 4 * 3600.0, "ttft_s": 1.0, "itl_ms": 25.0}
    return {
        "name": "mix",
        "facility": {"racks": [{"name": "r", "system": "hgx-h200"}]},
        "deployments": [
            {
                "name": "r1",
                "model": "deepseek-r1",
                "precision": {"weights": "fp8", "kv_cache": "fp8"},
                "router": {"policy": "kv_aware"},
                "pools": [
                    {
                        "name": "all",
                        "role": "aggregated",
                        "racks": "r",
                        "replicas": 4,
                        "parallel": {"tp": 8, "ep": 8},
                        "engine": {"max_num_seqs": 256, "max_num_batched_tokens": 8192},
                        "kv_cache": {"tiers": list(DESIGNS[design])},
                    }
                ],
            }
        ],
        "workload": {
            "mix": {"hold": "requests", "rate": rate, "shares": shares},
            "tenants": [
                {"name": name, "slo": SLO, "load": {"warm_start": warm}, **_ASKED[name]}
                for name in TENANTS
            ],
        },
        "prices": {"book": "hyperscaler-owned-2025-10"},
        "run": {
            "duration_s": warmup_s + span_s,
            "warmup_s": warmup_s,
            "window_s": 60.0,
            "cut_sessions": True,
        },
    }


def measured(design: str, position: float, rate: float, seed: int) -> Row:
    """Figures of one run."""
    made = factory.load(scenario(design, position, rate), [], seed)
    with tempfile.TemporaryDirectory() as folder:
        found = factory.simulate(made, Path(folder) / "run").summary
    return {
        "design": design,
        "load": position,
        "rate": rate,
        "seed": seed,
        "goodput_requests_per_s": found["throughput"]["goodput_requests_per_s"],
        **figures(found),
    }


def figures(found: Mapping[str, Any]) -> Row:
    """The columns of the results, from the summary of a run."""
    tenants = found["tasks"]["by_tenant"]
    per_mw, cost = found["tokens_per_s_per_mw"], found["cost"]
    reached = [
        tenant["attainment_ratio"] for tenant in found["attainment"].values() if tenant["offered"]
    ]
    return {
        "worst_attainment_ratio": min(reached),
        "requests_per_s": found["throughput"]["requests_per_s"],
        "tasks_per_s": found["tasks"]["tasks"] / found["measured"]["seconds"],
        "output_tokens_per_s_per_mw": per_mw["provisioned_output"],
        "all_tokens_per_s_per_mw": per_mw["provisioned_all"],
        "cost_usd_per_mtok_output_good": cost["cost_usd_per_mtok_output_good"],
        "cost_usd_per_mtok_all": cost["cost_usd_per_mtok_all"],
        "cache_hit_ratio": found["cache_hit_ratio"],
        "busy_ratio": found["busy_ratio"],
        "load_factor_ratio": found["load_factor_ratio"],
        "ttft_p99_s": found["latency"]["ttft_ms"]["p99"] / 1e3,
        "itl_p50_ms": found["latency"]["itl_ms"]["p50"],
        **{
            f"{name}_{figure}": tenants[name][figure] if name in tenants else None
            for name in TENANTS
            for figure in ("cost_usd_per_task", "requests_per_task", "output_tokens_per_task")
        },
    }


def held(design: str, position: float, guess: float, seed: int = SEEDS[0]) -> float:
    """The highest rate at which every tenant's attainment meets the target, within `CLOSE`."""
    low, high = 0.0, math.inf
    rate = guess
    while not (low and high / low <= CLOSE):
        if measured(design, position, rate, seed)["worst_attainment_ratio"] >= TARGET:
            low = rate
        else:
            high = rate
        rate = low * 1.5 if math.isinf(high) else high / 1.5 if not low else math.sqrt(low * high)
        sys.stderr.write(
            f"{design}, position {position}: held {low:.3f}, not held {high:.3f} requests/s\n"
        )
    return low


def rows(
    designs: Sequence[str] = tuple(DESIGNS), positions: Sequence[float] = POSITIONS
) -> Iterator[Row]:
    """A row per design, position and seed, at the highest rate that the first seed holds."""
    for design in designs:
        guess = CHAT_GUESS
        for position in positions:
            guess = held(design, position, guess)
            for seed in SEEDS:
                yield measured(design, position, guess, seed)


def tables(found: Sequence[Row]) -> str:
    """What each mix holds, what its tasks cost and what a megawatt yields."""
    parts = []
    for design in DESIGNS:
        lines = [
            [
                f"{position:.0%}",
                *(
                    cell(mean(found, design, position, figure), form)
                    for figure, form in COLUMNS.values()
                ),
            ]
            for position in sorted({row["load"] for row in found})
        ]
        parts.append(f"{TITLES[design]}\n\n{markdown(['agents', *COLUMNS], lines)}")
    return "\n\n".join(parts)


def chart(found: Sequence[Row]) -> Any:
    """Cost per task and tokens/s/MW over the share of agents."""
    import altair as alt

    across = ("load", "share of coding agents in all requests")
    shown = [{**row, "design": TITLES[row["design"]]} for row in found]
    panels = [
        charts.lines(
            shown, across, (figure, title), list(TITLES.values()), title, log=log, width=300
        )
        for figure, title, log in (
            ("agent_cost_usd_per_task", "USD per agent's task", False),
            ("chat_cost_usd_per_task", "USD per chat answer", True),
            ("output_tokens_per_s_per_mw", "output tokens/s per contracted MW", True),
            ("all_tokens_per_s_per_mw", "all tokens/s per contracted MW", False),
        )
    ]
    return alt.concat(*panels, columns=2)


def main() -> None:
    """Runs the study; writes its rows, tables and chart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the results")
    out = parser.parse_args().out
    found = told(rows(), len(DESIGNS) * len(POSITIONS) * len(SEEDS))
    keep(out, "mix", found, tables)
    charts.save(chart(found), out / "mix")


if __name__ == "__main__":
    main()
