"""What a workload asks when nothing is in its way, beside what its source reports."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.scenario import Scenario, load
from factory.workload.build import build
from factory.workload.generate import answers_after, generate

Floats = NDArray[np.float64]

LONGEST_CONTEXT = 1 << 20
"""Tokens of a prompt and its answer that the measured model takes."""

POINTS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the main agents of sessions did.

    Attributes:
        requests: Of each session.
        output: Tokens of each answer.
        growth: Tokens by which a prompt is longer than the one before; only where it is.
        tool_gap: Seconds from an answer to the request with a tool's result.
        turn_gap: Seconds from a turn's last answer to the next turn.
        cached_ratio: Σ cached / Σ prompt tokens, with an endless cache for each session alone.
    """

    requests: Floats
    output: Floats
    growth: Floats
    tool_gap: Floats
    turn_gap: Floats
    cached_ratio: float


def cached_ratio(prompts: Iterable[tuple[Any, int, Sequence[int]]], block_size: int) -> float:
    """The share of prompt tokens that a session has sent before, whole blocks, nothing evicted.

    Args:
        prompts: Session, prompt tokens and runs of block ids of each request; a session's own
            requests in their order.
        block_size: Tokens per block.
    """
    seen: dict[Any, tuple[list[int], list[int]]] = {}
    hits = tokens = 0
    for session, length, runs in prompts:
        starts, ends = seen.setdefault(session, ([], []))
        tokens += int(length)
        is_known = True
        for first, count in zip(runs[::2], runs[1::2], strict=True):
            at, end = int(first), int(first + count)
            while at < end:
                i = bisect_right(starts, at) - 1
                if i < 0 or ends[i] <= at:
                    break
                at = min(end, ends[i])
            if is_known:
                hits += at - int(first)
                is_known = at == end
            if at < end:
                i = bisect_right(starts, at)
                if i and ends[i - 1] == at:
                    ends[i - 1] = end
                else:
                    starts.insert(i, at)
                    ends.insert(i, end)
    return hits * block_size / tokens


def scenario_of(tenant: Mapping[str, Any], sessions: int, seed: int = 1) -> Scenario:
    """A scenario in which one tenant starts about so many sessions.

    Args:
        tenant: As in a scenario, without a load, e.g. `{"like": "chat"}`.
        sessions: One starts each second in the mean.
        seed: Root of its streams.
    """
    made = load(
        {
            "name": "demand",
            "facility": {"racks": [{"name": "racks", "system": "gb300-nvl72"}]},
            "deployments": [
                {
                    "name": "all",
                    "model": "deepseek-r1",
                    "block_size": 64,
                    "pools": [
                        {
                            "name": "serve",
                            "role": "aggregated",
                            "racks": "racks",
                            "parallel": {"tp": 8},
                            "replicas": 9,
                        }
                    ],
                }
            ],
            "workload": {"tenants": [{**tenant, "load": {"rate": 1, "arrival": "deterministic"}}]},
            "run": {"duration_s": sessions, "seed": seed},
        }
    )
    # The workloads' sources know contexts of a million tokens, and no model of the catalogue does.
    (deployment,) = made.deployments
    (pool,) = deployment.pools
    engine = pool.engine.model_copy(update={"max_model_len": LONGEST_CONTEXT})
    pools = (pool.model_copy(update={"engine": engine}),)
    deployments = (deployment.model_copy(update={"pools": pools}),)
    return made.model_copy(update={"deployments": deployments})


def asked(tenant: Mapping[str, Any], sessions: int, seed: int = 1) -> list[tuple[Any, float]]:
    """The requests of a tenant's sessions, each answered at once, with the time of the answer."""
    from factory.scenario import catalog_of

    scenario = scenario_of(tenant, sessions, seed)
    workload = build(scenario, catalog_of(scenario), [64])
    return list(generate(workload, answers_after(0.0)))


def measure(requests: Sequence[tuple[Any, float]]) -> Measured:
    """What the main agents of the sessions did.

    Args:
        requests: As `asked` returns them.
    """
    main = [(request, end_s) for request, end_s in requests if request.agent == 0]
    sizes: dict[int, int] = {}
    above: dict[int, tuple[Any, float]] = {}
    growth, gaps = [], ([], [])  # type: ignore[var-annotated]
    for request, end_s in main:
        sizes[request.session] = sizes.get(request.session, 0) + 1
        before = above.get(request.session)
        if before is not None:
            growth.append(request.input_tokens - before[0].input_tokens)
            gaps[request.task != before[0].task].append(request.arrival_s - before[1])
        above[request.session] = (request, end_s)
    grown = np.array(growth, dtype=np.float64)
    return Measured(
        requests=np.array(list(sizes.values()), dtype=np.float64),
        output=np.array([request.output_tokens for request, _ in main], dtype=np.float64),
        growth=grown[grown > 0],
        tool_gap=np.array(gaps[0]),
        turn_gap=np.array(gaps[1]),
        cached_ratio=cached_ratio(
            ((request.session, request.input_tokens, request.blocks) for request, _ in main), 64
        ),
    )


def shown(theirs: Measured, ours: Measured) -> str:
    """Both side by side, as a Markdown table."""
    lines = [
        "| quantile | " + " | ".join(f"p{p * 100:g}" for p in POINTS) + " | mean |",
        "|---" * (len(POINTS) + 2) + "|",
    ]
    for field in fields(Measured):
        if field.name == "cached_ratio":
            continue
        for name, one in (("trace", theirs), ("workload", ours)):
            values = getattr(one, field.name)
            cells = [f"{x:.3g}" if x < 1000 else f"{x:.0f}" for x in np.quantile(values, POINTS)]
            label = f"{field.name.replace('_', ' ')}, {name}"
            lines.append(f"| {label} | {' | '.join(cells)} | {values.mean():.4g} |")
    ratios = f"trace {theirs.cached_ratio:.4f}, workload {ours.cached_ratio:.4f}"
    lines.append(f"\nCached in the session: {ratios}")
    return "\n".join(lines)
