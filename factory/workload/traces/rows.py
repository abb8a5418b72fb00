"""Recorded requests that wait for nobody, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from factory.statistics import stream
from factory.workload.arrivals import CHUNK
from factory.workload.blocks import Runs

#: Longest lengths a row may state, tokens; beyond it is a mistake.
MAX_TOKENS = 1 << 31


@dataclass(slots=True)
class Rows:
    """Requests in file order; `times_s` does not fall.

    Attributes:
        times_s: Shape (n,), seconds from the trace's own origin.
        inputs: Prompt tokens, each ≥ 1.
        outputs: Answer tokens, each ≥ 1.
        blocks: Runs of block ids, chained, at the trace's block size; () where none are shared.
    """

    times_s: NDArray[np.float64]
    inputs: list[int]
    outputs: list[int]
    blocks: list[Runs]

    def head(self, n: int) -> Rows:
        """The first n rows."""
        return Rows(self.times_s[:n], self.inputs[:n], self.outputs[:n], self.blocks[:n])

    def tail(self, n: int) -> Rows:
        """All but the first n rows."""
        return Rows(self.times_s[n:], self.inputs[n:], self.outputs[n:], self.blocks[n:])

    def after(self, other: Rows) -> Rows:
        """These rows behind others."""
        return Rows(
            np.concatenate((other.times_s, self.times_s)),
            other.inputs + self.inputs,
            other.outputs + self.outputs,
            other.blocks + self.blocks,
        )


def first_rows(batches: Iterable[Rows], limit: int | None) -> Iterator[Rows]:
    """Yields batches up to `limit` rows in all."""
    left = limit
    for batch in batches:
        if left is not None and len(batch.inputs) >= left:
            yield batch.head(left)
            return
        yield batch
        if left is not None:
            left -= len(batch.inputs)


def window(batches: Iterable[Rows], from_s: float, to_s: float) -> Iterator[Rows]:
    """Yields the rows whose time after the first row is in [from, to), seconds."""
    first_s: float | None = None
    for batch in batches:
        if first_s is None:
            first_s = float(batch.times_s[0])
        start, stop = np.searchsorted(batch.times_s - first_s, (from_s, to_s)).tolist()
        is_over = stop < len(batch.inputs)
        if start or is_over:
            batch = batch.head(stop).tail(start)  # noqa: PLW2901 (a part of it)
        if batch.inputs:
            yield batch
        if is_over:
            return


def scaled(batches: Iterable[Rows], scale: float) -> Iterator[Rows]:
    """Yields batches with times multiplied by `scale`."""
    for batch in batches:
        if scale != 1.0:
            batch.times_s = batch.times_s * scale
        yield batch


def from_zero(batches: Iterable[Rows], scale: float = 1.0) -> Iterator[Rows]:
    """Yields batches whose times count from the first row, times `scale`."""
    origin: float | None = None
    for batch in batches:
        if origin is None:
            origin = float(batch.times_s[0])
        batch.times_s = (batch.times_s - origin) * scale
        yield batch


def spread(
    batches: Iterable[Rows], width_s: float, seed: int, replication: int, name: str
) -> Iterator[Rows]:
    """Yields batches whose equal times are spread at random over the time up to the next.

    A clock that ticks every few seconds puts all arrivals of a tick on one instant; replayed so,
    they would be a burst that never happened. Rows keep their order.

    Args:
        batches: Rows whose times do not fall.
        width_s: Length of a tick, s; a nearer next tick ends it sooner.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
        name: Name of the random stream; row i takes its i-th number.
    """
    draws = _uniforms(seed, replication, name)
    held: Rows | None = None
    for batch in batches:
        rows = batch if held is None else batch.after(held)
        last_tick = int(np.searchsorted(rows.times_s, rows.times_s[-1], side="left"))
        held = rows.tail(last_tick)
        if last_tick:
            done = rows.head(last_tick)
            _spread(done, float(held.times_s[0]), width_s, draws)
            yield done
    if held is not None:
        _spread(held, float(held.times_s[0]) + width_s, width_s, draws)
        yield held


def _spread(rows: Rows, next_s: float, width_s: float, draws: Iterator[float]) -> None:
    times = rows.times_s
    ticks, start, size = np.unique(times, return_index=True, return_counts=True)
    width = np.minimum(np.diff(ticks, append=next_s), width_s)
    tick = np.repeat(np.arange(len(ticks)), size)
    share = np.fromiter(draws, np.float64, len(times))
    share = share[np.lexsort((share, tick))]
    rows.times_s = np.repeat(times[start], size) + np.repeat(width, size) * share


def _uniforms(seed: int, replication: int, name: str) -> Iterator[float]:
    index = 0
    while True:
        yield from stream(seed, replication, name, index).random(CHUNK).tolist()
        index += 1


def interleaved(first: NDArray[np.int64], counts: NDArray[np.int64], ends: list[int]) -> list[Runs]:
    """Returns one flat tuple of runs per row.

    Args:
        first: First block of every run, shape (runs,).
        counts: Blocks of every run.
        ends: For each row, one past its last run.
    """
    flat: list[int] = np.column_stack((first, counts)).ravel().tolist()
    starts = chain(repeat(0, 1), ends)
    return [tuple(flat[2 * a : 2 * b]) for a, b in zip(starts, ends, strict=False)]
