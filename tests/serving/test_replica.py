"""What one replica does with a few requests, worked out on paper."""

from __future__ import annotations

from typing import Any

import pytest
from observed import Observed, differences, observe

from factory.records.codes import (
    COMPLETED,
    REJECTED,
    STATE_DECODE,
    STATE_IDLE,
    STATE_PREFILL_NEW,
    STATE_WAITING_PEERS,
)
from factory.serving.meter import STATES

STEP = {"kind": "fixed", "base_ms": 10, "per_seq_ms": 1, "per_prefill_token_ms": 0.5}
MS = 1e-3


def run(
    *tenants: dict[str, Any],
    engine: dict[str, Any] | None = None,
    requests: int = 1,
    block_size: int = 1,
    **pool: Any,
) -> Observed:
    """One aggregated replica with stated step times; requests by tenant, as given."""
    made = {
        "name": "p",
        "role": "aggregated",
        "racks": "r",
        "replicas": 1,
        "engine": {"step_model": STEP, **(engine or {})},
        **pool,
    }
    deployment = {
        "name": "d",
        "model": "llama-3.1-8b",
        "block_size": block_size,
        "router": {"policy": "round_robin"},
        "pools": [made],
    }
    return both(
        {
            "name": "replica",
            "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
            "deployments": [deployment],
            "workload": {"tenants": [{"name": f"t{i}", **t} for i, t in enumerate(tenants)]},
            "run": {"requests": requests},
        }
    )


def both(scenario: dict[str, Any]) -> Observed:
    """What happens under either engine, which is the same."""
    leap, step = (
        observe({**scenario, "run": {**scenario["run"], "engine": engine}})
        for engine in ("leap", "step")
    )
    assert not differences(leap, step)
    return leap


def asks(prompt: int, answer: int, concurrency: int = 1, **more: Any) -> dict[str, Any]:
    """Clients that send a request at time 0 and another whenever one is answered."""
    load = {"concurrency": concurrency}
    return {"load": load, "input_tokens": prompt, "output_tokens": answer, **more}


def near(milliseconds: float) -> Any:
    return pytest.approx(milliseconds * MS, abs=1e-9)


def test_one_request() -> None:
    """10 prompt tokens: 10 + 5 ms; then two steps of 11 ms."""
    seen = run(asks(10, 3))
    assert seen.column("first_token_s") == [near(15)]
    assert seen.column("completion_s") == [near(37)]
    row = seen.pools[0][0]
    assert row[STATES + STATE_PREFILL_NEW] == near(15)
    assert row[STATES + STATE_DECODE] == near(22)
    assert row[STATES + STATE_IDLE] == 0.0


def test_a_prompt_in_chunks() -> None:
    """Four tokens a step: 12, 12 and 11 ms."""
    seen = run(asks(10, 1), engine={"max_num_batched_tokens": 4, "max_num_seqs": 4})
    assert seen.column("completion_s") == [near(12 + 12 + 11)]


def test_decoding_comes_before_prompts_within_the_budget_of_tokens() -> None:
    """Budget 5. t0 prefills in 12 ms; then decodes while t1's ten tokens go in fours.

    Step 1: four tokens of t0 and one of t1: 12.5 ms. Steps 2 and 3: t0 decodes, four of t1: 13 ms.
    Step 4: t0's last token, t1's last one: 11.5 ms.
    """
    seen = run(
        asks(4, 4),
        asks(10, 1),
        engine={"max_num_batched_tokens": 5, "max_num_seqs": 5},
        requests=2,
    )
    assert seen.column("first_token_s") == [near(12.5), near(12.5 + 13 + 13 + 11.5)]
    assert seen.column("completion_s") == [near(50)] * 2


def test_a_full_batch_makes_the_rest_wait_in_order() -> None:
    """Two places: the third starts when the first two end, at 11 + 2 x 12 ms."""
    seen = run(asks(1, 3, concurrency=3), engine={"max_num_seqs": 2}, requests=3)
    assert seen.column("prefill_start_s") == [0.0, 0.0, near(35)]
    assert seen.column("completion_s") == [near(35), near(35), near(35 + 10.5 + 22)]


def test_who_comes_in_mid_step_is_taken_in_at_its_end() -> None:
    arriving = {
        "load": {"rate": 50.0, "arrival": "deterministic"},
        "input_tokens": 1,
        "output_tokens": 1,
    }
    seen = run(asks(10, 3), arriving, requests=2)
    # Steps end at 15, 26 and 37 ms.
    times = zip(seen.column("arrival_s"), seen.column("prefill_start_s"), strict=True)
    [(arrival_s, start_s)] = [(a, s) for a, s in times if a > 0]
    assert start_s == near(next(end for end in (15, 26, 37) if end * MS >= arrival_s - 1e-9))


def test_when_kv_runs_out_the_last_admitted_is_preempted_and_computed_again() -> None:
    """12 blocks of one token, prompts of 4: both admitted, and at 6 tokens each they fill it."""
    seen = run(asks(4, 6, concurrency=2), engine={"kv_capacity_tokens": 12}, requests=2)
    assert seen.column("outcome") == [COMPLETED] * 2
    assert seen.column("preemptions") == [0, 1]
    assert seen.column("output_tokens") == [6, 6]
    assert seen.column("computed") == [4, 4]
    # Both have three tokens when the blocks run out: 4 + 3 are computed again (`test_schedulers`).
    assert seen.column("recomputed") == [0, 7]


@pytest.mark.parametrize(
    ("prompt", "outcome"), [(15, COMPLETED), (16, REJECTED), (17, REJECTED), (5000, REJECTED)]
)
def test_a_prompt_longer_than_the_kv_cache_is_rejected_as_an_outcome(
    prompt: int, outcome: int
) -> None:
    """A prompt needs room for itself and one token."""
    arriving = {
        "load": {"rate": 1.0, "arrival": "deterministic"},
        # What shortest prompt there is cannot be read off it: that would be refused beforehand.
        "input_tokens": {"distribution": "normal", "mean": prompt, "stddev": 0},
        "output_tokens": 1,
    }
    seen = run(arriving, engine={"kv_capacity_tokens": 16})
    assert seen.column("outcome") == [outcome]
    if outcome == REJECTED:
        assert seen.column("completion_s") == seen.column("arrival_s")


def test_ranks_move_in_lock_step() -> None:
    """Two ranks, one request: its rank works 15 ms, the other waits as long."""
    seen = run(asks(10, 1), parallel={"dp": 2})
    assert seen.column("completion_s") == [near(15)]
    row = seen.pools[0][0]
    assert row[STATES + STATE_PREFILL_NEW] == near(15)
    assert row[STATES + STATE_WAITING_PEERS] == near(15)


def test_a_prompt_seen_before_is_not_computed_again() -> None:
    """32 shared tokens in blocks of 16, then 8 of its own."""
    shared = {"tokens": 32, "count": 1}
    seen = run(asks(8, 1, shared_prefix=shared), requests=3, block_size=16)
    assert seen.column("computed") == [40, 8, 8]
    assert seen.column("cached") == [0, 32, 32]


def test_sessions_find_their_history_in_the_cache() -> None:
    turns = asks(16, 16, session={"turns": 3, "growth": True})
    seen = run(turns, requests=3, block_size=16)
    assert seen.column("input_tokens") == [16, 48, 80]
    assert all(cached > 0 for cached in seen.column("cached")[1:])


def test_prefill_hands_over_to_decode() -> None:
    """First token when the KV is there: latency and bytes over bandwidth after the prompt."""
    pools = [
        {
            "name": role,
            "role": role,
            "racks": "r",
            "replicas": 1,
            "engine": {"step_model": STEP},
        }
        for role in ("prefill", "decode")
    ]
    scenario = {
        "name": "handover",
        "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
        "deployments": [
            {
                "name": "d",
                "model": "llama-3.1-8b",
                "kv_transfer": {"bandwidth_gb_s": 0.1, "latency_ms": 2},
                "pools": pools,
            }
        ],
        "workload": {"tenants": [{"name": "t", **asks(100, 3)}]},
        "run": {"requests": 1},
    }
    seen = both(scenario)
    # Keys and values of 32 layers, 8 heads of 128, one byte each: 65,536 bytes a token.
    assert seen.column("transfer_bytes") == [100 * 65536]
    moved_ms = 2 + 100 * 65536 / 0.1e9 * 1e3
    assert seen.column("prefill_end_s") == [near(60)]
    assert seen.column("transfer_s") == [near(moved_ms)]
    assert seen.column("first_token_s") == [near(60 + moved_ms)]
    assert seen.column("completion_s") == [near(60 + moved_ms + 2 * 11)]
