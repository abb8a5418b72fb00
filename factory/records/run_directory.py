"""A run's directory: `.partial` while it is written, complete once it has its name."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factory.errors import InputError, RunError
from factory.records.dictionary import data_dictionary
from factory.records.schema import SCHEMA
from factory.records.views import views_sql

MANIFEST = "run.json"
TABLES = "tables"
PARTIAL = ".partial"

_LOCK = ".writing"


def run_id(resolved: Mapping[str, object], seed: int, replication: int, model_version: str) -> str:
    """The id of a run: equal for runs that must give equal tables.

    Args:
        resolved: The scenario with every default filled in, JSON-able.
        seed: Root of the random streams.
        replication: Number of the replication.
        model_version: Version of the simulator.

    Returns:
        Twelve hexadecimal digits.
    """
    what = [resolved, seed, replication, model_version]
    text = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


class RunDirectory:
    """The directory of one run while it is written.

    Use it as a context manager: leaving it without `commit` removes what was written. A process
    that is killed leaves `<name>.partial`, which the next run of that name clears away.

    Attributes:
        final: Where the run will be.
        tables: Where its Parquet files go while it is written.
    """

    def __init__(self, out: Path | None, name: str, run_id: str, root: Path = Path("runs")) -> None:
        """Makes the `.partial` directory.

        Args:
            out: Where the run shall be; None for `<root>/<name>-<run_id>`, with a number behind it
                where a run of that name exists.
            name: Name of the scenario.
            run_id: See `run_id`.
            root: Parent of default names.

        Raises:
            InputError: `out` exists, or another process writes it.
            RunError: The directory cannot be made.
        """
        self.final = _free(root / f"{name}-{run_id}") if out is None else out
        if self.final.exists():
            raise InputError(
                f"{self.final}: exists already; name another directory with --out, or remove it"
            )
        self._partial = self.final.with_name(self.final.name + PARTIAL)
        self.tables = self._partial / TABLES
        self._lock = -1
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
            self._take()
            self.tables.mkdir()
        except OSError as error:
            self._let_go()
            raise RunError(f"{self._partial}: cannot be made: {error.strerror}") from error

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock >= 0:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._let_go()

    @property
    def partial(self) -> Path:
        """The directory while it is written; other files of the run, as its report, go here."""
        return self._partial

    def commit(self, manifest: Mapping[str, Any], rows: Mapping[str, int]) -> Path:
        """Adds manifest, data dictionary and views, and gives the directory its name.

        Args:
            manifest: What `run.json` says beside the tables: scenario, seed, versions, wall-clock.
            rows: Rows by table, as `RunTables.finish` returns them.

        Returns:
            The run's directory.

        Raises:
            InputError: The directory appeared meanwhile.
            RunError: It cannot be written.
        """
        try:
            (self._partial / "data_dictionary.md").write_text(data_dictionary(SCHEMA), "utf-8")
            (self._partial / "views.sql").write_text(views_sql(SCHEMA), "utf-8")
            content = {
                "status": "complete",
                **manifest,
                "schema_name": SCHEMA.name,
                "schema_version": SCHEMA.version,
                "tables": {name: self._described(name, rows[name]) for name in rows},
            }
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (self._partial / MANIFEST).write_text(text, "utf-8")
            (self._partial / _LOCK).unlink()
            self._partial.rename(self.final)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise InputError(f"{self.final}: appeared while the run went on") from error
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            reason = "the disk is full" if full else error.strerror
            raise RunError(f"{self._partial}: cannot be written: {reason}") from error
        self._let_go()
        return self.final

    def _described(self, name: str, rows: int) -> dict[str, object]:
        path = self.tables / f"{name}.parquet"
        return {"rows": rows, "bytes": path.stat().st_size, "sha256": sha256(path)}

    def _take(self) -> None:
        """Locks the directory for this process and clears what a killed one left.

        Raises:
            InputError: Another process writes it.
        """
        self._lock = os.open(self._partial / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._let_go()
            raise InputError(f"{self._partial}: another process is writing this run") from error
        for path in self._partial.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _let_go(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        InputError: The directory holds no finished run, or its manifest lacks the tables.
    """
    path = run_dir / MANIFEST
    if run_dir.name.endswith(PARTIAL):
        raise InputError(f"{run_dir}: was left by a run that did not finish")
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{run_dir}: is no run directory: it has no {MANIFEST}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold an object, got {type(content).__name__}")
    tables = content.get("tables")
    if not isinstance(tables, dict) or not tables:
        raise InputError(f"{path}: must list the run's tables under tables, each with its sha256")
    for name, described in tables.items():
        if not isinstance(described, dict) or not isinstance(described.get("sha256"), str):
            raise InputError(f"{path}: tables.{name}.sha256: is missing; it was edited or cut")
    return content


def changed_tables(run_dir: Path) -> list[str]:
    """Names of the tables that are gone, or are not as the run wrote them.

    Raises:
        InputError: The directory holds no finished run.
    """
    changed = []
    for name, described in read_manifest(run_dir)["tables"].items():
        path = run_dir / TABLES / f"{name}.parquet"
        if not path.is_file() or sha256(path) != described["sha256"]:
            changed.append(name)
    return changed


def _free(path: Path) -> Path:
    """The path, with the first number behind it that makes it new."""
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.name}-{number}")
        number += 1
    return free
