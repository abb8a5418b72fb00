"""Distributions of lengths (tokens, turns) and times (seconds), as a scenario states them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from factory.scenario.base import NonNegative, Number, Part, Positive, Share, Text
from factory.scenario.length_spellings import joint_spelled, spelled

Distribution = Literal[
    "constant",
    "uniform",
    "normal",
    "lognormal",
    "exponential",
    "geometric",
    "weibull",
    "pareto",
    "mixture",
    "empirical",
]


class Form(NamedTuple):
    """One way to state a distribution: fields that it needs, and fields that it may add."""

    needs: frozenset[str]
    may: frozenset[str]


def _form(needs: str, may: str = "min max") -> Form:
    return Form(frozenset(needs.split()), frozenset(may.split()))


FORMS: Mapping[str, tuple[Form, ...]] = {
    "constant": (_form("value", ""),),
    "uniform": (_form("min max", ""),),
    "normal": (_form("mean stddev"),),
    "lognormal": (
        _form("mu sigma"),
        _form("mean stddev"),
        _form("median sigma"),
        _form("median p99"),
        _form("mean median"),
    ),
    "exponential": (_form("mean"),),
    "geometric": (_form("mean"),),
    "weibull": (_form("shape scale"), _form("mean shape")),
    "pareto": (_form("alpha min", "max"),),
    "mixture": (_form("components"),),
    "empirical": (
        _form("quantiles", "interpolate min max"),
        _form("edges weights"),
        _form("values", "weights min max"),
        _form("path column", "sha256 min max"),
    ),
}
"""The ways to state each distribution; values outside `min` and `max` are moved to the bound."""


class Length(Part):
    """A distribution; a plain number is short for ``{distribution: constant, value: number}``.

    ============  ==========================================  ======================
    constant      value
    uniform       min, max
    normal        mean, stddev                                optional bounds
    lognormal     mu, sigma (of the natural logarithm), or    optional bounds
                  two of the value's own: mean, stddev;
                  median, p99; mean, median; median, sigma
    exponential   mean                                        optional bounds
    geometric     mean (>= 1)                                 optional bounds
    weibull       shape and scale, or mean and shape          optional bounds
    pareto        alpha, min (the scale)                      optional bound max
    mixture       components: distributions with a weight     optional bounds
    empirical     quantiles: [[p, value], …] from p = 0 to    optional bounds,
                  1, or edges and weights of a histogram,     interpolate
                  or values (and weights), or path and
                  column of a file
    ============  ==========================================  ======================

    The spellings of inference-perf and AIPerf are understood (`length_spellings`).
    """

    distribution: Distribution = Field(description="Shape of the distribution.")
    mean: NonNegative | None = Field(default=None, description="Mean, before any bounds.")
    stddev: NonNegative | None = Field(default=None, description="Standard deviation.")
    median: NonNegative | None = Field(default=None, description="Median of a lognormal.")
    p99: NonNegative | None = Field(default=None, description="99th percentile of a lognormal.")
    min: NonNegative | None = Field(default=None, description="Smallest value.")
    max: NonNegative | None = Field(default=None, description="Largest value.")
    value: NonNegative | None = Field(default=None, description="The constant.")
    mu: Number | None = Field(default=None, description="Mean of the natural logarithm.")
    sigma: NonNegative | None = Field(
        default=None, description="Standard deviation of the natural logarithm."
    )
    alpha: Positive | None = Field(default=None, description="Shape (tail index) of a Pareto.")
    shape: Positive | None = Field(default=None, description="Shape of a Weibull.")
    scale: Positive | None = Field(default=None, description="Scale of a Weibull.")
    components: Annotated[tuple[Component, ...], Field(min_length=1)] | None = Field(
        default=None, description="What a mixture is made of."
    )
    quantiles: Annotated[tuple[tuple[Share, NonNegative], ...], Field(min_length=2)] | None = Field(
        default=None, description="Pairs of p and the value that a share p does not exceed."
    )
    interpolate: Literal["log", "linear"] | None = Field(
        default=None,
        description="Between quantiles: even in the logarithm of the value (log, the default, "
        "where both ends are > 0) or in the value.",
    )
    edges: Annotated[tuple[NonNegative, ...], Field(min_length=2)] | None = Field(
        default=None, description="Edges of a histogram's bins, rising; values are even in a bin."
    )
    values: Annotated[tuple[NonNegative, ...], Field(min_length=1)] | None = Field(
        default=None, description="The values that occur, and no others."
    )
    weights: Annotated[tuple[NonNegative, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Weight of each bin or value: shares (sum 1), percentages (sum 100) or counts.",
    )
    path: Annotated[Text, Field(min_length=1)] | None = Field(
        default=None,
        description="File of values, drawn with replacement: CSV, JSONL (gzip or not) or Parquet; "
        "relative to the scenario's file.",
    )
    column: Annotated[Text, Field(min_length=1)] | None = Field(
        default=None, description="Column of the file."
    )
    sha256: Text | None = Field(
        default=None, description="Digest of the file; filled in when the scenario is loaded."
    )

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, data: Any) -> Any:
        return spelled(data)

    @model_serializer(mode="wrap")
    def _stated(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_nulls(dump(self))


class Component(Length):
    """A distribution with its weight in a mixture."""

    weight: NonNegative = Field(
        default=1.0,
        description="Weight beside the other components: shares (sum 1), percentages (sum 100) or "
        "counts.",
    )


Length.model_rebuild()


class JointComponent(Part):
    """One class of requests: a weight, and the lengths of its inputs and outputs."""

    weight: NonNegative = Field(
        default=1.0,
        description="Weight beside the other classes: shares (sum 1), percentages (sum 100) or "
        "counts.",
    )
    input_tokens: Length = Field(description="Prompt tokens of the class.")
    output_tokens: Length = Field(description="Output tokens of the class.")


class JointLengths(Part):
    """Inputs and outputs drawn together, in one of four ways.

    ==============  ==================================================================
    samples         pairs [input, output], with `weights` or all alike
    path            a file of pairs, with the names of its columns `input`, `output`
    components      classes of requests, as AIPerf's sequence distribution
    correlation     rank correlation of `input_tokens` and `output_tokens`
    ==============  ==================================================================
    """

    samples: Annotated[tuple[tuple[NonNegative, NonNegative], ...], Field(min_length=1)] | None = (
        Field(default=None, description="Pairs of input and output tokens, drawn together.")
    )
    weights: Annotated[tuple[NonNegative, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Weight of each sample: shares (sum 1), percentages (sum 100) or counts.",
    )
    path: Annotated[Text, Field(min_length=1)] | None = Field(
        default=None,
        description="File whose rows are drawn with replacement: CSV, JSONL (gzip or not) or "
        "Parquet; relative to the scenario's file.",
    )
    input: Annotated[Text, Field(min_length=1)] | None = Field(
        default=None, description="Column of the file with input tokens."
    )
    output: Annotated[Text, Field(min_length=1)] | None = Field(
        default=None, description="Column of the file with output tokens."
    )
    sha256: Text | None = Field(
        default=None, description="Digest of the file; filled in when the scenario is loaded."
    )
    components: Annotated[tuple[JointComponent, ...], Field(min_length=1)] | None = Field(
        default=None, description="Classes of requests; a request is of one of them."
    )
    input_tokens: Length | None = Field(
        default=None, description="Prompt tokens, with a correlation."
    )
    output_tokens: Length | None = Field(
        default=None, description="Output tokens, with a correlation."
    )
    correlation: Annotated[float, Field(strict=True, ge=-1, le=1)] | None = Field(
        default=None,
        description="Spearman's rank correlation of input and output tokens (a Gaussian copula).",
    )

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, data: Any) -> Any:
        return joint_spelled(data)

    @model_serializer(mode="wrap")
    def _stated(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_nulls(dump(self))


JOINT_FORMS: tuple[Form, ...] = (
    _form("samples", "weights"),
    _form("path input output", "sha256"),
    _form("components", ""),
    _form("input_tokens output_tokens correlation", ""),
)
"""The ways to state inputs and outputs that are drawn together."""


def given_fields(section: Length | JointLengths) -> frozenset[str]:
    """Names of the fields that a distribution states, without its kind and its weight."""
    return frozenset(
        name
        for name in type(section).model_fields
        if name not in {"distribution", "weight"} and getattr(section, name) is not None
    )


def distributions(part: Part, path: str) -> Iterator[tuple[str, Length | JointLengths]]:
    """Every distribution in a part of a scenario, with its path; components come after theirs.

    Args:
        part: Any part, e.g. a tenant.
        path: Where it stands, e.g. ``workload.tenants[0]``.
    """
    if isinstance(part, Length | JointLengths):
        yield path, part
    for name in type(part).model_fields:
        inner = getattr(part, name)
        if isinstance(inner, Part):
            yield from distributions(inner, f"{path}.{name}")
        elif isinstance(inner, tuple):
            for index, item in enumerate(inner):
                if isinstance(item, Part):
                    yield from distributions(item, f"{path}.{name}[{index}]")


def constant(value: float) -> Length:
    """The distribution that always gives ``value``."""
    return Length(distribution="constant", value=value)


def _without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}
