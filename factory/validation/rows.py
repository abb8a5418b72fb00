"""A CSV of measurements: read with the place of every mistake, written with what we predict."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from factory.errors import InputError
from factory.scenario.nearest import nearest

NOT_PREDICTED = "not_predicted_because"
"""The column that says why a row has no prediction; empty where it has one."""


class NotPredictableError(Exception):
    """Why a row cannot be predicted, in words fit for the row and for a count of reasons."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file.

    Attributes:
        place: ``file:line``.
        cells: By column, as written.
    """

    place: str
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """What stands in a column, without blanks around it; empty where there is none."""
        return self.cells.get(column, "").strip()

    def number(self, column: str) -> float:
        """The finite number in a column.

        Raises:
            InputError: There is none.
        """
        given = self.text(column)
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f'{self.place}: {column}: must be a number, got "{given}"')
        return value

    def positive(self, column: str) -> float:
        """The number above 0 in a column.

        Raises:
            InputError: There is none.
        """
        value = self.number(column)
        if value <= 0:
            given = self.text(column)
            raise InputError(f'{self.place}: {column}: must be above 0, got "{given}"')
        return value

    def whole(self, column: str, least: int = 0) -> int:
        """The whole number in a column; ``8.0`` is one.

        Raises:
            InputError: There is none, or it is below ``least``.
        """
        value = self.number(column)
        if value != int(value) or value < least:
            told = (
                f'{column}: must be a whole number of at least {least}, got "{self.text(column)}"'
            )
            raise InputError(f"{self.place}: {told}")
        return int(value)

    def flag(self, column: str) -> bool:
        """The truth value in a column.

        Raises:
            InputError: It is neither ``True`` nor ``False``.
        """
        given = self.text(column)
        known = {"true": True, "1": True, "false": False, "0": False}
        if given.lower() not in known:
            raise InputError(f'{self.place}: {column}: must be True or False, got "{given}"')
        return known[given.lower()]


@dataclass(frozen=True, slots=True)
class Table:
    """A file of measurements.

    Attributes:
        name: As given.
        columns: Its header, in order.
        rows: Its lines, in order.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read(path: Path) -> Table:
    """Reads a CSV file.

    Raises:
        InputError: It cannot be read, has no header, names a column twice, holds no rows, or a line
            has more or fewer cells than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            header = tuple(cell.strip() for cell in next(reader, ()))
            _check_header(path, header)
            rows = [_row(path, reader.line_num, header, cells) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read: {reason}") from None
    if not rows:
        raise InputError(f"{path}: holds no rows")
    return Table(str(path), header, tuple(rows))


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not any(header):
        raise InputError(f"{path}:1: must begin with a header of column names")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}:1: the header names a column twice: {', '.join(twice)}")


def _row(path: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(header):
        raise InputError(f"{path}:{line}: has {len(cells)} cells, the header has {len(header)}")
    return Row(f"{path}:{line}", dict(zip(header, cells, strict=True)))


def require(table: Table, needed: Iterable[str], what: str) -> None:
    """Refuses a file that lacks a column.

    Args:
        table: The file.
        needed: Columns that must be there.
        what: The kind of file, for the message.

    Raises:
        InputError: One is missing; names all that are, and what was probably meant.
    """
    missing = [name for name in needed if name not in table.columns]
    if not missing:
        return
    told = []
    for name in missing:
        close = nearest(name, table.columns)
        told.append(f"{name} (did you mean to call {close} so?)" if close else name)
    has = ", ".join(table.columns)
    raise InputError(f"{table.name}:1: {what} needs the columns {', '.join(told)}; it has {has}")


def chosen(
    table: Table, where: Sequence[str] = (), every: int = 1, limit: int | None = None
) -> Table:
    """Some rows of a file.

    Args:
        table: The file.
        where: ``column=value`` conditions, all of which must hold.
        every: Keep each so-manieth row of those, beginning with the first.
        limit: Keep so many of those at most.

    Raises:
        InputError: A condition is not one, names an unknown column, or no row is left.
    """
    rows = list(table.rows)
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals:
            raise InputError(f"--where {condition}: must be COLUMN=VALUE")
        if column not in table.columns:
            hint = nearest(column, table.columns)
            meant = f"; did you mean {hint}?" if hint else ""
            raise InputError(
                f"--where {condition}: the file has no column {column} "
                f"(of {', '.join(table.columns)}{meant})"
            )
        rows = [row for row in rows if row.text(column).lower() == value.strip().lower()]
        if not rows:
            raise InputError(f"--where {condition}: {table.name} has no such row")
    return Table(table.name, table.columns, tuple(rows[::every][:limit]))


def write(path: Path, table: Table, added: Mapping[str, Sequence[str]]) -> None:
    """Writes a file's rows with more columns, whole or not at all.

    Args:
        path: Where to; overwritten.
        table: The rows.
        added: Cells by new column, one for each row; they replace columns of the same name.

    Raises:
        InputError: It cannot be written.
    """
    columns = [name for name in table.columns if name not in added]
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow([*columns, *added])
            for number, row in enumerate(table.rows):
                kept = [row.cells[name] for name in columns]
                writer.writerow([*kept, *(cells[number] for cells in added.values())])
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def cell(value: float | None) -> str:
    """A number as a cell: nine digits, empty for none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.9g}"
