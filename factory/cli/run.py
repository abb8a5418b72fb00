"""``factory run``: simulate a scenario, show and keep what it found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def run_scenario(
    source: str,
    *,
    out: Path | None,
    overrides: Sequence[str],
    overlays: Sequence[Path],
    seed: int | None,
    as_json: bool,
) -> None:
    """Simulate a scenario, write its page, print its screen or its JSON object.

    Args:
        source: Path of a scenario, or the name of a shipped one.
        out: The run's directory; None for one under ``runs``.
        overrides: ``path=value`` settings.
        overlays: Files of catalogue changes, over the scenario's own.
        seed: Root of the random streams; None for the scenario's.
        as_json: Print one JSON object and nothing else.

    Raises:
        FactoryError: The scenario cannot be used, or the run failed.
    """
    from factory.cli.output import print_json, screen
    from factory.cli.progress import shown_progress
    from factory.report.page import write_page
    from factory.report.view import load_view
    from factory.scenario import load
    from factory.simulation import simulate

    scenario = load(source, overrides, seed, overlays)
    with shown_progress(scenario.name, quiet=as_json) as progress:
        result = simulate(scenario, out=out, progress=progress)
    view = load_view(result.run_dir, result.summary)
    write_page(view, result.run_dir / "report.html")
    if as_json:
        print_json({**result.summary, "run_dir": str(result.run_dir)})
        return
    from factory.report.screen import render
    from factory.report.sentence import cautions

    render(view, screen())
    for warning in result.summary.get("warnings", ()):
        print(f"warning: {warning}")
    said = {caution.lower() for caution in cautions(view)}
    for note in result.summary.get("notes", ()):
        if f"{note}.".lower() not in said:
            print(f"note: {note}")
