"""Azure LLM inference traces: CSV of TIMESTAMP, ContextTokens, GeneratedTokens (2023 and 2024).

https://github.com/Azure/AzurePublicDataset, AzureLLMInferenceDataset2023 (Splitwise, Patel et al.,
2024) and -2024 (DynamoLLM, Stojkovic et al., 2025), for code and conversations alike. `TIMESTAMP`
has 7 decimals in 2023 (`2023-11-16 18:15:46.6805900`) and 6 or none and a zone in 2024
(`2024-05-10 00:00:00.009930+00:00`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.csv_rows import Block, csv_blocks
from factory.workload.traces.rows import MAX_TOKENS, Rows

_COLUMNS = {"TIMESTAMP": True, "ContextTokens": True, "GeneratedTokens": True}
_UTC = "+00:00"


def read(bad: BadRows) -> Iterator[Rows]:
    """Yields the requests of an Azure trace in file order; it names no shared blocks.

    A `GeneratedTokens` of 0 is read as 1: a call emits at least its stop token.

    Args:
        bad: The file, and what to do about malformed rows.

    Raises:
        InputError: A column is missing, a row is malformed, or the file cannot be read or holds no
            row.
    """
    latest = -np.inf
    some = False
    for number, block in csv_blocks(bad.path, "azure", _COLUMNS):
        rows = _fast(block, latest) or _slow(block, number, latest, bad)
        if rows.inputs:
            some = True
            latest = float(rows.times_s[-1])
            yield rows
    if not some:
        raise bad.nothing_left()


def _fast(block: Block, latest: float) -> Rows | None:
    """All rows of a block at once, or None if any of them needs a closer look."""
    columns = block.columns() if block.lines else None
    if columns is None:
        return None
    stamps, prompts, answers = (columns[block.at[name]] for name in _COLUMNS)
    try:
        # NumPy warns of zones, so the only one there is taken off.
        plain = [text.removesuffix(_UTC) for text in stamps]
        times_s = np.array(plain, dtype="datetime64[us]").astype(np.int64) / 1e6
        inputs = list(map(int, prompts))
        outputs = list(map(int, answers))
    except (ValueError, OverflowError):
        return None
    is_sound = (
        times_s[0] >= latest
        and bool((times_s[1:] >= times_s[:-1]).all())
        and min(inputs) >= 1
        and max(inputs) <= MAX_TOKENS
        and min(outputs) >= 0
        and max(outputs) <= MAX_TOKENS
        and all(map(_is_time, plain))
    )
    if not is_sound:
        return None
    if not min(outputs):
        outputs = [answer or 1 for answer in outputs]
    return Rows(times_s, inputs, outputs, [()] * len(inputs))


def _is_time(text: str) -> bool:
    """Whether it is a day and a time (NumPy takes a bare year, `NaT` and `now` too)."""
    return text[10:11] in (" ", "T") and text[-1:].isdigit()


def _slow(block: Block, number: int, latest: float, bad: BadRows) -> Rows:
    """Line by line, to name the malformed ones."""
    times, inputs, outputs = [], [], []
    for line, text in enumerate(block.lines, number):
        row = _row(block, text, latest)
        if isinstance(row, str):
            bad.report(line, row)
        elif row:
            latest = row[0]
            times.append(row[0])
            inputs.append(row[1])
            outputs.append(row[2])
    return Rows(np.array(times), inputs, outputs, [()] * len(inputs))


def _row(block: Block, text: str, latest: float) -> tuple[float, int, int] | str | None:
    """Time in s, prompt and answer tokens; or what is wrong; or None for a blank line."""
    cells = block.cells(text)
    if cells is None or isinstance(cells, str):
        return cells
    stamp, *lengths = (cells[block.at[name]] for name in _COLUMNS)
    try:
        time_s = _seconds(stamp)
    except ValueError:
        return f"TIMESTAMP: must be a date and time, got {stamp!r}"
    if time_s < latest:
        return f"TIMESTAMP: must not fall, got {stamp} after a later one; sort the file by it"
    try:
        prompt, answer = map(int, lengths)
    except ValueError:
        return f"ContextTokens and GeneratedTokens must be whole numbers, got {lengths}"
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
