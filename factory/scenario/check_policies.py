"""Checks of a deployment's policies: scheduling, caching, transfer, admission and scaling."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.check_admission import (
    admission_problems,
    queueing_problems,
    retry_problems,
    timeout_problems,
)
from factory.scenario.check_autoscaling import budget_problems, pool_autoscaling_problems
from factory.scenario.check_kv_cache import CacheSetting, kv_cache_problems, shared_tier_problems
from factory.scenario.check_routing import routing_problems
from factory.scenario.check_transfer import transfer_problems
from factory.scenario.demand import Tenant
from factory.scenario.deployment import Deployment, Pool
from factory.scenario.scheduling import POLICY_FIELDS
from factory.scenario.schema import Scenario
from factory.scenario.specs import Catalog


def policy_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Everything that is wrong with how deployments are run."""
    first = scenario.deployments[0].name
    for index, deployment in enumerate(scenario.deployments):
        path = f"deployments[{index}]"
        tenants = scenario.workload.tenants
        mine = [t for t in tenants if (t.deployment or first) == deployment.name]
        others = [t.name for t in tenants if t not in mine]
        patience = [tenant.timeouts for tenant in mine]
        yield from admission_problems(
            f"{path}.admission", deployment.admission, mine, patience, others
        )
        yield from _pool_problems(path, deployment, mine, scenario, catalog)
    yield from routing_problems(scenario)
    yield from transfer_problems(scenario)
    for index, tenant in enumerate(scenario.workload.tenants):
        path = f"workload.tenants[{index}]"
        yield from timeout_problems(f"{path}.timeouts", tenant.timeouts)
        if tenant.retry is not None:
            yield from retry_problems(f"{path}.retry", tenant.retry, tenant.timeouts)


def _pool_problems(
    path: str,
    deployment: Deployment,
    tenants: list[Tenant],
    scenario: Scenario,
    catalog: Catalog,
) -> Iterator[Problem]:
    limited = any(
        limit is not None
        for tenant in tenants
        for limit in (tenant.slo.ttft_s, tenant.slo.itl_ms, tenant.slo.e2e_s)
    )
    scaled = []
    for number, pool in enumerate(deployment.pools):
        place = f"{path}.pools[{number}]"
        yield from _scheduler_problems(place, pool)
        engine = pool.engine
        setting = CacheSetting(
            prefix_caching=engine.enable_prefix_caching,
            slots=pool.most_replicas * pool.parallel.dp,
            block_size=deployment.block_size,
            capacity_tokens=engine.kv_capacity_tokens,
            longest_tokens=engine.max_model_len,
        )
        yield from kv_cache_problems(f"{place}.kv_cache", pool.kv_cache, setting)
        if pool.autoscaling is not None:
            scaled.append((place, pool, pool.autoscaling))
            gpus = _rack_gpus(pool, scenario, catalog)
            yield from pool_autoscaling_problems(
                place, pool, pool.autoscaling, gpus, has_service_level=limited
            )
    yield from budget_problems(scaled)
    yield from shared_tier_problems(
        (f"{path}.pools[{number}].kv_cache", pool.kv_cache)
        for number, pool in enumerate(deployment.pools)
    )


def _rack_gpus(pool: Pool, scenario: Scenario, catalog: Catalog) -> int | None:
    for group in scenario.facility.racks:
        if group.name == pool.racks and group.system in catalog.systems:
            return catalog.systems[group.system].gpus_per_rack * group.count
    return None


def _scheduler_problems(path: str, pool: Pool) -> Iterator[Problem]:
    scheduler = pool.engine.scheduler
    place = f"{path}.engine.scheduler"
    caching = pool.engine.enable_prefix_caching
    yield from queueing_problems(place, scheduler, prefix_caching=caching)
    for name, policies in POLICY_FIELDS.items():
        value = getattr(scheduler, name)
        if value is not None and scheduler.policy not in policies:
            message = f"is for policy: {' or '.join(policies)} only"
            yield Problem(f"{place}.{name}", message, value)
