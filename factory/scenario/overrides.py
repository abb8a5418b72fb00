"""``--set a.b[0].c=value`` on a document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from factory.errors import Problem
from factory.scenario.document import Document, join, parse_value
from factory.scenario.nearest import nearest

_PART = re.compile(r"([A-Za-z0-9_\-]+)|\[([^\[\]]+)\]")
_PATH = re.compile(r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+|\[[^\[\]]+\])*")


def apply(document: Document, overrides: Sequence[str]) -> list[Problem]:
    """Set values in a document, in order; mappings on the way are made where absent.

    An item of a list is named by its index or by its ``name``: ``pools[1]``, ``pools[decode]``.

    Returns:
        What was wrong with the overrides themselves; a wrong value is found by the checks.
    """
    problems = []
    for override in overrides:
        problem = _apply(document, override)
        if problem is not None:
            problems.append(problem)
    return problems


def _apply(document: Document, override: str) -> Problem | None:
    flag = f"--set {override}"
    path, equals, text = override.partition("=")
    path = path.strip()
    if not equals or not _PATH.fullmatch(path):
        message = "must read path=value, as workload.tenants[0].load.rate=4"
        return Problem("", message, location=flag)
    if not text.strip():
        return Problem(path, "is given no value; null leaves it out", location=flag)
    try:
        value = parse_value(text)
    except ValueError as error:
        return Problem(path, f"the value is {error}", location=flag)
    parts = [match[1] or match[2] for match in _PART.finditer(path)]
    indexed = [match[1] is None for match in _PART.finditer(path)]
    container: Any = document.data
    place = ""
    for position, (part, is_index) in enumerate(zip(parts, indexed, strict=True)):
        if is_index:
            index = _index(container, part)
            if isinstance(index, Problem):
                return Problem(place, index.message, None, index.allowed, index.nearest, flag)
            key: Any = index
        elif isinstance(container, list):
            message = f"is a list: name an item, as {place or 'list'}[0].{part}"
            return Problem(place, message, location=flag)
        else:
            key = part
        place = join(place, key)
        if position == len(parts) - 1:
            container[key] = value
            document.locations.replace(place, flag)
        else:
            inner = container[key] if isinstance(container, list) else container.get(key)
            if not isinstance(inner, dict | list):
                if inner is not None:
                    return Problem(place, "holds a value, nothing under it", inner, location=flag)
                inner = container[key] = {}
                document.locations.replace(place, flag)
            container = inner
    return None


def _index(container: Any, part: str) -> int | Problem:
    """The position that ``[part]`` means in a list."""
    if not isinstance(container, list):
        return Problem("", f"is not a list, [{part}] picks nothing")
    names = [str(item.get("name")) if isinstance(item, dict) else "" for item in container]
    if part in names:
        return names.index(part)
    if not part.isdecimal():
        known = [name for name in names if name]
        message = f"has no item named {part}"
        return Problem("", message, None, ", ".join(known) or None, nearest(part, known))
    if int(part) >= len(container):
        return Problem("", f"has {len(container)} items, [{part}] is none of them (from [0])")
    return int(part)
