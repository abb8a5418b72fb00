"""What must hold between the parts of a scenario; needs the catalogue, but no step model."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.check_demand import demand_problems
from factory.scenario.check_serving import serving_problems
from factory.scenario.check_site import site_problems
from factory.scenario.models import model_problems
from factory.scenario.schema import Scenario
from factory.scenario.specs import Catalog


def problems_of(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Every problem of a scenario that holds to the schema, without locations."""
    yield from model_problems(scenario)
    yield from site_problems(scenario, catalog)
    yield from serving_problems(scenario, catalog)
    yield from demand_problems(scenario)
