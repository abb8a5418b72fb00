"""Finds the files of rates that a scenario names, beside its file, and says what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory.errors import Problem
from factory.scenario.demand import Demand
from factory.scenario.document import Document
from factory.scenario.tenant_load import RateProfile


def settle_rates(document: Document, folder: Path) -> list[Problem]:
    """Writes the whole path and the digest of each file of rates into the scenario's data.

    The digest makes the file's content part of what the scenario says, so of the run's identity.

    Args:
        document: The scenario; `path` and `sha256` of profiles change.
        folder: What relative paths start from, unless a flag set them.

    Returns:
        A problem for each file that is not the one whose digest is stated.
    """
    problems = []
    seen: set[int] = set()
    for path, section in _sections(document.data):
        if id(section) in seen or not isinstance(section.get("path"), str):
            continue
        seen.add(id(section))
        place = document.locations.of(f"{path}.path") or ""
        file = Path(section["path"])
        if not place.startswith("--"):
            file = folder / file
        section["path"] = str(file)
        if not file.is_file():
            continue
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if section.get("sha256") not in {None, digest}:
            where = f"{path}.sha256"
            message = f"is not the digest of {file}: that is {digest}"
            location = document.locations.of(where)
            problems.append(Problem(where, message, section["sha256"], location=location))
        section["sha256"] = digest
    return problems


def missing_rates(workload: Demand) -> Iterator[Problem]:
    """A problem for each file of rates that a workload names and that is not there."""
    profiles: list[tuple[str, RateProfile | None]] = [
        (f"workload.tenants[{number}].load.profile", tenant.load.profile)
        for number, tenant in enumerate(workload.tenants)
        if tenant.load is not None
    ]
    mix = getattr(workload, "mix", None)
    profiles.append(("workload.mix.profile", None if mix is None else mix.profile))
    for path, profile in profiles:
        if profile is not None and profile.path is not None and not Path(profile.path).is_file():
            yield Problem(f"{path}.path", "no such file of rates", profile.path)


def _sections(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every profile that is a mapping, with its path."""
    workload = _mapping(data).get("workload")
    tenants = _mapping(workload).get("tenants")
    places = [("workload.mix", _mapping(workload).get("mix"))]
    for number, tenant in enumerate(tenants if isinstance(tenants, list) else ()):
        places.append((f"workload.tenants[{number}].load", _mapping(tenant).get("load")))
    for path, holder in places:
        section = _mapping(holder).get("profile")
        if isinstance(section, dict):
            yield f"{path}.profile", section


def _mapping(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}
