"""Arrivals of a unit process, and where a changing rate moves them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import Literal

import numpy as np

from factory.statistics import stream
from factory.workload.arrivals.profiles import ENDED_S
from factory.workload.arrivals.segments import Floats, Segments

#: Rows drawn at a time; row i of a source is a function of the seed, the source's name and i.
CHUNK = 4096

Kind = Literal["poisson", "deterministic", "gamma", "weibull"]


def unit_gaps(kind: Kind, cv: float, name: str, seed: int, replication: int) -> Iterator[Floats]:
    """Yields the gaps of a renewal process of rate 1, 4,096 at a time, without end.

    Args:
        kind: Shape of the gaps: exponential (Poisson arrivals), constant, gamma or Weibull.
        cv: Coefficient of variation of gamma and Weibull gaps, > 0.
        name: Name of the random stream.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
    """
    shape = weibull_shape(cv) if kind == "weibull" else 1 / cv**2
    for index in count():
        rng = stream(seed, replication, name, index)
        if kind == "deterministic":
            gaps = np.ones(CHUNK)
        elif kind == "gamma":
            gaps = rng.standard_gamma(shape, CHUNK) / shape
        else:
            gaps = rng.standard_exponential(CHUNK)
            if kind == "weibull":
                gaps = gaps ** (1 / shape) / math.gamma(1 + 1 / shape)
        yield gaps


def unit_times(kind: Kind, cv: float, name: str, seed: int, replication: int) -> Iterator[Floats]:
    """Yields the arrival times of a renewal process of rate 1, as `unit_gaps`.

    The first gap is what is left of one that began before time 0: the process is in equilibrium
    from the start and counts have mean t (Cox, Renewal Theory, 1962). Started with an arrival it
    would bring (cv² - 1) / 2 too many, 84 at a CV of 13. Deterministic arrivals stand at 1, 2, ….
    """
    start = 0.0
    for index, gaps in enumerate(unit_gaps(kind, cv, name, seed, replication)):
        if kind == "deterministic":
            yield np.arange(index * CHUNK + 1, (index + 1) * CHUNK + 1, dtype=np.float64)
            continue
        if index == 0 and kind != "poisson":
            gaps[0] = _residual(kind, cv, stream(seed, replication, f"{name}/first"))
        times = start + np.cumsum(gaps)
        start = float(times[-1])
        yield times


def weibull_shape(cv: float) -> float:
    """Shape k of a Weibull distribution with a coefficient of variation.

    CV² + 1 = Γ(1 + 2/k) / Γ(1 + 1/k)² (Johnson, Kotz and Balakrishnan, Continuous Univariate
    Distributions 1, 1994, chapter 21), which falls in k; solved to the last digit by bisection.

    Args:
        cv: From 0.01 to 100.
    """
    aim = math.log1p(cv * cv)
    low, high = 1e-3, 1e4
    while True:
        middle = math.sqrt(low * high)
        if not low < middle < high:
            return middle
        if math.lgamma(1 + 2 / middle) - 2 * math.lgamma(1 + 1 / middle) > aim:
            low = middle
        else:
            high = middle


def cut(units: Iterator[Floats], until_s: float) -> Iterator[list[float]]:
    """Yields times as they are, all below `until_s`."""
    for times in units:
        if times[-1] >= until_s:
            yield times[: np.searchsorted(times, until_s, side="left")].tolist()
            return
        yield times.tolist()


def moved(
    units: Iterator[Floats], spans: Iterator[Segments], until_s: float
) -> Iterator[list[float]]:
    """Yields Λ⁻¹(u) for the times u of a process, all below `until_s`, a stretch at a time.

    With a process in equilibrium the expected count by time t is rate × Λ(t) (Gerhardt and Nelson,
    Transforming renewal processes for simulation of nonstationary arrival processes, INFORMS
    Journal on Computing 21, 2009).

    Args:
        units: Ascending times at the mean rate, s, without end.
        spans: The factor over time, from 0 on.
        until_s: End; may be infinite.
    """
    waiting = next(units)
    before, grown_s = 0.0, 0.0
    for span in spans:
        if span.start >= until_s or span.start - grown_s > ENDED_S:
            return
        if span.area > 0:
            grown_s = span.end
        after = before + span.area
        while True:
            here = int(np.searchsorted(waiting, after, side="left"))
            if here:
                times = span.inverse(waiting[:here] - before)
                if times[-1] >= until_s:
                    yield times[: np.searchsorted(times, until_s, side="left")].tolist()
                    return
                yield times.tolist()
            if here < len(waiting):
                waiting = waiting[here:]
                break
            waiting = next(units)
        before = after


def _residual(kind: Kind, cv: float, rng: np.random.Generator) -> float:
    """What is left of the gap of mean 1 that covers time 0.

    That gap has the density x f(x), and time 0 is anywhere in it.
    """
    if kind == "gamma":
        shape = 1 / cv**2
        covering = rng.standard_gamma(1 + shape) / shape
    else:
        shape = weibull_shape(cv)
        power = rng.standard_gamma(1 + 1 / shape)
        covering = power ** (1 / shape) / math.gamma(1 + 1 / shape)
    return float(covering * rng.random())
