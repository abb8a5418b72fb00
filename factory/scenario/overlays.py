"""Catalogue overlays: YAML files that hold only what they change, as ``factory calibrate`` writes.

Sections are ``sources``, ``products``, ``kernels`` and ``engines``; a field is written as in the
catalogue. A new engine profile gives all fields, or ``like: NAME`` and those that differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from factory.errors import InputError, Problem, ScenarioError
from factory.scenario.catalog import catalog
from factory.scenario.changes import (
    SECTIONS,
    Changes,
    as_changes,
    change_problems,
    misnamed,
    plain,
    with_changes,
)
from factory.scenario.document import Document, Locations, is_within, join, read
from factory.scenario.findings import STAND_IN
from factory.scenario.nearest import nearest
from factory.scenario.sourced import Sourced
from factory.scenario.specs import Catalog

_IGNORED = ("sources", "errors")


@dataclass(slots=True)
class Overlay:
    """What overlays change, one on top of the other.

    Attributes:
        catalog: The catalogue with the changes.
        data: The changes as plain data: section, record, field, then value, kind, source, date.
        problems: What is wrong with the files, each with its place.
        locations: Where each change was written, by ``section.record.field``.
        is_unread: Whether a file is not what it should be, so that nobody knows what it holds.
    """

    catalog: Catalog
    data: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    locations: dict[str, str] = field(default_factory=dict)
    is_unread: bool = False

    def add(self, content: bytes, label: str) -> None:
        """Puts a file on top.

        Args:
            content: The bytes of the file.
            label: Its name in messages.
        """
        document = read(content, label)
        sourced = Sourced(document)
        self.is_unread |= bool(document.problems) or not isinstance(document.data, dict)
        if not isinstance(document.data, dict):
            if not document.problems:
                sourced.problem("", f"must be a mapping with {', '.join(SECTIONS)}")
            self.problems += sourced.problems
            return
        given = {section: _records(sourced, section) for section in SECTIONS}
        for section in sourced.data:
            if section not in (*SECTIONS, *_IGNORED):
                _unknown_section(sourced, section)
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for section, records in given.items():
            # A profile comes before its variants, which may build on it.
            for name in sorted(records, key=lambda each: "@" in each):
                self._record(sourced, section, name, records[name], found)
        self.problems += sourced.problems
        self._merge(found, document.locations)

    def _record(
        self,
        sourced: Sourced,
        section: str,
        name: str,
        record: Mapping[str, Any],
        found: dict[str, dict[str, dict[str, Any]]],
    ) -> None:
        """Reads one record; ``like`` fills in the profile's other fields, and its variants."""
        path = join(section, name)
        inherited = sourced.inherited(record, path)
        is_lost = inherited is None and "from" in record
        changed: dict[str, Any] = {}
        for key, given in record.items():
            if key == "from" or (key == "like" and section == "engines"):
                continue
            if is_lost and not isinstance(given, dict):
                continue  # its source is what is wrong
            before = len(sourced.problems)
            value, origin = sourced.number(given, join(path, key), inherited)
            if len(sourced.problems) == before and origin is None:
                message = "needs a source: {value: …, from: …}"
                sourced.problem(join(path, key), message, given)
            if origin is not None:
                changed[key] = plain(value, origin)
        made = found.setdefault(section, {})
        if section == "engines" and "like" in record:
            for other, fields in self._like(sourced, name, record["like"], made).items():
                made[other] = {**fields, **changed}
        else:
            made[name] = {**made.get(name, {}), **changed}

    def _like(
        self, sourced: Sourced, name: str, like: Any, made: Mapping[str, dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Fields of new profiles: ``name`` as ``like``, and ``name@generation`` as its variants."""
        path = f"engines.{name}.like"
        known = {key: as_changes(spec, "engines") for key, spec in self.catalog.engines.items()}
        if name in known:
            message = f"is for new profiles; {name} is in the catalogue"
            sourced.problem(path, message, like)
            return {name: {}}
        known |= {key: fields for key, fields in made.items() if key not in known}
        if not isinstance(like, str) or like not in known:
            hint = nearest(like, known)
            sourced.problem(path, "unknown engine profile", like, ", ".join(known), hint)
            return {name: known["generic"]}
        if "@" in name:
            return {name: known[like]}
        copies = {name: known[like]}
        for key in known:
            if key.startswith(f"{like}@"):
                copies[name + key.removeprefix(like)] = known[key]
        return copies

    def _merge(self, found: dict[str, dict[str, dict[str, Any]]], places: Locations) -> None:
        """Takes the sound changes in, and notes what is wrong with the others."""
        changes = Changes.model_validate(found)
        refused = set()
        for problem in change_problems(changes, self.catalog):
            path = problem.path
            refused.add(path)
            if any(is_within(other.path, path) for other in self.problems):
                continue  # what follows from a value that is wrong already
            is_unknown = problem.message == "unknown field"
            place = places.of_key(path) if is_unknown else places.of(join(path, "value"))
            self.problems.append(replace(problem, location=place))
        before, self.catalog = self.catalog, with_changes(self.catalog, changes)
        for section, records in found.items():
            known: Mapping[str, Any] = getattr(self.catalog, section)
            for name, given in records.items():
                path = join(section, name)
                is_new = name not in getattr(before, section)
                if name not in known or (is_new and misnamed(name, before)):
                    continue
                mine = self.data.setdefault(section, {}).setdefault(name, {})
                if is_new:
                    mine |= as_changes(known[name], section)
                else:
                    mine |= {k: one for k, one in given.items() if join(path, k) not in refused}
                for key in given:
                    place = places.of(join(path, key))
                    if place is not None and key in mine:
                        self.locations[join(path, key)] = place


def read_overlays(files: Sequence[Path], base: Catalog | None = None) -> Overlay:
    """Overlay files, one on top of the other.

    Args:
        files: Their paths; a later one wins.
        base: What they change; by default the shipped catalogue.

    Raises:
        InputError: A file cannot be read.
        ScenarioError: One holds something wrong; carries all problems at once.
    """
    overlay = Overlay(base or catalog())
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from None
        overlay.add(content, str(file))
    if overlay.problems:
        raise ScenarioError(overlay.problems)
    return overlay


def settle_overlays(document: Document, folder: Path) -> list[Problem]:
    """Writes what a scenario's overlays change under ``catalog_changes``.

    The document then says all that a run needs: the files are not read again.

    Args:
        document: The scenario as written; changed in place.
        folder: What relative paths start from; those of a flag start from the working folder.

    Returns:
        What is wrong with the overlays.
    """
    data: Any = document.data
    files = data.get("catalog_overlays")
    if not isinstance(files, list) or not all(isinstance(file, str) and file for file in files):
        return []  # told by the schema
    written = data.get("catalog_changes")
    overlay = Overlay(catalog())
    try:
        overlay.catalog = with_changes(catalog(), Changes.model_validate(written or {}))
    except ValueError:
        return []  # told by the schema
    problems: list[Problem] = []
    for index, name in enumerate(files):
        path = f"catalog_overlays[{index}]"
        place = document.locations.of(path)
        file = Path(name) if (place or "").startswith("--") else folder / name
        try:
            overlay.add(file.read_bytes(), str(file))
        except FileNotFoundError:
            problems.append(Problem(path, "no such catalogue overlay", name, location=place))
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            problems.append(Problem(path, message, name, location=place))
    if problems or overlay.is_unread:
        stand_in = as_changes(overlay.catalog.engines["generic"], "engines")
        overlay.data.setdefault("engines", {})[STAND_IN] = stand_in
    del data["catalog_overlays"]
    if overlay.data:
        _write(document, overlay)
    return problems + overlay.problems


def _write(document: Document, overlay: Overlay) -> None:
    """The overlay's changes on top of those that the scenario states itself."""
    data: Any = document.data
    data["catalog_changes"] = stated = data.get("catalog_changes") or {}
    for section, records in overlay.data.items():
        mine = stated.setdefault(section, {})
        for name, fields in records.items():
            mine.setdefault(name, {}).update(fields)
    for path, place in overlay.locations.items():
        document.locations.replace(f"catalog_changes.{path}", place)


def _records(sourced: Sourced, section: str) -> dict[str, dict[str, Any]]:
    """The records of a section that are mappings; others are noted."""
    records = sourced.data.get(section)
    if records is None:
        return {}
    if not isinstance(records, dict):
        sourced.problem(section, "must be a mapping of records", records)
        return {}
    sound = {}
    for name, record in records.items():
        if isinstance(record, dict):
            sound[name] = record
        else:
            sourced.problem(join(section, name), "must be a mapping of fields", record)
    return sound


def _unknown_section(sourced: Sourced, section: str) -> None:
    known = ["sources", *SECTIONS]
    message = "unknown section of an overlay"
    sourced.problem(section, message, section, ", ".join(known), nearest(section, known))
