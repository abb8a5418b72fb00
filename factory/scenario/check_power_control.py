"""Checks of power control and breakers: curves that fall, thresholds in order, budgets to watch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf

from factory.errors import Problem
from factory.scenario.facility import Facility
from factory.scenario.power_control import (
    Breaker,
    LoopTerms,
    PowerControl,
    Threshold,
    loop_terms,
)
from factory.scenario.schema import Scenario

_REACTIVE = (
    "preset",
    "telemetry_s",
    "averaging_s",
    "actuation_s",
    "brake_s",
    "hysteresis_ratio",
    "levels",
    "thresholds",
    "brake",
)
"""Fields that say nothing unless control is reactive."""

_PATH = "facility.control"
_DEFAULT_SHARE = PowerControl().share


def power_control_problems(scenario: Scenario) -> Iterator[Problem]:
    """What is wrong with the control of power and with breakers."""
    facility = scenario.facility
    pools = [pool for deployment in scenario.deployments for pool in deployment.pools]
    yield from control_problems(facility, [pool.power.priority for pool in pools])
    has_budget = facility.budget_mw is not None
    yield from _protected("facility", facility.breaker, "budget_mw", has_budget=has_budget)
    for index, row in enumerate(facility.rows):
        has_budget = row.budget_kw is not None
        path = f"facility.rows[{index}]"
        yield from _protected(path, row.breaker, "budget_kw", has_budget=has_budget)
    for index, group in enumerate(facility.racks):
        has_budget = group.budget_kw is not None
        path = f"facility.racks[{index}]"
        yield from _protected(path, group.breaker, "budget_kw", has_budget=has_budget)


def control_problems(facility: Facility, priorities: Sequence[int]) -> Iterator[Problem]:
    """What is wrong with ``facility.control``.

    Args:
        facility: The facility.
        priorities: ``power.priority`` of each pool.
    """
    control = facility.control
    if control.mode != "ideal" and control.share != _DEFAULT_SHARE:
        message = "is for mode: ideal only; reactive control obeys its thresholds"
        yield Problem(f"{_PATH}.share", message, control.share)
    if control.mode != "reactive":
        for name in _REACTIVE:
            value = getattr(control, name)
            if value is not None:
                given = value if isinstance(value, str | float | int) else None
                yield Problem(f"{_PATH}.{name}", "is for mode: reactive only", given)
        return
    terms = loop_terms(control)
    yield from _level_problems(facility, control, terms)
    yield from _time_problems(control, terms)
    if not terms.thresholds and terms.brake is None:
        message = "has nothing to act with: give thresholds, a brake, or preset: polca"
        yield Problem(_PATH, message)
    elif control.thresholds == ():
        message = "must have at least one item; leave it out for the preset's, or for a brake only"
        yield Problem(f"{_PATH}.thresholds", message)
    yield from _threshold_problems(control, terms, priorities)


def _level_problems(
    facility: Facility, control: PowerControl, terms: LoopTerms
) -> Iterator[Problem]:
    budgets = {
        "facility": facility.budget_mw is not None,
        "row": any(row.budget_kw is not None for row in facility.rows),
        "rack": any(group.budget_kw is not None for group in facility.racks),
    }
    where = {
        "facility": "facility.budget_mw",
        "row": "facility.rows[].budget_kw",
        "rack": "facility.racks[].budget_kw",
    }
    if control.levels is None:
        if not any(budgets[level] for level in terms.levels):
            allowed = ", ".join(where[level] for level in terms.levels)
            if control.preset is not None:
                allowed += f"; or levels beside the preset's {', '.join(terms.levels)}"
            yield Problem(f"{_PATH}.mode", "finds no budget to watch", control.mode, allowed)
        return
    if not control.levels:
        allowed = "facility, row, rack"
        yield Problem(f"{_PATH}.levels", "must have at least one item", None, allowed)
    for number, level in enumerate(control.levels):
        path = f"{_PATH}.levels[{number}]"
        if level in control.levels[:number]:
            yield Problem(path, "is there twice", level)
        elif not budgets[level]:
            yield Problem(path, f"has no budget to watch: give {where[level]}", level)


def _time_problems(control: PowerControl, terms: LoopTerms) -> Iterator[Problem]:
    samples = terms.averaging_s / terms.telemetry_s
    if control.averaging_s is not None and abs(samples - round(samples)) > 1e-9 * samples:
        message = f"must be a multiple of telemetry_s ({terms.telemetry_s:g})"
        near = max(round(samples), 1) * terms.telemetry_s
        yield Problem(f"{_PATH}.averaging_s", message, control.averaging_s, f"as {near:g}")


def _threshold_problems(
    control: PowerControl, terms: LoopTerms, priorities: Sequence[int]
) -> Iterator[Problem]:
    brake_at = terms.brake.at_ratio if terms.brake is not None else inf
    stated = control.thresholds is not None
    path = f"{_PATH}.thresholds"
    for number, threshold in enumerate(terms.thresholds):
        place = f"{path}[{number}]" if stated else f"{_PATH}.brake"
        at_ratio = threshold.at_ratio
        if number and at_ratio < terms.thresholds[number - 1].at_ratio:
            before = terms.thresholds[number - 1].at_ratio
            message = f"must be >= the one before ({before:g}): thresholds come in order"
            yield Problem(f"{place}.at_ratio", message, at_ratio)
        if at_ratio >= brake_at:
            message = f"must be below the brake's at_ratio ({brake_at:g}), which is the last resort"
            if not stated:
                message = f"must be above the last threshold ({at_ratio:g}), as the last resort"
                yield Problem(f"{place}.at_ratio", message, brake_at)
                break
            yield Problem(f"{place}.at_ratio", message, at_ratio)
        if stated:
            yield from _idle_threshold(place, terms.thresholds, number, priorities)
    lowest = min((each.at_ratio for each in terms.thresholds), default=brake_at)
    if terms.hysteresis_ratio >= lowest:
        message = f"must be below the lowest at_ratio ({lowest:g}), or nothing ever lets go"
        yield Problem(f"{_PATH}.hysteresis_ratio", message, terms.hysteresis_ratio)
    if terms.brake is not None and terms.thresholds:
        clock = min(each.clock_ratio for each in terms.thresholds)
        if terms.brake.clock_ratio > clock:
            message = f"must be <= the lowest clock of the thresholds ({clock:g})"
            yield Problem(f"{_PATH}.brake.clock_ratio", message, terms.brake.clock_ratio)


def _idle_threshold(
    place: str, thresholds: Sequence[Threshold], number: int, priorities: Sequence[int]
) -> Iterator[Problem]:
    """A threshold that nobody obeys, or that earlier ones have already gone beyond."""
    threshold = thresholds[number]
    most = inf if threshold.priority is None else threshold.priority
    if priorities and min(priorities) > most:
        message = "holds nobody back: no pool's power.priority is that low"
        allowed = f"at least {min(priorities)}, or left out for all"
        yield Problem(f"{place}.priority", message, threshold.priority, allowed)
    for earlier in thresholds[:number]:
        reach = inf if earlier.priority is None else earlier.priority
        if reach >= most and earlier.clock_ratio <= threshold.clock_ratio:
            message = f"has no effect: one before holds them at {earlier.clock_ratio:g} already"
            yield Problem(f"{place}.clock_ratio", message, threshold.clock_ratio)
            return


def _protected(
    path: str, breaker: Breaker | None, budget: str, *, has_budget: bool
) -> Iterator[Problem]:
    if breaker is None:
        return
    if not has_budget:
        message = f"needs {budget} beside it: its curve is in multiples of that"
        yield Problem(f"{path}.breaker", message)
    yield from breaker_problems(f"{path}.breaker", breaker)


def breaker_problems(path: str, breaker: Breaker) -> Iterator[Problem]:
    """What is wrong with a breaker.

    Args:
        path: Of the breaker, e.g. ``facility.rows[0].breaker``.
        breaker: The breaker.
    """
    for number, (ratio, seconds) in enumerate(breaker.curve):
        place = f"{path}.curve[{number}]"
        if ratio <= 1.0:
            message = "must be > 1: a breaker carries its rating for ever"
            yield Problem(f"{place}[0]", message, ratio)
        if seconds <= 0.0:
            yield Problem(f"{place}[1]", "must be > 0: seconds tolerated", seconds)
    for number, (before, after) in enumerate(pairwise(breaker.curve), start=1):
        place = f"{path}.curve[{number}]"
        if after[0] <= before[0]:
            message = f"must be > the ratio before ({before[0]:g}): points come in order"
            yield Problem(f"{place}[0]", message, after[0])
        elif after[1] > before[1]:
            message = f"must be <= the seconds before ({before[1]:g}): more is tolerated for less"
            yield Problem(f"{place}[1]", message, after[1])
