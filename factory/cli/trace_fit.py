"""``factory trace fit``: a synthetic workload like a trace, and how near it comes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.cli.trace_inspect import Grid, show
from factory.cli.trace_reading import Reading, counted, format_of, part_of, records_of

if TYPE_CHECKING:
    from factory.studies.trace_fit import FittedWorkload

_WIDTH = 80
_NAME = re.compile(r"[^a-z0-9]+")


def fit_trace(
    file: Path, reading: Reading, *, out: Path | None, name: str | None, seed: int, as_json: bool
) -> None:
    """Fit a workload to a trace, compare a sample of it with the trace, and write it.

    Args:
        file: The trace.
        reading: How to read it.
        out: Workload file to write; None to print it.
        name: Of the workload and its tenant; None for the file's.
        seed: Root of the random streams of the sample.
        as_json: Print one JSON object and nothing else.

    Raises:
        InputError: The trace, an option or the file to write cannot be used.
    """
    from factory.cli.output import print_json
    from factory.cli.trace_yaml import workload_yaml
    from factory.studies.trace_asked import gather
    from factory.studies.trace_clock import Part, cut
    from factory.studies.trace_fit import fit_workload, shared_start
    from factory.studies.trace_inspect import inspect
    from factory.studies.trace_sample import sampled

    label = name_of(file, name)
    kind = format_of(file, reading.format)
    part = part_of(reading, Part)
    facts = inspect(counted(records_of(file, kind, reading), quiet=as_json), kind, part)
    start = shared_start(facts["reuse"])
    rows = cut(counted(records_of(file, kind, reading), quiet=as_json), part, kind)
    samples = gather(rows, kind, start.tokens if start else 0)
    time = facts["time"] or {}
    duration_s = time.get("duration_s")
    fitted = fit_workload(samples, label, duration_s, start, time.get("clock_tick_s"))
    block_size = facts["reuse"]["block_size"] if facts["reuse"] else None
    longest = round(facts["input_tokens"]["max"] + facts["output_tokens"]["max"])
    drawn = sampled(fitted.tenant, block_size, facts["rows"], duration_s, longest, seed)
    compared = list(comparison(facts, drawn))
    text = workload_yaml(label, file.name, kind, facts["rows"], fitted, compared)
    if out is not None:
        write(text, out)
    if as_json:
        print_json(
            {
                "trace": str(file),
                "format": kind,
                "rows": facts["rows"],
                "workload_file": None if out is None else str(out),
                "tenant": fitted.tenant,
                "fits": {path: told(fit) for path, fit in fitted.fits.items()},
                "notes": fitted.notes,
                "sample": {"seed": seed, **drawn},
                "comparison": [
                    {"figure": figure, "trace": ours, "sample": theirs}
                    for figure, ours, theirs in compared
                ],
            }
        )
        return
    if out is None:
        print(text, end="")
        return
    show(screen(file, facts, fitted, compared, drawn, out))


def told(fit: Any) -> dict[str, Any]:
    """A fit as JSON has it."""
    return {
        "law": fit.law,
        "n": fit.n,
        "ks": fit.ks,
        "mean_error": fit.mean_error,
        **{f"{name}_error": error for name, error in fit.errors.items()},
        "ks_of_laws": fit.told,
    }


def name_of(file: Path, name: str | None) -> str:
    """The name asked for, or one made of the file's.

    Raises:
        InputError: It is no name.
    """
    from factory.errors import InputError

    if name is None:
        return _NAME.sub("-", file.name.split(".")[0].casefold()).strip("-") or "trace"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InputError(
            f'--name: must be letters, digits, "-", "_" and ".", got "{name}" (try '
            f'"{_NAME.sub("-", name.casefold()).strip("-") or "trace"}")'
        )
    return name


def comparison(
    facts: Mapping[str, Any], drawn: Mapping[str, Any]
) -> Iterator[tuple[str, float, float]]:
    """Figures of the trace beside those of the sample."""
    time, reuse = facts["time"], facts["reuse"]
    if time and drawn["rate_per_s"]:
        yield "requests per second", time["rate_per_s"], drawn["rate_per_s"]
    if time and time["gap_cv"] is not None and drawn["gap_cv"] is not None:
        yield "CV of gaps", time["gap_cv"], drawn["gap_cv"]
    for name, key in (("input", "input_tokens"), ("output", "output_tokens")):
        for share in ("mean", "p50", "p90", "p99"):
            yield f"{name} tokens, {share}", facts[key][share], drawn[key][share]
    if facts["tokens"]["input_per_output"] and drawn["input_per_output"]:
        yield "input per output", facts["tokens"]["input_per_output"], drawn["input_per_output"]
    if reuse and drawn["ideal_hit_token_ratio"] is not None:
        yield "ideal hit ratio", reuse["ideal_hit_token_ratio"], drawn["ideal_hit_token_ratio"]


def write(text: str, path: Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        InputError: It cannot be written.
    """
    from factory.errors import InputError

    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def screen(
    file: Path,
    facts: Mapping[str, Any],
    fitted: FittedWorkload,
    compared: list[tuple[str, float, float]],
    drawn: Mapping[str, Any],
    out: Path,
) -> Iterator[str | Grid]:
    """What was fitted and how near it comes, in at most 80 columns."""
    from textwrap import wrap

    yield f"{file.name}: {facts['rows']:,} requests"
    yield ""
    rows = [
        [
            path,
            fit.law,
            f"{fit.n:,}",
            f"{fit.ks:.3f}",
            error(fit.mean_error),
            *map(error, fit.errors.values()),
        ]
        for path, fit in fitted.fits.items()
    ]
    head = ["fitted", "law", "values", "KS", "mean", *next(iter(fitted.fits.values())).errors]
    grid = Grid(head, rows, left=2)
    yield grid if grid.width <= _WIDTH else grid.without(2)
    for path, note in fitted.notes.items():
        yield from wrap(f"{path}: {note}", _WIDTH, subsequent_indent="  ")
    yield ""
    yield f"A sample of {drawn['requests']:,} requests, answered at once, beside the trace"
    pairs = [
        [figure, shown(figure, ours), shown(figure, theirs), difference(figure, ours, theirs)]
        for figure, ours, theirs in compared
    ]
    yield Grid(["figure", "trace", "sample", "error"], pairs)
    yield ""
    yield "A scenario takes it by workload.use with the path of the file:"
    yield str(out)


def error(value: float) -> str:
    """A relative error in per cent."""
    return "–" if math.isnan(value) else f"{100 * value:+.1f}%"


def shown(figure: str, value: float) -> str:
    """A figure in its own unit."""
    from factory.report.figures import significant

    return f"{value:.1%}" if figure.endswith("ratio") else significant(value)


def difference(figure: str, ours: float, theirs: float) -> str:
    """How far the sample is from the trace: points of a ratio, per cent of anything else."""
    if figure.endswith("ratio"):
        return f"{100 * (theirs - ours):+.1f} points"
    return error(theirs / ours - 1) if ours else "–"
