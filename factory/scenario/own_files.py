"""Files that a scenario names: found beside its own file, their content part of its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from factory.errors import Problem
from factory.scenario.document import Document

_CHUNK_BYTES = 1 << 20


def settle_files(
    document: Document, folder: Path, sections: Iterable[tuple[str, dict[str, Any]]]
) -> list[Problem]:
    """Writes the whole path and the digest of each named file into the scenario's data.

    The digest makes the file's content part of what the scenario says, so of the run's identity.

    Args:
        document: The scenario.
        folder: What relative paths start from, unless a flag set them.
        sections: Place and mapping of each section with a `path`; these change, each once.

    Returns:
        A problem for each file that is not the one whose `sha256` is stated.
    """
    problems = []
    seen: set[int] = set()
    for path, section in sections:
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


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
