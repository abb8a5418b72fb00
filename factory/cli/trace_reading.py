"""How ``factory trace inspect`` and ``fit`` read a trace."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factory.workload.traces.records import Records


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a trace.

    Attributes:
        format: None to go by the file.
        limit: Rows to read at most.
        sessions: Sessions to read at most, where they stand one after the other.
        skip_bad_rows: Malformed rows to leave out.
        from_s: Rows before are left out, seconds from the first one.
        to_s: Rows from then on are left out.
    """

    format: str | None = None
    limit: int | None = None
    sessions: int | None = None
    skip_bad_rows: int = 0
    from_s: float = 0.0
    to_s: float | None = None


def part_of(reading: Reading, part: Any) -> Any:
    """The part of the trace that is asked for.

    Raises:
        InputError: It is empty.
    """
    from factory.errors import InputError

    to_s = math.inf if reading.to_s is None else reading.to_s
    if to_s <= reading.from_s:
        raise InputError(f"--to: must be later than --from, got {to_s:g} and {reading.from_s:g} s")
    return part(reading.from_s, to_s)


def records_of(file: Path, kind: str, reading: Reading) -> Iterator[Records]:
    """The rows of a trace, read lazily."""
    from factory.workload.traces.records import read

    return read(
        str(file),
        kind,
        skip_bad_rows=reading.skip_bad_rows,
        limit=reading.limit,
        sessions=reading.sessions,
    )


def format_of(file: Path, given: str | None) -> str:
    """The format asked for, or that of the file.

    Raises:
        InputError: It is none, or cannot be told.
    """
    from factory.errors import InputError
    from factory.scenario.nearest import nearest
    from factory.workload.traces.detect import SIGNS, detect

    if given is None:
        return detect(str(file))
    if given not in SIGNS:
        close = nearest(given, SIGNS)
        meant = f"; did you mean {close}?" if close else ""
        raise InputError(
            f'--format: is not a format, got "{given}" (allowed: {", ".join(SIGNS)}{meant})'
        )
    return given


def counted(batches: Iterator[Records], *, quiet: bool) -> Iterator[Records]:
    """Batches, with a count of rows on a terminal's standard error."""
    if quiet or not sys.stderr.isatty():
        yield from batches
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed:,} rows read"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=None)
        for batch in batches:
            progress.advance(task, len(batch))
            yield batch
