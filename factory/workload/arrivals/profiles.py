"""Rate over time relative to its mean, and what is left of it: its integral and the way back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike

from factory.scenario.tenant_load import RateProfile, Spike
from factory.workload.arrivals import rate_files
from factory.workload.arrivals.clock import Clock
from factory.workload.arrivals.curves import Curve, Days, From, Points, Product
from factory.workload.arrivals.segments import Floats, Segments, joined

#: A curve under which no area has been added for so long has ended, s.
ENDED_S = 1e9


class Profile:
    """A factor over time from 0 on; the rate is it times the load's rate.

    The factor f is piecewise linear. Its integral is Λ(t) = ∫₀ᵗ f, seconds of operational time;
    arrivals of a unit process at u happen at Λ⁻¹(u) (Çinlar, Introduction to Stochastic Processes,
    1975, section 4.7). What has been asked for is kept; curves go on for ever.

    Args:
        curve: Where the lines come from.
    """

    __slots__ = ("_area", "_curve", "_end", "_rest", "_table")

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._rest = curve.spans()
        self._table = next(self._rest)
        self._end, self._area = self._table.end, self._table.area

    def spans(self) -> Iterator[Segments]:
        """Yields the curve from time 0 on, a stretch at a time."""
        return self._curve.spans()

    def at(self, time_s: ArrayLike) -> Floats:
        """Factors at times in seconds, >= 0; at a jump the later one."""
        times = self._times(time_s)
        return self._table.at(times)

    def integral(self, time_s: ArrayLike) -> Floats:
        """Λ at times in seconds, finite and >= 0."""
        times = self._times(time_s)
        return self._table.integral(times)

    def inverse(self, area: ArrayLike) -> Floats:
        """The first times, s, at which Λ reaches areas >= 0; infinite where it never does."""
        areas = np.asarray(area, dtype=np.float64)
        if areas.size and not float(areas.min()) >= 0:
            raise ValueError(f"inverse: areas must be >= 0, got {areas.min()}")
        self._cover(0.0, float(areas.max(initial=0.0)))
        # Sums of the same areas in another order may differ in their last digits.
        reached = areas <= self._area * (1 + 1e-14)
        found = self._table.inverse(np.minimum(areas, self._area))
        return np.where(reached, found, math.inf)

    def mean(self, until_s: float, from_s: float = 0.0) -> float:
        """Mean factor between two times, s."""
        first, last = self.integral([from_s, until_s])
        return float(last - first) / (until_s - from_s)

    def _times(self, time_s: ArrayLike) -> Floats:
        times = np.asarray(time_s, dtype=np.float64)
        if times.size and not (float(times.min()) >= 0 and math.isfinite(float(times.max()))):
            raise ValueError("profile: times must be finite and >= 0")
        self._cover(float(times.max(initial=0.0)), 0.0)
        return times

    def _cover(self, time_s: float, area: float) -> None:
        """Lays the curve out up to a time and an area."""
        parts = [self._table]
        grown_s = self._end
        while self._end < time_s or self._area < area:
            span = next(self._rest, None)
            if span is None or (self._end - grown_s > ENDED_S and self._end >= time_s):
                break
            parts.append(span)
            grown_s = span.end if span.area > 0 else grown_s
            self._end = span.end
            self._area += span.area
        if len(parts) > 1:
            self._table = joined(parts)
            self._area = self._table.area


def points(times_s: ArrayLike, factors: ArrayLike, *, repeat: bool = False) -> Profile:
    """Straight lines between points, as `Points`; the last factor holds unless they repeat.

    Args:
        times_s: Times from 0 on, not falling, s.
        factors: A factor for each, >= 0.
        repeat: Whether they begin again at the last time; the first is then 0.
    """
    times = np.asarray(times_s, dtype=np.float64)
    heights = np.asarray(factors, dtype=np.float64)
    return Profile(Points(times, heights, repeat))


def product(first: Profile, second: Profile) -> Profile:
    """Two profiles multiplied."""
    return Profile(Product(first, second))


def ramp(from_factor: float, to_factor: float, start_s: float, duration_s: float) -> Profile:
    """A straight way from one factor to another."""
    return points([start_s, start_s + duration_s], [from_factor, to_factor])


def spikes(every: Sequence[Spike]) -> Profile:
    """Factors for a while; where spikes overlap they multiply."""
    edges = {spike.at_s for spike in every} | {spike.at_s + spike.duration_s for spike in every}
    times, factors, before = [0.0], [1.0], 1.0
    for edge in sorted(edges):
        active = [s.factor for s in every if s.at_s <= edge < s.at_s + s.duration_s]
        after = math.prod(active)
        times += [edge, edge]
        factors += [before, after]
        before = after
    return points(times, factors)


def from_file(path: str, *, repeat: bool = False, lead_s: float = 0.0) -> Profile:
    """The rates of a CSV over their mean.

    Raises:
        InputError: The file cannot be used.
    """
    found = rate_files.read(path)
    return _led(found.times_s, found.rates / found.mean, lead_s, repeat=repeat)


def build(section: RateProfile | None, clock: Clock, lead_s: float = 0.0) -> Profile | None:
    """Makes the profile that a load asks for: the product of all that it names.

    Args:
        section: `load.profile`; None for a rate that stays.
        clock: Epoch and zone of the facility.
        lead_s: The profile begins so many seconds before the run. Days and what repeats go on
            backwards; else what holds at the start held before.

    Returns:
        The profile, or None if the rate stays.

    Raises:
        InputError: A file of rates cannot be used.
    """
    if section is None:
        return None
    made = []
    day = section.diurnal
    if day is not None:
        local = Clock(clock.epoch, day.time_zone or clock.zone).earlier(lead_s)
        made.append(Profile(Days(local, day.peak_to_mean, day.peak_hour, day.weekend_factor)))
    if section.points is not None:
        times, factors = np.array(section.points, dtype=np.float64).T
        made.append(_led(times, factors, lead_s, repeat=section.repeat))
    if section.path is not None:
        made.append(from_file(section.path, repeat=section.repeat, lead_s=lead_s))
    if section.ramp is not None:
        way = section.ramp
        made.append(ramp(way.from_factor, way.to_factor, way.start_s + lead_s, way.duration_s))
    if section.spikes:
        later = [s.model_copy(update={"at_s": s.at_s + lead_s}) for s in section.spikes]
        made.append(spikes(later))
    return reduce(product, made) if made else None


def _led(times_s: Floats, factors: Floats, lead_s: float, *, repeat: bool) -> Profile:
    """Points whose time 0 comes `lead_s` after the profile's."""
    if not repeat:
        return points(times_s + lead_s, factors)
    curve = Points(times_s, factors, repeat=True)
    return Profile(From(curve, -lead_s % float(times_s[-1])) if lead_s else curve)
