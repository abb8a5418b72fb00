"""Checks of the workload: tenants, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.check_lengths import joint_problems, largest, length_problems
from factory.scenario.check_mix import mix_problems, mixed_load_problems
from factory.scenario.check_session import context_problems, session_problems
from factory.scenario.check_tenant_load import load_problems
from factory.scenario.check_trace import fed, trace_problems
from factory.scenario.demand import Tenant
from factory.scenario.findings import repeated, unknown
from factory.scenario.mix import tenants_of
from factory.scenario.schema import Scenario


def demand_problems(scenario: Scenario) -> Iterator[Problem]:
    """Every tenant, then the trace."""
    workload = scenario.workload
    deployments = [deployment.name for deployment in scenario.deployments]
    yield from repeated("workload.tenants", (tenant.name for tenant in workload.tenants))
    feeds = fed(workload.trace, workload.tenants[0].name)
    mixed = set() if workload.mix is None else set(tenants_of(workload.mix))
    for index, tenant in enumerate(workload.tenants):
        path = f"workload.tenants[{index}]"
        if tenant.deployment is not None:
            place = f"{path}.deployment"
            yield from unknown(place, "deployment", tenant.deployment, deployments)
        is_fed, is_mixed = tenant.name == feeds, tenant.name in mixed
        yield from _tenant_problems(path, tenant, is_fed=is_fed, is_mixed=is_mixed)
        if is_fed and is_mixed:
            message = "the trace feeds this tenant already; take it out of the mix"
            yield Problem("workload.mix", message, tenant.name)
    if workload.mix is not None:
        yield from mix_problems("workload.mix", workload.mix, [t.name for t in workload.tenants])
    if workload.trace is not None:
        yield from trace_problems(scenario, workload.trace)


def _tenant_problems(
    path: str, tenant: Tenant, *, is_fed: bool, is_mixed: bool
) -> Iterator[Problem]:
    for name in ("input_tokens", "output_tokens"):
        length = getattr(tenant, name)
        if length is not None:
            yield from length_problems(f"{path}.{name}", length)
    yield from session_problems(f"{path}.session", tenant.session)
    yield from context_problems(path, tenant)
    if is_fed:
        if tenant.load is not None:
            yield Problem(f"{path}.load", "the trace feeds this tenant; give it no load")
        return
    if tenant.load is not None:
        if is_mixed:
            yield from mixed_load_problems(f"{path}.load", tenant.load)
        yield from load_problems(f"{path}.load", tenant.load, is_mixed=is_mixed)
    elif not is_mixed:
        message = "is missing: no trace feeds this tenant, and no mix"
        yield Problem(f"{path}.load", message, None, "rate or concurrency")
        return
    yield from _size_problems(path, tenant)


def _size_problems(path: str, tenant: Tenant) -> Iterator[Problem]:
    """Lengths of prompts and answers, apart or together."""
    if tenant.lengths is not None:
        yield from joint_problems(f"{path}.lengths", tenant.lengths)
    for name in ("input_tokens", "output_tokens"):
        length = getattr(tenant, name)
        if tenant.lengths is not None:
            if length is not None:
                yield Problem(f"{path}.{name}", "is stated by lengths already; leave one out")
        elif length is None:
            message = "is missing: a tenant with a load needs it"
            yield Problem(f"{path}.{name}", message, None, "a number or a distribution")
        elif largest(length) < 1:
            yield Problem(f"{path}.{name}", "must reach at least 1", largest(length))
