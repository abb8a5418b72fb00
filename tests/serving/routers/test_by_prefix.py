"""Routers that look at cached prefixes, by hand. Blocks have 16 tokens, a token takes 1 ms."""

from __future__ import annotations

import pytest

from factory.serving.routers import REJECT, Ask
from factory.serving.routers.kv_aware import CHURN_S, KvAware
from factory.serving.routers.kv_cost import KvCost
from factory.serving.routers.min_ttft import MinTtft
from factory.serving.routers.prefix import LongestPrefix, PrefixThreshold
from factory.serving.routers.weighted_scorers import WeightedScorers
from factory.testing import surroundings

PROMPT = (100, 10)


def ask(tokens: int = 160, now_s: float = 0.0, **who: int) -> Ask:
    return Ask(now_s, tokens, PROMPT, **who)


# Slots 1 and 2 hold 4 and 6 of the 10 blocks.
@pytest.fixture
def index(holding):  # type: ignore[no-untyped-def]
    return holding(3, {1: (100, 4), 2: (100, 6)})


def test_longest_prefix_ignores_load(pool, index) -> None:  # type: ignore[no-untyped-def]
    router = LongestPrefix(surroundings(3, index=index))
    slots = pool(requests=[0, 0, 99])
    assert router.choose(ask(), slots) == 2
    slots.shut([2])
    assert router.choose(ask(), slots) == 1
    assert router.choose(Ask(0.0, 160, (900, 10)), slots) == 0  # nobody holds it: by load, in turn


# 6 of 10 blocks are 0.6 of the prompt, above 0.3; of a prompt of 400 tokens they are 96 / 400 =
# 0.24. Loads 70, 0, 10: 70 - 0 > 64 and 70 > 1.5 x 0, so load decides; with 64 it does not.
def test_prefix_threshold(pool, index) -> None:  # type: ignore[no-untyped-def]
    router = PrefixThreshold(surroundings(3, index=index), 0.3, 64, 1.5)
    assert router.choose(ask(), pool(requests=[0, 0, 10])) == 2
    assert router.choose(ask(400), pool(requests=[1, 0, 10])) == 1
    assert router.choose(ask(), pool(requests=[70, 0, 10])) == 1
    assert router.choose(ask(), pool(requests=[64, 0, 10])) == 2
    # 300 - 201 > 64, but 300 < 1.5 x 201.
    assert router.choose(ask(), pool(requests=[300, 201, 250])) == 2


# Sent so far: 100 tokens to slot 0 and 50 to slot 1. All loads are equal and nobody holds the
# prompt: slot 2, which got none, then slot 1 (50 against 100 and 60).
def test_prefix_threshold_fills_the_smallest_tree(pool, holding) -> None:  # type: ignore[no-untyped-def]
    router = PrefixThreshold(surroundings(3, index=holding(3, {})), 0.3, 64, 1.5)
    equal = pool(requests=[2, 2, 2])
    sizes = (100, 50, 60, 10)
    assert [router.choose(Ask(0.0, size), equal) for size in sizes] == [0, 1, 2, 1]


# Costs in tokens, prompt of 160. Slot 0: 160 to prefill + 0 in decode = 160. Slot 1: 160 - 64 +
# 40 = 136. Slot 2: 160 - 96 + 80 = 144. With 30 more queued at slot 1: 166, so slot 2. With a scale
# of 2: 320, 2 x 126 + 40 = 292, 2 x 64 + 80 = 208.
def test_kv_cost(pool, index) -> None:  # type: ignore[no-untyped-def]
    def choose(queued: int, scale: float = 1.0, temperature: float = 0.0) -> int:
        router = KvCost(surroundings(3, index=index), scale, 1.0, 0.75, 0.25, temperature)
        return router.choose(ask(), pool(prefill_tokens=[0, queued, 0], kv_tokens=[0, 40, 80]))

    assert choose(0) == 1
    assert choose(30) == 2
    assert choose(30, scale=2.0) == 2
    assert choose(0, temperature=1e-3) == 1


# Host tiers: slot 0 holds 8 blocks there and none on the GPU, credit 8 x 0.75 = 6 blocks. Slot 2
# has 6 on the GPU and 9 in host memory: 6 + 3 x 0.75 = 8.25. Disk of slot 1: 10 blocks, beyond the
# 4 on the GPU: 4 + 6 x 0.25 = 5.5. Costs 160 - 96 = 64, 160 - 88 = 72, 160 - 132 = 28.
def test_kv_cost_credits_each_tier_for_what_it_adds(pool, index, holding) -> None:  # type: ignore[no-untyped-def]
    host = holding(3, {0: (100, 8), 2: (100, 9)})
    disk = holding(3, {1: (100, 10)})
    router = KvCost(
        surroundings(3, index=index, tiers=(host, disk), tier_kinds=("host", "ssd")),
        1.0,
        1.0,
        0.75,
        0.25,
        0.0,
    )
    assert router._credit(PROMPT).tolist() == [6.0, 5.5, 8.25]
    assert router.choose(ask(), pool(kv_tokens=[0, 0, 0])) == 2
    assert router.choose(ask(), pool(kv_tokens=[0, 0, 37])) == 0
    assert router.choose(ask(), pool(kv_tokens=[9, 0, 45])) == 1


# Credit never makes prefill negative: 60 tokens of prompt less 6 blocks (96) count as 0.
def test_kv_cost_has_no_negative_prefill(pool, index) -> None:  # type: ignore[no-untyped-def]
    router = KvCost(surroundings(3, index=index), 1.0, 1.0, 0.75, 0.25, 0.0)
    assert router.choose(ask(60), pool(kv_tokens=[0, 0, 1])) == 1


# Waiting 0, 2, 4; KV in use 800, 500, 100 of 1000; matched 0, 0.4, 0.6. Scores: 2 x 1 + 2 x 0.2 +
# 0 = 2.4; 2 x 0.5 + 2 x 0.5 + 3 x 0.4 = 3.2; 2 x 0 + 2 x 0.9 + 3 x 0.6 = 3.6: slot 2. With 300
# more in use there: 3.0, so slot 1. With equal queues each has 2 for them: 2.4, 4.2 and 5.0.
def test_weighted_scorers(pool, index) -> None:  # type: ignore[no-untyped-def]
    router = WeightedScorers(surroundings(3, index=index), 2.0, 2.0, 3.0)
    slots = pool(1000, waiting=[0, 2, 4], kv_tokens=[800, 500, 100])
    assert router.choose(ask(), slots) == 2
    slots.kv_tokens[2] = 400
    assert router.choose(ask(), slots) == 1
    slots.waiting[:] = slots.waiting[:1] * 3
    assert router.choose(ask(), slots) == 2
    # Over its capacity a slot has no less than 2 + 2 x 0 = 2, as one that is just full.
    over = pool(1000, waiting=[0, 0, 0], kv_tokens=[1000, 5000, 5000])
    assert {router.choose(Ask(0.0, 10), over) for _ in range(3)} == {0, 1, 2}


# Queues of 100, 20 and 90 tokens; replication off (no copy is quick enough). TTFT in ms: 100 + 160
# = 260; 20 + 160 - 64 = 116; 90 + 160 - 96 = 154.
def test_min_ttft(pool, index) -> None:  # type: ignore[no-untyped-def]
    around = surroundings(3, index=index, transfer_s=lambda _tokens: 9.0)
    router = MinTtft(around, early_rejection=True, replicate_ratio=2.0)
    prompt = ask()
    assert router.choose(prompt, pool(prefill_tokens=[100, 20, 90])) == 1
    assert prompt.copy_from is None


# Limits of the tenants: none, and 150 ms. Least TTFT 154 ms (slot 2, 90 queued): the second
# tenant's request is turned away; with 86 queued it comes after 150 ms, in time.
def test_min_ttft_turns_away_what_would_come_too_late(pool, index) -> None:  # type: ignore[no-untyped-def]
    around = surroundings(
        3, index=index, transfer_s=lambda _tokens: 9.0, ttft_limits_s=(float("inf"), 0.1501)
    )
    router = MinTtft(around, early_rejection=True, replicate_ratio=2.0)
    late = pool(prefill_tokens=[100, 100, 90])
    assert router.choose(ask(tenant=0), late) == 2
    assert router.choose(ask(tenant=1), late) == REJECT
    assert router.choose(ask(tenant=1), pool(prefill_tokens=[100, 100, 86])) == 2
    patient = MinTtft(around, early_rejection=False, replicate_ratio=2.0)
    assert patient.choose(ask(tenant=1), late) == 2


# Copying takes 0.1 ms a token. Slot 0 holds nothing: it fetches 6 blocks (96 tokens) in 9.6 ms and
# computes 64: 73.6 ms, against 160 ms. Slot 2 holds them and has 20 queued: 84 ms. Slot 1 holds 4:
# 6 <= 2 x 4, so it computes 96, with 0 queued 96 ms. The answer: slot 0, 6 blocks from slot 2.
def test_min_ttft_replicates_hot_prefixes(pool, index) -> None:  # type: ignore[no-untyped-def]
    around = surroundings(3, index=index, transfer_s=lambda tokens: tokens * 1e-4)
    router = MinTtft(around, early_rejection=True, replicate_ratio=2.0)
    prompt = ask()
    assert router.choose(prompt, pool(prefill_tokens=[0, 0, 20])) == 0
    assert prompt.copy_from == (2, 6)
    # With a ratio of 1.4 slot 1 fetches too, 2 blocks in 3.2 ms: 67.2 ms, the soonest.
    prompt = ask()
    eager = MinTtft(around, early_rejection=True, replicate_ratio=1.4)
    assert eager.choose(prompt, pool(prefill_tokens=[0, 0, 20])) == 1
    assert prompt.copy_from == (2, 6)


# A prompt held whole still computes its last token: 1 ms, not 0.
def test_min_ttft_computes_the_last_token(pool, index) -> None:  # type: ignore[no-untyped-def]
    times: list[tuple[int, int]] = []

    def prefill_s(new: int, cached: int) -> float:
        times.append((new, cached))
        return new * 1e-3

    router = MinTtft(surroundings(3, index=index, prefill_s=prefill_s), True, 2.0)
    router.choose(ask(96), pool(prefill_tokens=[0, 0, 0]))
    assert (1, 95) in times


# Weights 10 (overlap), 0.05 (load), 2 (churn). Nothing computed so far. Slot 0: 10 x 160 = 1600.
# Slot 1: 10 x 96 + 0.05 x 2000 = 1060. Slot 2: 10 x 64 + 400 queued = 1040.
def test_kv_aware_weighs_computing_against_queue_and_kv_in_use(pool, index) -> None:  # type: ignore[no-untyped-def]
    def choose(queued: int, used: int) -> int:
        router = KvAware(surroundings(3, index=index), 10.0, 0.05, 2.0)
        return router.choose(ask(), pool(prefill_tokens=[0, 0, queued], kv_tokens=[0, used, 0]))

    assert choose(400, 2000) == 2
    assert choose(430, 2000) == 1  # 1060 against 1070
    assert choose(1000, 20_000) == 0  # 1600 against 1960 and 1640


# The first 160 tokens, known nowhere, go to slot 0, whose churn is 1 from then on: 160 new tokens
# cost 10 x 160 + 2 x 160 = 1920 there and 1600 at slot 1. So the next go to slot 1 with up to 319
# tokens queued there, and to slot 0 with 321.
def test_kv_aware_fills_memory_that_lies_idle(pool, holding) -> None:  # type: ignore[no-untyped-def]
    def second(queued: int) -> int:
        router = KvAware(surroundings(2, index=holding(2, {})), 10.0, 0.05, 2.0)
        assert router.choose(ask(), pool(prefill_tokens=[0, 0])) == 0
        assert router._worth.tolist() == [12.0, 10.0]
        return router.choose(ask(), pool(prefill_tokens=[0, queued]))

    assert (second(319), second(321)) == (1, 0)


# A slot that computes as much one CHURN_S later counts e times as much: its churn is 1, and 1 / e
# that of the first.
def test_what_kv_aware_saw_computed_fades(pool, holding) -> None:  # type: ignore[no-untyped-def]
    router = KvAware(surroundings(2, index=holding(2, {})), 10.0, 0.05, 2.0)
    router.choose(ask(), pool(prefill_tokens=[0, 0]))
    router.choose(ask(now_s=CHURN_S), pool(prefill_tokens=[0, 0]))
    assert router._worth.tolist() == pytest.approx([10 + 2 / 2.718281828, 12.0])


def test_kv_aware_remembers_no_more_after_a_long_time(pool, holding) -> None:  # type: ignore[no-untyped-def]
    router = KvAware(surroundings(2, index=holding(2, {})), 10.0, 0.05, 2.0)
    router.choose(ask(), pool(prefill_tokens=[0, 9_999]))
    slots = pool(prefill_tokens=[9_999, 0])
    for days in range(1, 30):
        router.choose(ask(now_s=86_400.0 * days), slots)
    assert router._worth.tolist() == pytest.approx([10.0, 12.0])
    assert 0 < router._most < float("inf")


def test_a_slot_that_is_not_live_gets_nothing_it_holds(pool, index) -> None:  # type: ignore[no-untyped-def]
    around = surroundings(3, index=index)
    slots = pool(1000, requests=[0, 0, 0])
    slots.shut([2])
    for router in (
        LongestPrefix(around),
        PrefixThreshold(around, 0.3, 64, 1.5),
        KvCost(around, 1.0, 1.0, 0.75, 0.25, 0.0),
        KvCost(around, 1.0, 1.0, 0.75, 0.25, 1e-3),
        WeightedScorers(around, 2.0, 2.0, 3.0),
        MinTtft(around, True, 2.0),
        KvAware(around, 10.0, 0.05, 2.0),
    ):
        prompt = ask()
        assert router.choose(prompt, slots) == 1, type(router).__name__
        assert prompt.copy_from is None
