"""``factory report``: a finished run's page and screen again."""

from __future__ import annotations

from pathlib import Path


def report_run(run_dir: Path, *, out: Path | None) -> None:
    """Write the page of a finished run and print its screen.

    Args:
        run_dir: A finished run's directory.
        out: The page; None for ``report.html`` in the run's directory.

    Raises:
        FactoryError: There is no such run, or the page cannot be written.
    """
    from factory.cli.finished import finished_run
    from factory.cli.output import screen
    from factory.economics import summarize
    from factory.records.run_directory import changed_tables, read_manifest
    from factory.report.page import write_page
    from factory.report.screen import render
    from factory.report.view import load_view

    told = read_manifest(finished_run(run_dir)).get("summary")
    skipped = told.get("skipped_rows") if isinstance(told, dict) else None
    summary = {**summarize(run_dir), "skipped_rows": skipped}
    view = load_view(run_dir, summary, changed_tables(run_dir))
    path = out or run_dir / "report.html"
    write_page(view, path)
    render(view, screen(), page=path)
