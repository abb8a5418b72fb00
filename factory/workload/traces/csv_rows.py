"""Traces that are CSV files: their header, and their rows in blocks."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import InputError
from factory.workload.traces.detect import looks_like
from factory.workload.traces.lines import line_blocks

#: Characters of a header that a message shows.
_LONGEST_HEADER = 200


def csv_blocks(path: str, format: str, columns: dict[str, bool]) -> Iterator[tuple[int, Block]]:  # noqa: A002
    """Yields the lines of a CSV file in blocks, without its header.

    Args:
        path: The file, plain or gzip.
        format: Name of the format, for messages.
        columns: Names of the columns to use, and whether the file must have them. Their order in
            the file does not matter, nor do capitals and other columns.

    Yields:
        Number of the block's first line, and its lines.

    Raises:
        InputError: A column is missing or stands there twice, or the file cannot be read.
    """
    at: dict[str, int] = {}
    width = 0
    for number, lines in line_blocks(path):
        if number == 1:
            at, width = _places(path, lines.pop(0), format, columns)
            number += 1  # noqa: PLW2901 (the header is a line too)
        yield number, Block(lines, at, width)


class Block:
    """Lines of a CSV file, and where the columns stand in them.

    Attributes:
        lines: Without line ends.
        at: Position of each known column that the file has.
        width: Cells of a line.
    """

    __slots__ = ("at", "lines", "width")

    def __init__(self, lines: list[str], at: dict[str, int], width: int) -> None:
        self.lines = lines
        self.at = at
        self.width = width

    def columns(self) -> list[tuple[str, ...]] | None:
        """Returns the cells of all lines by column, or None if any line needs a closer look."""
        cells = [line.split(",") for line in self.lines]
        if set(map(len, cells)) != {self.width}:
            return None
        return list(zip(*cells, strict=True))

    def cells(self, line: str) -> list[str] | str | None:
        """Returns the cells of a line; or what is wrong; or None for a blank line."""
        cells = line.split(",")
        if len(cells) == self.width:
            return cells
        return f"must have {self.width} cells, got {len(cells)}" if line.strip() else None


def _places(
    path: str,
    line: str,
    format: str,  # noqa: A002 (as in a scenario)
    columns: dict[str, bool],
) -> tuple[dict[str, int], int]:
    names = [name.strip() for name in line.split(",")]
    folded = [name.casefold() for name in names]
    places = {name: folded.index(name.casefold()) for name in columns if name.casefold() in folded}
    twice = [name for name in places if folded.count(name.casefold()) > 1]
    if twice:
        raise InputError(f"{path}:1: column {twice[0]} stands there twice")
    missing = [name for name, needed in columns.items() if needed and name not in places]
    if missing:
        needs = ", ".join(name for name, needed in columns.items() if needed)
        shown = ", ".join(names) if len(line) < _LONGEST_HEADER else line[:_LONGEST_HEADER] + "…"
        raise InputError(
            f"{path}:1: the columns must be {needs}, got {shown} "
            f"({', '.join(missing)} missing{looks_like(line, format)})"
        )
    return places, len(names)
