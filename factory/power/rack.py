"""Power of the rest of a rack, hosts to power supplies, from what its GPUs draw.

With ``w`` the mean draw of a GPU and ``r = w / load_gpu_w``, each in W per GPU::

    steady  = host_base + host_load r + nic + switch_base + switch_load r + storage
    speed   = max(least speed, (w + steady) / (the same at r = 1))
    moving  = (fan + pump) speed^3                         # the affinity laws of fans and pumps
    out     = w + steady + moving
    loss    = rated (a + b out / rated + c (out / rated)^2)  # power supplies, through 3 points
    other   = steady + moving + network

The figures are the catalogue's (`SystemSpec`). GPUs of a rack are taken to be alike: heat that is
spread unevenly over its servers would move a little more air.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.scenario.specs import GpuSpec, SystemSpec

RackLaw = Callable[[float, float], tuple[float, float]]
"""W of the rest of a rack and W lost in its power supplies, from W of its GPUs and the share of its
GPUs that are present, 0 to 1."""

CAUSES = ("gpus", "hosts", "nics", "switches", "storage", "fans", "pumps", "network", "supplies")
"""Causes of a rack's IT power: `rack_parts` has one entry for each."""


@dataclass(frozen=True, slots=True)
class SupplyCurve:
    """Loss of power supplies by load, over rated output: ``fixed + linear load + square load^2``.

    Attributes:
        fixed: Loss without load (control, magnetising, fans).
        linear: Proportional loss (diodes, switching).
        square: Loss with the current's square (resistances).
    """

    fixed: float
    linear: float
    square: float


def supply_curve(at_10: float, at_20: float, at_50: float) -> SupplyCurve:
    """The curve through three efficiencies, those that 80 PLUS tests below full load.

    No-load, proportional and square-law losses are how converters are modelled (Rasmussen,
    Electrical Efficiency Modeling for Data Centers, APC White Paper 113, 2007).

    Args:
        at_10: Efficiency at 10 % of rated output, 0 to 1.
        at_20: At 20 %.
        at_50: At 50 %.

    Raises:
        ValueError: the losses through these points would fall somewhere as load rises.
    """
    loads = (0.1, 0.2, 0.5)
    low, middle, high = (
        load * (1.0 / efficiency - 1.0)
        for load, efficiency in zip(loads, (at_10, at_20, at_50), strict=True)
    )
    first = (middle - low) / (loads[1] - loads[0])
    second = (high - middle) / (loads[2] - loads[1])
    square = (second - first) / (loads[2] - loads[0])
    linear = first - square * (loads[0] + loads[1])
    fixed = low - loads[0] * (linear + square * loads[0])
    if min(fixed, linear, square) < 0.0:
        raise ValueError(
            f"no rising loss goes through efficiencies of {at_10:g}, {at_20:g} and {at_50:g} at "
            f"10, 20 and 50 % load (fixed {fixed:.4g}, linear {linear:.4g}, square {square:.4g}: "
            "none may be negative)"
        )
    return SupplyCurve(fixed, linear, square)


def rack_law(system: SystemSpec, gpus: int) -> RackLaw:
    """Power of the rest of a rack as a function of its GPUs' draw.

    Both results rise with the draw; IT power, the sum of the three, rises strictly. GPUs given back
    take their servers along: the law of ``present`` GPUs is that of a rack so much smaller.

    Args:
        system: Its figures per GPU.
        gpus: GPUs of the rack, of which ``present`` is a share.
    """
    curve = _supplies(system)
    steady_w = gpus * _steady_w(system, 0.0)
    slope = (system.host_load_w + system.switch_load_w) / system.load_gpu_w
    full_w = gpus * (system.load_gpu_w + _steady_w(system, 1.0))
    still = steady_w / full_w
    stir = (1.0 + slope) / full_w
    least = system.cooling_least_speed_ratio
    moving_w = gpus * (system.fan_w + system.pump_w)
    network_w = gpus * system.network_w
    rated_w = gpus * system.psu_rated_w
    fixed_w, linear, square = curve.fixed * rated_w, curve.linear, curve.square / rated_w

    def law(gpu_w: float, present: float) -> tuple[float, float]:
        if present != 1.0:
            if present <= 0.0:
                return 0.0, 0.0
            gpu_w /= present
        speed = still + stir * gpu_w
        if speed < least:
            speed = least
        inner_w = steady_w + slope * gpu_w + moving_w * speed * speed * speed
        out_w = gpu_w + inner_w
        other_w = inner_w + network_w
        loss_w = fixed_w + out_w * (linear + square * out_w)
        if present != 1.0:
            return other_w * present, loss_w * present
        return other_w, loss_w

    return law


def rack_parts(system: SystemSpec, gpus: int, gpu_w: float) -> dict[str, float]:
    """IT power of a whole rack by cause, W: `CAUSES`, in that order; it adds up to the law's.

    Args:
        system: Its figures per GPU.
        gpus: GPUs of the rack.
        gpu_w: What they draw together, W.
    """
    ratio = gpu_w / (gpus * system.load_gpu_w)
    full_w = system.load_gpu_w + _steady_w(system, 1.0)
    heat_w = gpu_w / gpus + _steady_w(system, ratio)
    speed = max(system.cooling_least_speed_ratio, heat_w / full_w)
    parts = {
        "gpus": gpu_w,
        "hosts": gpus * (system.host_base_w + system.host_load_w * ratio),
        "nics": gpus * system.nic_w,
        "switches": gpus * (system.switch_base_w + system.switch_load_w * ratio),
        "storage": gpus * system.storage_w,
        "fans": gpus * system.fan_w * speed**3,
        "pumps": gpus * system.pump_w * speed**3,
    }
    curve = _supplies(system)
    load = sum(parts.values()) / (gpus * system.psu_rated_w)
    parts["network"] = gpus * system.network_w
    parts["supplies"] = (
        gpus * system.psu_rated_w * (curve.fixed + load * (curve.linear + load * curve.square))
    )
    return parts


def psu_efficiency(system: SystemSpec, gpus: int, gpu_w: float) -> float:
    """Output over input of a rack's power supplies, 0 to 1; arguments as of `rack_parts`."""
    parts = rack_parts(system, gpus, gpu_w)
    input_w = sum(parts.values()) - parts["network"]
    return 1.0 - parts["supplies"] / input_w


def rack_w(system: SystemSpec, gpu_w: float) -> float:
    """IT power of a whole rack whose GPUs draw so much each, W."""
    gpus_w = system.gpus_per_rack * gpu_w
    other_w, loss_w = rack_law(system, system.gpus_per_rack)(gpus_w, 1.0)
    return gpus_w + other_w + loss_w


def idle_rack_w(system: SystemSpec, gpu: GpuSpec, *, loaded: bool = False) -> float:
    """IT power of a rack that does nothing, W.

    Args:
        system: Its figures per GPU.
        gpu: The GPU that it holds.
        loaded: Whether a model waits on every GPU; else they are bare.
    """
    return rack_w(system, gpu.idle_loaded_w if loaded else gpu.idle_bare_w)


def most_rack_w(system: SystemSpec, gpu: GpuSpec) -> float:
    """IT power of a rack whose GPUs all draw their TDP, W."""
    return rack_w(system, gpu.tdp_w)


def _steady_w(system: SystemSpec, ratio: float) -> float:
    """W per GPU behind the power supplies, without GPU, fans and pumps, at a share of full draw."""
    still_w = system.host_base_w + system.nic_w + system.switch_base_w + system.storage_w
    return still_w + (system.host_load_w + system.switch_load_w) * ratio


def _supplies(system: SystemSpec) -> SupplyCurve:
    return supply_curve(
        system.psu_efficiency_10_ratio,
        system.psu_efficiency_20_ratio,
        system.psu_efficiency_50_ratio,
    )
