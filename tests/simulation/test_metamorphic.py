"""What must happen to the result when the scenario changes in a way whose effect is known."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
from observed import Observed, differences, observe
from small_runs import aggregated, budget_kw, capped, engine, split

from factory.records.codes import COMPLETED
from factory.serving.meter import OUTPUT

TIMES = ("arrival_s", "prefill_start_s", "prefill_end_s", "first_token_s", "completion_s")


def throughput(run: Observed) -> float:
    """Output tokens per second."""
    return sum(row[OUTPUT] for pool in run.pools for row in pool) / run.end_s


def timed(scale: float) -> dict[str, Any]:
    """Every duration of the scenario is ``scale`` times as long."""
    scenario = split(run={"requests": 150, "window_s": 5 * scale})
    [deployment] = scenario["deployments"]
    deployment["kv_transfer"] = {"bandwidth_gb_s": 1.0 / scale, "latency_ms": 2.0 * scale}
    times = {"base_ms": 8.0, "per_seq_ms": 0.5, "per_prefill_token_ms": 0.25}
    for pool in deployment["pools"]:
        model = {name: value * scale for name, value in times.items()}
        pool["engine"]["step_model"] = {"kind": "fixed", **model}
    for tenant in scenario["workload"]["tenants"]:
        if "rate" in tenant["load"]:
            tenant["load"]["rate"] /= scale
        if "session" in tenant:
            tenant["session"]["think_time_s"]["mean"] *= scale
    return scenario


@pytest.mark.parametrize("scale", [2.0, 0.25])
def test_scaling_every_duration_scales_time_and_nothing_else(scale: float) -> None:
    """A power of two, so that not even rounding differs."""
    one, other = observe(timed(1.0)), observe(timed(scale))
    for name in TIMES:
        assert other.column(name) == [time_s * scale for time_s in one.column(name)]
    for name in ("decode_replica", "computed", "cached", "output_tokens", "preemptions"):
        assert other.column(name) == one.column(name)


def drafted(chance: float | None) -> dict[str, Any]:
    """Stated step times, and two drafts each with this chance; None for no drafts."""
    scenario = aggregated(concurrency=12)
    [deployment] = scenario["deployments"]
    [pool] = deployment["pools"]
    pool["engine"] = engine(base_ms=10)
    if chance is not None:
        deployment["speculation"] = {"draft_tokens": 2, "acceptance": chance}
    return scenario


def test_more_acceptance_takes_fewer_steps_and_less_time() -> None:
    """Request by request, and none accepted is as none drafted."""
    runs = [observe(drafted(chance)) for chance in (None, 0.0, 0.4, 0.8, 1.0)]
    assert not differences(runs[0], runs[1])
    for less, more in pairwise(runs[1:]):
        pairs = zip(less.column("decode_steps"), more.column("decode_steps"), strict=True)
        assert all(fewer <= most for most, fewer in pairs)
        assert throughput(more) > throughput(less)
        assert more.column("output_tokens") == less.column("output_tokens")
    for tokens, steps in zip(
        runs[-1].column("output_tokens"), runs[-1].column("decode_steps"), strict=True
    ):
        assert steps == -(-(tokens - 1) // 3)


def test_names_of_pools_tenants_and_racks_change_nothing_but_names() -> None:
    """Random streams are named after tenants, so those keep theirs."""
    scenario = split()
    renamed = copy.deepcopy(scenario)
    renamed["facility"]["racks"][0]["name"] = "other"
    for pool in renamed["deployments"][0]["pools"]:
        pool["name"] = f"new-{pool['name']}"
        pool["racks"] = "other"
    assert not differences(observe(scenario), observe(renamed))


def test_a_perfect_cache_computes_only_what_is_new() -> None:
    """One prompt over and over: after the first, only the last token of it is computed."""
    scenario = aggregated(replicas=1, concurrency=1, run={"requests": 20})
    scenario["deployments"][0]["block_size"] = 16
    [tenant] = scenario["workload"]["tenants"]
    tenant["shared_prefix"] = {"tokens": 1024, "count": 1}
    tenant["input_tokens"] = 1
    run = observe(scenario)
    assert run.column("computed") == [1025] + [1] * 19
    assert run.column("cached") == [0] + [1024] * 19


def test_more_power_never_lowers_throughput() -> None:
    speeds = [
        throughput(observe(capped(aggregated(run={"requests": 100}), budget_kw(watts))))
        for watts in (200, 240, 280, 330, 700)
    ]
    assert speeds == sorted(speeds)
    assert speeds[0] < speeds[-1]
    assert speeds[-1] == throughput(observe(aggregated(run={"requests": 100})))


def test_a_lower_clock_never_raises_throughput() -> None:
    speeds = []
    for clock in (0.4, 0.7, 1.0):
        scenario = aggregated(run={"requests": 60})
        scenario["deployments"][0]["pools"][0]["clock_ratio"] = clock
        speeds.append(throughput(observe(scenario)))
    assert speeds == sorted(speeds)


def test_more_replicas_never_make_a_closed_loop_slower() -> None:
    ends = [observe(aggregated(replicas=n, run={"requests": 60})).end_s for n in (1, 2, 4, 8)]
    assert ends == sorted(ends, reverse=True)


def test_a_slower_link_delays_first_tokens_and_changes_no_token() -> None:
    waits = []
    for gb_s in (1000.0, 1.0, 0.2):
        scenario = split(run={"requests": 60})
        scenario["deployments"][0]["kv_transfer"] = {"bandwidth_gb_s": gb_s}
        run = observe(scenario)
        assert set(run.column("outcome")) == {COMPLETED}
        pairs = zip(run.column("first_token_s"), run.column("prefill_end_s"), strict=True)
        waits.append(sum(first - end for first, end in pairs))
    assert waits == sorted(waits)


def test_splitting_pools_with_a_perfect_link_does_not_hurt_inter_token_latency() -> None:
    """Steps that mix prompts in are longer: decode by itself is never slower."""
    times = {"base_ms": 8.0, "per_seq_ms": 0.1, "per_prefill_token_ms": 0.05}
    limits = engine(step_model={"kind": "fixed", **times})

    def mean_itl(roles: tuple[str, ...]) -> float:
        scenario = aggregated(concurrency=8, run={"requests": 80})
        [deployment] = scenario["deployments"]
        deployment["kv_transfer"] = {"bandwidth_gb_s": 1e6, "latency_ms": 0}
        deployment["pools"] = [
            {"name": role, "role": role, "racks": "r", "replicas": 1, "engine": limits}
            for role in roles
        ]
        run = observe(scenario)
        columns = (run.column(c) for c in ("first_token_s", "completion_s", "output_tokens"))
        itls = [(end - first) / (n - 1) for first, end, n in zip(*columns, strict=True)]
        return sum(itls) / len(itls)

    assert mean_itl(("prefill", "decode")) <= mean_itl(("aggregated",))
