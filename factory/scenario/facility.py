"""The physical side of a scenario: racks, power and where they stand."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from factory.scenario.base import Count, Name, Part, Positive, Text


class RackGroup(Part):
    """Identical racks."""

    name: Name = Field(description="Name of the group; pools refer to it.")
    system: Name = Field(description="System in the racks, from the catalogue.")
    count: Count = Field(default=1, description="Number of racks.")
    budget_kw: Positive | None = Field(
        default=None,
        description="IT power budget of each rack, kW, enforced by GPU clocks; none if left out.",
    )


class Facility(Part):
    """Racks, their power and their place."""

    name: Name = Field(default="factory", description="Name of the facility.")
    time_zone: Text = Field(default="UTC", description="IANA time zone; tables stay in UTC.")
    pue: Annotated[float, Field(strict=True, ge=1, le=5)] | None = Field(
        default=None,
        description="Facility power over IT power; by default the design PUE of the systems, "
        "weighted by their IT power.",
    )
    contracted_mw: Positive | None = Field(
        default=None,
        description="Contracted facility power, MW; by default design IT power of all racks x PUE.",
    )
    racks: Annotated[tuple[RackGroup, ...], Field(min_length=1)] = Field(
        description="Groups of identical racks."
    )
