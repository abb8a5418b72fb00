"""SQL over a run."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import hand_made_run as by_hand
import pytest

from factory.errors import InputError
from factory.records.query import query


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


def test_a_statement_without_an_answer(run: Path) -> None:
    assert query(run, "CREATE TEMP TABLE t (a INTEGER)").rows == []


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
