"""Options of ``factory trace inspect`` and ``factory trace fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.failures import told_plainly


def seconds(value: str | float) -> float:
    """Seconds, from `10`, `10s`, `500ms` or `1 min`.

    Raises:
        BadParameter: It is none of these.
    """
    from factory.units import number_in

    found = number_in(str(value), "s")
    if found is None:
        raise typer.BadParameter(f'must be a time such as 10s or 5min, got "{value}"')
    return found


TraceArgument = Annotated[
    Path, typer.Argument(metavar="TRACE", help="A trace of any format, or a run's directory.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help="Of the trace.  [default: by its first row]"),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N rows.")
]
SessionsOption = Annotated[
    int | None,
    typer.Option("--sessions", min=1, metavar="N", help="agentic, aiperf: the first N sessions."),
]
FromOption = Annotated[
    float,
    typer.Option(
        "--from",
        "--from-s",
        parser=seconds,
        metavar="S",
        help="Leave out what comes before S seconds (or 10min, 2h) from the first row.",
    ),
]
ToOption = Annotated[
    float | None,
    typer.Option(
        "--to", "--to-s", parser=seconds, metavar="S", help="Leave out what comes from then on."
    ),
]
SkipOption = Annotated[
    int, typer.Option("--skip-bad-rows", min=0, metavar="N", help="Malformed rows to leave out.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]


def inspect(
    trace_file: TraceArgument,
    trace_format: FormatOption = None,
    limit: LimitOption = None,
    sessions: SessionsOption = None,
    from_s: FromOption = 0.0,
    to_s: ToOption = None,
    skip_bad_rows: SkipOption = 0,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="OUT.html", help="Write a page as well.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Rate, lengths, sessions and reuse of a trace."""
    with told_plainly():
        from factory.cli.trace_inspect import inspect_trace
        from factory.cli.trace_reading import Reading

        reading = Reading(trace_format, limit, sessions, skip_bad_rows, from_s, to_s)
        inspect_trace(trace_file, reading, page=page, as_json=as_json)


def fit(
    trace_file: TraceArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="F.yaml", help="File.  [default: standard output]"),
    ] = None,
    trace_format: FormatOption = None,
    limit: LimitOption = None,
    sessions: SessionsOption = None,
    from_s: FromOption = 0.0,
    to_s: ToOption = None,
    skip_bad_rows: SkipOption = 0,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Of the workload.  [default: the file's]"),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Of the sample that is compared.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """A synthetic workload like a trace, and how near it comes."""
    with told_plainly():
        from factory.cli.trace_fit import fit_trace
        from factory.cli.trace_reading import Reading

        reading = Reading(trace_format, limit, sessions, skip_bad_rows, from_s, to_s)
        fit_trace(trace_file, reading, out=out, name=name, seed=seed, as_json=as_json)
