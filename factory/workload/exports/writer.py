"""A text file that is whole or not there."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from factory.errors import InputError

_BLOCK_CHARACTERS = 1 << 18


def write_text(out: str, texts: Iterable[str]) -> int:
    """Writes pieces of text as they come.

    A file is written under a `.partial` name and renamed when all is there; the partial one is
    removed if anything goes wrong. The bytes depend on the text alone: gzip gets no date and no
    name.

    Args:
        out: The file, gzip if it ends in `.gz`; `-` for standard output.
        texts: Pieces of text; an error that they raise passes through.

    Returns:
        Pieces written.

    Raises:
        InputError: The file cannot be written.
    """
    if out == "-":
        return _copy(texts, sys.stdout.buffer)
    path = Path(out)
    partial = path.with_name(path.name + ".partial")
    if path.is_dir():
        raise InputError(f"{out}: cannot be written: is a directory")
    try:
        with ExitStack() as stack:
            file: BinaryIO = stack.enter_context(_opened(partial, out))
            if path.suffix == ".gz":
                zipped = gzip.GzipFile("", "wb", 6, file, mtime=0)
                file = stack.enter_context(zipped)  # type: ignore[assignment]
            count = _copy(texts, file, out)
        _replace(partial, path, out)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    return count


def _opened(partial: Path, out: str) -> BinaryIO:
    try:
        return partial.open("wb")
    except OSError as error:
        raise _cannot(out, error) from error


def _replace(partial: Path, path: Path, out: str) -> None:
    try:
        os.replace(partial, path)  # noqa: PTH105 (Path.replace returns a new path)
    except OSError as error:
        raise _cannot(out, error) from error


def _copy(texts: Iterable[str], file: BinaryIO, out: str = "") -> int:
    held: list[str] = []
    size = count = 0
    for text in texts:
        held.append(text)
        count += 1
        size += len(text)
        if size >= _BLOCK_CHARACTERS:
            _write(file, held, out)
            held, size = [], 0
    _write(file, held, out)
    if not out:
        file.flush()
    return count


def _write(file: BinaryIO, held: list[str], out: str) -> None:
    try:
        file.write("".join(held).encode())
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _cannot(out or "standard output", error) from error


def _cannot(out: str, error: OSError) -> InputError:
    return InputError(f"{out}: cannot be written: {error.strerror or error}")
