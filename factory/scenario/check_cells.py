"""Checks of cells: what several simulated ones can share."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.schema import Scenario


def cell_problems(scenario: Scenario) -> Iterator[Problem]:
    """More cells simulated than there are, or one recorded demand for several of them."""
    cells = scenario.cells
    if cells.simulated > cells.count:
        message = f"must be <= cells.count ({cells.count})"
        yield Problem("cells.simulated", message, cells.simulated)
    trace = scenario.workload.trace
    if trace is not None and cells.simulated > 1:
        message = (
            "must be 1 with workload.trace: every cell would replay the same requests at the same "
            "times, and their spread would say nothing"
        )
        remedy = "1, or a workload fitted to the trace (factory trace fit) in place of it"
        yield Problem("cells.simulated", message, cells.simulated, remedy)
