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
        is_cut: Whether there are more rows than were asked for.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_cut: bool = False


def connect(run_dir: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the tables and views of a run, and no other file within reach.

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
        connection.execute(f"SET allowed_directories = ['{where}/']")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        raise InputError(f"{path}: {error}") from error
    return connection


def query(run_dir: Path, sql: str, limit: int | None = None) -> Answer:
    """The answer to a query over the tables and views of a run.

    Args:
        run_dir: A finished run.
        sql: One query of DuckDB; nothing that writes.
        limit: Rows to return at most; None for all.

    Returns:
        Rows in the order of the query; instants in UTC.

    Raises:
        InputError: The directory holds no finished run, or the query is wrong or not one.
    """
    connection = connect(run_dir)
    try:
        return ask(connection, sql, limit)
    finally:
        connection.close()


def ask(connection: duckdb.DuckDBPyConnection, sql: str, limit: int | None = None) -> Answer:
    """The answer to a query on a connection of `connect`; see `query`.

    Raises:
        InputError: The query is wrong or not one.
    """
    import duckdb

    try:
        _require_a_query(connection, sql)
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
        if limit is not None:
            relation = relation.limit(limit + 1)
        rows = relation.fetchall()
    except duckdb.Error as error:
        raise InputError(f"the query failed: {error}") from error
    is_cut = limit is not None and len(rows) > limit
    rows = rows[:limit]
    if any(zoned):
        rows = [
            tuple(
                value.replace(tzinfo=UTC) if is_zoned and value is not None else value
                for value, is_zoned in zip(row, zoned, strict=True)
            )
            for row in rows
        ]
    return Answer(columns, rows, is_cut)


def _require_a_query(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuses what is not exactly one statement that reads.

    Raises:
        InputError: It is not.
        duckdb.Error: It cannot be parsed.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        number = f"{len(statements)} statements" if statements else "none"
        raise InputError(f"the query must be one statement, got {number}")
    (statement,) = statements
    if statement.type.name != "SELECT":
        raise InputError(
            "the query must read only, as SELECT, FROM, WITH, DESCRIBE, SHOW or SUMMARIZE do, "
            f"got {statement.type.name}"
        )
