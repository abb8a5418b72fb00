"""Rows of any trace as columns, for the tools that look at a trace or convert it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from factory.errors import InputError
from factory.workload.replay import moved
from factory.workload.sessions.plan import SessionPlan
from factory.workload.traces import (
    agentic,
    aiperf,
    azure,
    bailian,
    burstgpt,
    finished_runs,
    mooncake,
    mooncake_sessions,
    servegen,
)
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.batch import Records, head, limited
from factory.workload.traces.detect import SIGNS
from factory.workload.traces.rows import Rows

__all__ = ["BY_SESSION", "TEXT_BLOCK_SIZE", "Records", "head", "limited", "read"]

#: Rows of a batch that is cut from a table.
_CHUNK = 4096
#: Tokens per block of the prompts that are given as text.
TEXT_BLOCK_SIZE = 64
#: Formats whose sessions stand one after the other, so that times fall from one to the next.
BY_SESSION = ("agentic", "aiperf")


def read(
    path: str,
    format: str,  # noqa: A002 (the trace section of a scenario has this name)
    *,
    skip_bad_rows: int = 0,
    limit: int | None = None,
    sessions: int | None = None,
    session_interval_s: float = 60.0,
    seed: int = 0,
) -> Iterator[Records]:
    """Yields the rows of a trace lazily, in batches of about a thousand rows.

    Times are those of the file, neither spread nor scaled.

    Args:
        path: The file (`servegen`: the folder; `fact_requests`: the run or its table).
        format: As in the trace section of a scenario; `detect.detect` guesses it.
        skip_bad_rows: Malformed rows to leave out.
        limit: Rows to read at most.
        sessions: agentic, aiperf: sessions to read at most, in file order.
        session_interval_s: agentic, aiperf: seconds from a session's start to the next one's.
        seed: servegen: root of the random streams that draw arrivals and lengths.

    Raises:
        InputError: A row is malformed, or the file cannot be used; while rows are read.
    """
    bad = BadRows(path, skip_bad_rows)
    rows = _rows(bad, format, limit, sessions, session_interval_s, seed)
    yield from limited(rows, limit)


def _rows(
    bad: BadRows,
    kind: str,
    limit: int | None,
    sessions: int | None,
    interval_s: float,
    seed: int,
) -> Iterator[Records]:
    match kind:
        case "mooncake" if mooncake_sessions.has_sessions(bad.path):
            return mooncake_sessions.read(bad)
        case "mooncake":
            return _plain(mooncake.read(bad), mooncake.BLOCK_SIZE)
        case "azure":
            return _plain(azure.read(bad), None)
        case "servegen":
            return _plain(servegen.read(bad, seed), None)
        case "burstgpt":
            return burstgpt.read(bad)
        case "bailian":
            return bailian.read(bad)
        case "agentic":
            return _agentic(agentic.read(bad, sessions, limit), interval_s)
        case "aiperf" if aiperf.has_branches(bad.path):
            return _trees(aiperf.branching(bad, TEXT_BLOCK_SIZE, sessions), interval_s)
        case "aiperf":
            return _started(aiperf.read(bad, TEXT_BLOCK_SIZE, sessions), interval_s)
        case "fact_requests":
            return _finished(bad, limit)
    raise InputError(f'format: must be one of {", ".join(SIGNS)}, got "{kind}"')


def _plain(batches: Iterator[Rows], block_size: int | None) -> Iterator[Records]:
    for rows in batches:
        yield Records(
            rows.times_s,
            np.array(rows.inputs),
            np.array(rows.outputs),
            None if block_size is None else rows.blocks,
            block_size=block_size,
        )


def _agentic(sessions: Iterator[agentic.AgentSession], interval_s: float) -> Iterator[Records]:
    base = 0
    for number, rows in enumerate(sessions):
        n = len(rows.inputs)
        yield Records(
            number * interval_s + np.array(rows.times_s),
            np.array(rows.inputs),
            np.array(rows.outputs),
            [moved(runs, base) for runs in rows.blocks],
            [number] * n,
            list(range(n)),
            agentic.BLOCK_SIZE,
            np.where(np.array(rows.after) < 0, np.nan, np.array(rows.delays_s)),
            rows.after,
            rows.tasks,
            rows.agents,
        )
        base += rows.span


def _started(batches: Iterator[Records], interval_s: float) -> Iterator[Records]:
    """Gives the first turns of conversations that state no times one."""
    latest_s = -interval_s
    for records in batches:
        for row, turn in enumerate(records.turns or ()):
            if not turn:
                if math.isnan(records.times_s[row]):
                    records.times_s[row] = latest_s + interval_s
                latest_s = float(records.times_s[row])
        yield records


def _trees(plans: Iterator[SessionPlan], interval_s: float) -> Iterator[Records]:
    for number, plan in enumerate(plans):
        n = len(plan.inputs)
        after = [-1] * n
        for row, followers in enumerate(plan.followers):
            for later in followers:
                after[later] = max(after[later], row)
        waits = np.array(plan.waits) > 0
        yield Records(
            np.where(waits, np.nan, number * interval_s),
            np.array(plan.inputs),
            np.array(plan.outputs),
            plan.blocks,
            [number] * n,
            list(range(n)),
            TEXT_BLOCK_SIZE,
            np.where(waits, np.array(plan.delays_s), np.nan),
            after,
            plan.tasks,
            plan.agents,
        )


def _finished(bad: BadRows, limit: int | None) -> Iterator[Records]:
    demand = finished_runs.read(bad.anew(finished_runs.table_path(bad.path)), limit, 1)
    columns = demand.columns
    numbers: dict[int, int] = {}
    places = dict(zip(columns["request_id"].tolist(), columns["turn"].tolist(), strict=True))
    for start in range(0, len(demand.tenants), _CHUNK):
        part = slice(start, start + _CHUNK)
        ids = columns["session_id"][part].tolist()
        yield Records(
            columns["arrival_time_s"][part].astype(np.float64),
            columns["input_tokens"][part].astype(np.int64),
            columns["requested_output_tokens"][part].astype(np.int64),
            None,
            [numbers.setdefault(name, len(numbers)) for name in ids],
            columns["turn"][part].tolist(),
            parents=[places.get(p, -1) for p in columns["parent_request_id"][part].tolist()],
        )
