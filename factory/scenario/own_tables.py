"""Finds the step-time tables that a scenario names, beside its file, and says what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory.errors import Problem
from factory.scenario.document import Document
from factory.scenario.own_files import settle_files


def settle_tables(document: Document, folder: Path) -> list[Problem]:
    """Settles each table of step times, see `settle_files`."""
    named = (
        (path, model)
        for path, model in _step_models(document.data)
        if model.get("kind") == "table" and isinstance(model.get("path"), str)
    )
    return settle_files(document, folder, named)


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
