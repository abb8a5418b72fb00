"""How an operator keeps a facility within its power, and what its breakers tolerate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from factory.scenario.base import NonNegative, NonNegativeCount, Number, Part, Positive, Ratio
from factory.scenario.nearest import nearest

ControlMode = Literal["ideal", "reactive", "none"]
ControlShare = Literal["water_filling", "equal_clock", "priority", "prefill_first"]
ControlLevel = Literal["facility", "row", "rack"]
LEVELS: tuple[ControlLevel, ...] = ("facility", "row", "rack")

CURVES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "ul_489": ((1.35, 7200.0), (2.0, 600.0), (6.0, 20.0), (10.0, 0.1)),
    "iec_60947_2": ((1.3, 7200.0), (2.0, 300.0), (5.0, 20.0), (10.0, 0.1)),
    "iec_60898_c": ((1.45, 3600.0), (2.55, 60.0), (10.0, 0.1)),
    "dynamo_row": ((1.1, 1020.0), (1.4, 60.0)),
    "dynamo_msb": ((1.15, 60.0),),
}
"""Curves by name: overload ratio and the seconds for which it is tolerated.

- ``ul_489``: the longest that the calibration of UL 489 allows a moulded-case breaker of 151 to
  225 A: 135 % in two hours, 200 % in 10 minutes; the magnetic release at ten times the rating and
  the point at six times are typical of such breakers (assumed).
- ``iec_60947_2``: the conventional tripping current of IEC 60947-2 (2016, 7.2.1.2.4) above 63 A,
  130 % in two hours; the points beyond are typical of thermal-magnetic releases (assumed).
- ``iec_60898_c``: 145 % in one hour, 255 % in at most 60 s (up to 32 A), and at ten times the
  rating the instantaneous range of type C (IEC 60898-1, 2015, table 7).
- ``dynamo_row``: a row's power panel as Facebook found its own, 10 % over for about 17 minutes and
  40 % for about 60 s; ``dynamo_msb``: a main switchboard, 15 % for about 60 s (Wu et al., Dynamo,
  ISCA 2016, section II).

The standards' points are the longest time to trip, so that a real breaker may open earlier.
"""

DEFAULT_RESET_S = 1800.0
"""Seconds until someone has come, found the cause and closed the breaker (assumed)."""


def _curve(value: Any) -> Any:
    """The points of a curve that is given by its name."""
    if not isinstance(value, str):
        return value
    if value not in CURVES:
        meant = nearest(value, CURVES)
        also = f"; did you mean {meant}?" if meant else ""
        raise ValueError(
            "must be points, as [[1.1, 1020], [1.4, 60]], or the name of a curve "
            f"({', '.join(CURVES)}{also})"
        )
    return CURVES[value]


CurvePoint = tuple[Number, Number]
"""Overload as a ratio of the rating, and the seconds for which it is tolerated."""


class Breaker(Part):
    """What a breaker tolerates, and how long it stays open."""

    curve: Annotated[
        tuple[CurvePoint, ...],
        BeforeValidator(_curve),
        Field(
            min_length=1,
            description="Points [overload ratio, seconds tolerated], ratios rising, or a name: "
            "ul_489, iec_60947_2, iec_60898_c, dynamo_row, dynamo_msb.",
        ),
    ]
    continuous_ratio: Ratio = Field(
        default=1.0,
        description="The budget over the breaker's own rating: 0.8 where the budget is what the "
        "code allows it to carry for three hours and more (NEC 2023, 215.3).",
    )
    cooling_s: Positive | None = Field(
        default=None,
        description="Time constant with which it cools at or below its rating, s; by default the "
        "seconds of its first point.",
    )
    reset_s: NonNegative = Field(
        default=DEFAULT_RESET_S,
        description="Seconds from the trip until it is closed again and machines start.",
    )


class Threshold(Part):
    """Above a share of the budget, clocks of some priorities are lowered."""

    at_ratio: Positive = Field(description="Mean power over the budget from which it holds.")
    clock_ratio: Ratio = Field(description="Highest clock, as a ratio of the nominal one.")
    priority: NonNegativeCount | None = Field(
        default=None,
        description="Pools of at most this power.priority obey; by default all. Thresholds at one "
        "at_ratio come one after another: the next if the one before has acted and did not help.",
    )


class Brake(Part):
    """Above a share of the budget, every clock is lowered, and quickly."""

    at_ratio: Positive = Field(
        default=1.0, description="Mean power over the budget from which it holds."
    )
    clock_ratio: Ratio = Field(
        default=round(288 / 1410, 4),
        description="Clock of every pool; by default 288 of 1,410 MHz, the power brake of an A100 "
        "(Patel et al., POLCA, 2024).",
    )


class PowerControl(Part):
    """Who keeps the budgets, and how."""

    mode: ControlMode = Field(
        default="ideal",
        description="ideal: power never exceeds a budget; reactive: an operator's loop, with its "
        "delays; none: budgets are only metered.",
    )
    share: ControlShare = Field(
        default="equal_clock",
        description="ideal: how replicas share a budget that binds. equal_clock: all at one clock; "
        "water_filling: at most so many watts per GPU; priority: pools of the lowest "
        "power.priority are slowed first; prefill_first: prefill keeps its clock longest.",
    )
    preset: Literal["polca"] | None = Field(
        default=None,
        description="reactive: fills in what is not stated. polca: rows; low priorities slower "
        "from 80 %, slower still and then all from 89 %, a brake above 100 % (Patel et al., ASPLOS "
        "2024).",
    )
    telemetry_s: Positive | None = Field(
        default=None, description="reactive: seconds between samples; by default 2."
    )
    averaging_s: Positive | None = Field(
        default=None,
        description="reactive: seconds over which a sample is the mean, a multiple of telemetry_s, "
        "which is the default.",
    )
    actuation_s: NonNegative | None = Field(
        default=None,
        description="reactive: seconds from a sample to the clocks it asks for; by default 40, out "
        "of band.",
    )
    brake_s: NonNegative | None = Field(
        default=None, description="reactive: the same of the brake; by default 5."
    )
    hysteresis_ratio: NonNegative | None = Field(
        default=None,
        description="reactive: a threshold lets go when the mean is this share of the budget below "
        "it; by default 0.05.",
    )
    levels: tuple[ControlLevel, ...] | None = Field(
        default=None,
        description="reactive: levels whose budgets are watched; by default all that have one, "
        "with preset polca rows.",
    )
    thresholds: tuple[Threshold, ...] | None = Field(
        default=None, description="reactive: clocks by power, in order of at_ratio."
    )
    brake: Brake | None = Field(
        default=None,
        description="reactive: the last resort; by default none, with preset polca at 100 %.",
    )


POLCA_LEVELS: tuple[ControlLevel, ...] = ("row",)
POLCA_THRESHOLDS = (
    Threshold(at_ratio=0.80, clock_ratio=round(1275 / 1410, 4), priority=0),
    Threshold(at_ratio=0.89, clock_ratio=round(1110 / 1410, 4), priority=0),
    Threshold(at_ratio=0.89, clock_ratio=round(1305 / 1410, 4)),
)
"""Of POLCA for A100 servers of at most 1,410 MHz: low priority at 1,275 and 1,110 MHz, the rest at
1,305 MHz if that did not help (Patel et al., ASPLOS 2024, section 6)."""

DEFAULT_TELEMETRY_S, DEFAULT_ACTUATION_S, DEFAULT_BRAKE_S = 2.0, 40.0, 5.0
DEFAULT_HYSTERESIS_RATIO = 0.05
"""Delay of a row's meter, of capping out of band, of the power brake, and the margin of letting go
(Patel et al., POLCA, ASPLOS 2024)."""


@dataclass(frozen=True, slots=True)
class LoopTerms:
    """What a reactive loop does, preset and defaults filled in; fields as of `PowerControl`."""

    telemetry_s: float
    averaging_s: float
    actuation_s: float
    brake_s: float
    hysteresis_ratio: float
    levels: tuple[ControlLevel, ...]
    thresholds: tuple[Threshold, ...]
    brake: Brake | None


def loop_terms(control: PowerControl) -> LoopTerms:
    """The terms of a reactive section."""
    is_polca = control.preset == "polca"
    telemetry_s = control.telemetry_s or DEFAULT_TELEMETRY_S
    levels = control.levels or (POLCA_LEVELS if is_polca else LEVELS)
    thresholds = control.thresholds
    if thresholds is None:
        thresholds = POLCA_THRESHOLDS if is_polca else ()
    return LoopTerms(
        telemetry_s=telemetry_s,
        averaging_s=control.averaging_s or telemetry_s,
        actuation_s=_or(control.actuation_s, DEFAULT_ACTUATION_S),
        brake_s=_or(control.brake_s, DEFAULT_BRAKE_S),
        hysteresis_ratio=_or(control.hysteresis_ratio, DEFAULT_HYSTERESIS_RATIO),
        levels=levels,
        thresholds=thresholds,
        brake=control.brake or (Brake() if is_polca else None),
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
