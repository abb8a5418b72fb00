"""A part of a finished run's demand, and the demand at another rate."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from factory.errors import InputError
from factory.workload.replay import moved
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.finished_runs import RecordedDemand
from factory.workload.traces.rates import Rate


def part(demand: RecordedDemand, from_s: float, to_s: float) -> RecordedDemand:
    """Returns the sessions that began in [from, to) seconds of the run, from time 0 on."""
    if from_s <= 0 and to_s == math.inf:
        return demand
    sessions, times = demand.columns["session_id"], demand.columns["arrival_time_s"]
    _, first, session = np.unique(sessions, return_index=True, return_inverse=True)
    starts = times[first][session]
    kept = _rows(demand, np.flatnonzero((starts >= from_s) & (starts < to_s)))
    kept.columns["arrival_time_s"] = _times(kept) - from_s
    return kept


def at_rate(demand: RecordedDemand, rate: Rate, span: int, bad: BadRows) -> RecordedDemand:
    """Returns the demand at another rate: whole sessions stay, or come again (see `copies`).

    Args:
        demand: As recorded, by arrival.
        rate: The factor, and the seeds of what is drawn.
        span: Block ids that there are.
        bad: Names the run.

    Raises:
        InputError: Block ids of so many copies are beyond what there are.
    """
    if rate.scale == 1.0:
        return demand
    _, first, session = np.unique(
        demand.columns["session_id"], return_index=True, return_inverse=True
    )
    order = np.argsort(np.argsort(first))[session]  # number of the session by its first arrival
    starts = np.sort(_times(demand)[first])
    n = len(starts)
    share = rate.scale - math.floor(rate.scale)
    length_s = float(starts[-1] - starts[0]) * n / max(1, n - 1)
    top = max((max(runs[::2]) + max(runs[1::2]) for runs in demand.blocks or () if runs), default=0)
    if top * rate.copies > span:
        raise InputError(
            f"{bad.path}: workload.trace.rate_scale: at most {span // top} copies have block ids"
        )
    parts = []
    for copy, turn in enumerate(rate.turns()):
        rows = np.arange(len(order))
        if copy + 1 > rate.scale and share:
            stays = np.fromiter(islice(rate.keeps(copy), n), np.bool_, n)
            rows = rows[stays[order]]
        since_s = starts[order[rows]] - starts[0]
        parts.append(_turned(_rows(demand, rows), since_s, length_s, turn, copy * top))
    return _together(parts)


def _times(demand: RecordedDemand) -> NDArray[np.float64]:
    return demand.columns["arrival_time_s"].astype(np.float64)


def _rows(demand: RecordedDemand, rows: NDArray[np.int64]) -> RecordedDemand:
    return RecordedDemand(
        {name: values[rows] for name, values in demand.columns.items()},
        demand.tenants[rows],
        demand.tenant_names,
        None if demand.blocks is None else [demand.blocks[i] for i in rows.tolist()],
    )


def _turned(
    part: RecordedDemand, since_s: NDArray[np.float64], length_s: float, turn: float, base: int
) -> RecordedDemand:
    """A copy turned by a part of the circle, its sessions in one piece, its ids its own."""
    if not turn:
        return part
    wraps = since_s >= length_s * (1.0 - turn)
    part.columns["arrival_time_s"] = _times(part) + length_s * turn - length_s * wraps
    if part.blocks is not None and base:
        blocks = [moved(runs, base) for runs in part.blocks]
        return RecordedDemand(part.columns, part.tenants, part.tenant_names, blocks)
    return part


def _together(parts: list[RecordedDemand]) -> RecordedDemand:
    """Copies as one demand by arrival; ids of requests and sessions differ between them."""
    offsets = {"request_id": 0, "session_id": 0}
    for part in parts:
        most = {name: int(part.columns[name].max(initial=-1)) + 1 for name in offsets}
        parents = part.columns["parent_request_id"]
        part.columns["parent_request_id"] = np.where(
            parents < 0, parents, parents + offsets["request_id"]
        )
        for name, offset in list(offsets.items()):
            part.columns[name] = part.columns[name] + offset
            offsets[name] = offset + most[name]
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns
    }
    order = np.lexsort((columns["request_id"], columns["arrival_time_s"]))
    blocks = [runs for part in parts for runs in part.blocks or ()]
    return RecordedDemand(
        {name: values[order] for name, values in columns.items()},
        np.concatenate([part.tenants for part in parts])[order],
        parts[0].tenant_names,
        None if parts[0].blocks is None else [blocks[i] for i in order.tolist()],
    )
