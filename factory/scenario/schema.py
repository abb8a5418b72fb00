"""The whole scenario, schema version 1."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from factory.scenario.base import (
    Count,
    Flag,
    Name,
    NonNegative,
    NonNegativeCount,
    Part,
    Positive,
    Text,
)
from factory.scenario.changes import Changes
from factory.scenario.demand import Demand
from factory.scenario.deployment import Deployment
from factory.scenario.document import Locations
from factory.scenario.facility import Facility
from factory.scenario.models import Architecture

Cover = Literal["server", "network", "facility", "electricity", "staff"]
COVERS: tuple[Cover, ...] = ("server", "network", "facility", "electricity", "staff")


def _instant(text: str) -> str:
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date and time with a zone, as 2026-01-01T00:00:00Z") from None
    if when.tzinfo is None:
        raise ValueError("must name its zone, as 2026-01-01T00:00:00Z")
    return when.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


class Prices(Part):
    """What a GPU-hour costs: a price book of the catalogue, or prices stated here."""

    book: Name | None = Field(default=None, description="Price book, from the catalogue.")
    usd_per_gpu_hour: dict[Name, Positive] | None = Field(
        default=None,
        description="USD per GPU-hour by system, in place of a book.",
        json_schema_extra={"unit": "USD per GPU-hour"},
    )
    covers: tuple[Cover, ...] | None = Field(
        default=None, description="What the stated prices include; by default everything."
    )


class Cells(Part):
    """Cells of a facility larger than a simulation; they share only power and budget.

    A cell is all racks, rows, deployments and tenants of the scenario: numbers of racks, replicas,
    rates, users, clients of closed loops, GPU budgets of autoscaling, limits of admission and
    `run.requests` are each of one cell. Of all cells together are the power that is contracted,
    `facility.budget_mw`, and the megawatts of curtailments, batteries and ramps.
    """

    count: Count = Field(default=1, description="Cells of the facility.")
    simulated: Count = Field(
        default=1,
        description="Cells that are simulated, each at full load and with draws of its own; what "
        "comes of them is multiplied by count / simulated. Two or more tell how far cells differ.",
    )


class Run(Part):
    """How long to simulate, and how."""

    duration_s: Positive | None = Field(
        default=None, description="New sessions start before this time, s."
    )
    requests: Count | None = Field(
        default=None, description="Requests to create, all tenants of a cell together."
    )
    warmup_s: NonNegative = Field(default=0.0, description="Left out of the measured interval, s.")
    window_s: Positive = Field(
        default=60.0,
        description="Span over which tables aggregate, s; by default not above duration_s.",
    )
    seed: NonNegativeCount = Field(default=1, description="Root of every random stream.")
    replication: NonNegativeCount = Field(default=0, description="Repetition under the same seed.")
    epoch: Annotated[str, Field(strict=True), AfterValidator(_instant)] = Field(
        default="2026-01-01T00:00:00Z", description="Instant at which simulated time is 0."
    )
    engine: Literal["leap", "step"] = Field(
        default="leap", description="leap: one event per leap; step: the step-by-step oracle."
    )
    cut_sessions: Flag = Field(
        default=False,
        description="Cut sessions at duration_s: turns due later are not sent. By default sessions "
        "go on to their end, however long that takes; what happens then is not measured.",
    )
    drain: Flag = Field(default=True, description="Go on until admitted requests finish.")

    @property
    def epoch_at(self) -> dt.datetime:
        """The epoch as an aware UTC instant."""
        return dt.datetime.fromisoformat(self.epoch)


def window_of(run: Run) -> float:
    """The window as stated, or by default no longer than the run, s."""
    if run.duration_s is None or "window_s" in run.model_fields_set:
        return run.window_s
    return min(run.window_s, run.duration_s)


class Scenario(Part):
    """Everything one run needs to know."""

    schema_version: Literal[1] = Field(default=1, description="Version of this schema.")
    name: Name = Field(description="Name of the scenario; run directories start with it.")
    description: Text = Field(default="", description="What it is about.")
    facility: Facility = Field(description="Racks, power and place.")
    deployments: Annotated[tuple[Deployment, ...], Field(min_length=1)] = Field(
        description="Models and the pools that serve them."
    )
    models: dict[Name, Architecture] = Field(  # type: ignore[valid-type]
        default={},
        description="Architectures of the scenario's own models, by name; filled in for each "
        "deployment whose model is {hf_config: PATH}.",
    )
    catalog_overlays: tuple[Text, ...] = Field(
        default=(),
        description="Files of catalogue changes, as `factory calibrate` writes; relative to the "
        "scenario's file, a later one wins. Settled into catalog_changes.",
    )
    catalog_changes: Changes = Field(
        default=Changes(),
        description="Changes of the catalogue, by section, record and field; filled in from the "
        "overlays.",
    )
    workload: Demand = Field(description="Who asks, and when.")
    prices: Prices | None = Field(
        default=None, description="What a GPU-hour costs; left out: performance only."
    )
    cells: Cells = Field(default=Cells(), description="For facilities larger than a simulation.")
    run: Run = Field(description="How long to simulate, and how.")

    _locations: Locations = PrivateAttr(default_factory=Locations)
