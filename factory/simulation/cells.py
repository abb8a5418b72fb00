"""Cells of a facility larger than a simulation: every simulated one is built, in one scenario.

A cell is the scenario's racks, rows, deployments and tenants; cells share only power and budget.
Cell 0 keeps every name and every position among its like, so that its random streams and the order
of its events are those of a run of one cell; things of cell k carry `@k` in their names
(`factory.records.cell_names`), and have streams of their own. Nothing is thinned: each cell has the
full load. Contracted power and the facility's budget are of all cells and scale by
simulated / count here, so that a simulated cell has the same share of power as any other; the
grid's side (curtailments, battery, ramps, cooling) scales where it is built. Scripted faults name
things of cell 0; what fails by chance, and planned work, is of every cell.
"""

from __future__ import annotations

from collections.abc import Mapping

from factory.records.cell_names import in_cell
from factory.scenario import Cells, Deployment, Facility, Pool, Scenario, Tenant
from factory.scenario.demand import Demand
from factory.scenario.mix import Mix


def expand(scenario: Scenario) -> Scenario:
    """The scenario with every simulated cell written out; itself if it has one cell.

    It is for assembly alone: it is one facility of the simulated cells, without others; names hold
    `@`; and the shares of a mix add up to the number of cells, so that every tenant asks as much as
    in a run of one cell.

    Args:
        scenario: Checked, defaults filled in.
    """
    cells = scenario.cells
    if cells.count == 1:
        return scenario
    simulated = range(cells.simulated)
    run = scenario.run
    requests = None if run.requests is None else run.requests * cells.simulated
    return scenario.model_copy(
        update={
            "facility": _facility(scenario.facility, simulated, cells.simulated / cells.count),
            "deployments": tuple(
                _deployment(deployment, cell)
                for cell in simulated
                for deployment in scenario.deployments
            ),
            "workload": _workload(scenario.workload, scenario.deployments[0].name, simulated),
            "cells": Cells(),
            "run": run.model_copy(update={"requests": requests}),
        }
    )


def _facility(facility: Facility, cells: range, share: float) -> Facility:
    """Racks and rows of every cell, and their share of what the facility has."""

    def part(megawatts: float | None) -> float | None:
        return None if megawatts is None else megawatts * share

    racks = tuple(
        group.model_copy(
            update={
                "name": in_cell(group.name, cell),
                "row": None if group.row is None else in_cell(group.row, cell),
            }
        )
        for cell in cells
        for group in facility.racks
    )
    rows = tuple(
        row.model_copy(update={"name": in_cell(row.name, cell)})
        for cell in cells
        for row in facility.rows
    )
    return facility.model_copy(
        update={
            "racks": racks,
            "rows": rows,
            "contracted_mw": part(facility.contracted_mw),
            "budget_mw": part(facility.budget_mw),
        }
    )


def _deployment(deployment: Deployment, cell: int) -> Deployment:
    admission = deployment.admission
    granted = {in_cell(name, cell): terms for name, terms in admission.tenants.items()}
    return deployment.model_copy(
        update={
            "name": in_cell(deployment.name, cell),
            "pools": tuple(_pool(pool, cell) for pool in deployment.pools),
            "admission": admission.model_copy(update={"tenants": granted}),
        }
    )


def _pool(pool: Pool, cell: int) -> Pool:
    return pool.model_copy(
        update={"name": in_cell(pool.name, cell), "racks": in_cell(pool.racks, cell)}
    )


def _workload(workload: Demand, first: str, cells: range) -> Demand:
    mix = workload.mix
    return workload.model_copy(
        update={
            "tenants": tuple(
                _tenant(tenant, first, cell) for cell in cells for tenant in workload.tenants
            ),
            "mix": None if mix is None else _mix(mix, cells),
        }
    )


def _tenant(tenant: Tenant, first: str, cell: int) -> Tenant:
    served = tenant.deployment or first
    return tenant.model_copy(
        update={"name": in_cell(tenant.name, cell), "deployment": in_cell(served, cell)}
    )


def _mix(mix: Mix, cells: range) -> Mix:
    """The same rate in every cell: each tenant's share stands in all of them."""
    schedule = mix.schedule and tuple(
        point.model_copy(update={"shares": _shares(point.shares, cells)}) for point in mix.schedule
    )
    return mix.model_copy(
        update={
            "shares": mix.shares and _shares(mix.shares, cells),
            "toward": mix.toward and _shares(mix.toward, cells),
            "schedule": schedule,
        }
    )


def _shares(shares: Mapping[str, float], cells: range) -> dict[str, float]:
    return {in_cell(name, cell): share for cell in cells for name, share in shares.items()}
