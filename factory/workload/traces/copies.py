"""A trace at another rate: fewer of its requests or sessions, or several copies of it at once.

A factor below 1 thins: request (or session) i stays if the i-th number of a seeded stream is below
the factor, so that what stays at 0.3 stays at 0.5 too. A factor above 1 superposes copies of the
trace, a fraction as a thinned copy: 2.5 is the trace, a second copy and half of a third. The trace
is taken as a circle (its span, and the mean gap to close it); every copy after the first is turned
by a seeded part of it, so that bursts and lulls of the copies do not coincide, and has block ids of
its own: copies share nothing. Copies are read from the file side by side: nothing is held but a
batch of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter

import numpy as np

from factory.errors import InputError
from factory.workload.blocks import SOURCE_SPAN, Runs
from factory.workload.replay import moved
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.rates import Rate
from factory.workload.traces.rows import Rows
from factory.workload.traces.sessions import TraceSession

_start = attrgetter("start_s")


@dataclass(slots=True)
class _Circle:
    """What has to be known of a trace before copies of it can be turned."""

    units: int = 0
    last_s: float = 0.0
    ids: int = 0  # every block id is below

    @property
    def length_s(self) -> float:
        return self.last_s * self.units / (self.units - 1) if self.units > 1 else 0.0


def of_rows(read: Callable[[BadRows], Iterator[Rows]], bad: BadRows, rate: Rate) -> Iterator[Rows]:
    """Yields the requests of a trace at another rate, by arrival.

    Args:
        read: Reads the trace once more; times count from 0 and do not fall.
        bad: Where malformed rows are counted (those of the first copy).
        rate: The factor, and the seeds of what is drawn.

    Raises:
        InputError: As the reader, or block ids of so many copies are beyond what a source has.
    """
    if rate.scale == 1.0:
        return read(bad)
    if rate.scale < 1.0:
        return _thinned(read(bad), rate, 0)
    circle = _Circle()
    for rows in read(bad.anew()):
        circle.units += len(rows.inputs)
        circle.last_s = float(rows.times_s[-1])
        circle.ids = max(circle.ids, _top(rows.blocks))
    stride = _stride(circle, rate, bad)
    parts = []
    for copy, turn in enumerate(rate.turns()):
        part = _turned(read, bad if copy == 0 else bad.anew(), circle.length_s, turn)
        if copy:
            part = _renamed(part, copy * stride)
        if copy + 1 > rate.scale:
            part = _thinned(part, rate, copy)
        parts.append(part)
    return merged(parts)


def of_sessions(
    read: Callable[[BadRows], Iterator[TraceSession]], bad: BadRows, rate: Rate
) -> Iterator[TraceSession]:
    """Yields the sessions of a trace at another rate, by start; arguments as for `of_rows`."""
    if rate.scale == 1.0:
        return read(bad)
    if rate.scale < 1.0:
        return _thinned_sessions(read(bad), rate, 0)
    circle = _Circle()
    for session in read(bad.anew()):
        circle.units += 1
        circle.last_s = session.start_s
        if not session.span:
            circle.ids = max(circle.ids, _top(session.plan.blocks), _top(session.plan.contexts))
    stride = _stride(circle, rate, bad)
    parts = []
    for copy, turn in enumerate(rate.turns()):
        again = bad if copy == 0 else bad.anew()
        part = _turned_sessions(read, again, circle.length_s, turn, copy * stride)
        if copy + 1 > rate.scale:
            part = _thinned_sessions(part, rate, copy)
        parts.append(part)
    return merge(*parts, key=_start)


def merged(streams: list[Iterator[Rows]]) -> Iterator[Rows]:
    """Yields the rows of several streams by time; ties go to the earlier stream."""
    heads = [(batch, rest) for rest in streams if (batch := next(rest, None)) is not None]
    while heads:
        until_s = min(float(batch.times_s[-1]) for batch, _ in heads)
        parts = []
        later: list[tuple[Rows, Iterator[Rows]]] = []
        for batch, rest in heads:
            cut = int(np.searchsorted(batch.times_s, until_s, side="right"))
            if cut:
                parts.append(batch.head(cut))
            left = batch.tail(cut) if cut < len(batch.inputs) else next(rest, None)
            if left is not None:
                later.append((left, rest))
        heads = later
        yield _sorted(parts)


def _sorted(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    times = np.concatenate([part.times_s for part in parts])
    order = np.argsort(times, kind="stable")
    places: list[int] = order.tolist()
    inputs = [x for part in parts for x in part.inputs]
    outputs = [x for part in parts for x in part.outputs]
    blocks = [x for part in parts for x in part.blocks]
    return Rows(
        times[order],
        [inputs[i] for i in places],
        [outputs[i] for i in places],
        [blocks[i] for i in places],
    )


def _turned(
    read: Callable[[BadRows], Iterator[Rows]], bad: BadRows, length_s: float, turn: float
) -> Iterator[Rows]:
    """The trace from a point of its circle on, then up to that point."""
    seam_s = length_s * (1.0 - turn)
    if turn:
        for rows in read(bad.anew()):
            cut = int(np.searchsorted(rows.times_s, seam_s))
            if cut < len(rows.inputs):
                late = rows.tail(cut)
                late.times_s = late.times_s - seam_s
                yield late
    for rows in read(bad):
        cut = int(np.searchsorted(rows.times_s, seam_s)) if turn else len(rows.inputs)
        if cut:
            early = rows.head(cut)
            early.times_s = early.times_s + length_s * turn
            yield early
        if cut < len(rows.inputs):
            return


def _turned_sessions(
    read: Callable[[BadRows], Iterator[TraceSession]],
    bad: BadRows,
    length_s: float,
    turn: float,
    base: int,
) -> Iterator[TraceSession]:
    seam_s = length_s * (1.0 - turn) if turn else math.inf
    if turn:
        for session in read(bad.anew()):
            if session.start_s >= seam_s:
                yield _placed(session, session.start_s - seam_s, base)
    for session in read(bad):
        if session.start_s >= seam_s:
            return
        yield _placed(session, session.start_s + length_s * turn, base)


def _placed(session: TraceSession, start_s: float, base: int) -> TraceSession:
    session.start_s = start_s
    if base and not session.span:
        session.plan.blocks = [moved(runs, base) for runs in session.plan.blocks]
        session.plan.contexts = [moved(runs, base) for runs in session.plan.contexts]
    return session


def _renamed(batches: Iterator[Rows], base: int) -> Iterator[Rows]:
    for rows in batches:
        rows.blocks = [moved(runs, base) for runs in rows.blocks]
        yield rows


def _thinned(batches: Iterator[Rows], rate: Rate, copy: int) -> Iterator[Rows]:
    keeps = rate.keeps(copy)
    for rows in batches:
        kept = [i for i, stays in zip(range(len(rows.inputs)), keeps, strict=False) if stays]
        if kept:
            yield Rows(
                rows.times_s[kept],
                [rows.inputs[i] for i in kept],
                [rows.outputs[i] for i in kept],
                [rows.blocks[i] for i in kept],
            )


def _thinned_sessions(
    sessions: Iterator[TraceSession], rate: Rate, copy: int
) -> Iterator[TraceSession]:
    for session, stays in zip(sessions, rate.keeps(copy), strict=False):
        if stays:
            yield session


def _stride(circle: _Circle, rate: Rate, bad: BadRows) -> int:
    """Block ids from one copy to the next."""
    if circle.ids * rate.copies * rate.factor > SOURCE_SPAN:
        most = SOURCE_SPAN // (circle.ids * rate.factor)
        raise InputError(
            f"{bad.path}: workload.trace.rate_scale: {rate.copies} copies need more block ids than "
            f"there are: its ids go up to {circle.ids - 1}; at most {most}"
        )
    return circle.ids


def _top(blocks: list[Runs]) -> int:
    """A number above the ids of all prompts of a batch."""
    return max((max(map(int.__add__, runs[::2], runs[1::2])) for runs in blocks if runs), default=0)
