"""Makes a wrong document whole enough to look for the problems that schema errors would hide."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from factory.scenario.base import Part, written_fields
from factory.scenario.findings import STAND_IN
from factory.scenario.problems import annotation_at, errors_of, path_of
from factory.scenario.schema import Scenario

_ROUNDS = 8


def repaired(data: dict[str, Any], errors: Sequence[ErrorDetails]) -> tuple[Scenario, set[str]]:
    """A valid scenario near ``data``: wrong values become defaults or stand-ins.

    Args:
        data: the document.
        errors: what pydantic found wrong with it.

    Returns:
        The scenario and the paths that do not hold what was written.

    Raises:
        ValueError: nothing near it is valid.
    """
    data = copy.deepcopy(data)
    touched: set[str] = set()
    for _ in range(_ROUNDS):
        for error in errors:
            touched.add(path_of(_unsettled(error["loc"])))
            _mend(data, error)
        try:
            return Scenario.model_validate(data), touched
        except ValidationError as failure:
            errors = errors_of(failure)
    raise ValueError("not to be repaired")


def _unsettled(loc: Sequence[int | str]) -> Sequence[int | str]:
    """What a wrong value at ``loc`` leaves open: without its kind, a whole distribution."""
    return loc[:-1] if loc[-1] == "distribution" else loc


def _mend(data: dict[str, Any], error: ErrorDetails) -> None:
    *outer, last = [part for part in error["loc"] if part != "[key]"]
    container: Any = data
    for part in outer:
        try:
            container = container[part]
        except (KeyError, IndexError, TypeError):
            return
    droppable = error["type"] == "extra_forbidden" or _optional(outer, last)
    if isinstance(container, dict) and droppable:
        container.pop(last, None)
    elif isinstance(container, list) and isinstance(last, int) and last >= len(container):
        container.append(_stand_in(annotation_at([*outer, last])))
    elif isinstance(container, dict | list):
        container[last] = _stand_in(annotation_at([*outer, last]))  # type: ignore[index]


def _optional(outer: Sequence[int | str], last: int | str) -> bool:
    model = annotation_at(outer)
    if not (isinstance(model, type) and issubclass(model, Part)):
        return True
    field = written_fields(model).get(str(last))
    return field is None or not field.is_required()


def _stand_in(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Literal:
        return get_args(annotation)[0]
    if origin is tuple:
        return [_stand_in(get_args(annotation)[0])]
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return {}
    return STAND_IN if annotation is str else 1
