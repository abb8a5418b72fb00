"""The trace of a scenario as a source of requests."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from factory.errors import InputError, Problem, ScenarioError
from factory.scenario import Scenario, Trace
from factory.scenario.resolve import MOONCAKE_TICK_S, TRACE_BLOCK_SIZE
from factory.workload.blocks import SOURCE_SPAN
from factory.workload.mix import Source
from factory.workload.replay import RunReplay, TraceReplay
from factory.workload.traces import (
    agentic,
    aiperf,
    azure,
    bailian,
    burstgpt,
    copies,
    finished_runs,
    mooncake,
    mooncake_sessions,
    run_copies,
    servegen,
)
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.batch import Records, limited
from factory.workload.traces.rates import Rate
from factory.workload.traces.rows import Rows, first_rows, from_zero, scaled, spread, window
from factory.workload.traces.sessions import TraceSession, of_records
from factory.workload.traces.sources import Place, closed_requests, closed_sessions, recorded


def source(scenario: Scenario, block_sizes: Sequence[int], number: int, sources: int) -> Source:
    """Makes the source of a scenario's trace.

    Formats without sessions become requests of their own; formats with sessions become sessions
    whose requests wait for answers. All is read lazily.

    Args:
        scenario: As loaded, with a trace.
        block_sizes: Tokens per block, one number per deployment.
        number: Position of this source among the `sources` of the workload.
        sources: How many there are.

    Raises:
        ScenarioError: The trace is hashed in blocks that the deployment's do not divide.
        InputError: The trace cannot be used; malformed rows are found while it is read.
    """
    return _Opener(scenario, block_sizes, number, sources).source()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Reads requests of their own."""

    read: Callable[[BadRows], Iterator[Rows]]


@dataclass(frozen=True, slots=True)
class _Sessions:
    """Reads sessions."""

    read: Callable[[BadRows], Iterator[TraceSession]]


class _Opener:
    def __init__(
        self, scenario: Scenario, block_sizes: Sequence[int], number: int, sources: int
    ) -> None:
        trace = scenario.workload.trace
        assert trace is not None
        self.trace: Trace = trace
        self.scenario = scenario
        self.block_sizes = tuple(block_sizes)
        self.number = number
        self.sources = sources
        self.until_s = scenario.run.duration_s or math.inf
        self.tenants = scenario.workload.tenants
        self.deployments = [deployment.name for deployment in scenario.deployments]

    def source(self) -> Source:
        trace = self.trace
        if trace.format == "fact_requests":
            return self._finished_run()
        tenant = self._position(trace.tenant) if trace.tenant else 0
        deployment = self._deployment(tenant)
        factor = self._factor(deployment)
        size = self.block_sizes[deployment]
        bad = BadRows(trace.path, trace.skip_bad_rows)
        place = Place(tenant, deployment, self.number, self.sources, size, factor, self.until_s)
        reader = self._reader(size)
        is_closed = trace.concurrency is not None
        if isinstance(reader, _Rows):
            rows = copies.of_rows(reader.read, bad, self._rate(factor))
            if is_closed:
                return closed_requests(rows, bad, place, trace.concurrency or 1)
            return TraceReplay(
                scaled(rows, trace.time_scale),
                bad,
                tenant,
                deployment,
                self.number,
                self.sources,
                size,
                factor,
                self.until_s,
            )
        sessions = copies.of_sessions(reader.read, bad, self._rate(factor))
        if is_closed:
            return closed_sessions(sessions, bad, place, trace.concurrency or 1)
        return recorded(sessions, bad, place, trace.time_scale)

    def _rate(self, factor: int) -> Rate:
        trace, run = self.trace, self.scenario.run
        # ServeGen's clients are sped up themselves.
        scale = 1.0 if trace.format == "servegen" else trace.rate_scale
        return Rate(scale, run.seed, run.replication, factor)

    def _reader(self, block_size: int) -> _Rows | _Sessions:
        """How to read the trace: the same rows each time, from time 0 on."""
        trace = self.trace
        timed = trace.replay == "recorded"
        match trace.format:
            case "azure":
                return _Rows(partial(self._rows, azure.read))
            case "servegen":
                return _Rows(self._servegen)
            case "burstgpt" if not burstgpt.has_sessions(trace.path):
                return _Rows(partial(self._rows, lambda bad: burstgpt.rows(burstgpt.read(bad))))
            case "burstgpt":
                return self._of_records(burstgpt.read)
            case "mooncake" if not mooncake_sessions.has_sessions(trace.path):
                return _Rows(partial(self._rows, mooncake.read))
            case "mooncake":
                read = partial(mooncake_sessions.read, timed=timed)
                return self._of_records(read, mooncake.MAX_BLOCK)
            case "bailian":
                rename = bailian.needs_renaming(trace.path)
                return self._of_records(partial(bailian.read, rename=rename))
            case "aiperf" if not aiperf.has_branches(trace.path):
                return self._of_records(
                    partial(aiperf.read, block_size=block_size, sessions=trace.sessions), 0
                )
            case "aiperf":
                return _Sessions(partial(self._branching, block_size))
            case _:
                return _Sessions(self._agentic)

    def _rows(self, read: Callable[[BadRows], Iterator[Rows]], bad: BadRows) -> Iterator[Rows]:
        trace, run = self.trace, self.scenario.run
        width_s = trace.spread_s
        if width_s is None:
            width_s = MOONCAKE_TICK_S if trace.format == "mooncake" else 0.0
        rows = first_rows(read(bad), trace.limit)
        rows = window(rows, trace.from_s, self._to_s())
        if width_s > 0:
            rows = spread(rows, width_s, run.seed, run.replication, "workload/trace/spread")
        return from_zero(rows)

    def _servegen(self, bad: BadRows) -> Iterator[Rows]:
        trace, run = self.trace, self.scenario.run
        rows = servegen.read(
            bad, run.seed, run.replication, trace.rate_scale, trace.from_s, self._to_s()
        )
        return from_zero(first_rows(rows, trace.limit))

    def _of_records(
        self, read: Callable[[BadRows], Iterator[Records]], continues_from: int | None = None
    ) -> _Sessions:
        def limited_read(bad: BadRows) -> Iterator[Records]:
            return limited(read(bad), self.trace.limit)

        def sessions(bad: BadRows) -> Iterator[TraceSession]:
            found = of_records(
                limited_read, bad, continues_from, interval_s=self.trace.session_interval_s
            )
            return self._cut(found)

        return _Sessions(sessions)

    def _agentic(self, bad: BadRows) -> Iterator[TraceSession]:
        trace = self.trace
        found = agentic.read(bad, trace.sessions, trace.limit)
        return self._cut(
            TraceSession(number * trace.session_interval_s, rows.plan(), rows.span)
            for number, rows in enumerate(found)
        )

    def _branching(self, block_size: int, bad: BadRows) -> Iterator[TraceSession]:
        trace = self.trace
        found = aiperf.branching(bad, block_size, trace.sessions)
        return self._cut(
            TraceSession(number * trace.session_interval_s, plan)
            for number, plan in enumerate(found)
        )

    def _cut(self, sessions: Iterator[TraceSession]) -> Iterator[TraceSession]:
        """The sessions inside the window, from time 0 on."""
        first_s: float | None = None
        zero_s: float | None = None
        for session in sessions:
            if first_s is None:
                first_s = session.start_s
            since_s = session.start_s - first_s
            if since_s >= self._to_s():
                return
            if since_s < self.trace.from_s:
                continue
            if zero_s is None:
                zero_s = session.start_s
            session.start_s -= zero_s
            yield session

    def _to_s(self) -> float:
        return math.inf if self.trace.to_s is None else self.trace.to_s

    def _finished_run(self) -> Source:
        trace = self.trace
        bad = BadRows(finished_runs.table_path(trace.path), trace.skip_bad_rows)
        demand = finished_runs.read(bad, trace.limit, min(self.block_sizes))
        demand = run_copies.part(demand, trace.from_s, self._to_s())
        demand = run_copies.at_rate(demand, self._rate(1), SOURCE_SPAN, bad)
        tenants = [self._recorded(name, bad.path) for name in demand.tenant_names]
        return RunReplay(
            demand,
            bad,
            tenants,
            [self._deployment(tenant) for tenant in tenants],
            self.number,
            self.sources,
            trace.time_scale,
            self.until_s,
        )

    def _deployment(self, position: int) -> int:
        name = self.tenants[position].deployment
        return 0 if name is None else self.deployments.index(name)

    def _position(self, name: str) -> int:
        return next(i for i, tenant in enumerate(self.tenants) if tenant.name == name)

    def _recorded(self, name: str, path: str) -> int:
        """The tenant of the same name that has no load of its own, else the trace's tenant."""
        names = [tenant.name for tenant in self.tenants if tenant.load is None]
        if name in names:
            return self._position(name)
        if self.trace.tenant:
            return self._position(self.trace.tenant)
        close = difflib.get_close_matches(name, names, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise InputError(
            f'{path}: tenant "{name}" is not in the scenario (has {", ".join(names)}{meant}); '
            "set workload.trace.tenant to give such requests to one tenant"
        )

    def _factor(self, deployment: int) -> int:
        """How many blocks of the deployment make one of the trace."""
        size = self.block_sizes[deployment]
        hashed = TRACE_BLOCK_SIZE.get(self.trace.format, size)
        if hashed % size:
            path = f"deployments[{deployment}].block_size"
            message = f"must divide the {hashed} tokens of a block of the {self.trace.format} trace"
            allowed = ", ".join(str(d) for d in range(1, hashed + 1) if hashed % d == 0)
            raise ScenarioError([Problem(path, message, size, allowed)])
        return hashed // size
