"""Mooncake traces: one JSON object a line (FAST'25), each a whole prompt at its time.

Lines look as in the published files: `{"timestamp": 27482, "input_length": 6955, "output_length":
52, "hash_ids": [46, 47]}`, timestamps in milliseconds, whole where they are. The published format
has no sessions. AIPerf gives its rows a `session_id`, but there each adds to the prompt before:
`exports.aiperf` writes those.
"""

from __future__ import annotations

import json
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
    for row in timed(demand.rows, losses):
        made: dict[str, object] = {
            "timestamp": milliseconds(row.time_s),
            "input_length": row.input_tokens,
            "output_length": row.output_tokens,
        }
        if names_blocks:
            made["hash_ids"] = hash_ids(row.blocks)
        yield json.dumps(made) + "\n"
