"""What pydantic finds wrong, said in the words of a scenario."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from factory.errors import Problem
from factory.scenario.base import Part, written_fields
from factory.scenario.document import Locations, join
from factory.scenario.lengths import Length
from factory.scenario.nearest import nearest
from factory.scenario.schema import Scenario
from factory.units import UNIT_NAMES, number_in, unit_of

Loc = Sequence[int | str]

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}

_PLAIN: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "may hold letters, digits, _, - and . only, the first a letter or "
    "digit",
    "too_short": "must have at least one item",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
}


def path_of(loc: Loc) -> str:
    """``("pools", 0, "role")`` as ``pools[0].role``."""
    path = ""
    for part in loc:
        if part != "[key]":
            path = join(path, part)
    return path


def errors_of(failure: ValidationError) -> list[ErrorDetails]:
    """What pydantic found, without what only follows: a list whose items are wrong is not empty."""
    errors = failure.errors(include_url=False)
    return [error for error in errors if error["type"] != "too_short" or not error["input"]]


def translate(error: ErrorDetails, locations: Locations) -> Problem:
    """One error of pydantic as a problem with its place."""
    path = path_of(error["loc"])
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        model = annotation_at(error["loc"][:-1])
        meant = _meant_field(str(error["loc"][-1]), model)
        fields = None if meant or model is None else ", ".join(written_fields(model))
        return Problem(path, "unknown field", None, fields, meant, locations.of_key(path))
    location = locations.of(path)
    if kind == "missing":
        return _missing(path, error["loc"], location)
    if kind == "literal_error":
        values = [str(value) for value in get_args(_bare(annotation_at(error["loc"])))]
        if len(values) == 1:
            return Problem(path, f"must be {values[0]}", _given(given), location=location)
        message = "is not one of the choices"
        hint = nearest(given, values)
        return Problem(path, message, _given(given), ", ".join(values), hint, location)
    if kind in ("float_type", "int_type", "float_parsing", "int_parsing"):
        return _not_a_number(path, kind, given, location)
    if kind in _BOUNDS:
        sign, key = _BOUNDS[kind]
        message = f"must be {sign} {error['ctx'][key]:g}"
        return Problem(path, message, _given(given), location=location)
    if kind == "model_type" and _bare(annotation_at(error["loc"])) is Length:
        message = "must be a number or a distribution, as {distribution: uniform, min: 1, max: 9}"
        return Problem(path, message, _given(given), None, _quantity(path, given), location)
    message = _PLAIN.get(kind) or error["msg"].removeprefix("Value error, ")
    if given is None:
        message += ", not null"
    return Problem(path, message, _given(given), location=location)


def annotation_at(loc: Loc) -> Any:
    """The annotation of a scenario's field; None if there is no such field."""
    current: Any = Scenario
    for part in loc:
        current = _bare(current)
        if isinstance(current, type) and issubclass(current, Part):
            field = written_fields(current).get(str(part))
            current = field.annotation if field else None
        elif get_origin(current) is tuple and isinstance(part, int):
            current = get_args(current)[0]
        elif get_origin(current) is dict:
            current = get_args(current)[1]
        else:
            return None
    return _bare(current)


def _bare(annotation: Any) -> Any:
    """Without ``Annotated`` and ``| None``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not type(None)]
        return _bare(inner[0]) if len(inner) == 1 else annotation
    return annotation


def _missing(path: str, loc: Loc, location: str | None) -> Problem:
    """A required field that is not there, and what it is for."""
    annotation, model = annotation_at(loc), annotation_at(loc[:-1])
    message, choices = "is missing", None
    if isinstance(model, type) and issubclass(model, Part):
        field = written_fields(model).get(str(loc[-1]))
        if field and field.description:
            message += f": {field.description.rstrip('.')}"
    if get_origin(annotation) is Literal:
        choices = ", ".join(str(value) for value in get_args(annotation))
    return Problem(path, message, None, choices, None, location)


def _meant_field(name: str, model: Any) -> str | None:
    """The field that an unknown key probably means, here or elsewhere in the scenario."""
    if not (isinstance(model, type) and issubclass(model, Part)):
        return None
    exact = _search(name, model)
    if exact:
        return exact
    near = nearest(name, written_fields(model))
    if near:
        return near
    return _search(name, Scenario)


def _search(name: str, model: type[Part], prefix: str = "") -> str | None:
    """Path under ``model`` of a field called exactly ``name``; the shallowest wins."""
    fields = written_fields(model)
    if name in fields:
        return prefix + name
    found = []
    for key, field in fields.items():
        inner = _bare(field.annotation)
        step = f"{prefix}{key}."
        if get_origin(inner) is tuple:
            inner, step = _bare(get_args(inner)[0]), f"{prefix}{key}[]."
        if isinstance(inner, type) and issubclass(inner, Part) and not issubclass(inner, Length):
            path = _search(name, inner, step)
            if path:
                found.append(path)
    return min(found, key=lambda path: path.count(".")) if found else None


def _not_a_number(path: str, kind: str, given: object, location: str | None) -> Problem:
    unit = unit_of(path)
    if kind.startswith("int") and isinstance(given, float):
        return Problem(path, "must be a whole number", given, location=location)
    if unit is None:
        message = "must be a whole number" if kind.startswith("int") else "must be a number"
    elif unit == "ratio":
        message = f"must be {UNIT_NAMES[unit]}"
    else:
        message = f"must be a plain number, in {UNIT_NAMES.get(unit, unit)}"
    if given is None:
        message += ", not null"
    return Problem(path, message, _given(given), None, _quantity(path, given), location)


def _quantity(path: str, given: object) -> str | None:
    """The number that a text such as ``5 kW`` means in the unit of the field."""
    value = number_in(given, unit_of(path)) if isinstance(given, str) else None
    return None if value is None else f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"


def _given(value: object) -> object | None:
    """The value for the message; containers other than mappings and lists as they are."""
    return list(value) if isinstance(value, tuple) else value
