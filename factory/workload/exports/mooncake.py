"""Mooncake traces: one JSON object a line (FAST'25), with `session_id` and `delay` for sessions.

Lines look as in the published files: `{"timestamp": 27482, "input_length": 6955, "output_length":
52, "hash_ids": [46, 47]}`, timestamps in milliseconds, whole where they are. Every row states the
*whole* prompt and its time, so that a row can be understood alone; `delay` (milliseconds after the
answer it waited for) says beside it what a closed loop needs. AIPerf reads rows with `session_id`
otherwise (each adds to the prompt): write those with `exports.aiperf`. A file with sessions says so
in its first row, with a `session_id` of null if that row has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from factory.workload.exports.rows import Demand, Losses, milliseconds, timed

#: Tokens of a hash block (Mooncake, FAST'25).
BLOCK_SIZE = 512


def hash_ids(blocks: tuple[int, ...]) -> list[int]:
    """Spells runs of block ids out."""
    if len(blocks) == 2:
        return list(range(blocks[0], blocks[0] + blocks[1]))
    return [
        block
        for first, count in zip(blocks[::2], blocks[1::2], strict=True)
        for block in range(first, first + count)
    ]


def lines(demand: Demand, losses: Losses, *, names_blocks: bool) -> Iterator[str]:
    """Yields the lines of a Mooncake trace.

    Args:
        demand: Its rows in order of arrival.
        losses: Counts what is lost.
        names_blocks: Whether the source names blocks; else no row has `hash_ids`.
    """
    is_first = demand.has_sessions
    for row in timed(demand.rows, losses):
        made: dict[str, object] = {
            "timestamp": milliseconds(row.time_s),
            "input_length": row.input_tokens,
            "output_length": row.output_tokens,
        }
        if names_blocks:
            made["hash_ids"] = hash_ids(row.blocks)
        if row.session is not None or is_first:
            made["session_id"] = row.session
            is_first = False
            if not math.isnan(row.delay_s):
                made["delay"] = milliseconds(row.delay_s)
        yield json.dumps(made) + "\n"
