"""The workload of a scenario."""

from __future__ import annotations

import math
from collections.abc import Sequence

from factory.errors import Problem, ScenarioError
from factory.scenario import Catalog, Load, Scenario
from factory.scenario.tenant_load import WarmStart
from factory.workload import arrivals
from factory.workload.arrivals import profiles
from factory.workload.arrivals.clock import Clock
from factory.workload.demands import Demands
from factory.workload.loops import ClosedLoop, OpenLoop, Script, UnderWay
from factory.workload.mix import Mix, Source
from factory.workload.protocol import Workload
from factory.workload.retries import Retries, policy
from factory.workload.sessions.agent_plans import plans
from factory.workload.sessions.agents import AgentDemand
from factory.workload.sessions.expected import session_means
from factory.workload.sessions.plan import Answers, PlanScript
from factory.workload.sessions.tenants import script
from factory.workload.traces.open import source as trace_source


def build(scenario: Scenario, catalog: Catalog, block_sizes: Sequence[int]) -> Workload:
    """Makes the workload of a scenario.

    Args:
        scenario: As loaded.
        catalog: What its names refer to.
        block_sizes: Tokens per block, one number per deployment.

    Returns:
        A workload that creates the same demand for the same seed, whatever the factory does.

    Raises:
        ScenarioError: The workload would never end, or its trace is hashed in blocks that the
            deployment's do not divide.
        InputError: The trace, or a file of lengths or rates, cannot be used; malformed rows of a
            trace are found while the run goes on.
    """
    run, section = scenario.run, scenario.workload
    demands = Demands(scenario, catalog, block_sizes)
    loads = demands.loads
    count = len(loads) + (section.trace is not None)
    # A trace comes first, so that its block ids stay as they are.
    sources: list[Source] = []
    if section.trace is not None:
        sources.append(trace_source(scenario, block_sizes, 0, count))
    if loads:
        _check_end(scenario, next(iter(loads)))
    tenants = _Tenants(scenario, demands, count)
    for position, load in loads.items():
        sources.append(tenants.source(position, load, len(sources)))
    cut_s = tenants.until_s if run.cut_sessions else math.inf
    mix = Mix(sources, block_sizes, run.requests, cut_s)
    policies = {
        position: policy(tenant.name, tenant.retry)
        for position, tenant in enumerate(section.tenants)
        if tenant.retry is not None
    }
    return Retries(mix, policies, run.seed, run.replication) if policies else mix


def _check_end(scenario: Scenario, position: int) -> None:
    run, tenant = scenario.run, scenario.workload.tenants[position]
    if run.duration_s is None and run.requests is None:
        message = f"must have duration_s or requests: tenant {tenant.name} never ends by itself"
        path = f"workload.tenants[{position}].load"
        raise ScenarioError([Problem("run", message, allowed=f"a bound for {path}")])


class _Tenants:
    """Sources of the tenants that are drawn."""

    def __init__(self, scenario: Scenario, demands: Demands, sources: int) -> None:
        self._scenario = scenario
        self._demands = demands
        self._sources = sources
        self._clock = Clock(scenario.run.epoch_at, scenario.facility.time_zone)
        self.until_s = scenario.run.duration_s or math.inf

    def source(self, position: int, load: Load, source: int) -> Source:
        """Sessions of one tenant, and when they start."""
        tenant = self._scenario.workload.tenants[position]
        demand = self._demands.demand(position, source, self._sources)
        planned: PlanScript | None = None
        asked: Script
        if isinstance(demand, AgentDemand):
            base = demand.base
            asked = planned = PlanScript(
                plans(demand),
                base.tenant,
                base.deployment,
                base.source,
                base.sources,
                base.max_tokens,
            )
        else:
            asked = script(demand)
        if load.concurrency is not None:
            warm = _clients(load, planned)
            first = arrivals.client_starts(load.concurrency, load.concurrency_ramp_s)
            return ClosedLoop(asked, [] if warm else first, self.until_s, warm)
        rate = load.rate
        if rate is None:
            rate = arrivals.session_rate(load, session_means(demand))
        run = self._scenario.run
        drawn = (f"workload/{tenant.name}/arrivals", run.seed, run.replication, self._clock)
        profile = profiles.build(load.profile, self._clock)
        starts = arrivals.build(load, rate, profile, *drawn)
        under_way = None
        if load.warm_start is not None and planned is not None:
            earlier = arrivals.before(load, rate, *drawn, load.warm_start.span_s)
            under_way = UnderWay(planned, earlier, _answers(load.warm_start))
        return OpenLoop(asked, starts, self.until_s, under_way)


def _clients(load: Load, planned: PlanScript | None) -> UnderWay | None:
    """Clients whose sessions began between one and two spans before the run."""
    warm, clients = load.warm_start, load.concurrency
    if warm is None or planned is None or clients is None:
        return None
    starts = [warm.span_s * (client / clients - 2.0) for client in range(clients)]
    return UnderWay(planned, starts, _answers(warm))


def _answers(warm: WarmStart) -> Answers:
    return Answers(warm.ttft_s, warm.itl_ms / 1e3)
