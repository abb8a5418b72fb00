"""Progress of a run: a bar on a terminal, a line every few seconds elsewhere, both on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.simulation import Progress

EVERY_WALL_S = 10.0


@contextmanager
def shown_progress(title: str, *, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A callback for the simulation that shows how far it is.

    Args:
        title: What is simulated.
        quiet: Show nothing.

    Yields:
        The callback, or None when nothing is shown.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(title) as callback:
            yield callback
    else:
        yield _plain_lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[words]}", style="dim", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(title, total=1.0, words="")

    def callback(progress: Progress) -> None:
        share = done_share(progress)
        words = f"{progress.requests_done:,} requests"
        if progress.wall_s > 0:
            words += f", {progress.events / progress.wall_s:,.0f} events/s"
        bar.update(task, total=None if share is None else 1.0, completed=share or 0.0, words=words)

    with bar:
        yield callback


def _plain_lines(title: str) -> Callable[[Progress], None]:
    last = 0.0

    def callback(progress: Progress) -> None:
        nonlocal last
        if progress.wall_s - last < EVERY_WALL_S:
            return
        last = progress.wall_s
        share = done_share(progress)
        done = "" if share is None else f" ({share:.0%})"
        print(
            f"{title}: {progress.simulated_s:,.0f} s simulated{done}, "
            f"{progress.requests_done:,} requests done, {progress.wall_s:.0f} s",
            file=sys.stderr,
            flush=True,
        )

    return callback


def done_share(progress: Progress) -> float | None:
    """How much of the simulated time has passed, 0 to 1; None when its end is not known."""
    until_s = progress.until_s
    if not until_s or until_s == float("inf"):
        return None
    return max(0.0, min(1.0, progress.simulated_s / until_s))
