"""Schedulers, worked out on paper: steps take 10 ms, 1 ms per decoding sequence, 0.5 per token."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import MS, ask, factory, latencies, near, play, replica, spent

from factory.records.codes import (
    COMPLETED,
    REJECTED,
    STATE_DECODE,
    STATE_IDLE_WAITING_WORK,
    STATE_PREFILL_NEW,
    STATE_PREFILL_RECOMPUTED,
    STATE_WAITING_PEERS,
)

SGLANG = {"policy": "sglang"}
TRTLLM = {"policy": "trtllm"}


# -- vllm ------------------------------------------------------------------------------------------


def test_vllm_mixes_chunks_of_prompts_with_decoding_within_its_budget() -> None:
    """Eight tokens a step; A: 12 tokens and 4 to answer, B: 9 and 3, C: 3 and 2.

    ========  =====================  =============================
    step ms   tokens                 lasts
    ========  =====================  =============================
    0         A 8                    10 + 4        = 14
    14        A 4, B 4               10 + 4        = 14
    28        a, B 5, C 2            10 + 1 + 3.5  = 14.5
    42.5      a, b, C 1              10 + 2 + 0.5  = 12.5
    55        a, b, c                10 + 3        = 13
    ========  =====================  =============================
    """
    asks = [ask(0, 12, 4), ask(5, 9, 3), ask(6, 3, 2)]
    seen = play(replica(max_num_batched_tokens=8), asks)
    assert seen.column("prefill_start_s") == near(0, 14, 28)
    assert latencies(seen) == (near(28, 42.5 - 5, 55 - 6), near(68, 68 - 5, 68 - 6))
    assert spent(seen, STATE_PREFILL_NEW) == near(14 + 14 + 3.5 + 0.5)
    assert spent(seen, STATE_DECODE) == near(11 + 12 + 13)
    # Prompts share a step's prefill by their tokens, sequences its decoding alike.
    assert seen.column("gpu_s_computed") == near(14 + 7, 7 + 2.5, 1 + 0.5)
    assert seen.column("gpu_s_output") == near(11 + 6 + 13 / 3, 6 + 13 / 3, 13 / 3)


def test_vllm_serves_first_who_came_first_even_if_a_later_one_would_fit() -> None:
    """20 blocks. A holds 8 and grows; B needs 14, C behind it only 2.

    A: 14 ms, then nine steps of 11: done at 113. There B and C start: 10 + 16 x 0.5 = 18.
    """
    seen = play(replica(kv_capacity_tokens=20), [ask(0, 8, 10), ask(1, 14, 1), ask(2, 2, 1)])
    assert seen.column("prefill_start_s") == near(0, 113, 113)
    assert seen.column("completion_s") == near(113, 131, 131)


def test_vllm_preempts_the_last_admitted_and_computes_it_again() -> None:
    """12 blocks; A and B: 4 tokens and 6 to answer.

    0: both prompts, 14. 14 and 26: both decode, 12 each; at 38 each holds 6 blocks: all. B goes,
    with 3 tokens generated: 7 to compute again. A alone at 38, 49, 60: 11 each, done at 71. There
    B: 7 tokens, 13.5, which give its fourth; two steps of 11: done at 106.5.
    """
    seen = play(replica(kv_capacity_tokens=12), [ask(0, 4, 6), ask(0, 4, 6)])
    assert seen.column("preemptions") == [0, 1]
    assert seen.column("computed") == [4, 4]
    assert seen.column("recomputed") == [0, 7]
    assert seen.column("decode_steps") == [5, 4]
    assert seen.column("completion_s") == near(71, 106.5)
    assert spent(seen, STATE_PREFILL_NEW) == near(14)
    assert spent(seen, STATE_PREFILL_RECOMPUTED) == near(13.5)
    assert spent(seen, STATE_DECODE) == near(12 + 12 + 3 * 11 + 2 * 11)
    assert seen.column("gpu_s_computed") == near(7, 7 + 13.5)
    assert seen.column("gpu_s_output") == near(12 + 33, 12 + 22)


def test_vllm_finds_what_is_left_of_a_preempted_prompt_in_the_cache() -> None:
    """As above, but B's prompt is shared: its 4 blocks stay until A takes one of them.

    A comes to 9 blocks of 12, so B finds 3 at 71 and computes 7 - 3 = 4: 12 ms, then 22.
    """
    asks = [ask(0, 4, 6), ask(0, 4, 6, blocks=(1000, 4))]
    seen = play(replica(kv_capacity_tokens=12), asks)
    assert seen.column("recomputed") == [0, 4]
    assert seen.column("cached") == [0, 0]
    assert seen.column("completion_s") == near(71, 71 + 12 + 22)
    assert spent(seen, STATE_PREFILL_RECOMPUTED) == near(12)


def test_vllm_preempts_the_lowest_priority_first_and_of_that_the_last() -> None:
    """12 blocks; B has priority 1, A and C have none: 2 tokens and 6 to answer each.

    0: three prompts, 13. 13 and 26: all decode, 13 each; at 39 each holds 4 blocks: all. C goes.
    39 and 51: A and B, 12 each; at 63 each holds 6: A goes. 63: B alone, 11: done at 74. There
    A computes 2 + 5 tokens and C 2 + 3: 16. A is done with that at 90; C decodes twice: 112.
    """
    asks = [ask(0, 2, 6), ask(0, 2, 6, tenant=1), ask(0, 2, 6)]
    scenario = replica(tenants=[{}, {"priority": 1}], kv_capacity_tokens=12)
    seen = play(scenario, asks)
    assert seen.column("preemptions") == [1, 0, 1]
    assert seen.column("recomputed") == [7, 0, 5]
    assert seen.column("completion_s") == near(90, 74, 112)
    assert spent(seen, STATE_PREFILL_NEW) == near(13)
    assert spent(seen, STATE_PREFILL_RECOMPUTED) == near(16)


def test_vllm_without_chunked_prefill_runs_prompts_whole() -> None:
    """Eight tokens a step. A: 6, B: 4, C: 9 (too long), D: 8; 2 to answer each.

    0: A alone, 13, since B's 4 do not fit beside its 6. 13: A decodes, B runs, 13. At 26 B decodes
    and D, as the first prompt of its step, runs whole: 10 + 1 + 4 = 15. At 41 D decodes: 52.
    """
    asks = [ask(0, 6, 2), ask(0, 4, 2), ask(1, 9, 2), ask(14, 8, 2)]
    scheduler = {"chunked_prefill": False}
    seen = play(replica(max_num_batched_tokens=8, scheduler=scheduler), asks)
    assert seen.column("outcome") == [COMPLETED, COMPLETED, REJECTED, COMPLETED]
    done = [row for row in sorted(seen.rows) if row[12] == COMPLETED]
    assert len(done) == 3
    times = [seen.column(name) for name in ("prefill_start_s", "first_token_s", "completion_s")]
    assert [each[0] for each in times] == near(0, 13, 26)
    assert [each[1] for each in times] == near(13, 26, 41)
    assert [each[3] for each in times] == near(26, 41, 52)


# -- sglang ----------------------------------------------------------------------------------------


def test_sglang_prefills_first_while_decoding_sits_out() -> None:
    """A: 10 tokens and 4 to answer; B comes at 20 with 6 and 3.

    0: A's prompt, 15. 15: A decodes, 11. 26: B's prompt alone, 13. 39 and 51: both decode, 12.
    """
    seen = play(replica(scheduler=SGLANG), [ask(0, 10, 4), ask(20, 6, 3)])
    assert latencies(seen) == (near(15, 39 - 20), near(63, 63 - 20))
    assert seen.column("gpu_s_computed") == near(15, 13)
    assert seen.column("gpu_s_output") == near(11 + 6 + 6, 6 + 6)
    assert spent(seen, STATE_PREFILL_NEW) == near(28)
    assert spent(seen, STATE_DECODE) == near(11 + 12 + 12)


def test_sglang_sits_out_every_chunk_of_a_long_prompt() -> None:
    """Eight tokens a step. A: 4 tokens and 3 to answer; B: 12 and 2 at 13 ms.

    0: A, 12. 12: A decodes, 11. 23: 8 of B, 14. 37: 4 of B, 12. 49: both decode, 12.
    """
    asks = [ask(0, 4, 3), ask(13, 12, 2)]
    seen = play(replica(scheduler=SGLANG, max_num_batched_tokens=8), asks)
    assert seen.column("first_token_s") == near(12, 49)
    assert seen.column("completion_s") == near(61, 61)
    assert seen.column("gpu_s_output") == near(11 + 6, 6)
    assert seen.column("gpu_s_computed") == near(12, 14 + 12)


def test_who_sits_out_pays_nothing() -> None:
    """By the roofline, where a step's cost depends on contexts: what A pays is what it pays alone.

    B answers with one token, so that no step is shared; A sits out its two chunks of 200 tokens.
    """
    engine = {"scheduler": SGLANG, "step_model": {"kind": "roofline"}}
    scenario = replica(max_num_batched_tokens=200, **engine)
    alone = play(scenario, [ask(0, 100, 50)])
    end_s = alone.column("completion_s")[0]
    seen = play(scenario, [ask(0, 100, 50), ask(end_s * 0.5 / MS, 400, 1)])
    for name in ("gpu_s_computed", "gpu_s_output"):
        assert seen.column(name)[0] == pytest.approx(alone.column(name)[0], rel=1e-12)
    assert seen.column("completion_s")[0] == pytest.approx(
        end_s + seen.column("gpu_s_computed")[1], rel=1e-12
    )


def test_sglang_retracts_the_fewest_tokens_and_then_admits_more_carefully() -> None:
    """32 blocks, new token ratio 0.07 at first; A and B: 4 tokens and 20 to answer.

    A: 12, and from then on 11 a step. At 23 (A: 5 tokens, 18 steps to go), B finds
    32 - 5 - 4 - 1 = 22 blocks and needs 20 + 0.07 x 18 = 21.26: it comes in, 12. From 35 both
    decode, 12 each; at 35 + 11 x 12 = 167 they hold 5 + 4 + 22 = 31: one block for two. B has
    generated 1 + 11, A 2 + 11: B goes. The ratio is now (13 + 20) / (20 + 1), at most 1.

    C (6 tokens, 6 to answer, of higher priority) comes at 170. At 178 A holds 17 and has 6 steps
    to go: 32 - 17 - 6 - 1 = 8 blocks for 6 + 0.07 x 6 = 6.42 would do, but 6 + 6 are asked for.
    So C starts when A ends, at 167 + 7 x 11 = 244, and B not beside it: with C's 6 to come it
    has 32 - 6 - 16 = 10 blocks for its own 8 and C's 6. At 244 + 13 = 257 C decodes and is owed
    5 x 1: 32 - 6 - 16 - 1 = 9 < 8 + 5. C: five steps of 11, done at 312. There B computes its 16
    again, 18, and decodes the last 7: 330 + 77 = 407.
    """
    scheduler = {"policy": "sglang", "schedule_conservativeness": 0.1}
    scenario = replica(tenants=[{}, {"priority": 1}], kv_capacity_tokens=32, scheduler=scheduler)
    asks = [ask(0, 4, 20), ask(15, 4, 20), ask(170, 6, 6, tenant=1)]
    seen = play(scenario, asks)
    assert seen.column("prefill_start_s") == near(0, 23, 244)
    assert seen.column("preemptions") == [0, 1, 0]
    assert seen.column("recomputed") == [0, 16, 0]
    assert seen.column("completion_s") == near(244, 407, 312)
    assert spent(seen, STATE_PREFILL_RECOMPUTED) == near(18)
    # The first two alone: B comes back when A ends.
    seen = play(scenario, asks[:2])
    assert seen.column("completion_s") == near(244, 244 + 18 + 77)


def test_sglang_retracts_until_twenty_steps_fit() -> None:
    """60 blocks, ratio 0.035; A, B and C: 4 tokens and 40 to answer.

    A: 12. B comes in at 12, C at 24, while the others sit out. From 36 all decode, 13 a step: at
    36 + 16 x 13 = 244 they hold 3 x 20 blocks. All have 17 tokens: C goes, the last to have
    joined. 20 blocks are 10 steps for A and B, not 20: B goes too. A alone: 23 x 11, done at 497.
    The ratio is (17 + 20) / (40 + 1) = 0.9, and B and C need 21 + 23 blocks each. Who is retracted
    goes to the end of the queue: C runs from 497, 20.5 and 22 x 11, done at 759.5, then B, done
    at 1022.
    """
    scheduler = {"policy": "sglang", "schedule_conservativeness": 0.05}
    asks = [ask(0, 4, 40), ask(5, 4, 40), ask(13, 4, 40)]
    seen = play(replica(kv_capacity_tokens=60, scheduler=scheduler), asks)
    assert seen.column("prefill_start_s") == near(0, 12, 24)
    assert seen.column("preemptions") == [0, 1, 1]
    assert seen.column("recomputed") == [0, 21, 21]
    assert seen.column("completion_s") == near(497, 1022, 759.5)


def test_sglang_retracts_the_longest_prompt_of_those_with_as_many_tokens() -> None:
    """52 blocks, hardly anything allowed for; A: 8 tokens, B: 4, D: 2, 20 to answer each.

    0: A and B, 16; D comes at 1 and is in at 16: 11. From 27 all decode, 13 a step: at
    27 + 12 x 13 = 183 they hold 20 + 16 + 14 = 50. All have 13 tokens: A goes, then B, since the
    22 blocks left are not 20 steps for two. The ratio is (13 + 20) / (20 + 1), at most 1.
    183: D alone, 11. At 194 A leaves 52 - 15 - 21 - 1 = 15 blocks and needs 7, D 6: it is in,
    20.5. From 214.5 both have six steps to go: done at 286.5. B: 18.5 and 6 x 11, done at 371.
    """
    scheduler = {"policy": "sglang", "schedule_conservativeness": 0.01}
    asks = [ask(0, 8, 20), ask(0, 4, 20), ask(1, 2, 20)]
    seen = play(replica(kv_capacity_tokens=52, scheduler=scheduler), asks)
    assert seen.column("prefill_start_s") == near(0, 0, 16)
    assert seen.column("preemptions") == [1, 1, 0]
    assert seen.column("recomputed") == [21, 17, 0]
    assert seen.column("completion_s") == near(286.5, 371, 286.5)


@pytest.mark.parametrize(
    ("scheduler", "start_ms"),
    [
        # Room for the prompt and a step is all that is asked for.
        ({"policy": "vllm"}, 23),
        # 694 < 998 x 0.698997 = 697.6 at batch step 2; 680 >= 984 x 0.68495 = 674.0 at step 16.
        (SGLANG, 177),
        # Ratio 0.21: 694 >= 998 x 0.21 at once.
        ({"policy": "sglang", "schedule_conservativeness": 0.3}, 23),
        # Ratio 0.98: 680 < 984 x 0.959, and so on until A ends.
        ({"policy": "sglang", "schedule_conservativeness": 1.4}, 12 + 59 * 11),
    ],
    ids=["vllm", "sglang", "less-conservative", "more-conservative"],
)
def test_sglang_lets_a_prompt_in_when_the_new_token_ratio_allows(
    scheduler: dict[str, Any], start_ms: float
) -> None:
    """1,100 blocks. A: 4 tokens, 1,000 allowed, 60 to answer. B at 15: 100 tokens, 300 allowed.

    A's prompt is batch step 0; before step b >= 1 it holds 3 + b blocks and is allowed 1000 - b
    more steps. B leaves 1100 - (3 + b) - 1 - 100 = 996 - b blocks, 696 - b beside its own 300; owed
    are (1000 - b) times the ratio: 0.7, less 0.602 / 600 a step. Looks are at b = 2, when B has
    come (23 ms), and then at every sixteenth step: b = 16 is at 12 + 15 x 11 = 177 ms.
    """
    asks = [ask(0, 4, 60, most=1000), ask(15, 100, 2, most=300)]
    seen = play(replica(kv_capacity_tokens=1100, scheduler=scheduler), asks)
    assert seen.column("prefill_start_s") == near(0, start_ms)
    assert seen.column("preemptions") == [0, 0]


def test_sglang_counts_no_sequence_for_more_than_4096_tokens() -> None:
    """6,120 blocks. A: 4 tokens, 6,000 allowed; B at 15: 3,000 tokens, 300 allowed.

    Before batch step b A is allowed 6000 - b steps more, which count as 4,096 times the ratio of
    0.7 - 0.602 / 600 x (b - 1); B leaves 6120 - (3 + b) - 1 - 3000 - 300 = 2816 - b.

    b = 2: 2814 < 2863.1. b = 16: 2800 < 2805.6. b = 32: 2784 >= 2739.8: at 12 + 31 x 11 = 353.
    """
    asks = [ask(0, 4, 60, most=6000), ask(15, 3000, 2, most=300)]
    seen = play(replica(kv_capacity_tokens=6120, scheduler=SGLANG), asks)
    assert seen.column("prefill_start_s") == near(0, 353)


def test_sglang_retracts_to_the_end_of_the_queue() -> None:
    """32 blocks; A and B as above: at 167 B goes. C (12 tokens, 8 to answer) has come at 160.

    C is before B now. When A ends, at 244, C runs, 16; from 260 it decodes alone, since B needs
    16 blocks and 8 more: done at 260 + 7 x 11 = 337. B: 18 and 77, done at 432.
    """
    scheduler = {"policy": "sglang", "schedule_conservativeness": 0.1}
    asks = [ask(0, 4, 20), ask(15, 4, 20), ask(160, 12, 8)]
    seen = play(replica(kv_capacity_tokens=32, scheduler=scheduler), asks)
    assert seen.column("preemptions") == [0, 1, 0]
    assert seen.column("prefill_start_s") == near(0, 23, 244)
    assert seen.column("completion_s") == near(244, 432, 337)


def test_sglang_prefills_on_one_rank_while_another_decodes() -> None:
    """Two ranks in lock-step: A and C go to the first, B to the second.

    ======  ===========  ===========  ==========================
    ms      rank 0       rank 1       lasts; waits
    ======  ===========  ===========  ==========================
    0       A 10         -            15; 15
    15      a            -            11; 11
    26      a            B 6          max(11, 13) = 13; 2
    39      C 4 (a out)  b            max(12, 11) = 12; 1
    51      a, c         b            max(12, 11) = 12; 1
    ======  ===========  ===========  ==========================
    """
    scenario = factory({"engine": {"scheduler": SGLANG}, "parallel": {"dp": 2}})
    seen = play(scenario, [ask(0, 10, 4), ask(20, 6, 3), ask(30, 4, 2)])
    assert seen.column("prefill_rank") == [0, 1, 0]
    assert seen.column("first_token_s") == near(15, 39, 51)
    assert seen.column("completion_s") == near(63, 63, 63)
    assert spent(seen, STATE_PREFILL_NEW) == near(15 + 13 + 12)
    assert spent(seen, STATE_DECODE) == near(11 + 11 + 11 + (12 + 11))
    assert spent(seen, STATE_WAITING_PEERS) == near(15 + 11 + 2 + 1 + 1)
    assert seen.column("gpu_s_computed") == near(15, 13, 12)
    # The decoding of a step is shared by those who decode, whatever their rank.
    assert seen.column("gpu_s_output") == near(11 + 11 + 23 / 3, 11 + 23 / 3, 23 / 3)


# -- trtllm ----------------------------------------------------------------------------------------


def no_evict(third: dict[str, Any] | None = None) -> dict[str, Any]:
    return replica(tenants=[{}, third or {}], kv_capacity_tokens=20, scheduler=TRTLLM)


def test_trtllm_lets_in_what_fits_to_its_last_token() -> None:
    """20 blocks; A and B: 4 tokens and 6 to answer, 10 blocks each; C: 4 and 2, 6 blocks.

    0: A, 12. 12: A decodes, B runs, 13. From 25 both decode, 12 each: A has its sixth at
    25 + 4 x 12 = 73. There 10 are free, and C runs beside B's last step: 13; then 11.
    """
    asks = [ask(0, 4, 6), ask(1, 4, 6), ask(2, 4, 2)]
    seen = play(no_evict(), asks)
    assert seen.column("prefill_start_s") == near(0, 12, 73)
    assert seen.column("completion_s") == near(73, 86, 97)
    assert seen.column("preemptions") == [0, 0, 0]
    vllm = play(replica(kv_capacity_tokens=20), asks)
    assert vllm.column("prefill_start_s") == near(0, 12, 12)


def test_trtllm_lets_in_late_what_just_fits() -> None:
    """A decodes from 12 on, 11 a step; B comes at 40 and is in at 45: 10 + 10 blocks are there."""
    seen = play(no_evict(), [ask(0, 4, 6), ask(40, 4, 6)])
    assert seen.column("prefill_start_s") == near(0, 45)


def test_trtllm_counts_what_the_client_allows() -> None:
    """B may be answered with 7 tokens, so 10 + 11 blocks do not fit: it waits for A's end, 67."""
    asks = [ask(0, 4, 6), ask(1, 4, 6, most=7)]
    seen = play(no_evict(), asks)
    assert seen.column("prefill_start_s") == near(0, 12 + 5 * 11)
    assert seen.column("output_tokens") == [6, 6]


def test_trtllm_never_preempts_where_vllm_does() -> None:
    """30 blocks, twelve requests that come to 13 each: two at a time, in pairs.

    A pair: 15 ms for 10 tokens, then 7 steps of 12, the next pair starting when it is done.
    """
    asks = [ask(0, 5, 8) for _ in range(12)]
    trtllm = play(replica(kv_capacity_tokens=30, scheduler=TRTLLM), asks)
    assert trtllm.column("preemptions") == [0] * 12
    starts = [pair * (15 + 7 * 12) for pair in range(6) for _ in range(2)]
    assert trtllm.column("prefill_start_s") == near(*starts)
    vllm = play(replica(kv_capacity_tokens=30), asks)
    assert sum(vllm.column("preemptions")) > 0


# -- all -------------------------------------------------------------------------------------------

POLICIES: list[dict[str, Any]] = [
    {"policy": "vllm"},
    {"policy": "vllm", "order": "priority", "ageing_s": 1.0},
    {"policy": "sglang"},
    {"policy": "sglang", "order": "lpm", "schedule_conservativeness": 0.3},
    {"policy": "trtllm", "order": "fair"},
]


@settings(max_examples=4, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), min_size=1, max_size=5),
    st.integers(1, 24),
)
def test_one_sequence_at_a_time_goes_the_same_way_under_every_scheduler(
    sizes: list[tuple[int, int]], budget: int
) -> None:
    """Chunks of the budget, then steps of 11 ms, one request after the other."""
    expected, now = [], 0.0
    for prompt, answer in sizes:
        now += 10.0 * -(-prompt // budget) + 0.5 * prompt + 11.0 * (answer - 1)
        expected.append(now)
    for scheduler in POLICIES:
        engine = {"max_num_seqs": 1, "max_num_batched_tokens": budget, "scheduler": scheduler}
        seen = play(replica(**engine), [ask(0, *size) for size in sizes])
        assert seen.column("completion_s") == pytest.approx([ms * MS for ms in expected], abs=1e-9)


@pytest.mark.parametrize("policy", ["vllm", "sglang", "trtllm"])
def test_nothing_waits_without_a_reason(policy: str) -> None:
    """A full batch is a reason, and the replica works all the while."""
    engine = {"max_num_seqs": 2, "scheduler": {"policy": policy}}
    seen = play(replica(**engine), [ask(0, 4, 5) for _ in range(5)])
    assert spent(seen, STATE_IDLE_WAITING_WORK) == 0.0
