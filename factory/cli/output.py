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
    print(json.dumps(plain(value), allow_nan=False, ensure_ascii=False))


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
