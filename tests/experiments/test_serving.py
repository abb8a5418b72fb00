"""The serving experiments: their findings have the sign that they claim, on less demand."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from factory.statistics import mean_interval

ROOT = Path(__file__).parents[2]
TRACE = ROOT.parent / "shared" / "data" / "traces" / "mooncake_conversation.jsonl.gz"
PART_S = 600.0

pytestmark = pytest.mark.skipif(
    not (ROOT / "experiments").is_dir(), reason="this copy of the tests is without experiments/"
)
needs_trace = pytest.mark.skipif(not TRACE.exists(), reason=f"needs {TRACE.name}")


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"experiments.serving.{name}")


@needs_trace
def test_looking_at_caches_beats_taking_turns(load):
    sweep = load("load_sweep")
    rows = list(sweep.rows(TRACE, ("round_robin", "kv_aware"), (1.7,), (1, 2), PART_S))
    gain = load("paired").difference(
        rows, "kv_aware", "round_robin", 1.7, "goodput_requests_per_s", relative=True
    )
    assert gain.low > 0.5
    hits = load("paired").difference(rows, "kv_aware", "round_robin", 1.7, "cache_hit_ratio")
    assert hits.low > 0.05


@needs_trace
def test_what_the_router_sent_keeps_hits_while_prompts_queue(load):
    sweep = load("load_sweep")
    rows = list(sweep.rows(TRACE, ("kv_aware", sweep.EVENTS), (2.6,), (1, 2), PART_S))
    for figure, sign in (("cache_hit_ratio", 1), ("ttft_p99_s", -1)):
        found = load("paired").difference(
            rows, "kv_aware", sweep.EVENTS, 2.6, figure, relative=True
        )
        assert found.mean * sign > 0.15
        assert found.mean * sign > found.half_width


@needs_trace
def test_disaggregation_saves_itl_and_costs_ttft(load):
    apart = load("disaggregation")
    designs = (apart.APART, *list(apart.TOGETHER)[:2])
    rows = list(apart.rows(TRACE, designs, (1.7,), (1, 2), PART_S))
    for together in designs[1:]:
        for figure, sign in (("itl_p99_ms", -1), ("long_itl_p99_ms", -1), ("ttft_p50_s", 1)):
            found = load("paired").difference(
                rows, apart.APART, together, 1.7, figure, relative=True
            )
            assert found.mean * sign > 0.25
            assert found.mean * sign > found.half_width


@needs_trace
def test_shedding_keeps_goodput_that_queueing_loses(load):
    overload = load("overload")
    peak = list(overload.rows(TRACE, (overload.NONE,), (1.7,), (1,), PART_S))
    shed = ("predicted TTFT", "queue limit 16")
    beyond = list(overload.rows(TRACE, (overload.NONE, *shed), (6.6,), (1,), PART_S))
    assert not any(row["broken_laws"] for row in peak + beyond)
    best = peak[0]["goodput_requests_per_s"]
    kept = {row["design"]: row["goodput_requests_per_s"] / best for row in beyond}
    assert kept["predicted TTFT"] >= 0.8
    assert kept[overload.NONE] <= 0.3
    queues = {row["design"]: row["longest_queue"] for row in beyond}
    assert queues["queue limit 16"] == 16
    assert queues[overload.NONE] > 100


def test_old_signals_herd(load):
    herding = load("herding")
    rows = list(herding.rows(90.0, (0.0, 2.0), (1,), 40.0))
    ttft = {(row["design"], row["load"]): row["ttft_p99_s"] for row in rows}
    assert ttft["least_loaded", 0.0] < ttft["power_of_two", 0.0]
    assert ttft["least_loaded", 2.0] > 2 * ttft["power_of_two", 2.0]
    assert ttft["least_loaded", 2.0] > 2 * ttft["random", 2.0]


@pytest.mark.parametrize("router", ["kv_aware", "session_affinity"])
def test_host_memory_keeps_conversations(load, router):
    tier = load("host_tier")
    rows = list(tier.rows((0.0, 256.0), (f"0.6 sessions/s, {router}",), (1,), 600.0))
    off, on = rows
    assert on["cache_hit_ratio"] > off["cache_hit_ratio"] + 0.1
    assert on["ttft_p50_s"] < 0.75 * off["ttft_p50_s"]


def test_figures_are_compared_seed_by_seed(load):
    rows = [
        {"design": design, "load": 1.0, "seed": seed, "x": seed * 10.0 + more + seed * extra}
        for design, more, extra in (("a", 1.0, 0.5), ("b", 0.0, 0.0))
        for seed in (1, 2, 3)
    ]
    found = load("paired").difference(rows, "a", "b", 1.0, "x")
    assert found == mean_interval([1.5, 2.0, 2.5], 0.95)


def test_load_held_lies_between_loads(load):
    rows = [
        {"design": "a", "seed": 1, "load": at, "attainment_ratio": ratio}
        for at, ratio in ((1.0, 1.0), (2.0, 0.99), (3.0, 0.89))
    ]
    assert load("load_sweep").held_load(rows, "a", 1) == pytest.approx(2.4)


def test_longest_queue_by_hand(load):
    # Two wait from 1 to 2; one leaves at 2 as another comes; one is turned away, one never waits.
    found = load("overload").longest_queue(
        np.array([0.0, 1.0, 2.0, 1.5, 1.7]),
        np.array([2.0, np.nan, 4.0, np.nan, 1.7]),
        np.array([9.0, 3.0, 9.0, 1.5, 9.0]),
        np.array([False, False, False, True, False]),
    )
    assert found == 2


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("load_sweep", "tables"),
        ("load_sweep_spans", "table_of_spans"),
        ("disaggregation", "tables"),
        ("overload", "tables"),
        ("herding", "tables"),
        ("host_tier", "tables"),
    ],
)
def test_tables_are_made_of_the_rows_kept(load, name, tables):
    kept = ROOT / "experiments" / "serving" / "results" / f"{name}.csv"
    made = getattr(load(name.removesuffix("_spans")), tables)(load("runs").read(kept))
    assert kept.with_suffix(".md").read_text(encoding="utf-8") == f"{made}\n"
