"""Goodput over load by router, on the conversation trace.

Run as ``python -m experiments.serving.load_sweep TRACE OUT``.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from experiments.serving import charts
from experiments.serving.paired import CONFIDENCE, difference, less, markdown, mean, shown
from experiments.serving.runs import TRACE_S, WARMUP_S, Row, keep, replay, run, told
from factory.records.reader import RunReader
from factory.statistics import bonferroni, mean_interval

SCENARIO = "mooncake-conversation"
EVENTS = "kv_aware, events"
"""The router knows what caches report, but not what it sent and they do not hold yet."""

SECTIONS = {EVENTS: "{policy: kv_aware, index: events}"}
ROUTERS = ("round_robin", "least_loaded", "prefix_threshold", "kv_cost", EVENTS, "kv_aware")
BASE = "round_robin"
LOADS = (1.0, 1.2, 1.4, 1.7, 2.0, 2.2, 2.6)
SEEDS = (1, 2, 3, 4)
SPAN_S = 300.0
SPAN_LOADS = (1.0, 1.4, 1.7, 2.0)
TARGET = 0.95
"""Attainment that the scenario's tenant is promised."""


def router_of(design: str) -> str:
    """The setting of a design's prefill router."""
    return f"deployments[0].router={SECTIONS.get(design, f'{{policy: {design}}}')}"


def rows(
    trace: Path,
    routers: Sequence[str] = ROUTERS,
    loads: Sequence[float] = LOADS,
    seeds: Sequence[int] = SEEDS,
    span_s: float = TRACE_S,
) -> Iterator[Row]:
    """One row per router, load and seed; only the prefill router differs.

    `good_by_span` of a row holds its goodput over each five minutes of the trace.
    """
    for load in loads:
        for router in routers:
            for seed in seeds:
                settings = [*replay(trace, load, span_s), router_of(router)]
                found = run(SCENARIO, settings, seed, partial(good_by_span, load=load))
                yield {"design": router, "load": load, "seed": seed, **found}


def by_span(found: Sequence[Row]) -> list[Row]:
    """One row per router, load and five minutes of the trace, of one seed.

    Seeds only move arrivals within 3 s; spans of the trace differ as traffic does.
    """
    return [
        {
            **{name: row[name] for name in ("design", "load", "seed")},
            "span": span,
            "goodput_requests_per_s": rate,
        }
        for row in found
        if row["load"] in SPAN_LOADS and row["seed"] == SEEDS[0]
        for span, rate in row["good_by_span"].items()
    ]


def good_by_span(run_dir: Path, load: float) -> Row:
    """Good requests/s of those that arrive in each whole `SPAN_S` of the trace after warm-up."""
    import numpy as np

    rows = RunReader(run_dir).read("fact_requests", ("arrival_time_s", "is_good", "is_measured"))
    good = rows.flag("is_good") & rows.flag("is_measured")
    spans = np.floor(rows.number("arrival_time_s")[good] * load / SPAN_S).astype(np.int64)
    counts = np.bincount(spans, minlength=int(TRACE_S // SPAN_S))
    first = math.ceil(WARMUP_S / SPAN_S)
    return {
        "good_by_span": {
            span: float(counts[span]) * load / SPAN_S
            for span in range(first, int(TRACE_S // SPAN_S))
        }
    }


def held_load(found: Sequence[Row], router: str, seed: int) -> float:
    """Highest load at which the target is met, between loads by a straight line.

    NaN if the lowest load is too much, or the highest is not.
    """
    line = sorted(
        (row["load"], row["attainment_ratio"])
        for row in found
        if row["design"] == router and row["seed"] == seed
    )
    for (low, above), (high, below) in itertools.pairwise(line):
        if above >= TARGET > below:
            return low + (high - low) * (above - TARGET) / (above - below)
    return float("nan")


def tables(found: Sequence[Row]) -> str:
    """Goodput, hit ratio, differences to round robin, and the load that each router holds."""
    routers = list(dict.fromkeys(row["design"] for row in found))
    loads = sorted({row["load"] for row in found})
    seeds = sorted({row["seed"] for row in found})
    head = ["load", "offered/s", *routers]
    offered = {x: f"{mean(found, BASE, x, 'offered_requests_per_s'):.2f}" for x in loads}
    parts = []
    for title, figure, form in (
        ("Good requests/s", "goodput_requests_per_s", "{:.2f}"),
        ("Hit ratio of prompt tokens", "cache_hit_ratio", "{:.3f}"),
        ("TTFT p99, s", "ttft_p99_s", "{:.1f}"),
    ):
        lines = [
            [f"{x:g}", offered[x], *(form.format(mean(found, r, x, figure)) for r in routers)]
            for x in loads
        ]
        parts.append(f"{title}\n\n{markdown(head, lines)}")
    others = [router for router in routers if router != BASE]
    tests = len(others) * len(loads)
    lines = [
        [f"{x:g}", *(
            shown(difference(found, r, BASE, x, "goodput_requests_per_s", tests)) for r in others
        )]
        for x in loads
    ]  # fmt: skip
    parts.append(
        f"Good requests/s less those of {BASE}; {len(seeds)} seeds, paired, all {tests} intervals "
        f"together at 95 %\n\n{markdown(['load', *others], lines)}"
    )
    others = [router for router in routers if router != "kv_aware"]
    tests = len(others) * len(loads)
    lines = [
        [
            f"{x:g}",
            *(
                shown(difference(found, "kv_aware", r, x, "goodput_requests_per_s", tests))
                for r in others
            ),
        ]
        for x in loads
    ]
    parts.append(
        f"Good requests/s of kv_aware less those of the others, all {tests} intervals together "
        f"at 95 %\n\n{markdown(['load', *others], lines)}"
    )
    if EVENTS in routers:
        compared = {
            "hit ratio": ("cache_hit_ratio", 3),
            "TTFT p99, s": ("ttft_p99_s", 2),
            "good requests/s": ("goodput_requests_per_s", 2),
        }
        table = less(found, "kv_aware", EVENTS, ("load", loads), compared)
        parts.append(f"kv_aware less {EVENTS}, all {len(loads)} of a column\n\n{table}")
    base = {seed: held_load(found, BASE, seed) for seed in seeds}
    lines = []
    for router in routers:
        held = [held_load(found, router, seed) for seed in seeds]
        if any(map(math.isnan, (*held, *base.values()))):
            lines.append([router, "out of range", ""])
            continue
        gain = mean_interval(
            [a / base[seed] - 1 for a, seed in zip(held, seeds, strict=True)],
            bonferroni(CONFIDENCE, len(routers) - 1),
        )
        lines.append([
            router, f"{sum(held) / len(held):.2f}", "" if router == BASE else
            f"{gain.mean:+.0%} ± {gain.half_width:.1%}",
        ])  # fmt: skip
    parts.append(
        f"Highest load at which {TARGET:.0%} of requests are good\n\n"
        f"{markdown(['router', 'load', f'against {BASE}'], lines)}"
    )
    return "\n\n".join(parts)


def table_of_spans(found: Sequence[Row]) -> str:
    """Gain over round robin in goodput, paired over five minutes of the trace."""
    others = [x for x in dict.fromkeys(row["design"] for row in found) if x != BASE]
    loads = sorted({row["load"] for row in found})
    tests = len(others) * len(loads)
    figure = "goodput_requests_per_s"
    lines = [
        [
            f"{x:g}",
            *(shown(difference(found, r, BASE, x, figure, tests, by="span")) for r in others),
        ]
        for x in loads
    ]
    count = len({row["span"] for row in found})
    return (
        f"Good requests/s less those of {BASE}; one seed, paired over {count} spans of five "
        f"minutes of the trace\n\n{markdown(['load', *others], lines)}"
    )


def draw(found: Sequence[Row], path: Path) -> None:
    """Goodput and hit ratio over what is offered."""
    routers = list(dict.fromkeys(row["design"] for row in found))
    x = ("offered_requests_per_s", "offered requests/s")
    top = max(row["goodput_requests_per_s"] for row in found)
    goodput = charts.lines(
        found,
        x,
        ("goodput_requests_per_s", "good requests/s"),
        routers,
        "Goodput (first token in 10 s, 50 ms a token)",
        diagonal=top,
    )
    hits = charts.lines(
        found, x, ("cache_hit_ratio", "share of prompt tokens"), routers, "Prefix cache hits"
    )
    charts.save(goodput | hits, path)


def main() -> None:
    """Runs the sweep, writes rows and chart, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    found = told(rows(asked.trace), len(ROUTERS) * len(LOADS) * len(SEEDS))
    keep(asked.out, "load_sweep_spans", by_span(found), table_of_spans)
    found = [{name: x for name, x in row.items() if name != "good_by_span"} for row in found]
    keep(asked.out, "load_sweep", found, tables)
    draw(found, asked.out / "load_sweep")


if __name__ == "__main__":
    main()
