"""Lines of a text file, plain or gzip, in blocks."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from factory.errors import InputError

R = TypeVar("R")

_BLOCK_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"


def line_blocks(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yields a file's lines in blocks of about 256 KiB, without their line ends.

    Args:
        path: Text in UTF-8, plain or gzip (told by its first bytes, not by its name).

    Yields:
        Number of the block's first line, from 1, and the lines.

    Raises:
        InputError: The file is missing, cannot be read, is not text, or its gzip stream is
            damaged or truncated; the lines before the damage are yielded first.
    """
    number = 1
    rest = b""
    failure: InputError | None = None
    with ExitStack() as stack:
        file = _opened(path, stack)
        data = b"\n"
        while data:
            try:
                data = file.read1(_BLOCK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile):
                at = number + rest.count(b"\n")
                failure = InputError(f"{path}:{at}: the gzip stream is damaged or truncated")
                rest, data = rest[: rest.rfind(b"\n") + 1], b""
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
            rest += data
            if data and len(rest) < _BLOCK_BYTES:
                continue
            cut = rest.rfind(b"\n") + 1 if data else len(rest)
            block, rest = rest[:cut], rest[cut:]
            if block:
                lines = _decoded(path, number, block)
                yield number, lines
                number += len(lines)
    if failure:
        raise failure


def json_object(text: str) -> dict[str, Any] | str:
    """The JSON object of a line, or what is wrong with it."""
    try:
        row = json.loads(text)
    except ValueError as error:
        return f"is not JSON: {error}"
    if not isinstance(row, dict):
        return f"must be a JSON object, got {text.strip()[:40]}"
    return row


def read_rows(
    lines: list[str],
    number: int,
    read: Callable[[str], R | str],
    report: Callable[[int, str], None],
) -> list[R]:
    """Reads lines that are not blank; malformed ones are reported and left out.

    Args:
        lines: A block of `line_blocks`.
        number: Number of the first one.
        read: Makes a row of a line, or says what is wrong with it.
        report: Takes the number of a malformed line, and what is wrong with it.
    """
    rows: list[R] = []
    for line, text in enumerate(lines, number):
        if not text.strip():
            continue
        row = read(text)
        if isinstance(row, str):
            report(line, row)
        else:
            rows.append(row)
    return rows


def _opened(path: str, stack: ExitStack) -> BufferedReader | gzip.GzipFile:
    try:
        file = stack.enter_context(Path(path).open("rb"))  # noqa: SIM115 (it is the stack's)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error
    is_zipped = file.peek(2)[:2] == _GZIP_MAGIC
    return stack.enter_context(gzip.GzipFile(fileobj=file)) if is_zipped else file


def _decoded(path: str, number: int, block: bytes) -> list[str]:
    try:
        text = block.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        at = number + block.count(b"\n", 0, error.start)
        raise InputError(f"{path}:{at}: is not UTF-8 text") from error
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines
