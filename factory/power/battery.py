"""A battery whose power changes linearly in time: energy moved, and when a level is reached.

Power is positive while it gives, watts at its terminals. The round trip's loss is booked as it
charges: with efficiency η, level' = −p while it gives and −η p while it takes, so that over any
span η · charged − discharged = Δlevel.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt


@dataclass(frozen=True, slots=True)
class BatterySpec:
    """What a battery can do.

    Attributes:
        capacity_j: Energy that it can give when full, J.
        power_w: Most that it gives or takes, W.
        efficiency_ratio: Energy given over energy taken, in (0, 1].
        initial_j: Level at the start, and at which it rests, J.
    """

    capacity_j: float
    power_w: float
    efficiency_ratio: float
    initial_j: float


def moved_j(power_w: float, slope: float, seconds: float) -> float:
    """Energy given in so many seconds from ``power_w`` on, J; negative if taken.

    Args:
        power_w: Power at the start, W.
        slope: Its change, W/s.
        seconds: How long.
    """
    return (power_w + 0.5 * slope * seconds) * seconds


def seconds_until(energy_j: float, power_w: float, slope: float) -> float:
    """When ``moved_j`` first reaches an energy of the sign of the power, s; infinite if never.

    The root of power t + slope t²/2 = energy, in the form that does not cancel (Press et al.,
    Numerical Recipes, 2007, section 5.6). The power must not change its sign before that.

    Args:
        energy_j: Energy to be given (taken if negative), J.
        power_w: Power at the start, W.
        slope: Its change, W/s.
    """
    if energy_j < 0.0:
        energy_j, power_w, slope = -energy_j, -power_w, -slope
    if energy_j == 0.0:
        return 0.0
    square = power_w * power_w + 2.0 * slope * energy_j
    if square < 0.0:
        return inf
    below = power_w + sqrt(square)
    return 2.0 * energy_j / below if below > 0.0 else inf


def level_change_j(given_j: float, efficiency_ratio: float) -> float:
    """What giving ``given_j`` (taking, if negative) does to the level, J."""
    return -given_j if given_j >= 0.0 else -given_j * efficiency_ratio
