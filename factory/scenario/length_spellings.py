"""Distributions as inference-perf and AIPerf spell them, in this project's words.

* inference-perf (kubernetes-sigs, 2025-2026): ``{type: fixed | uniform | normal | lognormal, mean,
  std_dev, min, max}``; normal where no type is given, and ``fixed`` is its ``mean``.
* AIPerf (NVIDIA, 2026), sampling distributions of its YAML: ``{mean, stddev}`` is normal,
  ``{mean, median}`` and ``{p50, p99}`` are lognormal, ``{peaks: [{…, weight}]}`` is a mixture and
  ``{points: [{value, weight}]}`` draws the values listed; ``type`` may say so too.
* AIPerf's sequence distribution: ``"ISL|STDDEV,OSL|STDDEV:PROB;…"``, the same in brackets, as
  ``{pairs: [{isl, isl_stddev, osl, osl_stddev, prob}]}``, or as a list of
  ``{isl, osl, probability}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NAMES: Mapping[str, tuple[str, ...]] = {
    "distribution": ("type",),
    "stddev": ("std_dev", "std"),
    "median": ("p50",),
    "components": ("peaks",),
}
_KINDS: Mapping[str, str] = {
    "fixed": "constant",
    "multimodal": "mixture",
    "percentile": "lognormal",
}
_IMPLIED: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"components"}), "mixture"),
    (frozenset({"quantiles"}), "empirical"),
    (frozenset({"edges"}), "empirical"),
    (frozenset({"values"}), "empirical"),
    (frozenset({"path"}), "empirical"),
    (frozenset({"p99"}), "lognormal"),
    (frozenset({"median"}), "lognormal"),
    (frozenset({"mean", "stddev"}), "normal"),
    (frozenset({"value"}), "constant"),
)
"""The distribution that fields imply where none is named; the first that fits."""

_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_LENGTH = rf"\s*{_NUMBER}\s*(?:\|\s*{_NUMBER}\s*)?"
_PAIR = re.compile(rf"\(?{_LENGTH},{_LENGTH}\)?\s*:\s*{_NUMBER}\s*")
_SEPARATOR = re.compile(r"[;,]\s*")


def spelled(data: Any) -> Any:
    """A distribution with the names of `Length`.

    Args:
        data: What was written; a plain number is a constant.

    Raises:
        ValueError: One thing is said twice.
    """
    if isinstance(data, int | float) and not isinstance(data, bool):
        return {"distribution": "constant", "value": data}
    if not isinstance(data, Mapping):
        return data
    named = dict(data)
    for name, others in _NAMES.items():
        _rename(named, name, others)
    _points(named)
    kind = named.get("distribution")
    if kind == "fixed" and named.get("value") is None and "mean" in named:
        named["value"] = named.pop("mean")
    if isinstance(kind, str):
        named["distribution"] = _KINDS.get(kind, kind)
    elif kind is None:
        given = {name for name, value in named.items() if value is not None}
        implied = next((kind for needs, kind in _IMPLIED if needs <= given), None)
        if implied is not None:
            named["distribution"] = implied
    return named


def joint_spelled(data: Any) -> Any:
    """Inputs and outputs drawn together, with the names of `JointLengths`.

    Raises:
        ValueError: One thing is said twice, or a sequence distribution cannot be read.
    """
    if isinstance(data, str):
        return {"components": _sequences(data)}
    if not isinstance(data, Mapping):
        return data
    named = dict(data)
    _rename(named, "components", ("sequence_distribution", "pairs"))
    _rename(named, "input_tokens", ("isl",))
    _rename(named, "output_tokens", ("osl",))
    written = named.get("components")
    if isinstance(written, Mapping) and "pairs" in written:
        written = written["pairs"]
    if isinstance(written, str):
        named["components"] = _sequences(written)
    elif isinstance(written, list | tuple):
        named["components"] = [_class(item) for item in written]
    return named


def _rename(named: dict[str, Any], name: str, others: tuple[str, ...]) -> None:
    for other in others:
        if other in named:
            if named.get(name) is not None:
                raise ValueError(f"has {name} and {other}, which are the same; keep one")
            named[name] = named.pop(other)


def _points(named: dict[str, Any]) -> None:
    """AIPerf's weighted values; what is not of that shape is left for the schema to refuse."""
    points = named.get("points")
    if not isinstance(points, list) or not all(isinstance(point, Mapping) for point in points):
        return
    if named.get("values") is not None:
        raise ValueError("has values and points, which are the same; keep one")
    del named["points"]
    named["values"] = [point.get("value") for point in points]
    named["weights"] = [point.get("weight", 1.0) for point in points]


def _class(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    named = dict(item)
    _rename(named, "weight", ("probability", "prob"))
    for name, other in (("input_tokens", "isl"), ("output_tokens", "osl")):
        _rename(named, name, (other,))
        stddev = named.pop(f"{other}_stddev", None)
        if stddev:
            named[name] = {"distribution": "normal", "mean": named.get(name), "stddev": stddev}
    return named


def _sequences(text: str) -> list[dict[str, Any]]:
    """The classes of ``256|10,128|5:40;512,256:60`` or ``[(256,128):40,(512,256):60]``."""
    rest = text.strip().removeprefix("[").removesuffix("]").strip()
    classes = []
    while rest:
        match = _PAIR.match(rest)
        if match is None:
            raise ValueError(
                f'cannot be read at "{rest[:20]}": a sequence distribution is '
                '"ISL,OSL:WEIGHT;ISL,OSL:WEIGHT", each length as MEAN or MEAN|STDDEV'
            )
        isl, isl_stddev, osl, osl_stddev, weight = match.groups()
        classes.append(
            {
                "weight": float(weight),
                "input_tokens": _normal(isl, isl_stddev),
                "output_tokens": _normal(osl, osl_stddev),
            }
        )
        rest = rest[match.end() :]
        separator = _SEPARATOR.match(rest)
        if rest and separator is None:
            raise ValueError(f'must have ; before "{rest[:20]}"')
        rest = rest[separator.end() :] if separator else rest
    return classes


def _normal(mean: str, stddev: str | None) -> float | dict[str, Any]:
    if stddev is None or float(stddev) == 0:
        return float(mean)
    return {"distribution": "normal", "mean": float(mean), "stddev": float(stddev)}
