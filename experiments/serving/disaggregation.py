"""Latencies with and without disaggregation, at equal GPUs, on the conversation trace.

Run as ``python -m experiments.serving.disaggregation TRACE OUT``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from experiments.serving import charts
from experiments.serving.paired import difference, markdown, mean, shown
from experiments.serving.runs import TRACE_S, Row, keep, replay, run, told

SCENARIO = "mooncake-conversation"
APART = "4 prefill + 4 decode"
TOGETHER: Mapping[str, tuple[str, int]] = {
    "8 mixed, vllm 8k": ("vllm", 8192),
    "8 mixed, vllm 2k": ("vllm", 2048),
    "8 mixed, sglang 8k": ("sglang", 8192),
}
"""Aggregated designs: scheduler and tokens in a step."""

SPLITS: Mapping[str, tuple[int, int]] = {
    "5 prefill + 3 decode": (5, 3),
    "6 prefill + 2 decode": (6, 2),
}
"""Other splits: replicas that prefill, replicas that decode."""

DESIGNS = (APART, *SPLITS, *TOGETHER)
LOADS = (1.0, 1.6, 2.0, 2.4)
SEEDS = (1, 2, 3, 4, 5, 6)
LONG_TOKENS = 16_384
"""Prompts from here on are long: 23 % of the trace."""


def settings_of(design: str) -> list[str]:
    """The pools of a design: 32 GPUs, TP 4 in all of them."""
    if design == APART:
        return []
    if design in SPLITS:
        return [
            f"deployments[0].pools[{role}].replicas={replicas}"
            for role, replicas in zip(("prefill", "decode"), SPLITS[design], strict=True)
        ]
    policy, tokens = TOGETHER[design]
    pool = (
        "{name: mixed, role: aggregated, racks: hopper, replicas: 8, parallel: {tp: 4}, engine: "
        f"{{max_num_seqs: 256, max_num_batched_tokens: {tokens}, scheduler: {{policy: {policy}}}}}"
        "}"
    )
    return [f"deployments[0].pools=[{pool}]"]


def rows(
    trace: Path,
    designs: Sequence[str] = DESIGNS,
    loads: Sequence[float] = LOADS,
    seeds: Sequence[int] = SEEDS,
    span_s: float = TRACE_S,
) -> Iterator[Row]:
    """One row per design, load and seed."""
    for load in loads:
        for design in designs:
            for seed in seeds:
                settings = [*replay(trace, load, span_s), *settings_of(design)]
                found = run(SCENARIO, settings, seed, of_long_prompts)
                yield {"design": design, "load": load, "seed": seed, **found}


def of_long_prompts(run_dir: Path) -> Row:
    """Latencies of the measured requests whose prompt is long."""
    import numpy as np

    from factory.records.reader import RunReader

    read = RunReader(run_dir).read(
        "fact_requests", ("input_tokens", "ttft_s", "itl_s", "is_measured")
    )
    shown = read.flag("is_measured") & (read.number("input_tokens") >= LONG_TOKENS)
    ttft, itl = read.number("ttft_s")[shown], read.number("itl_s")[shown]
    return {
        "long_ttft_p50_s": float(np.nanquantile(ttft, 0.5)),
        "long_ttft_p99_s": float(np.nanquantile(ttft, 0.99)),
        "long_itl_p99_ms": float(np.nanquantile(itl, 0.99)) * 1e3,
    }


def tables(found: Sequence[Row]) -> str:
    """Latencies and goodput, and disaggregated less aggregated."""
    loads = sorted({row["load"] for row in found})
    seeds = sorted({row["seed"] for row in found})
    figures = (
        ("itl_p50_ms", "{:.1f}"),
        ("itl_p99_ms", "{:.1f}"),
        ("long_itl_p99_ms", "{:.1f}"),
        ("ttft_p50_s", "{:.2f}"),
        ("ttft_p99_s", "{:.2f}"),
        ("long_ttft_p50_s", "{:.2f}"),
        ("goodput_requests_per_s", "{:.2f}"),
        ("attainment_ratio", "{:.3f}"),
        ("cache_hit_ratio", "{:.3f}"),
    )
    lines = [
        [f"{x:g}", design, *(form.format(mean(found, design, x, name)) for name, form in figures)]
        for x in loads
        for design in DESIGNS
    ]
    parts = [markdown(["load", "design", *(name for name, _ in figures)], lines)]
    splits = (APART, *SPLITS)
    tests = len(TOGETHER) * len(loads) * len(splits)
    named = {"itl_p99_ms": 1, "ttft_p50_s": 2, "ttft_p99_s": 2, "goodput_requests_per_s": 3}
    for name, digits in named.items():
        lines = [
            [
                f"{x:g}",
                split,
                *(shown(difference(found, split, d, x, name, tests), digits) for d in TOGETHER),
            ]
            for x in loads
            for split in splits
        ]
        parts.append(
            f"{name}, less that of …; {len(seeds)} seeds, paired, all {tests} intervals together "
            f"at 95 %\n\n{markdown(['load', 'design', *TOGETHER], lines)}"
        )
    return "\n\n".join(parts)


def draw(found: Sequence[Row], path: Path) -> None:
    """ITL and TTFT over what is offered."""
    x = ("offered_requests_per_s", "offered requests/s")
    panels = [
        charts.lines(found, x, (name, title), DESIGNS, head, log=log, width=300)
        for name, title, head, log in (
            ("itl_p99_ms", "ITL p99, ms", "Decoding is disturbed by prompts …", False),
            ("ttft_p50_s", "TTFT p50, s", "… or has its own GPUs, which prompts lack", True),
            ("goodput_requests_per_s", "good requests/s", "Goodput", False),
        )
    ]
    charts.save(panels[0] | panels[1] | panels[2], path)


def main() -> None:
    """Runs all designs, writes rows and chart, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    found = told(rows(asked.trace), len(DESIGNS) * len(LOADS) * len(SEEDS))
    keep(asked.out, "disaggregation", found, tables)
    draw(found, asked.out / "disaggregation")


if __name__ == "__main__":
    main()
