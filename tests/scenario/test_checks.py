from __future__ import annotations

import pytest

from factory.scenario import check, load, resolved

PREFILL = {"name": "in", "role": "prefill", "racks": "racks", "replicas": 1}
DECODE = {"name": "out", "role": "decode", "racks": "racks", "replicas": 1}
AGGREGATED = {"name": "both", "role": "aggregated", "racks": "racks", "replicas": 1}


def test_a_sound_scenario_has_no_problems(minimal):
    assert check(load(minimal)) == []


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ([PREFILL], "cannot serve: prefill pools need a decode pool"),
        ([DECODE], "cannot serve: decode pools need a prefill pool"),
        ([PREFILL, DECODE, AGGREGATED], "a deployment is aggregated or split"),
        ([AGGREGATED, DECODE], "a deployment is aggregated or split"),
        ([], "must have at least one item"),
    ],
)
def test_pools_that_cannot_serve(minimal, problems, pools, message):
    minimal["deployments"][0]["pools"] = pools
    assert problems(minimal)["deployments[0].pools"].message.startswith(message)


def test_split_pools_serve(minimal):
    minimal["deployments"][0]["pools"] = [PREFILL, DECODE]
    assert check(load(minimal)) == []


@pytest.mark.parametrize(
    ("path", "name", "nearest"),
    [
        ("facility.racks[0].system", "HGX_H200", "hgx-h200"),
        ("deployments[0].model", "llama-3.1-8B", "llama-3.1-8b"),
        ("deployments[0].model", "deepseek", "deepseek-r1"),
        ("deployments[0].pools[0].racks", "rack", "racks"),
        ("workload.tenants[0].deployment", "chats", "chat"),
        ("prices.book", "neocloud", "neocloud-owned-2025-10"),
        ("facility.time_zone", "America/NewYork", "America/New_York"),
    ],
)
def test_unknown_names_come_with_the_nearest(minimal, problems, path, name, nearest):
    problem = problems(minimal, f"{path}={name}")[path]
    assert problem.message.startswith("unknown ")
    assert (problem.got, problem.nearest) == (name, nearest)


def test_names_must_differ(minimal, problems):
    minimal["deployments"][0]["pools"] *= 2
    minimal["workload"]["tenants"] *= 2
    minimal["facility"]["racks"] *= 2
    assert set(problems(minimal)) == {
        "deployments[0].pools[1].name",
        "workload.tenants[1].name",
        "facility.racks[1].name",
    }


def test_pool_names_differ_over_deployments(minimal, problems):
    minimal["deployments"].append(minimal["deployments"][0] | {"name": "second"})
    problem = problems(minimal)["deployments[1].pools[0].name"]
    assert problem.message == "is a pool of deployment chat too; names must differ"


def test_replicas_must_fit_the_racks(minimal, problems):
    minimal["deployments"][0]["pools"] = [
        PREFILL | {"replicas": 3, "parallel": {"tp": 8}},
        DECODE | {"replicas": 2, "parallel": {"tp": 8}},
    ]
    problem = problems(minimal)["deployments[0].pools[1].replicas"]
    assert problem.message == "takes 16 GPUs (2 x 8), racks racks have 8 of 32 left"
    assert problem.allowed == "at most 1"


def test_a_replica_larger_than_its_racks(minimal, problems):
    problem = problems(minimal, "deployments[0].pools[0].parallel={tp: 8, pp: 8}")
    assert "takes 64 GPUs" in problem["deployments[0].pools[0].parallel"].message


@pytest.mark.parametrize(
    ("model", "parallel", "key", "message"),
    [
        ("llama-3.1-8b", {"tp": 3}, "tp", "must divide the 32 attention heads"),
        ("llama-3.1-70b", {"tp": 64}, "tp", None),
        ("deepseek-r1", {"tp": 16}, "tp", None),
        ("llama-3.1-8b", {"ep": 2, "tp": 2}, "ep", "must be 1: llama-3.1-8b has no experts"),
        ("deepseek-r1", {"tp": 2, "dp": 4, "ep": 3}, "ep", "must divide tp x dp (2 x 4 = 8)"),
        ("deepseek-r1", {"dp": 512, "ep": 512}, "ep", "must be <= the 256 experts"),
        ("llama-3.1-8b", {"pp": 40}, "pp", "must be <= the 32 layers"),
    ],
)
def test_layouts_must_suit_the_model(minimal, problems, model, parallel, key, message):
    minimal["facility"]["racks"][0]["count"] = 20
    minimal["deployments"][0]["model"] = model
    minimal["deployments"][0]["pools"][0]["parallel"] = parallel
    if message is None:
        assert check(load(minimal)) == []
    else:
        found = problems(minimal)[f"deployments[0].pools[0].parallel.{key}"]
        assert found.message.startswith(message)


def test_a_precision_that_the_gpu_lacks(minimal, problems):
    problem = problems(minimal, "deployments[0].precision.weights=fp4")
    found = problem["deployments[0].precision.weights"]
    message = "h200-sxm has no such arithmetic, and llama-3.1-8b in nvfp4 needs it"
    assert (found.message, found.allowed) == (message, "fp16, fp8")
    load(minimal, ["deployments[0].precision.weights=fp4", "facility.racks[0].system=hgx-b200"])


@pytest.mark.parametrize("system", ["hgx-a100", "hgx-h100", "hgx-h200", "hgx-b200"])
@pytest.mark.parametrize("model", ["gpt-oss-20b", "kimi-k2.5"])
def test_weight_only_formats_need_no_arithmetic_of_their_own(minimal, problems, model, system):
    minimal["facility"]["racks"][0]["system"] = system
    minimal["deployments"][0]["model"] = model
    load(minimal, ["deployments[0].precision.weights=fp4"])
    if system == "hgx-a100":
        found = problems(minimal, "deployments[0].precision.weights=fp8")
        found = found["deployments[0].precision.weights"]
        assert found.message == "a100-sxm-80gb has no such arithmetic"
        assert found.allowed == "fp16, fp4"


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("engine.max_num_seqs=9000", "engine.max_num_seqs"),
        ("engine={hybrid_kv_cache: false, sliding_kv_ratio: 0.8}", "engine.sliding_kv_ratio"),
        ("engine.max_model_len=200000", "engine.max_model_len"),
        ("engine.step_model={base_ms: 3}", "engine.step_model.base_ms"),
        ("engine.step_model={kind: fixed}", "engine.step_model"),
        ("engine.gpu_memory_utilization=1.1", "engine.gpu_memory_utilization"),
        ("clock_ratio=0", "clock_ratio"),
    ],
)
def test_engines_must_make_sense(minimal, problems, override, path):
    assert list(problems(minimal, f"deployments[0].pools[0].{override}")) == [
        f"deployments[0].pools[0].{path}"
    ]


@pytest.mark.parametrize(
    ("load_", "path"),
    [
        ({}, "load"),
        ({"rate": 1, "concurrency": 2}, "load"),
        ({"rate": 0}, "load.rate"),
        ({"concurrency": 0}, "load.concurrency"),
        ({"concurrency": 2, "arrival": "gamma"}, "load.arrival"),
        ({"rate": 2, "cv": 3}, "load.cv"),
    ],
)
def test_a_load_is_a_rate_or_a_concurrency(minimal, problems, load_, path):
    minimal["workload"]["tenants"][0]["load"] = load_
    assert list(problems(minimal)) == [f"workload.tenants[0].{path}"]


@pytest.mark.parametrize(
    ("length", "path", "message"),
    [
        ({"distribution": "uniform", "min": 3}, "", "uniform needs max and min"),
        ({"distribution": "uniform", "min": 3, "max": 2}, ".min", "must be <= max (2)"),
        ({"distribution": "constant", "value": 3, "mean": 2}, ".mean", "constant takes no mean"),
        ({"distribution": "lognormal", "mu": 3, "mean": 2}, "", "lognormal needs"),
        (
            {"distribution": "lognormal", "mu": 3, "sigma": 1, "mean": 2, "stddev": 1},
            "",
            "lognormal takes mu and sigma or mean and stddev, not a mix",
        ),
        ({"distribution": "lognormal", "mean": 0, "stddev": 1}, ".mean", "must be > 0"),
        ({"distribution": "geometric", "mean": 0.5}, ".mean", "must be >= 1"),
        ({"distribution": "pareto", "alpha": 1, "min": 2}, ".alpha", "must be > 1 without a max"),
        ({"distribution": "pareto", "alpha": 2, "min": 0}, ".min", "must be > 0"),
        ({"distribution": "normal", "mean": 1, "stddev": -1}, ".stddev", "must be >= 0"),
        ({"distribution": "exponential"}, "", "exponential needs mean"),
        ({"mean": 3}, ".distribution", "is missing"),
        (0, "", "must reach at least 1"),
    ],
)
def test_distributions_must_not_contradict_themselves(minimal, problems, length, path, message):
    minimal["workload"]["tenants"][0]["output_tokens"] = length
    found = problems(minimal)
    assert list(found) == [f"workload.tenants[0].output_tokens{path}"]
    assert found[f"workload.tenants[0].output_tokens{path}"].message.startswith(message)


@pytest.mark.parametrize(
    "length",
    [
        {"distribution": "lognormal", "mu": 3, "sigma": 1, "min": 2, "max": 90},
        {"distribution": "lognormal", "mean": 30, "stddev": 10},
        {"distribution": "normal", "mean": 30, "stddev": 10, "min": 1},
        {"distribution": "geometric", "mean": 5, "max": 50},
        {"distribution": "pareto", "alpha": 0.9, "min": 2, "max": 50},
        {"distribution": "exponential", "mean": 40},
        {"distribution": "uniform", "min": 5, "max": 5},
    ],
)
def test_sound_distributions(minimal, length):
    minimal["workload"]["tenants"][0]["output_tokens"] = length
    assert check(load(minimal)) == []


def test_a_tenant_with_a_load_needs_lengths(minimal, problems):
    tenant = minimal["workload"]["tenants"][0]
    del tenant["input_tokens"], tenant["output_tokens"]
    assert set(problems(minimal)) == {
        "workload.tenants[0].input_tokens",
        "workload.tenants[0].output_tokens",
    }


def test_a_tenant_has_a_load_or_the_trace_but_not_both(minimal, problems):
    minimal["workload"]["trace"] = {"format": "azure", "path": "x"}
    assert "feeds this tenant" in problems(minimal)["workload.tenants[0].load"].message
    del minimal["workload"]["tenants"][0]["load"]
    assert check(load(minimal)) == []
    del minimal["workload"]["trace"]
    assert "no trace feeds" in problems(minimal)["workload.tenants[0].load"].message


def test_a_trace_needs_no_end_but_a_load_does(minimal, problems):
    minimal["run"] = {}
    assert "never ends" in problems(minimal)["run"].message
    minimal["workload"] = {
        "tenants": [{"name": "people"}],
        "trace": {"format": "azure", "path": "x"},
    }
    assert check(load(minimal)) == []


def test_a_trace_must_suit_its_format_and_deployment(minimal, problems):
    del minimal["workload"]["tenants"][0]["load"]
    minimal["workload"]["trace"] = {"format": "mooncake", "path": __file__, "sessions": 3}
    minimal["deployments"][0]["block_size"] = 64
    assert set(problems(minimal)) == {"workload.trace.sessions", "deployments[0].block_size"}
    assert problems(minimal, "workload.trace.tenant=persons")["workload.trace.tenant"].message == (
        "unknown tenant"
    )


@pytest.mark.parametrize(
    ("prices", "path"),
    [
        ({}, "prices"),
        (
            {"book": "rental-3yr-2026-07", "usd_per_gpu_hour": {"hgx-h200": 2}},
            "prices",
        ),
        ({"book": "rental-3yr-2026-07", "covers": ["staff"]}, "prices.covers"),
        ({"usd_per_gpu_hour": {"h200": 2}}, "prices.usd_per_gpu_hour.h200"),
        ({"usd_per_gpu_hour": {"hgx-h200": "$2"}}, "prices.usd_per_gpu_hour.hgx-h200"),
        ({"usd_per_gpu_hour": {"hgx-h200": 2}, "covers": ["power"]}, "prices.covers[0]"),
    ],
)
def test_prices_come_from_a_book_or_are_stated(minimal, problems, prices, path):
    minimal["prices"] = prices
    assert list(problems(minimal)) == [path]


def test_the_run_must_leave_something_to_measure(minimal, problems):
    found = problems(minimal, "run.warmup_s=60", "run.window_s=0", "cells.simulated=2")
    assert set(found) == {"run.warmup_s", "run.window_s", "cells.simulated"}


def test_one_wrong_value_does_not_hide_the_others(minimal, problems):
    minimal["deployments"][0]["pools"][0]["role"] = "agregated"
    found = problems(minimal, "facility.racks[0].system=h200", "run.warmup_s=100", "nam=x")
    assert set(found) == {
        "deployments[0].pools[0].role",
        "facility.racks[0].system",
        "run.warmup_s",
        "nam",
    }


def test_what_only_follows_from_a_wrong_value_is_not_said(minimal, problems):
    del minimal["facility"]["racks"][0]["name"]
    assert set(problems(minimal)) == {"facility.racks[0].name"}


DRAFTS = {"draft_tokens": 2, "acceptance": [0.9, 0.6]}


def drafting(minimal, speculation, **engine):
    """The minimal scenario with a model that drafts."""
    minimal["facility"]["racks"][0]["count"] = 20
    deployment = minimal["deployments"][0]
    deployment.update(model="deepseek-r1", speculation=speculation)
    deployment["pools"][0].update(parallel={"tp": 8, "ep": 8}, engine=engine)
    return minimal


@pytest.mark.parametrize("acceptance", [0.7, 0, 1, [0.7], [0.9, 0.6]])
def test_sound_drafts(minimal, acceptance):
    scenario = load(drafting(minimal, DRAFTS | {"acceptance": acceptance}))
    given = scenario.deployments[0].speculation
    assert len(given.chances) == given.draft_tokens == 2
    assert load(resolved(scenario)).deployments == scenario.deployments


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"acceptance": [0.9, 0.6, 0.3]}, "acceptance", "must be one number, or 2: one for each"),
        ({"acceptance": []}, "acceptance", "must have at least one item"),
        ({"acceptance": 1.2}, "acceptance[0]", "must be <= 1"),
        ({"acceptance": [0.9, -0.1]}, "acceptance[1]", "must be >= 0"),
        ({"acceptance": "high"}, "acceptance[0]", "must be a number"),
        ({"draft_tokens": 0}, "draft_tokens", "must be >= 1"),
        ({"method": "draft"}, "method", "must be mtp"),
        ({"draft_model": "llama-3.1-8b"}, "draft_model", "unknown field"),
    ],
)
def test_drafts_that_make_no_sense(minimal, problems, change, path, message):
    found = problems(drafting(minimal, DRAFTS | change))
    assert found[f"deployments[0].speculation.{path}"].message.startswith(message)


def test_drafts_need_a_model_that_drafts(minimal, problems):
    minimal["deployments"][0]["speculation"] = DRAFTS
    problem = problems(minimal)["deployments[0].speculation.method"]
    assert problem.message == "llama-3.1-8b has no multi-token-prediction layers that could draft"
    assert "deepseek-r1" in problem.allowed


def test_stated_step_times_need_no_model_that_drafts(minimal):
    minimal["deployments"][0]["speculation"] = DRAFTS
    engine = {"step_model": {"kind": "fixed", "base_ms": 10}}
    minimal["deployments"][0]["pools"][0]["engine"] = engine
    load(minimal)


def test_drafts_take_of_the_token_budget(minimal, problems):
    found = problems(drafting(minimal, DRAFTS, max_num_seqs=100, max_num_batched_tokens=299))
    problem = found["deployments[0].pools[0].engine.max_num_seqs"]
    assert problem.message.startswith("must be <= max_num_batched_tokens (299) / 3: each")
    load(drafting(minimal, DRAFTS, max_num_seqs=99, max_num_batched_tokens=299))
