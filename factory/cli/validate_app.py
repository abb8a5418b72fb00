"""The commands under ``factory validate`` and ``factory calibrate``, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.failures import told_plainly

validate_app = typer.Typer(
    help="Predictions beside measurements, with the error of each group.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
calibrate_app = typer.Typer(
    help="Fit efficiency parameters to your own measurements.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE.csv", help="The measurements.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="F.csv", help="Write every row, predicted beside measured."),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="COLUMN=VALUE", help="Only such rows. Repeatable."),
]
EveryOption = Annotated[
    int, typer.Option("--every", min=1, metavar="N", help="Only each Nth row of those.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many of those.")
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, metavar="N", help="Processes to work in.")
]
OverlayOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--overlay",
        metavar="FILE",
        help="Catalogue changes, as `factory calibrate` writes. Repeatable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")]


@validate_app.command()
def steps(
    file: FileArgument,
    out: OutOption = None,
    where: WhereOption = None,
    every: EveryOption = 1,
    limit: LimitOption = None,
    workers: WorkersOption = 1,
    overlays: OverlayOption = None,
    as_json: JsonOption = False,
    as_markdown: MarkdownOption = False,
) -> None:
    """Step times and memory: the step model beside measured steps."""
    with told_plainly():
        from factory.cli.validate import Chosen, validate_steps

        asked = Chosen(
            where or (), every, limit, out, workers, as_json, as_markdown, overlays or ()
        )
        validate_steps(file, asked)


@validate_app.command()
def serving(
    file: FileArgument,
    out: OutOption = None,
    where: WhereOption = None,
    every: EveryOption = 1,
    limit: LimitOption = None,
    workers: WorkersOption = 1,
    overlays: OverlayOption = None,
    draft_tokens: Annotated[
        int | None,
        typer.Option(
            "--draft-tokens",
            min=1,
            metavar="K",
            help="Tokens drafted per step in rows with MTP.  [default: as launch scripts say]",
        ),
    ] = None,
    acceptance: Annotated[
        str | None,
        typer.Option(
            "--acceptance",
            metavar="P1,P2,…",
            help="Acceptance by draft position in rows with MTP.  [default: the model's]",
        ),
    ] = None,
    as_json: JsonOption = False,
    as_markdown: MarkdownOption = False,
) -> None:
    """Serving: each row's benchmark, simulated whole, beside what was measured."""
    with told_plainly():
        from factory.cli.validate import Chosen, validate_serving

        asked = Chosen(
            where or (), every, limit, out, workers, as_json, as_markdown, overlays or ()
        )
        validate_serving(file, asked, draft_tokens=draft_tokens, acceptance=acceptance)


@validate_app.command()
def power(
    file: FileArgument,
    out: OutOption = None,
    where: WhereOption = None,
    every: EveryOption = 1,
    limit: LimitOption = None,
    workers: WorkersOption = 1,
    overlays: OverlayOption = None,
    as_json: JsonOption = False,
    as_markdown: MarkdownOption = False,
) -> None:
    """GPU power: watts and energy per token, from the configuration alone, beside measured."""
    with told_plainly():
        from factory.cli.validate import Chosen, validate_power

        asked = Chosen(
            where or (), every, limit, out, workers, as_json, as_markdown, overlays or ()
        )
        validate_power(file, asked)


@validate_app.command()
def run(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's directory.")],
    aiperf: Annotated[
        Path,
        typer.Option(
            "--aiperf",
            metavar="FILE",
            help="AIPerf's profile_export_aiperf.json or .csv, or the JSON of vllm bench serve.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """A run: its latencies and throughput beside a benchmark of your own cluster."""
    with told_plainly():
        from factory.cli.validate import validate_run

        validate_run(run_dir, aiperf, as_json=as_json)


@calibrate_app.callback()
def calibrate() -> None:
    """Fit efficiency parameters to your own measurements."""


@calibrate_app.command("steps")
def calibrate_steps(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…",
            help="A CSV of measured steps, or JSON of AIPerf or vllm bench serve (TPOT).",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="OVERLAY.yaml", help="The catalogue overlay to write.")
    ],
    fit: Annotated[
        list[str] | None,
        typer.Option("--fit", metavar="FIELD", help="Field to fit. Repeatable.  [default: usual]"),
    ] = None,
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="PROFILE", help="Engine profile that was measured."),
    ] = "kernels",
    system: Annotated[
        str, typer.Option("--system", metavar="NAME", help="JSON: system that was measured.")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="JSON: model, if the file names none.")
    ] = "",
    layout: Annotated[
        str, typer.Option("--layout", metavar="tpNdpN", help="JSON: layout of the server.")
    ] = "tp1dp1",
    quant: Annotated[
        str, typer.Option("--quant", metavar="FORMAT", help="JSON: format of the weights.")
    ] = "fp8",
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=0, metavar="N", help="JSON: requests in flight.")
    ] = 0,
    isl: Annotated[
        int, typer.Option("--isl", min=0, metavar="N", help="JSON: mean prompt, tokens.")
    ] = 0,
    osl: Annotated[
        int, typer.Option("--osl", min=0, metavar="N", help="JSON: mean answer, tokens.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Step times: writes a catalogue overlay, with the error before and after."""
    with told_plainly():
        from factory.cli.calibrate import calibrate_steps as body
        from factory.validation.measured_steps import Server

        server = Server(system, model, layout, quant, concurrency, isl, osl)
        body(files, out=out, fit=fit or (), engine=engine, server=server, as_json=as_json)
