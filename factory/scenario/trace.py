"""Recorded demand to replay: the `trace` of a workload."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Count, Name, NonNegative, NonNegativeCount, Part, Positive

TraceFormat = Literal["mooncake", "azure", "agentic", "fact_requests"]


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
