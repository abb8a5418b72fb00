"""The summary of the run made by hand, with the arithmetic here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hand_made_run as by_hand
import pytest

from factory.economics import summarize, summarize_pools, summarize_windows
from factory.economics.service import ATTEMPTS
from factory.errors import InputError
from factory.records.codes import FAILED, TIMED_OUT
from factory.records.fact_requests import REQUESTS
from factory.records.query import query

exactly = pytest.approx
NAN = float("nan")
REQUEST = [field.name for field in REQUESTS.raw]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_hand.write(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def summary(run: Path) -> dict[str, Any]:
    return summarize(run)


def test_requests(summary: dict[str, Any]) -> None:
    assert (summary["requests"], summary["completed"], summary["good"]) == (6, 5, 4)
    measured = summary["measured"]
    assert (measured["offered"], measured["completed"], measured["good"]) == (5, 4, 3)
    assert measured["attainment_ratio"] == 3 / 5
    assert summary["events_per_request"] == 24 / 6
    assert summary["simulated_s"] == 35.0


def test_tokens_of_the_measured_windows(summary: dict[str, Any]) -> None:
    assert summary["tokens"] == {
        "input_computed": 450 + 500,
        "input_recomputed": 20,
        "input_cached": 50 + 600,
        "output": 91 + 57,
        "output_good": 41 + 1,
    }
    assert summary["cache_hit_ratio"] == 650 / (650 + 950)


def test_cost(summary: dict[str, Any]) -> None:
    # 20 s of 2 + 2 GPUs at 0.0005 and of 4 GPUs at 0.001 USD per GPU-second.
    usd = 80 * 0.0005 + 80 * 0.001
    cost = summary["cost"]
    assert cost["cost_usd"] == exactly(usd)
    assert cost["usd_per_gpu_hour"] == exactly(usd / 160 * 3600)
    assert cost["cost_usd_per_mtok_output_good"] == exactly(usd / 42 * 1e6)
    assert cost["cost_usd_per_mtok_output"] == exactly(usd / 148 * 1e6)
    assert cost["cost_usd_per_mtok_computed"] == exactly(usd / (950 + 148) * 1e6)
    assert cost["cost_usd_per_mtok_all"] == exactly(usd / (950 + 650 + 148) * 1e6)
    nameplate = (2 + 3) * 0.0005 + (10 + 9) * 0.001
    assert cost["nameplate_cost_usd"] == exactly(nameplate)
    assert cost["nameplate_cost_usd_per_mtok_output"] == exactly(nameplate / 148 * 1e6)
    assert cost["by_role"] == {
        "main": {
            "prefill_cost_usd_per_mtok_input_computed": exactly(40 * 0.0005 / 950 * 1e6),
            "decode_cost_usd_per_mtok_output": exactly(80 * 0.001 / 148 * 1e6),
        }
    }


def test_the_price_of_a_gpu_hour_over_its_speed_is_the_cost(summary: dict[str, Any]) -> None:
    cost, throughput = summary["cost"], summary["throughput"]
    for suffix in ("output_good", "output", "computed", "all"):
        speed = throughput[f"{suffix}_tokens_per_s_per_gpu"]
        derived = cost["usd_per_gpu_hour"] / (speed * 3600) * 1e6
        assert derived == pytest.approx(cost[f"cost_usd_per_mtok_{suffix}"], rel=1e-12)


def test_utilization(summary: dict[str, Any]) -> None:
    prefill = 3.5 + 0.5 + 4.6 + 0.4 + 1
    assert summary["busy_ratio"] == exactly((prefill + 26 + 16) / 160)
    assert summary["load_factor_ratio"] == exactly((2 + 3 + 10 + 9) / 160)
    ledger = summary["ledger"]
    assert ledger["decode"] == exactly(42 / 160)
    assert ledger["power_capped"] == exactly(2 / 160)
    assert ledger["idle"] == exactly((14 + 14 + 11 + 24) / 160)
    assert ledger["unassigned"] == exactly(40 / 160)
    assert sum(ledger.values()) == exactly(1)


def test_power_and_tokens_per_megawatt(summary: dict[str, Any]) -> None:
    power = summary["power"]
    assert power["mean_gpu_kw"] == exactly(8 * 0.3)
    assert power["mean_it_kw"] == exactly(8 * 0.4)
    assert power["mean_facility_kw"] == exactly(8 * 0.4 * 1.25)
    assert power["peak_1s_it_kw"] == exactly(3.2)
    assert power["contracted_facility_kw"] == exactly(8)
    assert summary["energy_kwh"] == exactly(4.0 * 20 / 3600)
    assert summary["energy"]["tokens_per_j_output"] == exactly(148 / (4000 * 20))
    per_mw = summary["tokens_per_s_per_mw"]
    assert per_mw["provisioned"] == exactly(148 / 20 / 0.008)
    assert per_mw["measured"] == exactly(148 / 20 / 0.004)
    assert per_mw["measured_output_good"] == exactly(42 / 20 / 0.004)


def test_latency_of_completed_requests_that_arrive_measured(summary: dict[str, Any]) -> None:
    # r1, r2, r4, r5: TTFT 1.5, 3.5, 2.5, 1.5 s; ITL 0.1, 0.05, none, 0.1 s; E2E 5.5, 7.5, 2.5, 7 s.
    ttft, itl, e2e = (summary["latency"][f"{name}_ms"] for name in ("ttft", "itl", "e2e"))
    assert ttft["mean"] == exactly((1500 + 3500 + 2500 + 1500) / 4)
    assert ttft["p50"] == exactly((1500 + 2500) / 2)
    assert ttft["p90"] == exactly(2500 + 0.7 * 1000)
    assert itl["mean"] == exactly(250 / 3)
    assert itl["p50"] == exactly(100)
    assert e2e["p50"] == exactly((5500 + 7000) / 2)
    assert e2e["p99"] == exactly(7000 + 0.97 * 500)
    assert summary["interactivity"]["p50"] == exactly(10)


def test_throughput(summary: dict[str, Any]) -> None:
    throughput = summary["throughput"]
    assert throughput["requests_per_s"] == exactly(3 / 20)
    assert throughput["goodput_requests_per_s"] == exactly(2 / 20)
    assert throughput["output_tokens_per_s"] == exactly(148 / 20)
    assert throughput["output_tokens_per_s_per_gpu"] == exactly(148 / 20 / 8)


def test_attainment_counts_the_rejected(summary: dict[str, Any]) -> None:
    chat, agent = summary["attainment"]["chat"], summary["attainment"]["agent"]
    assert (chat["offered"], chat["good"], chat["target_ratio"]) == (3, 2, 0.99)
    assert chat["attainment_ratio"] == exactly(2 / 3)
    assert agent["attainment_ratio"] == exactly(1 / 2)
    assert agent["worst_5min_ratio"] == exactly(1 / 2)


def test_it_is_plain_json(summary: dict[str, Any]) -> None:
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_windows_add_up_to_the_run(run: Path, summary: dict[str, Any]) -> None:
    windows = summarize_windows(run)
    assert [w["window_start_time_s"] for w in windows] == [0, 10, 20, 30]
    measured = [w for w in windows if w["is_measured"]]
    assert sum(w["cost_usd"] for w in measured) == exactly(summary["cost"]["cost_usd"])
    assert windows[1]["tokens_per_s_output"] == exactly(91 / 10)
    assert windows[3]["seconds"] == 5.0
    assert windows[3]["busy_ratio"] == exactly(12 / 40)
    assert windows[3]["cost_usd_per_mtok_output_good"] == exactly(
        (20 * 0.0005 + 20 * 0.001) / 56 * 1e6
    )


def test_pools_add_up_to_the_run(run: Path, summary: dict[str, Any]) -> None:
    pools = summarize_pools(run)
    assert list(pools) == ["prefill", "decode", "unassigned/a"]
    assert sum(p["cost_usd"] for p in pools.values()) == exactly(summary["cost"]["cost_usd"])
    assert pools["decode"]["busy_ratio"] == exactly(42 / 80)
    assert pools["unassigned/a"]["cost_usd_per_mtok_output"] is None


def test_weight_multiplies_what_adds_up_and_no_ratio(
    tmp_path: Path, summary: dict[str, Any]
) -> None:
    heavy = summarize(by_hand.write(tmp_path / "run", weight=3.0))
    assert heavy["cost"]["cost_usd"] == exactly(3 * summary["cost"]["cost_usd"])
    assert heavy["tokens"]["output"] == 3 * 148
    assert (heavy["requests"], heavy["good"]) == (18, 12)
    assert heavy["power"]["mean_it_kw"] == exactly(3 * 3.2)
    assert heavy["power"]["peak_1s_it_kw"] == exactly(3 * 3.2)
    assert heavy["throughput"]["goodput_requests_per_s"] == exactly(3 * 2 / 20)
    assert heavy["attainment"]["chat"]["offered"] == 9
    assert heavy["tokens_per_s_per_mw"]["measured"] == exactly(148 / 20 / 0.004)
    for name in ("busy_ratio", "load_factor_ratio", "cache_hit_ratio", "latency", "ledger"):
        assert heavy[name] == exactly(summary[name]) if name != "latency" else True
    assert heavy["latency"] == summary["latency"]
    assert heavy["cost"]["cost_usd_per_mtok_output"] == exactly(
        summary["cost"]["cost_usd_per_mtok_output"]
    )


@pytest.mark.parametrize("how", ["no prices", "one system", "no pricing"])
def test_without_a_price_it_is_performance_only(tmp_path: Path, how: str) -> None:
    def unpriced(_: dict, dims: dict) -> None:
        if how == "no prices":
            dims["dim_prices"] = []
        elif how == "one system":
            dims["dim_prices"] = dims["dim_prices"][:1]
        else:
            del dims["fact_runs"][0]["pricing_id"]

    summary = summarize(by_hand.write(tmp_path / "run", unpriced))
    for name, value in summary["cost"].items():
        if name != "by_role":
            assert value is None, name
    decode = summary["cost"]["by_role"]["main"]["decode_cost_usd_per_mtok_output"]
    assert decode is None
    assert summary["tokens_per_s_per_mw"]["measured"] == exactly(1850)


def test_no_ratio_where_the_denominator_is_zero(tmp_path: Path) -> None:
    def nothing(streams: dict, dims: dict) -> None:
        streams["fact_requests"] = []
        streams["fact_tenant_intervals"] = []
        streams["fact_power"] = []
        streams["fact_intervals"] = []
        dims["fact_runs"][0] |= {"measured_from_s": 0.0, "measured_to_s": 0.0}

    summary = summarize(by_hand.write(tmp_path / "run", nothing))
    json.dumps(summary, allow_nan=False)
    assert summary["requests"] == 0
    assert summary["events_per_request"] is None
    for name in ("busy_ratio", "load_factor_ratio", "cache_hit_ratio", "gpus_provisioned"):
        assert summary[name] is None
    assert summary["cost"]["cost_usd"] == 0
    assert summary["cost"]["cost_usd_per_mtok_output"] is None
    assert summary["latency"]["itl_ms"] == dict.fromkeys(("mean", "p50", "p90", "p99"))
    assert set(summary["ledger"].values()) == {None}
    assert summary["attainment"]["chat"]["attainment_ratio"] is None


def test_a_retry_counts_once(tmp_path: Path) -> None:
    def retried(streams: dict, _: dict) -> None:
        times = (16.0, 16.0, 17.0, 17.5, 21.5)
        again = by_hand.request(6, 1, times, (50, 50, 0, 0, 9), (0, 0, 0), attempt=1, root=3)
        streams["fact_requests"].append(again)

    summary = summarize(by_hand.write(tmp_path / "run", retried))
    assert summary["requests"] == 7
    assert summary["measured"] == {
        "from_s": 10.0,
        "to_s": 30.0,
        "seconds": 20.0,
        "offered": 5,
        "completed": 5,
        "rejected": 0,
        "timed_out": 0,
        "failed": 0,
        "in_flight": 0,
        "good": 4,
        "attainment_ratio": 4 / 5,
        "attempts": {
            "requests": 6,
            "offered": 5,
            "retried": 1,
            "completed": 5,
            "rejected": 1,
            "timed_out": 0,
            "failed": 0,
            "in_flight": 0,
            "truncated": 0,
            "rejected_too_long": 0,
        },
        "retry_ratio": 1 / 6,
    }
    assert summary["attainment"]["agent"]["attainment_ratio"] == 1.0
    assert summary["good"] == 5


def test_outcomes_of_attempts_and_of_the_requests_behind_them(tmp_path: Path) -> None:
    def lost(streams: dict, dims: dict) -> None:
        # r3 was turned away at 15 s, too long; tried again, it is given up at 18 s, then lost.
        dims["dim_deployments"][0]["longest_prompt_tokens"] = 49
        again = {"root": 3, "first_s": 15.0}
        for number, at_s, left_s, outcome in ((6, 16.0, 18.0, TIMED_OUT), (7, 19.0, 31.0, FAILED)):
            times = (at_s, NAN, NAN, NAN, left_s)
            streams["fact_requests"].append(
                by_hand.request(
                    number, 1, times, (50, 0, 0, 0, 0), (0, 0, 0),
                    outcome=outcome, attempt=number - 5, **again,
                )
            )  # fmt: skip

    summary = summarize(by_hand.write(tmp_path / "run", lost))
    assert {name: summary[name] for name in ATTEMPTS} == {
        "requests": 8,
        "offered": 6,
        "retried": 2,
        "completed": 5,
        "rejected": 1,
        "timed_out": 1,
        "failed": 1,
        "in_flight": 0,
        "truncated": 0,
        "rejected_too_long": 1,
    }
    measured = summary["measured"]
    logical = ("offered", "completed", "rejected", "timed_out", "failed", "in_flight")
    assert [measured[name] for name in logical] == [5, 4, 0, 0, 1, 0]
    assert measured["retry_ratio"] == 2 / 7
    assert summary["attainment"]["agent"]["completed"] == 1


def test_cached_tokens_by_tier_add_up(summary: dict[str, Any]) -> None:
    # r1 has 50 cached tokens; r4 has 600: 128 from host memory, 64 from disk, 8 from elsewhere.
    cache = summary["cache"]
    assert [cache[f"{tier}_tokens"] for tier in ("gpu", "host", "disk", "remote")] == [
        650 - 200,
        128,
        64,
        8,
    ]
    assert cache["host_hit_ratio"] == 128 / (650 + 950)
    ratios = [value for name, value in cache.items() if name.endswith("ratio")]
    assert sum(ratios) == exactly(summary["cache_hit_ratio"])


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run directory"):
        summarize(tmp_path)


def test_cut_and_refused_requests_are_counted(tmp_path: Path) -> None:
    def cut(streams: dict, _: dict) -> None:
        for row in (0, 4):  # one of the warm-up, one measured
            values = list(streams["fact_requests"][row])
            values[REQUEST.index("requested_output_tokens")] += 5
            streams["fact_requests"][row] = tuple(values)

    run = by_hand.write(tmp_path / "run", cut)
    summary = summarize(run)
    assert (summary["truncated"], summary["rejected"]) == (2, 1)
    attempts = summary["measured"]["attempts"]
    assert (attempts["truncated"], attempts["rejected"]) == (1, 1)
    answer = query(
        run, "SELECT sum(truncated), sum(requests) FILTER (outcome = 'rejected') "
        "FROM v_tenant_outcomes"
    )  # fmt: skip
    assert answer.rows == [(1.0, 1.0)]
