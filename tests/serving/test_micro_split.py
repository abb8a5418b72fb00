"""Prefill and decode apart, worked out: 10 ms a step, 1 per decoding sequence, 0.5 per token.

A token's KV is 65,536 bytes and takes 1 ms on its way, after 2 ms of latency: 10 ms for 8 tokens.
"""

from __future__ import annotations

from typing import Any

import pytest
from scripted import ask, factory, near, play, spent

from factory.records.codes import (
    STATE_DECODE,
    STATE_IDLE,
    STATE_IDLE_WAITING_WORK,
    STATE_PREFILL_NEW,
    STATE_PREFILL_RECOMPUTED,
    STATE_STALLED_TRANSFER,
)

TRANSFER = {"bandwidth_gb_s": 0.065536, "latency_ms": 2}
PREFILL, DECODE = 0, 1


def split(
    prefill: dict[str, Any] | None = None, decode: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A prefill and a decode replica, whose engines have these fields."""
    return factory(
        {"role": "prefill", "engine": prefill or {}},
        {"role": "decode", "engine": decode or {}},
        kv_transfer=TRANSFER,
        **more,
    )


@pytest.mark.parametrize(
    ("watermark", "first_ms", "done_ms"),
    [(0.1, (24, 42, 68), (58, 81, 103)), (0.15, (24, 42, 90), (58, 80, 123))],
)
def test_decode_admits_by_free_blocks_above_the_watermark(
    watermark: float, first_ms: tuple[float, ...], done_ms: tuple[float, ...]
) -> None:
    """20 blocks on the decode side; three prompts of 8 tokens, 4 to answer.

    Prefill: A until 14, B and C until 14 + 18 = 32. A's KV is there at 24; it decodes at 24, 35
    and, beside B, at 46 (12): done at 58. At 32 A has 9 blocks with the step it is in: B leaves
    20 - 9 - 8 = 3, enough for a watermark of 2 or 3, and is there at 42; C would leave none.
    At 58 B has 9 and needs one: C leaves 20 - 9 - 1 - 8 = 2.

    Watermark 2: C comes in at 58 and is there at 68. B decodes at 58 (11) and, beside C, at 69
    (12): done at 81. C goes on at 81 and 92: done at 103.
    Watermark 3: C waits until B is done, at 58 + 2 x 11 = 80; it is there at 90, done at 123.
    """
    decode = {"kv_capacity_tokens": 20, "scheduler": {"watermark_ratio": watermark}}
    seen = play(split(decode=decode), [ask(0, 8, 4), ask(1, 8, 4), ask(2, 8, 4)])
    assert seen.column("prefill_end_s") == near(14, 32, 32)
    assert seen.column("first_token_s") == near(*first_ms)
    assert seen.column("completion_s") == near(*done_ms)
    assert seen.column("transfer_s") == near(10, 10, 10)
    stalled = 10 if watermark == 0.1 else 20
    assert spent(seen, STATE_STALLED_TRANSFER, DECODE) == near(stalled)
    assert spent(seen, STATE_IDLE, DECODE) == near(14)


def test_prefill_stalls_while_decode_is_full() -> None:
    """Where decoding has no room, prompts pile up before it, and prefill stalls in its turn.

    Room for two prompts on the prefill side (16 blocks) and for one answer on the decode side
    (14); four prompts of 8 tokens, 6 to answer: 10 ms on the way and 5 x 11 of decoding each.

    A: prefill until 14, there at 24, done at 79. B: prefill until 28. C comes in there, since A's
    KV left at 24: until 42. Now B and C fill the prefill side, and D waits.
    79: B leaves, is there at 89, and D comes in: until 103. B is done at 144, C at 144 + 65 = 209,
    D at 274.
    """
    asks = [ask(at, 8, 6) for at in range(4)]
    seen = play(split({"kv_capacity_tokens": 16}, {"kv_capacity_tokens": 14}), asks)
    assert seen.column("prefill_start_s") == near(0, 14, 28, 89)
    assert seen.column("first_token_s") == near(24, 89, 154, 219)
    assert seen.column("completion_s") == near(79, 144, 209, 274)
    assert spent(seen, STATE_PREFILL_NEW, PREFILL) == near(4 * 14)
    assert spent(seen, STATE_STALLED_TRANSFER, PREFILL) == near(89 - 42)
    assert spent(seen, STATE_IDLE, PREFILL) == near(274 - 103)
    # Nothing but transfers keeps the decode side idle, once the first prompt is done.
    assert spent(seen, STATE_IDLE, DECODE) == near(14)
    assert spent(seen, STATE_STALLED_TRANSFER, DECODE) == near(4 * 10)
    assert spent(seen, STATE_DECODE, DECODE) == near(4 * 55)
    assert spent(seen, STATE_IDLE_WAITING_WORK, DECODE) == 0.0


def test_decode_computes_again_whom_it_preempts() -> None:
    """20 blocks on the decode side, no watermark; A: 8 tokens and 6 to answer, B: 8 and 5.

    A: prefill until 14, there at 24; B: until 28, there at 38. A decodes at 24 and 35 and has 10
    blocks at 46, where B joins with 8. 46: both, 12, and all 20 are taken at 58: B goes, with two
    tokens. A at 58, 69: done at 80. There B computes 10 tokens, 15 ms, which give its third; then
    two steps: done at 117.
    """
    decode = {"kv_capacity_tokens": 20, "scheduler": {"watermark_ratio": 0.0}}
    seen = play(split(decode=decode), [ask(0, 8, 6), ask(1, 8, 5)])
    assert seen.column("first_token_s") == near(24, 38)
    assert seen.column("preemptions") == [0, 1]
    assert seen.column("recomputed") == [0, 10]
    assert seen.column("completion_s") == near(80, 117)
    assert spent(seen, STATE_PREFILL_RECOMPUTED, DECODE) == near(15)
    assert spent(seen, STATE_PREFILL_NEW, DECODE) == 0.0


def test_no_evict_on_the_decode_side() -> None:
    """As above, but what is let in fits to its end: 8 + 6 and 8 + 5 blocks are more than 20.

    B's KV leaves when A is done, at 24 + 5 x 11 = 79: there at 89, done at 89 + 4 x 11 = 133.
    """
    decode = {"kv_capacity_tokens": 20, "scheduler": {"policy": "trtllm"}}
    seen = play(split(decode=decode), [ask(0, 8, 6), ask(1, 8, 5)])
    assert seen.column("first_token_s") == near(24, 89)
    assert seen.column("preemptions") == [0, 0]
    assert seen.column("completion_s") == near(79, 133)


def test_short_prompts_stay_where_they_decode() -> None:
    """At most 10 tokens stay.

    S (8, 3 to answer) is prefilled by the decode replica until 14 and
    decodes at 14 and 25: done at 36. L (20, 3) goes the long way: 1 + 20 = 21, 22 ms on the way:
    43, two steps: 65.
    """
    rule = {"policy": "prefill_queue", "max_uncached_tokens": 10}
    seen = play(split(conditional_disaggregation=rule), [ask(0, 8, 3), ask(1, 20, 3)])
    assert seen.column("prefill_replica") == [1, 0]
    assert seen.column("decode_replica") == [1, 1]
    assert seen.column("transfer_bytes") == [0, 20 * 65536]
    assert seen.column("first_token_s") == near(14, 43)
    assert seen.column("completion_s") == near(36, 65)


def test_prompts_stay_when_the_queue_for_prefill_is_long() -> None:
    """One prompt at a time is prefilled: A runs, B and C wait, and D finds two: it stays."""
    rule = {"policy": "prefill_load", "max_queued_prefills": 2}
    scenario = split({"max_num_seqs": 1}, conditional_disaggregation=rule)
    seen = play(scenario, [ask(at, 8, 1) for at in range(4)])
    assert seen.column("prefill_replica") == [0, 0, 0, 1]
    assert seen.column("first_token_s")[3] == near(3 + 14)


def test_mostly_cached_prompts_stay() -> None:
    """Dynamo's bounds: fewer than 10 tokens uncached and less than half of the prompt.

    The first turn has nothing cached: prefill until 18, 18 ms on the way, three steps: 69. Its KV
    stays with the decode replica: 16 + 3 tokens of 20. The second (24 tokens, the first 20 of
    them the first turn) has 5 to compute there: 12.5. The third shares 4 of 8: it goes the long
    way, 14 + 10.
    """
    rule = {"policy": "isl_bounding", "max_uncached_tokens": 10, "max_uncached_ratio": 0.5}
    asks = [
        ask(0, 16, 4, blocks=(1000, 16), context=(1000, 20)),
        ask(31, 24, 1, blocks=(1000, 24), after=0),
        ask(31, 8, 1, blocks=(1000, 4, 5000, 4), after=1),
    ]
    seen = play(split(conditional_disaggregation=rule), asks)
    assert seen.column("completion_s")[0] == near(69)
    assert seen.column("prefill_replica") == [0, 1, 0]
    assert seen.column("cached")[:2] == [0, 19]
    assert seen.column("first_token_s")[1] == near(100 + 12.5)
