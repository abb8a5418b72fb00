"""One design at one load and seed, and what its run was like."""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import factory
from factory.errors import InputError

Row = dict[str, Any]

TRACE_S = 3540.0
"""The conversation trace in whole minutes, seconds."""

WARMUP_S = 300.0
"""Left out of every run at the trace's own speed, seconds."""

WINDOW_S = 60.0
"""Span over which tables aggregate at the trace's own speed, seconds."""


def replay(trace: Path, load: float, span_s: float = TRACE_S) -> list[str]:
    """Settings that replay a trace at a multiple of its rate.

    Warm-up, end and windows shrink with the arrival times, so the same requests are measured at
    every load.

    Args:
        trace: The trace.
        load: Multiple of the recorded rate.
        span_s: Seconds of the trace to replay, whole windows; a part of it is without warm-up.
    """
    scale = 1.0 / load
    return [
        f"workload.trace.path={trace}",
        f"workload.trace.time_scale={scale!r}",
        f"run.duration_s={span_s * scale!r}",
        f"run.warmup_s={WARMUP_S * scale if span_s >= TRACE_S else 0.0!r}",
        f"run.window_s={WINDOW_S * scale!r}",
    ]


def lognormal(mu: float, sigma: float, most: int) -> Row:
    """Lengths of a synthetic workload, tokens."""
    return {"distribution": "lognormal", "mu": mu, "sigma": sigma, "max": most}


def run(
    source: str | Mapping[str, Any],
    settings: Sequence[str],
    seed: int,
    look: Callable[[Path], Row] = lambda run_dir: {},  # noqa: ARG005
) -> Row:
    """Simulates a scenario and returns its figures; its tables are looked at, then dropped.

    Args:
        source: Name of a shipped scenario, or one as plain data.
        settings: ``path=value`` each.
        seed: Root of the random streams; the same seed is the same demand whatever the design.
        look: Reads more figures from the run's directory.

    Returns:
        `offered`, `good` and `completed` logical requests and attempts by outcome in the measured
        interval, rates in requests/s over it, latencies of what completed.
    """
    scenario = factory.load(source, settings, seed)
    with tempfile.TemporaryDirectory() as folder:
        result = factory.simulate(scenario, Path(folder) / "run")
        more = look(result.run_dir)
    found = result.summary
    measured, latency = found["measured"], found["latency"]
    attempts, seconds = measured["attempts"], measured["seconds"]
    return {
        "offered": measured["offered"],
        "good": measured["good"],
        "completed": measured["completed"],
        "attempts_rejected": attempts["rejected"],
        "attempts_timed_out": attempts["timed_out"],
        "attempts_retried": attempts["retried"],
        "offered_requests_per_s": measured["offered"] / seconds,
        "goodput_requests_per_s": measured["good"] / seconds,
        "attainment_ratio": measured["good"] / measured["offered"],
        "cache_hit_ratio": found["cache_hit_ratio"],
        "busy_ratio": found["busy_ratio"],
        **{f"ttft_{q}_s": _over(latency["ttft_ms"][q], 1e3) for q in ("p50", "p99")},
        **{f"itl_{q}_ms": latency["itl_ms"][q] for q in ("p50", "p99")},
        **more,
    }


def _over(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


def told(rows: Iterable[Row], total: int) -> list[Row]:
    """Collects rows and says on standard error how far they have come."""
    collected = []
    for row in rows:
        collected.append(row)
        told_of = " ".join(f"{row[name]}" for name in ("design", "load", "seed"))
        good = f"{row['goodput_requests_per_s']:.3f} good/s"
        sys.stderr.write(f"{len(collected)}/{total}: {told_of}: {good}\n")
    return collected


def write(path: Path, rows: Sequence[Row]) -> Path:
    """Writes one line per run, six significant digits.

    Raises:
        InputError: The file is there already.
    """
    if path.exists():
        raise InputError(f"{path} is there already; name another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: f"{x:.6g}" if isinstance(x, float) else x for key, x in row.items()}
            )
    return path


def keep(out: Path, name: str, rows: Sequence[Row], tables: Callable[[Sequence[Row]], str]) -> None:
    """Writes rows as CSV and the tables made of them as Markdown, and prints the tables.

    Args:
        out: Folder.
        name: Of the files, without an ending.
        rows: One per run.
        tables: Makes the tables of the rows as the file holds them.

    Raises:
        InputError: The file is there already.
    """
    text = tables(read(write(out / f"{name}.csv", rows)))
    (out / f"{name}.md").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"{text}\n")


def read(path: Path) -> list[Row]:
    """Reads what `write` wrote; an empty field is None."""
    with path.open(newline="", encoding="utf-8") as lines:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(lines)]


def _value(text: str) -> Any:
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
