"""Checks of facility.cooling."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.cooling import PRESETS, Cooling
from factory.scenario.resolve import facility_pue
from factory.scenario.schema import Scenario
from factory.scenario.series import series_problems
from factory.scenario.specs import Catalog

_PATH = "facility.cooling"

COLDEST_C, HOTTEST_C = -60.0, 60.0
"""Lowest and highest outside temperature accepted, degrees Celsius (assumed: what is beyond them
is a slip, or in another unit)."""


def cooling_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Fields that the kind does not have, a PUE beside a model of it, and temperatures."""
    cooling = scenario.facility.cooling
    if cooling.kind == "constant":
        yield from _foreign(cooling)
        return
    yield from _pue_problems(scenario, catalog)
    path = f"{_PATH}.temperature"
    yield from series_problems(path, cooling.temperature, "C", COLDEST_C, HOTTEST_C)
    numbers = cooling.coefficients()
    free, mechanical = numbers["free_below_c"], numbers["mechanical_above_c"]
    if free >= mechanical and cooling.mechanical_above_c is None:
        message = f"must be < mechanical_above_c, {mechanical:g} of kind {cooling.kind}"
        yield Problem(f"{_PATH}.free_below_c", message, free)
    elif free >= mechanical:
        message = f"must be > free_below_c ({free:g})"
        yield Problem(f"{_PATH}.mechanical_above_c", message, mechanical)


def _foreign(cooling: Cooling) -> Iterator[Problem]:
    """What a constant PUE has no use for; a resolved scenario states the defaults."""
    names = ["design_it_mw", "temperature", *PRESETS["air"]]
    for name in names:
        value = getattr(cooling, name)
        if value != Cooling.model_fields[name].default:
            shown = value if isinstance(value, float) else None
            message = "is for kind: air, liquid only; a constant PUE is facility.pue"
            yield Problem(f"{_PATH}.{name}", message, shown)


def _pue_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    facility = scenario.facility
    if facility.pue is None or any(g.system not in catalog.systems for g in facility.racks):
        return
    design = facility_pue(facility.model_copy(update={"pue": None}), catalog)
    if facility.pue != design:  # a resolved scenario states the design PUE
        message = (
            f"cannot stand beside facility.cooling of kind {facility.cooling.kind}, of which the "
            "PUE is an outcome: leave one of them out"
        )
        yield Problem("facility.pue", message, facility.pue)
