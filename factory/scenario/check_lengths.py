"""Checks of distributions of lengths and times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from factory.errors import Problem
from factory.scenario.lengths import (
    FORMS,
    JOINT_FORMS,
    Form,
    JointLengths,
    Length,
    given_fields,
)

# exp(700) is near the largest number that a computer holds.
_LARGEST_LOG = 700.0
_WEIGHTS = "shares that add up to 1, percentages that add up to 100, or counts (whole numbers)"


def length_problems(path: str, length: Length, *, is_bounded: bool = False) -> Iterator[Problem]:
    """What is wrong with a distribution whose section stands at `path`.

    Args:
        path: Place of the section in the scenario.
        length: The section.
        is_bounded: Whether something around it bounds its values.
    """
    kind = length.distribution
    yield from _form_problems(path, kind, FORMS[kind], given_fields(length))
    if length.min is not None and length.max is not None and length.min > length.max:
        yield Problem(f"{path}.min", f"must be <= max ({length.max:g})", length.min)
    is_bounded = is_bounded or length.max is not None
    if kind == "geometric" and length.mean is not None and length.mean < 1:
        yield Problem(f"{path}.mean", "must be >= 1 for geometric", length.mean)
    elif kind == "pareto":
        yield from _pareto_problems(path, length, is_bounded)
    elif kind == "lognormal":
        yield from _lognormal_problems(path, length)
    elif kind == "weibull":
        yield from _weibull_problems(path, length)
    elif kind == "empirical":
        yield from _empirical_problems(path, length)
    if length.components is not None:
        weights = [component.weight for component in length.components]
        yield from weight_problems(f"{path}.components", weights)
        for index, component in enumerate(length.components):
            place = f"{path}.components[{index}]"
            yield from length_problems(place, component, is_bounded=is_bounded)


def joint_problems(path: str, section: JointLengths) -> Iterator[Problem]:
    """What is wrong with inputs and outputs drawn together, whose section stands at `path`."""
    yield from _form_problems(path, "lengths", JOINT_FORMS, given_fields(section))
    if section.samples is not None:
        yield from _count_problems(path, section.weights, len(section.samples), "samples")
        for column, name in enumerate(("input", "output")):
            most = max(pair[column] for pair in section.samples)
            if most < 1:
                message = f"must have a sample with {name} tokens of at least 1"
                yield Problem(f"{path}.samples", message, most)
    marginals = {"input_tokens": section.input_tokens, "output_tokens": section.output_tokens}
    for name, length in marginals.items():
        if length is not None:
            yield from _token_problems(f"{path}.{name}", length)
            if section.correlation is not None and length.distribution == "mixture":
                message = "cannot be correlated: a mixture's quantiles have no closed form"
                remedy = "its quantile table (empirical), or samples of pairs"
                yield Problem(f"{path}.{name}", message, None, remedy)
            if section.correlation and length.distribution == "constant":
                message = f"has no effect: {name} is constant"
                yield Problem(f"{path}.correlation", message, section.correlation)
    for index, item in enumerate(section.components or ()):
        place = f"{path}.components[{index}]"
        yield from _token_problems(f"{place}.input_tokens", item.input_tokens)
        yield from _token_problems(f"{place}.output_tokens", item.output_tokens)
    if section.components is not None:
        weights = [item.weight for item in section.components]
        yield from weight_problems(f"{path}.components", weights)


def weight_problems(path: str, weights: Sequence[float]) -> Iterator[Problem]:
    """What is wrong with weights at `path`: they are shares, percentages or counts."""
    total = math.fsum(weights)
    if total == 0:
        yield Problem(path, "weights must not all be 0", 0, _WEIGHTS)
    elif not all(weight.is_integer() for weight in weights) and not any(
        math.isclose(total, whole, rel_tol=1e-6) for whole in (1.0, 100.0)
    ):
        yield Problem(path, "weights must add up", round(total, 9), _WEIGHTS)


def largest(length: Length) -> float:
    """The largest value a distribution gives; infinite where none is known."""
    most = math.inf if length.max is None else length.max
    if length.distribution == "constant":
        return length.value or 0.0
    if length.quantiles is not None:
        return min(most, length.quantiles[-1][1])
    for listed in (length.edges, length.values):
        if listed is not None:
            return min(most, max(listed))
    if length.components is not None:
        return min(most, max(largest(component) for component in length.components))
    return most


def smallest(length: Length) -> float:
    """A value that no value of a distribution is below."""
    least = length.min or 0.0
    if length.distribution == "constant":
        return length.value or 0.0
    if length.quantiles is not None:
        return max(least, length.quantiles[0][1])
    for listed in (length.edges, length.values):
        if listed is not None:
            return max(least, min(listed))
    if length.components is not None:
        return max(least, min(smallest(component) for component in length.components))
    return least


def _form_problems(
    path: str, kind: str, forms: Sequence[Form], given: frozenset[str]
) -> Iterator[Problem]:
    """Fields that are missing, that nothing takes, or that say the same in two ways."""
    known: frozenset[str] = frozenset().union(*(form.needs | form.may for form in forms))
    wanted = " or ".join(_listed(form.needs) for form in forms)
    stray = sorted(given - known)
    for name in stray:
        yield Problem(f"{path}.{name}", f"{kind} takes no {name}", None, wanted)
    fitting = [form for form in forms if form.needs <= given]
    if not fitting:
        named = given & frozenset().union(*(form.needs for form in forms))
        yield Problem(path, f"{kind} needs {wanted}", ", ".join(sorted(named)) or "neither")
    elif len(fitting) > 1:
        ways = " or ".join(_listed(form.needs) for form in fitting)
        yield Problem(path, f"{kind} takes {ways}, not a mix", ", ".join(sorted(given)))
    else:
        (form,) = fitting
        for name in sorted(given - form.needs - form.may - set(stray)):
            message = f"contradicts {_listed(form.needs)}, which say all"
            if name in {"weights", "interpolate", "sha256"}:
                message = f"has no meaning beside {_listed(form.needs)}"
            yield Problem(f"{path}.{name}", message, None, "leave one out")


def _listed(names: frozenset[str]) -> str:
    return " and ".join(sorted(names))


def _pareto_problems(path: str, length: Length, is_bounded: bool) -> Iterator[Problem]:
    if length.min == 0:
        yield Problem(f"{path}.min", "must be > 0 for pareto", length.min)
    if length.alpha is not None and length.alpha <= 1 and not is_bounded:
        message = "must be > 1 without a max: the mean would be infinite"
        yield Problem(f"{path}.alpha", message, length.alpha)


def _lognormal_problems(path: str, length: Length) -> Iterator[Problem]:
    for name in ("mean", "median"):
        if getattr(length, name) == 0:
            yield Problem(f"{path}.{name}", "must be > 0 for lognormal", 0.0)
    if length.median is not None:
        for name in ("mean", "p99"):
            value = getattr(length, name)
            if value is not None and value < length.median:
                message = f"must be >= median ({length.median:g}) for lognormal"
                yield Problem(f"{path}.{name}", message, value)
    if length.sigma is not None and (length.mu or 0.0) + length.sigma**2 / 2 > _LARGEST_LOG:
        message = "the mean would be infinite: mu + sigma² / 2 must stay below 700"
        yield Problem(f"{path}.sigma", message, length.sigma)


def _weibull_problems(path: str, length: Length) -> Iterator[Problem]:
    if length.shape is None:
        return
    log_square = math.lgamma(1 + 2 / length.shape) + 2 * math.log(length.scale or 1.0)
    if log_square > _LARGEST_LOG:
        message = "is too small: the variance would be infinite"
        yield Problem(f"{path}.shape", message, length.shape, "0.1 or more")


def _empirical_problems(path: str, length: Length) -> Iterator[Problem]:
    if length.quantiles is not None:
        yield from _table_problems(f"{path}.quantiles", length.quantiles)
    if length.edges is not None:
        for index, (left, right) in enumerate(pairwise(length.edges), 1):
            if right <= left:
                message = f"must rise: the edge before is {left:g}"
                yield Problem(f"{path}.edges[{index}]", message, right)
        bins = len(length.edges) - 1
        yield from _count_problems(path, length.weights, bins, f"bins ({bins + 1} edges)")
    elif length.values is not None:
        yield from _count_problems(path, length.weights, len(length.values), "values")


def _table_problems(path: str, table: Sequence[tuple[float, float]]) -> Iterator[Problem]:
    first, last = table[0][0], table[-1][0]
    if first != 0:
        yield Problem(f"{path}[0]", "must be [0, the smallest value]", list(table[0]))
    if last != 1:
        yield Problem(
            f"{path}[{len(table) - 1}]", "must be [1, the largest value]", list(table[-1])
        )
    for index, ((p, value), (next_p, next_value)) in enumerate(pairwise(table), 1):
        if next_p <= p:
            message = f"p must rise: the one before is {p:g}"
            yield Problem(f"{path}[{index}][0]", message, next_p)
        if next_value < value:
            message = f"values must not fall: the one before is {value:g}"
            yield Problem(f"{path}[{index}][1]", message, next_value)


def _count_problems(
    path: str, weights: Sequence[float] | None, count: int, what: str
) -> Iterator[Problem]:
    if weights is None:
        return
    if len(weights) != count:
        message = f"must be one for each of the {count} {what}"
        yield Problem(f"{path}.weights", message, len(weights), f"{count} weights")
    else:
        yield from weight_problems(f"{path}.weights", weights)


def _token_problems(path: str, length: Length) -> Iterator[Problem]:
    yield from length_problems(path, length)
    if largest(length) < 1:
        yield Problem(path, "must reach at least 1", largest(length))
