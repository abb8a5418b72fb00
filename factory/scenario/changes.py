"""What a scenario changes in the catalogue's kernels, products and engines."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import Field

from factory.errors import Problem
from factory.scenario.base import Part, Text
from factory.scenario.document import join
from factory.scenario.kernels import (
    FRACTIONS,
    POSITIVE,
    SHARES,
    EngineSpec,
    Exchange,
    KernelSpec,
    ProductSpec,
)
from factory.scenario.nearest import nearest
from factory.scenario.specs import Catalog, Kind, Provenance

SECTIONS: Mapping[str, type[ProductSpec] | type[KernelSpec] | type[EngineSpec]] = {
    "products": ProductSpec,
    "kernels": KernelSpec,
    "engines": EngineSpec,
}
"""Sections of the catalogue that a scenario can change, with the records they hold."""

_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*(?:@(?P<generation>.+))?")


class Change(Part):
    """One number of the catalogue, with where it comes from."""

    value: Any = Field(description="The value, in the unit of the field.")
    kind: Kind = Field(description="How it is known.")
    source: Text = Field(description="Where it comes from.")
    date: Text = Field(description="Its date.")


class Changes(Part):
    """Changed fields by record; a new engine profile holds all its fields."""

    products: dict[Text, dict[Text, Change]] = Field(
        default={}, description="Matrix products, by generation and storage."
    )
    kernels: dict[Text, dict[Text, Change]] = Field(
        default={}, description="Attention, element-wise kernels and collectives, by generation."
    )
    engines: dict[Text, dict[Text, Change]] = Field(
        default={}, description="Engine profiles; a name of its own makes a new one."
    )

    @property
    def sections(self) -> Iterator[tuple[str, Mapping[str, Mapping[str, Change]]]]:
        """Each section with its records."""
        for section in SECTIONS:
            yield section, getattr(self, section)


def fields_of(section: str) -> list[str]:
    """Fields of a section's records that a change can name."""
    fields = (field.name for field in dataclasses.fields(SECTIONS[section]))
    return [name for name in fields if name not in ("name", "provenance")]


def as_changes(spec: ProductSpec | KernelSpec | EngineSpec, section: str) -> dict[str, Any]:
    """Every field of a record as plain data that makes it again."""
    unsaid = Provenance("assumed", "the shipped catalogue", "as shipped")
    return {
        name: plain(getattr(spec, name), spec.provenance.get(name, unsaid))
        for name in fields_of(section)
    }


def plain(value: Any, origin: Provenance) -> dict[str, Any]:
    """A change as plain data."""
    return {"value": value, "kind": origin.kind, "source": origin.source, "date": origin.date}


def with_changes(base: Catalog, changes: Changes) -> Catalog:
    """The catalogue with changes in it; those that `change_problems` refuses are left out.

    A new engine profile that lacks fields takes them from ``generic``, so that what refers to it
    can be judged.
    """
    updated: dict[str, Any] = {}
    for section, records in changes.sections:
        known: Mapping[str, Any] = getattr(base, section)
        merged = dict(known)
        for name, given in records.items():
            before = known.get(name) or (base.engines["generic"] if section == "engines" else None)
            if before is not None:
                merged[name] = _changed(before, name, section, given)
        if records:
            updated[section] = merged
    return dataclasses.replace(base, **updated)


def change_problems(changes: Changes, base: Catalog) -> Iterator[Problem]:
    """Unknown records and fields, new profiles that lack some, and values out of bounds.

    Args:
        changes: What to change.
        base: The catalogue that they change.

    Yields:
        Problems without places; paths begin with the section.
    """
    for section, records in changes.sections:
        known: Mapping[str, Any] = getattr(base, section)
        fields = fields_of(section)
        for name, given in records.items():
            path = join(section, name)
            if name not in known:
                if section != "engines":
                    message = f"unknown record of {section}"
                    yield Problem(path, message, name, ", ".join(known), nearest(name, known))
                    continue
                yield from _profile_problems(path, name, given, base)
            for field, change in given.items():
                place = join(path, field)
                if field not in fields:
                    known_fields, hint = ", ".join(fields), nearest(field, fields)
                    yield Problem(place, "unknown field", None, known_fields, hint)
                elif wrong := _wrong(field, change.value):
                    yield Problem(place, wrong, change.value)


def misnamed(name: str, base: Catalog) -> Problem | None:
    """What is wrong with the name of a new engine profile; no place, no path."""
    form = _PROFILE.fullmatch(name)
    if form is None:
        message = "may hold letters, digits, _, - and . only, the first a letter or digit"
        return Problem("", f"{message}; @GENERATION may follow", name)
    generation, known = form["generation"], base.kernels
    if generation and generation not in known:
        hint = nearest(generation, known)
        return Problem("", "unknown GPU generation", generation, ", ".join(known), hint)
    return None


def _profile_problems(
    path: str, name: str, given: Mapping[str, Change], base: Catalog
) -> Iterator[Problem]:
    wrong = misnamed(name, base)
    if wrong is not None:
        yield dataclasses.replace(wrong, path=path)
    lacking = [field for field in fields_of("engines") if field not in given]
    if lacking:
        message = f"is a new engine profile: give like: NAME, or also {', '.join(lacking)}"
        yield Problem(path, message, None, None, nearest(name, base.engines))


def _changed(
    before: Any, name: str, section: str, given: Mapping[str, Change]
) -> ProductSpec | KernelSpec | EngineSpec:
    """A record with the changes that can be made."""
    fields = fields_of(section)
    sound = {
        field: change
        for field, change in given.items()
        if field in fields and not _wrong(field, change.value)
    }
    origins = {
        field: Provenance(change.kind, change.source, change.date)
        for field, change in sound.items()
    }
    values = {
        field: change.value if isinstance(change.value, str) else float(change.value)
        for field, change in sound.items()
    }
    made: ProductSpec | KernelSpec | EngineSpec = dataclasses.replace(
        before, name=name, provenance={**before.provenance, **origins}, **values
    )
    return made


def _wrong(field: str, value: Any) -> str | None:
    """Why a field cannot have a value; None if it can."""
    if field == "exchange":
        words = get_args(Exchange)
        return None if value in words else f"must be one of {', '.join(words)}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "must be a finite number"
    if field in FRACTIONS:
        return None if 0.0 < value <= 1.0 else "must be > 0 and <= 1"
    if field in SHARES:
        return None if 0.0 <= value <= 1.0 else "must be >= 0 and <= 1"
    if field in POSITIVE:
        return None if value > 0.0 else "must be > 0"
    return None if value >= 0.0 else "must be >= 0"
