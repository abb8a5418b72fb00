"""Goodput far beyond capacity, with and without shedding, on the conversation trace.

Run as ``python -m experiments.serving.overload TRACE OUT``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import factory
from experiments.serving import charts
from experiments.serving.paired import cell, difference, markdown, mean, shown
from experiments.serving.runs import TRACE_S, Row, keep, replay, run, told
from factory.records.reader import RunReader

SCENARIO = "mooncake-conversation"
CLIENTS = (
    # Twice the limit on the first token, then the client gives up and, as OpenAI's, tries again.
    "workload.tenants[0].timeouts={ttft_timeout_s: 20, timeout_s: 60}",
    "workload.tenants[0].retry={attempts: 3}",
)
NONE = "no shedding"
LIMITS = (16, 64)
DESIGNS: Mapping[str, str | None] = {
    NONE: None,
    **{
        f"queue limit {most}": "deployments[0].admission="
        f"{{shed: queue_limit, max_queue_requests: {most}}}"
        for most in LIMITS
    },
    "predicted TTFT": "deployments[0].admission={shed: predicted_ttft}",
    "min_ttft router": "deployments[0].router={policy: min_ttft}",
}
LOADS = (1.6, 2.0, 2.1, 2.4, 3.2, 4.4, 6.6)
SEEDS = (1, 2, 3)
FEW = 0.01
"""Share of good requests below which their mean prompt says nothing."""


def rows(
    trace: Path,
    designs: Sequence[str] = tuple(DESIGNS),
    loads: Sequence[float] = LOADS,
    seeds: Sequence[int] = SEEDS,
    span_s: float = TRACE_S,
) -> Iterator[Row]:
    """One row per design, load and seed."""
    for load in loads:
        for design in designs:
            for seed in seeds:
                policy = DESIGNS[design]
                settings = [*replay(trace, load, span_s), *CLIENTS, *([policy] if policy else ())]
                found = run(SCENARIO, settings, seed, laws_and_queue)
                yield {"design": design, "load": load, "seed": seed, **found}


def laws_and_queue(run_dir: Path) -> Row:
    """Laws that a run breaks, the longest queue before prefill, and what good requests were."""
    broken = [law.name for law in factory.check_run(run_dir) if not law.holds]
    names = ("arrival_time_s", "prefill_start_time_s", "completion_time_s", "input_tokens")
    read = RunReader(run_dir).read("fact_requests", (*names, "outcome", "is_good", "is_measured"))
    tokens = read.number("input_tokens")
    good = read.flag("is_good") & read.flag("is_measured")
    return {
        "broken_laws": " ".join(broken),
        "longest_queue": longest_queue(
            read.number("arrival_time_s"),
            read.number("prefill_start_time_s"),
            read.number("completion_time_s"),
            read.is_equal("outcome", "rejected"),
        ),
        "good_prompt_tokens": float(tokens[good].mean()) if good.any() else None,
        "good_input_tokens": int(tokens[good].sum()),
    }


def longest_queue(
    arrived_s: np.ndarray, began_s: np.ndarray, left_s: np.ndarray, rejected: np.ndarray
) -> int:
    """Most attempts that ever waited at once, from arrival to prefill or giving up.

    Args:
        arrived_s: Arrivals, seconds, shape (attempts,).
        began_s: Starts of prefill; NaN if never.
        left_s: When attempts left.
        rejected: Turned away at once.
    """
    until_s = np.where(np.isnan(began_s), left_s, began_s)
    waits = ~rejected & (until_s > arrived_s)
    times = np.concatenate([arrived_s[waits], until_s[waits]])
    change = np.repeat([1, -1], int(waits.sum()))
    # Who leaves at an instant leaves before others come.
    order = np.lexsort((change, times))
    return int(np.cumsum(change[order]).max(initial=0))


def tables(found: Sequence[Row]) -> str:
    """Goodput, goodput over its peak, queues and laws."""
    designs = list(dict.fromkeys(row["design"] for row in found))
    loads = sorted({row["load"] for row in found})
    seeds = sorted({row["seed"] for row in found})
    head = ["load", "offered/s", *designs]
    offered = {x: f"{mean(found, NONE, x, 'offered_requests_per_s'):.1f}" for x in loads}
    parts = []
    found = [
        {
            **row,
            "good_input_tokens_per_s": row["good_input_tokens"] / row["offered"]
            * row["offered_requests_per_s"] / 1e3,
        }
        for row in found
    ]  # fmt: skip
    for title, figure, form in (
        ("Good requests/s", "goodput_requests_per_s", "{:.2f}"),
        ("Share of first attempts that end good", "attainment_ratio", "{:.3f}"),
        ("Prompt tokens of good requests, thousand/s", "good_input_tokens_per_s", "{:.0f}"),
        ("Mean prompt of a good request, tokens", "good_prompt_tokens", "{:.0f}"),
        ("Longest queue before prefill, requests", "longest_queue", "{:.0f}"),
        ("Busy share of GPU time", "busy_ratio", "{:.2f}"),
    ):
        lines = [
            [f"{x:g}", offered[x], *(cell(mean(found, d, x, figure), form) for d in designs)]
            for x in loads
        ]
        parts.append(f"{title}\n\n{markdown(head, lines)}")
    peak = {d: max(mean(found, d, x, "goodput_requests_per_s") for x in loads) for d in designs}
    common = peak[NONE]
    most = loads[-1]
    lines = []
    for design in designs:
        at = mean(found, design, most, "goodput_requests_per_s")
        best = next(
            x for x in loads if mean(found, design, x, "goodput_requests_per_s") == peak[design]
        )
        against = difference(found, design, NONE, most, "goodput_requests_per_s", len(designs) - 1)
        lines.append([
            design, f"{peak[design]:.2f} at {best:g}", f"{at:.2f}", f"{at / peak[design]:.0%}",
            f"{at / common:.0%}", "" if design == NONE else shown(against),
        ])  # fmt: skip
    head = ["design", "peak", f"at {most:g}", "of its peak", f"of that of {NONE}", f"less {NONE}"]
    parts.append(
        f"Good requests/s at load {most:g}; the difference paired over {len(seeds)} seeds, all "
        f"together at 95 %\n\n{markdown(head, lines)}"
    )
    broken = [row for row in found if row["broken_laws"]]
    parts.append(f"Runs that break a law: {len(broken)} of {len(found)}")
    return "\n\n".join(parts)


def draw(found: Sequence[Row], path: Path) -> None:
    """Goodput over what is offered."""
    designs = list(dict.fromkeys(row["design"] for row in found))
    x = ("offered_requests_per_s", "offered requests/s (first attempts)")
    goodput = charts.lines(
        found,
        x,
        ("goodput_requests_per_s", "good requests/s"),
        designs,
        "Goodput beyond capacity; clients give up after 20 s and try again",
        width=480,
    )
    prompts = charts.lines(
        [row for row in found if row["attainment_ratio"] >= FEW],
        x,
        ("good_prompt_tokens", "tokens"),
        designs,
        "Mean prompt of a good request: who is shed",
        width=360,
    )
    charts.save(goodput | prompts, path)


def main() -> None:
    """Runs all designs, writes rows and chart, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    found = told(rows(asked.trace), len(DESIGNS) * len(LOADS) * len(SEEDS))
    keep(asked.out, "overload", found, tables)
    draw(found, asked.out / "overload")


if __name__ == "__main__":
    main()
