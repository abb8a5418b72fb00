"""The grid's side of a facility: curtailments, battery, ramp limit, price and carbon intensity."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from factory.scenario.base import Name, NonNegative, Part, Positive, Ratio, Share
from factory.scenario.series import Series

Policy = Literal["cap", "shed", "pause"]
BatteryUse = Literal["curtailment", "ramp", "peak"]


def _listed(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


class Curtailment(Part):
    """For a while the facility may draw less from the grid: demand response."""

    at_s: NonNegative = Field(description="When the reduction must begin, s.")
    duration_s: Positive = Field(description="How long it lasts, s.")
    notice_s: NonNegative = Field(
        default=0.0, description="How long before it is announced, s; 0 is no notice."
    )
    depth_ratio: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = Field(
        default=None,
        description="Reduction as a share of the baseline: mean grid power over the "
        "facility.grid.baseline_s before the announcement.",
    )
    limit_mw: Positive | None = Field(
        default=None, description="Grid power of all cells meanwhile, MW; in place of depth_ratio."
    )


class Battery(Part):
    """A battery on the site, behind the meter of the grid."""

    capacity_mwh: Positive = Field(description="Energy that it can give when full, MWh.")
    power_mw: Positive = Field(description="Power at which it can charge or discharge, MW.")
    efficiency_ratio: Ratio = Field(
        default=0.85,
        description="Round trip: energy given over energy taken, booked as it charges (0.85: "
        "lithium-ion at the scale of a utility, NREL ATB 2024).",
    )
    initial_ratio: Share | None = Field(
        default=None,
        description="Charge at the start over capacity; it goes back to it when nothing is asked. "
        "By default 0.5 if it smooths ramps, for which it must give and take, else 1.",
    )
    uses: Annotated[tuple[BatteryUse, ...], BeforeValidator(_listed)] = Field(
        default=("curtailment",),
        alias="for",
        description="What it is for: curtailment carries load over curtailments, ramp smooths to "
        "facility.grid.ramp_mw_per_min, peak keeps grid power at most at peak_mw.",
    )
    peak_mw: Positive | None = Field(
        default=None,
        description="Grid power of all cells above which it gives, MW, if it is for peak; by "
        "default facility.contracted_mw.",
    )

    recharge_mw: Positive | None = Field(
        default=None,
        description="Power at which it goes back to its first charge, MW; by default power_mw.",
    )

    @model_serializer(mode="wrap")
    def _as_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Under the names that are read; `for` is a word of Python's own."""
        data: dict[str, Any] = write(self)
        return {"for" if key == "uses" else key: value for key, value in data.items()}

    @property
    def start_ratio(self) -> float:
        """Charge at the start over capacity."""
        if self.initial_ratio is not None:
            return self.initial_ratio
        return 0.5 if "ramp" in self.uses else 1.0


class Grid(Part):
    """What the grid asks, gives and costs."""

    curtailments: tuple[Curtailment, ...] = Field(
        default=(), description="Reductions of grid power, in the order of time."
    )
    policy: Annotated[tuple[Policy, ...], BeforeValidator(_listed)] = Field(
        default=("cap",),
        description="What happens in a curtailment, one or several: cap lowers clocks until the "
        "draw fits; shed turns tenants away; pause drains replicas and rests them.",
    )
    shed_tenants: tuple[Name, ...] = Field(
        default=(),
        description="Tenants that shed turns away; by default those of the lowest priority.",
    )
    shed_running: Literal["finish", "give_up"] = Field(
        default="finish",
        description="What becomes of their requests inside when the reduction begins.",
    )
    response_s: NonNegative = Field(
        default=30.0,
        description="Time that a reduction may take before what is above the limit counts as "
        "excess, s (30 s: field trial of demand response with 256 GPUs, Colangelo et al. 2025).",
    )
    baseline_s: Positive = Field(
        default=900.0, description="Time over which the baseline of depth_ratio is formed, s."
    )
    pause_check_s: Positive = Field(
        default=10.0,
        description="How often pause looks whether the draw fits, and rests more, s (assumed).",
    )
    battery: Battery | None = Field(default=None, description="A battery; by default none.")
    ramp_mw_per_min: Positive | None = Field(
        default=None,
        description="Fastest change of grid power of all cells, MW/min; the battery takes the "
        "rest.",
    )
    price: Series | None = Field(
        default=None, description="Price of electricity over time, USD/MWh; it may be negative."
    )
    carbon: Series | None = Field(
        default=None, description="Carbon intensity of electricity over time, g/kWh."
    )
