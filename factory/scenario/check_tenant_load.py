"""Checks of how sessions start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from factory.errors import Problem
from factory.scenario.findings import unknown_zone
from factory.scenario.tenant_load import (
    AMOUNTS,
    DEFAULT_BURST,
    DEFAULT_PEAK_HOUR,
    Bursts,
    Diurnal,
    Load,
    RateProfile,
)

BY_CV = ("gamma", "weibull")
TIMED = ("concurrency", "at")
"""Amounts that say themselves when sessions start."""

LEAST_CV, MOST_CV = 0.01, 100.0
"""Beyond these a renewal process is in effect deterministic, or silent for whole runs."""

SHORTEST_REPEAT_S = 60.0
"""What repeats faster than this is a burst, not a profile."""


def load_problems(path: str, load: Load, *, is_mixed: bool = False) -> Iterator[Problem]:
    """What is wrong with a load whose section stands at `path`.

    Args:
        path: Place of the section.
        load: The section.
        is_mixed: Whether a mix says how much the tenant asks.
    """
    if not is_mixed:
        yield from _amount_problems(path, load)
    yield from _arrival_problems(path, load)
    if load.bursts is not None:
        yield from _burst_problems(f"{path}.bursts", load.bursts)
    if load.profile is not None:
        yield from _profile_problems(f"{path}.profile", load.profile)


def _amount_problems(path: str, load: Load) -> Iterator[Problem]:
    """How much: one way to say it, and what goes with it."""
    given = [name for name in AMOUNTS if getattr(load, name) is not None]
    from_file = load.profile is not None and load.profile.path is not None
    if len(given) > 1 or not (given or from_file):
        message = f"must give exactly one of {', '.join(AMOUNTS[:-1])} and {AMOUNTS[-1]}"
        allowed = "one of them, or none with the rates of a file: profile.path"
        yield Problem(path, message, " and ".join(given) or "none", allowed)
    if load.users is not None and load.requests_per_user_per_day is None:
        message = "is missing: what each of the users asks per day"
        yield Problem(f"{path}.requests_per_user_per_day", message)
    if load.users is None and load.requests_per_user_per_day is not None:
        message, value = "goes with users", load.requests_per_user_per_day
        yield Problem(f"{path}.requests_per_user_per_day", message, value)
    if load.concurrency is None and load.concurrency_ramp_s:
        message = "goes with concurrency; a rate rises with profile.ramp"
        yield Problem(f"{path}.concurrency_ramp_s", message, load.concurrency_ramp_s)
    if load.concurrency_ramp_s and load.warm_start is not None:
        message = "says when clients begin, and with warm_start they began before the run"
        yield Problem(f"{path}.concurrency_ramp_s", message, load.concurrency_ramp_s)
    if load.at is not None:
        yield from _time_problems(f"{path}.at", load.at)


def _arrival_problems(path: str, load: Load) -> Iterator[Problem]:
    """The process, and the fields that belong to one."""
    why = _no_process(load)
    if why and load.arrival != "poisson":
        yield Problem(f"{path}.arrival", f"goes with a rate; {why}", load.arrival)
    if why and load.profile is not None:
        yield Problem(f"{path}.profile", f"goes with a rate; {why}")
    if load.arrival not in BY_CV:
        if load.cv != 1.0:
            message = f"is for arrival: {' and '.join(BY_CV)} only"
            yield Problem(f"{path}.cv", message, load.cv)
    elif not LEAST_CV <= load.cv <= MOST_CV:
        allowed = f"{LEAST_CV:g} to {MOST_CV:g}"
        if load.cv < LEAST_CV:
            allowed += ", or arrival: deterministic"
        yield Problem(f"{path}.cv", "is out of range", load.cv, allowed)
    if load.bursts is not None and load.arrival != "bursts":
        yield Problem(f"{path}.bursts", "is for arrival: bursts only")


def _no_process(load: Load) -> str | None:
    """Why the load has no arrival process, if it has none."""
    if any(getattr(load, name) is not None for name in AMOUNTS if name not in TIMED):
        return None
    if load.at is not None:
        return "the local times are exact"
    return "a closed loop starts a session when one ends" if load.concurrency else None


def _burst_problems(path: str, bursts: Bursts) -> Iterator[Problem]:
    named = [name for name in DEFAULT_BURST if getattr(bursts, name) is not None]
    if bursts.states is None:
        if bursts.next != "cyclic":
            yield Problem(f"{path}.next", "says nothing of two states", bursts.next, "cyclic")
        return
    for name in named:
        message = "says what states says; give one of them"
        yield Problem(f"{path}.{name}", message, getattr(bursts, name))
    if len(bursts.states) < 2:
        message = "must have at least two states; one alone is arrival: poisson"
        yield Problem(f"{path}.states", message, list(bursts.states))
    elif not any(state.factor for state in bursts.states):
        yield Problem(f"{path}.states", "must have a state with factor > 0: nobody would come")


def _profile_problems(path: str, profile: RateProfile) -> Iterator[Problem]:
    if profile.points is not None and profile.path is not None:
        yield Problem(path, "must give at most one of points and path", "both")
    if profile.sha256 is not None and profile.path is None:
        yield Problem(f"{path}.sha256", "goes with path", profile.sha256)
    if profile.points is not None:
        yield from _point_problems(f"{path}.points", profile.points, repeat=profile.repeat)
    elif profile.path is None and profile.repeat:
        message = "goes with points or path; days repeat anyway"
        yield Problem(f"{path}.repeat", message, profile.repeat)
    ramp = profile.ramp
    if ramp is not None and ramp.from_factor == ramp.to_factor == 0:
        message = "must not stay at 0: nobody would ever come"
        yield Problem(f"{path}.ramp.to_factor", message, ramp.to_factor)
    if profile.diurnal is not None:
        yield from _diurnal_problems(f"{path}.diurnal", profile.diurnal)


def _diurnal_problems(path: str, diurnal: Diurnal) -> Iterator[Problem]:
    if diurnal.time_zone is not None:
        yield from unknown_zone(f"{path}.time_zone", diurnal.time_zone)
    if diurnal.peak_to_mean == 1 and diurnal.peak_hour != DEFAULT_PEAK_HOUR:
        message = "says nothing of a flat day; raise peak_to_mean"
        yield Problem(f"{path}.peak_hour", message, diurnal.peak_hour)


def _point_problems(
    path: str, points: Sequence[Sequence[float]], *, repeat: bool
) -> Iterator[Problem]:
    """Pairs in order of time, somewhere above 0."""
    whole = True
    for index, point in enumerate(points):
        if len(point) != 2:
            whole = False
            yield Problem(f"{path}[{index}]", "must be a pair [time_s, factor]", list(point))
    if not whole:
        return
    times = [point[0] for point in points]
    for index in range(1, len(times)):
        if times[index] < times[index - 1]:
            message = f"runs back in time: the point before is at {times[index - 1]:g} s"
            yield Problem(f"{path}[{index}]", message, times[index], "sort the points by time")
        elif index > 1 and times[index] == times[index - 2]:
            message = "is the third point at one time; a jump has two"
            yield Problem(f"{path}[{index}]", message, times[index])
    if not any(point[1] for point in points):
        yield Problem(path, "must have a factor > 0: nobody would ever come", list(points))
    elif repeat:
        if times[0] != 0:
            message = "must be at 0 where points repeat"
            yield Problem(f"{path}[0]", message, times[0])
        elif times[-1] < SHORTEST_REPEAT_S:
            message = f"must reach {SHORTEST_REPEAT_S:g} s where points repeat"
            allowed = "for faster changes arrival: bursts"
            yield Problem(path, message, times[-1], allowed)
        elif not any(
            point[1] or other[1] for point, other in pairwise(points) if other[0] > point[0]
        ):
            yield Problem(path, "must be above 0 for a while: nobody would ever come", list(points))


def _time_problems(path: str, times: Sequence[str]) -> Iterator[Problem]:
    if not times:
        yield Problem(path, "must have at least one local time, as 02:00", [])
    for index, time in enumerate(times):
        if time in times[:index]:
            message = f"is the same time as {path}[{times.index(time)}]"
            yield Problem(f"{path}[{index}]", message, time, "each time once")
