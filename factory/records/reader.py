"""Columns of a run's tables, for what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.errors import InputError
from factory.records import parquet
from factory.records.columns import Text
from factory.records.run_directory import TABLES


class Columns:
    """Some columns of one table.

    Attributes:
        rows: How many rows.
    """

    def __init__(self, values: dict[str, NDArray[Any] | Text], rows: int) -> None:
        """Takes the columns.

        Args:
            values: By name, each of shape (rows,).
            rows: How many.
        """
        self._values = values
        self.rows = rows

    def number(self, name: str) -> NDArray[np.float64]:
        """A numeric column as float64 of shape (rows,); NaN is null."""
        values = self._values[name]
        assert isinstance(values, np.ndarray), name
        return values.astype(np.float64, copy=False)

    def flag(self, name: str) -> NDArray[np.bool_]:
        """A boolean column of shape (rows,)."""
        values = self._values[name]
        assert isinstance(values, np.ndarray), name
        return values.astype(np.bool_, copy=False)

    def text(self, name: str) -> Text:
        """A string column."""
        values = self._values[name]
        assert isinstance(values, Text), name
        return values

    def strings(self, name: str) -> list[str | None]:
        """A string column, spelled out."""
        text = self.text(name)
        spelled: list[str | None] = [*text.values, None]
        return [spelled[code] for code in text.codes.tolist()]

    def is_equal(self, name: str, value: str) -> NDArray[np.bool_]:
        """Where a string column is `value`, shape (rows,)."""
        text = self.text(name)
        if value not in text.values:
            return np.zeros(self.rows, dtype=np.bool_)
        return np.equal(text.codes, list(text.values).index(value))


class RunReader:
    """The tables of a run, finished or about to be.

    Attributes:
        directory: Where the Parquet files lie.
    """

    def __init__(self, run: Path) -> None:
        """Finds the tables.

        Args:
            run: A run's directory, or a directory of its tables.

        Raises:
            InputError: It holds no tables.
        """
        self.directory = run / TABLES if (run / TABLES).is_dir() else run
        if not (self.directory / "fact_runs.parquet").is_file():
            raise InputError(f"{run}: is no run directory: it has no {TABLES}/fact_runs.parquet")

    def read(self, table: str, names: Sequence[str]) -> Columns:
        """Columns of a table.

        Args:
            table: Name of the table.
            names: Columns wanted, one at least.

        Raises:
            InputError: The file is missing, is not Parquet or lacks a column.
        """
        values = parquet.read_columns(self.directory / f"{table}.parquet", names)
        first = values[names[0]]
        rows = len(first.codes if isinstance(first, Text) else first)
        return Columns(values, rows)
