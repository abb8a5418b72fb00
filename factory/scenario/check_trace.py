"""Checks of the trace to replay."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.findings import unknown
from factory.scenario.resolve import TRACE_BLOCK_SIZE
from factory.scenario.schema import Scenario
from factory.scenario.trace import Trace

#: Formats whose sessions start at stated intervals, where they state no times.
_BY_INTERVAL = ("agentic", "aiperf")


def trace_problems(scenario: Scenario, trace: Trace) -> Iterator[Problem]:
    """What is wrong with the trace of a scenario."""
    tenants = [tenant.name for tenant in scenario.workload.tenants]
    path = "workload.trace"
    if trace.tenant is not None:
        yield from unknown(f"{path}.tenant", "tenant", trace.tenant, tenants)
    given = trace.model_fields_set
    for name in ("sessions", "session_interval_s"):
        value = getattr(trace, name)
        if name in given and value is not None and trace.format not in _BY_INTERVAL:
            message = f"is for format: {' and '.join(_BY_INTERVAL)} only"
            yield Problem(f"{path}.{name}", message, value)
    if trace.to_s is not None and trace.to_s <= trace.from_s:
        message = f"must be later than from_s ({trace.from_s:g})"
        yield Problem(f"{path}.to_s", message, trace.to_s)
    yield from _replay_problems(path, trace)
    expected = TRACE_BLOCK_SIZE.get(trace.format)
    if expected is None:
        return
    feeds = fed(trace, tenants[0])
    owners = {tenant.name: tenant.deployment for tenant in scenario.workload.tenants}
    owner = owners.get(feeds or "") or scenario.deployments[0].name
    for index, deployment in enumerate(scenario.deployments):
        if deployment.name == owner and deployment.block_size not in (None, expected):
            message = f"must be {expected}, the blocks that a {trace.format} trace is hashed in"
            yield Problem(f"deployments[{index}].block_size", message, deployment.block_size)


def fed(trace: Trace | None, first: str) -> str | None:
    """Name of the tenant that the trace feeds."""
    return None if trace is None else trace.tenant or first


def _replay_problems(path: str, trace: Trace) -> Iterator[Problem]:
    if trace.replay == "recorded":
        if trace.concurrency is not None:
            message = "is for replay: closed_loop only"
            yield Problem(f"{path}.concurrency", message, trace.concurrency)
        return
    if trace.concurrency is None:
        message = "is missing: replay: closed_loop needs it"
        yield Problem(f"{path}.concurrency", message, None, "a whole number >= 1")
    if trace.rate_scale != 1.0:
        message = "is for replay: recorded only; in a closed loop the concurrency sets the rate"
        yield Problem(f"{path}.rate_scale", message, trace.rate_scale)
    if trace.format == "fact_requests":
        message = "must be recorded: the requests of a run come when they came"
        yield Problem(f"{path}.replay", message, trace.replay, "recorded")
