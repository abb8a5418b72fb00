"""How sessions start: the `load` of a tenant."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from factory.scenario.base import Count, Part, Positive


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
