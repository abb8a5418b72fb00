"""Checks of the trace to replay."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.findings import unknown
from factory.scenario.resolve import TRACE_BLOCK_SIZE
from factory.scenario.schema import Scenario
from factory.scenario.trace import Trace


def trace_problems(scenario: Scenario, trace: Trace) -> Iterator[Problem]:
    """What is wrong with the trace of a scenario."""
    tenants = [tenant.name for tenant in scenario.workload.tenants]
    path = "workload.trace"
    if trace.tenant is not None:
        yield from unknown(f"{path}.tenant", "tenant", trace.tenant, tenants)
    given = trace.model_fields_set
    for name in ("sessions", "session_interval_s"):
        if name in given and getattr(trace, name) is not None and trace.format != "agentic":
            yield Problem(f"{path}.{name}", "is for format: agentic only", getattr(trace, name))
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
