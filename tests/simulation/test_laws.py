"""Operational laws on finished runs, by the checks that `factory check --run` makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import aggregated, budget_kw, capped, drafting, engine, split

from factory.scenario import load
from factory.simulation import simulate
from factory.validation.laws import check_run


def tiny_kv() -> dict[str, Any]:
    """Little KV and small chunks: sequences are preempted and computed again."""
    scenario = aggregated(replicas=2, run={"requests": 60, "window_s": 1})
    [deployment] = scenario["deployments"]
    deployment["block_size"] = 16
    deployment["pools"][0]["engine"] = engine(kv_capacity_tokens=2400, max_num_batched_tokens=256)
    return scenario


def ends_on_an_edge() -> dict[str, Any]:
    """Steps of 10 ms: the last token comes exactly where a window of 50 ms ends."""
    scenario = aggregated(replicas=1, concurrency=2, run={"requests": 10, "window_s": 0.05})
    scenario["deployments"][0]["pools"][0]["engine"] = engine(base_ms=10)
    [tenant] = scenario["workload"]["tenants"]
    tenant.update(input_tokens=1, output_tokens=1)
    return scenario


SCENARIOS = {
    "split": split(),
    "split_stopped": split(run={"duration_s": 7.3, "window_s": 2, "drain": False}),
    "aggregated": aggregated(),
    "capped": capped(aggregated(), budget_kw(300)),
    "step_engine": aggregated(run={"requests": 60, "window_s": 10, "engine": "step"}),
    "tiny_kv": tiny_kv(),
    "ends_on_an_edge": ends_on_an_edge(),
    "drafting": drafting(),
    "drafting_stopped": drafting(run={"duration_s": 4.7, "window_s": 1, "drain": False}),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_finished_run_keeps_every_law(name: str, tmp_path: Path) -> None:
    result = simulate(load(SCENARIOS[name]), tmp_path / "run")
    laws = check_run(result.run_dir)
    assert len(laws) >= 12
    broken = [f"{law.name}: {law.detail}" for law in laws if not law.holds]
    assert not broken


def test_the_capped_run_is_capped(tmp_path: Path) -> None:
    """Otherwise the laws on it say less than they seem to."""
    summary = simulate(load(SCENARIOS["capped"]), tmp_path / "run").summary
    assert summary["ledger"]["power_capped"] > 0


@pytest.mark.parametrize("scenario", [tiny_kv(), drafting()], ids=["plain", "drafting"])
def test_the_runs_of_little_kv_preempt(scenario: dict[str, Any]) -> None:
    from observed import observe

    assert sum(observe(scenario).column("preemptions")) > 0
