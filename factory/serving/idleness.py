"""Why a replica does nothing, and who pays for that."""

from __future__ import annotations

from collections.abc import Sequence

from factory.records.codes import (
    STATE_FETCH_CACHED,
    STATE_IDLE,
    STATE_IDLE_WAITING_WORK,
    STATE_STALLED_TRANSFER,
)
from factory.serving.meter import Meter
from factory.serving.rank import Rank


def why_idle(ranks: Sequence[Rank]) -> int:
    """Ledger state of a replica that serves and has nothing to run."""
    waiting = False
    for rank in ranks:
        if rank.fetching:
            return STATE_FETCH_CACHED
        if rank.incoming or (rank.outgoing and rank.waiting.count):
            return STATE_STALLED_TRANSFER
        if rank.waiting.count or rank.unreserved.count:
            waiting = True
    return STATE_IDLE_WAITING_WORK if waiting else STATE_IDLE


def rest_fetching(meter: Meter, ranks: Sequence[Rank], now_s: float, watts: float) -> None:
    """The replica did nothing up to ``now_s`` but wait for cached KV: who it is for pays.

    Args:
        meter: Its account.
        ranks: Its ranks.
        now_s: End of the span, seconds.
        watts: Draw of one GPU.
    """
    since_s = meter.until_s
    meter.rest(now_s, STATE_FETCH_CACHED, watts)
    waiting = [sequence for rank in ranks for sequence in rank.fetching]
    for sequence in waiting:
        each_s = (now_s - since_s) * meter.gpus / len(waiting)
        sequence.gpu_s_cached += each_s
        sequence.energy_input_j += each_s * watts
