"""Finds the files of rates that a scenario names, beside its file, and says what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory.errors import Problem
from factory.scenario.demand import Demand
from factory.scenario.document import Document
from factory.scenario.own_files import settle_files
from factory.scenario.tenant_load import RateProfile


def settle_rates(document: Document, folder: Path) -> list[Problem]:
    """Settles each file of rates, see `settle_files`."""
    named = (
        (path, section)
        for path, section in _sections(document.data)
        if isinstance(section.get("path"), str)
    )
    return settle_files(document, folder, named)


def missing_rates(workload: Demand) -> Iterator[Problem]:
    """A problem for each file of rates that a workload names and that is not there."""
    profiles: list[tuple[str, RateProfile | None]] = [
        (f"workload.tenants[{number}].load.profile", tenant.load.profile)
        for number, tenant in enumerate(workload.tenants)
        if tenant.load is not None
    ]
    mix = workload.mix
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
