"""Checks of distributions of lengths and times."""

from __future__ import annotations

from collections.abc import Iterator

from factory.errors import Problem
from factory.scenario.lengths import BOUNDS, NEEDS, Length


def length_problems(path: str, length: Length) -> Iterator[Problem]:
    """What is wrong with a distribution whose section stands at `path`."""
    kind = length.distribution
    given = {
        name
        for name in type(length).model_fields
        if name != "distribution" and getattr(length, name) is not None
    }
    needs = NEEDS[kind]
    bounds = BOUNDS.get(kind, frozenset())
    wanted = " or ".join(" and ".join(sorted(group)) for group in needs)
    core = given - bounds
    if core not in needs:
        for name in sorted(core - frozenset().union(*needs)):
            yield Problem(f"{path}.{name}", f"{kind} takes no {name}", None, wanted)
        if not any(core >= group for group in needs):
            yield Problem(path, f"{kind} needs {wanted}", ", ".join(sorted(core)) or "neither")
        elif sum(core >= group for group in needs) > 1 or len(needs) > 1:
            yield from _contradiction(path, kind, core, wanted)
    if length.min is not None and length.max is not None and length.min > length.max:
        yield Problem(f"{path}.min", f"must be <= max ({length.max:g})", length.min)
    if kind == "geometric" and length.mean is not None and length.mean < 1:
        yield Problem(f"{path}.mean", "must be >= 1 for geometric", length.mean)
    if kind == "pareto" and length.min == 0:
        yield Problem(f"{path}.min", "must be > 0 for pareto", length.min)
    if kind == "pareto" and length.alpha is not None and length.alpha <= 1 and length.max is None:
        message = "must be > 1 without a max: the mean would be infinite"
        yield Problem(f"{path}.alpha", message, length.alpha)
    if kind == "lognormal" and length.mean == 0:
        yield Problem(f"{path}.mean", "must be > 0 for lognormal", length.mean)


def _contradiction(path: str, kind: str, core: set[str], wanted: str) -> Iterator[Problem]:
    """Two ways to say the same, e.g. a lognormal with mu and mean."""
    if len(core) > max(len(group) for group in NEEDS[kind]):
        message = f"{kind} takes {wanted}, not a mix"
        yield Problem(path, message, ", ".join(sorted(core)))


def largest(length: Length) -> float:
    """The largest value a distribution gives."""
    if length.distribution == "constant":
        return length.value or 0.0
    return length.max if length.max is not None else float("inf")
