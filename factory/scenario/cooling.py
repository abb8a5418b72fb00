"""What a facility draws beside IT: a constant PUE, or losses and cooling by load and weather."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Part, Positive, Ratio, Share
from factory.scenario.series import Series

CoolingKind = Literal["constant", "air", "liquid"]
Celsius = Annotated[float, Field(strict=True, ge=-60, le=80, allow_inf_nan=False)]
Kelvins = Annotated[float, Field(strict=True, ge=0, le=60, allow_inf_nan=False)]
Cop = Annotated[float, Field(strict=True, ge=1, le=50, allow_inf_nan=False)]

MILD_C = 15.0
"""Outside temperature where none is given, and at which presets are stated, degrees Celsius."""

PRESETS: Mapping[str, Mapping[str, float]] = {
    "air": {
        "ups_fixed_ratio": 0.015,
        "ups_linear_ratio": 0.015,
        "ups_square_ratio": 0.02,
        "transformer_fixed_ratio": 0.005,
        "transformer_square_ratio": 0.01,
        "mover_ratio": 0.11,
        "mover_least_speed_ratio": 0.7,
        "free_below_c": 5.0,
        "mechanical_above_c": 18.0,
        "coolant_c": 15.0,
        "approach_k": 10.0,
        "carnot_ratio": 0.5,
        "cop_most": 8.0,
        "other_ratio": 0.02,
    },
    "liquid": {
        "ups_fixed_ratio": 0.008,
        "ups_linear_ratio": 0.01,
        "ups_square_ratio": 0.01,
        "transformer_fixed_ratio": 0.004,
        "transformer_square_ratio": 0.008,
        "mover_ratio": 0.05,
        "mover_least_speed_ratio": 0.6,
        "free_below_c": 25.0,
        "mechanical_above_c": 38.0,
        "coolant_c": 30.0,
        "approach_k": 12.0,
        "carnot_ratio": 0.5,
        "cop_most": 8.0,
        "other_ratio": 0.01,
    },
}
"""Coefficients by kind (assumed).

At design load and `MILD_C` they add up to the design PUE of each kind of cooling (1.3 and 1.1,
InferenceX PowerX documentation, 2026); docs/rack-power.md says what each stands for.
"""


class Cooling(Part):
    """Power of the facility beside its IT. Shares are of the design IT power.

    A coefficient that is left out is that of the kind.
    """

    kind: CoolingKind = Field(
        default="constant",
        description="constant: facility.pue at any load and temperature; air: chilled water and "
        "air handlers; liquid: warm water and dry coolers.",
    )
    design_it_mw: Positive | None = Field(
        default=None,
        description="IT power that the plant of all cells was built for, MW; by default the design "
        "IT power of all racks.",
    )
    temperature: Series = Field(
        default=Series(value=MILD_C), description="Outside temperature, degrees Celsius."
    )
    ups_fixed_ratio: Share | None = Field(default=None, description="Loss of the UPS without load.")
    ups_linear_ratio: Share | None = Field(
        default=None, description="Its loss in proportion to the load, at design load."
    )
    ups_square_ratio: Share | None = Field(
        default=None, description="Its loss with the square of the load, at design load."
    )
    transformer_fixed_ratio: Share | None = Field(
        default=None, description="Loss of transformers and distribution without load."
    )
    transformer_square_ratio: Share | None = Field(
        default=None, description="Their loss with the square of the load, at design load."
    )
    mover_ratio: Share | None = Field(
        default=None, description="Fans and pumps of the plant at design heat."
    )
    mover_least_speed_ratio: Share | None = Field(
        default=None, description="Their lowest speed over that at design heat."
    )
    free_below_c: Celsius | None = Field(
        default=None, description="No compressor runs below this outside temperature, C."
    )
    mechanical_above_c: Celsius | None = Field(
        default=None, description="Compressors carry all heat from this outside temperature on, C."
    )
    coolant_c: Celsius | None = Field(
        default=None, description="Coolant that the compressors make, C."
    )
    approach_k: Kelvins | None = Field(
        default=None, description="Condensation above the outside temperature, K."
    )
    carnot_ratio: Ratio | None = Field(
        default=None, description="Coefficient of performance over Carnot's."
    )
    cop_most: Cop | None = Field(default=None, description="Highest coefficient of performance.")
    other_ratio: Share | None = Field(
        default=None, description="Lighting, offices and controls, at any load."
    )

    def coefficients(self) -> dict[str, float]:
        """Every coefficient, as stated or else of the kind; empty for a constant PUE."""
        preset = PRESETS.get(self.kind, {})
        stated = {name: getattr(self, name) for name in preset}
        return {
            name: value if stated[name] is None else stated[name] for name, value in preset.items()
        }
