"""Rows of a trace as columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from factory.workload.blocks import Runs


@dataclass(slots=True)
class Records:
    """Requests in file order, a batch at a time; lists and arrays have one entry per request.

    Attributes:
        times_s: Arrival, seconds from the trace's own origin; NaN where the trace states none (the
            request follows an answer). It does not fall, but for the formats of `BY_SESSION`, whose
            sessions stand one after the other.
        inputs: Prompt tokens, each ≥ 1.
        outputs: Answer tokens, each ≥ 1.
        blocks: Runs of block ids `(first, count, …)`, chained, at `block_size`, with ids of the
            whole trace; None for formats that name no blocks.
        sessions: Number of the session, from 0 in the order of first rows; -1 for a request of its
            own. None for formats (or files) without sessions.
        turns: Position of the request in its session, from 0; None without sessions.
        block_size: Tokens per block; None without blocks.
        delays_s: Seconds from the awaited answer to the request; NaN where none is stated. None
            where no row of the batch has one.
        parents: Turn in the same session whose answer the request waits for (the last one, if it
            waits for several); -1 for none. None without sessions.
        tasks: Number of the task in its session that a request serves; None without sessions.
        agents: 0 for the main agent of the session, 1, 2, … for sub-agents; None without sessions.
    """

    times_s: NDArray[np.float64]
    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]
    blocks: list[Runs] | None = None
    sessions: list[int] | None = None
    turns: list[int] | None = None
    block_size: int | None = None
    delays_s: NDArray[np.float64] | None = None
    parents: list[int] | None = None
    tasks: list[int] | None = None
    agents: list[int] | None = None

    def __len__(self) -> int:
        return len(self.times_s)


#: A row of a session: time, input, output, runs, session, turn, and what `of_turns` is told.
TurnRow = tuple[float, int, int, Runs, int, int, float]


def of_turns(
    rows: Sequence[TurnRow], block_size: int, *, last: Literal["delay", "parent"]
) -> Records:
    """Returns rows of sessions as columns; each serves a task of its own.

    Args:
        rows: Time (s), input and output tokens, runs, session, turn, and a last value.
        block_size: Tokens per block.
        last: What that is: seconds from the answer to the turn before (NaN: none stated), or the
            turn whose answer it waits for.
    """
    times, inputs, outputs, blocks, sessions, turns, values = map(
        list, zip(*rows, strict=True) if rows else ([],) * 7
    )
    has_delays = last == "delay"
    return Records(
        np.array(times, dtype=np.float64),
        np.array(inputs, dtype=np.int64),
        np.array(outputs, dtype=np.int64),
        blocks,
        sessions,
        turns,
        block_size,
        np.array(values, dtype=np.float64) if has_delays else None,
        [turn - 1 for turn in turns] if has_delays else values,
        list(turns),
        [0] * len(turns),
    )


def limited(batches: Iterator[Records], limit: int | None) -> Iterator[Records]:
    """Yields batches up to `limit` rows in all."""
    left = math.inf if limit is None else limit
    for batch in batches:
        if len(batch) >= left:
            yield head(batch, int(left))
            return
        left -= len(batch)
        yield batch


def head(records: Records, n: int) -> Records:
    """Returns the first n rows of a batch."""
    found = replace(records)
    for name in Records.__slots__:
        column = getattr(records, name)
        if column is not None and name != "block_size":
            setattr(found, name, column[:n])
    return found
