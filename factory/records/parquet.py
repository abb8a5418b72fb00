"""The one module that knows pyarrow: writes tables as Parquet, reads columns back as NumPy.

Everything that reaches a file is pinned here (compression and its level, format and page versions,
encodings), so that the same rows give the same bytes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from factory.errors import InputError, RunError
from factory.records.batch import Batch
from factory.records.columns import Column, Ids, Moments, Table, Text

#: Rows of a row group: DuckDB's vector size times 60, what its docs recommend.
ROW_GROUP = 122_880

#: Digits of an id; longer numbers keep all of theirs.
ID_DIGITS = 9

#: Digits of the second number of an id; likewise.
PART_DIGITS = 3

_WRITER: dict[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 1,
    "write_statistics": True,
    "store_schema": True,
    "write_batch_size": 1024,
    "data_page_size": 1 << 20,
    "dictionary_pagesize_limit": 1 << 20,
    "write_page_index": False,
    "write_page_checksum": False,
}

_TYPES: dict[str, Any] = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.dictionary(pa.int32(), pa.string()),
    "id": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def arrow_schema(table: Table, schema_name: str, schema_version: str) -> Any:
    """The Arrow schema of a table, with metadata of fields and file."""
    fields = [
        pa.field(
            column.name,
            _TYPES[column.type],
            nullable=column.nullable,
            metadata={
                "description": column.description,
                "unit": column.unit,
                "aggregation": column.aggregation,
            },
        )
        for column in table.columns
    ]
    metadata = {
        "schema_name": schema_name,
        "schema_version": schema_version,
        "table": table.name,
        "grain": table.grain,
    }
    return pa.schema(fields, metadata=metadata)


class TableFile:
    """A Parquet file that grows by row groups.

    Attributes:
        rows: Rows written so far.
    """

    def __init__(self, path: Path, table: Table, schema_name: str, schema_version: str) -> None:
        """Opens the file for writing.

        Args:
            path: File to write; must not be needed any more if it exists.
            table: Its columns.
            schema_name: Stands in the file's metadata.
            schema_version: Stands in the file's metadata.

        Raises:
            RunError: The file cannot be written.
        """
        self.rows = 0
        self._path = path
        self._table = table
        self._schema = arrow_schema(table, schema_name, schema_version)
        repeated = [c.name for c in table.columns if c.type == "string"]
        with _writing(path):
            self._writer = pq.ParquetWriter(path, self._schema, use_dictionary=repeated, **_WRITER)

    def write(self, batches: Sequence[Batch]) -> None:
        """Writes one row group.

        Args:
            batches: Its rows.

        Raises:
            RunError: A value cannot stand in its column, or the file cannot be written.
        """
        encoded = [
            pa.RecordBatch.from_arrays(
                [_encode(column, batch) for column in self._table.columns], schema=self._schema
            )
            for batch in batches
        ]
        group = pa.Table.from_batches(encoded, schema=self._schema)
        with _writing(self._path):
            self._writer.write_table(group, row_group_size=max(group.num_rows, 1))
        self.rows += group.num_rows

    def close(self) -> None:
        """Writes the footer.

        Raises:
            RunError: The file cannot be written.
        """
        with _writing(self._path):
            self._writer.close()


def clear_flags_from(path: Path, flag: str, instant: str, limit: float) -> None:
    """Rewrites a file, row group by row group, with a flag taken away from late rows.

    Args:
        path: Parquet file.
        flag: Boolean column.
        instant: float64 column; rows where it is `limit` or more lose the flag.
        limit: Simulated seconds.

    Raises:
        RunError: The file cannot be written.
    """
    fresh = path.with_suffix(".rewritten")
    with _writing(path), pq.ParquetFile(path) as old:
        schema = old.schema_arrow
        position = schema.get_field_index(flag)
        repeated = [f.name for f in schema if pa.types.is_dictionary(f.type)]
        with pq.ParquetWriter(fresh, schema, use_dictionary=repeated, **_WRITER) as new:
            for group in range(old.num_row_groups):
                rows = old.read_row_group(group).combine_chunks()
                early = _values(rows.column(instant).chunk(0)) < limit
                kept = _values(rows.column(flag).chunk(0)) & early
                column = _array(pa.bool_(), np.packbits(kept, bitorder="little"), None, len(kept))
                rows = rows.set_column(position, schema.field(flag), column)
                new.write_table(rows, row_group_size=len(kept))
        fresh.replace(path)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a Parquet file says of itself.

    Attributes:
        rows: How many.
        columns: Names, in order.
        schema_name: Of the schema that wrote it; empty if it does not say.
        schema_version: Likewise.
    """

    rows: int
    columns: tuple[str, ...]
    schema_name: str
    schema_version: str


def inspect(path: Path) -> FileInfo:
    """What a Parquet file says of itself.

    Raises:
        InputError: The file is missing or is not Parquet.
    """
    with _reading(path), pq.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata or {}
        return FileInfo(
            rows=file.metadata.num_rows,
            columns=tuple(file.schema_arrow.names),
            schema_name=metadata.get(b"schema_name", b"").decode(),
            schema_version=metadata.get(b"schema_version", b"").decode(),
        )


def read_columns(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any] | Text]:
    """Columns of a file as arrays of shape (rows,).

    Args:
        path: Parquet file.
        names: Columns wanted.

    Returns:
        By name: `Text` for strings (code -1 is null); else NumPy arrays, where an integer column
        that holds nulls comes as float64 with NaN, and instants as int64 microseconds, UTC.

    Raises:
        InputError: The file is missing, is not Parquet or lacks a column.
    """
    with _reading(path), pq.ParquetFile(path) as file:
        known = set(file.schema_arrow.names)
        missing = [name for name in names if name not in known]
        if missing:
            raise InputError(f"{path}: no column {missing[0]}, has {', '.join(sorted(known))}")
        table = file.read(columns=list(dict.fromkeys(names)), use_threads=False)
    return {name: _decode(table.column(name)) for name in table.column_names}


def _decode(column: Any) -> NDArray[Any] | Text:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _decode_text([chunk.dictionary_encode() for chunk in column.chunks])
    if pa.types.is_dictionary(kind):
        return _decode_text(column.chunks)
    parts = [_values(chunk) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0)


def _decode_text(chunks: Sequence[Any]) -> Text:
    """Codes into one list of values from chunks that each have a dictionary of their own."""
    known: dict[str, int] = {}
    parts = [np.empty(0, np.int32)]
    for chunk in chunks:
        values = chunk.dictionary.to_pylist()
        to_code = np.array([known.setdefault(v, len(known)) for v in values] + [-1], np.int32)
        codes = _values(chunk.indices)
        parts.append(to_code[np.nan_to_num(codes, nan=-1).astype(np.int32)])
    return Text(np.concatenate(parts), list(known))


def _values(array: Any) -> NDArray[Any]:
    """NumPy values of an Arrow array; Arrow's own `to_numpy` would import pandas for it."""
    rows, start = len(array), array.offset
    valid, data = array.buffers()
    present = None if valid is None or not array.null_count else _flags(valid, start, rows)
    if pa.types.is_boolean(array.type):
        values: NDArray[Any] = _flags(data, start, rows)
    else:
        dtype = np.dtype(
            f"{'f' if pa.types.is_floating(array.type) else 'i'}{array.type.byte_width}"
        )
        values = np.frombuffer(data, dtype, rows, start * dtype.itemsize)
    return values if present is None else np.where(present, values, np.nan)


def _flags(bits: Any, start: int, rows: int) -> NDArray[np.bool_]:
    unpacked = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
    return unpacked[start : start + rows].astype(np.bool_)


def _encode(column: Column, batch: Batch) -> Any:
    """An Arrow array from the values of a column, nulls in place."""
    kind = _TYPES[column.type]
    values = batch.values(column.name)
    table = batch.table.name
    if isinstance(values, Text):
        missing = _missing(values.codes < 0, column, table)
        if values.codes.max(initial=-1) >= len(values.values):
            known = f"0 to {len(values.values) - 1}" if values.values else "none"
            raise RunError(
                f"{table}.{column.name}: no such code, got {values.codes.max()}, allowed: {known}"
            )
        if column.type == "id":
            spelled = [*values.values, ""]
            return _strings([spelled[code] for code in values.codes.tolist()], missing)
        codes = _array(pa.int32(), values.codes, missing)
        return pa.DictionaryArray.from_arrays(codes, _strings(values.values))
    if isinstance(values, Ids):
        missing = _missing(values.numbers < 0, column, table)
        return _ids(values, missing)
    if isinstance(values, Moments):
        missing = _missing(np.isnan(values.seconds), column, table)
        start = (batch.constants.epoch - _EPOCH) // timedelta(microseconds=1)
        seconds = values.seconds if missing is None else np.where(missing, 0.0, values.seconds)
        return _array(kind, np.rint(seconds * 1e6).astype(np.int64) + start, missing)
    if column.type == "bool":
        return _array(
            kind, np.packbits(values.astype(np.bool_), bitorder="little"), None, len(values)
        )
    if column.type == "float64":
        _finite(values, column, table)
        missing = _missing(np.isnan(values), column, table)
        values = values if missing is None else np.where(missing, 0.0, values)
        return _array(kind, values.astype(np.float64, copy=False), missing)
    missing = None
    if column.nullable:
        missing = _missing((values < 0) | np.isnan(values), column, table)
        values = values if missing is None else np.where(missing, 0, values)
    return _array(kind, _whole(values, column, table), missing)


def _array(
    kind: Any, data: NDArray[Any], missing: NDArray[np.bool_] | None, rows: int | None = None
) -> Any:
    """An Arrow array over NumPy memory; `pyarrow.array` would import pandas for it."""
    valid = None if missing is None else _bits(~missing)
    rows = len(data) if rows is None else rows
    return pa.Array.from_buffers(kind, rows, [valid, pa.py_buffer(np.ascontiguousarray(data))])


def _bits(flags: NDArray[np.bool_]) -> Any:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _strings(values: Sequence[str], missing: NDArray[np.bool_] | None = None) -> Any:
    """An Arrow array of strings from Python's."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    valid = None if missing is None else _bits(~missing)
    buffers = [valid, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _ids(ids: Ids, missing: NDArray[np.bool_] | None) -> Any:
    """An Arrow array of strings: the prefix, at least nine digits, and ``.`` and at least three."""
    numbers, parts = ids.numbers, ids.parts
    rows = len(numbers)
    if rows and (
        numbers.max() >= 10**ID_DIGITS or (parts is not None and parts.max() >= 10**PART_DIGITS)
    ):
        return _strings(_long_ids(ids), missing)
    width = 1 + ID_DIGITS + (0 if parts is None else 1 + PART_DIGITS)
    text = np.empty((rows, width), np.uint8)
    text[:, 0] = ord(ids.prefix)
    _digits(text[:, 1 : 1 + ID_DIGITS], numbers)
    if parts is not None:
        text[:, 1 + ID_DIGITS] = ord(".")
        _digits(text[:, 2 + ID_DIGITS :], parts)
    lengths = np.full(rows, width, np.int32)
    if missing is not None:
        text = text[~missing]
        lengths[missing] = 0
    ends = np.zeros(rows + 1, np.int32)
    np.cumsum(lengths, out=ends[1:])
    valid = None if missing is None else _bits(~missing)
    buffers = [valid, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(text))]
    return pa.Array.from_buffers(pa.string(), rows, buffers)


def _digits(text: NDArray[np.uint8], numbers: NDArray[np.int64]) -> None:
    """Writes numbers as ASCII digits, zeros before them, one row each."""
    rest = numbers.astype(np.uint32)
    for place in range(text.shape[1] - 1, -1, -1):
        quotient = rest // np.uint32(10)
        text[:, place] = rest - quotient * np.uint32(10) + np.uint32(ord("0"))
        rest = quotient


def _long_ids(ids: Ids) -> list[str]:
    """Ids of which some have more digits than all usually have."""
    spelled = [f"{ids.prefix}{number:0{ID_DIGITS}d}" for number in ids.numbers.tolist()]
    if ids.parts is None:
        return spelled
    return [
        f"{first}.{second:0{PART_DIGITS}d}"
        for first, second in zip(spelled, ids.parts.tolist(), strict=True)
    ]


def _missing(mask: NDArray[np.bool_], column: Column, table: str) -> NDArray[np.bool_] | None:
    """The mask of nulls, None if there are none.

    Raises:
        RunError: A null stands where none may.
    """
    if not mask.any():
        return None
    if not column.nullable:
        row = int(np.argmax(mask))
        raise RunError(f"{table}.{column.name}: row {row} of a batch is null, must have a value")
    return mask


def _finite(values: NDArray[Any], column: Column, table: str) -> None:
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise RunError(f"{table}.{column.name}: row {row} of a batch is infinite, must be finite")


def _whole(values: NDArray[Any], column: Column, table: str) -> NDArray[Any]:
    """Integers of the column's width.

    Raises:
        RunError: A value is no whole number or does not fit.
    """
    dtype = np.int32 if column.type == "int32" else np.int64
    width = np.iinfo(dtype)
    if values.size and not (values.min() >= width.min and values.max() <= width.max):
        raise RunError(f"{table}.{column.name}: a value does not fit {column.type}")
    whole: NDArray[Any] = values.astype(dtype)
    if values.dtype.kind == "f" and (whole != values).any():
        whole = np.rint(values).astype(dtype)
        wrong = np.abs(values - whole) > 1e-6
        if wrong.any():
            row = int(np.argmax(wrong))
            raise RunError(
                f"{table}.{column.name}: row {row} of a batch must be a whole number, "
                f"got {values[row]!r}"
            )
    return whole


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what the operating system refuses into a message."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        reason = "the disk is full" if full else error.strerror or str(error)
        raise RunError(f"{path}: cannot be written: {reason}") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns a file that is missing or not Parquet into a message."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such table in this run") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error
