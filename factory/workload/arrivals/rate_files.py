"""A CSV file of rates over time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from factory.errors import InputError
from factory.workload.arrivals.segments import Floats
from factory.workload.traces.lines import line_blocks

COLUMNS = ("time_s", "rate")
#: Rows from which on a step that is unlike the others is taken for missing rows.
_REGULAR_ROWS = 8


@dataclass(frozen=True, slots=True)
class RateFile:
    """Rates over time.

    Attributes:
        times_s: From 0 on, not falling.
        rates: Sessions per second, >= 0, straight lines between them.
        mean: Mean rate over the file's time, sessions/s.
    """

    times_s: Floats
    rates: Floats
    mean: float


def read(path: str) -> RateFile:
    """Reads a CSV of `time_s, rate`: seconds from the start of the run, sessions per second.

    Two rows at one time are a jump.

    Args:
        path: The file, plain or gzip.

    Raises:
        InputError: The file cannot be read or is damaged, has other columns, or a row is not two
            numbers, runs back in time, is negative or follows a gap; it names file and line.
    """
    times: list[float] = []
    rates: list[float] = []
    lines: list[int] = []
    for number, text in _lines(path):
        if number == 1:
            _check_header(path, text)
        elif text.strip():
            time_s, rate = _row(path, number, text)
            _check_order(path, number, times, time_s)
            times.append(time_s)
            rates.append(rate)
            lines.append(number)
    if len(times) < 2 or times[-1] == 0:
        raise InputError(f"{path}: must have rows for two times or more below its header")
    _check_gaps(path, times, lines)
    made, heights = np.array(times), np.array(rates)
    mean = float(np.sum(np.diff(made) * (heights[1:] + heights[:-1]) / 2) / made[-1])
    if not mean > 0:
        raise InputError(f"{path}: every rate is 0: nobody would ever come")
    return RateFile(made, heights, mean)


def _lines(path: str) -> list[tuple[int, str]]:
    found = []
    try:
        for first, lines in line_blocks(path):
            found += list(enumerate(lines, first))
    except InputError as error:
        if "gzip" not in str(error):
            raise
        raise InputError(f"{error}; copy it again, or make it anew with gzip") from error
    return found


def _check_header(path: str, line: str) -> None:
    names = tuple(name.strip() for name in line.split(","))
    if names != COLUMNS:
        raise InputError(
            f"{path}:1: the columns must be {', '.join(COLUMNS)} (seconds from the start of the "
            f"run, sessions per second), got {', '.join(names) or 'nothing'}"
        )


def _row(path: str, number: int, text: str) -> tuple[float, float]:
    cells = [cell.strip() for cell in text.split(",")]
    if len(cells) != len(COLUMNS):
        raise InputError(f"{path}:{number}: must have two cells, time_s and rate, got {len(cells)}")
    values = []
    for name, cell in zip(COLUMNS, cells, strict=True):
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            what = "is missing; fill it in or leave the row out" if not cell else f"got {cell!r}"
            join = " " if not cell else ": must be a finite number, "
            raise InputError(f"{path}:{number}: {name}{join}{what}")
        values.append(value)
    time_s, rate = values
    if rate < 0:
        raise InputError(f"{path}:{number}: rate: must be >= 0 sessions/s, got {cells[1]}")
    return time_s, rate


def _check_order(path: str, number: int, times: list[float], time_s: float) -> None:
    place = f"{path}:{number}: time_s"
    if not times and time_s != 0:
        raise InputError(
            f"{place}: the first row must be at 0, where the run starts, got {time_s:.15g}; "
            "subtract it from every time"
        )
    if times and time_s < times[-1]:
        raise InputError(
            f"{place}: runs back in time, got {time_s:.15g} after {times[-1]:.15g}; sort the rows"
        )
    if len(times) > 1 and time_s == times[-2]:
        raise InputError(f"{place}: is the third row at {time_s:.15g}; a jump has two")


def _check_gaps(path: str, times: list[float], lines: list[int]) -> None:
    """Rows that come at one step must all come."""
    steps = np.diff(times)
    if len(steps) < _REGULAR_ROWS:
        return
    usual = float(np.median(steps))
    regular = np.abs(steps - usual) <= 0.01 * usual
    wide = np.flatnonzero(steps > 1.5 * usual)
    if regular.mean() >= 0.9 and len(wide):
        at = int(wide[0])
        raise InputError(
            f"{path}:{lines[at + 1]}: time_s: rows come every {usual:.15g} s, here "
            f"{steps[at]:.15g} s have none; fill the gap in (two rows would do if the rate is "
            "known to change evenly), or give fewer, uneven rows"
        )
