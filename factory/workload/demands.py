"""From a tenant's section to what its sessions are drawn from."""

from __future__ import annotations

from collections.abc import Sequence

from factory.records.cell_names import plain
from factory.scenario import Catalog, Deployment, Load, Scenario, Tenant
from factory.scenario.mix import tenants_of
from factory.workload import lengths
from factory.workload.lengths.distributions import Distribution, clipped
from factory.workload.lengths.joints import Clipped
from factory.workload.mixing import loads
from factory.workload.sessions import agents
from factory.workload.sessions.agents import AgentDemand
from factory.workload.sessions.documents import documents_of
from factory.workload.sessions.expected import SessionMeans, session_means
from factory.workload.sessions.tenants import TenantDemand


def longest_context(deployment: Deployment, catalog: Catalog) -> int:
    """Longest prompt and answer that the engines and the model of a deployment take, tokens."""
    most = catalog.models[deployment.model].max_context
    return min(pool.engine.max_model_len or most for pool in deployment.pools)


class Demands:
    """What the tenants of a scenario ask, and how their sessions start.

    Attributes:
        loads: By position, the load of each tenant that is drawn: its own, or its part of the mix.
    """

    __slots__ = ("_block_sizes", "_contexts", "_deployments", "_scenario", "loads")

    def __init__(self, scenario: Scenario, catalog: Catalog, block_sizes: Sequence[int]) -> None:
        self._scenario = scenario
        self._block_sizes = tuple(block_sizes)
        self._deployments = [deployment.name for deployment in scenario.deployments]
        self._contexts = [longest_context(served, catalog) for served in scenario.deployments]
        self.loads = self._loads()

    def demand(
        self, position: int, source: int = 0, sources: int = 1
    ) -> TenantDemand | AgentDemand:
        """Returns what the sessions of a tenant are drawn from.

        Args:
            position: Of the tenant in the scenario.
            source: Position of its source among those of the workload.
            sources: How many sources there are.
        """
        tenant, run = self._scenario.workload.tenants[position], self._scenario.run
        name = tenant.deployment
        deployment = 0 if name is None else self._deployments.index(name)
        return demand_of(
            tenant,
            block_size=self._block_sizes[deployment],
            max_context=self._contexts[deployment],
            position=position,
            deployment=deployment,
            source=source,
            sources=sources,
            seed=run.seed,
            replication=run.replication,
        )

    def _loads(self) -> dict[int, Load]:
        section = self._scenario.workload
        found = {
            position: tenant.load
            for position, tenant in enumerate(section.tenants)
            if tenant.load is not None
        }
        if section.mix is None:
            return found
        positions = {tenant.name: position for position, tenant in enumerate(section.tenants)}
        names = tenants_of(section.mix)
        means: dict[str, SessionMeans] = {}
        for name in names:
            # A tenant's rate is the same in every cell; that of cell 0 comes first.
            same = means.get(plain(name))
            means[name] = same or session_means(self.demand(positions[name]))
        shapes = {name: section.tenants[positions[name]].load for name in names}
        for name in names:
            found.pop(positions[name], None)
        for name, load in loads(section.mix, means, shapes).items():
            found[positions[name]] = load
        return dict(sorted(found.items()))


def demand_of(
    tenant: Tenant,
    *,
    block_size: int,
    max_context: int = 0,
    position: int = 0,
    deployment: int = 0,
    source: int = 0,
    sources: int = 1,
    seed: int = 0,
    replication: int = 0,
) -> TenantDemand | AgentDemand:
    """Returns what the sessions of a tenant are drawn from.

    Args:
        tenant: The section; its checks have passed, and it says what a request holds.
        block_size: Tokens per block of its deployment.
        max_context: Longest prompt and answer that its deployment takes, tokens; 0: no limit.
        position: Of the tenant in the scenario.
        deployment: Position of the deployment that serves it.
        source: Position of its source among those of the workload.
        sources: How many sources there are.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
    """
    session = tenant.session
    joint = None if tenant.lengths is None else lengths.joint(tenant.lengths)
    room = max_context - 1 - tenant.shared_prefix.tokens
    if joint is not None:
        if max_context:
            joint = Clipped(joint, max(room, 1), max_context - 1)
        inputs, outputs = joint.input, joint.output
    else:
        assert tenant.input_tokens is not None
        assert tenant.output_tokens is not None
        inputs, outputs = lengths.tokens(tenant.input_tokens), lengths.tokens(tenant.output_tokens)
        if max_context:
            inputs, outputs = _fitted(inputs, room), _fitted(outputs, max_context - 1)
    base = TenantDemand(
        name=tenant.name,
        tenant=position,
        deployment=deployment,
        source=source,
        sources=sources,
        block_size=block_size,
        input_tokens=inputs,
        output_tokens=outputs,
        turns=lengths.tokens(session.turns),
        think_time_s=lengths.seconds(session.think_time_s),
        growth=session.growth,
        prefix_tokens=tenant.shared_prefix.tokens,
        prefix_count=tenant.shared_prefix.count,
        seed=seed,
        replication=replication,
        max_tokens=tenant.max_tokens or 0,
        documents=documents_of(tenant.documents),
        joint=joint,
        max_context=max_context,
    )
    # Only planned sessions can be under way when the run begins.
    is_warm = tenant.load is not None and tenant.load.warm_start is not None
    if is_warm or agents.is_needed(tenant):
        return agents.demand(tenant, base, max_context)
    return base


def _fitted(distribution: Distribution, most: int) -> Distribution:
    """The distribution, its tail cut at what a context takes; a constant says what it says."""
    return distribution if distribution.is_constant() else clipped(distribution, max(most, 1))


def means_of(tenant: Tenant, block_size: int, max_context: int = 0) -> SessionMeans:
    """Returns the means of a tenant's sessions; see `demand_of` for the arguments."""
    return session_means(demand_of(tenant, block_size=block_size, max_context=max_context))
