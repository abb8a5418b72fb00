"""Mooncake rows with `session_id` and `delay`, as `mooncake_trace` of AIPerf takes them.

https://docs.nvidia.com/aiperf (0.13, 2026; trace replay, conversation context mode): rows of one
`session_id` are the turns of a conversation, in file order. A turn after the first is sent `delay`
ms after the answer to the one before it, or at its `timestamp`, but never before that answer. Its
`input_length` is what it adds: AIPerf puts all earlier turns and answers before it
(`deltas_without_responses`). A row whose `hash_ids` begin as those of the row before it in its
session is taken to state its whole prompt instead, as traces recorded at a server do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from factory.workload.blocks import Runs, trimmed
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.batch import Records, TurnRow, of_turns
from factory.workload.traces.chain_table import ChainTable
from factory.workload.traces.lines import json_object, line_blocks, read_rows
from factory.workload.traces.mooncake import (
    BLOCK_SIZE,
    MAX_BLOCK,
    UNCHAINED,
    length_problem,
    time_problem,
)
from factory.workload.traces.rows import MAX_TOKENS

#: Ids set aside for what a session adds to its first prompt, from `MAX_BLOCK` on: no prompt has as
#: many blocks of 512 tokens.
_SESSION_SPAN = 1 << 20


def has_sessions(path: str) -> bool:
    """Whether the first rows of a Mooncake trace name sessions.

    Raises:
        InputError: The file cannot be read.
    """
    for _, lines in line_blocks(path):
        return any('"session_id"' in line for line in lines)
    return False


def read(bad: BadRows, *, timed: bool = True) -> Iterator[Records]:
    """Yields the rows of a Mooncake trace with sessions in file order, with their whole prompts.

    A row without `session_id` (or with null) is a request of its own. Of what a turn adds, whole
    blocks are named, with ids of the session's own.

    Args:
        bad: The file, and what to do about malformed rows.
        timed: Whether each session's first row must have a timestamp.

    Raises:
        InputError: A row is malformed, or the file cannot be read or holds no row.
    """
    reader = _Reader(bad, timed=timed)
    some = False
    for number, lines in line_blocks(bad.path):
        records = reader.records(lines, number)
        if len(records):
            some = True
            yield records
    if not some:
        raise bad.nothing_left()


def runs_of(ids: list[int]) -> Runs:
    """Returns the runs that a list of block ids is made of."""
    result: list[int] = []
    following = -1
    for block in ids:
        if block == following:
            result[-1] += 1
        else:
            result += (block, 1)
        following = block + 1
    return tuple(result)


@dataclass(slots=True)
class _Session:
    """What has been read of a session.

    Attributes:
        number: From 0.
        turns: Rows so far.
        tokens: Prompt and answer of the last one.
        stated: Runs of the whole blocks that the last row with a prompt of its own named.
        own: First id of the blocks that follow these.
        used: Ids of the session's own that are in use.
        first: First block that a row named; -1 for none.
    """

    number: int
    turns: int = 0
    tokens: int = 0
    stated: Runs = ()
    own: int = 0
    used: int = 0
    first: int = -1

    def states(self, tokens: int, runs: Runs) -> Runs:
        """Takes a whole prompt; returns its runs, and those of the blocks that it leaves out."""
        whole = tokens // BLOCK_SIZE
        self.stated = trimmed(runs, whole)
        self.own = MAX_BLOCK + self.number * _SESSION_SPAN + self.used
        return runs if sum(runs[1::2]) >= whole else self._named(whole)

    def adds(self, tokens: int) -> tuple[int, Runs]:
        """Takes what a turn adds; returns the whole prompt's length and its whole blocks."""
        prompt = self.tokens + tokens
        return prompt, self._named(prompt // BLOCK_SIZE)

    def _named(self, whole: int) -> Runs:
        more = whole - sum(self.stated[1::2])
        if more <= 0:
            return self.stated
        base = MAX_BLOCK + self.number * _SESSION_SPAN
        self.used = max(self.used, self.own + more - base)
        return (*self.stated, self.own, more)


class _Reader:
    def __init__(self, bad: BadRows, *, timed: bool) -> None:
        self._bad = bad
        self._timed = timed
        self._chains = ChainTable()
        self._latest = 0.0
        self._sessions: dict[object, _Session] = {}

    def records(self, lines: list[str], number: int) -> Records:
        rows = read_rows(lines, number, self._row, self._bad.report)
        return of_turns(rows, BLOCK_SIZE, last="delay")

    def _row(self, text: str) -> TurnRow | str:
        row = json_object(text)
        if isinstance(row, str):
            return row
        name = row.get("session_id")
        if name is not None and (type(name) not in (str, int) or name == ""):
            return f"session_id: must be a name, got {json.dumps(name)}"
        session = self._sessions.get(name) if name is not None else None
        problem = self._time_problem(row, is_first=session is None) or length_problem(row)
        if problem:
            return problem
        tokens: int = row["input_length"]
        ids: list[int] = row.get("hash_ids") or []
        runs = runs_of(ids)
        is_whole = session is None or (ids and ids[0] == session.first)
        if is_whole and (problem := self._chains.admit(runs)):
            return UNCHAINED.format(problem)
        if session is not None and not is_whole and session.tokens + tokens > MAX_TOKENS:
            return f"input_length: makes a prompt of over {MAX_TOKENS} tokens with those before"
        stamp = row.get("timestamp")
        time_s = math.nan if stamp is None else stamp / 1000.0
        if stamp is not None:
            self._latest = time_s
        answer: int = row["output_length"] or 1
        if name is None:
            return time_s, tokens, answer, runs, -1, 0, math.nan
        if session is None:
            session = self._sessions[name] = _Session(len(self._sessions))
            session.first = ids[0] if ids else -1
        if is_whole:
            runs = session.states(tokens, runs)
        else:
            tokens, runs = session.adds(tokens)
        turn = session.turns
        session.turns = turn + 1
        session.tokens = tokens + answer
        delay = row.get("delay")
        delay_s = math.nan if delay is None or not turn else delay / 1000.0
        return time_s, tokens, answer, runs, session.number, turn, delay_s

    def _time_problem(self, row: dict[str, Any], *, is_first: bool) -> str | None:
        delay = row.get("delay")
        if delay is not None and (type(delay) not in (int, float) or not 0 <= delay < math.inf):
            return f"delay: must be milliseconds >= 0, got {json.dumps(delay)}"
        if row.get("timestamp") is not None:
            return time_problem(row, self._latest)
        if is_first and self._timed:
            return (
                "timestamp is missing: the first row of a session says when it starts "
                "(with replay: closed_loop none is needed)"
            )
        return None
