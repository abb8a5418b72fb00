"""Scenarios for tests of the workload: only their demand and run matter."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Any

from factory.records.codes import COMPLETED
from factory.scenario import Scenario, catalog
from factory.workload import Request, Workload, build

POOL = {"name": "p", "role": "aggregated", "racks": "r", "replicas": 1}


def scenario(
    *tenants: dict[str, Any], trace: dict[str, Any] | None = None, deployments: int = 1, **run: Any
) -> Scenario:
    """A scenario with this demand; `run` are the fields of its run."""
    return Scenario.model_validate(
        {
            "name": "test",
            "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
            "deployments": [
                {"name": f"d{i}", "model": "llama-3.1-8b", "pools": [POOL]}
                for i in range(deployments)
            ],
            "workload": {"tenants": list(tenants), "trace": trace},
            "run": run,
        }
    )


def tenant(name: str = "chat", **fields: Any) -> dict[str, Any]:
    """A tenant with short requests; any field may be given."""
    return {"name": name, "input_tokens": 100, "output_tokens": 10, **fields}


def workload(made: Scenario, block_sizes: Sequence[int] = (64,)) -> Workload:
    """The workload of a scenario."""
    return build(made, catalog(), block_sizes)


def play(
    demand: Workload, service_s: float = 1.0, until_s: float = math.inf, outcome: int = COMPLETED
) -> list[Request]:
    """Runs a workload on a factory that answers every request after the same time."""
    arrivals = demand.start()
    following = next(arrivals, None)
    events: list[tuple[float, int, Request, bool]] = []
    seen: list[Request] = []
    while following is not None or events:
        if following is not None and (not events or following.arrival_s <= events[0][0]):
            now, request, is_done = following.arrival_s, following, False
            following = next(arrivals, None)
        else:
            now, _, request, is_done = heapq.heappop(events)
        if now > until_s:
            break
        if is_done:
            for later in demand.on_done(request, now, outcome):
                assert later.arrival_s >= now
                heapq.heappush(events, (later.arrival_s, later.index, later, False))
        else:
            seen.append(request)
            heapq.heappush(events, (now + service_s, request.index, request, True))
    return seen


def facts(requests: Sequence[Request]) -> list[tuple[Any, ...]]:
    """What a source decides about requests, in order of session and turn."""
    return sorted(
        (r.session, r.turn, r.tenant, r.input_tokens, r.output_tokens, r.blocks) for r in requests
    )
