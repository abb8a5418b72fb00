"""The rows of a trace or a run, in order of arrival, on their way into another format."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush

from factory.errors import InputError
from factory.workload.exports.chunks import SmallIds
from factory.workload.exports.rows import Demand, Row
from factory.workload.traces.records import BY_SESSION, Records

#: Sessions that are remembered; one that rests while so many others come is taken for over.
SESSIONS_KEPT = 1 << 18


def recorded(
    batches: Iterator[Records],
    kind: str,
    *,
    has_sessions: bool,
    ttft_s: float | None = None,
    itl_s: float | None = None,
) -> Demand:
    """Returns the rows of a trace.

    Args:
        batches: As `records.read` yields them.
        kind: Format of the trace.
        has_sessions: Whether the trace has sessions.
        ttft_s: Time to first token that is assumed, seconds: delays that the trace does not state
            are times less the assumed ends of answers, and a request without a time arrives its
            delay after the assumed end of the answer it waits for. None with `itl_s` None:
            nothing is assumed of delays, and answers to requests without time take none.
        itl_s: Time between output tokens that is assumed, seconds.
    """
    demand = Demand(iter(()), has_sessions, is_calendar=kind == "azure")
    rows = _rows(batches, ttft_s, itl_s)
    if kind in BY_SESSION:
        rows = _by_arrival(rows)
    small = SmallIds() if kind == "fact_requests" else None
    demand.rows = _numbered(rows, demand, small) if has_sessions or small else (r for r, _ in rows)
    return demand


def _rows(
    batches: Iterator[Records], ttft_s: float | None, itl_s: float | None
) -> Iterator[tuple[Row, int]]:
    """Rows in file order, each with the turn it waits for (-1: none)."""
    ends: OrderedDict[int, dict[int, float]] = OrderedDict()  # session → turn → end of the answer
    is_assumed = ttft_s is not None or itl_s is not None
    first_s, next_s = ttft_s or 0.0, itl_s or 0.0
    for batch in batches:
        times: list[float] = batch.times_s.tolist()
        inputs: list[int] = batch.inputs.tolist()
        outputs: list[int] = batch.outputs.tolist()
        n = len(times)
        blocks = batch.blocks or [()] * n
        if batch.sessions is None:
            for time_s, prompt, answer, runs in zip(times, inputs, outputs, blocks, strict=True):
                yield Row(time_s, prompt, answer, runs), -1
            continue
        turns, parents = batch.turns or [0] * n, batch.parents or [-1] * n
        agents = batch.agents or [0] * n
        delays: list[float] = [math.nan] * n if batch.delays_s is None else batch.delays_s.tolist()
        for i, session in enumerate(batch.sessions):
            row = Row(times[i], inputs[i], outputs[i], blocks[i])
            if session < 0:
                yield row, -1
                continue
            row.session, row.turn, row.agent = str(session), turns[i], agents[i]
            row.delay_s = delays[i]
            known = _kept(ends, session)
            if math.isnan(row.time_s) and parents[i] in known:
                wait_s = 0.0 if math.isnan(row.delay_s) else row.delay_s
                row.time_s = known[parents[i]] + wait_s
            end_s = row.time_s + first_s + next_s * (row.output_tokens - 1)
            known[row.turn] = end_s
            if is_assumed:
                row.answered_s = end_s
            yield row, parents[i]


def _kept(sessions: OrderedDict[int, dict[int, float]], session: int) -> dict[int, float]:
    """What is known of a session, as the latest one used."""
    known = sessions.get(session)
    if known is None:
        known = sessions[session] = {}
        if len(sessions) > SESSIONS_KEPT:
            sessions.popitem(last=False)
    else:
        sessions.move_to_end(session)
    return known


def _by_arrival(rows: Iterator[tuple[Row, int]]) -> Iterator[tuple[Row, int]]:
    """Rows of sessions that stand in order of their first rows, by arrival.

    A row whose time is assumed, and which stands behind the start of a later session than that,
    comes as soon as it can.
    """
    held: list[tuple[float, int, Row, int]] = []
    start_s = latest_s = -math.inf
    for number, (row, parent) in enumerate(rows):
        if not row.turn:
            if row.time_s < start_s:
                raise InputError(
                    f"session {row.session} starts at {row.time_s:g} s, after one that starts at "
                    f"{start_s:g} s; sort the sessions by the time of their first request"
                )
            # A session whose first row has no time starts with the one before.
            start_s = start_s if math.isnan(row.time_s) else row.time_s
            while held and held[0][0] < start_s:
                latest_s, _, due, waited = heappop(held)
                yield due, waited
        row.time_s = max(row.time_s, latest_s)  # keeps NaN
        time_s = start_s if math.isnan(row.time_s) else row.time_s
        heappush(held, (time_s, number, row, parent))
    while held:
        yield heappop(held)[2:]


def _numbered(
    rows: Iterator[tuple[Row, int]], demand: Demand, small: SmallIds | None
) -> Iterator[Row]:
    """Rows that know the position of the row they waited for."""
    sessions: OrderedDict[str, dict[int, int]] = OrderedDict()
    for number, (row, parent) in enumerate(rows):
        if small is not None:
            row.blocks = small.renamed(row.blocks, "")
        if row.session is not None:
            known = sessions.setdefault(row.session, {})
            sessions.move_to_end(row.session)
            row.after = known.get(parent, -1)
            known[row.turn] = number
            if len(sessions) > SESSIONS_KEPT:
                over, _ = sessions.popitem(last=False)
                for tell in demand.on_over:
                    tell(over)
        yield row
