"""The physical side of a scenario: racks, power and where they stand."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Count, Name, Part, Positive, Text
from factory.scenario.cooling import Cooling
from factory.scenario.failures import Failures
from factory.scenario.grid import Grid
from factory.scenario.power_control import Breaker, PowerControl
from factory.scenario.rows import Oversubscription, Row


class RackGroup(Part):
    """Identical racks."""

    name: Name = Field(description="Name of the group; pools refer to it.")
    system: Name = Field(description="System in the racks, from the catalogue.")
    count: Count = Field(default=1, description="Number of racks.")
    row: Name | None = Field(
        default=None,
        description="Row that the racks stand in, spread evenly over its copies in order; by "
        "default they hang on the facility itself.",
    )
    budget_kw: Positive | None = Field(
        default=None,
        description="IT power budget of each rack, kW, enforced by GPU clocks; none if left out.",
    )
    node_budget_kw: Positive | None = Field(
        default=None,
        description="IT power budget of each server or tray, kW; none if left out.",
    )
    oversubscription_ratio: Oversubscription | None = Field(
        default=None,
        description="Declared: the budgets of a rack's servers may add up to so many times its "
        "own; by default 1. Beyond it, check and run warn with the sum.",
    )
    breaker: Breaker | None = Field(
        default=None,
        description="What the breaker of each rack tolerates above its budget; by default it never "
        "trips.",
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
    budget_mw: Positive | None = Field(
        default=None,
        description="Facility power, behind the PUE, that control lets all cells draw, MW; none "
        "if left out.",
    )
    oversubscription_ratio: Oversubscription | None = Field(
        default=None,
        description="Declared: the budgets of its rows, and of racks outside rows, may add up to "
        "so many times its own; by default 1. Beyond it, check and run warn with the sum.",
    )
    breaker: Breaker | None = Field(
        default=None,
        description="What the facility's breaker tolerates above its budget; by default it never "
        "trips.",
    )
    power_tables: Literal["rack", "node"] = Field(
        default="rack",
        description="How deep fact_power goes: rack: facility, rows and racks; node: every server "
        "or tray too. Those with a node_budget_kw are always there.",
    )
    control: PowerControl = Field(
        default=PowerControl(), description="Who keeps the power budgets, and how."
    )
    cooling: Cooling = Field(
        default=Cooling(),
        description="Facility power beside IT; by default pue at any load and temperature.",
    )
    grid: Grid | None = Field(
        default=None,
        description="What the grid asks, gives and costs: curtailments, battery, ramps, prices.",
    )
    failures: Failures = Field(
        default=Failures(), description="What breaks, spares, and planned work; by default nothing."
    )
    rows: tuple[Row, ...] = Field(
        default=(), description="Rows between facility and racks; by default none."
    )
    racks: Annotated[tuple[RackGroup, ...], Field(min_length=1)] = Field(
        description="Groups of identical racks."
    )
