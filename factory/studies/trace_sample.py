"""What a fitted workload asks when every answer comes at once, beside what the trace asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from factory.scenario import Scenario, load
from factory.scenario.models import catalog_of
from factory.studies.trace_reuse import ReuseDistances
from factory.studies.trace_stats import Arrivals, TokenCounts
from factory.workload import build
from factory.workload.generate import answers_after, generate

#: Requests that are drawn at most.
MOST_REQUESTS = 100_000
#: Seconds that an answer takes: next to nothing, but time has to pass in a closed loop.
_ANSWER_S = 1e-3
_DEFAULT_BLOCK = 64
_SHOWN = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def sampled(
    tenant: Mapping[str, Any],
    block_size: int | None,
    rows: int,
    duration_s: float | None,
    longest: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns statistics of requests drawn from a workload, without a factory.

    Args:
        tenant: As a workload file states it, with a load.
        block_size: Tokens per block of the caches; None for 64.
        rows: Requests to draw at most (and at most `MOST_REQUESTS`).
        duration_s: When arrivals end; None without an end of their own.
        longest: Longest context of the trace, tokens; those of the sample end there.
        seed: Root of the random streams.
    """
    size = block_size or _DEFAULT_BLOCK
    limit = min(rows, MOST_REQUESTS)
    run: dict[str, Any] = {"requests": limit, "seed": seed, "warmup_s": 0}
    if duration_s:
        run = {"duration_s": duration_s, "seed": seed, "warmup_s": 0, "window_s": duration_s}
    scenario = load({**_FACTORY, "workload": {"tenants": [dict(tenant)]}, "run": run})
    workload = build(_with_context(scenario, longest), catalog_of(scenario), [size])
    inputs, outputs, arrivals = TokenCounts(), TokenCounts(), Arrivals()
    reuse = ReuseDistances(size)
    held: tuple[list[int], list[int], list[float]] = ([], [], [])
    first: list[float] = []
    until_s = duration_s or math.inf
    for request, _ in generate(workload, answers_after(_ANSWER_S), until_s, limit):
        held[0].append(request.input_tokens)
        held[1].append(request.output_tokens)
        if request.turn == 0:
            first.append(request.arrival_s)
        held[2].append(request.arrival_s)
        reuse.add(request.blocks, request.input_tokens)
    inputs.add(held[0])
    outputs.add(held[1])
    arrivals.add(held[2])
    curve = reuse.curve()
    return {
        "requests": inputs.n,
        "rate_per_s": inputs.n / duration_s if duration_s and inputs.n < limit else None,
        "gap_cv": arrivals.gap_cv if duration_s else None,
        "input_tokens": _told(inputs),
        "output_tokens": _told(outputs),
        "input_per_output": inputs.total / outputs.total if outputs.total else None,
        "ideal_hit_token_ratio": curve.ideal_token_ratio if block_size else None,
        "ideal_hit_block_ratio": curve.ideal_block_ratio if block_size else None,
        "sessions": len(first),
    }


def _with_context(scenario: Scenario, tokens: int) -> Scenario:
    """The scenario with replicas that take contexts of so many tokens."""
    deployments = []
    for deployment in scenario.deployments:
        pools = [
            pool.model_copy(
                update={"engine": pool.engine.model_copy(update={"max_model_len": tokens})}
            )
            for pool in deployment.pools
        ]
        deployments.append(deployment.model_copy(update={"pools": tuple(pools)}))
    return scenario.model_copy(update={"deployments": tuple(deployments)})


def _told(counts: TokenCounts) -> dict[str, float]:
    found = counts.quantiles(list(_SHOWN.values()))
    return {"mean": counts.mean, **dict(zip(_SHOWN, found, strict=True))}


#: A factory for the workload to be checked against; it serves nothing here.
_FACTORY: Mapping[str, Any] = {
    "schema_version": 1,
    "name": "sample",
    "facility": {
        "name": "nowhere",
        "racks": [{"name": "nvl72", "system": "gb200-nvl72", "count": 1}],
    },
    "deployments": [
        {
            "name": "any",
            "model": "deepseek-r1",
            "pools": [
                {
                    "name": "all",
                    "role": "aggregated",
                    "racks": "nvl72",
                    "replicas": 1,
                    "parallel": {"tp": 8, "ep": 8},
                }
            ],
        }
    ],
}
