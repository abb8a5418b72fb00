"""Sessions of a trace, from rows that stand in order of time or session by session."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.workload.blocks import Runs, trimmed
from factory.workload.sessions.plan import SessionPlan
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.batch import Records
from factory.workload.traces.waits import after_each


@dataclass(slots=True)
class TraceSession:
    """A recorded session.

    Attributes:
        start_s: When its first request came, seconds from the trace's own origin; NaN where the
            trace states no times.
        plan: Its requests, with blocks of the trace's size; `times_s` is None where requests only
            follow answers.
        span: Block ids are local to the session and below this; 0: they are those of the trace.
    """

    start_s: float
    plan: SessionPlan
    span: int = 0


def of_records(
    read: Callable[[BadRows], Iterator[Records]],
    bad: BadRows,
    continues_from: int | None = None,
    *,
    interval_s: float = 0.0,
) -> Iterator[TraceSession]:
    """Yields the sessions of a trace in order of their first rows.

    The trace is read twice: a first time to count the rows of every session (4 bytes a session),
    so that the second time a session is complete with its last row. Held are the rows of sessions
    that are not complete or stand behind one that is not: as many as come while the longest
    session lasts.

    A request is sent its `delays_s` after the answer it waits for (0 where none is stated), but not
    before its recorded time where it has one.

    Args:
        read: Reads the rows; session -1 is a session of one request.
        bad: Where the second reading counts malformed rows.
        continues_from: A prompt whose last run begins here or above is the prompt and the answer
            that it waited for, and more; None where the trace does not say so.
        interval_s: Seconds between the starts of two sessions where the trace states none.

    Raises:
        InputError: As the reader.
    """
    counts = _counts(read(bad.anew()))
    open_ones: dict[int, _Open] = {}
    waiting: deque[_Open] = deque()
    latest_s = -interval_s
    for records in read(bad):
        for row, (number, *fields) in enumerate(_fields(records)):
            one = open_ones.get(number) if number >= 0 else None
            if one is None:
                one = _Open(int(counts[number]) if number >= 0 else 1)
                waiting.append(one)
                if number >= 0:
                    open_ones[number] = one
            one.add(fields, records.blocks[row] if records.blocks is not None else ())
            if not one.missing and number >= 0:
                del open_ones[number]
        while waiting and not waiting[0].missing:
            session = waiting.popleft().session(records.block_size, continues_from)
            if math.isnan(session.start_s):
                session.start_s = latest_s + interval_s
            latest_s = session.start_s
            yield session


def _counts(batches: Iterator[Records]) -> NDArray[np.int32]:
    counts = np.zeros(1024, dtype=np.int32)
    for records in batches:
        if records.sessions is None:
            continue
        found = np.bincount(np.array(records.sessions)[np.array(records.sessions) >= 0])
        if len(found) > len(counts):
            counts = np.concatenate((counts, np.zeros(max(len(counts), len(found)), np.int32)))
        counts[: len(found)] += found.astype(np.int32)
    return counts


def _fields(records: Records) -> Iterator[tuple[int, float, int, int, float, int]]:
    """Session, time, prompt, answer, delay and parent of each row."""
    n = len(records)
    delays = [math.nan] * n if records.delays_s is None else records.delays_s.tolist()
    return zip(
        [-1] * n if records.sessions is None else records.sessions,
        records.times_s.tolist(),
        records.inputs.tolist(),
        records.outputs.tolist(),
        delays,
        [-1] * n if records.parents is None else records.parents,
        strict=True,
    )


class _Open:
    """A session of which rows may be missing."""

    __slots__ = ("_blocks", "_rows", "missing")

    def __init__(self, rows: int) -> None:
        self.missing = rows
        self._rows: list[list[float]] = []
        self._blocks: list[Runs] = []

    def add(self, fields: list[float], blocks: Runs) -> None:
        self._rows.append(fields)
        self._blocks.append(blocks)
        self.missing -= 1

    def session(self, block_size: int | None, continues_from: int | None) -> TraceSession:
        times, inputs, outputs, delays, parents = map(list, zip(*self._rows, strict=True))
        n = len(times)
        after = [int(parent) for parent in parents]
        waits, followers = after_each(after)
        start_s = times[0]
        # A start that is not stated leaves the times of later turns without a meaning.
        offsets = [0.0 if math.isnan(t - start_s) else t - start_s for t in times]
        plan = SessionPlan(
            [int(x) for x in inputs],
            [int(x) for x in outputs],
            self._blocks,
            [()] * n,
            waits,
            followers,
            [0.0 if math.isnan(delay) else delay for delay in delays],
            after,
            list(range(n)),
            [0] * n,
            offsets if n > 1 and any(offsets) else None,
        )
        if block_size is not None and continues_from is not None:
            _continue_answers(plan, block_size, continues_from)
        return TraceSession(start_s, plan)


def _continue_answers(plan: SessionPlan, block_size: int, continues_from: int) -> None:
    """Names the blocks of the answers that a later prompt goes on from."""
    for row, followers in enumerate(plan.followers):
        for later in followers:
            runs = plan.blocks[later]
            if runs and runs[-2] >= continues_from:
                prompt, answer = plan.inputs[row], plan.outputs[row]
                plan.blocks[row] = trimmed(plan.blocks[row], prompt // block_size)
                plan.contexts[row] = trimmed(runs, (prompt + answer) // block_size)
