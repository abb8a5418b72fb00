"""What a session does beyond one request, and what its prompts share with others.

One model, of which chat, coding agents, deep research, retrieval (RAG), reasoning, batch jobs and
code completion are compositions; docs/sessions.md draws it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Count, Flag, NonNegative, NonNegativeCount, Part, Share
from factory.scenario.lengths import Length, constant


class SharedPrefix(Part):
    """Tokens that prompts of different sessions have in common, e.g. a system prompt."""

    tokens: NonNegativeCount = Field(
        default=0, description="Length of the prefix, put before a session's first input."
    )
    count: Count = Field(default=1, description="Distinct prefixes; a session draws one of them.")


class Documents(Part):
    """Documents that prompts of different sessions have in common, right after the shared prefix.

    Document k of 1, 2, …, count is drawn with a probability proportional to k^-zipf_exponent
    (Zipf 1949), none twice for one prompt.
    """

    tokens: Length = Field(description="Length of a document; a document always has the same.")
    count: Count = Field(description="Distinct documents.")
    zipf_exponent: NonNegative = Field(
        default=1.0, description="How uneven their popularity is; 0: all alike."
    )
    number: Length = Field(default=constant(1), description="Documents put into a prompt.")
    per: Literal["session", "turn"] = Field(
        default="session",
        description="session: drawn once, before all that the session says. turn: drawn anew for "
        "each turn, before its input; behind a history they are private to the session.",
    )
    order: Literal["popularity", "drawn"] = Field(
        default="popularity",
        description="popularity: the most popular first, so that equal sets are equal prefixes. "
        "drawn: as they were drawn.",
    )


class Tools(Part):
    """The loop of an agent: an answer calls a tool, whose result is the next prompt's new part."""

    calls: Length = Field(description="Tool calls of a turn, may be 0; n calls are n + 1 requests.")
    latency_s: Length = Field(
        default=constant(0), description="From an answer to the request with the tool's result, s."
    )
    result_tokens: Length = Field(description="New prompt tokens that a tool's result brings.")
    output_tokens: Length | None = Field(
        default=None,
        description="Answers that end in a call; by default as the tenant's output_tokens.",
    )


class Subagents(Part):
    """Agents that a turn's first answer starts, all at once; its next request waits for all."""

    probability: Share = Field(default=1.0, description="Share of turns that start any.")
    count: Length = Field(default=constant(1), description="Sub-agents of a turn that starts any.")
    input_tokens: Length = Field(description="Their task: new tokens of their first prompt.")
    shared_prefix_tokens: NonNegativeCount = Field(
        default=0,
        description="Their tools and system prompt, shared by all of the tenant's; 0: they begin "
        "with the shared prefix of their session.",
    )
    calls: Length = Field(default=constant(0), description="Tool calls of each, may be 0.")
    latency_s: Length = Field(default=constant(0), description="Of their tools, s.")
    result_tokens: Length | None = Field(
        default=None, description="New prompt tokens of a tool's result; needed with calls."
    )
    output_tokens: Length | None = Field(
        default=None, description="Answers that end in a call; by default as session.tools says."
    )
    answer_tokens: Length = Field(
        description="Their last answer, which enters the context of who started them."
    )


class Compaction(Part):
    """A context that would grow too long is replaced by a summary, which costs a request."""

    at_tokens: Length = Field(
        description="Longest prompt of a session, drawn for each; a session that begins above it "
        "is bound by the model's context alone."
    )
    summary_tokens: Length = Field(description="The summary.")


class Edits(Part):
    """Clients that rewrite history: what follows the kept part of the context is new to a cache.

    Old tool results are dropped, tool lists, reminders or memory change while nobody looks.
    """

    probability: Share = Field(description="Of a request with a tool's result.")
    turn_probability: Share | None = Field(
        default=None, description="Of the first request of a later turn; by default the same."
    )
    kept_ratio: Length = Field(
        description="Share of the context that stays as it was, from its start, at most 1."
    )
    dropped_ratio: Length = Field(
        default=constant(0), description="Share of the rest that is left out, at most 1."
    )


class Session(Part):
    """What a session does beyond one request."""

    turns: Length = Field(
        default=constant(1), description="Turns: what a person asks for, one after the other."
    )
    requests: Length | None = Field(
        default=None,
        description="In place of turns: requests after which a session ends, amid a turn if need "
        "be (those that summarise, join or belong to sub-agents come on top).",
    )
    think_time_s: Length = Field(
        default=constant(0), description="From a turn's last answer to the next turn, s."
    )
    growth: Flag = Field(
        default=False,
        description="Each turn's prompt is the previous prompt and output plus new input_tokens; "
        "always so with tools, subagents, compaction or edits.",
    )
    first_input_tokens: Length | None = Field(
        default=None, description="New tokens of the first prompt; by default input_tokens."
    )
    first_input_correlation: Annotated[float, Field(strict=True, ge=-1, le=1)] = Field(
        default=0.0,
        description="Rank correlation (Spearman's) of first_input_tokens with the turns or "
        "requests of a session: long sessions may start small.",
    )
    tools: Tools | None = Field(default=None, description="Tool calls within a turn.")
    subagents: Subagents | None = Field(default=None, description="Agents that work in parallel.")
    compaction: Compaction | None = Field(default=None, description="What a full context does.")
    edits: Edits | None = Field(default=None, description="Clients that rewrite history.")
    fan_out: Length | None = Field(
        default=None,
        description="A turn is so many independent requests, all sent at once; it is over when all "
        "are answered. Without growth.",
    )
