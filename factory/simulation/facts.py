"""The rows that come from sums: windows of pools, tenants and power nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from factory.facility.site_meter import FACILITY_J, IT_J, Metered
from factory.facility.tree import DARK_S
from factory.records.codes import STATE_UNASSIGNED
from factory.records.tables import RunTables
from factory.scenario import Scenario
from factory.serving.meter import (
    CACHED,
    COMPUTED,
    ENERGY,
    ENERGY_IDLE,
    FINISHED,
    GOOD,
    LEAPS,
    LOST,
    OFFERED,
    OUTPUT,
    OUTPUT_GOOD,
    PROVISIONED_LESS,
    RECOMPUTED,
    REFUSED,
    RETRIED,
    STATES,
    STEPS,
    TENANT_INPUT,
    TENANT_OUTPUT,
    TENANT_OUTPUT_GOOD,
    TIMED,
)
from factory.simulation.energy import node_energies, power_rows, rest_by_pool
from factory.simulation.plant import Plant


def measured_until(scenario: Scenario, last_arrival_s: float | None, end_s: float) -> float:
    """End of the measured interval, seconds; infinite while the run has yet to show it.

    With ``duration_s`` it is the last window's edge up to that. Without, it is the edge after the
    last arrival of an open loop, and the end of the run for a closed loop of so many requests.

    Args:
        scenario: The scenario.
        last_arrival_s: When the last request arrived; None while the run goes on.
        end_s: End of the run.
    """
    run = scenario.run
    window_s = run.window_s
    if run.duration_s is not None:
        return math.floor(run.duration_s / window_s + 1e-9) * window_s
    if last_arrival_s is None:
        return math.inf
    loads = [tenant.load for tenant in scenario.workload.tenants if tenant.load is not None]
    if any(load.concurrency is not None for load in loads):
        return end_s
    return min(math.floor(last_arrival_s / window_s + 1.0) * window_s, end_s)


def write_facts(plant: Plant, tables: RunTables, metered: Metered, end_s: float) -> None:
    """Writes the rows of pools, tenants and power nodes for every window up to ``end_s``."""
    window_s = tables.constants.window_s
    count = max(1, math.ceil(end_s / window_s))
    spans = [min((i + 1) * window_s, end_s) - i * window_s for i in range(count)]
    # Facility over IT energy, by window; of a window without energy it does not matter.
    ratios = [row[FACILITY_J] / row[IT_J] if row[IT_J] else 1.0 for row in metered.windows]
    energies = node_energies(plant.tree, count, end_s)
    rest = rest_by_pool(plant.tree, energies, _gpus_of_pools(plant), np.array(spans))
    _pools(plant, tables, spans, ratios, rest)
    _spares(plant, tables, spans, ratios, rest)
    _tenants(plant, tables, count)
    append = tables.appender("fact_power")
    for node in plant.tree.nodes:
        for row in power_rows(node, energies[node.number], spans, ratios):
            append(row)


def _gpus_of_pools(plant: Plant) -> list[dict[int, int]]:
    """Of each rack, the GPUs that each pool has there, by its code; pseudo-pools too."""
    placement = plant.layout.placement
    gpus: list[dict[int, int]] = [{} for _ in placement.rack_group]
    for pool in plant.layout.pools:
        for rack in pool.racks:
            gpus[rack][pool.code] = gpus[rack].get(pool.code, 0) + pool.pool.gpus_per_replica
    spares = {spare.group: spare.code for spare in plant.layout.spares}
    for rack, (group, free) in enumerate(
        zip(placement.rack_group, placement.free_gpus, strict=True)
    ):
        if free:
            gpus[rack][spares[group]] = free
    return gpus


def _pools(
    plant: Plant,
    tables: RunTables,
    spans: list[float],
    ratios: list[float],
    rest: Mapping[int, NDArray[np.float64]],
) -> None:
    append = tables.appender("fact_intervals")
    for pool in plant.pools:
        place = pool.place
        gpus = place.pool.gpus
        reference = pool.reference
        rest_j = rest[place.code].tolist()
        for index, (span, row) in enumerate(zip(spans, pool.windows.fold(len(spans)), strict=True)):
            reference_gpu_s = (
                row[COMPUTED] * reference.input_computed_gpu_s
                + row[CACHED] * reference.input_cached_gpu_s
                + row[OUTPUT] * reference.output_gpu_s
            )
            it_j = row[ENERGY] + rest_j[index]
            append(
                (
                    place.code,
                    index,
                    gpus * span - row[PROVISIONED_LESS],
                    row[COMPUTED],
                    row[RECOMPUTED],
                    row[CACHED],
                    row[OUTPUT],
                    row[OUTPUT_GOOD],
                    *row[STATES:ENERGY],
                    reference_gpu_s,
                    row[ENERGY],
                    row[ENERGY_IDLE],
                    it_j,
                    it_j * ratios[index],
                    int(row[STEPS]),
                    int(row[LEAPS]),
                )
            )


def _spares(
    plant: Plant,
    tables: RunTables,
    spans: list[float],
    ratios: list[float],
    rest: Mapping[int, NDArray[np.float64]],
) -> None:
    append = tables.appender("fact_intervals")
    placement = plant.layout.placement
    for spare in plant.layout.spares:
        rest_j = rest[spare.code].tolist()
        racks = [
            rack
            for rack, group in zip(plant.tree.racks, placement.rack_group, strict=True)
            if group == spare.group
        ]
        idle_j = [
            sum(rack.spare_w * (span - rack.windows.row(index)[DARK_S]) for rack in racks)
            for index, span in enumerate(spans)
        ]
        for index, span in enumerate(spans):
            states = [0.0] * (ENERGY - STATES)
            states[STATE_UNASSIGNED] = spare.gpus * span
            it_j = idle_j[index] + rest_j[index]
            energy = (idle_j[index], idle_j[index], it_j, it_j * ratios[index])
            append((spare.code, index, spare.gpus * span, *[0.0] * 5, *states, 0.0, *energy, 0, 0))


def _tenants(plant: Plant, tables: RunTables, count: int) -> None:
    append = tables.appender("fact_tenant_intervals")
    deployments = plant.tenant_deployments
    for tenant, windows in enumerate(plant.tenants):
        for index, row in enumerate(windows.fold(count)):
            append(
                (
                    deployments[tenant],
                    tenant,
                    index,
                    int(row[OFFERED]),
                    int(row[RETRIED]),
                    int(row[FINISHED]),
                    int(row[GOOD]),
                    int(row[REFUSED]),
                    int(row[TIMED]),
                    int(row[LOST]),
                    int(row[TENANT_INPUT]),
                    row[TENANT_OUTPUT],
                    int(row[TENANT_OUTPUT_GOOD]),
                )
            )
