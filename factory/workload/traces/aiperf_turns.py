"""Lines of AIPerf's inputs: what a conversation says, with texts counted and forgotten."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from factory.workload.traces.rows import MAX_TOKENS
from factory.workload.traces.texts import Piece, piece

_LENGTHS = ("output_length", "max_tokens")
_TEXTS = ("text", "texts", "messages")
_MEDIA = ("image", "images", "audio", "audios", "video", "videos")
_WHOLE_ARRAYS = "message_array_with_responses"
_MODES = (None, "deltas_without_responses", _WHOLE_ARRAYS)


@dataclass(frozen=True, slots=True)
class Turn:
    """A request of a conversation.

    Attributes:
        pieces: What it adds to the prompt.
        output_tokens: Length of the answer.
        time_s: When it is sent at the earliest, seconds; NaN where not stated.
        delay_s: Seconds after the answer before it; NaN where not stated.
        forks: Conversations that go on from its answer; each with whether this one goes on too.
        spawns: Conversations that begin after its answer; each group with the turn that waits for
            the ends of all of them.
    """

    pieces: tuple[Piece, ...]
    output_tokens: int
    time_s: float = math.nan
    delay_s: float = math.nan
    forks: tuple[tuple[str, bool], ...] = ()
    spawns: tuple[tuple[tuple[str, ...], int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A line of a file.

    Attributes:
        name: Its `session_id`; None for a turn by itself.
        turns: Its requests.
        ahead: Conversations that begin with it, before its first answer.
        rounds: Of an orchestrator, which sends nothing itself: conversations that begin together
            once those of the round before are over, and seconds that it waits in between.
        is_whole: Whether every turn states its whole prompt, so that no answer is put before it.
        line: Where it stands.
    """

    name: str | None
    turns: tuple[Turn, ...]
    ahead: tuple[str, ...] = ()
    rounds: tuple[tuple[tuple[str, ...], float], ...] = ()
    is_whole: bool = False
    line: int = 0


class _WrongError(Exception):
    """What is wrong with a line."""


def conversation(row: Any) -> Conversation | str:
    """Returns what a line says, or what is wrong with it."""
    try:
        return _conversation(row)
    except _WrongError as problem:
        return str(problem)


def _conversation(row: Any) -> Conversation:
    if not isinstance(row, dict):
        raise _WrongError(f"must be a JSON object, got {json.dumps(row)[:40]}")
    name = row.get("session_id")
    if name is not None and not (isinstance(name, str) and name):
        raise _WrongError(f"session_id: must be a name, got {json.dumps(name)}")
    if row.get("orchestrator"):
        return Conversation(_needed(name), (), rounds=_rounds(row))
    if "turns" not in row:
        if not any(key in row for key in _TEXTS):
            raise _WrongError(f"turns is missing, has {', '.join(map(str, row))}")
        return Conversation(name, (_turn(row, "", 0, 1),))
    turns = row["turns"]
    if not isinstance(turns, list) or not turns:
        raise _WrongError("turns: must be a list with at least one turn")
    mode = row.get("context_mode")
    if mode not in _MODES:
        known = ", ".join(str(known) for known in _MODES[1:])
        raise _WrongError(f"context_mode: must be one of {known}, got {json.dumps(mode)}")
    hidden: tuple[Piece, ...] = ()
    if isinstance(turns[0], dict) and _is_system(turns[0]) and len(turns) > 1:
        hidden = _pieces(turns[0], "turns.0")
        turns = turns[1:]
    made = [_turn(turn, f"turns.{i}.", i, len(turns)) for i, turn in enumerate(turns)]
    if hidden:
        first = made[0]
        made[0] = Turn(
            (*hidden, *first.pieces), first.output_tokens, first.time_s, first.delay_s,
            first.forks, first.spawns,
        )  # fmt: skip
    ahead = _names(row.get("pre_session_spawns", []), "pre_session_spawns")
    return Conversation(name, tuple(made), ahead, (), mode == _WHOLE_ARRAYS)


def _needed(name: str | None) -> str:
    if name is None:
        raise _WrongError("session_id is missing")
    return name


def _is_system(turn: dict[str, Any]) -> bool:
    """Whether AIPerf puts a first turn before all others rather than send it."""
    sent = ("timestamp", "delay", "output_length", "extra")
    return turn.get("role") == "system" and not any(key in turn for key in sent)


def _turn(turn: Any, place: str, index: int, count: int) -> Turn:
    if not isinstance(turn, dict):
        raise _WrongError(f"{place[:-1]}: must be an object, got {json.dumps(turn)[:40]}")
    length = next((turn[key] for key in _LENGTHS if turn.get(key) is not None), None)
    if length is None:
        raise _WrongError(
            f"{place}output_length (or max_tokens) is missing: AIPerf leaves the answer's length "
            "to the server, a simulation has to be told it"
        )
    if type(length) is not int or not 1 <= length <= MAX_TOKENS:
        raise _WrongError(
            f"{place}output_length: must be a whole number of tokens >= 1, got {json.dumps(length)}"
        )
    forks = tuple(_fork(fork, place, index + 1 == count) for fork in turn.get("forks") or [])
    spawns = tuple(_spawn(spawn, place, index, count) for spawn in turn.get("spawns") or [])
    return Turn(
        _pieces(turn, place.rstrip(".")),
        length,
        _milliseconds(turn, "timestamp", place),
        _milliseconds(turn, "delay", place),
        forks,
        spawns,
    )


def _milliseconds(turn: dict[str, Any], name: str, place: str) -> float:
    value = turn.get(name)
    if value is None:
        return math.nan
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise _WrongError(f"{place}{name}: must be milliseconds >= 0, got {json.dumps(value)}")
    return float(value) / 1000.0


def _pieces(turn: dict[str, Any], place: str) -> tuple[Piece, ...]:
    media = next((name for name in _MEDIA if turn.get(name)), None)
    if media:
        raise _WrongError(f"{place}: {media} has no known number of tokens; only text can be read")
    role = str(turn.get("role") or "user")
    pieces = []
    if turn.get("tools"):
        pieces.append(piece(json.dumps(turn["tools"], sort_keys=True), "tools"))
    texts = turn.get("texts")
    for text in [turn["text"]] if turn.get("text") is not None else texts or []:
        if not isinstance(text, str):
            raise _WrongError(f"{place}: text must be a string, got {json.dumps(text)[:40]}")
        pieces.append(piece(text, role))
    pieces += [_message(message, place) for message in turn.get("messages") or []]
    if not pieces:
        raise _WrongError(f"{place or 'the turn'}: must have one of {', '.join(_TEXTS)}")
    return tuple(pieces)


def _message(message: Any, place: str) -> Piece:
    if not isinstance(message, dict) or "role" not in message:
        raise _WrongError(f"{place}: each message must be an object with a role")
    content = message.get("content") or ""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if None in parts:
            raise _WrongError(f"{place}: a part that is not text has no known number of tokens")
        content = "\n".join(map(str, parts))
    calls = message.get("tool_calls")
    text = str(content) + (json.dumps(calls, sort_keys=True) if calls else "")
    return piece(text, str(message["role"]))


def _fork(fork: Any, place: str, is_last: bool) -> tuple[str, bool]:
    child, goes_on = fork, False
    if isinstance(fork, dict):
        child, goes_on = fork.get("child"), bool(fork.get("background"))
    if not isinstance(child, str):
        raise _WrongError(f"{place}forks: must name conversations, got {json.dumps(fork)}")
    if not goes_on and not is_last:
        raise _WrongError(
            f"{place}forks: {child} ends the conversation, so only its last turn may have it; "
            f'{{"child": "{child}", "background": true}} lets it go on'
        )
    return child, goes_on


def _spawn(spawn: Any, place: str, index: int, count: int) -> tuple[tuple[str, ...], int | None]:
    if isinstance(spawn, str):
        # The next turn waits for it, if there is one.
        return (spawn,), index + 1 if index + 1 < count else None
    if not isinstance(spawn, dict) or not spawn.get("children"):
        raise _WrongError(f"{place}spawns: must name conversations, got {json.dumps(spawn)}")
    join = spawn.get("join_at")
    if join is not None and (type(join) is not int or not index < join < count):
        raise _WrongError(
            f"{place}spawns: join_at: must be a later turn of the {count}, got {json.dumps(join)}"
        )
    if join is None and index + 1 < count:
        join = index + 1
    return _names(spawn["children"], f"{place}spawns"), join


def _names(names: Any, place: str) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _WrongError(f"{place}: must be a list of session_ids, got {json.dumps(names)[:40]}")
    return tuple(names)


def _rounds(row: dict[str, Any]) -> tuple[tuple[tuple[str, ...], float], ...]:
    if row.get("turns"):
        raise _WrongError("turns: an orchestrator sends nothing itself; leave them out")
    if any(row.get(f"think_time_{name}") for name in ("sigma", "min_ms", "max_ms")):
        raise _WrongError(
            "think_time_sigma: waits that are drawn cannot be read; state think_time_ms"
        )
    think_ms = row.get("think_time_ms", 0)
    rounds = row.get("rounds", 1)
    if type(rounds) is int and rounds >= 1:
        rounds = [{"spawns": row.get("spawns")}] * rounds
    if not isinstance(rounds, list) or not all(isinstance(one, dict) for one in rounds):
        raise _WrongError(f"rounds: must be a number >= 1 or a list, got {json.dumps(rounds)[:40]}")
    found = []
    for one in rounds:
        names = _names(one.get("spawns"), "spawns")
        if not names:
            raise _WrongError("spawns: must name at least one conversation")
        wait = {"think_time_ms": one.get("think_time_ms", think_ms)}
        found.append((names, _milliseconds(wait, "think_time_ms", "")))
    return tuple(found)
