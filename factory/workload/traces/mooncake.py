"""Mooncake traces: JSON lines with timestamp, lengths and prefix-chained block hashes (FAST'25).

Rows with `session_id` and `delay` are read by `mooncake_sessions`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.chain_table import ChainTable
from factory.workload.traces.detect import looks_like
from factory.workload.traces.lines import json_object, line_blocks
from factory.workload.traces.rows import MAX_TOKENS, Rows, interleaved

#: Tokens of a hash block.
BLOCK_SIZE = 512
#: Block ids are below this, so that they can be split into smaller blocks.
MAX_BLOCK = 1 << 40
_NEEDED = ("timestamp", "input_length", "output_length")
#: Why a prompt whose ids contradict those of others is refused.
UNCHAINED = "hash_ids: {}; ids must hash the whole prefix"


def read(bad: BadRows) -> Iterator[Rows]:
    """Yields the requests of a Mooncake trace in file order.

    `timestamp` is in milliseconds; `hash_ids` names the prompt's blocks of 512 tokens, the last of
    which may be partial, and may be missing. An `output_length` of 0 is read as 1: a call emits at
    least its stop token.

    Args:
        bad: The file, and what to do about malformed rows.

    Raises:
        InputError: A row is malformed, or the file cannot be read or holds no row.
    """
    chains = ChainTable()
    latest = 0.0
    some = False
    for number, lines in line_blocks(bad.path):
        rows = _fast(lines, latest)
        if rows is None or not chains.admit_all(rows.blocks):
            rows = _slow(lines, number, latest, chains, bad)
        if rows.inputs:
            some = True
            latest = float(rows.times_s[-1])
            yield rows
    if not some:
        raise bad.nothing_left()


def _fast(lines: list[str], latest: float) -> Rows | None:
    """All lines of a block at once, or None if any of them needs a closer look."""
    try:
        found = json.loads("[" + ",".join(lines) + "]")
        times, inputs, outputs, ids = zip(
            *[
                (r["timestamp"], r["input_length"], r["output_length"], r.get("hash_ids", ()))
                for r in found
            ],
            strict=True,
        )
        flat = np.array(list(chain.from_iterable(ids)) or [0])
        table = np.array((inputs, outputs, list(map(len, ids))))
        stamps = np.array(times)
        types = set(map(type, chain(times, inputs, outputs)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if len(found) != len(lines) or bool in types or any("session_id" in r for r in found):
        return None
    if table.dtype.kind != "i" or flat.dtype.kind != "i":
        return None
    prompt, answer, named = table
    return _rows(stamps, prompt, answer, named, flat, latest)


def _rows(
    stamps: NDArray[Any],
    prompt: NDArray[np.int64],
    answer: NDArray[np.int64],
    named: NDArray[np.int64],
    flat: NDArray[np.int64],
    latest: float,
) -> Rows | None:
    """Checked rows from columns, or None if a value is out of its range."""
    if stamps.dtype.kind not in "if":
        return None
    times_s = stamps / 1000.0
    good = (
        bool(np.isfinite(times_s).all())
        and times_s[0] >= latest
        and bool((np.diff(times_s) >= 0).all())
        and prompt.min() >= 1
        and prompt.max() <= MAX_TOKENS
        and answer.min() >= 0
        and answer.max() <= MAX_TOKENS
        and bool((named <= -(-prompt // BLOCK_SIZE)).all())
        and flat.min() >= 0
        and flat.max() < MAX_BLOCK
    )
    if not good:
        return None
    ends = np.cumsum(named)
    total = int(ends[-1])
    # A run starts where a row does and where an id does not continue the one before it.
    is_start = np.ones(total + 1, dtype=np.bool_)
    is_start[1:total] = np.diff(flat[:total]) != 1
    is_start[ends] = True
    starts = np.flatnonzero(is_start)
    run_ends: list[int] = np.searchsorted(starts, ends, side="left").tolist()
    blocks = interleaved(flat[starts[:-1]], np.diff(starts), run_ends)
    return Rows(times_s, prompt.tolist(), np.maximum(answer, 1).tolist(), blocks)


def _slow(lines: list[str], number: int, latest: float, chains: ChainTable, bad: BadRows) -> Rows:
    """Line by line, to name the malformed ones."""
    kept = Rows(np.empty(0), [], [], [])
    for line, text in enumerate(lines, number):
        if not text.strip():
            continue
        problem = problem_of(text, latest)
        rows = None if problem else _fast([text], latest)
        if rows is not None:
            problem = chains.admit(rows.blocks[0])
            if problem:
                problem = UNCHAINED.format(problem)
        elif not problem:
            problem = "is not a row of a Mooncake trace"
        if rows is None or problem:
            hint = looks_like(text, "mooncake") if line == 1 else ""
            bad.report(line, f"{problem}{hint}")
            continue
        latest = float(rows.times_s[0])
        kept = rows.after(kept)
    return kept


def problem_of(text: str, latest: float) -> str | None:
    """Returns what is wrong with a line, or None; its blocks are not held against others.

    Args:
        text: The line.
        latest: Time of the row before, seconds.
    """
    row = json_object(text)
    if isinstance(row, str):
        return row
    if "session_id" in row:
        return "session_id: the first rows have none; a trace with sessions names them from line 1"
    missing = [name for name in _NEEDED if name not in row]
    if missing:
        return _missing(missing[0], row)
    return time_problem(row, latest) or length_problem(row)


def time_problem(row: dict[str, Any], latest: float) -> str | None:
    """Returns what is wrong with a row's timestamp, or None."""
    if "timestamp" not in row:
        return _missing("timestamp", row)
    stamp = row["timestamp"]
    if type(stamp) not in (int, float) or not np.isfinite(stamp):
        return f"timestamp: must be a number of milliseconds, got {json.dumps(stamp)}"
    if stamp < 0:
        return f"timestamp: must be >= 0 ms, got {stamp}"
    if stamp / 1000.0 < latest:
        return (
            f"timestamp: must not fall, got {stamp} after {latest * 1000:.0f}; "
            "sort the file by timestamp"
        )
    return None


def length_problem(row: dict[str, Any]) -> str | None:
    """Returns what is wrong with a row's lengths and blocks, or None."""
    missing = [name for name in _NEEDED[1:] if name not in row]
    if missing:
        return _missing(missing[0], row)
    for name, least in (("input_length", 1), ("output_length", 0)):
        value = row[name]
        if type(value) is not int or not least <= value <= MAX_TOKENS:
            return f"{name}: must be a whole number of tokens >= {least}, got {json.dumps(value)}"
    return ids_problem(row.get("hash_ids") or [], row["input_length"], BLOCK_SIZE)


def _missing(name: str, row: dict[str, Any]) -> str:
    return f"{name} is missing, has {', '.join(map(str, row))}"


def ids_problem(ids: object, prompt: int, block_size: int) -> str | None:
    """Returns what is wrong with the ids of a prompt's blocks, or None."""
    if not isinstance(ids, list) or any(type(i) is not int or not 0 <= i < MAX_BLOCK for i in ids):
        return "hash_ids: must be a list of whole numbers, >= 0 and below 2^40"
    most = -(-prompt // block_size)
    if len(ids) > most:
        return (
            f"hash_ids: {len(ids)} blocks of {block_size} tokens for input_length {prompt}, "
            f"at most {most}"
        )
    return None
