"""Checks of the workload: tenants, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.check_lengths import largest, length_problems
from factory.scenario.check_session import session_problems
from factory.scenario.check_tenant_load import load_problems
from factory.scenario.check_trace import fed, trace_problems
from factory.scenario.demand import Tenant
from factory.scenario.findings import repeated, unknown
from factory.scenario.schema import Scenario


def demand_problems(scenario: Scenario) -> Iterator[Problem]:
    """Every tenant, then the trace."""
    workload = scenario.workload
    deployments = [deployment.name for deployment in scenario.deployments]
    yield from repeated("workload.tenants", (tenant.name for tenant in workload.tenants))
    feeds = fed(workload.trace, workload.tenants[0].name)
    for index, tenant in enumerate(workload.tenants):
        path = f"workload.tenants[{index}]"
        if tenant.deployment is not None:
            place = f"{path}.deployment"
            yield from unknown(place, "deployment", tenant.deployment, deployments)
        yield from _tenant_problems(path, tenant, is_fed=tenant.name == feeds)
    if workload.trace is not None:
        yield from trace_problems(scenario, workload.trace)


def _tenant_problems(path: str, tenant: Tenant, *, is_fed: bool) -> Iterator[Problem]:
    lengths = {
        "input_tokens": tenant.input_tokens,
        "output_tokens": tenant.output_tokens,
    }
    for name, length in lengths.items():
        if length is not None:
            yield from length_problems(f"{path}.{name}", length)
    yield from session_problems(f"{path}.session", tenant.session)
    if is_fed:
        if tenant.load is not None:
            yield Problem(f"{path}.load", "the trace feeds this tenant; give it no load")
        return
    if tenant.load is None:
        message = "is missing: no trace feeds this tenant"
        yield Problem(f"{path}.load", message, None, "rate or concurrency")
        return
    yield from load_problems(f"{path}.load", tenant.load)
    for name in ("input_tokens", "output_tokens"):
        if lengths[name] is None:
            message = "is missing: a tenant with a load needs it"
            yield Problem(f"{path}.{name}", message, None, "a number or a distribution")
    for name in ("input_tokens", "output_tokens"):
        length = lengths[name]
        if length is not None and largest(length) < 1:
            yield Problem(f"{path}.{name}", "must reach at least 1", largest(length))
