"""Azure LLM inference traces: CSV of TIMESTAMP, ContextTokens, GeneratedTokens (2023 and 2024).

The 2023 files (Azure Public Dataset, CC-BY-4.0) write times as `2023-11-16 18:15:46.6805900` and
end lines with CR LF, the last line with nothing; other copies differ. A file made from an Azure
file has the spelling of that file, any other that of 2023 with a last line end. Times without a
calendar count from 1970-01-01.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from factory.workload.exports.rows import BLOCKS, DELAY, SESSION, Losses, Row, timed

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens"

_STAMP = re.compile(rb"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(?:\.(\d+))?([^,]*),")
_START = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Style:
    r"""How a file spells its lines.

    Attributes:
        line_end: `\r\n` or `\n`.
        ends_last: Whether the last line has one too.
        between: What stands between date and time.
        decimals: Of a second; 6 at least (the reader keeps microseconds), 0 for whole seconds.
        zone: What follows the time, such as `+00:00`.
    """

    line_end: str = "\r\n"
    ends_last: bool = True
    between: str = " "
    decimals: int = 7
    zone: str = ""


def style_of(path: str) -> Style:
    """Returns the spelling of an Azure file, plain or gzip; the usual one if it has none to show.

    Reads the file to its end, for the last line's end.
    """
    try:
        with Path(path).open("rb") as file:
            if file.read(2) != b"\x1f\x8b":
                file.seek(0)
                return _style(file)
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as text:
                return _style(text)  # type: ignore[arg-type]
    except (OSError, EOFError, zlib.error):
        return Style()  # the reader says what is wrong


def _style(file: IO[bytes]) -> Style:
    chunk = file.read(_CHUNK_BYTES)
    line_end = "\r\n" if b"\r\n" in chunk else "\n"
    stamp = _STAMP.search(chunk)
    last = chunk
    while chunk:
        last, chunk = chunk, file.read(_CHUNK_BYTES)
    ends_last = last.endswith(b"\n")
    if stamp is None or stamp[3] not in {b"", b"Z", b"+00:00"}:
        return Style(line_end, ends_last)
    decimals = len(stamp[2] or b"")
    return Style(line_end, ends_last, stamp[1].decode(), decimals, stamp[3].decode())


def lines(rows: Iterator[Row], losses: Losses, style: Style) -> Iterator[str]:
    """Yields the pieces of an Azure trace; a line's end stands before the next line.

    Args:
        rows: In order of arrival; times count from 1970.
        losses: Counts what is lost.
        style: How to spell lines.
    """
    spell = _speller(style)
    yield HEAD
    for row in timed(rows, losses):
        if row.blocks:
            losses.count(BLOCKS)
        if row.session is not None:
            losses.count(SESSION)
        if row.delay_s > 0 or row.after >= 0:
            losses.count(DELAY)
        stamp = spell(row.time_s)
        yield f"{style.line_end}{stamp},{row.input_tokens},{row.output_tokens}"
    if style.ends_last:
        yield style.line_end


def _speller(style: Style) -> Callable[[float], str]:
    second, text = -1, ""
    pattern = f"%Y-%m-%d{style.between}%H:%M:%S"
    decimals = max(style.decimals, 6)
    zeros = "0" * (decimals - 6)

    def spelled(time_s: float) -> str:
        nonlocal second, text
        whole, micros = divmod(round(time_s * 1e6), 1_000_000)
        if whole != second:
            second, text = whole, (_START + timedelta(seconds=whole)).strftime(pattern)
        # Whole seconds stay without decimals where the file's first row has none.
        if not style.decimals and not micros:
            return text + style.zone
        return f"{text}.{micros:06d}{zeros}{style.zone}"

    return spelled
