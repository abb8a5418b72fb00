"""A table that grows while the run goes on: rows as tuples, then packed, then in the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.errors import RunError
from factory.records.batch import Batch, CodeTables, RawColumn, RunConstants
from factory.records.columns import Raw, Table, Text
from factory.records.parquet import ROW_GROUP, TableFile, clear_flags_from
from factory.records.schema import SCHEMA

#: Rows kept as tuples before they are packed (32 numbers take 256 bytes packed, 900 as a tuple),
#: and rows encoded at a time: temporary arrays of this size stay in the processor's cache.
PACK_ROWS = 4096

_FLAG = "is_measured"
_PLACES = ("arrival_time_s", "start_time_s", "window_start_time_s")


class Context:
    """What the files of one run share.

    Attributes:
        directory: Where `<table>.parquet` files go.
        constants: What is the same in every row; replaced when the measured interval ends.
        codes: The strings behind codes.
    """

    __slots__ = ("codes", "constants", "directory")

    def __init__(self, directory: Path, constants: RunConstants, codes: CodeTables) -> None:
        self.directory = directory
        self.constants = constants
        self.codes = codes

    def path(self, table: Table) -> Path:
        """The file of a table."""
        return self.directory / f"{table.name}.parquet"

    def open(self, table: Table) -> TableFile:
        """The file of a table, opened for writing."""
        return TableFile(self.path(table), table, SCHEMA.name, SCHEMA.version)

    def batch(self, table: Table, raw: Mapping[str, RawColumn], rows: int, end_s: float) -> Batch:
        """Rows with what their derivations may know."""
        return Batch(table, rows, raw, self.constants, self.codes, end_s)


class Stream:
    """One table that grows.

    Attributes:
        rows: Tuples not packed yet, in the order of `Table.raw`; always the same list.
        file: The file.
    """

    def __init__(self, context: Context, table: Table) -> None:
        """Opens the file.

        Args:
            context: Of the run.
            table: What to write.

        Raises:
            RunError: The file cannot be written.
        """
        self.rows: list[tuple[Any, ...]] = []
        self.file = context.open(table)
        self._context = context
        self._table = table
        self._packed: list[NDArray[np.float64]] = []
        self._packed_rows = 0
        self._placed_by = _placed_by(table)
        self._latest_s = -math.inf

    def pack(self) -> None:
        """Packs the tuples; writes a row group for every `ROW_GROUP` rows."""
        if not self._table.is_numeric:
            while len(self.rows) >= ROW_GROUP:
                self._write_tuples(ROW_GROUP, math.inf)
            return
        if self.rows:
            for start in range(0, len(self.rows), PACK_ROWS):
                rows = self.rows[start : start + PACK_ROWS]
                self._packed.append(np.ascontiguousarray(matrix(self._table, rows).T))
            self._packed_rows += len(self.rows)
            self.rows.clear()
        while self._packed_rows >= ROW_GROUP:
            self._write_packed(ROW_GROUP, math.inf)

    def finish(self, end_s: float) -> None:
        """Writes what is left and closes the file.

        Args:
            end_s: End of the run, simulated seconds.
        """
        self.pack()
        if self._table.is_numeric:
            if self._packed_rows or not self.file.rows:
                self._write_packed(self._packed_rows, end_s)
        elif self.rows or not self.file.rows:
            self._write_tuples(len(self.rows), end_s)
        self.file.close()
        to_s = self._context.constants.measured_to_s
        if self._placed_by and self._latest_s >= to_s:
            clear_flags_from(self._context.path(self._table), _FLAG, self._placed_by, to_s)

    def _write_packed(self, rows: int, end_s: float) -> None:
        batches = []
        left = rows
        while left:
            chunk = self._packed.pop(0)
            if chunk.shape[1] > left:
                self._packed.insert(0, chunk[:, left:])
                chunk = chunk[:, :left]
            left -= chunk.shape[1]
            raw = {field.name: chunk[i] for i, field in enumerate(self._table.raw)}
            batches.append(self._context.batch(self._table, raw, chunk.shape[1], end_s))
        self._packed_rows -= rows
        self._write(batches)

    def _write_tuples(self, rows: int, end_s: float) -> None:
        raw = by_column(self._table, self.rows[:rows])
        del self.rows[:rows]
        self._write([self._context.batch(self._table, raw, rows, end_s)])

    def _write(self, batches: Sequence[Batch]) -> None:
        self.file.write(batches)
        if self._placed_by and math.isinf(self._context.constants.measured_to_s):
            latest = (float(batch.number(self._placed_by).max()) for batch in batches)
            self._latest_s = max(self._latest_s, *latest, -math.inf)


def _placed_by(table: Table) -> str | None:
    """The column that places a row in the measured interval, where the table says whether it is."""
    names = {column.name for column in table.columns}
    if _FLAG not in names:
        return None
    placed = (name for name in _PLACES if name in names)
    return next(placed)


def matrix(table: Table, rows: Sequence[tuple[Any, ...]]) -> NDArray[np.float64]:
    """Rows of numbers as float64 of shape (rows, fields); None becomes NaN.

    Raises:
        RunError: A row has the wrong length or holds something else than numbers.
    """
    width = len(table.raw)
    if set(map(len, rows)) != {width}:
        wrong = next(row for row in rows if len(row) != width)
        raise RunError(f"{table.name}: a row must have {width} values, got {len(wrong)}: {wrong}")
    try:
        flat = np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * width)
        return flat.reshape(-1, width)
    except TypeError:
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise RunError(f"{table.name}: a row does not fit: {error}") from error


def by_column(table: Table, rows: Sequence[tuple[Any, ...]]) -> dict[str, RawColumn]:
    """Rows of any kind as one array per field.

    Raises:
        RunError: A row has the wrong length, or a value is of the wrong kind.
    """
    try:
        columns: Sequence[tuple[Any, ...]]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(table.raw)
        pairs = zip(table.raw, columns, strict=True)
        return {field.name: _array(field, column) for field, column in pairs}
    except (TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{table.name}: a row does not fit: {error}") from error


def _array(field: Raw, column: tuple[Any, ...]) -> RawColumn:
    if field.kind == "float":
        return np.array(column, dtype=np.float64)
    if field.kind == "int":
        return np.array([-1 if value is None else value for value in column], dtype=np.int64)
    seen: dict[str, int] = {}
    codes = [-1 if value is None else seen.setdefault(str(value), len(seen)) for value in column]
    return Text(np.array(codes, dtype=np.int32), list(seen))
