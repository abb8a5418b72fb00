"""Checks that several parts of a scenario share."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Iterator

from factory.errors import Problem
from factory.scenario.nearest import nearest

STAND_IN = "0.stand-in.0"
"""Name given to a part whose own name is wrong; what refers to it cannot be judged."""


def unknown(path: str, what: str, name: str, known: Iterable[str]) -> Iterator[Problem]:
    """A problem unless ``name`` is one of ``known``."""
    names = list(known)
    if name not in names and STAND_IN not in names:
        yield Problem(
            path, f"unknown {what}", name, ", ".join(names) or "none", nearest(name, names)
        )


def unknown_zone(path: str, name: str) -> Iterator[Problem]:
    """A problem unless ``name`` is a time zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = nearest(name, sorted(zoneinfo.available_timezones()))
        allowed = "IANA names, as UTC or America/Chicago"
        yield Problem(path, "unknown time zone", name, allowed, hint)


def repeated(path: str, names: Iterable[str]) -> Iterator[Problem]:
    """A problem for each name of a list that an earlier item has."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            message = f"is the name of {path}[{first[name]}] too; names must differ"
            yield Problem(f"{path}[{index}].name", message, name)
        first.setdefault(name, index)
