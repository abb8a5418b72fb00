"""SQL over a run."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import hand_made_run as by_hand
import pytest

from factory.errors import InputError
from factory.records.query import connect, query


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_hand.write(tmp_path_factory.mktemp("it's here") / "run")


def test_tables_and_views(run: Path) -> None:
    answer = query(run, "SELECT tenant, count(*) AS n FROM fact_requests GROUP BY ALL ORDER BY ALL")
    assert answer.columns == ("tenant", "n")
    assert answer.rows == [("agent", 2), ("chat", 4)]


def test_instants_are_utc(run: Path) -> None:
    answer = query(run, "SELECT arrived_at, completed_at FROM fact_requests LIMIT 1")
    assert answer.rows[0][0] == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("", "must be one statement, got none"),
        ("-- nothing", "must be one statement, got none"),
        ("SELECT 1; SELECT 2", "got 2 statements"),
        ("CREATE TEMP TABLE t (a INTEGER)", "must read only.*got CREATE"),
        ("COPY fact_runs TO 'out.csv'", "must read only.*got COPY"),
        ("EXPLAIN ANALYZE COPY fact_runs TO 'out.csv'", "must read only.*got EXPLAIN"),
        ("SET enable_external_access = true", "must read only.*got SET"),
        ("FROM '{run}/run.json'", "Cannot access file"),
        ("FROM read_text('{run}/views.sql')", "Cannot access file"),
    ],
)
def test_a_query_reads_the_tables_and_nothing_else(run: Path, sql: str, words: str) -> None:
    where = str(run).replace("'", "''")
    with pytest.raises(InputError, match=words):
        query(run, sql.format(run=where))
    assert not Path("out.csv").exists()


def test_a_connection_is_locked(run: Path) -> None:
    connection = connect(run)
    with pytest.raises(duckdb.Error):
        connection.execute(f"COPY fact_runs TO '{run.name}.csv'")
    with pytest.raises(duckdb.Error):
        connection.execute("SET enable_external_access = true")
    connection.close()


def test_rows_are_cut_at_a_limit_in_the_order_of_the_query(run: Path) -> None:
    sql = "SELECT request_id FROM fact_requests ORDER BY request_id DESC"
    cut = query(run, sql, 2)
    assert cut.rows == query(run, sql).rows[:2]
    assert cut.is_cut
    assert not query(run, sql, 6).is_cut


def test_what_is_wrong_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the query failed.*ttft_ms"):
        query(run, "SELECT ttft_ms FROM fact_requests")
    with pytest.raises(InputError, match="is no run directory"):
        query(tmp_path, "SELECT 1")


def test_views_open_in_the_run_directory_without_this_package(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    connection = duckdb.connect()
    connection.execute(Path("views.sql").read_text("utf-8"))
    assert connection.sql("SELECT round(cost_usd, 9) FROM v_run_summary").fetchall() == [(0.12,)]
    assert Path.cwd() == Path(os.path.realpath(run))
