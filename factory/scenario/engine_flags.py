"""Flags of a serving engine: what a command line gives, each with where it was written.

Pure: text in, parsed flags out. What a flag means for a scenario is said elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from factory.errors import Problem, ScenarioError
from factory.scenario.document import parse_value, read
from factory.scenario.engine_command import Program, Words, take_apart
from factory.scenario.nearest import nearest

Kind = Literal["text", "count", "tokens", "number", "share", "switch", "json", "list"]
Effect = Literal["sets", "none", "unmodelled"]

_NUMBER = re.compile(r"-\d+(\.\d+)?")
_TOKENS = re.compile(r"(\d+(?:\.\d+)?)([kKmMgG])")
_SCALE = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
_SECRET = re.compile(r"TOKEN$|API_?KEY|ACCESS_KEY|SECRET|PASSWORD", re.IGNORECASE)
_SHORT_JOINED = re.compile(r"(-O)(\d)")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of an engine.

    Attributes:
        name: long name without the dashes.
        kind: what its value is. ``count`` is whole and at least ``least``; ``tokens`` also takes
            ``32k`` (1,000s), ``32K`` (1,024s), ``auto`` and -1; ``share`` lies in (0, 1]; ``list``
            takes words up to the next flag; a ``switch`` none (``--no-NAME`` turns it off).
        effect: whether it sets something in a scenario, has no effect there, or is not modelled.
        why: for those without effect and those not modelled, the reason.
        aliases: other spellings, with their dashes.
        choices: the values allowed, if they are few.
        least: smallest count or number.
    """

    name: str
    kind: Kind
    effect: Effect
    why: str = ""
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    least: float = 0


@dataclass(frozen=True, slots=True)
class Given:
    """A flag as it was given.

    Attributes:
        flag: which.
        value: its value, read; None for ``auto``.
        written: as the user wrote it, e.g. ``-tp 8``; secrets are masked.
        place: the file it stands in; empty for the command line.
    """

    flag: Flag
    value: Any
    written: str
    place: str = ""

    @property
    def source(self) -> str:
        """Where a value came from, for a comment."""
        return f"{self.written} ({self.place})" if self.place else self.written


@dataclass(frozen=True, slots=True)
class Unknown:
    """A flag that the table lacks, with the known one it resembles."""

    written: str
    nearest: str | None


@dataclass(frozen=True, slots=True)
class Command:
    """A server's command line, read.

    Attributes:
        engine: vllm or sglang.
        model: the model it serves, as written.
        given: flags by name; the last one of several counts.
        unknown: flags that the table lacks.
        environment: variables set for it; secrets are masked.
        image: its container's image.
    """

    engine: str
    model: Given
    given: Mapping[str, Given]
    unknown: tuple[Unknown, ...]
    environment: Mapping[str, str]
    image: str | None


def parse(
    text: str,
    program: Program,
    flags: Sequence[Flag],
    read_file: Callable[[str], bytes] | None = None,
) -> Command:
    """Read the command line of a server.

    Args:
        text: the command, as typed or pasted.
        program: the engine.
        flags: every flag that is known of it; ``model`` among them.
        read_file: gives the bytes of the YAML file that ``--config`` names; raises ``OSError``.

    Returns:
        What it gives.

    Raises:
        ScenarioError: values that cannot be used, all of them at once.
        InputError: the text does not start this engine.
    """
    words = take_apart(text, program)
    reader = _Reader(program, flags)
    reader.take(words.arguments)
    config = reader.given.get("config")
    if config is not None and read_file is not None:
        reader.take_file(str(config.value), read_file)
    model = reader.model()
    if reader.problems or model is None:
        raise ScenarioError(reader.problems)
    return Command(
        program.engine,
        model,
        {name: given for name, given in reader.given.items() if name != "model"},
        tuple(reader.unknown),
        _masked(words),
        words.image,
    )


def _masked(words: Words) -> dict[str, str]:
    return {
        name: "***" if _SECRET.search(name) and value else value
        for name, value in words.environment
    }


class _Reader:
    """A command line while it is read."""

    def __init__(self, program: Program, flags: Sequence[Flag]) -> None:
        self.place = f"{program.title} command"
        self.program = program
        self.given: dict[str, Given] = {}
        self.unknown: list[Unknown] = []
        self.problems: list[Problem] = []
        self._positional: list[str] = []
        self._spellings = {f"--{flag.name}": flag for flag in flags}
        for flag in flags:
            self._spellings.update(dict.fromkeys(flag.aliases, flag))

    def take(self, words: Sequence[str], place: str = "") -> None:
        """Reads flags; those of a file do not replace those of the command line."""
        index = 0
        while index < len(words):
            word = words[index]
            index += 1
            if not word.startswith("-") or len(word) == 1:
                self._positional.append(word)
                continue
            joined = _SHORT_JOINED.fullmatch(word)
            name, has_value, value = (joined[1], "=", joined[2]) if joined else word.partition("=")
            flag, is_negated, keys = self._find(name)
            room = [value] if has_value else list(_values(words[index:]))
            if flag is None:
                if not has_value:
                    index += len(room)
                shown = name if not room else f"{name} {' '.join(room)}"
                self.unknown.append(Unknown(_shown(name, shown), self._nearest(name)))
                continue
            taken = 0 if flag.kind == "switch" else len(room) if flag.kind == "list" else 1
            if flag.kind == "switch" and not has_value:
                room = []
            if flag.kind == "json" and not has_value and index < len(words):
                room = [words[index]]
            self._put(flag, name, room[: max(taken, 1)], is_negated, keys, place)
            if not has_value:
                index += min(taken, len(room))

    def take_file(self, name: str, read_file: Callable[[str], bytes]) -> None:
        """Reads a ``--config`` file, whose keys are the long names."""
        try:
            document = read(read_file(name), name)
        except OSError as error:
            reason = error.strerror or "no such file"
            self.problems.append(Problem("--config", f"cannot be read: {reason}", name))
            return
        self.problems += document.problems
        data = document.data
        if not isinstance(data, dict):
            if not document.problems:
                message = "must hold a mapping of flags, as max-model-len: 32768"
                self.problems.append(Problem("", message, location=name))
            return
        for key, value in data.items():
            spelled = f"--{str(key).replace('_', '-')}"
            if value is None or (value is False and self._find(spelled)[0] is None):
                continue
            if value is False:
                spelled = f"--no-{spelled[2:]}"
            self.take([spelled, *_as_words(value)], name)

    def model(self) -> Given | None:
        """The model: the first free word, or ``--model``."""
        flag = self._spellings["--model"]
        for extra in self._positional[1:]:
            message = "is not a flag, and the model is named already"
            self.problems.append(Problem("", message, extra, location=self.place))
        if self._positional:
            word = self._positional[0]
            return Given(flag, word, word)
        found = self.given.get("model")
        if found is None and not self.problems:
            message = (
                f"names no model, as {self.program.example.replace('MODEL', 'Qwen/Qwen3-32B')}"
            )
            held = [one.written for one in self.unknown if "/" in one.written]
            if held:
                message += f"; {held[0]} is unknown here and took the word after it"
            self.problems.append(Problem("", message, location=self.place))
        return found

    def _find(self, name: str) -> tuple[Flag | None, bool, tuple[str, ...]]:
        """The flag of a spelling, whether it is turned off, and keys (``--x.key``) into it."""
        spelled, *keys = name.split(".") if name.startswith("-") else [name]
        if spelled.startswith("--"):
            spelled = spelled.replace("_", "-")
        if spelled in self._spellings:
            flag = self._spellings[spelled]
            return (
                (flag, False, tuple(keys))
                if not keys or flag.kind == "json" or flag.effect == "none"
                else (None, False, ())
            )
        positive = self._spellings.get(f"--{spelled[5:]}") if spelled.startswith("--no-") else None
        if positive is not None and positive.kind == "switch":
            return positive, True, ()
        # As argparse does: the beginning of one long name stands for it.
        begun = {
            flag.name: flag
            for other, flag in self._spellings.items()
            if len(spelled) > 4 and spelled.startswith("--") and other.startswith(spelled)
        }
        return (next(iter(begun.values())), False, ()) if len(begun) == 1 else (None, False, ())

    def _nearest(self, name: str) -> str | None:
        longs = [spelling for spelling in self._spellings if spelling.startswith("--")]
        return nearest(name, longs) if name.startswith("--") else None

    def _put(
        self,
        flag: Flag,
        name: str,
        room: Sequence[str],
        is_negated: bool,
        keys: tuple[str, ...],
        place: str,
    ) -> None:
        before = self.given.get(flag.name)
        if place and before is not None and not before.place:
            return
        text = " ".join(room)
        written = _shown(name, f"{name} {text}".strip())
        try:
            value = None if keys else _read(flag, room, is_negated)
        except _WrongError as wrong:
            where = place or self.place
            found = Problem(name, wrong.message, text or None, wrong.allowed, wrong.hint, where)
            self.problems.append(found)
            return
        if keys and flag.kind == "json":
            value = _nested(before, keys, text)
            written = f"{before.written} {written}" if before is not None else written
        self.given[flag.name] = Given(flag, value, written, place)


@dataclass
class _WrongError(Exception):
    message: str
    allowed: str | None = None
    hint: str | None = field(default=None)


def _read(flag: Flag, room: Sequence[str], is_negated: bool) -> Any:
    """The value of a flag.

    Raises:
        _WrongError: it has none that can be used.
    """
    if flag.kind == "switch":
        text = room[0].lower() if room else "true"
        if text not in ("true", "false"):
            raise _WrongError("is a switch", "true, false, or nothing")
        return (text == "true") is not is_negated
    if flag.kind == "list":
        return tuple(room)
    if not room:
        raise _WrongError("needs a value", ", ".join(flag.choices) or _allowed(flag))
    text = room[0]
    if "$" in text and flag.kind != "text":
        raise _WrongError("is a shell variable that the text does not set; write its value")
    if flag.choices and text not in flag.choices:
        message = "must be one of those allowed"
        raise _WrongError(message, ", ".join(flag.choices), nearest(text, flag.choices))
    if flag.kind == "json":
        return _json(text)
    return text if flag.kind == "text" else _number(flag, text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        message = f"is not JSON ({error})"
        raise _WrongError(message, """'{"key": "value"}' in single quotes""") from None


def _number(flag: Flag, text: str) -> float | int | None:
    if flag.kind == "tokens":
        if text.lower() in ("auto", "-1"):
            return None
        scaled = _TOKENS.fullmatch(text)
        if scaled and (scaled[2].islower() or "." not in scaled[1]):
            return int(float(scaled[1]) * _SCALE[scaled[2]])
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    is_whole = flag.kind in ("count", "tokens")
    is_good = number >= flag.least and number < float("inf")
    if flag.kind == "share":
        is_good = 0 < number <= 1
    if not is_good or (is_whole and not number.is_integer()):
        raise _WrongError(f"must be {_allowed(flag)}")
    return int(number) if is_whole else number


def _allowed(flag: Flag) -> str:
    least = f"{flag.least:g}"
    return {
        "count": f"a whole number >= {least}",
        "tokens": f"a whole number >= {least}, as 32768, 32k, 32K or auto",
        "number": f"a number >= {least}",
        "share": "a number > 0 and <= 1",
        "json": "JSON in single quotes",
    }.get(flag.kind, "a word")


def _values(words: Sequence[str]) -> Iterator[str]:
    """The words up to the next flag; a negative number is no flag."""
    for word in words:
        if word.startswith("-") and len(word) > 1 and not _NUMBER.fullmatch(word):
            return
        yield word


def _nested(before: Given | None, keys: tuple[str, ...], text: str) -> dict[str, Any]:
    """``--x.key value`` written into what ``--x`` holds so far."""
    whole: dict[str, Any] = {}
    if before is not None and isinstance(before.value, dict):
        whole = dict(before.value)
    inner = whole
    for key in keys[:-1]:
        below = inner.get(key)
        inner[key] = dict(below) if isinstance(below, dict) else {}
        inner = inner[key]
    try:
        inner[keys[-1]] = parse_value(text)
    except ValueError:
        inner[keys[-1]] = text
    return whole


def _as_words(value: object) -> list[str]:
    """A value of a YAML file as the command line has it."""
    if isinstance(value, bool):
        return []
    if isinstance(value, dict):
        return [json.dumps(value)]
    if isinstance(value, list):
        return [str(item) for item in value]
    return [str(value)]


def _shown(name: str, text: str) -> str:
    """What was written on one line, without a secret."""
    return f"{name} ***" if _SECRET.search(name.replace("-", "_")) else text
