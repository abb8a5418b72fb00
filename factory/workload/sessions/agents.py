"""Sessions of agents and jobs: turns, tool loops, sub-agents, compaction, edits and fan-out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from factory.workload.lengths import counts, seconds, tokens
from factory.workload.lengths.distributions import Distribution, clipped
from factory.workload.sessions.tenants import TenantDemand

if TYPE_CHECKING:
    from factory.scenario import Tenant


@dataclass(frozen=True, slots=True)
class Tools:
    """The loop of an agent: calls of a turn, each with its latency (s) and its result (tokens).

    Attributes:
        calls: Calls of a turn, may be 0.
        latency_s: From an answer to the request with the result, seconds.
        result_tokens: New prompt tokens of the result.
        output_tokens: Answers that end in a call.
    """

    calls: Distribution
    latency_s: Distribution
    result_tokens: Distribution
    output_tokens: Distribution


@dataclass(frozen=True, slots=True)
class Subagents:
    """Agents that a turn's first answer starts.

    Attributes:
        probability: Share of turns that start any.
        start_tokens: The answer that starts them.
        count: How many.
        input_tokens: New tokens of their first prompt.
        prefix_tokens: Shared by all of the tenant's sub-agents; 0: that of their session.
        tools: Their own loop.
        answer_tokens: Their last answer.
    """

    probability: float
    start_tokens: Distribution
    count: Distribution
    input_tokens: Distribution
    prefix_tokens: int
    tools: Tools
    answer_tokens: Distribution


@dataclass(frozen=True, slots=True)
class Compaction:
    """The longest prompt of a session, and the summary that takes the context's place (tokens)."""

    at_tokens: Distribution
    summary_tokens: Distribution


@dataclass(frozen=True, slots=True)
class Edits:
    """How often history is rewritten, and what share of it stays.

    Attributes:
        probability: Of a request with a tool's result.
        turn_probability: Of the first request of a later turn.
        kept_ratio: Share of the context that stays, from its start.
        dropped_ratio: Share of the rest that is left out.
    """

    probability: float
    turn_probability: float
    kept_ratio: Distribution
    dropped_ratio: Distribution


@dataclass(frozen=True, slots=True)
class AgentDemand:
    """All that the sessions of one tenant are drawn from, where they are more than turns.

    Attributes:
        base: What every tenant has; its `growth` says whether history is part of prompts.
        first_input_tokens: New tokens of the first prompt; None: as of any turn.
        requests: In place of `base.turns`: requests after which a session ends.
        tools: Tool calls within a turn.
        subagents: Agents that work in parallel.
        compaction: What a full context does.
        edits: Clients that rewrite history.
        fan_out: Independent requests of a turn.
        max_context: Longest prompt and answer, tokens; 0: no limit.
        first_input_correlation: Rank correlation of `first_input_tokens` with the turns (or
            requests) of a session.
    """

    base: TenantDemand
    first_input_tokens: Distribution | None = None
    requests: Distribution | None = None
    tools: Tools | None = None
    subagents: Subagents | None = None
    compaction: Compaction | None = None
    edits: Edits | None = None
    fan_out: Distribution | None = None
    max_context: int = 0
    first_input_correlation: float = 0.0


#: Where clients of a model with a shorter context compact at the latest, and how long their first
#: prompts are at most, as shares of it (assumed; half of the recorded coding sessions of a model of
#: 200k tokens were compacted at 141k to 173k).
COMPACTED = 0.85
BEGUN = 0.6


def is_needed(tenant: Tenant) -> bool:
    """Whether a tenant's sessions are more than independent or growing turns with a think time."""
    session = tenant.session
    parts = (
        session.requests,
        session.first_input_tokens,
        session.tools,
        session.subagents,
        session.compaction,
        session.edits,
        session.fan_out,
    )
    if any(part is not None for part in parts):
        return True
    turns = tokens(session.turns)
    return tenant.documents is not None and not (turns.is_constant() and turns.quantile(0.5) == 1)


def demand(tenant: Tenant, base: TenantDemand, max_context: int) -> AgentDemand:
    """Returns the demand that a tenant's section states.

    Args:
        tenant: The section; its checks have passed.
        base: The part that every tenant has.
        max_context: Longest prompt and answer that its deployment takes, tokens; 0: no limit.
    """
    session = tenant.session
    answers = base.output_tokens
    tools = subagents = compaction = edits = None
    if (section := session.tools) is not None:
        calling = answers if section.output_tokens is None else tokens(section.output_tokens)
        tools = Tools(
            counts(section.calls),
            seconds(section.latency_s),
            tokens(section.result_tokens),
            calling,
        )
        answers = calling
    if (team := session.subagents) is not None:
        results = team.input_tokens if team.result_tokens is None else team.result_tokens
        calling = answers if team.output_tokens is None else tokens(team.output_tokens)
        subagents = Subagents(
            team.probability,
            answers,
            tokens(team.count),
            tokens(team.input_tokens),
            team.shared_prefix_tokens,
            Tools(counts(team.calls), seconds(team.latency_s), tokens(results), calling),
            tokens(team.answer_tokens),
        )
    first = None if session.first_input_tokens is None else tokens(session.first_input_tokens)
    if session.compaction is not None:
        at_tokens = tokens(session.compaction.at_tokens)
        if max_context:
            at_tokens = clipped(at_tokens, COMPACTED * max_context)
            if first is not None:
                first = clipped(first, BEGUN * max_context)
        compaction = Compaction(at_tokens, tokens(session.compaction.summary_tokens))
    if (change := session.edits) is not None:
        turn = change.turn_probability
        edits = Edits(
            change.probability,
            change.probability if turn is None else turn,
            clipped(seconds(change.kept_ratio), 1.0),
            clipped(seconds(change.dropped_ratio), 1.0),
        )
    grows = any(part is not None for part in (tools, subagents, compaction, edits))
    requests, jobs = session.requests, session.fan_out
    return AgentDemand(
        replace(base, growth=base.growth or grows),
        first,
        None if requests is None else tokens(requests),
        tools,
        subagents,
        compaction,
        edits,
        None if jobs is None else tokens(jobs),
        max_context,
        session.first_input_correlation,
    )
