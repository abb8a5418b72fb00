"""Assembly of autoscaling: fleets, their policies and the budgets they share."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from functools import partial
from math import inf

from factory.serving.accounts import Row
from factory.serving.autoscaler import Autoscaler, Budget
from factory.serving.deployment import Deployment
from factory.serving.fleet import Fleet
from factory.serving.intake import Intake
from factory.serving.pool_side import PoolSide
from factory.serving.scaling_builder import build_limits, build_policy
from factory.simulation.pool_builder import Plan, PoolMeter
from factory.simulation.power_room import peak_watts, power_room
from factory.simulation.startups import startup_seconds


def scale(
    plan: Plan,
    deployment: Deployment,
    pools: Seq[tuple[PoolMeter, PoolSide]],
    intake: Intake,
    note: Callable[[Row], None],
) -> None:
    """Gives each pool of a deployment that is scaled its fleet and its autoscaler.

    Args:
        plan: What the pools were built from.
        deployment: The deployment.
        pools: Its pools.
        intake: Where requests come from.
        note: Takes the rows of ``fact_events``.
    """
    deployment.expects = lambda: intake.expects
    shared = [
        meter.place.pool.autoscaling.gpu_budget
        for meter, _ in pools
        if meter.place.pool.autoscaling is not None
        and meter.place.pool.autoscaling.gpu_budget is not None
    ]
    budget = Budget(shared[0]) if shared else None
    for meter, side in pools:
        if meter.place.pool.autoscaling is not None:
            _fleet(plan, deployment, meter, side, budget, note)


def _fleet(
    plan: Plan,
    deployment: Deployment,
    meter: PoolMeter,
    side: PoolSide,
    budget: Budget | None,
    note: Callable[[Row], None],
) -> None:
    place = meter.place
    pool = place.pool
    section = pool.autoscaling
    assert section is not None
    scenario = plan.scenario
    codes = plan.layout.codes
    first = place.first_replica
    timeout_s = section.drain_timeout_s

    def told(now_s: float, kind: str, subject: str, value: float, detail: str) -> None:
        note((now_s, kind, subject, value, detail))

    fleet = Fleet(
        plan.kernel,
        place.code,
        side,
        meter.replicas,
        codes.replicas[first : first + len(meter.replicas)],
        pool.replicas,
        startup_seconds(plan.scenario, plan.catalog, plan.section, pool),
        section.ownership == "on_demand",
        inf if timeout_s is None else timeout_s,
        deployment.grown,
        deployment.lose,
        told,
    )
    fleet.unplaced = deployment.unplaced
    if section.min_headroom_ratio is not None:
        gpu = plan.catalog.gpus[plan.catalog.systems[_system(plan, meter)].gpu]
        peak_w = peak_watts(gpu, pool)
        fleet.powered = power_room(meter.replicas, peak_w, section.min_headroom_ratio)
    model = plan.catalog.models[plan.section.model]
    longest = pool.engine.max_model_len or model.max_context
    capacity = partial(_capacity, meter, _itl_limit_s(plan))
    policy = build_policy(
        section, pool.role, longest, capacity, scenario.run.epoch_at, scenario.facility.time_zone
    )
    own = None if section.gpu_budget is None else budget
    if own is not None:
        own.hold(place.code, pool.replicas * pool.gpus_per_replica)
    fleet.scaler = Autoscaler(
        plan.kernel,
        place.code,
        pool.name,
        fleet,
        policy,
        build_limits(section, pool.gpus_per_replica),
        lambda: bool(deployment.inside) or deployment.expects(),
        told,
        own,
    )
    deployment.fleets.append(fleet)


def _capacity(meter: PoolMeter, itl_s: float, prompt: float, output: float) -> float:
    """Requests per second of one replica at the service level, for mean lengths."""
    return meter.rate(meter.place.pool.role, prompt, output, itl_s)


def _itl_limit_s(plan: Plan) -> float:
    """The strictest limit on the inter-token latency among its tenants, seconds."""
    first = plan.scenario.deployments[0].name
    limits = [
        tenant.slo.itl_ms
        for tenant in plan.scenario.workload.tenants
        if (tenant.deployment or first) == plan.section.name
    ]
    return min((limit / 1e3 for limit in limits if limit is not None), default=inf)


def _system(plan: Plan, meter: PoolMeter) -> str:
    return plan.scenario.facility.racks[meter.place.group].system
