from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from factory.errors import FactoryError
from factory.serving.kv_cache import KVCache
from factory.serving.prefix_index import PrefixIndex
from factory.serving.router import (
    KvAware,
    LeastLoaded,
    Random,
    RoundRobin,
    build,
    drawer,
    next_least,
)
from factory.serving.slots import Slots
from factory.statistics import stream

BLOCKS = (100, 4)


def slots(
    requests: list[int], prefill: list[int] | None = None, kv: list[int] | None = None
) -> Slots:
    made = Slots(len(requests))
    made.requests[:] = requests
    made.prefill_tokens[:] = prefill or [0] * len(requests)
    made.kv_tokens[:] = kv or [0] * len(requests)
    return made


def holding(slot: int, count: int) -> PrefixIndex:
    """An index of three caches, of which one holds a prompt's 4 blocks of 16 tokens."""
    index = PrefixIndex(count)
    KVCache(10, index.listener(slot)).touch(BLOCKS)
    return index


@pytest.mark.parametrize(
    ("values", "last", "chosen"),
    [([3, 1, 2], -1, 1), ([1, 1, 1], 0, 1), ([1, 1, 1], 2, 0), ([1, 2, 1], 0, 2), ([5], 0, 0)],
)
def test_next_least(values: list[int], last: int, chosen: int) -> None:
    assert next_least(values, last) == chosen


def test_round_robin_takes_every_slot_in_turn() -> None:
    router, three = RoundRobin(), slots([9, 0, 0])
    assert [router.choose(1, (), three) for _ in range(4)] == [0, 1, 2, 0]


def test_least_loaded_counts_waiting_and_running_and_takes_turns() -> None:
    router, three = LeastLoaded(), slots([1, 0, 0])
    chosen = []
    for _ in range(5):
        slot = router.choose(1, (), three)
        three.requests[slot] += 1
        chosen.append(slot)
    assert chosen == [1, 2, 0, 1, 2]


def test_random_is_uniform_and_its_stream_is_its_own() -> None:
    def routers() -> Random:
        return Random(drawer(stream(1, 0, "router")))

    four = slots([0] * 4)
    one, other = routers(), routers()
    chosen = [one.choose(1, (), four) for _ in range(8000)]
    assert chosen == [other.choose(1, (), four) for _ in range(8000)]
    # 8000 draws: a count strays by 5 standard deviations (39 each) once in a million times.
    assert all(abs(count - 2000) < 195 for count in Counter(chosen).values())


def test_kv_aware_weighs_overlap_against_load() -> None:
    index = holding(slot=2, count=3)
    saved = 4 * 16

    def choose(overlap: float, load: float, kv: list[int]) -> int:
        return KvAware(index, 16, overlap, load).choose(64, BLOCKS, slots([0] * 3, None, kv))

    assert choose(1.0, 1.0, [0, 0, 0]) == 2
    assert choose(1.0, 1.0, [0, 0, saved - 1]) == 2
    assert choose(1.0, 1.0, [0, 0, saved + 1]) == 0
    assert choose(2.0, 1.0, [0, 0, saved + 1]) == 2
    assert choose(0.0, 1.0, [5, 4, 6]) == 1


def test_kv_aware_sees_queued_prompt_tokens() -> None:
    router = KvAware(PrefixIndex(2), 16, 1.0, 1.0)
    assert router.choose(64, (), slots([0, 0], prefill=[100, 40])) == 1


@pytest.mark.parametrize("policy", ["random", "round_robin", "least_loaded", "kv_aware"])
def test_routers_never_leave_their_slots(policy: str) -> None:
    router = build(policy, stream(1, 0, "r"), PrefixIndex(3), 16, 1.0, 1.0)
    three = slots([0, 0, 0])
    assert {router.choose(10, (), three) for _ in range(100)} == {0, 1, 2}


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(FactoryError, match="'best' is not known"):
        build("best", stream(1, 0, "r"), PrefixIndex(1), 16, 1.0, 1.0)


def test_a_drawer_stays_below_its_bound() -> None:
    draw: Callable[[int], int] = drawer(stream(2, 0, "d"))
    assert {draw(2) for _ in range(200)} == {0, 1}
