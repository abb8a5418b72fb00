"""The demand side of a scenario: tenants, their load and traces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.admission import Retry, Timeouts
from factory.scenario.base import (
    Count,
    Flag,
    Name,
    NonNegative,
    NonNegativeCount,
    Part,
    Positive,
    Ratio,
)
from factory.scenario.lengths import Length, constant

TraceFormat = Literal["mooncake", "azure", "agentic", "fact_requests"]


class Slo(Part):
    """Service level: a request is good when it completes within every limit stated."""

    ttft_s: Positive | None = Field(default=None, description="Time to first token, s.")
    itl_ms: Positive | None = Field(default=None, description="Mean inter-token latency, ms.")
    e2e_s: Positive | None = Field(default=None, description="End to end, s.")
    target: Ratio = Field(default=0.99, description="Share of offered requests to be good.")


class Load(Part):
    """How sessions start: at a rate (open loop) or at a fixed concurrency (closed loop)."""

    rate: Positive | None = Field(
        default=None,
        description="Sessions started per second.",
        json_schema_extra={"unit": "sessions/s"},
    )
    arrival: Literal["poisson", "deterministic", "gamma"] = Field(
        default="poisson", description="Shape of the gaps between sessions, with a rate."
    )
    cv: Positive = Field(
        default=1.0, description="gamma: coefficient of variation of the gaps; 1 is Poisson."
    )
    concurrency: Count | None = Field(
        default=None, description="Sessions always in flight; one ends, the next starts."
    )


class SharedPrefix(Part):
    """Tokens that prompts of different sessions have in common, e.g. a system prompt."""

    tokens: NonNegativeCount = Field(
        default=0, description="Length of the prefix, put before a session's first input."
    )
    count: Count = Field(default=1, description="Distinct prefixes; a session draws one of them.")


class Session(Part):
    """What a session does beyond one request."""

    turns: Length = Field(default=constant(1), description="Requests of a session.")
    think_time_s: Length = Field(
        default=constant(0), description="From an answer to the next turn, s."
    )
    growth: Flag = Field(
        default=False,
        description="Each turn's prompt is the previous prompt and output plus new input_tokens.",
    )


class Tenant(Part):
    """A traffic class with its own service level."""

    name: Name = Field(description="Name of the tenant.")
    deployment: Name | None = Field(
        default=None, description="Deployment that serves it; by default the first."
    )
    priority: int = Field(default=0, strict=True, description="Higher goes first.")
    slo: Slo = Field(default=Slo(), description="Service level.")
    load: Load | None = Field(
        default=None, description="How its sessions start; left out for the tenant of the trace."
    )
    input_tokens: Length | None = Field(
        default=None, description="New prompt tokens of a request, with a load."
    )
    output_tokens: Length | None = Field(
        default=None, description="Output tokens of a request, with a load."
    )
    max_tokens: Count | None = Field(
        default=None,
        description="Output tokens that its clients allow, as schedulers see it; answers end "
        "there. By default each request states its own answer's length, as load generators do.",
    )
    timeouts: Timeouts = Field(default=Timeouts(), description="When its clients give up.")
    retry: Retry | None = Field(
        default=None, description="How its clients try again; by default they do not."
    )
    shared_prefix: SharedPrefix = Field(
        default=SharedPrefix(), description="Tokens shared between sessions."
    )
    session: Session = Field(default=Session(), description="Turns and think times.")


class Trace(Part):
    """Recorded demand to replay."""

    format: TraceFormat = Field(description="Format of the file.")
    path: Annotated[str, Field(strict=True, min_length=1)] = Field(
        description="File, relative to the working directory; gzip is understood."
    )
    tenant: Name | None = Field(
        default=None, description="Tenant the requests belong to; by default the first."
    )
    time_scale: Positive = Field(
        default=1.0, description="Multiplies every arrival time: 2 halves the rate."
    )
    skip_bad_rows: NonNegativeCount = Field(default=0, description="Malformed rows to tolerate.")
    limit: Count | None = Field(default=None, description="Requests to read at most.")
    sessions: Count | None = Field(
        default=None, description="agentic: sessions to read, in file order."
    )
    session_interval_s: NonNegative = Field(
        default=60.0, description="agentic: a session starts each so many seconds."
    )
    spread_s: NonNegative | None = Field(
        default=None,
        description="Arrivals are spread over so many seconds; by default 3 for mooncake (the grid "
        "of its clock), else 0.",
    )


class Demand(Part):
    """Who asks, and when."""

    tenants: Annotated[tuple[Tenant, ...], Field(min_length=1)] = Field(
        description="The traffic classes."
    )
    trace: Trace | None = Field(default=None, description="Recorded demand to replay.")
