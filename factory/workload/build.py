"""The workload of a scenario."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence

from factory.errors import InputError, Problem, ScenarioError
from factory.scenario import Catalog, Scenario, Tenant, Trace
from factory.scenario.resolve import MOONCAKE_TICK_S, TRACE_BLOCK_SIZE
from factory.workload.arrivals import Renewal
from factory.workload.lengths import seconds, tokens
from factory.workload.loops import ClosedLoop, OpenLoop
from factory.workload.mix import Mix, Source
from factory.workload.protocol import Workload
from factory.workload.replay import AgenticReplay, RunReplay, TraceReplay
from factory.workload.retries import Retries, policy
from factory.workload.tenants import TenantDemand, script
from factory.workload.traces import agentic, azure, finished_runs, mooncake
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.rows import Rows, first_rows, from_zero, spread


def build(
    scenario: Scenario,
    catalog: Catalog,  # noqa: ARG001 (models bound the context of a workload, not yet here)
    block_sizes: Sequence[int],
) -> Workload:
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
        InputError: The trace cannot be used; malformed rows are found while the run goes on.
    """
    return _Builder(scenario, block_sizes).build()


class _Builder:
    """Positions and bounds that every source needs."""

    def __init__(self, scenario: Scenario, block_sizes: Sequence[int]) -> None:
        self.scenario = scenario
        self.block_sizes = tuple(block_sizes)
        self.until_s = scenario.run.duration_s or math.inf
        self.deployments = [deployment.name for deployment in scenario.deployments]
        self.tenants = scenario.workload.tenants
        self.loaded = [i for i, tenant in enumerate(self.tenants) if tenant.load is not None]
        self.sources = len(self.loaded) + (scenario.workload.trace is not None)

    def build(self) -> Workload:
        trace = self.scenario.workload.trace
        # A trace comes first, so that its block ids stay as they are.
        sources: list[Source] = [] if trace is None else [self._trace(trace)]
        if self.loaded:
            self._check_end(self.tenants[self.loaded[0]], self.loaded[0])
        for position in self.loaded:
            sources.append(self._tenant(position, len(sources)))
        run = self.scenario.run
        mix = Mix(sources, self.block_sizes, run.requests, self._horizon_s())
        policies = {
            position: policy(tenant.name, tenant.retry)
            for position, tenant in enumerate(self.tenants)
            if tenant.retry is not None
        }
        return Retries(mix, policies, run.seed, run.replication) if policies else mix

    def _horizon_s(self) -> float:
        """No turn is sent from then on."""
        return self.until_s if self.scenario.run.cut_sessions else math.inf

    def _check_end(self, tenant: Tenant, position: int) -> None:
        run = self.scenario.run
        if run.duration_s is None and run.requests is None:
            message = f"must have duration_s or requests: tenant {tenant.name} never ends by itself"
            path = f"workload.tenants[{position}].load"
            raise ScenarioError([Problem("run", message, allowed=f"a bound for {path}")])

    def _deployment(self, position: int) -> int:
        name = self.tenants[position].deployment
        return 0 if name is None else self.deployments.index(name)

    def _tenant(self, position: int, source: int) -> Source:
        tenant, run = self.tenants[position], self.scenario.run
        load, session = tenant.load, tenant.session
        assert load is not None
        assert tenant.input_tokens is not None
        assert tenant.output_tokens is not None
        deployment = self._deployment(position)
        asked = script(
            TenantDemand(
                name=tenant.name,
                tenant=position,
                deployment=deployment,
                source=source,
                sources=self.sources,
                block_size=self.block_sizes[deployment],
                input_tokens=tokens(tenant.input_tokens),
                output_tokens=tokens(tenant.output_tokens),
                turns=tokens(session.turns),
                think_time_s=seconds(session.think_time_s),
                growth=session.growth,
                prefix_tokens=tenant.shared_prefix.tokens,
                prefix_count=tenant.shared_prefix.count,
                max_tokens=tenant.max_tokens or 0,
                seed=run.seed,
                replication=run.replication,
            )
        )
        if load.concurrency is not None:
            return ClosedLoop(asked, [0.0] * load.concurrency, self.until_s)
        assert load.rate is not None
        name = f"workload/{tenant.name}/arrivals"
        arrivals = Renewal(load.arrival, load.rate, load.cv, name, run.seed, run.replication)
        return OpenLoop(asked, arrivals, self.until_s)

    def _trace(self, trace: Trace) -> Source:
        tenant = self._position(trace.tenant) if trace.tenant else 0
        deployment = self._deployment(tenant)
        if trace.format == "fact_requests":
            return self._finished_run(trace)
        bad = BadRows(trace.path, trace.skip_bad_rows)
        factor = self._factor(trace, deployment)
        if trace.format == "agentic":
            return AgenticReplay(
                agentic.read(bad, trace.sessions, trace.limit),
                bad,
                tenant,
                deployment,
                0,
                self.sources,
                factor,
                trace.session_interval_s * trace.time_scale,
                self.until_s,
            )
        return TraceReplay(
            self._rows(trace, bad),
            bad,
            tenant,
            deployment,
            0,
            self.sources,
            self.block_sizes[deployment],
            factor,
            self.until_s,
        )

    def _rows(self, trace: Trace, bad: BadRows) -> Iterator[Rows]:
        run = self.scenario.run
        is_mooncake = trace.format == "mooncake"
        width_s = trace.spread_s
        if width_s is None:
            width_s = MOONCAKE_TICK_S if is_mooncake else 0.0
        rows = first_rows(mooncake.read(bad) if is_mooncake else azure.read(bad), trace.limit)
        if width_s > 0:
            rows = spread(rows, width_s, run.seed, run.replication, "workload/trace/spread")
        return from_zero(rows, trace.time_scale)

    def _finished_run(self, trace: Trace) -> Source:
        bad = BadRows(finished_runs.table_path(trace.path), trace.skip_bad_rows)
        demand = finished_runs.read(bad, trace.limit, min(self.block_sizes))
        tenants = [self._recorded(name, trace, bad.path) for name in demand.tenant_names]
        return RunReplay(
            demand,
            bad,
            tenants,
            [self._deployment(tenant) for tenant in tenants],
            0,
            self.sources,
            trace.time_scale,
            self.until_s,
        )

    def _position(self, name: str) -> int:
        return next(i for i, tenant in enumerate(self.tenants) if tenant.name == name)

    def _recorded(self, name: str, trace: Trace, path: str) -> int:
        """The tenant of the same name that has no load of its own, else the trace's tenant."""
        names = [tenant.name for tenant in self.tenants if tenant.load is None]
        if name in names:
            return self._position(name)
        if trace.tenant:
            return self._position(trace.tenant)
        close = difflib.get_close_matches(name, names, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise InputError(
            f'{path}: tenant "{name}" is not in the scenario (has {", ".join(names)}{meant}); '
            "set workload.trace.tenant to give such requests to one tenant"
        )

    def _factor(self, trace: Trace, deployment: int) -> int:
        """How many blocks of the deployment make one of the trace."""
        size = self.block_sizes[deployment]
        hashed = TRACE_BLOCK_SIZE.get(trace.format, size)
        if hashed % size:
            path = f"deployments[{deployment}].block_size"
            message = f"must divide the {hashed} tokens of a block of the {trace.format} trace"
            allowed = ", ".join(str(d) for d in range(1, hashed + 1) if hashed % d == 0)
            raise ScenarioError([Problem(path, message, size, allowed)])
        return hashed // size
