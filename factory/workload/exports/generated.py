"""The demand of a scenario as rows: generated, not served."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from factory.scenario import Catalog, Scenario
from factory.workload.build import build
from factory.workload.exports.chunks import SmallIds
from factory.workload.exports.rows import Demand, Row
from factory.workload.generate import unfold
from factory.workload.protocol import Workload
from factory.workload.request import Request

#: Decimals of a second that are kept of generated times.
_DECIMALS = 6


def generated(
    scenario: Scenario,
    catalog: Catalog,
    block_size: int,
    answer_s: Callable[[Request], float],
) -> Demand:
    """Returns what a scenario's workload asks, each request answered after a stated time.

    Block ids are small numbers from 0 in order of first use, times rounded to the microsecond.

    Args:
        scenario: As loaded; its demand ends with its duration or its number of requests.
        catalog: What its names refer to.
        block_size: Tokens per block, for all deployments.
        answer_s: Seconds from a request's arrival to the end of its answer.

    Raises:
        ScenarioError: The workload would never end, or its trace cannot be in such blocks.
    """
    workload = build(scenario, catalog, [block_size] * len(scenario.deployments))
    demand = Demand(iter(()), bool(workload.session_tenants))
    small = SmallIds()
    # A trace that is replayed at recorded times says nothing when a session is over.
    is_told = scenario.workload.trace is None
    if is_told:
        demand.on_over.append(small.forget)
    until_s = scenario.run.duration_s or math.inf
    demand.rows = _rows(workload, demand, answer_s, until_s, small, is_told=is_told)
    return demand


def _rows(
    workload: Workload,
    demand: Demand,
    answer_s: Callable[[Request], float],
    until_s: float,
    small: SmallIds,
    *,
    is_told: bool,
) -> Iterator[Row]:
    def over(session: int) -> None:
        name = str(session)
        for tell in demand.on_over:
            tell(name)

    many = workload.session_tenants
    for asked in unfold(workload, answer_s, until_s, None, over if is_told else None):
        request = asked.request
        session = str(request.session) if request.tenant in many else None
        kept = session if is_told else str(request.session)
        yield Row(
            round(request.arrival_s, _DECIMALS),
            request.input_tokens,
            request.output_tokens,
            small.renamed(request.blocks, kept),
            session,
            request.turn,
            request.agent,
            asked.after,
            math.nan if asked.after < 0 else round(asked.delay_s, _DECIMALS),
            round(asked.answered_s, _DECIMALS),
        )
