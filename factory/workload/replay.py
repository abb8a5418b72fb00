"""Recorded demand as sources of requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from factory.workload.blocks import SOURCE_SPAN, Runs, refined, trimmed
from factory.workload.loops import NOTHING
from factory.workload.request import Request
from factory.workload.traces.bad_rows import BadRows
from factory.workload.traces.finished_runs import RecordedDemand
from factory.workload.traces.rows import Rows


class TraceReplay:
    """Recorded requests that come when they came, each a session of its own."""

    __slots__ = ("_bad", "_base", "_block_size", "_deployment", "_factor", "_rows", "_source",
                 "_sources", "_tenant", "_until_s")  # fmt: skip

    def __init__(
        self,
        rows: Iterable[Rows],
        bad: BadRows,
        tenant: int,
        deployment: int,
        source: int,
        sources: int,
        block_size: int,
        factor: int,
        until_s: float,
    ) -> None:
        """Makes a source of the requests of a trace.

        Args:
            rows: The trace, with arrival times in simulated seconds.
            bad: Where malformed rows are counted.
            tenant: Position of the tenant that the requests belong to.
            deployment: Position of the deployment that serves it.
            source: Position of this source among the `sources` of the workload.
            sources: How many there are.
            block_size: Tokens per block of the deployment.
            factor: How many of those make a block of the trace.
            until_s: Requests from then on are left out.
        """
        self._rows = rows
        self._bad = bad
        self._tenant = tenant
        self._deployment = deployment
        self._source = source
        self._sources = sources
        self._base = source * SOURCE_SPAN
        self._block_size = block_size
        self._factor = factor
        self._until_s = until_s

    @property
    def session_tenants(self) -> frozenset[int]:
        """None: every session is one request."""
        return frozenset()

    @property
    def skipped_rows(self) -> int:
        """Malformed rows left out so far."""
        return self._bad.count

    def start(self) -> Iterator[Request]:
        """Yields the requests in file order."""
        tenant, deployment, step = self._tenant, self._deployment, self._sources
        session = self._source
        until_s = self._until_s
        for rows in self._rows:
            times: list[float] = rows.times_s.tolist()
            for time_s, prompt, answer, blocks in zip(
                times, rows.inputs, rows.outputs, self._blocks(rows), strict=True
            ):
                if time_s >= until_s:
                    return
                yield Request(
                    -1, tenant, deployment, session, 0, -1, -1, 0, time_s, prompt, answer, blocks
                )
                session += step

    def on_done(
        self,
        request: Request,  # noqa: ARG002 (no request of a trace waits for another)
        time_s: float,  # noqa: ARG002
        outcome: int,  # noqa: ARG002
    ) -> Sequence[Request]:
        """Nothing follows."""
        return NOTHING

    def _blocks(self, rows: Rows) -> Iterable[Runs]:
        if self._factor == 1 and not self._base:
            return rows.blocks
        size = self._block_size
        return [
            moved(trimmed(refined(runs, self._factor), -(-prompt // size)), self._base)
            for runs, prompt in zip(rows.blocks, rows.inputs, strict=True)
        ]


class RunReplay:
    """The demand of a finished run, request by request at the times it came."""

    __slots__ = ("_bad", "_base", "_demand", "_deployments", "_scale", "_source", "_sources",
                 "_tenants", "_until_s")  # fmt: skip

    def __init__(
        self,
        demand: RecordedDemand,
        bad: BadRows,
        tenants: Sequence[int],
        deployments: Sequence[int],
        source: int,
        sources: int,
        scale: float,
        until_s: float,
    ) -> None:
        """Makes a source of a run's demand.

        Args:
            demand: What the run recorded.
            bad: Where malformed rows are counted.
            tenants: Position of the tenant for each of the recorded tenants.
            deployments: Position of the deployment for each of them.
            source: Position of this source.
            sources: How many there are.
            scale: Multiplies arrival times.
            until_s: Requests from then on are left out.
        """
        self._demand = demand
        self._bad = bad
        self._tenants = tenants
        self._deployments = deployments
        self._source = source
        self._sources = sources
        self._base = source * SOURCE_SPAN
        self._scale = scale
        self._until_s = until_s

    @property
    def session_tenants(self) -> frozenset[int]:
        """None: requests come when they came, so nobody knows when a session is over."""
        return frozenset()

    @property
    def skipped_rows(self) -> int:
        """Malformed rows left out."""
        return self._bad.count

    def start(self) -> Iterator[Request]:
        """Yields the requests by arrival; a request's parent is the one it had."""
        demand = self._demand
        columns = {name: values.tolist() for name, values in demand.columns.items()}
        parents = dict.fromkeys(columns["parent_request_id"])
        made: dict[int, Request] = {}
        for recorded, before, session, turn, time_s, prompt, answer, tenant, blocks in zip(
            columns["request_id"],
            columns["parent_request_id"],
            columns["session_id"],
            columns["turn"],
            columns["arrival_time_s"],
            columns["input_tokens"],
            columns["requested_output_tokens"],
            demand.tenants.tolist(),
            demand.blocks or repeat(()),
            strict=False,
        ):
            arrival_s = time_s * self._scale
            if arrival_s >= self._until_s:
                return
            parent = made.get(before)
            request = Request(
                -1,
                self._tenants[tenant],
                self._deployments[tenant],
                self._source + session * self._sources,
                turn,
                parent.index if parent else -1,
                -1,
                0,
                arrival_s,
                prompt,
                answer,
                moved(blocks, self._base),
            )
            if recorded in parents:
                made[recorded] = request
            yield request

    def on_done(
        self,
        request: Request,  # noqa: ARG002 (times are replayed as recorded)
        time_s: float,  # noqa: ARG002
        outcome: int,  # noqa: ARG002
    ) -> Sequence[Request]:
        """Nothing follows."""
        return NOTHING


def moved(runs: Runs, base: int) -> Runs:
    """Returns the same prompt with ids that start at `base`."""
    if not base:
        return runs
    if len(runs) == 2:
        return (runs[0] + base, runs[1])
    return tuple([x if i % 2 else x + base for i, x in enumerate(runs)])
