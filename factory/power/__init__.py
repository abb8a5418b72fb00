"""Watts from load and clock, and the clocks that a budget allows: pure functions."""

from __future__ import annotations

from factory.power.gpu import StepWatts, gpu_watts, idle_watts, power_law, voltage_ratio
from factory.power.levels import CLOCK_LEVELS, clock_levels

__all__ = [
    "CLOCK_LEVELS",
    "StepWatts",
    "clock_levels",
    "gpu_watts",
    "idle_watts",
    "power_law",
    "voltage_ratio",
]
