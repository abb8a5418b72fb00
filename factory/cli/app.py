"""The commands and their options; each imports its body when it is called."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from factory.cli.failures import told_plainly
from factory.cli.import_vllm import import_app
from factory.cli.trace_app import trace_app
from factory.cli.validate_app import calibrate_app, validate_app

app = typer.Typer(
    name="factory",
    help="Simulate an AI data centre: what a token costs, and how many a megawatt yields.",
    epilog="Start with: factory run quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(validate_app, name="validate")
app.add_typer(calibrate_app, name="calibrate")
app.add_typer(import_app, name="import")
app.add_typer(trace_app, name="trace")

ScenarioArgument = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of a shipped one."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's directory.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Override a value: run.duration_s=600. Repeatable."
    ),
]
OverlayOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--overlay",
        metavar="FILE",
        help="Catalogue changes, as `factory calibrate` writes, over the scenario's. Repeatable.",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", min=0, metavar="N", help="Root of every random stream."),
]


#: Rows that a query prints unless it is told otherwise.
ROWS_SHOWN = 200


class CatalogKind(StrEnum):
    """What the catalogue lists."""

    gpus = "gpus"
    systems = "systems"
    models = "models"
    prices = "prices"
    engines = "engines"
    kernels = "kernels"
    products = "products"
    scenarios = "scenarios"
    workloads = "workloads"
    series = "series"


def show_version(asked: bool) -> None:
    """Print the version and leave."""
    if asked:
        from factory import __version__

        typer.echo(f"factory {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def run(
    scenario: ScenarioArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Run directory.  [default: runs/NAME-HASH]"),
    ] = None,
    overrides: SetOption = None,
    overlays: OverlayOption = None,
    seed: SeedOption = None,
    skip_bad_rows: Annotated[
        int | None,
        typer.Option("--skip-bad-rows", min=0, metavar="N", help="Malformed trace rows to allow."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Simulate a scenario, and say what its tokens cost."""
    with told_plainly():
        from factory.cli.run import run_scenario

        sets = list(overrides or ())
        if skip_bad_rows is not None:
            sets.append(f"workload.trace.skip_bad_rows={skip_bad_rows}")
        run_scenario(
            scenario,
            out=out,
            overrides=sets,
            overlays=overlays or (),
            seed=seed,
            as_json=as_json,
        )


@app.command()
def check(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="[SCENARIO]", help="A scenario file, or the name of a shipped one."),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Hold the conservation laws on a finished run."),
    ] = None,
    overrides: SetOption = None,
    overlays: OverlayOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Say whether a scenario, or with --run a finished run, is sound."""
    with told_plainly():
        from factory.cli.check import check_laws, check_scenario
        from factory.errors import InputError

        if (scenario is None) == (run_dir is None):
            raise InputError("factory check: give either a SCENARIO or --run RUN")
        if run_dir is not None and (overrides or overlays):
            given = f"--set {overrides[0]}" if overrides else f"--overlay {(overlays or [])[0]}"
            raise InputError(
                f"factory check: {given}: goes with a SCENARIO; a finished run "
                "(--run) stays as it is"
            )
        if run_dir is not None:
            check_laws(run_dir, as_json=as_json)
        elif scenario is not None:
            check_scenario(
                scenario, overrides=overrides or (), overlays=overlays or (), as_json=as_json
            )


@app.command()
def query(
    run_dir: RunArgument,
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help='For example: "select * from v_run_summary".')
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, metavar="N", help="Rows to print.  [default: 200; all with --json]"
        ),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Print every row.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Ask SQL of a run's tables and views (DuckDB); reads only."""
    with told_plainly():
        from factory.cli.query import query_run
        from factory.errors import InputError

        if show_all and limit is not None:
            raise InputError("factory query: give either --limit N or --all")
        most = None if show_all or (as_json and limit is None) else limit or ROWS_SHOWN
        query_run(run_dir, sql, limit=most, as_json=as_json)


@app.command()
def report(
    run_dir: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page.  [default: RUN/report.html]"),
    ] = None,
) -> None:
    """Write a run's page again, and print its screen."""
    with told_plainly():
        from factory.cli.report import report_run

        report_run(run_dir, out=out)


@app.command()
def catalog(
    kind: Annotated[CatalogKind | None, typer.Argument(help="What to list.")] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One entry, each number with its source.")
    ] = None,
) -> None:
    """List what ships: scenarios, workloads, hardware, models, prices, engines and kernels."""
    with told_plainly():
        from factory.cli.catalog import show_catalog

        show_catalog(None if kind is None else kind.value, name)
