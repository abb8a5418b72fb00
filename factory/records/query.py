"""SQL over a run: DuckDB with the run's own views."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from factory.errors import InputError
from factory.records.run_directory import TABLES, read_manifest

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query returns.

    Attributes:
        columns: Names.
        rows: Values, one tuple per row.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def connect(run_dir: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the tables and views of a run.

    Args:
        run_dir: A finished run.

    Raises:
        InputError: The directory holds no finished run, or its views cannot be made.
    """
    import duckdb

    read_manifest(run_dir)
    path = run_dir / "views.sql"
    try:
        sql = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    where = str((run_dir / TABLES).resolve()).replace("'", "''")
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    try:
        connection.execute(sql.replace(f"read_parquet('{TABLES}/", f"read_parquet('{where}/"))
    except duckdb.Error as error:
        connection.close()
        raise InputError(f"{path}: {error}") from error
    return connection


def query(run_dir: Path, sql: str) -> Answer:
    """The answer to a query over the tables and views of a run.

    Args:
        run_dir: A finished run.
        sql: One or more statements of DuckDB; the answer is that of the last.

    Returns:
        Rows in the order of the query; instants in UTC.

    Raises:
        InputError: The directory holds no finished run, or the query is wrong.
    """
    connection = connect(run_dir)
    try:
        return ask(connection, sql)
    finally:
        connection.close()


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    """The answer to a query on a connection of `connect`; see `query`.

    Raises:
        InputError: The query is wrong.
    """
    import duckdb

    try:
        relation = cast("duckdb.DuckDBPyRelation | None", connection.sql(sql))
        if relation is None:
            return Answer((), [])
        columns = tuple(relation.columns)
        zoned = [str(kind) == "TIMESTAMP WITH TIME ZONE" for kind in relation.types]
        if any(zoned):
            # DuckDB asks for pytz to hand over zoned instants; these are UTC, so the zone is ours.
            relation = relation.project(
                ", ".join(
                    f"CAST(#{i} AS TIMESTAMP)" if is_zoned else f"#{i}"
                    for i, is_zoned in enumerate(zoned, start=1)
                )
            )
        rows = relation.fetchall()
    except duckdb.Error as error:
        raise InputError(f"the query failed: {error}") from error
    if any(zoned):
        rows = [
            tuple(
                value.replace(tzinfo=UTC) if is_zoned and value is not None else value
                for value, is_zoned in zip(row, zoned, strict=True)
            )
            for row in rows
        ]
    return Answer(columns, rows)
