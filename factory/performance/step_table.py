"""A measured table of step times: reading it, and the law that it must hold to.

A CSV file with a header and these columns, in any order; lines that begin with ``#`` are comments:

``phase``
    ``prefill`` or ``decode``.
``batch``
    Sequences of one attention rank in the step: prompts, or sequences that decode.
``context``
    Tokens each: for decode the KV tokens that each sequence reads, its new one included; for
    prefill the new tokens of each prompt.
``milliseconds``
    How long the step takes, all ranks of the replica running the same.
``cached`` (may be absent)
    For prefill, tokens of each prompt that lie in the KV cache already; 0 if empty.

A row that is there more than once counts with the median of its times.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import median

from factory.errors import Problem, ScenarioError

PHASES = ("prefill", "decode")
COLUMNS = ("phase", "batch", "context", "milliseconds")
_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One measured step.

    Attributes:
        phase: ``prefill`` or ``decode``.
        batch: Sequences of one rank.
        context: KV tokens of each (decode), or new tokens of each (prefill).
        cached: Tokens of each prompt that were in the KV cache.
        milliseconds: How long the step took.
        line: Where it stands in its file, from 1; 0 if it comes from none.
    """

    phase: str
    batch: int
    context: int
    cached: int
    milliseconds: float
    line: int = 0


@dataclass(frozen=True, slots=True)
class StepTable:
    """Measured steps, each combination once.

    Attributes:
        source: File or database that they come from, for messages.
        decode: Decode steps, by batch and context.
        prefill: Prefill steps, by tokens of the step.
    """

    source: str
    decode: tuple[Row, ...]
    prefill: tuple[Row, ...]


def table_of(source: str, rows: Iterable[Row]) -> StepTable:
    """A table of rows in any order, repeats merged."""
    times: dict[tuple[str, int, int, int], list[Row]] = {}
    for row in rows:
        times.setdefault((row.phase, row.batch, row.context, row.cached), []).append(row)
    merged = [
        Row(*key, median(row.milliseconds for row in same), same[0].line)
        for key, same in sorted(times.items())
    ]
    decode = tuple(row for row in merged if row.phase == "decode")
    return StepTable(source, decode, tuple(row for row in merged if row.phase == "prefill"))


def read_table(path: Path, name: str | None = None) -> StepTable:
    """Reads a CSV file of step times.

    Args:
        path: The file.
        name: What messages call it; by default the path.

    Raises:
        ScenarioError: It cannot be read, or has lines that cannot be used: up to twenty problems,
            each with file and line.
    """
    name = name or str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ScenarioError([Problem("", f"cannot be read: {reason}", location=name)]) from None
    problems: list[Problem] = []
    rows = list(_rows(text.splitlines(), name, problems))
    if not rows and not problems:
        problems.append(Problem("", "holds no step times", location=name))
    if problems:
        raise ScenarioError(problems[:_MOST_PROBLEMS])
    return table_of(name, rows)


def _rows(lines: Sequence[str], name: str, problems: list[Problem]) -> Iterator[Row]:
    numbered = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    reader = csv.reader(line for _, line in numbered)
    header: list[str] = []
    for (number, _), cells in zip(numbered, reader, strict=True):
        if not header:
            header = [cell.strip().lower() for cell in cells]
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                message = f"lacks the column {', '.join(missing)}"
                allowed = ", ".join((*COLUMNS, "cached"))
                problems.append(
                    Problem("", message, ", ".join(header), allowed, None, f"{name}:{number}")
                )
                return
            continue
        row = _row(dict(zip(header, cells, strict=False)), f"{name}:{number}", number, problems)
        if row is not None:
            yield row


def _row(cells: Mapping[str, str], place: str, line: int, problems: list[Problem]) -> Row | None:
    phase = cells["phase"].strip().lower()
    if phase not in PHASES:
        problems.append(Problem("phase", "is unknown", phase, ", ".join(PHASES), None, place))
        return None
    counts = [
        _number(cells, column, place, problems, whole=True, least=least)
        for column, least in (("batch", 1), ("context", 1), ("cached", 0))
    ]
    time = _number(cells, "milliseconds", place, problems, whole=False, least=0)
    if time is None or None in counts:
        return None
    batch, context, cached = (int(count or 0) for count in counts)
    if phase == "decode" and cached:
        message = "is for prefill only; decode counts all KV tokens in context"
        problems.append(Problem("cached", message, cached, None, None, place))
        return None
    return Row(phase, batch, context, cached, time, line)


def _number(
    cells: Mapping[str, str],
    column: str,
    place: str,
    problems: list[Problem],
    *,
    whole: bool,
    least: int,
) -> float | None:
    text = (cells.get(column) or "").strip()
    if column == "cached" and not text:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < least or (whole and not value.is_integer()):
        kind = f"a whole number >= {least}" if whole else "a number > 0"
    elif not whole and value <= 0.0:
        kind = "a number > 0"
    else:
        return value
    problems.append(Problem(column, f"must be {kind}", text, None, None, place))
    return None
