"""Columns of a Parquet file as NumPy arrays, batch by batch, without pandas.

(pyarrow's `to_numpy` imports pandas, which costs 0.4 s; the DLPack protocol does not.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.errors import InputError


@dataclass(frozen=True, slots=True)
class Strings:
    """Strings as codes; equal strings have equal codes within one batch.

    Attributes:
        codes: Index into `values`, shape (rows,).
        values: The distinct strings.
    """

    codes: NDArray[np.int32]
    values: list[str]

    def to_list(self) -> list[str]:
        """One string per row."""
        values = self.values
        return [values[code] for code in self.codes.tolist()]


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of whole numbers: row i is `values[offsets[i] : offsets[i + 1]]`."""

    values: NDArray[np.int64]
    offsets: NDArray[np.int64]


Values = NDArray[np.int64] | NDArray[np.float64] | Strings | Lists


def batches(path: str, columns: dict[str, str], rows: int = 8192) -> Iterator[dict[str, Values]]:
    """Yields columns of a Parquet file.

    Args:
        path: The file.
        columns: For each column wanted its kind: `int`, `float` (null becomes NaN), `str`, `id`
            (a letter and a number, as `r17`; null becomes -1) or `list` (of whole numbers).
        rows: Rows of a batch.

    Raises:
        InputError: The file is missing, is not Parquet, or lacks a column; a column is of another
            kind, or holds nulls where none may be.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_columns(path, list(columns), column_names(path))
    try:
        texts = [name for name, kind in columns.items() if kind == "str"]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            done = 0
            for batch in file.iter_batches(rows, columns=list(columns), use_threads=False):
                yield {
                    name: _values(path, name, kind, batch.column(name), done)
                    for name, kind in columns.items()
                }
                done += batch.num_rows
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error


def column_names(path: str) -> list[str]:
    """Returns the names of a Parquet file's columns.

    Raises:
        InputError: The file is missing or is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names: list[str] = pq.read_schema(path).names
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error
    return names


def _check_columns(path: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in there]
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing)} (needs {', '.join(wanted)}; "
            f"has {', '.join(there)})"
        )


def _values(path: str, name: str, kind: str, column: Any, done: int) -> Values:
    import pyarrow as pa

    if kind == "float":
        return _array(column.cast(pa.float64(), safe=False).fill_null(_nan()))
    if kind == "id":
        return _array(_numbers(column).fill_null(-1))
    if column.null_count:
        row = done + column.is_null().index(True).as_py() + 1
        raise InputError(f"{path}: row {row}: {name}: must have a value, got null")
    if kind == "str":
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        return Strings(_array(column.indices), column.dictionary.to_pylist())
    if kind == "list":
        if not pa.types.is_list(column.type):
            raise InputError(f"{path}: {name}: must be lists of whole numbers, got {column.type}")
        values = column.values.cast(pa.int64())
        if values.null_count:
            raise InputError(f"{path}: {name}: a list holds null")
        return Lists(_array(values), _array(column.offsets.cast(pa.int64())))
    return _array(column.cast(pa.int64()))


def _nan() -> Any:
    """NaN as an Arrow scalar (`pa.scalar` of a float imports pandas)."""
    import pyarrow as pa

    buffer = pa.py_buffer(np.array([np.nan]).tobytes())
    return pa.Array.from_buffers(pa.float64(), 1, [None, buffer])[0]


def _numbers(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.utf8_slice_codeunits(column.cast(pa.string()), 1).cast(pa.int64())


def _array(column: Any) -> NDArray[Any]:
    result: NDArray[Any] = np.from_dlpack(column)
    return result
