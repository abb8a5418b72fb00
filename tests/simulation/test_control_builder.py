"""Loops and breakers in whole runs: wired to the right nodes, and the same for both engines."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from conserved import violations
from observed import differences, observe

from factory.facility.tree import BRAKED_S, CAPPED_S, DARK_S
from factory.kernel import Kernel
from factory.records.codes import STATE_TRIPPED
from factory.scenario import catalog, load
from factory.serving.meter import STATES
from factory.simulation.plant import Plant, assemble
from factory.simulation.run import drive
from factory.workload import build

QUICK = {
    "mode": "reactive",
    "telemetry_s": 0.5,
    "actuation_s": 2.0,
    "brake_s": 0.5,
    "thresholds": [
        {"at_ratio": 0.75, "clock_ratio": 0.7, "priority": 0},
        {"at_ratio": 0.8, "clock_ratio": 0.5, "priority": 0},
        {"at_ratio": 0.8, "clock_ratio": 0.8},
    ],
    "brake": {"at_ratio": 0.95, "clock_ratio": 0.4},
}


def scenario(budget_kw: float, **facility: Any) -> dict[str, Any]:
    """Two racks in two rows, two pools of different priority, and more work than they finish."""
    breaker = facility.pop("breaker", None)
    row = {"name": "row", "count": 2, "budget_kw": budget_kw}
    if breaker is not None:
        row["breaker"] = breaker
    pools = [
        {
            "name": name, "role": "aggregated", "racks": "r", "replicas": 4,
            "parallel": {"tp": 8}, "power": {"priority": priority},
            "engine": {"max_num_batched_tokens": 2048},
        }
        for name, priority in (("low", 0), ("high", 1))
    ]  # fmt: skip
    return {
        "name": "control",
        "facility": {
            "rows": [row],
            "racks": [{"name": "r", "system": "hgx-h100", "count": 2, "row": "row"}],
            **facility,
        },
        "deployments": [
            {"name": pool["name"], "model": "llama-3.1-70b", "pools": [pool]} for pool in pools
        ],
        "workload": {
            "tenants": [
                {
                    "name": pool["name"],
                    "deployment": pool["name"],
                    "load": {"rate": 6.0},
                    "input_tokens": {"distribution": "lognormal", "mean": 2000, "stddev": 1500},
                    "output_tokens": {"distribution": "geometric", "mean": 100},
                    "retry": {"attempts": 3},
                }
                for pool in pools
            ]
        },
        "run": {"duration_s": 20.0, "window_s": 5.0},
    }


def seconds(node: Any, field: int) -> float:
    return sum(window[field] for window in node.windows.rows)


@pytest.mark.parametrize(
    ("budget_kw", "breaker"),
    [
        (24.0, None),
        (17.0, None),
        (13.0, {"curve": [[1.05, 4.0], [1.5, 1.0]], "reset_s": 5.0}),
    ],
    ids=["caps", "brakes", "trips"],
)
def test_both_engines_agree(budget_kw: float, breaker: dict[str, Any] | None) -> None:
    data = scenario(budget_kw, control=QUICK, breaker=breaker)
    runs = []
    for engine in ("leap", "step"):
        made = copy.deepcopy(data)
        made["run"]["engine"] = engine
        runs.append(observe(made, 500_000))
    leap, step = runs
    assert not differences(leap, step)
    assert not violations(leap, is_drained=True)
    rows = leap.plant.tree.nodes[1:3]
    assert [row.level for row in rows] == ["row", "row"]
    assert all(seconds(row, CAPPED_S) > 0.0 for row in rows)
    if breaker is not None:
        assert seconds(rows[0], DARK_S) > 0.0
    elif budget_kw < 20.0:
        assert any(seconds(row, BRAKED_S) > 0.0 for row in rows)


def test_a_trip_takes_its_own_row_down_and_its_requests_with_it() -> None:
    breaker = {"curve": [[1.05, 4.0], [1.5, 1.0]], "reset_s": 60.0}
    data = scenario(13.0, control={"mode": "none"}, breaker=breaker)
    events: list[Any] = []
    run = _noted(data, events)
    trips = [row for row in events if row[1] == "breaker_tripped"]
    assert {row[2] for row in trips} == {"row-0", "row-1"}
    assert all(row[3] > 1.05 for row in trips)
    ledger = sum(
        window[STATES + STATE_TRIPPED] for pool in run.pools for window in pool.windows.rows
    )
    assert ledger > 0.0
    closed = [row for row in events if row[1] == "breaker_closed"]
    assert closed[0][0] == pytest.approx(trips[0][0] + 60.0)


def _noted(data: dict[str, Any], events: list[Any]) -> Plant:
    """Runs a scenario and keeps the rows of fact_events."""
    made, known, kernel = load(data), catalog(), Kernel()
    sizes = [64] * len(made.deployments)
    workload = build(made, known, sizes)
    plant = assemble(made, known, workload, kernel, [].append, events.append)
    drive(made, plant, kernel, lambda: None, None, 0.0)
    return plant
