"""What commands print to standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 80


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line; what JSON cannot say (NaN, infinity) is null."""
    is_ascii = not has_unicode(sys.stdout.encoding)
    print(json.dumps(plain(value), allow_nan=False, ensure_ascii=is_ascii))


def has_unicode(encoding: str | None) -> bool:
    """Whether an output's encoding has every character."""
    return (encoding or "ascii").lower().startswith("utf")


def write_what_can_be() -> None:
    """Let standard output write a stand-in for a character that its encoding lacks."""
    import codecs

    codecs.register_error("stand-in", _stand_in)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and not has_unicode(sys.stdout.encoding):
        reconfigure(errors="stand-in")


_STAND_INS = str.maketrans(
    {"·": "-", "–": "-", "—": "-", "×": "x", "…": ".", "≈": "~", "≤": "<", "≥": ">", "’": "'"}
)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """As many characters as cannot be written, so that columns stay."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_STAND_INS)
    return "".join(c if c.isascii() else "?" for c in lacking), error.end


def line_width() -> int:
    """Columns of a line: the terminal's, or `PIPE_WIDTH` where there is none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH


def plain(value: Any) -> Any:
    """The value with finite numbers, null, strings, lists and objects only."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        return plain(value.item())
    return str(value)


def print_columns(
    head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool] = ()
) -> None:
    """Print rows under a head, each column as wide as its widest value.

    Args:
        head: Name of each column.
        rows: Cells.
        numeric: Whether each column lines up at the right; by default none does.
    """
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    rights = numeric or [False] * len(head)
    for row in (head, *rows):
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, rights, strict=True)
        )
        print("  ".join(cells).rstrip())


def screen() -> Console:
    """A console on standard output: 80 columns where it is not a terminal, no emoji, no markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, emoji=False, markup=False, highlight=False)
