"""Rows: the power distribution units between the facility and its racks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from factory.scenario.base import Count, Name, Part, Positive
from factory.scenario.power_control import Breaker

Oversubscription = Annotated[float, Field(strict=True, ge=1, le=10, allow_inf_nan=False)]
"""Budgets of the children over that of the parent, at least 1."""


class Row(Part):
    """Rows that are alike, each a power distribution unit with the racks behind it."""

    name: Name = Field(description="Name of the row; racks[].row refers to it.")
    count: Count = Field(
        default=1,
        description="Number of such rows; the racks are spread evenly over them, in order.",
    )
    budget_kw: Positive | None = Field(
        default=None,
        description="IT power budget of each row, kW; none if left out.",
    )
    oversubscription_ratio: Oversubscription | None = Field(
        default=None,
        description="Declared: the budgets of its racks may add up to so many times its own; by "
        "default 1. Beyond it, check and run warn with the sum.",
    )
    breaker: Breaker | None = Field(
        default=None,
        description="What the breaker of each row tolerates above its budget; by default it never "
        "trips.",
    )
