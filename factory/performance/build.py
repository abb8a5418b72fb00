"""Step model, memory and reference costs of a scenario's pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factory.errors import Problem, ScenarioError
from factory.performance.fixed import FixedStepModel
from factory.performance.hardware import efficiency
from factory.performance.layout import Layout
from factory.performance.memory import MemoryPlan, memory_plan
from factory.performance.reference import ReferenceCosts, reference_costs
from factory.performance.roofline import RooflineStepModel
from factory.scenario.resolve import DEFAULT_BLOCK_SIZE

if TYPE_CHECKING:
    from factory.performance.step_model import StepModel
    from factory.scenario.deployment import Deployment, Pool
    from factory.scenario.schema import Scenario
    from factory.scenario.specs import Catalog, SystemSpec


def layout_of(pool: Pool) -> Layout:
    """Parallel layout of a pool's replicas.

    Raises:
        ScenarioError: if ``ep`` does not divide ``tp * dp``.
    """
    parallel = pool.parallel
    if (parallel.tp * parallel.dp) % parallel.ep:
        raise ScenarioError(
            [
                Problem(
                    f"pool {pool.name}: parallel.ep",
                    f"must divide tp * dp = {parallel.tp * parallel.dp}",
                    parallel.ep,
                )
            ]
        )
    return Layout(parallel.tp, parallel.pp, parallel.dp, parallel.ep)


def system_of(pool: Pool, scenario: Scenario, catalog: Catalog) -> SystemSpec:
    """The system of the racks that a pool stands in."""
    group = next(group for group in scenario.facility.racks if group.name == pool.racks)
    return catalog.systems[group.system]


def build(pool: Pool, deployment: Deployment, catalog: Catalog, scenario: Scenario) -> StepModel:
    """The step model of a pool's replicas; all of them can share it."""
    engine = pool.engine
    stated = engine.step_model
    if stated.kind == "fixed":
        return FixedStepModel(
            stated.base_ms or 0.0, stated.per_seq_ms or 0.0, stated.per_prefill_token_ms or 0.0
        )
    system = system_of(pool, scenario, catalog)
    overhead = engine.step_overhead_ms
    roofline = RooflineStepModel(
        catalog.models[deployment.model],
        catalog.gpus[system.gpu],
        system,
        layout_of(pool),
        deployment.precision.weights,
        deployment.precision.kv_cache,
        None if overhead is None else overhead * 1e-3,
        efficiency(catalog.gpus[system.gpu].generation, engine.profile, catalog),
        draft_tokens=deployment.speculation.draft_tokens if deployment.speculation else 0,
    )
    if stated.kind == "roofline":
        return roofline
    from factory.performance.sources import measured_model

    return measured_model(pool, deployment, catalog, scenario, roofline)


def build_memory(
    pool: Pool, deployment: Deployment, catalog: Catalog, scenario: Scenario
) -> MemoryPlan:
    """Memory of one GPU of a pool; ``kv_capacity_tokens`` before any override of the engine's."""
    engine = pool.engine
    return memory_plan(
        catalog.models[deployment.model],
        catalog.gpus[system_of(pool, scenario, catalog).gpu],
        layout_of(pool),
        deployment.precision.weights,
        deployment.precision.kv_cache,
        engine.gpu_memory_utilization,
        engine.max_num_batched_tokens,
        draft=deployment.speculation is not None,
        max_num_seqs=engine.max_num_seqs,
        block_size=deployment.block_size or DEFAULT_BLOCK_SIZE,
        max_model_len=engine.max_model_len,
        hybrid_kv_cache=engine.hybrid_kv_cache,
        sliding_kv_ratio=engine.sliding_kv_ratio,
    )


def build_reference(pool: Pool, model: StepModel, kv_capacity_tokens: int) -> ReferenceCosts:
    """Reference costs of a pool whose ranks hold so many KV tokens."""
    return reference_costs(
        model,
        gpus=pool.gpus_per_replica,
        ranks=pool.parallel.dp,
        context_tokens=pool.reference.context_tokens,
        max_num_seqs=pool.engine.max_num_seqs,
        max_num_batched_tokens=pool.engine.max_num_batched_tokens,
        kv_capacity_tokens=kv_capacity_tokens,
    )
