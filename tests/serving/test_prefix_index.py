"""The prefix index answers for all caches what each of them would answer by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.serving.kv_cache import KVCache
from factory.serving.prefix_index import PrefixIndex


@st.composite
def prompt_trees(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """Prompts as runs of chained block ids, each forking from an earlier one between or in runs."""
    prompts: list[tuple[int, ...]] = [()]
    for first in range(100, 100 * draw(st.integers(2, 8)), 100):
        stem = draw(st.sampled_from(prompts))
        runs = draw(st.integers(0, len(stem) // 2))
        head = list(stem[: 2 * runs])
        if head:
            head[-1] = draw(st.integers(1, head[-1]))
        prompts.append((*head, first, draw(st.integers(1, 9))))
    return prompts


@given(
    capacities=st.lists(st.integers(0, 30), min_size=1, max_size=20),
    blocks=prompt_trees(),
    data=st.data(),
)
def test_the_index_finds_what_every_cache_holds(
    capacities: list[int], blocks: list[tuple[int, ...]], data: st.DataObject
) -> None:
    index = PrefixIndex(len(capacities))
    caches = [KVCache(size, index.listener(slot)) for slot, size in enumerate(capacities)]
    visits = st.tuples(st.sampled_from(caches), st.sampled_from(blocks), st.integers(1, 16))
    for cache, prompt, most in data.draw(st.lists(visits, max_size=25)):
        upto = min(most, sum(prompt[1::2]))
        hit = min(cache.match(prompt), upto)
        if cache.admit(prompt, hit, upto - hit):
            cache.commit(prompt, hit, upto)
            cache.release(prompt, upto, 0)
        for p in blocks:
            own = {slot: cache.match(p) for slot, cache in enumerate(caches)}
            assert index.match(p) == {slot: held for slot, held in own.items() if held}
            assert index.held(p).tolist() == list(own.values())


@pytest.mark.parametrize("slots", [3, 40])
def test_many_holders_are_found_as_few_are(slots: int) -> None:
    index = PrefixIndex(slots)
    caches = [KVCache(20, index.listener(slot)) for slot in range(slots)]
    for slot, cache in enumerate(caches):
        cache.touch((0, 10))
        if slot % 2:
            cache.touch((0, 5, 30, 5))
    expected = [10 if slot % 2 else 5 for slot in range(slots)]
    assert index.held((0, 5, 30, 9)).tolist() == expected
    assert index.match((0, 5, 30, 9)) == {slot: 10 if slot % 2 else 5 for slot in range(slots)}
    assert index.match((0, 10)) == dict.fromkeys(range(slots), 10)
    caches[0].touch((50, 14))
    assert index.match((0, 10)) == {slot: 10 if slot else 6 for slot in range(slots)}
    assert index.held((0, 10)).tolist() == [6] + [10] * (slots - 1)
    caches[0].touch((0, 10))
    assert index.held((0, 10, 90, 3)).tolist() == [10] * slots


def test_an_index_holds_nothing_of_what_its_caches_lost() -> None:
    index = PrefixIndex(2)
    caches = [KVCache(4, index.listener(slot)) for slot in range(2)]
    for first in range(0, 1_000, 10):
        for cache in caches:
            cache.touch((first, 4))
    assert index.match((990, 4)) == {0: 4, 1: 4}
    assert len(index._runs) == 1


def test_a_cache_reports_once_per_run_not_per_block() -> None:
    reports: list[tuple[int, int, int]] = []
    cache = KVCache(5_000, lambda *change: reports.append(change))
    cache.touch((0, 4_000))
    cache.touch((0, 1_000, 5_000, 3_000))
    assert reports == [(0, 0, 4_000), (0, 4_000, 2_000), (5_000, 0, 3_000)]


def test_a_slot_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"slot must be in 0\.\.1, got 2"):
        PrefixIndex(2).listener(2)
