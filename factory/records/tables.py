"""The tables of a run while it goes on: rows in, row groups out, memory bounded."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory.errors import RunError
from factory.records.batch import CodeTables, RunConstants
from factory.records.columns import Table
from factory.records.schema import SCHEMA, STREAMED
from factory.records.stream import PACK_ROWS, Context, Stream, by_column


class RunTables:
    """Writes every table of one run.

    `appender` hands out the bare `list.append` of a table; call `maybe_flush` every few thousand
    rows. Row groups are cut every `parquet.ROW_GROUP` rows however often that is.
    """

    def __init__(self, directory: Path, constants: RunConstants, codes: CodeTables) -> None:
        """Starts the tables.

        Args:
            directory: Where `<table>.parquet` files go; exists already.
            constants: What is the same in every row.
            codes: The strings behind codes; its lists may grow while the run goes on.

        Raises:
            RunError: A file cannot be written.
        """
        self._context = Context(directory, constants, codes)
        self._streams = {name: Stream(self._context, SCHEMA.table(name)) for name in STREAMED}
        self._whole: dict[str, int] = {}

    @property
    def constants(self) -> RunConstants:
        """What is the same in every row, as known now."""
        return self._context.constants

    def appender(self, table: str) -> Callable[[tuple[Any, ...]], None]:
        """The function that takes a row of a streamed table, in the order of `Table.raw`."""
        return self._streams[table].rows.append

    def maybe_flush(self) -> None:
        """Packs and writes what is due; cheap when nothing is.

        Raises:
            RunError: A row does not fit its table, or a file cannot be written.
        """
        for stream in self._streams.values():
            if len(stream.rows) >= PACK_ROWS:
                stream.pack()

    def end_measured(self, to_s: float) -> None:
        """Says where the measured interval ends, once it is known.

        Args:
            to_s: Simulated seconds, a multiple of the window or the end of the run.
        """
        self._context.constants = replace(self.constants, measured_to_s=to_s)

    def write_dim(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Writes a whole table that is not streamed.

        Args:
            name: `fact_runs`, `fact_run_parameters`, `dim_…` or `bridge_…`.
            rows: Mappings by raw column name; `run_id` and derived columns are added. A nullable
                column may be left out.

        Raises:
            RunError: A name is unknown, a value is missing or does not fit.
        """
        table = SCHEMA.table(name)
        _check(table, rows)
        tuples = [tuple(row.get(field.name) for field in table.raw) for row in rows]
        file = self._context.open(table)
        file.write([self._context.batch(table, by_column(table, tuples), len(rows), math.inf)])
        file.close()
        self._whole[name] = len(rows)

    def finish(self, end_s: float) -> dict[str, int]:
        """Writes what is left and closes every file; tables never given are written empty.

        Args:
            end_s: End of the run, simulated seconds; cuts the last window.

        Returns:
            Rows by table.

        Raises:
            RunError: A row does not fit its table, or a file cannot be written.
        """
        if math.isinf(self.constants.measured_to_s):
            self.end_measured(end_s)
        for table in SCHEMA.tables:
            if table.name not in self._streams and table.name not in self._whole:
                self.write_dim(table.name, [])
        for stream in self._streams.values():
            stream.finish(end_s)
        rows = {name: stream.file.rows for name, stream in self._streams.items()} | self._whole
        return {table.name: rows[table.name] for table in SCHEMA.tables}


def _check(table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Names what is unknown or missing.

    Raises:
        RunError: Something is.
    """
    fields = [field.name for field in table.raw]
    needed = [field for field in fields if not table.column(field).nullable]
    for row in rows:
        for key in row:
            if key not in fields:
                near = difflib.get_close_matches(key, fields, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise RunError(f"{table.name}: no column {key!r}{hint}")
        missing = [field for field in needed if row.get(field) is None]
        if missing:
            raise RunError(f"{table.name}: {', '.join(missing)} must be given, got {dict(row)}")
