"""Facility power from IT power and outside temperature: PUE as an outcome.

`ConstantPue` is the default. `CoolingModel` builds the overhead from its causes; with ``R`` the
design IT power, ``l`` the IT load over it and ``h`` the heat over that at design::

    UPS          R (a0 + a1 l + a2 l^2)                 no-load, proportional and square-law losses
    transformers R (b0 + b2 l^2)                        iron and copper
    heat         IT + UPS
    movers       R m max(least speed, h)^3              air handlers, water pumps, outdoor fans
    compressors  heat * share(T) / COP(T)
    fixed        R c                                    lighting, offices, controls

``share(T)``, the part of the heat that needs compressors, rises linearly from 0 at
``free_below_c`` to 1 at ``mechanical_above_c``. ``COP(T)`` is a fraction of Carnot's between the
coolant and the outside air plus an approach, at most ``cop_most``.

Forms: Rasmussen, Electrical Efficiency Modeling for Data Centers (APC White Paper 113, 2007), for
the losses; Pelley et al., Understanding and Abstracting Total Data Center Power (WEED 2009), for
UPS, distribution, the cube of the fans and chillers by load and temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from factory.scenario.cooling import MILD_C, PRESETS

if TYPE_CHECKING:
    from factory.scenario.facility import Facility

__all__ = [
    "KELVIN", "MILD_C", "ConstantPue", "CoolingModel", "Overhead", "air", "liquid", "overhead",
]  # fmt: skip

KELVIN = 273.15
"""0 degrees Celsius in kelvins."""


class Overhead(Protocol):
    """What a facility draws for its IT power."""

    def watts(self, it_w: float, outside_c: float) -> float:
        """Facility power, W; it rises with ``it_w`` and never falls as ``outside_c`` rises."""

    def it_watts(self, facility_w: float, outside_c: float) -> float:
        """IT power at which the facility draws so much, W; 0 where it draws more without any."""


@dataclass(frozen=True, slots=True)
class ConstantPue:
    """Facility power proportional to IT power.

    Attributes:
        pue: Facility power over IT power, at least 1.
    """

    pue: float

    def watts(self, it_w: float, outside_c: float) -> float:  # noqa: ARG002 - the same at any
        """Facility power, W."""
        return it_w * self.pue

    def it_watts(self, facility_w: float, outside_c: float) -> float:  # noqa: ARG002 - the same
        """IT power, W."""
        return facility_w / self.pue


@dataclass(frozen=True, slots=True)
class CoolingModel:
    """Facility power by cause. Shares are of ``design_it_w``, temperatures in degrees Celsius.

    Attributes:
        design_it_w: IT power that the facility was built for, W, above 0.
        ups_fixed_ratio: Loss of the UPS without load.
        ups_linear_ratio: Its proportional loss at design load.
        ups_square_ratio: Its loss with the load's square at design load.
        transformer_fixed_ratio: Iron losses of transformers and distribution.
        transformer_square_ratio: Copper losses at design load.
        mover_ratio: Fans and pumps of the cooling at design heat.
        mover_least_speed_ratio: Their lowest speed over that at design heat.
        free_below_c: Outside temperature below which no compressor runs.
        mechanical_above_c: Outside temperature from which compressors carry all heat.
        coolant_c: Temperature of the coolant that compressors make.
        approach_k: Condensation above outside temperature, kelvins.
        carnot_ratio: COP over Carnot's.
        cop_most: Highest COP.
        other_ratio: Lighting, offices and controls, at any load.
    """

    design_it_w: float
    ups_fixed_ratio: float
    ups_linear_ratio: float
    ups_square_ratio: float
    transformer_fixed_ratio: float
    transformer_square_ratio: float
    mover_ratio: float
    mover_least_speed_ratio: float
    free_below_c: float
    mechanical_above_c: float
    coolant_c: float
    approach_k: float
    carnot_ratio: float
    cop_most: float
    other_ratio: float

    def watts(self, it_w: float, outside_c: float) -> float:
        """Facility power, W."""
        return self._drawn(it_w, self.compressor_ratio(outside_c))[0]

    def it_watts(self, facility_w: float, outside_c: float) -> float:
        """IT power, W: by Newton's method, which converges since power is convex in IT power."""
        ratio = self.compressor_ratio(outside_c)
        if facility_w <= self._drawn(0.0, ratio)[0]:
            return 0.0
        # From above a convex rising function's tangent steps fall towards the root and never
        # pass it; facility power exceeds IT power, so the start is above.
        it_w = facility_w
        while True:
            drawn_w, slope = self._drawn(it_w, ratio)
            lower_w = it_w - (drawn_w - facility_w) / slope
            if not lower_w < it_w:
                return it_w
            it_w = lower_w

    def parts(self, it_w: float, outside_c: float) -> dict[str, float]:
        """Facility power by cause, W: it, ups, transformers, movers, compressors and other."""
        load = it_w / self.design_it_w
        ups = self._ups(load)
        return {
            "it": it_w,
            "ups": self.design_it_w * ups,
            "transformers": self.design_it_w
            * (self.transformer_fixed_ratio + self.transformer_square_ratio * load * load),
            "movers": self.design_it_w * self.mover_ratio * self._speed(load + ups) ** 3,
            "compressors": self.design_it_w * (load + ups) * self.compressor_ratio(outside_c),
            "other": self.design_it_w * self.other_ratio,
        }

    def pue(self, it_w: float, outside_c: float) -> float:
        """Facility power over IT power (above 0)."""
        return self.watts(it_w, outside_c) / it_w

    def compressor_ratio(self, outside_c: float) -> float:
        """Power of the compressors over the heat of the hall, at an outside temperature."""
        if outside_c <= self.free_below_c:
            return 0.0
        span_k = self.mechanical_above_c - self.free_below_c
        share = 1.0
        if outside_c < self.mechanical_above_c:
            share = (outside_c - self.free_below_c) / span_k
        lift_k = outside_c + self.approach_k - self.coolant_c
        cop = self.cop_most
        if lift_k * cop > self.carnot_ratio * (self.coolant_c + KELVIN):
            cop = self.carnot_ratio * (self.coolant_c + KELVIN) / lift_k
        return share / cop

    def _ups(self, load: float) -> float:
        return self.ups_fixed_ratio + load * (self.ups_linear_ratio + load * self.ups_square_ratio)

    def _speed(self, heat: float) -> float:
        """Speed of fans and pumps over that at design heat."""
        return max(self.mover_least_speed_ratio, heat / (1.0 + self._ups(1.0)))

    def _drawn(self, it_w: float, compressors: float) -> tuple[float, float]:
        """Facility power, W, and its derivative by IT power."""
        load = it_w / self.design_it_w
        ups = self._ups(load)
        heat = load + ups
        heat_slope = 1.0 + self.ups_linear_ratio + 2.0 * self.ups_square_ratio * load
        speed = self._speed(heat)
        moved = self.mover_ratio * speed * speed
        copper = self.transformer_square_ratio * load
        fixed = self.transformer_fixed_ratio + self.other_ratio
        drawn = heat * (1.0 + compressors) + moved * speed + copper * load + fixed
        slope = heat_slope * (1.0 + compressors) + 2.0 * copper
        if speed > self.mover_least_speed_ratio:
            slope += 3.0 * moved * heat_slope / (1.0 + self._ups(1.0))
        return self.design_it_w * drawn, slope


def air(design_it_w: float) -> CoolingModel:
    """Chilled water and air handlers: PUE near 1.3 at design load and `MILD_C`."""
    return CoolingModel(design_it_w, **PRESETS["air"])


def liquid(design_it_w: float) -> CoolingModel:
    """Warm water and dry coolers: PUE near 1.1 at design load and `MILD_C`."""
    return CoolingModel(design_it_w, **PRESETS["liquid"])


def overhead(facility: Facility, share: float = 1.0) -> Overhead:
    """The overhead of a facility, or of the part of it that is simulated.

    Args:
        facility: With its defaults filled in (`pue`, `cooling.design_it_mw`).
        share: Simulated cells over all cells.
    """
    cooling = facility.cooling
    if cooling.kind == "constant":
        return ConstantPue(facility.pue or 1.0)
    return CoolingModel((cooling.design_it_mw or 0.0) * 1e6 * share, **cooling.coefficients())
