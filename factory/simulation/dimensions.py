"""The rows that say what the facts are about: run, parameters, pools, racks, tenants, prices."""

from __future__ import annotations

import json

from factory.records.batch import CodeTables
from factory.records.tables import RunTables
from factory.scenario import Catalog, Scenario, flatten, resolved
from factory.simulation.names import block_size
from factory.simulation.plant import Plant
from factory.simulation.pool_builder import PoolMeter


def write_dimensions(
    scenario: Scenario,
    catalog: Catalog,
    plant: Plant,
    tables: RunTables,
    version: str,
    events: int,
    end_s: float,
    session_tenants: frozenset[int],
) -> None:
    """Writes the tables that have a row per thing rather than per event."""
    run = scenario.run
    constants = tables.constants
    pricing = _prices(scenario, catalog, tables)
    tables.write_dim(
        "fact_runs",
        [
            {
                "scenario": scenario.name,
                "replication": run.replication,
                "pricing_id": pricing,
                "seed": run.seed,
                "engine": run.engine,
                "model_version": version,
                "time_zone": scenario.facility.time_zone,
                "end_time_s": end_s,
                "measured_from_s": constants.measured_from_s,
                "measured_to_s": constants.measured_to_s,
                "window_s": run.window_s,
                "pue": constants.pue,
                "contracted_facility_mw": scenario.facility.contracted_mw,
                "cells": scenario.cells.count,
                "cells_simulated": scenario.cells.simulated,
                "requests": plant.intake.taken,
                "events": events,
            }
        ],
    )
    tables.write_dim(
        "fact_run_parameters",
        [{"path": path, "value": _text(value)} for path, value in flatten(resolved(scenario))],
    )
    _serving(scenario, catalog, plant, tables, session_tenants)
    _site(plant, tables)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _serving(
    scenario: Scenario,
    catalog: Catalog,
    plant: Plant,
    tables: RunTables,
    session_tenants: frozenset[int],
) -> None:
    codes = plant.layout.codes
    tables.write_dim(
        "dim_deployments",
        [
            {
                "deployment": deployment.name,
                "model": deployment.model,
                "weights_precision": deployment.precision.weights,
                "kv_cache_precision": deployment.precision.kv_cache,
                "router_policy": deployment.router.policy,
                "decode_router_policy": deployment.decode_router.policy
                if any(pool.role == "decode" for pool in deployment.pools)
                else None,
                "block_size_tokens": block_size(deployment),
                "draft_tokens": deployment.speculation.draft_tokens
                if deployment.speculation
                else 0,
                "longest_prompt_tokens": built.longest_prompt_tokens,
            }
            # Of cell 0, which comes first: the others are alike.
            for deployment, built in zip(scenario.deployments, plant.deployments, strict=False)
        ],
    )
    names = {deployment.model for deployment in scenario.deployments}
    models = [catalog.models[name] for name in sorted(names)]
    tables.write_dim(
        "dim_models",
        [
            {
                "model": model.name,
                "hf_id": model.hf_id,
                "attention": model.attention,
                "layers": model.layers,
                "hidden": model.hidden,
                "experts": model.experts,
                "experts_per_token": model.experts_per_token,
                "vocab": model.vocab,
                "max_context_tokens": model.max_context,
            }
            for model in models
        ],
    )
    pools: list[dict[str, object]] = []
    replicas: list[dict[str, object]] = []
    states: list[dict[str, object]] = []
    for meter in plant.pools:
        place = meter.place
        pool = place.pool
        cell = codes.pool_cells[place.code]
        if cell == 0:
            pools.append(_pool(scenario, meter, codes))
        for number, rack in enumerate(place.racks):
            name = codes.replicas[place.first_replica + number]
            replicas.append(
                {
                    "replica": name,
                    "pool": codes.pools[place.code],
                    "deployment": codes.deployments[place.deployment],
                    "power_node": codes.power_nodes[plant.layout.power.racks[rack]],
                    "gpus": pool.gpus_per_replica,
                    "cell": cell,
                }
            )
            states.append({"replica": name, "role": pool.role, "valid_from_time_s": 0.0})
    for spare in plant.layout.spares:
        if codes.pool_cells[spare.code]:
            continue
        group = scenario.facility.racks[spare.group]
        pools.append(
            {
                "pool": codes.pools[spare.code],
                "role": "unassigned",
                "system": group.system,
                "racks": group.name,
                "replicas": 0,
                "gpus": spare.gpus,
            }
        )
    tables.write_dim("dim_pools", pools)
    tables.write_dim("dim_replicas", replicas)
    tables.write_dim("bridge_replica_state", states)
    limits = codes.tenant_limits
    tables.write_dim(
        "dim_tenants",
        [
            {
                "tenant": tenant.name,
                "deployment": codes.deployments[plant.tenant_deployments[number]],
                "priority": tenant.priority,
                "slo_ttft_s": tenant.slo.ttft_s,
                "slo_itl_s": None if tenant.slo.itl_ms is None else limits[number].itl_s,
                "slo_e2e_s": tenant.slo.e2e_s,
                "slo_task_s": tenant.slo.task_s,
                "has_sessions": number in session_tenants,
                "target_ratio": tenant.slo.target,
            }
            for number, tenant in enumerate(scenario.workload.tenants)
        ],
    )


def _pool(scenario: Scenario, meter: PoolMeter, codes: CodeTables) -> dict[str, object]:
    """The row of a pool."""
    place = meter.place
    pool = place.pool
    group = scenario.facility.racks[place.group]
    reference = meter.reference
    return {
        "pool": codes.pools[place.code],
        "deployment": codes.deployments[place.deployment],
        "role": pool.role,
        "system": group.system,
        "racks": group.name,
        "replicas": pool.replicas,
        "gpus_per_replica": pool.gpus_per_replica,
        "gpus": pool.gpus,
        "tp": pool.parallel.tp,
        "pp": pool.parallel.pp,
        "dp": pool.parallel.dp,
        "ep": pool.parallel.ep,
        "kv_capacity_tokens": meter.kv_capacity_tokens,
        "reference_gpu_s_per_input_computed_token": reference.input_computed_gpu_s,
        "reference_gpu_s_per_input_cached_token": reference.input_cached_gpu_s,
        "reference_gpu_s_per_output_token": reference.output_gpu_s,
    }


def _site(plant: Plant, tables: RunTables) -> None:
    nodes = plant.layout.power.nodes
    tables.write_dim(
        "dim_power_nodes",
        [
            {
                "power_node": node.name,
                "cell": None if cell < 0 else cell,
                "level": node.level,
                "parent_power_node": None if node.parent < 0 else nodes[node.parent].name,
                "system": node.system,
                "gpus": node.gpus,
                "design_it_kw": node.design_it_kw,
                "budget_it_kw": node.budget_kw,
                "usable_it_kw": node.usable_kw,
                "stranded_it_kw": node.stranded_kw,
            }
            for node, cell in zip(nodes, plant.layout.codes.power_node_cells, strict=True)
        ],
    )


def _prices(scenario: Scenario, catalog: Catalog, tables: RunTables) -> str | None:
    """Writes the prices of the run's systems; returns the pricing's id, None without prices."""
    prices = scenario.prices
    if prices is None:
        return None
    systems = sorted({group.system for group in scenario.facility.racks})
    rows: list[dict[str, object]] = []
    if prices.book is not None:
        identity = prices.book
        book = catalog.price_books[prices.book]
        for system in systems:
            if system in book.usd_per_gpu_hour:
                origin = book.provenance[system]
                rows.append(
                    {
                        "pricing_id": identity,
                        "system": system,
                        "usd_per_gpu_hour": book.usd_per_gpu_hour[system],
                        "price_book": book.name,
                        "price_date": book.date,
                        "covers": ",".join(book.covers),
                        "kind": origin.kind,
                        "source": origin.source,
                    }
                )
    else:
        identity = "stated"
        stated = prices.usd_per_gpu_hour or {}
        rows += [
            {
                "pricing_id": identity,
                "system": system,
                "usd_per_gpu_hour": stated[system],
                "covers": ",".join(prices.covers or ()),
                "kind": "assumed",
                "source": "stated in the scenario",
            }
            for system in systems
            if system in stated
        ]
    tables.write_dim("dim_prices", rows)
    return identity
