"""A distribution of lengths (tokens, turns) or times (seconds), as a scenario states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from factory.scenario.base import NonNegative, Number, Part, Positive

Distribution = Literal[
    "constant", "uniform", "normal", "lognormal", "exponential", "geometric", "pareto"
]

NEEDS: Mapping[str, tuple[frozenset[str], ...]] = {
    "constant": (frozenset({"value"}),),
    "uniform": (frozenset({"min", "max"}),),
    "normal": (frozenset({"mean", "stddev"}),),
    "lognormal": (frozenset({"mu", "sigma"}), frozenset({"mean", "stddev"})),
    "exponential": (frozenset({"mean"}),),
    "geometric": (frozenset({"mean"}),),
    "pareto": (frozenset({"alpha", "min"}),),
}
"""What each distribution needs: one of these sets, in full."""

BOUNDS: Mapping[str, frozenset[str]] = {
    "normal": frozenset({"min", "max"}),
    "lognormal": frozenset({"min", "max"}),
    "exponential": frozenset({"min", "max"}),
    "geometric": frozenset({"min", "max"}),
    "pareto": frozenset({"max"}),
}
"""Which bounds each distribution may add: values outside are moved to the bound."""


class Length(Part):
    """A distribution; a plain number is short for ``{distribution: constant, value: number}``.

    ============  =====================================  =======================
    constant      value
    uniform       min, max
    normal        mean, stddev                           optional bounds min, max
    lognormal     mu, sigma (of the natural logarithm),  optional bounds min, max
                  or mean, stddev (of the value itself)
    exponential   mean                                   optional bounds min, max
    geometric     mean (>= 1)                            optional bounds min, max
    pareto        alpha, min (the scale)                 optional bound max
    ============  =====================================  =======================
    """

    distribution: Distribution = Field(description="Shape of the distribution.")
    mean: NonNegative | None = Field(default=None, description="Mean, before any bounds.")
    stddev: NonNegative | None = Field(default=None, description="Standard deviation.")
    min: NonNegative | None = Field(default=None, description="Smallest value.")
    max: NonNegative | None = Field(default=None, description="Largest value.")
    value: NonNegative | None = Field(default=None, description="The constant.")
    mu: Number | None = Field(default=None, description="Mean of the natural logarithm.")
    sigma: NonNegative | None = Field(
        default=None, description="Standard deviation of the natural logarithm."
    )
    alpha: Positive | None = Field(default=None, description="Shape (tail index) of a Pareto.")

    @model_validator(mode="before")
    @classmethod
    def _constant(cls, data: Any) -> Any:
        if isinstance(data, int | float) and not isinstance(data, bool):
            return {"distribution": "constant", "value": data}
        return data


def constant(value: float) -> Length:
    """The distribution that always gives ``value``."""
    return Length(distribution="constant", value=value)
