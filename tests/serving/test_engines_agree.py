"""The leap engine against the step engine: the same rows and the same sums, to the last bit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from conserved import violations
from factories import scenarios
from found import ABORTED_WAITER, RELEASED_INTO_A_COMPOSED_RANK
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from observed import Observed, differences, observe

from factory.errors import ScenarioError

MOST_EVENTS = 100_000


def both(scenario: dict[str, Any]) -> tuple[Observed, Observed]:
    """The scenario under the leap engine and under the step engine."""
    made = []
    for engine in ("leap", "step"):
        data = copy.deepcopy(scenario)
        data["run"]["engine"] = engine
        made.append(observe(data, MOST_EVENTS))
    return made[0], made[1]


def check(scenario: dict[str, Any]) -> None:
    """The engines agree, and what they agree on conserves everything."""
    leap, step = both(scenario)
    assert not differences(leap, step)
    is_drained = scenario["run"].get("drain", True)
    assert not violations(leap, is_drained=is_drained)
    assert not violations(step, is_drained=is_drained)


def check_if_possible(scenario: dict[str, Any]) -> None:
    try:
        check(scenario)
    except ScenarioError:
        assume(False)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(scenarios())
def test_on_invented_scenarios(scenario: dict[str, Any]) -> None:
    check_if_possible(scenario)


@pytest.mark.acceptance
@pytest.mark.parametrize("budget", [False, True], ids=["free", "capped"])
@settings(max_examples=5000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_on_many_invented_scenarios(budget: bool, data: st.DataObject) -> None:
    check_if_possible(data.draw(scenarios(budget)))


def factory(
    pools: list[dict[str, Any]], tenants: list[dict[str, Any]], **run: Any
) -> dict[str, Any]:
    """A scenario; the first pool may bring fields of its deployment and its rack."""
    deployment = {"name": "d", "model": "llama-3.1-8b", **pools[0].pop("deployment", {})}
    rack = {"name": "r", "system": "hgx-h100", **pools[0].pop("rack", {})}
    for pool in pools:
        pool.setdefault("name", pool["role"])
        pool["racks"] = "r"
        pool.setdefault("replicas", 1)
    for number, tenant in enumerate(tenants):
        tenant["name"] = f"t{number}"
    return {
        "name": "found",
        "facility": {"racks": [rack]},
        "deployments": [{**deployment, "pools": pools}],
        "workload": {"tenants": tenants},
        "run": run,
    }


def fixed(base_ms: float, **engine: Any) -> dict[str, Any]:
    return {"step_model": {"kind": "fixed", "base_ms": base_ms}, **engine}


def uniform(low: int, high: int) -> dict[str, Any]:
    return {"distribution": "uniform", "min": low, "max": high}


FOUND = {
    "aborted_waiter": ABORTED_WAITER,
    "released_into_a_composed_rank": RELEASED_INTO_A_COMPOSED_RANK,
    # A reservation takes blocks that a leap under way counted on for its own growth.
    "reservation_shortens_a_leap": factory(
        [
            {"deployment": {"block_size": 1, "kv_transfer": {"latency_ms": 5}}, "role": "prefill"},
            {"role": "decode", "engine": {"kv_capacity_tokens": 50}},
        ],
        [{"load": {"rate": 20.0}, "input_tokens": 20, "output_tokens": 19}],
        requests=10,
        seed=0,
    ),
    # A boundary has composed its next step, drafts and all, when it lets a transfer in.
    "reservation_beside_a_composed_step": factory(
        [
            {
                "deployment": {
                    "block_size": 16,
                    "speculation": {"draft_tokens": 1, "acceptance": 0.0},
                    "kv_transfer": {"bandwidth_gb_s": 1000.0, "latency_ms": 0},
                },
                "role": "prefill",
                "engine": fixed(1),
            },
            {
                "role": "decode",
                "engine": fixed(10, max_num_seqs=4, kv_capacity_tokens=64),
            },
        ],
        [{"load": {"concurrency": 4}, "input_tokens": 8, "output_tokens": 20}],
        requests=8,
    ),
    # Replicas in step with each other: a boundary of the same instant that comes later in the order
    # of events still takes in what an earlier one sends.
    "boundaries_of_one_instant": factory(
        [
            {
                "role": "aggregated",
                "replicas": 3,
                "parallel": {"dp": 2},
                "engine": fixed(1, max_num_seqs=1, max_num_batched_tokens=1),
            }
        ],
        [{"load": {"concurrency": 2}, "input_tokens": 3, "output_tokens": 1}],
        requests=6,
    ),
    "boundaries_of_one_instant_and_rounding": factory(
        [{"role": "aggregated", "replicas": 3, "parallel": {"dp": 2}, "engine": fixed(5)}],
        [{"load": {"concurrency": 2}, "input_tokens": 1, "output_tokens": 3}],
        requests=10,
    ),
    # Who was preempted tries again at the next boundary.
    "admission_after_a_preemption": factory(
        [
            {
                "deployment": {"block_size": 1, "router": {"policy": "least_loaded"}},
                "role": "aggregated",
                "replicas": 3,
                "engine": {
                    "max_num_seqs": 2,
                    "max_num_batched_tokens": 2,
                    "kv_capacity_tokens": 203,
                },
            }
        ],
        [
            {
                "load": {"concurrency": 8},
                "input_tokens": uniform(28, 53),
                "output_tokens": 20,
                "shared_prefix": {"tokens": 79, "count": 2},
            }
        ],
        requests=10,
        seed=2,
    ),
    # A chunk of the same size of which less is recomputed is another chunk.
    "recomputed_part_of_a_chunk": factory(
        [
            {
                "deployment": {"block_size": 1},
                "role": "aggregated",
                "engine": {
                    "max_num_seqs": 2,
                    "max_num_batched_tokens": 2,
                    "kv_capacity_tokens": 71,
                },
            }
        ],
        [
            {
                "load": {"concurrency": 2},
                "input_tokens": 7,
                "output_tokens": 7,
                "session": {"turns": 3, "growth": True},
            }
        ],
        duration_s=1,
    ),
    # Preempted twice in its prefill: what it had computed the first time counts as recomputed.
    "preempted_twice": factory(
        [
            {
                "deployment": {"block_size": 1},
                "role": "aggregated",
                "engine": {
                    "max_num_seqs": 4,
                    "max_num_batched_tokens": 5,
                    "kv_capacity_tokens": 140,
                },
            }
        ],
        [
            {"load": {"concurrency": 4}, "input_tokens": 16, "output_tokens": uniform(1, 24)},
            {
                "load": {"concurrency": 1},
                "input_tokens": 10,
                "output_tokens": 32,
                "shared_prefix": {"tokens": 55},
            },
        ],
        duration_s=1,
    ),
    # Cached tokens of a prompt that is not computed yet are in neither table.
    "cached_tokens_in_flight": factory(
        [{"deployment": {"block_size": 1}, "role": "aggregated"}],
        [
            {
                "load": {"rate": 50.0, "arrival": "deterministic"},
                "input_tokens": 1,
                "output_tokens": 1,
                "session": {"turns": 4, "growth": True},
            }
        ],
        duration_s=1,
        drain=False,
    ),
    # A prompt that leaves for decode counts no more where it was computed: who waits is asked for
    # at that boundary, not at the next look that a neighbour's steps happen to bring.
    "a_prompt_that_leaves_makes_room": factory(
        [
            {
                "deployment": {"block_size": 1},
                "role": "prefill",
                "replicas": 3,
                "parallel": {"dp": 2},
                "engine": {
                    "max_num_batched_tokens": 9,
                    "kv_capacity_tokens": 112,
                    "scheduler": {"policy": "sglang"},
                },
            },
            {"role": "decode", "replicas": 4, "engine": {"kv_capacity_tokens": 208}},
        ],
        [
            {
                "load": {
                    "rate": 1000.0,
                    "arrival": "deterministic",
                    "warm_start": {"span_s": 1.0, "ttft_s": 0.01, "itl_ms": 1},
                },
                "input_tokens": uniform(12, 27),
                "output_tokens": 7,
                "retry": {"attempts": 3, "backoff_s": 0.1},
                "shared_prefix": {"tokens": 67, "count": 2},
            }
        ],
        requests=80,
        seed=3,
    ),
    # A clock that changes where a step ends: the next one is planned anew, with its own context.
    # And a neighbour may change it while the replica is at work on that boundary.
    "clock_change_at_a_boundary": factory(
        [
            {
                "role": "aggregated",
                "replicas": 6,
                "rack": {"budget_kw": 17.145},
                "engine": {"max_num_seqs": 1, "max_num_batched_tokens": 2},
            }
        ],
        [
            {"load": {"rate": 10.0}, "input_tokens": 1, "output_tokens": 16},
            {"load": {"rate": 10.0}, "input_tokens": 1, "output_tokens": 13},
            {"load": {"concurrency": 2}, "input_tokens": 5, "output_tokens": uniform(21, 32)},
        ],
        requests=7,
        seed=4,
    ),
}


@pytest.mark.parametrize("name", list(FOUND))
def test_on_what_was_found(name: str) -> None:
    check(FOUND[name])


def test_a_stale_timer_does_not_end_the_run() -> None:
    """A run ends with its last event, not with an entry that a timer has left behind."""
    scenario = factory(
        [{"role": "aggregated", "replicas": 6, "rack": {"budget_kw": 17.145}}],
        [
            {
                "load": {"concurrency": 6},
                "input_tokens": uniform(1, 400),
                "output_tokens": uniform(1, 20),
            }
        ],
        requests=14,
        seed=1,
    )
    leap, step = both(scenario)
    assert leap.end_s == max(leap.column("completion_s"))
    assert not differences(leap, step)
