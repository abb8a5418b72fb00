"""A run's directory is complete or it is `.partial`."""

from __future__ import annotations

import json
from pathlib import Path

import hand_made_run as by_hand
import pytest

from factory.errors import InputError, RunError
from factory.records.parquet import TableFile
from factory.records.run_directory import (
    RunDirectory,
    changed_tables,
    read_manifest,
    run_id,
    sha256,
)
from factory.records.schema import SCHEMA


def test_a_finished_run(tmp_path: Path) -> None:
    run = by_hand.write(tmp_path / "runs" / "one")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.parent == run) == [
        "data_dictionary.md",
        "run.json",
        "tables",
        "views.sql",
    ]
    assert [path.name for path in run.parent.iterdir()] == ["one"]
    manifest = read_manifest(run)
    assert manifest["status"] == "complete"
    assert manifest["schema_version"] == SCHEMA.version
    assert manifest["tables"]["fact_requests"]["rows"] == 6
    told = manifest["tables"]["fact_requests"]["sha256"]
    assert told == sha256(run / "tables" / "fact_requests.parquet")


def test_a_directory_that_exists_is_refused(tmp_path: Path) -> None:
    run = by_hand.write(tmp_path / "run")
    before = json.loads((run / "run.json").read_text())
    with pytest.raises(InputError, match="exists already"):
        by_hand.write(run)
    assert json.loads((run / "run.json").read_text()) == before


def test_a_default_name_takes_the_next_number(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        with RunDirectory(None, "quick", "abc", root=tmp_path) as directory:
            directory.commit({}, {})
            names.append(directory.final.name)
    assert names == ["quick-abc", "quick-abc-2", "quick-abc-3"]


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with RunDirectory(tmp_path / "run", "x", "abc") as directory:
            assert directory.partial.name == "run.partial"
            assert directory.partial.is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / "run.partial" / "tables"
    left.mkdir(parents=True)
    (left / "fact_requests.parquet").write_bytes(b"half")
    with pytest.raises(InputError, match="did not finish"):
        read_manifest(tmp_path / "run.partial")
    by_hand.write(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_two_writers_of_one_run(tmp_path: Path) -> None:
    with (
        RunDirectory(tmp_path / "run", "x", "abc"),
        pytest.raises(InputError, match="another process is writing this run"),
    ):
        RunDirectory(tmp_path / "run", "x", "abc")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run directory"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (None, "run.json: must list the run's tables"),
        ([], "run.json: must list the run's tables"),
        ({"dim_models": {"rows": 1}}, r"run.json: tables\.dim_models\.sha256: is missing"),
        ({"dim_models": "x"}, r"run.json: tables\.dim_models\.sha256: is missing"),
    ],
)
def test_a_manifest_must_say_what_the_tables_were(
    tmp_path: Path, tables: object, words: str
) -> None:
    run = by_hand.write(tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "tables": tables}))
    with pytest.raises(InputError, match=words):
        read_manifest(run)


def test_tables_that_changed_are_named(tmp_path: Path) -> None:
    run = by_hand.write(tmp_path / "run")
    assert changed_tables(run) == []
    (run / "tables" / "dim_models.parquet").write_bytes(b"edited")
    (run / "tables" / "fact_events.parquet").unlink()
    assert changed_tables(run) == ["fact_events", "dim_models"]


def test_a_full_disk_is_named() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(RunError, match="the disk is full"):
        TableFile(full, SCHEMA.table("dim_models"), "name", "1.0.0").close()


def test_run_id_depends_on_what_the_tables_depend_on() -> None:
    base = run_id({"a": 1, "b": {"c": 2}}, 1, 0, "0.1.0")
    assert base == run_id({"b": {"c": 2}, "a": 1}, 1, 0, "0.1.0")
    assert len(base) == 12
    others = {
        run_id({"a": 2, "b": {"c": 2}}, 1, 0, "0.1.0"),
        run_id({"a": 1, "b": {"c": 2}}, 2, 0, "0.1.0"),
        run_id({"a": 1, "b": {"c": 2}}, 1, 1, "0.1.0"),
        run_id({"a": 1, "b": {"c": 2}}, 1, 0, "0.2.0"),
    }
    assert len(others | {base}) == 5
