"""Finds the files of lengths that a scenario names, beside its file, and says what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory.errors import Problem
from factory.scenario.base import Part
from factory.scenario.document import Document, join
from factory.scenario.lengths import distributions

_CHUNK_BYTES = 1 << 20


def settle_lengths(document: Document, folder: Path) -> list[Problem]:
    """Writes the whole path and the digest of each file of lengths into the scenario's data.

    The digest makes the file's content part of what the scenario says, so of the run's identity.

    Args:
        document: The scenario; `path` and `sha256` of distributions by file change.
        folder: What relative paths start from, unless a flag set them.

    Returns:
        A problem for each file that is not the one whose digest is stated.
    """
    workload = document.data.get("workload") if isinstance(document.data, dict) else None
    tenants = workload.get("tenants") if isinstance(workload, dict) else None
    problems = []
    seen: set[int] = set()
    for path, section in _sections(tenants, "workload.tenants"):
        if id(section) in seen:
            continue
        seen.add(id(section))
        place = document.locations.of(f"{path}.path") or ""
        file = Path(section["path"])
        if not place.startswith("--"):
            file = folder / file
        section["path"] = str(file)
        if not file.is_file():
            continue
        digest = _digest(file)
        if section.get("sha256") not in {None, digest}:
            where = f"{path}.sha256"
            message = f"is not the digest of {file}: that is {digest}"
            location = document.locations.of(where)
            problems.append(Problem(where, message, section["sha256"], location=location))
        section["sha256"] = digest
    return problems


def missing_lengths(tenant: Part, path: str) -> Iterator[Problem]:
    """A problem for each file of lengths that a tenant names and that is not there.

    Args:
        tenant: The tenant, or any other part that holds distributions.
        path: Where it stands in the scenario.
    """
    for place, section in distributions(tenant, path):
        if section.path is not None and not Path(section.path).is_file():
            yield Problem(f"{place}.path", "no such file of lengths", section.path)


def _sections(data: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with a file of lengths: those that name its columns too."""
    if isinstance(data, dict):
        if isinstance(data.get("path"), str) and data.keys() & {"column", "input", "output"}:
            yield path, data
        for key, child in data.items():
            yield from _sections(child, join(path, str(key)))
    elif isinstance(data, list):
        for index, child in enumerate(data):
            yield from _sections(child, join(path, index))


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
