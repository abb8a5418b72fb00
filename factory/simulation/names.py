"""Names and positions of everything in a run: what codes in the tables stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from factory.facility import Placement, PoolNeed, Shelf, place
from factory.records.batch import CodeTables, Limits
from factory.records.cell_names import cell_of, plain
from factory.scenario import Catalog, Deployment, Pool, Scenario
from factory.scenario.resolve import DEFAULT_BLOCK_SIZE
from factory.serving.stands import gpu_numbers
from factory.simulation.power_places import PowerPlaces, power_places


@dataclass(frozen=True, slots=True)
class PoolPlace:
    """One pool of the run.

    Attributes:
        code: Its code; pools are numbered over all deployments.
        deployment: Number of its deployment.
        pool: Its section of the scenario.
        group: Number of its rack group.
        racks: Rack of each replica, by number.
        first_replica: Code of its first replica.
    """

    code: int
    deployment: int
    pool: Pool
    group: int
    racks: tuple[int, ...]
    first_replica: int


@dataclass(frozen=True, slots=True)
class Spare:
    """GPUs of a rack group that no pool uses.

    Attributes:
        code: Code of the pseudo-pool that holds them.
        group: Number of the rack group.
        gpus: How many.
    """

    code: int
    group: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that has a place, with its codes.

    Attributes:
        pools: The pools, by code.
        spares: Pseudo-pools, after them.
        placement: Which rack each replica stands in.
        gpus: The GPUs of each replica of each pool, by number within its rack.
        power: Nodes of the power tree, by code.
        codes: Names behind the codes.
    """

    pools: tuple[PoolPlace, ...]
    spares: tuple[Spare, ...]
    placement: Placement
    gpus: tuple[tuple[tuple[int, ...], ...], ...]
    power: PowerPlaces
    codes: CodeTables


def block_size(deployment: Deployment) -> int:
    """Tokens of a KV block of a deployment."""
    return deployment.block_size or DEFAULT_BLOCK_SIZE


def placed(scenario: Scenario, catalog: Catalog) -> Placement:
    """Which rack each replica of a scenario stands in."""
    return place(*_wanted(scenario, catalog))


def _wanted(scenario: Scenario, catalog: Catalog) -> tuple[list[Shelf], list[PoolNeed]]:
    """What the racks of each group hold, and what each pool asks of them."""
    racks = scenario.facility.racks
    systems = [catalog.systems[group.system] for group in racks]
    groups = [
        Shelf(
            group.count, system.gpus_per_rack, min(system.nvlink_domain_gpus, system.gpus_per_rack)
        )
        for group, system in zip(racks, systems, strict=True)
    ]
    numbers = {group.name: number for number, group in enumerate(racks)}
    needs = [
        PoolNeed(numbers[pool.racks], pool.most_replicas, pool.gpus_per_replica)
        for deployment in scenario.deployments
        for pool in deployment.pools
    ]
    return groups, needs


def lay_out(scenario: Scenario, catalog: Catalog) -> Layout:
    """Names and places of a scenario that has been checked."""
    racks = scenario.facility.racks
    groups, needs = _wanted(scenario, catalog)
    placement = place(groups, needs)
    pools: list[PoolPlace] = []
    names: list[str] = []
    replicas: list[str] = []
    replica_pools: list[int] = []
    for number, deployment in enumerate(scenario.deployments):
        for pool in deployment.pools:
            code = len(pools)
            group = next(i for i, rack in enumerate(racks) if rack.name == pool.racks)
            chosen = placement.replica_racks[code]
            pools.append(PoolPlace(code, number, pool, group, chosen, len(replicas)))
            names.append(pool.name)
            replicas.extend(f"{pool.name}-{i}" for i in range(pool.most_replicas))
            replica_pools.extend([code] * pool.most_replicas)
    spares: list[Spare] = []
    for group, rack in enumerate(racks):
        pairs = zip(placement.rack_group, placement.free_gpus, strict=True)
        free = sum(gpus for of, gpus in pairs if of == group)
        if free:
            spares.append(Spare(len(names), group, free))
            names.append(f"{rack.name}/unassigned")
    power = power_places(scenario, catalog, placement.rack_group)
    tenants = scenario.workload.tenants
    codes = CodeTables(
        deployments=[plain(deployment.name) for deployment in scenario.deployments],
        tenants=[plain(tenant.name) for tenant in tenants],
        tenant_limits=[
            Limits(
                math.inf if tenant.slo.ttft_s is None else tenant.slo.ttft_s,
                math.inf if tenant.slo.itl_ms is None else tenant.slo.itl_ms / 1e3,
                math.inf if tenant.slo.e2e_s is None else tenant.slo.e2e_s,
                math.inf if tenant.slo.task_s is None else tenant.slo.task_s,
            )
            for tenant in tenants
        ],
        pools=[plain(name) for name in names],
        pool_deployments=[place.deployment for place in pools] + [-1] * len(spares),
        pool_roles=[place.pool.role for place in pools] + ["unassigned"] * len(spares),
        replicas=replicas,
        replica_pools=replica_pools,
        power_nodes=[node.name for node in power.nodes],
        power_node_levels=[node.level for node in power.nodes],
        tenant_cells=[cell_of(tenant.name) for tenant in tenants],
        pool_cells=[cell_of(name) for name in names],
        power_node_cells=[
            -1 if node.level == "facility" else cell_of(node.name) for node in power.nodes
        ],
    )
    gpus = gpu_numbers(placement, groups, needs)
    return Layout(tuple(pools), tuple(spares), placement, gpus, power, codes)
