"""Azure LLM inference traces: CSV of TIMESTAMP, ContextTokens, GeneratedTokens (2023 and 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from factory.errors import InputError
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.lines import line_blocks
from factory.workload.traces.rows import MAX_TOKENS, Rows

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read(bad: BadRows) -> Iterator[Rows]:
    """Yields the requests of an Azure trace in file order; it names no shared blocks.

    A `GeneratedTokens` of 0 is read as 1: a call emits at least its stop token.

    Args:
        bad: The file, and what to do about malformed rows.

    Raises:
        InputError: The columns are others, a row is malformed, or the file cannot be read or
            holds no row.
    """
    latest = -np.inf
    some = False
    for number, lines in line_blocks(bad.path):
        if number == 1:
            _check_header(bad.path, lines.pop(0))
            number += 1  # noqa: PLW2901 (the header is a line too)
        times, inputs, outputs = [], [], []
        for line, text in enumerate(lines, number):
            row = _row(text, latest)
            if isinstance(row, str):
                bad.report(line, row)
            elif row:
                latest = row[0]
                times.append(row[0])
                inputs.append(row[1])
                outputs.append(row[2])
        if inputs:
            some = True
            yield Rows(np.array(times), inputs, outputs, [()] * len(inputs))
    if not some:
        raise bad.nothing_left()


def _check_header(path: str, line: str) -> None:
    names = tuple(name.strip() for name in line.split(","))
    if names != COLUMNS:
        raise InputError(
            f"{path}:1: the columns must be {', '.join(COLUMNS)}, got {', '.join(names)}"
        )


def _row(text: str, latest: float) -> tuple[float, int, int] | str | None:
    """Time in s, prompt and answer tokens; or what is wrong; or None for a blank line."""
    cells = text.split(",")
    if len(cells) != len(COLUMNS):
        return f"must have {len(COLUMNS)} cells, got {len(cells)}" if text.strip() else None
    try:
        time_s = _seconds(cells[0])
    except ValueError:
        return f"TIMESTAMP: must be a date and time, got {cells[0]!r}"
    if time_s < latest:
        return f"TIMESTAMP: must not fall, got {cells[0]} after a later one"
    try:
        prompt, answer = int(cells[1]), int(cells[2])
    except ValueError:
        return f"ContextTokens and GeneratedTokens must be whole numbers, got {cells[1:]}"
    if not 1 <= prompt <= MAX_TOKENS:
        return f"ContextTokens: must be a whole number of tokens >= 1, got {prompt}"
    if not 0 <= answer <= MAX_TOKENS:
        return f"GeneratedTokens: must be a whole number of tokens >= 0, got {answer}"
    return time_s, prompt, answer or 1


def _seconds(text: str) -> float:
    """Seconds since 1970 of an ISO time, with any number of decimals; UTC unless it says else."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return instant.timestamp()
