"""BurstGPT traces: CSV of arrivals of ChatGPT and GPT-4 calls (Wang et al. 2024, KDD'25).

The published files have the columns Timestamp (seconds), Model, Request tokens, Response tokens,
Total tokens, Log Type; later ones have Session ID and Elapsed time behind the timestamp. The later
form is written where the source has sessions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from factory.workload.exports.rows import BLOCKS, DELAY, Losses, Row, seconds, timed

HEAD = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
HEAD_WITH_SESSIONS = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
)

#: What the published files say of calls through the API, and the model most of them are of.
MODEL, LOG_TYPE = "ChatGPT", "API log"
#: What they say of calls that belong to a conversation.
SESSION_LOG_TYPE = "Conversation log"


def lines(rows: Iterator[Row], losses: Losses, *, has_sessions: bool) -> Iterator[str]:
    """Yields the lines of a BurstGPT trace.

    Args:
        rows: In order of arrival.
        losses: Counts what is lost.
        has_sessions: Whether to write the columns of sessions.
    """
    yield (HEAD_WITH_SESSIONS if has_sessions else HEAD) + "\n"
    for row in timed(rows, losses):
        if row.blocks:
            losses.count(BLOCKS)
        elapsed_s = row.answered_s - row.time_s
        if (row.delay_s > 0 or row.after >= 0) and not (has_sessions and elapsed_s >= 0):
            losses.count(DELAY)
        middle = ""
        kind = row.kind or LOG_TYPE
        if has_sessions:
            elapsed = "" if math.isnan(elapsed_s) else seconds(elapsed_s)
            middle = f"{row.session or ''},{elapsed},"
            kind = row.kind or (LOG_TYPE if row.session is None else SESSION_LOG_TYPE)
        total = row.input_tokens + row.output_tokens
        yield (
            f"{seconds(row.time_s)},{middle}{row.model or MODEL},{row.input_tokens},"
            f"{row.output_tokens},{total},{kind}\n"
        )
