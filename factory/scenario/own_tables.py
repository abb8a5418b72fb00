"""Finds the step-time tables that a scenario names, beside its file, and says what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory.errors import Problem
from factory.scenario.document import Document


def settle_tables(document: Document, folder: Path) -> list[Problem]:
    """Writes the whole path and the digest of each table into the scenario's data.

    The digest makes the table's content part of what the scenario says, so of the run's identity.

    Args:
        document: The scenario; ``step_model.path`` and ``step_model.sha256`` change.
        folder: What relative paths start from, unless a flag set them.

    Returns:
        A problem for each table that is not the one whose digest is stated.
    """
    problems = []
    seen: set[int] = set()
    for path, model in _step_models(document.data):
        written = model.get("path")
        if model.get("kind") != "table" or not isinstance(written, str) or id(model) in seen:
            continue
        seen.add(id(model))
        place = document.locations.of(f"{path}.path") or ""
        file = Path(written) if place.startswith("--") else folder / written
        model["path"] = str(file)
        if not file.is_file():
            continue
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if model.get("sha256") not in {None, digest}:
            where = f"{path}.sha256"
            message = f"is not the digest of {file}: that is {digest}"
            location = document.locations.of(where)
            problems.append(Problem(where, message, model["sha256"], location=location))
        model["sha256"] = digest
    return problems


def _step_models(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step model that is a mapping, with its path."""
    for number, deployment in enumerate(_list(data, "deployments")):
        for position, pool in enumerate(_list(deployment, "pools")):
            engine = pool.get("engine") if isinstance(pool, dict) else None
            model = engine.get("step_model") if isinstance(engine, dict) else None
            if isinstance(model, dict):
                yield f"deployments[{number}].pools[{position}].engine.step_model", model


def _list(data: Any, key: str) -> list[Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, list) else []
