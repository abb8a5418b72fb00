"""``factory catalog workloads``: what each asks in the mean, and where its numbers come from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory.cli.output import line_width, print_columns
from factory.scenario import Length, Tenant
from factory.scenario.lengths import JointLengths, distributions
from factory.scenario.mix import Mix
from factory.scenario.workloads import WorkloadFile, read_workload, shipped_workloads

if TYPE_CHECKING:
    from factory.workload.sessions.expected import SessionMeans

BLOCK_SIZE = 64

_HEAD = ("requests", "tasks", "tokens in", "tokens out", "cached")
_RIGHT = (False, True, True, True, True, True)


@dataclass(frozen=True, slots=True)
class _Asks:
    """Means of a session, as the columns show them."""

    requests: float
    tasks: float
    input_tokens: float
    output_tokens: float
    new_tokens: float

    def cells(self) -> list[str]:
        """One cell for each title of `_HEAD`."""
        cached = 1 - self.new_tokens / self.input_tokens
        return [
            f"{self.requests:.3g}",
            f"{self.tasks:.3g}",
            _number(self.input_tokens),
            _number(self.output_tokens),
            f"{100 * cached:.0f} %",
        ]


def show_workloads(name: str | None) -> None:
    """Prints all workloads, or one with its tenants, distributions and sources."""
    if name is not None:
        _show(read_workload(name))
        return
    rows = []
    for each in shipped_workloads():
        workload = read_workload(each)
        rows.append([each, *_of_mix(workload).cells(), _kinds(workload)])
    print_columns(["name", *_HEAD, "sources"], rows, [*_RIGHT, False])
    print()
    note = (
        "Means of a session. Tokens in are all prompt tokens; cached is the share of them that an "
        "earlier request of the session, or what sessions share, holds already (documents asked "
        "for the first time too): what an endless cache would not compute."
    )
    print(textwrap.fill(note, line_width()))


def _show(workload: WorkloadFile) -> None:
    width = line_width()
    print(textwrap.fill(f"{workload.name}: {workload.description}", width))
    print()
    tenants = _tenants(workload)
    mix = _mix(workload)
    head, right = ["tenant", *_HEAD], list(_RIGHT)
    rows = [[tenant.name, *_asks(_means(tenant)).cells()] for tenant in tenants]
    if mix is not None and mix.shares is not None:
        head, right = [*head, f"share of {mix.hold}"], [*right, True]
        for row in rows:
            row.append(f"{100 * mix.shares.get(row[0], 0.0):.3g} %")
    print_columns(head, rows, right)
    for tenant in tenants if len(tenants) == 1 else ():
        print()
        found = [row for path, length in distributions(tenant, "") for row in _row(path, length)]
        columns = ["distribution", "mean", "p10", "p50", "p90", "p99"]
        print_columns(columns, found, [False, True, True, True, True, True])
    for source in workload.sources:
        print()
        print(f"{source.kind} ({source.date}): {', '.join(source.of)}")
        print(textwrap.fill(source.source, width, initial_indent="  ", subsequent_indent="  "))
    print()
    first = "use" if len(tenants) > 1 else "like"
    said = f"workload.use: {workload.name}" if first == "use" else f"like: {workload.name}"
    where = "" if first == "use" else ", of a tenant"
    print(f"In a scenario: {said}{where}")


def _row(path: str, length: Length | JointLengths) -> Iterator[list[str]]:
    """Moments and quantiles of a distribution that is stated."""
    from factory.workload import lengths

    name = path.removeprefix(".")
    if isinstance(length, JointLengths) or "components[" in name:
        return
    in_seconds = name.endswith(("_s", "_ratio"))
    made = (lengths.seconds if in_seconds else lengths.counts)(length)
    if made.is_constant():
        return
    values = [made.mean(), *(made.quantile(p) for p in (0.1, 0.5, 0.9, 0.99))]
    yield [name, *(_number(value) for value in values)]


def _tenants(workload: WorkloadFile) -> list[Tenant]:
    return [Tenant.model_validate({**each, "load": None}) for each in workload.data["tenants"]]


def _mix(workload: WorkloadFile) -> Mix | None:
    data: Mapping[str, Any] | None = workload.data.get("mix")
    return None if data is None else Mix.model_validate({"rate": 1, **data})


def _means(tenant: Tenant) -> SessionMeans:
    from factory.workload.demands import means_of

    return means_of(tenant, BLOCK_SIZE)


def _asks(means: SessionMeans, weight: float = 1.0) -> _Asks:
    return _Asks(
        weight * means.requests,
        weight * means.tasks,
        weight * means.input_tokens,
        weight * means.output_tokens,
        weight * means.new_input_tokens,
    )


def _of_mix(workload: WorkloadFile) -> _Asks:
    """The mean session of a workload: its only tenant's, or that of its mix."""
    from factory.workload.mixing import rates

    tenants, mix = _tenants(workload), _mix(workload)
    means = {tenant.name: _means(tenant) for tenant in tenants}
    if mix is None:
        return _asks(means[tenants[0].name])
    started = rates(mix, means)
    total = sum(started.values())
    parts = [_asks(means[name], rate / total) for name, rate in started.items()]
    return _Asks(
        sum(part.requests for part in parts),
        sum(part.tasks for part in parts),
        sum(part.input_tokens for part in parts),
        sum(part.output_tokens for part in parts),
        sum(part.new_tokens for part in parts),
    )


def _kinds(workload: WorkloadFile) -> str:
    return ", ".join(dict.fromkeys(source.kind for source in workload.sources))


def _number(value: float) -> str:
    if value >= 999_500:
        return f"{value / 1e6:.3g}M"
    if value >= 10_000:
        return f"{value / 1e3:.3g}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
