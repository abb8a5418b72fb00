"""How long the replicas of a pool take to start."""

from __future__ import annotations

from collections.abc import Callable

from factory.performance import build_memory
from factory.performance.architecture import mtp_bytes, weight_bytes
from factory.scenario import Catalog, Deployment, Pool, Scenario
from factory.scenario.autoscaling import Startup
from factory.serving.startup import startup_time


def startup_of(scenario: Scenario, pool: Pool) -> Startup:
    """What a pool states of its starts: its autoscaling, or what holds after failures."""
    if pool.autoscaling is not None:
        return pool.autoscaling.startup
    return scenario.facility.failures.startup


def startup_seconds(
    scenario: Scenario, catalog: Catalog, deployment: Deployment, pool: Pool
) -> Callable[[int], float]:
    """Seconds to start so many replicas of a pool at once.

    Args:
        scenario: The run's.
        catalog: What its names refer to.
        deployment: What the pool serves.
        pool: The pool.
    """
    section = startup_of(scenario, pool)
    if section.startup_s is not None:
        stated_s = section.startup_s
        return lambda _at_once: stated_s
    memory = build_memory(pool, deployment, catalog, scenario)
    group = next(group for group in scenario.facility.racks if group.name == pool.racks)
    system = catalog.systems[group.system]
    gpus = pool.gpus_per_replica
    model = catalog.models[deployment.model]
    weights = weight_bytes(model, deployment.precision.weights)
    if deployment.speculation is not None:
        weights += mtp_bytes(model, deployment.precision.weights)

    def seconds(at_once: int) -> float:
        return startup_time(
            section, weights, memory.weights, gpus, min(system.gpus_per_node, gpus), at_once
        ).total_s

    return seconds
