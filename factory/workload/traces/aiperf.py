"""Conversations as AIPerf takes them: `single_turn`, `multi_turn` and `dag_jsonl` inputs.

https://docs.nvidia.com/aiperf (0.13, 2026; custom dataset guide, DAG benchmarks). A line is a
conversation `{"session_id": …, "turns": […]}` or a turn by itself. A turn has its new text (`text`,
`texts` or `messages`), how long its answer is (`output_length` or `max_tokens`), and `delay` (ms
after the answer before it) or `timestamp` (ms). AIPerf puts earlier turns and live answers before
each turn; lines of one `session_id` are one conversation. Texts are counted, not kept (`texts`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from factory.workload.sessions.plan import SessionPlan
from factory.workload.traces.aiperf_dag import plans
from factory.workload.traces.aiperf_turns import Conversation, Turn, conversation
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.batch import Records, TurnRow, of_turns
from factory.workload.traces.detect import looks_like
from factory.workload.traces.lines import line_blocks
from factory.workload.traces.texts import Text, Texts

_BRANCHES = ('"forks"', '"spawns"', '"pre_session_spawns"', '"orchestrator"', '"context_mode"')


def has_branches(path: str) -> bool:
    """Whether any conversation leads to others, or is not a plain one; reads the file once.

    Raises:
        InputError: The file cannot be read.
    """
    return any(
        sign in line for _, lines in line_blocks(path) for line in lines for sign in _BRANCHES
    )


def read(bad: BadRows, block_size: int, sessions: int | None = None) -> Iterator[Records]:
    """Yields the turns of plain conversations in file order, with their whole prompts.

    Args:
        bad: The file, and what to do about malformed lines.
        block_size: Tokens per block.
        sessions: Conversations to read at most.

    Raises:
        InputError: A line is malformed, or the file cannot be read or holds none.
    """
    known: dict[str, _Session] = {}
    texts = Texts(block_size)
    latest_s = 0.0
    some = False
    for number, lines in line_blocks(bad.path):
        rows: list[TurnRow] = []
        for line, found in _conversations(lines, number, bad):
            name = found.name or f"\n{line}"
            session = known.get(name)
            if session is None:
                if len(known) == sessions:
                    continue
                session = _Session(len(known))
            start_s = next((t.time_s for t in found.turns if not math.isnan(t.time_s)), latest_s)
            if start_s < latest_s:
                problem = f"timestamp: must not fall from line to line, got {1e3 * start_s:g}"
                bad.report(line, f"{problem} after {1e3 * latest_s:g}; sort the file by it")
                continue
            latest_s = start_s
            known[name] = session
            rows += session.rows(found, texts)
        if rows:
            some = True
            yield of_turns(rows, block_size, last="delay")
    if not some:
        raise bad.nothing_left()


def branching(bad: BadRows, block_size: int, sessions: int | None = None) -> Iterator[SessionPlan]:
    """Yields the trees of conversations, in the order of their roots in the file.

    The file is read whole (its texts are not kept), for a conversation may lead to any other.

    Args:
        bad: The file, and what to do about malformed lines.
        block_size: Tokens per block.
        sessions: Roots to read at most.

    Raises:
        InputError: A line is malformed, a conversation is named that is not there or leads back to
            itself, or the file cannot be read or holds none.
    """
    found: dict[str, Conversation] = {}
    for number, lines in line_blocks(bad.path):
        for line, one in _conversations(lines, number, bad):
            name = one.name or f"\n{line}"
            if name in found:
                bad.report(line, f"session_id: {name} stands there twice (line {found[name].line})")
            else:
                found[name] = replace(one, line=line)
    if not found:
        raise bad.nothing_left()
    return plans(found, bad, Texts(block_size), sessions)


def _conversations(
    lines: list[str], number: int, bad: BadRows
) -> Iterator[tuple[int, Conversation]]:
    for line, text in enumerate(lines, number):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            bad.report(line, f"is not JSON: {error}")
            continue
        found = conversation(row)
        if isinstance(found, str):
            bad.report(line, found + (looks_like(text, "aiperf") if line == 1 else ""))
        else:
            yield line, found


@dataclass(slots=True)
class _Session:
    """A conversation so far: its number, turns, and prompt with the answer."""

    number: int
    turns: int = 0
    text: Text = field(default_factory=Text)

    def rows(self, found: Conversation, texts: Texts) -> list[TurnRow]:
        return [self._row(turn, texts) for turn in found.turns]

    def _row(self, turn: Turn, texts: Texts) -> TurnRow:
        prompt = self.text
        for more in turn.pieces:
            prompt = texts.said(prompt, more)
        self.text = texts.answered(prompt, turn.output_tokens)
        number = self.turns
        self.turns += 1
        delay_s = turn.delay_s if number else math.nan
        return (
            turn.time_s, max(1, prompt.tokens), turn.output_tokens, prompt.runs, self.number,
            number, delay_s,
        )  # fmt: skip
