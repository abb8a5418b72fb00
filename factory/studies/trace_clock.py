"""Times of a trace that need care: a clock that ticks, and sessions one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np

from factory.errors import InputError
from factory.studies.trace_stats import Arrivals, Floats
from factory.workload.blocks import Runs
from factory.workload.traces.records import BY_SESSION, Records
from factory.workload.traces.rows import Rows, spread

#: Rows that decide whether a trace's clock ticks.
_FIRST_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a trace to look at.

    Attributes:
        from_s: Rows before are left out; seconds from the first row.
        to_s: Rows from then on are left out.
    """

    from_s: float = 0.0
    to_s: float = math.inf

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.from_s <= 0 and self.to_s == math.inf


def cut(
    batches: Iterable[Records],
    part: Part,
    format: str,  # noqa: A002 (the trace section of a scenario has this name)
) -> Iterator[Records]:
    """Yields the rows of a part of a trace; those behind it are not read.

    Rows without a time of their own stay.

    Raises:
        InputError: A part is asked of sessions without a common clock.
    """
    if part.is_all:
        yield from batches
        return
    if format in BY_SESSION:
        raise InputError(
            f"--from, --to: sessions of an {format} trace have no common clock to cut; use "
            "--sessions or --limit"
        )
    origin: float | None = None
    for batch in batches:
        times = batch.times_s
        if origin is None:
            origin = float(times[0])
        since = times - origin
        is_over = since >= part.to_s
        yield _chosen(batch, np.flatnonzero(~((since < part.from_s) | is_over)))
        if is_over.any():
            return


class Clock:
    """Whether the clock of a trace ticks, and the arrivals spread within its ticks."""

    def __init__(self) -> None:
        self.tick_s: float | None = None
        self._held: list[Floats] = []
        self._rows = 0
        self._is_decided = False
        self._arrivals = Arrivals()
        self._last: Floats = np.zeros(0)

    def add(self, times: Floats) -> None:
        """Takes arrivals in, s; they never fall."""
        if self._is_decided:
            self._spread(times)
            return
        self._held.append(times)
        self._rows += len(times)
        if self._rows >= _FIRST_ROWS:
            self._decide()

    def spread_arrivals(self) -> Arrivals | None:
        """The arrivals spread at random within ticks; None where the clock does not tick."""
        if not self._is_decided:
            self._decide()
        if self.tick_s is None:
            return None
        if len(self._last):
            self._emit(self._last, math.inf)
            self._last = np.zeros(0)
        return self._arrivals

    def _decide(self) -> None:
        self._is_decided = True
        times = np.concatenate(self._held) if self._held else np.zeros(0)
        self._held = []
        self.tick_s = tick_of(times[:_FIRST_ROWS])
        self._spread(times)

    def _spread(self, times: Floats) -> None:
        """Takes times in but for the last instant, which may go on in the next batch."""
        if self.tick_s is None or not len(times):
            return
        both = np.concatenate((self._last, times))
        whole = int(np.searchsorted(both, both[-1], side="left"))
        self._last = both[whole:]
        if whole:
            self._emit(both[:whole], float(both[-1]))

    def _emit(self, times: Floats, until_s: float) -> None:
        assert self.tick_s is not None
        rows = iter([Rows(times, [], [], [])])
        name = f"studies/trace_clock/{self._arrivals.n}"
        for found in spread(rows, self.tick_s, 0, 0, name):
            self._arrivals.add(np.minimum(found.times_s, until_s))


def tick_of(times: Floats) -> float | None:
    """The tick of a clock, s; None where it has none.

    It ticks if most arrivals share their instant with another one, and instants stand on a grid (a
    clock may be a few milliseconds off its own).
    """
    gaps = np.diff(times)
    steps = gaps[gaps > 0]
    if not len(steps) or (gaps == 0).mean() <= 0.5:
        return None
    tick = float(np.median(steps))
    return tick if np.abs(steps / tick - np.rint(steps / tick)).max() < 0.01 else None


def spread_ticks(times: Floats, tick_s: float | None) -> Floats:
    """Arrivals spread at random over the ticks of their clock (seeded); as they are without one."""
    if tick_s is None:
        return times
    rows = iter([Rows(times, [], [], [])])
    parts = [part.times_s for part in spread(rows, tick_s, 0, 0, "studies/trace_clock/starts")]
    found: Floats = np.maximum.accumulate(np.concatenate(parts))
    return found


class Merge:
    """Prompts of sessions that stand one after the other, by time.

    A session starts no earlier than the one before it in the file.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Runs, int, bool]] = []
        self._count = 0

    def add(self, batch: Records, begins: Sequence[bool]) -> Iterator[tuple[Runs, int, bool]]:
        """Takes a batch in; yields the prompts before its first one."""
        assert batch.blocks is not None
        times = batch.times_s.copy()
        # A request without a time of its own comes behind the one before it.
        times[np.isnan(times)] = -math.inf
        times = np.maximum.accumulate(times) if np.isneginf(times).any() else times
        start = float(times.min())
        while self._heap and self._heap[0][0] < start:
            yield heappop(self._heap)[2:]
        for time, runs, tokens, is_first in zip(
            times.tolist(), batch.blocks, batch.inputs.tolist(), begins, strict=True
        ):
            heappush(self._heap, (time, self._count, runs, tokens, is_first))
            self._count += 1

    def rest(self) -> Iterator[tuple[Runs, int, bool]]:
        """Yields what is left."""
        while self._heap:
            yield heappop(self._heap)[2:]


def _chosen(batch: Records, rows: Any) -> Records:
    chosen: dict[str, Any] = {"block_size": batch.block_size}
    for name in Records.__slots__:
        column: Any = getattr(batch, name)
        if name == "block_size" or column is None:
            chosen.setdefault(name, column)
        elif isinstance(column, np.ndarray):
            chosen[name] = column[rows]
        else:
            chosen[name] = [column[i] for i in rows.tolist()]
    return Records(**chosen)
