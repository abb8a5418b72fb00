"""From the text of a shell command to the words an engine's server was started with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from factory.errors import InputError

_OPERATORS = frozenset("();<>|&")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^}]*))?\}|([A-Za-z_]\w*))")
_REDIRECTION = re.compile(r"(?<=\s)(?:\d?>>?|&>)(?:&\d|[ \t]*[^\s&|;<>]+)")
_CONTAINERS = ("docker", "podman", "nerdctl")
_SHELL_FLAGS = ("-c", "-lc", "-ec", "-exc", "-xc")

# Options of `docker run` that stand alone; every other one takes a value.
_ALONE = (
    *("-d", "-i", "-t", "-it", "-ti", "-dit", "-itd", "-P", "-q", "--detach", "--interactive"),
    *("--tty", "--rm", "--init", "--privileged", "--no-healthcheck", "--oom-kill-disable"),
    *("--publish-all", "--read-only", "--quiet"),
)


@dataclass(frozen=True, slots=True)
class Program:
    """How an engine's server is started.

    Attributes:
        engine: vllm or sglang.
        title: its name in messages.
        modules: what ``python -m`` starts; the words after it are the server's.
        commands: words that start it by themselves.
        images: parts of the names of its container images, whose entry point is the server.
    """

    engine: str
    title: str
    modules: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    images: tuple[str, ...]

    @property
    def example(self) -> str:
        """A command that it understands."""
        return " ".join(self.commands[0]) + " MODEL …"


VLLM = Program(
    engine="vllm",
    title="vLLM",
    modules=("vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server"),
    commands=(("vllm", "serve"), ("vllm.entrypoints.cli.main", "serve")),
    images=("vllm",),
)
SGLANG = Program(
    engine="sglang",
    title="SGLang",
    modules=("sglang.launch_server", "sglang.srt.entrypoints.http_server", "dynamo.sglang"),
    commands=(("python -m sglang.launch_server",), ("sglang", "serve")),
    images=(),
)


@dataclass(frozen=True, slots=True)
class Words:
    """A command taken apart.

    Attributes:
        arguments: the server's own words.
        environment: variables set for it, in order.
        image: the container's image, if it runs in one.
    """

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    image: str | None


def take_apart(text: str, program: Program) -> Words:
    r"""The words of the server in a command as people paste it.

    Line continuations, newlines, comment lines, redirections and what follows ``|``, ``;`` or ``&``
    are understood; ``$NAME`` is replaced where the same text sets it.

    Args:
        text: a command, or a script with one.
        program: the engine it must start.

    Raises:
        InputError: it cannot be read, or starts something else.
    """
    words = _split(text, program)
    start, image = _start(words, program)
    if start is None:
        nested = _nested(words, program)
        if nested is not None:
            inner = take_apart(nested, program)
            return Words(inner.arguments, (*_environment(words), *inner.environment), inner.image)
        shown = " ".join(words)
        message = f"this does not start {program.title}: {shown[:80]}{'…' * (len(shown) > 80)}"
        raise InputError(f"factory import {program.engine}: {message} (allowed: {program.example})")
    arguments = words[start:]
    end = next((i for i, word in enumerate(arguments) if _is_operator(word)), len(arguments))
    environment = _environment(words[:start])
    known = dict(environment)
    return Words(
        tuple(_expanded(word, known) for word in arguments[:end]), tuple(environment), image
    )


def _split(text: str, program: Program) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\[ \t]*\n", " ", "\n".join(lines) + "\n")
    lexer = shlex.shlex(_REDIRECTION.sub(" ", joined), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError as error:
        reason = "a quote is not closed" if "quotation" in str(error) else str(error).lower()
        raise InputError(f"factory import {program.engine}: {reason} in the command") from None


def _start(words: Sequence[str], program: Program) -> tuple[int | None, str | None]:
    """Where the server's own words begin, and the image they run in."""
    image, after = _image(words)
    for index in range(len(words)):
        if words[index] in program.modules and index and words[index - 1] == "-m":
            return index + 1, image
        for command in program.commands:
            found = [words[index].rsplit("/", 1)[-1], *words[index + 1 : index + len(command)]]
            if tuple(found) == command:
                return index + len(command), image
    if image is not None and any(part in image for part in program.images):
        return after + (words[after : after + 1] == ["serve"]), image
    if words and words[0] == "serve" and program is VLLM:
        return 1, image
    return None, image


def _image(words: Sequence[str]) -> tuple[str | None, int]:
    """The image of a ``docker run``, and the place behind it."""
    places = [i for i, word in enumerate(words[:-1]) if word.rsplit("/", 1)[-1] in _CONTAINERS]
    if not places or "run" not in words[places[0] : places[0] + 3]:
        return None, 0
    index = list(words).index("run", places[0]) + 1
    while index < len(words) and words[index].startswith("-"):
        index += 1 if words[index] in _ALONE or "=" in words[index] else 2
    return (words[index], index + 1) if index < len(words) else (None, 0)


def _nested(words: Sequence[str], program: Program) -> str | None:
    """The text of a ``bash -c "…"`` that starts the server."""
    starts = (*program.modules, *(" ".join(command) for command in program.commands))
    for before, word in pairwise(words):
        if before in _SHELL_FLAGS and any(start in word for start in starts):
            return word
    return None


def _environment(words: Sequence[str]) -> list[tuple[str, str]]:
    """Variables set before the server: ``A=1``, ``export A=1``, ``docker -e A=1``."""
    found: list[tuple[str, str]] = []
    for index, word in enumerate(words):
        text = word.removeprefix("--env=")
        is_option = index > 0 and words[index - 1].startswith("-")
        if is_option and words[index - 1] not in ("-e", "--env"):
            continue
        if _ASSIGNMENT.fullmatch(text):
            name, _, value = text.partition("=")
            found.append((name, _expanded(value, dict(found))))
    return found


def _expanded(word: str, known: dict[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        return known.get(name, match[0] if match[2] is None else match[2])

    return _VARIABLE.sub(replace, word)


def _is_operator(word: str) -> bool:
    return bool(word) and set(word) <= _OPERATORS
