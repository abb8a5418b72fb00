"""``factory query``: SQL over a run's tables and views."""

from __future__ import annotations

from pathlib import Path


def query_run(run_dir: Path, sql: str, *, as_json: bool) -> None:
    """Print the answer to a query, as columns or as one JSON object.

    Args:
        run_dir: A finished run's directory.
        sql: Statements of DuckDB; the answer is that of the last.
        as_json: Print one JSON object and nothing else.

    Raises:
        FactoryError: There is no such run, or the query is wrong.
    """
    from factory.cli.finished import finished_run
    from factory.cli.output import print_columns, print_json
    from factory.records.query import query

    answer = query(finished_run(run_dir), sql)
    if as_json:
        print_json({"columns": answer.columns, "rows": answer.rows})
        return
    if not answer.columns:
        return
    rows = [["null" if value is None else str(value) for value in row] for row in answer.rows]
    numeric = [
        any(v is not None for v in values)
        and all(
            v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values
        )
        for values in ([row[i] for row in answer.rows] for i in range(len(answer.columns)))
    ]
    print_columns(answer.columns, rows, numeric)
