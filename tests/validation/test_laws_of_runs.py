"""The laws, on real runs with time-outs, retries, shedding, tiers and scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import overloaded, scaled, tiered

from factory.records.query import query
from factory.scenario import load
from factory.simulation import simulate
from factory.validation.laws import check_run

SCENARIOS = {
    "overloaded": overloaded(),
    "stopped": overloaded(
        run={"duration_s": 17.3, "window_s": 5, "drain": False, "engine": "step"}
    ),
    "tiered": tiered(),
    "on_demand": scaled(),
    "owned": scaled("owned"),
}


@pytest.fixture(scope="module", params=SCENARIOS)
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, Any]]:
    where = tmp_path_factory.mktemp(request.param) / "run"
    return request.param, where, simulate(load(SCENARIOS[request.param]), where).summary


def test_every_law_holds(run: tuple[str, Path, dict[str, Any]]) -> None:
    broken = [f"{law.name}: {law.detail}" for law in check_run(run[1]) if not law.holds]
    assert not broken


def test_the_run_is_what_it_is_for(run: tuple[str, Path, dict[str, Any]]) -> None:
    """Otherwise the laws on it say less than they seem to."""
    name, _, summary = run
    if name in {"overloaded", "stopped", "tiered"}:
        for outcome in ("completed", "rejected", "timed_out", "retried", "rejected_too_long"):
            assert summary[outcome] > 0, outcome
        assert summary["rejected_too_long"] < summary["rejected"]
    if name == "tiered":
        assert summary["cache"]["host_tokens"] > 0
        assert summary["cache"]["disk_tokens"] > 0
        assert summary["ledger"]["fetch_cached"] > 0
    if name in {"on_demand", "owned"}:
        assert summary["ledger"]["starting"] > 0
        assert (summary["ledger"]["spare"] > 0) == (name == "owned")
        assert (summary["gpus_provisioned"] < 32) == (name == "on_demand")


def test_attempts_and_requests_add_up(run: tuple[str, Path, dict[str, Any]]) -> None:
    _, _, summary = run
    ends = ("completed", "rejected", "timed_out", "failed", "in_flight")
    assert summary["requests"] == summary["offered"] + summary["retried"]
    assert summary["requests"] == sum(summary[name] for name in ends)
    measured = summary["measured"]
    assert measured["offered"] == sum(measured[name] for name in ends)
    assert measured["good"] <= measured["completed"]
    attempts = measured["attempts"]
    assert attempts["requests"] == sum(attempts[name] for name in ends)
    tenants = summary["attainment"].values()
    assert sum(tenant["offered"] for tenant in tenants) == measured["offered"]
    assert measured["attainment_ratio"] == measured["good"] / measured["offered"]


def test_cached_tokens_by_tier_are_those_of_the_pools(
    run: tuple[str, Path, dict[str, Any]],
) -> None:
    _, _, summary = run
    tokens = [value for key, value in summary["cache"].items() if key.endswith("tokens")]
    assert sum(tokens) == summary["tokens"]["input_cached"]


def test_windows_of_tenants_tell_of_each_root_once(
    run: tuple[str, Path, dict[str, Any]],
) -> None:
    _, where, summary = run
    rows = query(
        where,
        "SELECT sum(offered), sum(attainment_ratio * offered), sum(retried) FROM v_tenant_windows "
        "WHERE is_measured",
    ).rows
    offered, good, retried = rows[0]
    assert offered == summary["measured"]["offered"]
    assert good == pytest.approx(summary["measured"]["good"])
    assert retried == summary["measured"]["attempts"]["retried"]
