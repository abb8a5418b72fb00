"""What must hold between the parts of a scenario; needs the catalogue, but no step model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.catalog import catalog as shipped
from factory.scenario.changes import change_problems
from factory.scenario.check_cells import cell_problems
from factory.scenario.check_cooling import cooling_problems
from factory.scenario.check_demand import demand_problems
from factory.scenario.check_failures import failure_problems
from factory.scenario.check_grid import grid_problems
from factory.scenario.check_policies import policy_problems
from factory.scenario.check_power import power_problems
from factory.scenario.check_power_control import power_control_problems
from factory.scenario.check_serving import serving_problems
from factory.scenario.check_site import site_problems
from factory.scenario.models import model_problems
from factory.scenario.schema import Scenario
from factory.scenario.specs import Catalog


def problems_of(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Every problem of a scenario that holds to the schema, without locations."""
    yield from model_problems(scenario)
    for problem in change_problems(scenario.catalog_changes, shipped()):
        yield dataclasses.replace(problem, path=f"catalog_changes.{problem.path}")
    yield from site_problems(scenario, catalog)
    yield from cell_problems(scenario)
    yield from power_problems(scenario, catalog)
    yield from power_control_problems(scenario)
    yield from cooling_problems(scenario, catalog)
    yield from failure_problems(scenario, catalog)
    yield from grid_problems(scenario)
    yield from serving_problems(scenario, catalog)
    yield from demand_problems(scenario)
    yield from policy_problems(scenario, catalog)
