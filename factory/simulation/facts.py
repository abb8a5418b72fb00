"""The rows that come from sums: windows of pools, tenants and power nodes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from factory.records.codes import STATE_UNASSIGNED
from factory.records.tables import RunTables
from factory.scenario import Scenario
from factory.serving.meter import (
    CACHED,
    COMPUTED,
    ENERGY,
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
from factory.simulation.plant import Plant

_NODE_FACILITY = 0


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


def write_facts(plant: Plant, tables: RunTables, end_s: float) -> None:
    """Writes the rows of pools, tenants and power nodes for every window up to ``end_s``."""
    window_s = tables.constants.window_s
    count = max(1, math.ceil(end_s / window_s))
    spans = [min((i + 1) * window_s, end_s) - i * window_s for i in range(count)]
    _pools(plant, tables, spans)
    _spares(plant, tables, spans)
    _tenants(plant, tables, count)
    _power(plant, tables, spans, end_s)


def _pools(plant: Plant, tables: RunTables, spans: list[float]) -> None:
    append = tables.appender("fact_intervals")
    for pool in plant.pools:
        place = pool.place
        gpus = place.pool.gpus
        other_w = _other_w_per_gpu(plant, place.racks[0])
        reference = pool.reference
        for index, (span, row) in enumerate(zip(spans, pool.windows.fold(len(spans)), strict=True)):
            reference_gpu_s = (
                row[COMPUTED] * reference.input_computed_gpu_s
                + row[CACHED] * reference.input_cached_gpu_s
                + row[OUTPUT] * reference.output_gpu_s
            )
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
                    # Hosts of GPUs that were given back are no longer ours.
                    row[ENERGY] + other_w * (gpus * span - row[PROVISIONED_LESS]),
                    int(row[STEPS]),
                    int(row[LEAPS]),
                )
            )


def _other_w_per_gpu(plant: Plant, rack: int) -> float:
    return plant.racks[rack].other_w / plant.racks[rack].gpus


def _spares(plant: Plant, tables: RunTables, spans: list[float]) -> None:
    append = tables.appender("fact_intervals")
    placement = plant.layout.placement
    for spare in plant.layout.spares:
        racks = [i for i, group in enumerate(placement.rack_group) if group == spare.group]
        idle_w = sum(plant.racks[i].spare_w for i in racks)
        other_w = sum(_other_w_per_gpu(plant, i) * placement.free_gpus[i] for i in racks)
        for index, span in enumerate(spans):
            states = [0.0] * (ENERGY - STATES)
            states[STATE_UNASSIGNED] = spare.gpus * span
            energy = (idle_w * span, (idle_w + other_w) * span)
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


def _power(plant: Plant, tables: RunTables, spans: list[float], end_s: float) -> None:
    append = tables.appender("fact_power")
    window_s = tables.constants.window_s
    total: NDArray[np.float64] | None = None
    facility = np.zeros((len(spans), 2))
    rows: list[tuple[float, ...]] = []
    for number, rack in enumerate(plant.racks):
        watts = rack.bins.watts(end_s) + rack.other_w + rack.spare_w
        total = watts if total is None else total + watts
        peaks = _peaks(watts, len(spans), window_s)
        budget_w = math.nan if rack.budget is None else rack.budget.budget_w
        for index, (span, row) in enumerate(zip(spans, rack.windows.fold(len(spans)), strict=True)):
            gpu_j = row[0] + rack.spare_w * span
            it_j = gpu_j + rack.other_w * (span - row[2] / rack.gpus)
            facility[index] += (gpu_j, it_j)
            peak_w = max(peaks[index], it_j / span) if span else 0.0
            rows.append((number + 1, index, gpu_j, it_j, peak_w, budget_w, row[1]))
    assert total is not None
    peaks = _peaks(total, len(spans), window_s)
    for index in range(len(spans)):
        gpu_j, it_j = facility[index].tolist()
        peak_w = max(peaks[index], it_j / spans[index]) if spans[index] else 0.0
        append((_NODE_FACILITY, index, gpu_j, it_j, peak_w, math.nan, 0.0))
    for values in rows:
        append(values)


def _peaks(watts: NDArray[np.float64], count: int, window_s: float) -> list[float]:
    """Highest one-second mean in each window, of the seconds that it overlaps; 0 for none."""
    peaks = []
    for index in range(count):
        seconds = watts[math.floor(index * window_s) : math.ceil((index + 1) * window_s)]
        peaks.append(float(seconds.max()) if len(seconds) else 0.0)
    return peaks
