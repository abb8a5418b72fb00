"""BurstGPT traces: CSV of calls of ChatGPT and GPT-4 (Wang et al., KDD 2025).

https://github.com/HPMLL/BurstGPT. Files 1 and 2 (release 1.1, 2024) have the columns Timestamp,
Model, Request tokens, Response tokens, Total tokens, Log Type; files 3 (release 2.0) also Session
ID and Elapsed time. Times are in seconds. A `Response tokens` of 0 is a call that failed there; it
is read as an answer of one token (the files `…_without_fails_…` leave such calls out).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.batch import Records
from factory.workload.traces.csv_rows import Block, csv_blocks
from factory.workload.traces.rows import MAX_TOKENS, Rows

_NEEDED = {"Timestamp": True, "Request tokens": True, "Response tokens": True}
_COLUMNS = {
    **_NEEDED,
    "Session ID": False,
    "SessionID": False,
    "Elapsed time": False,
}

_Row = tuple[float, int, int, str, float]


def has_sessions(path: str) -> bool:
    """Whether the file has a column of sessions.

    Raises:
        InputError: A column is missing, or the file cannot be read.
    """
    for _, block in csv_blocks(path, "burstgpt", _COLUMNS):
        return _session_column(block) is not None
    return False


def read(bad: BadRows) -> Iterator[Records]:
    """Yields the calls of a BurstGPT trace in file order; it names no shared blocks.

    With sessions, `delays_s` is the think time: from the end of the answer before (its Timestamp
    plus its Elapsed time) to the call, not below 0; a call without session is one of its own.

    Args:
        bad: The file, and what to do about malformed rows.

    Raises:
        InputError: A column is missing, a row is malformed, or the file cannot be read or holds no
            row.
    """
    reader = _Reader(bad)
    some = False
    for number, block in csv_blocks(bad.path, "burstgpt", _COLUMNS):
        records = reader.records(block, number)
        if len(records):
            some = True
            yield records
    if not some:
        raise bad.nothing_left()


def rows(batches: Iterator[Records]) -> Iterator[Rows]:
    """Returns calls as requests of their own."""
    for records in batches:
        n = len(records)
        yield Rows(records.times_s, records.inputs.tolist(), records.outputs.tolist(), [()] * n)


class _Reader:
    def __init__(self, bad: BadRows) -> None:
        self._bad = bad
        self._latest = -math.inf
        self._numbers: dict[str, int] = {}
        self._turns: list[int] = []  # rows of each session so far
        self._ends: list[float] = []  # when its last answer ended, s; NaN where not stated

    def records(self, block: Block, number: int) -> Records:
        rows = self._fast(block)
        if rows is None:
            rows = list(self._slow(block, number))
        if rows:
            self._latest = rows[-1][0]
        times, inputs, outputs, names, elapsed = map(
            list, zip(*rows, strict=True) if rows else ([],) * 5
        )
        records = Records(
            np.array(times, dtype=np.float64),
            np.array(inputs, dtype=np.int64),
            np.array(outputs, dtype=np.int64),
        )
        if _session_column(block) is not None:
            places = list(map(self._place, names, times, elapsed))
            sessions, turns, delays = map(list, zip(*places, strict=True) if places else ([],) * 3)
            records.sessions, records.turns, records.tasks = sessions, turns, list(turns)
            records.parents = [turn - 1 for turn in turns]
            records.agents = [0] * len(turns)
            records.delays_s = np.array(delays, dtype=np.float64)
        return records

    def _place(self, name: str, time_s: float, elapsed_s: float) -> tuple[int, int, float]:
        """Session, turn and think time of a call."""
        if not name:
            return -1, 0, math.nan
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._turns)
            self._turns.append(0)
            self._ends.append(math.nan)
        turn, end_s = self._turns[number], self._ends[number]
        self._turns[number] = turn + 1
        self._ends[number] = time_s + elapsed_s
        return number, turn, math.nan if math.isnan(end_s) else max(0.0, time_s - end_s)

    def _fast(self, block: Block) -> list[_Row] | None:
        """All rows of a block at once, or None if any of them needs a closer look."""
        columns = block.columns() if block.lines else None
        if columns is None:
            return None
        try:
            times = list(map(float, columns[block.at["Timestamp"]]))
            inputs = list(map(int, columns[block.at["Request tokens"]]))
            outputs = list(map(int, columns[block.at["Response tokens"]]))
            elapsed = (
                [float(text) if text.strip() else math.nan for text in columns[at]]
                if (at := block.at.get("Elapsed time")) is not None
                else [math.nan] * len(times)
            )
        except ValueError:
            return None
        stamps = np.array([self._latest, *times])
        is_sound = (
            bool((stamps[1:] >= stamps[:-1]).all())
            and stamps[-1] < math.inf
            and times[0] >= 0
            and min(inputs) >= 1
            and max(inputs) <= MAX_TOKENS
            and min(outputs) >= 0
            and max(outputs) <= MAX_TOKENS
            and not any(e < 0 or e == math.inf for e in elapsed)
        )
        if not is_sound:
            return None
        at = _session_column(block)
        names = [""] * len(times) if at is None else [text.strip() for text in columns[at]]
        answers = [answer or 1 for answer in outputs]
        return list(zip(times, inputs, answers, names, elapsed, strict=True))

    def _slow(self, block: Block, number: int) -> Iterator[_Row]:
        """Line by line, to name the malformed ones."""
        latest = self._latest
        for line, text in enumerate(block.lines, number):
            row = _row(block, text, latest)
            if isinstance(row, str):
                self._bad.report(line, row)
            elif row:
                latest = row[0]
                yield row


def _session_column(block: Block) -> int | None:
    return block.at.get("Session ID", block.at.get("SessionID"))


def _row(block: Block, text: str, latest: float) -> _Row | str | None:
    """What a line says; or what is wrong with it; or None for a blank line."""
    cells = block.cells(text)
    if cells is None or isinstance(cells, str):
        return cells
    stamp = cells[block.at["Timestamp"]]
    time_s = _number(stamp)
    if not 0 <= time_s < math.inf:
        return f"Timestamp: must be seconds >= 0, got {stamp!r}"
    if time_s < latest:
        return f"Timestamp: must not fall, got {stamp} after {latest:g}; sort the file by it"
    lengths = []
    for name, least in (("Request tokens", 1), ("Response tokens", 0)):
        cell = cells[block.at[name]].strip()
        if not cell.removeprefix("-").isdecimal() or not least <= int(cell) <= MAX_TOKENS:
            return f"{name}: must be a whole number of tokens >= {least}, got {cell!r}"
        lengths.append(int(cell))
    session, elapsed = _session_column(block), block.at.get("Elapsed time")
    took = cells[elapsed].strip() if elapsed is not None else ""
    elapsed_s = _number(took) if took else math.nan
    if took and not 0 <= elapsed_s < math.inf:
        return f"Elapsed time: must be seconds >= 0, got {took!r}"
    name = "" if session is None else cells[session].strip()
    return time_s, lengths[0], lengths[1] or 1, name, elapsed_s


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
