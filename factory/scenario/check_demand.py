"""Checks of the workload: tenants, their loads and distributions, and the trace."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.demand import Load, Tenant, Trace
from factory.scenario.findings import repeated, unknown
from factory.scenario.lengths import BOUNDS, NEEDS, Length
from factory.scenario.resolve import TRACE_BLOCK_SIZE
from factory.scenario.schema import Scenario


def demand_problems(scenario: Scenario) -> Iterator[Problem]:
    """Every tenant, then the trace."""
    workload = scenario.workload
    deployments = [deployment.name for deployment in scenario.deployments]
    yield from repeated("workload.tenants", (tenant.name for tenant in workload.tenants))
    fed = _fed(workload.trace, workload.tenants[0].name)
    for index, tenant in enumerate(workload.tenants):
        path = f"workload.tenants[{index}]"
        if tenant.deployment is not None:
            place = f"{path}.deployment"
            yield from unknown(place, "deployment", tenant.deployment, deployments)
        yield from _tenant_problems(path, tenant, is_fed=tenant.name == fed)
    if workload.trace is not None:
        yield from _trace_problems(scenario, workload.trace)


def _fed(trace: Trace | None, first: str) -> str | None:
    """Name of the tenant that the trace feeds."""
    return None if trace is None else trace.tenant or first


def _tenant_problems(path: str, tenant: Tenant, *, is_fed: bool) -> Iterator[Problem]:
    lengths = {
        "input_tokens": tenant.input_tokens,
        "output_tokens": tenant.output_tokens,
        "session.turns": tenant.session.turns,
        "session.think_time_s": tenant.session.think_time_s,
    }
    for name, length in lengths.items():
        if length is not None:
            yield from _length_problems(f"{path}.{name}", length)
    if is_fed:
        if tenant.load is not None:
            yield Problem(f"{path}.load", "the trace feeds this tenant; give it no load")
        return
    if tenant.load is None:
        message = "is missing: no trace feeds this tenant"
        yield Problem(f"{path}.load", message, None, "rate or concurrency")
        return
    yield from _load_problems(f"{path}.load", tenant.load)
    for name in ("input_tokens", "output_tokens"):
        if lengths[name] is None:
            message = "is missing: a tenant with a load needs it"
            yield Problem(f"{path}.{name}", message, None, "a number or a distribution")
    for name in ("input_tokens", "output_tokens", "session.turns"):
        length = lengths[name]
        if length is not None and _largest(length) < 1:
            yield Problem(f"{path}.{name}", "must reach at least 1", _largest(length))


def _load_problems(path: str, load: Load) -> Iterator[Problem]:
    if (load.rate is None) == (load.concurrency is None):
        message = "must give exactly one of rate and concurrency"
        yield Problem(path, message, "neither" if load.rate is None else "both")
    given = load.model_fields_set
    if load.rate is None and load.concurrency is not None and load.arrival != "poisson":
        message = "goes with rate; a closed loop has no arrival process"
        yield Problem(f"{path}.arrival", message)
    if "cv" in given and load.arrival != "gamma" and load.cv != 1.0:
        yield Problem(f"{path}.cv", "is for arrival: gamma only", load.cv)


def _length_problems(path: str, length: Length) -> Iterator[Problem]:
    kind = length.distribution
    given = {
        name
        for name in type(length).model_fields
        if name != "distribution" and getattr(length, name) is not None
    }
    needs = NEEDS[kind]
    bounds = BOUNDS.get(kind, frozenset())
    wanted = " or ".join(" and ".join(sorted(group)) for group in needs)
    core = given - bounds
    if core not in needs:
        for name in sorted(core - frozenset().union(*needs)):
            yield Problem(f"{path}.{name}", f"{kind} takes no {name}", None, wanted)
        if not any(core >= group for group in needs):
            yield Problem(path, f"{kind} needs {wanted}", ", ".join(sorted(core)) or "neither")
        elif sum(core >= group for group in needs) > 1 or len(needs) > 1:
            yield from _contradiction(path, kind, core, wanted)
    if length.min is not None and length.max is not None and length.min > length.max:
        yield Problem(f"{path}.min", f"must be <= max ({length.max:g})", length.min)
    if kind == "geometric" and length.mean is not None and length.mean < 1:
        yield Problem(f"{path}.mean", "must be >= 1 for geometric", length.mean)
    if kind == "pareto" and length.min == 0:
        yield Problem(f"{path}.min", "must be > 0 for pareto", length.min)
    if kind == "pareto" and length.alpha is not None and length.alpha <= 1 and length.max is None:
        message = "must be > 1 without a max: the mean would be infinite"
        yield Problem(f"{path}.alpha", message, length.alpha)
    if kind == "lognormal" and length.mean == 0:
        yield Problem(f"{path}.mean", "must be > 0 for lognormal", length.mean)


def _contradiction(path: str, kind: str, core: set[str], wanted: str) -> Iterator[Problem]:
    """Two ways to say the same, e.g. a lognormal with mu and mean."""
    if len(core) > max(len(group) for group in NEEDS[kind]):
        message = f"{kind} takes {wanted}, not a mix"
        yield Problem(path, message, ", ".join(sorted(core)))


def _largest(length: Length) -> float:
    """The largest value a distribution gives."""
    if length.distribution == "constant":
        return length.value or 0.0
    return length.max if length.max is not None else float("inf")


def _trace_problems(scenario: Scenario, trace: Trace) -> Iterator[Problem]:
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
    fed = _fed(trace, tenants[0])
    owners = {tenant.name: tenant.deployment for tenant in scenario.workload.tenants}
    owner = owners.get(fed or "") or scenario.deployments[0].name
    for index, deployment in enumerate(scenario.deployments):
        if deployment.name == owner and deployment.block_size not in (None, expected):
            message = f"must be {expected}, the blocks that a {trace.format} trace is hashed in"
            yield Problem(f"deployments[{index}].block_size", message, deployment.block_size)
