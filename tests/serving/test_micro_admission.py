"""The door and those who yield: steps of 10 ms, 1 per decoding sequence, 0.5 per prompt token."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import ask, near, play, replica, spent

from factory.records.codes import (
    COMPLETED,
    REJECTED,
    STATE_DECODE,
    STATE_IDLE_WAITING_WORK,
    STATE_PREFILL_NEW,
    STATE_PREFILL_RECOMPUTED,
)


def behind_a_door(
    admission: dict[str, Any], tenants: tuple[dict[str, Any], ...] = ({},), **engine: Any
) -> dict[str, Any]:
    scenario = replica(tenants=tenants, **engine)
    scenario["deployments"][0]["admission"] = admission
    return scenario


def test_a_full_queue_turns_away() -> None:
    """One may wait; who finds it waiting goes.

    A runs alone, 15 + 44 = 59; B waits, and C finds one waiting: gone at once, at 2. At 60 B
    runs (15 ms, from 59 on) and nobody waits: D may.
    """
    limit = {"shed": "queue_limit", "max_queue_requests": 1}
    asks = [ask(0, 10, 5), ask(1, 10, 1), ask(2, 10, 1), ask(60, 10, 1)]
    seen = play(behind_a_door(limit, max_num_seqs=1), asks)
    assert seen.column("outcome") == [COMPLETED, COMPLETED, REJECTED, COMPLETED]
    assert seen.column("completion_s") == near(59, 74, 2, 89)


def test_who_goes_first_is_shed_first() -> None:
    """Two may wait, one of t1: C (t1) finds B waiting and goes, D (t0) may wait, E may not."""
    limit = {"shed": "queue_limit", "max_queue_requests": 2, "tenants": {"t1": {"shed_at": 0.5}}}
    asks = [ask(0, 10, 5), ask(1, 2, 1), ask(2, 2, 1, tenant=1), ask(3, 2, 1), ask(4, 2, 1)]
    seen = play(behind_a_door(limit, ({}, {}), max_num_seqs=1), asks)
    assert seen.column("outcome") == [COMPLETED, COMPLETED, REJECTED, COMPLETED, REJECTED]


def test_concurrency_that_waits_outside() -> None:
    """One inside at a time, though the batch has room for eight; B and C go in as others leave.

    A: 15 + 44 = 59. C has the higher priority: 59 to 74. Then B: 74 to 89.
    """
    asks = [ask(0, 10, 5), ask(1, 10, 1), ask(2, 10, 1, tenant=1)]
    seen = play(behind_a_door({"max_concurrency": 1}, ({}, {"priority": 1})), asks)
    assert seen.column("prefill_start_s") == near(0, 74, 59)
    assert seen.column("completion_s") == near(59, 89, 74)


def test_concurrency_that_turns_away() -> None:
    limit = {"max_concurrency": 1, "over_concurrency": "reject"}
    seen = play(behind_a_door(limit), [ask(0, 10, 5), ask(1, 10, 1), ask(60, 10, 1)])
    assert seen.column("outcome") == [COMPLETED, REJECTED, COMPLETED]
    assert seen.column("completion_s") == near(59, 1, 75)


def test_the_concurrency_of_one_tenant() -> None:
    """t1 may have one inside: its second waits for its first, whatever t0 does.

    0: A and B (t1), 10 + 10 = 20. At 21 C (t1) comes: B decodes until 20 + 12 = 32, in at 32.
    """
    limit = {"tenants": {"t1": {"max_concurrency": 1}}}
    asks = [ask(0, 10, 9), ask(0, 10, 2, tenant=1), ask(21, 10, 1, tenant=1)]
    seen = play(behind_a_door(limit, ({}, {})), asks)
    assert seen.column("prefill_start_s") == near(0, 0, 32)


def test_batch_work_fills_the_valley() -> None:
    """Four places, batch work below half of them.

    A and B are inside until 20 + 12 = 32 (A) and
    20 + 12 + 11 = 43 (B). X and Y (batch) come at 1: X goes in when A leaves, Y when B does, since
    X is there too.

    32: B decodes beside X's 10 tokens: 10 + 1 + 5 = 16, until 48: B's third token. 48: X decodes,
    Y computes: 16; at 64 X is done. Y: 11 more, until 75.
    """
    admission = {"batch_load_ratio": 0.5, "tenants": {"t1": {"kind": "batch"}}}
    scenario = behind_a_door(admission, ({}, {}), max_num_seqs=4)
    asks = [ask(0, 10, 2), ask(0, 10, 3)] + [ask(1, 10, 2, tenant=1) for _ in range(2)]
    seen = play(scenario, asks)
    assert seen.column("prefill_start_s") == near(0, 0, 32, 48)
    assert seen.column("completion_s") == near(32, 48, 64, 75)


@pytest.mark.parametrize("policy", ["vllm", "sglang"])
def test_batch_work_yields_to_interactive_work(policy: str) -> None:
    """X of the batch tenant holds what C needs.

    12 blocks. X (batch, 8 tokens and 4 to answer): 14 ms. C (6 and 2, priority 1) comes at 1:
    8 + 1 + 6 blocks are not there at 14, so X goes, with one token.

    C: 13 at once, then 11: done at 38. There X computes its 9 tokens again: 14.5, and decodes
    twice: 52.5 + 22 = 74.5.
    """
    admission = {"tenants": {"t0": {"kind": "batch"}}}
    scenario = behind_a_door(
        admission, ({}, {"priority": 1}), kv_capacity_tokens=12, scheduler={"policy": policy}
    )
    seen = play(scenario, [ask(0, 8, 4), ask(1, 6, 2, tenant=1)])
    assert seen.column("preemptions") == [1, 0]
    assert seen.column("prefill_start_s") == near(0, 14)
    assert seen.column("completion_s") == near(74.5, 38)
    assert spent(seen, STATE_PREFILL_NEW) == near(14 + 13)
    assert spent(seen, STATE_PREFILL_RECOMPUTED) == near(14.5)
    assert spent(seen, STATE_DECODE) == near(11 + 22)
    assert spent(seen, STATE_IDLE_WAITING_WORK) == 0.0


def test_who_yields_gives_its_place_too() -> None:
    """Two places, X and Y in them, which yield; C takes that of Y, the last admitted.

    0: X and Y, 10 + 8 = 18. 18: both decode, 12. C comes at 19: at 30 Y goes, with two tokens.
    X decodes beside C's 6 tokens: 10 + 1 + 3 = 14 until 44, where C is done. Y computes 8 + 2
    tokens beside X's decoding: 10 + 1 + 5 = 16; X has 4 tokens at 60, and both go on together,
    12 a step, until X is done at 60 + 5 x 12 = 120; Y has 8 then, and one more at 131.
    """
    admission = {"tenants": {"t0": {"preemptible": True}}}
    scenario = behind_a_door(admission, ({}, {"priority": 1}), max_num_seqs=2)
    asks = [ask(0, 8, 9), ask(0, 8, 9), ask(19, 6, 1, tenant=1)]
    seen = play(scenario, asks)
    assert seen.column("preemptions") == [0, 1, 0]
    assert seen.column("recomputed") == [0, 10, 0]
    assert seen.column("prefill_start_s") == near(0, 0, 30)
    assert seen.column("completion_s") == near(120, 131, 44)


@pytest.mark.parametrize("policy", ["vllm", "sglang", "trtllm"])
def test_as_many_yield_as_must(policy: str) -> None:
    """14 blocks. X and Y: 4 tokens and 3 to answer; C, of higher priority: 10 tokens and 1.

    0: X and Y, 14. There C, which came at 1, needs more than Y's 4 blocks: X goes too. C alone: 15.
    At 29 X and Y compute their 5 tokens again: 15. 44: both decode, 12.
    """
    admission = {"tenants": {"t0": {"preemptible": True}}}
    scenario = behind_a_door(
        admission, ({}, {"priority": 1}), kv_capacity_tokens=14, scheduler={"policy": policy}
    )
    seen = play(scenario, [ask(0, 4, 3), ask(0, 4, 3), ask(1, 10, 1, tenant=1)])
    assert seen.column("preemptions") == [1, 1, 0]
    assert seen.column("recomputed") == [5, 5, 0]
    assert seen.column("completion_s") == near(56, 56, 29)


@pytest.mark.parametrize(
    "order",
    [{"order": "lpm"}, {"order": "priority", "ageing_s": 0.0001}],
    ids=["lpm", "ageing"],
)
def test_nobody_yields_to_one_that_waits_behind_it(order: dict[str, Any]) -> None:
    """An order in which X would go before C again: preempting it for C would never end."""
    admission = {"tenants": {"t0": {"preemptible": True}}}
    scenario = behind_a_door(
        admission, ({}, {"priority": 1}), kv_capacity_tokens=12, scheduler=order
    )
    seen = play(scenario, [ask(0, 8, 4), ask(1, 6, 2, tenant=1)])
    assert seen.column("preemptions") == [0, 0]
    assert seen.column("prefill_start_s") == near(0, 14 + 3 * 11)


def test_batch_work_that_came_at_once_fills_the_batch() -> None:
    """Eight places, batch work below 0.8 of them; eight requests of 10 tokens, 50 to answer.

    One goes in when the one before has its place, while fewer than 6.4 are inside: at 0, and
    then at the end of each step, which last 15, 16, 17, 18, 19 and 20 ms. The eighth waits for the
    first to leave: it has its seventh token at 126, and then steps of seven: 126 + 43 x 17.
    """
    scenario = behind_a_door({"tenants": {"t0": {"kind": "batch"}}})
    seen = play(scenario, [ask(0, 10, 50) for _ in range(8)])
    assert seen.column("prefill_start_s") == near(0, 15, 31, 48, 66, 85, 105, 857)


def test_who_does_not_yield_keeps_its_place() -> None:
    admission = {"tenants": {"t0": {"preemptible": False}}}
    scenario = behind_a_door(admission, ({}, {"priority": 1}), kv_capacity_tokens=12)
    seen = play(scenario, [ask(0, 8, 4), ask(1, 6, 2, tenant=1)])
    assert seen.column("preemptions") == [0, 0]
    assert seen.column("prefill_start_s") == near(0, 14 + 3 * 11)
