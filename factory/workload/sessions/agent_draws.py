"""What chance decides about sessions of agents, drawn for many sessions at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factory.workload.arrivals import CHUNK
from factory.workload.lengths.distributions import Distribution
from factory.workload.lengths.joints import copula
from factory.workload.sessions.documents import Corpus

if TYPE_CHECKING:
    from factory.workload.sessions.agents import AgentDemand, Edits, Subagents, Tools
    from factory.workload.sessions.tenants import TenantDemand

# Fewest sessions drawn at a time, however many requests they have.
_FEWEST_SESSIONS = 16


@dataclass(slots=True)
class AgentDraws:
    """Sessions drawn together; offsets have one item more than what they divide.

    Attributes:
        prefixes: Which shared prefix a session has.
        turns: Offsets: session i has the turns `turns[i]` up to `turns[i + 1]`.
        thinks_s: Of a turn, before it.
        jobs: Offsets of a turn's independent requests; of one each without fan-out.
        inputs: New prompt tokens of a job.
        outputs: Its answer, tokens.
        calls: Offsets of a turn's tool calls.
        calling: Answer that ends in a call, tokens.
        latencies_s: From it to the request with the result.
        results: New tokens of the result.
        documents: Of each session or each turn, numbers from 0.
        at_tokens: Of each session: its longest prompt.
        summaries: As many as a session has requests, at the place of those.
        edits: Number of a request (calls and turns before it) → shares kept and dropped.
        teams: Turn that starts sub-agents → tokens of the answer that does.
        members: Offsets of a turn's sub-agents.
        member_inputs: Their first new tokens.
        member_answers: Their last answer, tokens.
        member_calls: Offsets of a sub-agent's calls.
        member_calling: As `calling`.
        member_latencies_s: As `latencies_s`.
        member_results: As `results`.
    """

    prefixes: list[int]
    turns: list[int]
    thinks_s: list[float]
    jobs: list[int]
    inputs: list[int]
    outputs: list[int]
    calls: list[int]
    calling: list[int] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    documents: list[list[int]] = field(default_factory=list)
    at_tokens: list[int] = field(default_factory=list)
    summaries: list[int] = field(default_factory=list)
    edits: dict[int, tuple[float, float]] = field(default_factory=dict)
    teams: dict[int, int] = field(default_factory=dict)
    members: list[int] = field(default_factory=list)
    member_inputs: list[int] = field(default_factory=list)
    member_answers: list[int] = field(default_factory=list)
    member_calls: list[int] = field(default_factory=list)
    member_calling: list[int] = field(default_factory=list)
    member_latencies_s: list[float] = field(default_factory=list)
    member_results: list[int] = field(default_factory=list)


def sessions_per_chunk(demand: AgentDemand) -> int:
    """Sessions drawn at a time: about as many as make a chunk of requests."""
    calls = 0.0 if demand.tools is None else demand.tools.calls.mean()
    jobs = 1.0 if demand.fan_out is None else demand.fan_out.mean()
    requests = demand.base.turns.mean() * max(jobs, calls + 1)
    if demand.requests is not None:
        requests = demand.requests.mean()
    return max(_FEWEST_SESSIONS, int(CHUNK / min(max(requests, 1.0), CHUNK)))


def draw(demand: AgentDemand, chunk: int, sessions: int, corpus: Corpus | None) -> AgentDraws:
    """Draws the sessions of one chunk; every aspect has a stream of its own."""
    base, tools = demand.base, demand.tools
    sizes, firsts = _sizes(demand, chunk, sessions)
    turns, cut = sizes, np.zeros(0, np.int64)
    if tools is None:
        calls = np.zeros(int(turns.sum()), np.int64)
    elif demand.requests is None:
        calls = _tokens(base, tools.calls, "calls", chunk, int(turns.sum()))
    else:
        turns, calls, cut = _until(base, tools, chunk, sizes)
    n = len(calls)
    jobs = np.ones(n, np.int64)
    if demand.fan_out is not None:
        jobs = _tokens(base, demand.fan_out, "fan_out", chunk, n)
    inputs, outputs = base.lengths(chunk, int(jobs.sum()))
    if tools is not None and len(cut):
        outputs[cut] = _tokens(base, tools.output_tokens, "cut_output_tokens", chunk, len(cut))
    first_turn, first_job = _offsets(turns), _offsets(jobs)
    if firsts is not None:
        inputs[first_job[first_turn[:-1]]] = firsts
    thinks = base.think_time_s.sample(base.stream("think_time_s", chunk), n)
    first_call = _offsets(calls)
    made = AgentDraws(
        base.prefix_picks(chunk, sessions),
        first_turn.tolist(),
        thinks.tolist(),
        first_job.tolist(),
        inputs.tolist(),
        outputs.tolist(),
        first_call.tolist(),
    )
    if tools is not None:
        loop = _loop(base, tools, "tools", chunk, int(first_call[-1]))
        made.calling, made.latencies_s, made.results = loop
    if corpus is not None and base.documents is not None:
        prompts = sessions if base.documents.per == "session" else n
        made.documents = corpus.draw(base.stream("documents", chunk), prompts)
    requests = n + int(first_call[-1])
    if demand.compaction is not None:
        at, summaries = demand.compaction.at_tokens, demand.compaction.summary_tokens
        made.at_tokens = _tokens(base, at, "compaction/at_tokens", chunk, sessions).tolist()
        drawn = _tokens(base, summaries, "compaction/summary_tokens", chunk, requests)
        made.summaries = drawn.tolist()
    if demand.edits is not None:
        opening = first_call[:-1] + np.arange(n)
        made.edits = _edits(base, demand.edits, chunk, requests, opening)
    if demand.subagents is not None:
        _team(made, base, demand.subagents, chunk, n)
    return made


def _sizes(
    demand: AgentDemand, chunk: int, sessions: int
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Turns or, where those count, requests of each session, and its first new tokens."""
    base, first = demand.base, demand.first_input_tokens
    size, what = base.turns, "turns"
    if demand.requests is not None:
        size, what = demand.requests, "requests"
    if first is None:
        return _tokens(base, size, what, chunk, sessions), None
    if demand.first_input_correlation:
        pairs = copula(size, first, demand.first_input_correlation)
        drawn = pairs.sample(base.stream("first_input_tokens", chunk), sessions)
        return drawn[0].astype(np.int64), drawn[1].astype(np.int64)
    sizes = _tokens(base, size, what, chunk, sessions)
    return sizes, _tokens(base, first, "first_input_tokens", chunk, sessions)


def _until(
    base: TenantDemand, tools: Tools, chunk: int, requests: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Turns one after the other until a session has its requests; the last is cut short.

    Returns:
        Turns of each session, calls of each turn, and the turns that were cut.
    """
    rng = base.stream("calls", chunk)
    batch = max(len(requests), int(requests.sum() / (tools.calls.mean() + 1)))
    sizes = np.zeros(0, np.int64)
    ends = np.zeros(0, np.int64)  # requests of all turns up to each
    turns: list[int] = []
    last: list[int] = []
    over: list[int] = []
    begin = before = 0
    for wanted in requests.tolist():
        while not len(ends) or ends[-1] < before + wanted:
            sizes = np.concatenate((sizes, tools.calls.sample(rng, batch).astype(np.int64) + 1))
            ends = np.cumsum(sizes)
        end = int(np.searchsorted(ends, before + wanted))
        turns.append(end + 1 - begin)
        last.append(end)
        over.append(int(ends[end]) - before - wanted)
        begin, before = end + 1, int(ends[end])
    calls = sizes[:begin] - 1
    excess, ending = np.array(over), np.array(last)
    calls[ending] -= excess
    return np.array(turns), calls, ending[excess > 0]


def _edits(
    base: TenantDemand,
    edits: Edits,
    chunk: int,
    requests: int,
    firsts: NDArray[np.int64],
) -> dict[int, tuple[float, float]]:
    chance = np.full(requests, edits.probability)
    chance[firsts] = edits.turn_probability
    hit = np.flatnonzero(base.stream("edits", chunk).random(requests) < chance)
    kept = edits.kept_ratio.sample(base.stream("edits/kept_ratio", chunk), len(hit))
    dropped = edits.dropped_ratio.sample(base.stream("edits/dropped_ratio", chunk), len(hit))
    shares = zip(kept.tolist(), dropped.tolist(), strict=True)
    return dict(zip(hit.tolist(), shares, strict=True))


def _team(made: AgentDraws, base: TenantDemand, team: Subagents, chunk: int, turns: int) -> None:
    starts = base.stream("subagents", chunk).random(turns) < team.probability
    members = _tokens(base, team.count, "subagents/count", chunk, turns) * starts
    n = int(members.sum())
    what = "subagents/start_tokens"
    answers = _tokens(base, team.start_tokens, what, chunk, turns)
    at = np.flatnonzero(starts)
    made.teams = dict(zip(at.tolist(), answers[at].tolist(), strict=True))
    made.members = _offsets(members).tolist()
    what = "subagents/input_tokens"
    made.member_inputs = _tokens(base, team.input_tokens, what, chunk, n).tolist()
    what = "subagents/answer_tokens"
    made.member_answers = _tokens(base, team.answer_tokens, what, chunk, n).tolist()
    calls = _offsets(_tokens(base, team.tools.calls, "subagents/calls", chunk, n))
    made.member_calls = calls.tolist()
    loop = _loop(base, team.tools, "subagents", chunk, int(calls[-1]))
    made.member_calling, made.member_latencies_s, made.member_results = loop


def _loop(
    base: TenantDemand, tools: Tools, what: str, chunk: int, n: int
) -> tuple[list[int], list[float], list[int]]:
    calling = _tokens(base, tools.output_tokens, f"{what}/output_tokens", chunk, n)
    latencies = tools.latency_s.sample(base.stream(f"{what}/latency_s", chunk), n)
    results = _tokens(base, tools.result_tokens, f"{what}/result_tokens", chunk, n)
    return calling.tolist(), latencies.tolist(), results.tolist()


def _tokens(
    base: TenantDemand, length: Distribution, what: str, chunk: int, n: int
) -> NDArray[np.int64]:
    return length.sample(base.stream(what, chunk), n).astype(np.int64)


def _offsets(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
