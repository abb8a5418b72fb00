"""Two racks, three requests, every joule by hand; the laws are written out here once more."""

from __future__ import annotations

import pytest
from scripted import ask, factory, play

from factory.facility.tree import GPU_J, LOSS_J, OTHER_J
from factory.scenario import GpuSpec, SystemSpec, catalog
from factory.serving.meter import ENERGY, ENERGY_IDLE

PREFILL_S = 3 * 0.015
"""Three prompts of 10 tokens, one after the other: 10 ms and 0.5 ms for each token."""

DECODE_S = (4 + 2) * 0.011
"""Answers of 5, 1 and 3 tokens, the first of each from its prefill: 11 ms for a step of one."""

END_S = 2.0
PUE = 1.3


def rack_w(system: SystemSpec, gpu_w: float) -> tuple[float, float]:
    """(rest, loss) of a rack of 32 GPUs, watts: as docs/rack-power.md has it."""
    mean_w = gpu_w / 32

    def steady(load: float) -> float:
        return (
            system.host_base_w + system.host_load_w * load + system.nic_w
            + system.switch_base_w + system.switch_load_w * load + system.storage_w
        )  # fmt: skip

    load = mean_w / system.load_gpu_w
    speed = (mean_w + steady(load)) / (system.load_gpu_w + steady(1.0))
    moving = system.fan_w * max(speed, system.cooling_least_speed_ratio) ** 3
    out_w = 32 * (mean_w + steady(load) + moving)
    rated_w = 32 * system.psu_rated_w
    # Losses over the rated output at 10, 20 and 50 % of it: a parabola through three points.
    points = [
        (0.1, 0.1 * (1 / system.psu_efficiency_10_ratio - 1)),
        (0.2, 0.2 * (1 / system.psu_efficiency_20_ratio - 1)),
        (0.5, 0.5 * (1 / system.psu_efficiency_50_ratio - 1)),
    ]
    at = out_w / rated_w
    loss = 0.0
    for x, y in points:
        weight = 1.0
        for other, _ in points:
            if other != x:
                weight *= (at - other) / (x - other)
        loss += y * weight
    return out_w - gpu_w + 32 * system.network_w, loss * rated_w


def joules(system: SystemSpec, gpu: GpuSpec, busy_s: float) -> tuple[float, float, float]:
    """(GPUs, rest, loss) of a rack of which one GPU has the model and works for ``busy_s``."""
    idle_w = 31 * gpu.idle_bare_w + gpu.idle_loaded_w
    busy_w = idle_w + gpu.power_busy_w
    idle, busy = rack_w(system, idle_w), rack_w(system, busy_w)
    rest_s = END_S - busy_s
    return (
        idle_w * rest_s + busy_w * busy_s,
        idle[0] * rest_s + busy[0] * busy_s,
        idle[1] * rest_s + busy[1] * busy_s,
    )


def test_two_racks_and_three_requests() -> None:
    scenario = factory(
        {"role": "prefill", "racks": "a"},
        {"role": "decode", "racks": "b"},
        kv_transfer={"latency_ms": 0.0, "bandwidth_gb_s": 450},
    )
    racks = [{"name": name, "system": "hgx-h100"} for name in "ab"]
    scenario["facility"] = {"racks": racks, "pue": PUE}
    asks = [ask(0, 10, 5), ask(200, 10, 1), ask(1000, 10, 3)]
    seen = play(scenario, asks, duration_s=END_S, window_s=0.5)
    assert seen.end_s == END_S

    known = catalog()
    system, gpu = known.systems["hgx-h100"], known.gpus["h100-sxm"]
    for rack, busy_s in zip(seen.racks, (PREFILL_S, DECODE_S), strict=True):
        sums = [sum(row[field] for row in rack) for field in (GPU_J, OTHER_J, LOSS_J)]
        assert sums == pytest.approx(joules(system, gpu, busy_s), rel=1e-9)
    it_j = sum(sum(joules(system, gpu, busy_s)) for busy_s in (PREFILL_S, DECODE_S))
    tree = seen.plant.tree
    assert tree.root.it_j(END_S) == pytest.approx(it_j, rel=1e-9)
    metered = seen.plant.site.read(END_S)
    assert sum(metered.quarters_j) == pytest.approx(it_j * PUE, rel=1e-9)

    # The third prompt is all that happens in the third window: 15 ms of prefill, 22 of decode.
    gpus_w = 31 * gpu.idle_bare_w + gpu.idle_loaded_w
    windows = [[row[GPU_J] for row in rack] for rack in seen.racks]
    assert windows[0][2] == pytest.approx(gpus_w * 0.5 + gpu.power_busy_w * 0.015)
    assert windows[1][2] == pytest.approx(gpus_w * 0.5 + gpu.power_busy_w * 0.022)

    # Pools have the joules of their GPUs; what was drawn at rest stands apart.
    for pool, busy_s in zip(seen.pools, (PREFILL_S, DECODE_S), strict=True):
        energy_j, idle_j = (sum(row[field] for row in pool) for field in (ENERGY, ENERGY_IDLE))
        assert idle_j == pytest.approx(gpu.idle_loaded_w * (END_S - busy_s))
        assert energy_j - idle_j == pytest.approx((gpu.idle_loaded_w + gpu.power_busy_w) * busy_s)

    # And each request has its share: it was alone.
    busy_w = gpu.idle_loaded_w + gpu.power_busy_w
    assert seen.column("energy_input_j") == pytest.approx([busy_w * 0.015] * 3)
    assert seen.column("energy_output_j") == pytest.approx([busy_w * s for s in (0.044, 0, 0.022)])
