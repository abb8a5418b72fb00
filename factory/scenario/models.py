"""A scenario's own models: architectures written in it, or read from a Hugging Face config."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import Field, create_model

from factory.errors import Problem
from factory.scenario.base import Part
from factory.scenario.catalog import ABSENT_MODEL, catalog
from factory.scenario.changes import Changes, with_changes
from factory.scenario.specs import Catalog, ModelSpec, Provenance

if TYPE_CHECKING:
    from factory.scenario.schema import Scenario

_OWN = Provenance("published", "the scenario's own model", "as given")


def _annotated(kind: Any) -> Any:
    """The type of a field of a ``ModelSpec`` as the schema takes it."""
    if kind is int:
        return Annotated[int, Field(strict=True, ge=0)]
    return Annotated[kind, Field(strict=True)] if kind in (bool, str) else kind


def _fields() -> dict[str, Any]:
    hints = get_type_hints(ModelSpec)
    names = [field.name for field in dataclasses.fields(ModelSpec)]
    return {
        name: (_annotated(hints[name]), ABSENT_MODEL.get(name, ...))
        for name in names
        if name not in ("name", "provenance")
    }


Architecture = create_model(
    "Architecture", __base__=Part, __doc__="The fields of a ``ModelSpec``.", **_fields()
)


def catalog_of(scenario: Scenario) -> Catalog:
    """The shipped catalogue with the scenario's changes and its own models."""
    known = catalog()
    if scenario.catalog_changes != Changes():
        known = with_changes(known, scenario.catalog_changes)
    if not scenario.models:
        return known
    own = {name: _spec(name, given) for name, given in scenario.models.items()}
    return dataclasses.replace(known, models={**known.models, **own})


def model_problems(scenario: Scenario) -> Iterator[Problem]:
    """Own models that hide one of the catalogue, and counts that cannot be."""
    for name, given in scenario.models.items():
        if name in catalog().models:
            message = "is a model of the catalogue; its own needs another name"
            yield Problem(f"models.{name}", message)
        spec = _spec(name, given)
        for key in ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "max_context"):
            if getattr(spec, key) < 1:
                yield Problem(f"models.{name}.{key}", "must be >= 1", getattr(spec, key))
        for key in ("dense_layers", "linear_layers", "sliding_layers"):
            if getattr(spec, key) > spec.layers:
                message = f"must be <= layers ({spec.layers})"
                yield Problem(f"models.{name}.{key}", message, getattr(spec, key))


def _spec(name: str, given: Part) -> ModelSpec:
    values = given.model_dump()
    numbers = {key for key, value in values.items() if isinstance(value, int) and value}
    return ModelSpec(name=name, provenance=dict.fromkeys(sorted(numbers), _OWN), **values)
