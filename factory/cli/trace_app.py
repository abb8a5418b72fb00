"""The commands under ``factory trace``, and their options."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from factory.cli import trace_convert_app, trace_look_app
from factory.cli.failures import told_plainly

trace_app = typer.Typer(
    help="What a trace of requests says, before anything is simulated.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def seconds(value: str | float) -> float:
    """Seconds, from `10`, `10s`, `500ms` or `1 min`.

    Raises:
        BadParameter: It is none of these.
    """
    from factory.units import number_in

    found = number_in(str(value), "s")
    if found is None:
        raise typer.BadParameter(f'must be a time such as 10s or 500ms, got "{value}"')
    return found


class CapacityUnit(StrEnum):
    """What a capacity counts."""

    blocks = "blocks"
    tokens = "tokens"


@trace_app.callback()
def trace() -> None:
    """What a trace of requests says, before anything is simulated."""


trace_app.command("inspect")(trace_look_app.inspect)
trace_app.command("fit")(trace_look_app.fit)
trace_app.command("convert")(trace_convert_app.convert)


@trace_app.command("cache-study")
def cache_study(
    trace_file: Annotated[
        Path, typer.Argument(metavar="TRACE", help="A trace that names the blocks of its prompts.")
    ],
    capacity: Annotated[
        str,
        typer.Option(
            "--capacity",
            metavar="C[,C…]",
            help="Cache of all workers together: 50000, 50k, 30M, 10% (of the trace's distinct "
            "blocks) or inf.",
        ),
    ] = "1%,3%,10%,30%,inf",
    unit: Annotated[
        CapacityUnit, typer.Option("--unit", help="What the numbers of --capacity count.")
    ] = CapacityUnit.blocks,
    per_worker: Annotated[
        bool, typer.Option("--per-worker", help="--capacity is that of each worker.")
    ] = False,
    workers: Annotated[
        str, typer.Option("--workers", metavar="N[,N…]", help="Workers with a cache of their own.")
    ] = "1",
    router: Annotated[
        str | None,
        typer.Option(
            "--router",
            metavar="POLICY[,…]",
            help="Routers of a scenario, with settings as POLICY:field=value.  "
            "[default: a scenario's]",
        ),
    ] = None,
    trace_format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="mooncake or agentic.  [default: by the file's name]"
        ),
    ] = None,
    block_size: Annotated[
        int | None,
        typer.Option(
            "--block-size", min=1, metavar="TOKENS", help="Of a block.  [default: the trace's own]"
        ),
    ] = None,
    sessions: Annotated[
        int | None,
        typer.Option("--sessions", min=1, metavar="N", help="agentic: only the first N sessions."),
    ] = None,
    session_interval: Annotated[
        float,
        typer.Option(
            "--session-interval", min=0, metavar="S", help="agentic: a session starts each S s."
        ),
    ] = 60.0,
    subagents: Annotated[
        bool, typer.Option("--subagents", help="agentic: requests of sub-agents too.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Only the first N rows of the trace."),
    ] = None,
    skip_bad_rows: Annotated[
        int,
        typer.Option("--skip-bad-rows", min=0, metavar="N", help="Malformed rows to leave out."),
    ] = 0,
    residence: Annotated[
        float,
        typer.Option(
            "--residence",
            parser=seconds,
            metavar="S",
            help="Seconds that a request counts as load on its worker.",
        ),
    ] = 10.0,
    prefill: Annotated[
        float,
        typer.Option(
            "--prefill",
            parser=seconds,
            metavar="S",
            help="Of these, seconds that its prefill counts.",
        ),
    ] = 1.0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Root of the random streams.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="F.csv", help="Write a row for each point.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Cache hit ratio by size and router, without step times."""
    with told_plainly():
        from factory.cli.trace import Asked, study_caches

        asked = Asked(
            capacities=capacity,
            in_tokens=unit is CapacityUnit.tokens,
            per_worker=per_worker,
            workers=workers,
            routers=router,
            residence_s=residence,
            prefill_s=prefill,
            seed=seed,
        )
        study_caches(
            trace_file,
            asked,
            {
                "format": trace_format,
                "block_size": block_size,
                "limit": limit,
                "sessions": sessions,
                "session_interval_s": session_interval,
                "subagents": subagents,
                "skip_bad_rows": skip_bad_rows,
                "seed": seed,
            },
            out=out,
            as_json=as_json,
        )
