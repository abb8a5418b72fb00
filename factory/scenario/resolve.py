"""A scenario with every default that follows from scenario and catalogue filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory.scenario.cooling import Cooling
from factory.scenario.demand import Demand, Tenant
from factory.scenario.deployment import Deployment, Pool
from factory.scenario.facility import Facility
from factory.scenario.schema import COVERS, Prices, Scenario, window_of
from factory.scenario.specs import Catalog, ModelSpec
from factory.scenario.trace import Trace

DEFAULT_BLOCK_SIZE = 64
"""Tokens of a KV block where nothing else says (the usual page of vLLM and SGLang is 16 to 64)."""

TRACE_BLOCK_SIZE: Mapping[str, int] = {"mooncake": 512, "agentic": 64, "bailian": 16}
"""Tokens of a hash block, by trace format (Mooncake, FAST'25; kv-cache-tester; Qwen-Bailian)."""

MOONCAKE_TICK_S = 3.0
"""The grid on which Mooncake's timestamps sit, s."""


def complete(scenario: Scenario, catalog: Catalog) -> Scenario:
    """The scenario with defaults filled in; its names must be known to the catalogue."""
    facility = scenario.facility.model_copy(
        update={
            "pue": facility_pue(scenario.facility, catalog),
            "cooling": _cooling(scenario.facility, catalog, scenario.cells.count),
            "contracted_mw": contracted_mw(scenario.facility, catalog, scenario.cells.count),
        }
    )
    workload = _workload(scenario.workload, scenario.deployments[0].name)
    fed = _fed_deployment(workload)
    trace_block = TRACE_BLOCK_SIZE.get(workload.trace.format) if workload.trace else None
    deployments = tuple(
        _deployment(
            deployment,
            catalog.models[deployment.model],
            trace_block if deployment.name == fed else None,
        )
        for deployment in scenario.deployments
    )
    return scenario.model_copy(
        update={
            "facility": facility,
            "workload": workload,
            "deployments": deployments,
            "prices": _prices(scenario.prices),
            "run": scenario.run.model_copy(update={"window_s": window_of(scenario.run)}),
        }
    )


def facility_pue(facility: Facility, catalog: Catalog) -> float:
    """PUE as stated, or the systems' design PUE weighted by their design IT power."""
    if facility.pue is not None:
        return facility.pue
    weights = [
        (_design_it_kw(group.system, group.count, catalog), catalog.systems[group.system])
        for group in facility.racks
    ]
    total = sum(kw for kw, _ in weights)
    return sum(kw * system.design_pue for kw, system in weights) / total


def contracted_mw(facility: Facility, catalog: Catalog, cells: int) -> float:
    """Facility MW as contracted for all cells, or design IT power of all their racks x PUE."""
    if facility.contracted_mw is not None:
        return facility.contracted_mw
    it_kw = sum(_design_it_kw(group.system, group.count, catalog) for group in facility.racks)
    return cells * it_kw * facility_pue(facility, catalog) / 1e3


def design_it_mw(facility: Facility, catalog: Catalog, cells: int) -> float:
    """Design IT power of the racks of all cells, MW."""
    it_kw = sum(_design_it_kw(group.system, group.count, catalog) for group in facility.racks)
    return cells * it_kw / 1e3


def resolved(scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain JSON-able data, every default written out."""
    data: dict[str, Any] = scenario.model_dump(mode="json")
    return data


def flatten(data: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Every leaf with its path, in document order: ``("deployments[0].name", "chat")``.

    Empty lists and mappings are leaves.
    """
    rows: list[tuple[str, Any]] = []
    _flatten(data, "", rows)
    return rows


def _flatten(value: Any, path: str, rows: list[tuple[str, Any]]) -> None:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            _flatten(child, f"{path}.{key}" if path else str(key), rows)
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            _flatten(child, f"{path}[{index}]", rows)
    else:
        rows.append((path, value))


def _design_it_kw(system: str, count: int, catalog: Catalog) -> float:
    spec = catalog.systems[system]
    return spec.design_it_kw_per_gpu * spec.gpus_per_rack * count


def _cooling(facility: Facility, catalog: Catalog, cells: int) -> Cooling:
    """The plant of all cells is built for their racks unless stated."""
    cooling = facility.cooling
    if cooling.kind == "constant" or cooling.design_it_mw is not None:
        return cooling
    return cooling.model_copy(update={"design_it_mw": design_it_mw(facility, catalog, cells)})


def _workload(workload: Demand, first_deployment: str) -> Demand:
    tenants = tuple(
        tenant.model_copy(update={"deployment": tenant.deployment or first_deployment})
        for tenant in workload.tenants
    )
    trace = _trace(workload.trace, tenants) if workload.trace else None
    return workload.model_copy(update={"tenants": tenants, "trace": trace})


def _trace(trace: Trace, tenants: tuple[Tenant, ...]) -> Trace:
    spread = trace.spread_s
    if spread is None:
        spread = MOONCAKE_TICK_S if trace.format == "mooncake" else 0.0
    tenant = trace.tenant or tenants[0].name
    return trace.model_copy(update={"spread_s": spread, "tenant": tenant})


def _fed_deployment(workload: Demand) -> str | None:
    """The deployment that the trace's requests go to."""
    if workload.trace is None:
        return None
    by_name = {tenant.name: tenant.deployment for tenant in workload.tenants}
    return by_name.get(workload.trace.tenant or "")


def _deployment(deployment: Deployment, model: ModelSpec, trace_block: int | None) -> Deployment:
    pools = tuple(_pool(pool, model) for pool in deployment.pools)
    block_size = deployment.block_size or trace_block or DEFAULT_BLOCK_SIZE
    return deployment.model_copy(update={"pools": pools, "block_size": block_size})


def _pool(pool: Pool, model: ModelSpec) -> Pool:
    longest = pool.engine.max_model_len or model.max_context
    return pool.model_copy(
        update={"engine": pool.engine.model_copy(update={"max_model_len": longest})}
    )


def _prices(prices: Prices | None) -> Prices | None:
    if prices is None or prices.usd_per_gpu_hour is None or prices.covers is not None:
        return prices
    return prices.model_copy(update={"covers": COVERS})
