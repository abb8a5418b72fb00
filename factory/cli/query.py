"""``factory query``: SQL over a run's tables and views."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.records.query import Answer


def query_run(run_dir: Path, sql: str, *, limit: int | None, as_json: bool) -> None:
    """Print the answer to a query, as columns or as one JSON object.

    A single row that is too wide for a line is printed as a column of names and values.

    Args:
        run_dir: A finished run's directory.
        sql: One query of DuckDB.
        limit: Rows to print at most; None for all.
        as_json: Print one JSON object and nothing else.

    Raises:
        FactoryError: There is no such run, or the query is wrong.
    """
    from factory.cli.failures import say
    from factory.cli.finished import finished_run
    from factory.cli.output import line_width, print_columns, print_json
    from factory.records.query import query

    answer = query(finished_run(run_dir), sql, limit)
    if as_json:
        print_json({"columns": answer.columns, "rows": answer.rows})
    elif answer.columns:
        rows = [["null" if value is None else str(value) for value in row] for row in answer.rows]
        width = sum(max(map(len, column)) + 2 for column in zip(answer.columns, *rows, strict=True))
        if len(rows) == 1 and width - 2 > line_width():
            names = max(map(len, answer.columns))
            for name, value in zip(answer.columns, rows[0], strict=True):
                print(f"{name:<{names}}  {value}")
        else:
            print_columns(answer.columns, rows, _numeric(answer))
    if answer.is_cut:
        say(f"{limit:,} rows shown, there are more: --limit N shows N, --all shows all")


def _numeric(answer: Answer) -> list[bool]:
    """Whether each column holds numbers only, and one at least."""
    columns = ([row[i] for row in answer.rows] for i in range(len(answer.columns)))
    return [
        any(value is not None for value in values)
        and all(
            value is None or (isinstance(value, int | float) and not isinstance(value, bool))
            for value in values
        )
        for values in columns
    ]
