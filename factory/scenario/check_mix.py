"""Checks of a mix of tenants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from factory.errors import Problem
from factory.scenario.findings import unknown
from factory.scenario.mix import Mix
from factory.scenario.tenant_load import Load

_SHAPE = frozenset({"arrival", "cv", "bursts", "warm_start"})

TOLERANCE = 1e-9
"""How far shares may be from 1 in sum: what rounding of decimal fractions leaves."""


def mix_problems(path: str, mix: Mix, tenants: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with a mix.

    Args:
        path: Place of the section in the scenario.
        mix: The section.
        tenants: Names of the scenario's tenants.
    """
    if (mix.shares is None) == (mix.schedule is None):
        what = "neither" if mix.shares is None else "both"
        yield Problem(path, "must give exactly one of shares and schedule", what)
    if mix.shares is not None:
        yield from _share_problems(f"{path}.shares", mix.shares, tenants)
    for index, point in enumerate(mix.schedule or ()):
        yield from _share_problems(f"{path}.schedule[{index}].shares", point.shares, tenants)
    for index, (before, after) in enumerate(pairwise(mix.schedule or ()), start=1):
        if after.at_s <= before.at_s:
            message = f"must come after schedule[{index - 1}].at_s, {before.at_s:g}"
            yield Problem(f"{path}.schedule[{index}].at_s", message, after.at_s)
    if mix.toward is not None:
        yield from _share_problems(f"{path}.toward", mix.toward, tenants)
    elif mix.position:
        message = "moves the shares toward nothing; state the shares at 1 under toward"
        yield Problem(f"{path}.position", message, mix.position)
    profile = mix.profile
    if mix.schedule and profile and (profile.points or profile.path):
        message = "has points of its own; beside a schedule it may have diurnal, ramp and spikes"
        yield Problem(f"{path}.profile", message)


def mixed_load_problems(path: str, load: Load) -> Iterator[Problem]:
    """What is wrong with the load of a tenant that a mix feeds: the mix says how much.

    Args:
        path: Place of the section in the scenario.
        load: The section.
    """
    for name, field in Load.model_fields.items():
        given = getattr(load, name)
        if name not in _SHAPE and given != field.default:
            message = "the mix feeds this tenant: leave it out, or take its share out of the mix"
            yield Problem(f"{path}.{name}", message, given, ", ".join(sorted(_SHAPE)))


def _share_problems(
    path: str, shares: Mapping[str, float], tenants: Sequence[str]
) -> Iterator[Problem]:
    for name in shares:
        yield from unknown(f"{path}.{name}", "tenant", name, tenants)
    total = math.fsum(shares.values())
    if abs(total - 1) <= TOLERANCE:
        return
    message = f"must sum to 1, but sum to {total:.10g}"
    if total > 0:
        message += f"; in proportion: {_in_proportion(shares, total)}"
    yield Problem(path, message)


def _in_proportion(shares: Mapping[str, float], total: float) -> str:
    """The shares divided by their sum, as they may be written: the last takes the rounding."""
    *others, last = shares
    scaled = {name: round(shares[name] / total, 4) for name in others}
    scaled[last] = round(1 - math.fsum(scaled.values()), 4)
    return "{" + ", ".join(f"{name}: {share:g}" for name, share in scaled.items()) + "}"
