"""Power and energy: within budget at every event, the integral of the draw, whatever the window."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from observed import BoundedKernel, Observed, observe, prepare
from small_runs import BARE_W, aggregated, budget_kw, capped, rack_kw, split

from factory.facility.tree import GPU_J, LOSS_J, OTHER_J
from factory.scenario import load
from factory.serving.meter import ENERGY
from factory.simulation.plant import Plant

IDLE_W = 120.0
GPUS = 4


TIGHT_KW = budget_kw(300)


def drawn_w(plant: Plant) -> float:
    """Draw of the only rack now, from the leaps that its replicas are in."""
    [rack] = plant.tree.racks
    gpu_w = rack.spare_w
    for pool in plant.pools:
        for replica in pool.replicas:
            each = replica.idle_watts if replica.leap is None else replica.leap.watts
            gpu_w += each * replica.meter.gpus
    return rack.it_w(gpu_w)


@pytest.mark.parametrize(
    "scenario",
    [
        capped(aggregated(replicas=GPUS, run={"requests": 80}), budget_kw(400)),
        capped(aggregated(replicas=GPUS, run={"requests": 80}), budget_kw(260)),
        capped(split(), rack_kw(28 * BARE_W + 4 * 300)),
    ],
    ids=["slowed", "paused", "split"],
)
def test_a_budget_is_never_exceeded_between_events(scenario: dict[str, Any]) -> None:
    made = load(scenario)
    kernel = BoundedKernel(1_000_000)
    plant = prepare(made, kernel, [])
    [rack] = plant.tree.racks
    limit_w = rack.limit_w
    plant.intake.open()
    peak_w = before_s = 0.0
    instants = 0
    while kernel.run_events(1, math.inf):
        # Within one instant a load may have gone up before another has come down: no time passes.
        if kernel._queue and kernel._queue[0][0] > kernel.now:
            drawn = drawn_w(plant)
            assert rack.power_w == pytest.approx(drawn, rel=1e-12)
            peak_w = max(peak_w, drawn)
            instants += kernel.now > before_s
            before_s = kernel.now
            assert drawn <= limit_w * (1 + 1e-9), f"{drawn} W of {limit_w} at {kernel.now} s"
    assert instants > 100
    assert peak_w > 0.9 * limit_w


@pytest.mark.parametrize(
    "scenario", [split(), capped(aggregated(), TIGHT_KW)], ids=["free", "capped"]
)
def test_energy_does_not_depend_on_the_window(scenario: dict[str, Any]) -> None:
    run = {"requests": 250}
    runs = [observe({**scenario, "run": {**run, "window_s": window_s}}) for window_s in (1, 10, 60)]
    assert len({run.end_s for run in runs}) == 1

    def sums(run: Observed) -> list[float]:
        fields = range(len(run.pools[0][0]))
        return [math.fsum(row[f] for row in pool) for pool in run.pools for f in fields]

    for other in runs[1:]:
        assert sums(other) == pytest.approx(sums(runs[0]), rel=1e-9, abs=1e-9)
        for field in (GPU_J, OTHER_J, LOSS_J):
            mine = [math.fsum(row[field] for row in rack) for rack in other.racks]
            yours = [math.fsum(row[field] for row in rack) for rack in runs[0].racks]
            assert mine == pytest.approx(yours, rel=1e-9)
        assert other.seconds == runs[0].seconds


@pytest.mark.parametrize(
    "scenario", [split(), capped(aggregated(), TIGHT_KW)], ids=["free", "capped"]
)
def test_energy_is_the_integral_of_the_draw(scenario: dict[str, Any]) -> None:
    """By windows, by seconds, and by pools: three ways to the same joules."""
    run = observe(scenario)
    [rack] = run.plant.tree.racks
    by_rack = math.fsum(row[GPU_J] for row in run.racks[0]) - rack.spare_w * run.end_s
    by_pool = math.fsum(row[ENERGY] for pool in run.pools for row in pool)
    it_j = math.fsum(row[field] for row in run.racks[0] for field in (GPU_J, OTHER_J, LOSS_J))
    rest_s = run.end_s - int(run.end_s)
    lengths = itertools.chain(itertools.repeat(1.0, int(run.end_s)), [rest_s])
    by_second = math.fsum(w * s for w, s in zip(run.seconds[0], lengths, strict=False))
    assert by_pool == pytest.approx(by_rack, rel=1e-9)
    assert by_second == pytest.approx(it_j, rel=1e-9)
    assert rack.it_j(run.end_s) == pytest.approx(it_j, rel=1e-9)


def test_a_rack_that_serves_nothing_draws_idle() -> None:
    """150 W x 600 s as OpenDC would say: 4 GPUs with a model loaded, 28 bare, hosts and network."""
    scenario = aggregated(replicas=GPUS, run={"duration_s": 600})
    [tenant] = scenario["workload"]["tenants"]
    tenant["load"] = {"rate": 1e-9}
    run = observe(scenario)
    assert not run.rows
    assert run.end_s == 600
    assert math.fsum(row[ENERGY] for row in run.pools[0]) == pytest.approx(GPUS * IDLE_W * 600)
    [rack] = run.plant.tree.racks
    assert rack.spare_w == 28 * BARE_W
    idle_w = rack_kw(28 * BARE_W + GPUS * IDLE_W) * 1e3
    assert run.seconds[0] == pytest.approx([idle_w] * 600)


def test_requests_are_charged_no_more_joules_than_were_drawn() -> None:
    run = observe(capped(aggregated(), TIGHT_KW))
    charged = sum(run.column("energy_input_j")) + sum(run.column("energy_output_j"))
    drawn = math.fsum(row[ENERGY] for row in run.pools[0])
    assert 0.5 * drawn < charged < drawn
