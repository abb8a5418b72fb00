"""A YAML document whose numbers each say where they come from.

A number is written ``{value: 989, kind: published, source: …, date: …}``, or
``{value: 989, from: name}`` with the rest under ``sources``; plain values of a record that has a
``from`` of its own take theirs from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from factory.errors import Problem
from factory.scenario.document import Document, join
from factory.scenario.nearest import nearest
from factory.scenario.specs import Kind, Provenance


class Sourced:
    """Reads sourced numbers of a document, and gathers what is wrong with it.

    Attributes:
        data: The document's mapping; empty if it holds none.
        problems: What was wrong so far, each with its place.
    """

    def __init__(self, document: Document) -> None:
        self._locations = document.locations
        self.problems: list[Problem] = list(document.problems)
        self.data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}
        given = self.data.get("sources") or {}
        if not isinstance(given, dict):
            self.problem("sources", "must be a mapping of name to kind, source and date", given)
            given = {}
        self._sources = {
            name: self._provenance(entry, join("sources", name)) for name, entry in given.items()
        }

    def problem(
        self,
        path: str,
        message: str,
        got: object | None = None,
        allowed: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Notes a problem with the value at ``path``."""
        place = self._locations.of(path)
        self.problems.append(Problem(path, message, got, allowed, hint, place))

    def unknown_field(self, path: str, key: str, known: list[str]) -> None:
        """Notes that a record has no such field."""
        outer, place = join(path, key), self._locations.of_key(join(path, key))
        hint = nearest(key, known)
        allowed = None if hint else ", ".join(known)
        self.problems.append(Problem(outer, "unknown field", None, allowed, hint, place))

    def inherited(self, record: Mapping[str, Any], path: str) -> Provenance | None:
        """Where the plain values of a record come from, if it says."""
        return self._source(record["from"], join(path, "from")) if "from" in record else None

    def number(
        self, given: Any, path: str, inherited: Provenance | None
    ) -> tuple[Any, Provenance | None]:
        """A value and where it comes from; words need no source, numbers do."""
        if not isinstance(given, dict):
            if inherited is None and isinstance(given, int | float):
                self.problem(path, "a number needs a source: {value: …, from: …}")
            return given, inherited
        if "value" not in given:
            self.problem(path, "has no value")
        if "from" in given:
            return given.get("value"), self._source(given["from"], path)
        return given.get("value"), self._provenance(given, path)

    def _source(self, name: Any, path: str) -> Provenance | None:
        if not isinstance(name, str) or name not in self._sources:
            known = ", ".join(self._sources) or "none"
            hint = nearest(name, self._sources)
            self.problem(path, f'unknown source "{name}"', None, known, hint)
            return None
        return self._sources[name]

    def _provenance(self, given: Any, path: str) -> Provenance:
        if not isinstance(given, dict):
            self.problem(path, "must be a mapping with kind, source and date", given)
            return Provenance("assumed", "", "")
        kind: Any = given.get("kind")
        if kind not in get_args(Kind):
            message = f"must be one of {', '.join(get_args(Kind))}"
            self.problem(join(path, "kind"), message, kind)
            kind = "assumed"
        for key in ("source", "date"):
            if not given.get(key):
                self.problem(join(path, key), "is missing")
        return Provenance(kind, str(given.get("source")), str(given.get("date")))
