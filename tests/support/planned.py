"""Planned sessions for tests: demands made of scenario fields, and the requests they lead to."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Any

from demand import tenant

from factory.records.codes import COMPLETED
from factory.scenario import Tenant
from factory.workload.lengths import seconds, tokens
from factory.workload.request import Request
from factory.workload.sessions.agent_plans import plans
from factory.workload.sessions.agents import AgentDemand, demand
from factory.workload.sessions.documents import documents_of
from factory.workload.sessions.plan import PlanScript, SessionPlan
from factory.workload.sessions.tenants import TenantDemand


def base(block_size: int = 10, seed: int = 1, **fields: Any) -> TenantDemand:
    """What the fields of a tenant say, without what makes it an agent."""
    section = Tenant.model_validate(tenant(**fields))
    assert section.input_tokens is not None
    assert section.output_tokens is not None
    return TenantDemand(
        name=section.name,
        tenant=0,
        deployment=0,
        source=0,
        sources=1,
        block_size=block_size,
        input_tokens=tokens(section.input_tokens),
        output_tokens=tokens(section.output_tokens),
        turns=tokens(section.session.turns),
        think_time_s=seconds(section.session.think_time_s),
        growth=section.session.growth,
        prefix_tokens=section.shared_prefix.tokens,
        prefix_count=section.shared_prefix.count,
        seed=seed,
        replication=0,
        documents=documents_of(section.documents),
    )


def agent(block_size: int = 10, seed: int = 1, max_context: int = 0, **fields: Any) -> AgentDemand:
    """The demand that the fields of a tenant say."""
    section = Tenant.model_validate(tenant(**fields))
    return demand(section, base(block_size, seed, **fields), max_context)


def planned(made: AgentDemand, sessions: int = 1) -> list[SessionPlan]:
    """The first sessions of a demand."""
    return list(islice(plans(made), sessions))


def walked(made: AgentDemand, sessions: int, service_s: float) -> list[list[Request]]:
    """The requests of each session in order of arrival, each answered after the same time."""
    script = PlanScript(plans(made), 0, 0, 0, 1)
    played = []
    for number in range(sessions):
        events = [(r.arrival_s, r.turn, r) for r in script.begin(100.0 * number)]
        seen: list[Request] = []
        while events:
            now, _, request = heapq.heappop(events)
            if request.index >= 0:
                later = script.follow(request, now, COMPLETED)
                for r in later or ():
                    heapq.heappush(events, (r.arrival_s, r.turn, r))
                assert (later is None) == (not events)
            else:
                request.index = len(seen)
                seen.append(request)
                heapq.heappush(events, (now + service_s, request.turn, request))
        played.append(seen)
    return played
