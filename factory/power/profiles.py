"""Power profiles of GPUs: what an operator's choice between speed and efficiency locks.

Data-centre drivers offer tuned profiles by name (`nvmlPowerProfileType_t` of NVML, 2026): MAX_P for
the highest performance, MAX_Q for the best performance per watt. NVIDIA tunes clocks, memory and
power limits together and publishes what comes out, not the settings; here a profile is a lock of
the core clock, from which speed and power follow by the step model and the GPU's power law.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.scenario.specs import GpuSpec, Kind

DEFAULT = "max_p"
"""The profile that changes nothing."""


@dataclass(frozen=True, slots=True)
class PowerProfile:
    """One profile of one GPU generation.

    Attributes:
        clock_ratio: Highest clock over the nominal one.
        kind: measured, published, fitted or assumed.
        source: Who says so, or why it is assumed.
        date: When it was said or read.
    """

    clock_ratio: float
    kind: Kind
    source: str
    date: str


_FREE = PowerProfile(1.0, "published", "no lock: the driver's default", "2025-10")

PROFILES: Mapping[str, Mapping[str, PowerProfile]] = {
    "blackwell": {
        "max_p": _FREE,
        "max_q": PowerProfile(
            0.91,
            "assumed",
            "lock at which the GPU power law gives decode the saving published for B200: up to "
            "15 % of energy at 97 % or more of performance (NVIDIA, Datacenter Energy Optimized "
            "Power Profiles, arXiv:2510.03872, 2025); B300, GB200 and GB300 as B200",
            "2025-10",
        ),
    },
    "hopper": {
        "max_p": _FREE,
        "max_q": PowerProfile(
            0.91,
            "assumed",
            "as Blackwell: nothing is published for H100 and H200, whose operators lock clocks by "
            "hand (nvidia-smi --lock-gpu-clocks)",
            "2025-10",
        ),
    },
}
"""Profiles by GPU generation; a generation that is missing has `DEFAULT` alone."""


def profiles_of(gpu: GpuSpec) -> Mapping[str, PowerProfile]:
    """The profiles that a GPU has, by name."""
    return PROFILES.get(gpu.generation, {DEFAULT: _FREE})


def profile_clock(gpu: GpuSpec, profile: str) -> float:
    """Highest clock that a profile of a GPU allows, over the nominal one.

    Raises:
        KeyError: The GPU has no such profile.
    """
    return profiles_of(gpu)[profile].clock_ratio
