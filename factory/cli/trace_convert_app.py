"""Options of ``factory trace convert``."""

from __future__ import annotations

from typing import Annotated

import typer

from factory.cli.failures import told_plainly
from factory.cli.trace_look_app import seconds


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A trace, a run's directory, or a scenario (file or name)."
        ),
    ],
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="FILE", help="gzip if it ends in .gz; - for stdout."),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="mooncake, aiperf, aiperf-multi-turn, azure, burstgpt or bailian.  "
            "[default: mooncake for a .jsonl]",
        ),
    ] = None,
    source_format: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="Of a trace.  [default: by its first row]"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N requests.")
    ] = None,
    from_s: Annotated[
        float | None,
        typer.Option(
            "--from",
            "--from-s",
            parser=seconds,
            metavar="S",
            help="Leave out what comes before S s.",
        ),
    ] = None,
    to_s: Annotated[
        float | None,
        typer.Option("--to-s", parser=seconds, metavar="S", help="Leave out what comes from S s."),
    ] = None,
    block_size: Annotated[
        int | None,
        typer.Option(
            "--block-size",
            min=1,
            metavar="TOKENS",
            help="Of a block in the file.  [default: the format's own]",
        ),
    ] = None,
    sessions: Annotated[
        bool,
        typer.Option("--sessions/--no-sessions", help="Whether turns stay tied to their session."),
    ] = True,
    answer_after: Annotated[
        float | None,
        typer.Option(
            "--answer-after",
            parser=seconds,
            metavar="S",
            help="Every answer ends so long after its request, where nobody recorded it.",
        ),
    ] = None,
    ttft: Annotated[
        float | None,
        typer.Option("--ttft", parser=seconds, metavar="S", help="Or: time to first token, and"),
    ] = None,
    itl: Annotated[
        float | None,
        typer.Option("--itl", parser=seconds, metavar="S", help="time between output tokens."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing if the format cannot carry all.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Override a scenario's value. Repeatable."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, metavar="N", help="Root of every random stream."),
    ] = None,
    skip_bad_rows: Annotated[
        int,
        typer.Option("--skip-bad-rows", min=0, metavar="N", help="Malformed rows to leave out."),
    ] = 0,
) -> None:
    """Write a trace, a run's demand or a scenario's as a file for other tools."""
    with told_plainly():
        from factory.cli.trace_convert import Asked, convert

        convert(
            Asked(
                source,
                out,
                target,
                source_format,
                limit,
                from_s,
                to_s,
                block_size,
                sessions,
                strict,
                overrides or (),
                seed,
                answer_after,
                ttft,
                itl,
                skip_bad_rows,
            )
        )
