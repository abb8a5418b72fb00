"""Inputs of AIPerf (ai-dynamo/aiperf, as version 0.13.0 of 2026-09 reads them).

`mooncake_trace` (``--custom-dataset-type mooncake_trace``): rows of `timestamp` in milliseconds,
`input_length`, `output_length`, `hash_ids` in blocks of 512 tokens (``--isl-block-size`` for
another). AIPerf makes text of these lengths, the same for the same id, and fresh text where ids
end before the prompt does. Rows with one `session_id` are turns of a conversation: AIPerf puts all
earlier turns and *its server's own answers* before each (context mode `deltas_without_responses`),
so a later row states only what the turn adds; with ``--fixed-schedule`` the first is sent at its
`timestamp`, a later one `delay` milliseconds after the answer before it (a later row with a
timestamp would be sent then, so it has none).

`multi_turn` (``--custom-dataset-type multi_turn``): the same conversations with words in place of
lengths, `{"session_id": …, "turns": [{"timestamp" or "delay", "text", "output_length"}]}`. One line
a turn, as it comes: AIPerf joins the lines of a session. ``--fixed-schedule`` looks for a time at
the top of the first line, so that line has its time there too.

A conversation of AIPerf is a line of turns. A turn whose prompt does not continue the one before it
in its agent (another agent's first, one after a compaction, any where prompts do not grow) begins
a conversation of its own at its recorded time; what waited for it waits no more. All is counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from factory.workload.blocks import Runs, trimmed
from factory.workload.exports.mooncake import hash_ids
from factory.workload.exports.rows import Demand, Loss, Losses, Row, milliseconds, timed
from factory.workload.exports.words import Words

#: The version whose documentation and loaders this follows.
VERSION = "0.13.0"
#: Tokens of a hash block unless ``--isl-block-size`` says other.
BLOCK_SIZE = 512

APART = Loss(
    "turn does not continue the prompt before it: it is sent at its time, as a conversation of "
    "its own",
    "turns do not continue the prompts before them: they are sent at their times, as "
    "conversations of their own",
)
SUBAGENT = Loss(
    "sub-agent starts at its recorded time, not when its parent's answer comes",
    "sub-agents start at their recorded times, not when their parents' answers come",
)
JOIN = Loss(
    "turn waits for the answer before it and a fixed time, not for its sub-agents",
    "turns wait for the answers before them and a fixed time, not for their sub-agents",
)
TIMED = Loss(
    "turn is sent at its recorded time (or after the answer before it, if later)",
    "turns are sent at their recorded times (or after the answers before them, if later)",
)


@dataclass(slots=True)
class _Last:
    """The latest turn of one agent of a session."""

    number: int
    input_tokens: int
    output_tokens: int
    blocks: Runs
    answered_s: float
    part: int  # conversations of AIPerf that the agent has begun before this one


@dataclass(slots=True)
class Turn:
    """What AIPerf is to send.

    Attributes:
        number: Position of the row.
        session: Name of the conversation; None for a request of its own.
        time_s: When to send it, seconds, but not before the answer before it; None to send it
            `delay_s` after that.
        delay_s: Seconds after the answer before it.
        added_tokens: Tokens that the turn adds to its conversation.
        output_tokens: Answer tokens.
        blocks: Runs of ids of its prompt; None for a turn that continues one.
    """

    number: int
    session: str | None
    time_s: float | None
    delay_s: float
    added_tokens: int
    output_tokens: int
    blocks: Runs | None


def turns(demand: Demand, losses: Losses, block_size: int) -> Iterator[Turn]:
    """Yields the rows of a demand as turns of AIPerf's conversations.

    Args:
        demand: Its rows in order of arrival.
        losses: Counts what is lost.
        block_size: Tokens of a block.
    """
    sessions: dict[str, dict[int, _Last]] = {}

    def forget(session: str) -> None:
        sessions.pop(session, None)

    demand.on_over.append(forget)
    for row in timed(demand.rows, losses):
        if row.session is None:
            yield Turn(
                row.number, None, row.time_s, 0.0, row.input_tokens, row.output_tokens, row.blocks
            )
            continue
        agents = sessions.setdefault(row.session, {})
        last = agents.get(row.agent)
        added = _added(row, last, block_size)
        part = 0 if last is None else last.part + (not added)
        agents[row.agent] = _Last(
            row.number, row.input_tokens, row.output_tokens, row.blocks, row.answered_s, part
        )
        name = _name(row.session, row.agent, part)
        if last is None or not added:
            if last is not None:
                losses.count(APART)
            elif row.agent:
                losses.count(SUBAGENT)
            yield Turn(
                row.number, name, row.time_s, 0.0, row.input_tokens, row.output_tokens, row.blocks
            )
            continue
        delay_s = _delay(row, last)
        time_s = None
        if math.isnan(delay_s):
            losses.count(TIMED)
            time_s = row.time_s
        elif row.after not in {-1, last.number}:
            losses.count(JOIN)
        yield Turn(row.number, name, time_s, delay_s, added, row.output_tokens, None)


def trace_lines(
    demand: Demand, losses: Losses, block_size: int, *, names_blocks: bool
) -> Iterator[str]:
    """Yields the lines of a `mooncake_trace` input.

    Args:
        demand: Its rows in order of arrival.
        losses: Counts what is lost.
        block_size: Tokens of a block.
        names_blocks: Whether the source names blocks.
    """
    is_first = demand.has_sessions
    for turn in turns(demand, losses, block_size):
        made: dict[str, object] = {}
        if turn.time_s is not None:
            made["timestamp"] = milliseconds(turn.time_s)
        made["input_length"] = turn.added_tokens
        made["output_length"] = turn.output_tokens
        if names_blocks and turn.blocks is not None:
            made["hash_ids"] = hash_ids(turn.blocks)
        if turn.session is not None or is_first:
            made["session_id"] = turn.session
            is_first = False
        if turn.time_s is None:
            made["delay"] = milliseconds(turn.delay_s)
        yield json.dumps(made) + "\n"


def multi_turn_lines(demand: Demand, losses: Losses, block_size: int, seed: int) -> Iterator[str]:
    """Yields the lines of a `multi_turn` input.

    Args:
        demand: Its rows in order of arrival.
        losses: Counts what is lost.
        block_size: Tokens of a block: the words of a whole one depend on its id.
        seed: Root of the random streams that draw words.
    """
    words = Words(seed, block_size)
    is_first = True
    for turn in turns(demand, losses, block_size):
        made: dict[str, object] = {}
        if turn.session is not None:
            made["session_id"] = turn.session
        text = words.text(turn.added_tokens, turn.number, turn.blocks or (), block_size)
        sent: dict[str, object] = (
            {"delay": milliseconds(turn.delay_s)}
            if turn.time_s is None
            else {"timestamp": milliseconds(turn.time_s)}
        )
        if is_first and turn.time_s is not None:
            made["timestamp"] = milliseconds(turn.time_s)
        is_first = False
        made["turns"] = [{**sent, "text": text, "output_length": turn.output_tokens}]
        yield json.dumps(made) + "\n"


def _delay(row: Row, last: _Last) -> float:
    """Seconds from the answer before it in its agent to a turn, ≥ 0; NaN if not known."""
    if row.after in {-1, last.number} and not math.isnan(row.delay_s):
        return row.delay_s
    waited_s = row.time_s - last.answered_s
    return 0.0 if waited_s < 0 else waited_s


def _added(row: Row, last: _Last | None, block_size: int) -> int:
    """Tokens that a turn adds to prompt and answer before it; 0 if it does not continue them."""
    if last is None:
        return 0
    added = row.input_tokens - last.input_tokens - last.output_tokens
    if added < 1:
        return 0
    whole = min(last.input_tokens // block_size, sum(last.blocks[1::2]))
    if trimmed(last.blocks, whole) != trimmed(row.blocks, whole):
        return 0
    return added


def _name(session: str, agent: int, part: int) -> str:
    name = f"{session}/{agent}" if agent else session
    return f"{name}#{part}" if part else name
