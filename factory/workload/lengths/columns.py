"""Columns of numbers out of a file: CSV or JSONL, gzip or not, or Parquet."""

from __future__ import annotations

import csv
import json
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import InputError
from factory.scenario.nearest import nearest
from factory.workload.lengths.laws import Floats
from factory.workload.traces.lines import line_blocks

Rows = Iterator[tuple[int, list[Any]]]
"""Number of each row in its file, and its cells."""

_PARQUET_MAGIC = b"PAR1"


def read_columns(path: str, names: Sequence[str]) -> list[Floats]:
    """Reads columns of numbers ≥ 0.

    Args:
        path: CSV with a header line, or one JSON object per line (either may be gzip), or Parquet;
            told apart by their first bytes, not by the name.
        names: The columns wanted.

    Returns:
        One array per column, each of shape (rows,).

    Raises:
        InputError: The file is missing, damaged, holds no row, lacks a column, or a cell is not a
            number ≥ 0; the message has the line (the row of a Parquet file).
    """
    if _is_parquet(path):
        columns = _parquet(path, names)
    else:
        cells = [array("d") for _ in names]
        for row in _text(path, names):
            for column, value in zip(cells, row, strict=True):
                column.append(value)
        columns = [np.array(column) for column in cells]
    if not len(columns[0]):
        raise InputError(f"{path}: holds no row; one number a row is needed at least")
    return columns


def _is_parquet(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == _PARQUET_MAGIC
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error


def _text(path: str, names: Sequence[str]) -> Iterator[list[float]]:
    cells: Callable[[int, list[str]], Rows] | None = None
    for number, lines in line_blocks(path):
        if cells is None:
            start = next((line for line in lines if line.strip()), "")
            is_json = start.lstrip().startswith("{")
            cells = _json_cells(path, names) if is_json else _csv_cells(path, names)
        for line, row in cells(number, lines):
            yield [
                _number(f"{path}:{line}", name, cell) for name, cell in zip(names, row, strict=True)
            ]


def _csv_cells(path: str, names: Sequence[str]) -> Callable[[int, list[str]], Rows]:
    """Reads blocks of a CSV, whose first line has the names of its columns."""
    header: list[str] = []
    places: list[int] = []

    def cells(number: int, lines: list[str]) -> Rows:
        for line, row in enumerate(csv.reader(lines), number):
            if not row or not any(row):
                continue
            if not header:
                header.extend(name.strip() for name in row)
                _check_names(f"{path}:{line}", names, header)
                places.extend(header.index(name) for name in names)
            elif len(row) != len(header):
                raise InputError(f"{path}:{line}: must have {len(header)} cells, got {len(row)}")
            else:
                yield line, [row[place] for place in places]

    return cells


def _json_cells(path: str, names: Sequence[str]) -> Callable[[int, list[str]], Rows]:
    """Reads blocks of lines that are JSON objects."""

    def cells(number: int, lines: list[str]) -> Rows:
        for line, text in enumerate(lines, number):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise InputError(f"{path}:{line}: is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}:{line}: must be a JSON object, got {text[:40]}")
            _check_names(f"{path}:{line}", names, list(row))
            yield line, [row[name] for name in names]

    return cells


def _parquet(path: str, names: Sequence[str]) -> list[Floats]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        _check_names(path, names, schema.names)
        for name in names:
            kind = schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise InputError(f"{path}: {name}: must be a column of numbers, got {kind}")
        with pq.ParquetFile(path) as file:
            table = file.read(columns=list(names), use_threads=False)
        columns = []
        for name in names:
            column = table.column(name)
            if column.null_count:
                row = column.is_null().index(True).as_py() + 1
                raise InputError(f"{path}: row {row}: {name}: must be a number >= 0, got null")
            chunks = column.cast(pa.float64(), safe=False).chunks
            columns.append(np.concatenate([np.empty(0), *map(np.from_dlpack, chunks)]))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error
    for name, values in zip(names, columns, strict=True):
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if len(bad):
            _number(f"{path}: row {bad[0] + 1}", name, float(values[bad[0]]))
    return columns


def _check_names(place: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    for name in wanted:
        if name not in there:
            near = nearest(name, there)
            hint = f"; did you mean {near}?" if near else ""
            raise InputError(f'{place}: has no column "{name}" (has {", ".join(there)}{hint})')


def _number(place: str, name: str, cell: Any) -> float:
    try:
        value = math.nan if isinstance(cell, bool | None) else float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if math.isfinite(value) and value >= 0:
        return value
    shown = json.dumps(cell)[:40]
    raise InputError(f"{place}: {name}: must be a number >= 0, got {shown}")
