"""Qwen-Bailian usage traces: JSON lines of chats with parents and block hashes (Wang et al., 2025).

https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon (KVCache Cache in the Wild, USENIX ATC
2025): chat_id, parent_chat_id (-1: none), timestamp in seconds, input_length (the whole prompt),
output_length, type (text, search, image, file), turn from 1, hash_ids of 16 tokens each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from factory.workload.blocks import Runs
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.batch import Records, TurnRow, of_turns
from factory.workload.traces.chain_table import ChainTable
from factory.workload.traces.detect import looks_like
from factory.workload.traces.lines import json_object, line_blocks, read_rows
from factory.workload.traces.mooncake import ids_problem
from factory.workload.traces.mooncake_sessions import runs_of
from factory.workload.traces.rename import Renamer
from factory.workload.traces.rows import MAX_TOKENS

#: Tokens of a hash block.
BLOCK_SIZE = 16

_NEEDED = ("chat_id", "timestamp", "input_length", "output_length")


def read(bad: BadRows, *, rename: bool | None = None) -> Iterator[Records]:
    """Yields the chats of a Bailian trace in file order, with its ids if these are chained.

    A chat belongs to the session of its parent and waits for that answer; several chats may follow
    one. Ids that stand behind different prefixes (the hash of a block's content alone) are renamed
    so that prompts share exactly the prefixes they shared; whether that is needed is found by a
    reading of its own.

    Args:
        bad: The file, and what to do about malformed rows.
        rename: Whether its ids need renaming, where that is known.

    Raises:
        InputError: A row is malformed, a chat_id stands there twice, a parent is unknown, or the
            file cannot be read or holds no row.
    """
    if rename is None:
        rename = needs_renaming(bad.path)
    return _read(bad, Renamer() if rename else None)


def needs_renaming(path: str) -> bool:
    """Whether the ids of the sound rows are not chained; bad rows are named later."""
    chains = ChainTable()
    for records in _read(BadRows(path, 1 << 62), None, is_trial=True):
        if not chains.admit_all(records.blocks or []):
            return True
    return False


def _read(bad: BadRows, renamer: Renamer | None, *, is_trial: bool = False) -> Iterator[Records]:
    reader = _Reader(bad, renamer)
    some = False
    for number, lines in line_blocks(bad.path):
        records = reader.records(lines, number)
        if len(records):
            some = True
            yield records
    if not some and not is_trial:
        raise bad.nothing_left()


class _Reader:
    def __init__(self, bad: BadRows, renamer: Renamer | None) -> None:
        self._bad = bad
        self._renamer = renamer
        self._latest = 0.0
        self._places: dict[int, tuple[int, int]] = {}  # chat → session, turn
        self._turns: list[int] = []  # rows of each session so far

    def records(self, lines: list[str], number: int) -> Records:
        def report(line: int, problem: str) -> None:
            hint = looks_like(lines[0], "bailian") if line == 1 else ""
            self._bad.report(line, problem + hint)

        rows = read_rows(lines, number, self._row, report)
        return of_turns(rows, BLOCK_SIZE, last="parent")

    def _row(self, text: str) -> TurnRow | str:
        row = json_object(text)
        if isinstance(row, str):
            return row
        problem = self._problem(row)
        if problem:
            return problem
        runs: Runs = runs_of(row.get("hash_ids") or [])
        if self._renamer is not None:
            runs = self._renamer.renamed(runs)
        self._latest = float(row["timestamp"])
        session, turn, before = self._place(row["chat_id"], row.get("parent_chat_id", -1))
        answer = row["output_length"] or 1
        return self._latest, row["input_length"], answer, runs, session, turn, before

    def _place(self, chat: int, parent: int) -> tuple[int, int, int]:
        """Session, turn and the turn it waits for."""
        if parent == -1:
            session, before = len(self._turns), -1
            self._turns.append(0)
        else:
            session, before = self._places[parent]
        turn = self._turns[session]
        self._turns[session] = turn + 1
        self._places[chat] = session, turn
        return session, turn, before

    def _problem(self, row: dict[str, Any]) -> str | None:
        missing = [name for name in _NEEDED if name not in row]
        if missing:
            return f"{missing[0]} is missing, has {', '.join(map(str, row))}"
        for name, least in (("input_length", 1), ("output_length", 0)):
            value = row[name]
            if type(value) is not int or not least <= value <= MAX_TOKENS:
                return (
                    f"{name}: must be a whole number of tokens >= {least}, got {json.dumps(value)}"
                )
        stamp = row["timestamp"]
        if type(stamp) not in (int, float) or not 0 <= stamp < math.inf:
            return f"timestamp: must be seconds >= 0, got {json.dumps(stamp)}"
        if stamp < self._latest:
            return (
                f"timestamp: must not fall, got {stamp} after {self._latest:g}; "
                "sort the file by timestamp"
            )
        return self._chat_problem(row) or ids_problem(
            row.get("hash_ids") or [], row["input_length"], BLOCK_SIZE
        )

    def _chat_problem(self, row: dict[str, Any]) -> str | None:
        chat, parent = row["chat_id"], row.get("parent_chat_id", -1)
        for name, value in (("chat_id", chat), ("parent_chat_id", parent)):
            if type(value) is not int:
                return f"{name}: must be a whole number, got {json.dumps(value)}"
        if chat in self._places:
            return f"chat_id: {chat} stands there twice; give each chat an id of its own"
        if parent != -1 and parent not in self._places:
            return (
                f"parent_chat_id: no row before has chat_id {parent}; "
                "-1 makes the chat the first of a session"
            )
        return None
