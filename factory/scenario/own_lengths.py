"""Finds the files of lengths that a scenario names, beside its file, and says what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory.errors import Problem
from factory.scenario.base import Part
from factory.scenario.document import Document, join
from factory.scenario.lengths import distributions
from factory.scenario.own_files import settle_files


def settle_lengths(document: Document, folder: Path) -> list[Problem]:
    """Settles each file of lengths, see `settle_files`."""
    workload = document.data.get("workload") if isinstance(document.data, dict) else None
    tenants = workload.get("tenants") if isinstance(workload, dict) else None
    return settle_files(document, folder, _sections(tenants, "workload.tenants"))


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
