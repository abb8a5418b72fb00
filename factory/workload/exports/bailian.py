"""Qwen-Bailian usage traces: one JSON object a line (Wang et al., USENIX ATC'25; Apache-2.0).

`{"chat_id": 159, "parent_chat_id": 55, "timestamp": 61.114, "input_length": 521, "output_length":
132, "type": "text", "turn": 2, "hash_ids": [1089, 1090]}`: seconds from the start, turns from 1,
-1 for the parent of a first turn, blocks of 16 tokens. Here `chat_id` numbers the source's rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from factory.workload.exports.mooncake import hash_ids
from factory.workload.exports.rows import DELAY, Demand, Losses, Row, timed

#: Tokens of a hash block (the published files' names say so: `blksz_16`).
BLOCK_SIZE = 16


def lines(demand: Demand, losses: Losses) -> Iterator[str]:
    """Yields the lines of a Bailian trace.

    Args:
        demand: Its rows in order of arrival.
        losses: Counts what is lost.
    """
    latest: dict[str, dict[int, int]] = {}  # session → agent → its last row
    first = -1  # a parent before the first row is not in the file

    def forget(session: str) -> None:
        latest.pop(session, None)

    demand.on_over.append(forget)
    for row in timed(demand.rows, losses):
        if first < 0:
            first = row.number
        parent = -1
        if row.session is not None:
            parent = _parent(row, latest.setdefault(row.session, {}))
        if row.delay_s > 0:
            losses.count(DELAY)
        made = {
            "chat_id": row.number,
            "parent_chat_id": parent if parent >= first else -1,
            "timestamp": float(round(row.time_s, 9)),
            "input_length": row.input_tokens,
            "output_length": row.output_tokens,
            "type": row.kind or "text",
            "turn": row.turn + 1,
            "hash_ids": hash_ids(row.blocks),
        }
        yield json.dumps(made) + "\n"


def _parent(row: Row, agents: dict[int, int]) -> int:
    """The row it waited for, else the last one of its agent, else of its session."""
    parent = row.after
    if parent < 0 and row.turn:
        parent = agents.get(row.agent, max(agents.values(), default=-1))
    agents[row.agent] = row.number
    return parent
