"""An autoscaler starts a replica only where there is power for it."""

from __future__ import annotations

import dataclasses
from math import inf
from typing import Any

import pytest
from observed import BoundedKernel, prepare

from factory.power import gpu_watts
from factory.scenario import catalog, load
from factory.serving.autoscaler import Limits, clamped
from factory.serving.scaling import Signals
from factory.simulation.plant import Plant
from factory.simulation.power_room import peak_watts, power_room

H200 = catalog().gpus["h200-sxm"]


def hall(**scaling: Any) -> dict[str, Any]:
    """Two racks in a row; a pool that wants all replicas from the start, and has one."""
    return {
        "name": "hall",
        "facility": {
            "rows": [{"name": "west", "budget_kw": 70}],
            "racks": [{"name": "h", "system": "hgx-h200", "count": 2, "row": "west"}],
        },
        "deployments": [
            {
                "name": "d",
                "model": "llama-3.1-70b",
                "pools": [
                    {
                        "name": "p",
                        "role": "aggregated",
                        "racks": "h",
                        "replicas": 1,
                        "parallel": {"tp": 8},
                        "autoscaling": {
                            "policy": "schedule",
                            "max_replicas": 8,
                            "schedule": [{"at_s": 2, "replicas": 8}],
                            "startup": {"startup_s": 1},
                            **scaling,
                        },
                    }
                ],
            }
        ],
        "workload": {
            "tenants": [
                {
                    "name": "t",
                    "load": {"concurrency": 4},
                    "input_tokens": 300,
                    "output_tokens": 100,
                }
            ]
        },
        "run": {"duration_s": 5, "window_s": 5},
    }


def planted(data: dict[str, Any]) -> tuple[Plant, BoundedKernel]:
    """The plant of a scenario, not yet run."""
    kernel = BoundedKernel(200_000)
    return prepare(load(data), kernel, []), kernel


def rise_w(plant: Plant, position: int, peak_w: float) -> float:
    """What the rack of a replica draws more when the replica goes from now to its peak."""
    replica = plant.pools[0].replicas[position]
    rack, feed = replica.feed.rack, replica.feed
    more_w = peak_w * feed.gpus - feed.watts
    return rack.it_w(rack.gpu_w + more_w) - rack.it_w(rack.gpu_w)


def test_the_peak_of_a_gpu_is_within_its_cap() -> None:
    [pool] = load(hall()).deployments[0].pools
    assert peak_watts(H200, pool) == min(gpu_watts(H200, 1.0, 1.0, 1.0, 1.0), 700)
    capped = pool.model_copy(update={"power": pool.power.model_copy(update={"cap_w": 300.0})})
    assert peak_watts(H200, capped) == 300
    slow = pool.model_copy(update={"clock_ratio": 0.5})
    assert peak_watts(H200, slow) < peak_watts(H200, pool)


def test_as_many_start_as_their_peaks_fit_beside_each_other() -> None:
    plant, _ = planted(hall())
    [pool] = plant.pools
    row = plant.tree.node("west")
    each_w = rise_w(plant, 1, 700.0)
    room = power_room(pool.replicas, 700.0, 0.0)
    # Peaks in one rack stir its fans one by one; the sum is about as many times the first.
    row.limit_w = row.power_w + 3.4 * each_w
    assert room(range(1, 8)) == [1, 2, 3]
    row.limit_w = row.power_w + 0.9 * each_w
    assert room(range(1, 8)) == []


def test_a_rack_without_power_is_passed_over() -> None:
    plant, _ = planted(hall())
    [pool] = plant.pools
    first, second = plant.tree.racks
    plant.tree.node("west").limit_w = 1e9
    first.limit_w = first.power_w + 100.0
    second.limit_w = second.power_w + 1.5 * rise_w(plant, 4, 700.0)
    assert power_room(pool.replicas, 700.0, 0.0)(range(1, 8)) == [4]


def test_the_ratio_holds_beside_the_peak() -> None:
    plant, _ = planted(hall())
    [pool] = plant.pools
    row = plant.tree.node("west")
    row.limit_w = row.power_w / 0.75
    assert power_room(pool.replicas, 200.0, 0.2)(range(1, 3)) == [1, 2]
    assert power_room(pool.replicas, 200.0, 0.3)(range(1, 3)) == []


def test_without_a_budget_there_is_always_power() -> None:
    data = hall()
    del data["facility"]["rows"][0]["budget_kw"]
    plant, _ = planted(data)
    assert power_room(plant.pools[0].replicas, 700.0, 0.5)(range(1, 8)) == list(range(1, 8))


@pytest.mark.parametrize("headroom", [None, 0.0])
def test_the_autoscaler_sees_it(headroom: float | None) -> None:
    """All eight come up where power is not looked at, fewer where it is."""
    data = hall() if headroom is None else hall(min_headroom_ratio=headroom)
    idle, _ = planted(data)
    row_w = idle.tree.node("west").power_w + 3.4 * rise_w(idle, 1, peak_watts_of(data))
    data["facility"]["rows"][0]["budget_kw"] = row_w / 1e3
    plant, kernel = planted(data)
    plant.intake.open()
    for deployment in plant.deployments:
        deployment.open()
    kernel.run_events(200_000, 4.5)
    up = sum(replica.phase == 0 for replica in plant.pools[0].replicas)
    if headroom is None:
        assert up == 8
    else:
        assert 2 <= up <= 4


def test_a_decision_is_cut_to_what_there_is_power_for() -> None:
    limits = Limits(0, 8)
    signals = Signals(0.0, 1.0, 0, 0, 0, 0, 3, 1, 0, startable=2)
    assert clamped(8, signals, limits, inf) == 6
    assert clamped(5, signals, limits, inf) == 5
    assert clamped(2, signals, limits, inf) == 2
    assert clamped(8, dataclasses.replace(signals, startable=0), limits, inf) == 4


def peak_watts_of(data: dict[str, Any]) -> float:
    """Peak of a GPU of the pool."""
    [pool] = load(data).deployments[0].pools
    return peak_watts(H200, pool)


def test_an_empty_pool_gets_its_first_replica_in_any_case() -> None:
    data = hall(
        policy="load", schedule=None, min_replicas=0, wake_on_arrival=True, min_headroom_ratio=0.99
    )
    del data["deployments"][0]["pools"][0]["autoscaling"]["schedule"]
    data["workload"]["tenants"][0]["load"] = {"rate": 2}
    data["run"] = {"requests": 20, "window_s": 5}
    plant, kernel = planted(data)
    plant.intake.open()
    for deployment in plant.deployments:
        deployment.open()
    while kernel.run_events(10_000, 1e9):
        pass
    assert sum(deployment.completed for deployment in plant.deployments) == 20
