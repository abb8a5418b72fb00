"""Recorded demand to replay: the `trace` of a workload."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Count, Name, NonNegative, NonNegativeCount, Part, Positive

TraceFormat = Literal[
    "mooncake", "aiperf", "azure", "burstgpt", "bailian", "servegen", "agentic", "fact_requests"
]


class Trace(Part):
    """Recorded demand to replay."""

    format: TraceFormat = Field(description="Format of the file.")
    path: Annotated[str, Field(strict=True, min_length=1)] = Field(
        description="File (servegen: folder; fact_requests: run), relative to the working "
        "directory; gzip is understood."
    )
    tenant: Name | None = Field(
        default=None, description="Tenant the requests belong to; by default the first."
    )
    replay: Literal["recorded", "closed_loop"] = Field(
        default="recorded",
        description="recorded: requests (of sessions, the first) come when they came; closed_loop: "
        "each starts when another ends, whatever its time.",
    )
    concurrency: Count | None = Field(
        default=None, description="closed_loop: requests (or sessions) at a time."
    )
    rate_scale: Positive = Field(
        default=1.0,
        description="Factor of the rate: below 1 so many of its requests (or sessions) stay, above "
        "1 copies of the trace come at once, each turned in time and with blocks of its own.",
    )
    time_scale: Positive = Field(
        default=1.0, description="Multiplies every arrival time: 2 halves the rate."
    )
    from_s: NonNegative = Field(
        default=0.0,
        description="Requests (or sessions) that start earlier are left out, s after the first.",
    )
    to_s: Positive | None = Field(
        default=None,
        description="Requests (or sessions) that start from then on are left out, s after the "
        "first; by default none.",
    )
    skip_bad_rows: NonNegativeCount = Field(default=0, description="Malformed rows to tolerate.")
    limit: Count | None = Field(default=None, description="Requests to read at most.")
    sessions: Count | None = Field(
        default=None, description="agentic, aiperf: sessions to read, in file order."
    )
    session_interval_s: NonNegative = Field(
        default=60.0,
        description="agentic, aiperf without timestamps: a session starts each so many seconds.",
    )
    spread_s: NonNegative | None = Field(
        default=None,
        description="Arrivals of one instant are spread over so many seconds; by default 3 for "
        "mooncake (the grid of its clock), else 0.",
    )
