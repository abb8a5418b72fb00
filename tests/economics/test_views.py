"""Every ratio in views.sql equals the Python figure to 1e-12."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hand_made_run as by_hand
import pytest

from factory.economics import summarize, summarize_pools, summarize_windows
from factory.records.codes import LEDGER_STATES, OUTCOMES
from factory.records.query import ask, connect

Rows = Callable[[str], list[dict[str, Any]]]


def _unpriced(_: dict, dims: dict) -> None:
    dims["dim_prices"] = dims["dim_prices"][:1]


def _aggregated(streams: dict, dims: dict) -> None:
    dims["dim_pools"][1]["role"] = "aggregated"
    streams["fact_requests"].append(
        by_hand.request(
            6, 1, (16.0, 16.0, 17.0, 17.5, 21.5), (50, 50, 0, 0, 9), (0, 0, 0), attempt=1, root=3
        )
    )


def _idle(streams: dict, _: dict) -> None:
    streams["fact_intervals"] = [
        tuple(0.0 if 2 < place < 8 else value for place, value in enumerate(row))
        for row in streams["fact_intervals"]
    ]


@pytest.fixture(
    scope="module",
    params=[(None, 1.0), (None, 2.5), (_unpriced, 1.0), (_aggregated, 1.0), (_idle, 1.0)],
    ids=["plain", "cells", "unpriced", "retried", "idle"],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    change, weight = request.param
    return by_hand.write(tmp_path_factory.mktemp("runs") / "run", change, weight=weight)


@pytest.fixture(scope="module")
def rows(run: Path) -> Iterator[Rows]:
    connection = connect(run)

    def read(sql: str) -> list[dict[str, Any]]:
        answer = ask(connection, sql)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    yield read
    connection.close()


def assert_equal(sql: Mapping[str, Any], python: Mapping[str, Any]) -> None:
    """Every figure of either, None for None, and no NaN."""
    for name, value in python.items():
        seen = sql[name]
        if value is None or seen is None:
            assert value is seen, name
        elif isinstance(value, bool | str):
            assert value == seen, name
        else:
            assert math.isfinite(seen), name
            assert seen == pytest.approx(value, rel=1e-12, abs=0), name


def ratios(columns: Mapping[str, Any], *without: str) -> set[str]:
    return {name for name in columns if name not in without}


def test_run(run: Path, rows: Rows) -> None:
    (sql,) = rows("SELECT * FROM v_run_summary")
    summary = summarize(run)
    assert_equal(sql, {key: value for key, value in summary["cost"].items() if key != "by_role"})
    assert_equal(
        sql,
        {
            **{f"{key}_tokens": value for key, value in summary["tokens"].items()},
            **{
                key: summary[key]
                for key in (
                    "busy_ratio",
                    "load_factor_ratio",
                    "cache_hit_ratio",
                    "gpus_provisioned",
                )
            },
            **{f"ledger_{state}_ratio": summary["ledger"][state] for state in LEDGER_STATES},
            **{f"{at}_kw": summary["power"][f"mean_{at}_kw"] for at in ("gpu", "it", "facility")},
            **{k: v for k, v in summary["energy"].items() if k.startswith("tokens_per_j")},
            **{
                f"tokens_per_s_{suffix}_per_mw_{which}": summary["tokens_per_s_per_mw"][
                    f"{which}_{suffix}"
                ]
                for suffix in ("output_good", "output", "computed", "all")
                for which in ("provisioned", "measured")
            },
            **{
                f"tokens_per_s_{suffix}{per}": summary["throughput"][f"{suffix}_tokens_per_s{per}"]
                for suffix in ("output_good", "output", "computed", "all")
                for per in ("", "_per_gpu")
            },
        },
    )


def test_cache(run: Path, rows: Rows) -> None:
    (sql,) = rows("SELECT * FROM v_run_cache")
    assert_equal(sql, summarize(run)["cache"])


def test_outcomes(run: Path, rows: Rows) -> None:
    measured = summarize(run)["measured"]
    (sql,) = rows("SELECT * FROM v_run_attainment")
    assert_equal(sql, {name: measured[name] for name in OUTCOMES})
    for outcome in OUTCOMES:
        found = rows(
            "SELECT coalesce(sum(requests), 0) AS n, coalesce(sum(too_long), 0) AS too_long "
            f"FROM v_tenant_outcomes WHERE outcome = '{outcome}'"
        )[0]
        assert found["n"] == measured["attempts"][outcome]
        if outcome == "rejected":
            assert found["too_long"] == measured["attempts"]["rejected_too_long"]


def test_windows_of_tenants_add_up_to_the_run(run: Path, rows: Rows) -> None:
    (whole,) = rows("SELECT * FROM v_run_goodput")
    names = ("offered", "retried", "completed", "good", "rejected", "timed_out", "failed")
    windows = rows("SELECT * FROM v_tenant_windows WHERE is_measured")
    assert_equal(
        {name: sum(row[name] for row in windows) for name in names},
        {name: whole[name] for name in names},
    )
    seconds = {row["window_index"]: row["window_s"] for row in windows}
    good = sum(row["goodput_requests_per_s"] * row["window_s"] for row in windows)
    assert good / sum(seconds.values()) == pytest.approx(whole["goodput_requests_per_s"])


def test_windows(run: Path, rows: Rows) -> None:
    sql = rows("SELECT * FROM v_window_summary ORDER BY window_index")
    python = summarize_windows(run)
    assert len(sql) == len(python) == 4
    for seen, computed in zip(sql, python, strict=True):
        assert_equal(seen, computed)
        shared = ratios(seen, "run_id", "window_start_at", "contracted_facility_mw")
        assert shared == set(computed)


def test_pools(run: Path, rows: Rows) -> None:
    sql = {row["pool"]: row for row in rows("SELECT * FROM v_pool_summary")}
    python = summarize_pools(run)
    assert set(sql) == set(python)
    for pool, computed in python.items():
        assert_equal(sql[pool], computed)


def test_roles(run: Path, rows: Rows) -> None:
    (sql,) = rows("SELECT * FROM v_deployment_role_costs")
    assert_equal(sql, summarize(run)["cost"]["by_role"]["main"])


def test_latency_and_interactivity(run: Path, rows: Rows) -> None:
    (sql,) = rows("SELECT * FROM v_run_latency")
    summary = summarize(run)
    assert_equal(
        sql,
        {
            f"{name}_{part}": value
            for name, parts in summary["latency"].items()
            for part, value in parts.items()
        },
    )
    assert_equal(sql, {f"interactivity_{k}": v for k, v in summary["interactivity"].items()})


def test_attainment(run: Path, rows: Rows) -> None:
    summary = summarize(run)
    (whole,) = rows("SELECT * FROM v_run_attainment")
    assert_equal(
        whole, {name: summary["measured"][name] for name in ("offered", "good", "attainment_ratio")}
    )
    worst = {
        row["tenant"]: row["worst_5min_ratio"]
        for row in rows(
            "SELECT tenant, min(attainment_ratio) AS worst_5min_ratio "
            "FROM v_tenant_attainment_5min GROUP BY tenant",
        )
    }
    for row in rows("SELECT * FROM v_tenant_attainment"):
        sql = {**row, "worst_5min_ratio": worst[row["tenant"]]}
        assert_equal(sql, summary["attainment"][row["tenant"]])


def test_goodput_and_power(run: Path, rows: Rows) -> None:
    summary = summarize(run)
    (goodput,) = rows("SELECT * FROM v_run_goodput")
    names = ("requests_per_s", "goodput_requests_per_s")
    assert_equal(goodput, {name: summary["throughput"][name] for name in names})
    (facility,) = rows("SELECT * FROM v_power_nodes WHERE level = 'facility'")
    assert_equal(
        {name: facility[name] for name in ("mean_it_kw", "peak_1s_it_kw")},
        {name: summary["power"][name] for name in ("mean_it_kw", "peak_1s_it_kw")},
    )


def test_the_ledger_is_the_bill(run: Path, rows: Rows) -> None:
    summary = summarize(run)
    states = rows(
        "SELECT state, sum(ledger_ratio) AS ratio, sum(cost_usd) AS cost_usd "
        "FROM v_ledger GROUP BY state",
    )
    assert_equal({row["state"]: row["ratio"] for row in states}, summary["ledger"])
    bill = summary["cost"]["cost_usd"]
    if bill is not None:
        assert sum(row["cost_usd"] for row in states) == pytest.approx(bill, rel=1e-12)
