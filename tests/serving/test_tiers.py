"""Tiers of KV below the GPU, worked out on paper: a block is 1 GB, GB/s are blocks per second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import RunError
from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.scenario.kv_cache import KvCache
from factory.serving.kv_cache import KVCache
from factory.serving.prefix_index import PrefixIndex
from factory.serving.tier_build import DeploymentTiers, PoolTiers, Site
from factory.serving.tier_fetch import Fetch
from factory.serving.tier_links import Copies, Link
from factory.serving.tier_store import Lane, Store, Writes, cut
from factory.serving.tiers import Tiers

MANY = 10**6
HOST = {"kind": "host", "capacity_tokens": 1000, "bandwidth_gb_s": 10.0, "latency_ms": 0.0}
SSD = {"kind": "ssd", "capacity_tokens": 1000, "bandwidth_gb_s": 2.0, "latency_ms": 500.0}
PEER = {"kind": "peer", "bandwidth_gb_s": 5.0, "latency_ms": 1000.0}


class Bench:
    """A pool whose ranks have tiers, and what its fetches did."""

    def __init__(
        self,
        *tiers: dict[str, Any],
        replicas: tuple[int, ...] = (0,),
        prefill_s: Callable[[int, int], float] = lambda new, _cached: float(new),
        copies_by_router: bool = False,
        **section: Any,
    ) -> None:
        self.kernel = Kernel()
        self.deployment = DeploymentTiers(self.kernel, 0)
        self.section = KvCache.model_validate({"tiers": tiers, **section})
        self.index = PrefixIndex(len(replicas))
        self.done: dict[Any, float] = {}
        self.site = Site(replicas, 1, 1e9, 1e9, prefill_s, self.note, self.index, copies_by_router)
        self.pool: PoolTiers = self.deployment.pool(self.section, self.site)
        self.ranks = self.pool.ranks
        self._owners = 0

    def note(self, sequence: Any, _fetch: Fetch, now_s: float) -> None:
        self.done[sequence] = now_s

    def at(self, time_s: float, call: Callable[[float], None]) -> None:
        self.kernel.timer(CLASS_ARRIVAL, self._owners, call).set(time_s)
        self._owners += 1

    def fetch(
        self, at_s: float, name: Any, blocks: tuple[int, ...], rank: int = 0, hit: int = 0
    ) -> None:
        def begin(now_s: float) -> None:
            tiers = self.ranks[rank]
            fetch = tiers.offer(blocks, hit, MANY, sum(blocks[1::2]), now_s)
            assert fetch is not None
            tiers.begin(fetch, name, now_s)

        self.at(at_s, begin)

    def run(self) -> dict[Any, float]:
        self.kernel.run()
        return self.done

    def held(self, tier: int, blocks: tuple[int, ...], now_s: float, store: int = 0) -> int:
        return self.pool.groups[tier].stores[store].match(blocks, now_s)


def parts_of(fetch: Fetch | None) -> list[tuple[int, int, int]]:
    assert fetch is not None
    return [(part.tier, part.start, part.upto) for part in fetch.parts]


# -- from a tier to the GPU --------------------------------------------------------------------


def test_a_fetch_takes_the_latency_and_its_blocks_over_the_bandwidth() -> None:
    """40 blocks, of which 10 are on the GPU, at 10 blocks/s after 0.25 s: 3.25 s, one event."""
    bench = Bench({**HOST, "latency_ms": 250.0})
    tiers = bench.ranks[0]
    tiers.stored((1, 40), 40, 0.0)
    fetch = tiers.offer((1, 40, 90, 5), 10, MANY, 45, 100.0)
    assert parts_of(fetch) == [(0, 10, 40)]
    assert fetch is not None
    assert (fetch.hit, fetch.upto, fetch.bytes) == (10, 40, 30e9)
    assert fetch.seconds == pytest.approx(3.25)
    assert [part.upto - part.start for part in fetch.parts] == [30]
    bench.at(100.0, lambda now_s: tiers.begin(fetch, "a", now_s))
    assert bench.run() == {"a": pytest.approx(103.25)}
    assert bench.kernel.fired == 2


def test_nothing_is_offered_beyond_what_may_come_or_is_there() -> None:
    bench = Bench(HOST)
    tiers = bench.ranks[0]
    tiers.stored((1, 40), 40, 0.0)
    assert parts_of(tiers.offer((1, 40), 0, 39, 40, 10.0)) == [(0, 0, 39)]
    assert tiers.offer((1, 40), 40, MANY, 40, 10.0) is None
    assert tiers.offer((70, 40), 0, MANY, 40, 10.0) is None


def test_three_fetches_share_a_link() -> None:
    """10 blocks/s. a: 30 blocks from 0 s, b: 10 from 1 s, c: 10 from 2 s, on one rank.

    0-1 s: a alone, 20 left. 1-2 s: two at 5, a 15, b 5. From 2 s three at 3.33: b is done after
    1.5 s at 3.5 s, when a has 10 left and c 5. Two at 5: c is done at 4.5 s, a has 5 left and takes
    0.5 s more. Events: 3 begin, 3 end, and the ends of a and b that b and c put off are stale.
    """
    bench = Bench(HOST)
    for first, count in ((1, 30), (100, 10), (200, 10)):
        bench.ranks[0].stored((first, count), count, -100.0)
    bench.fetch(0.0, "a", (1, 30))
    bench.fetch(1.0, "b", (100, 10))
    bench.fetch(2.0, "c", (200, 10))
    assert bench.run() == pytest.approx({"a": 5.0, "b": 3.5, "c": 4.5})
    assert bench.kernel.fired <= 3 + 2 * 3


def test_ranks_share_a_store_and_not_each_other_s_bus() -> None:
    """AISimulate's example: four ranks at 32 GB/s under a pool's 80 move at 20 each; alone, 32."""
    host = {**HOST, "bandwidth_gb_s": 32.0, "shared_by": "pool"}
    bench = Bench(host, replicas=(0, 0, 1, 1))
    for rank in range(4):
        bench.ranks[0].stored((1 + 1000 * rank, 160), 160, -100.0)
        bench.fetch(0.0, rank, (1 + 1000 * rank, 160), rank)
    assert bench.run() == {rank: pytest.approx(8.0) for rank in range(4)}
    fetch = bench.ranks[0].offer((1, 160), 0, MANY, 160, 100.0)
    assert fetch is not None
    assert fetch.seconds == pytest.approx(160 / 32)


def test_an_estimate_counts_who_shares_the_link_now() -> None:
    """20 blocks beside one other fetch: 5 blocks/s each, 4 s."""
    bench = Bench(HOST)
    tiers = bench.ranks[0]
    tiers.stored((1, 50), 50, -100.0)
    tiers.stored((100, 20), 20, -100.0)
    first = tiers.offer((1, 50), 0, MANY, 50, 0.0)
    assert first is not None
    tiers.begin(first, "a", 0.0)
    second = tiers.offer((100, 20), 0, MANY, 20, 0.0)
    assert second is not None
    assert second.seconds == pytest.approx(4.0)


def test_a_chain_partly_on_the_host_is_one_fetch_with_two_parts() -> None:
    """Host has 20 of 26 blocks, SSD all. SSD: 0.5 s + 6 / 2 = 3.5 s.

    Its blocks cross the host's bus too: while both go, each has 5 blocks/s of it, and the SSD's 2
    are less than that. Host: 20 blocks at 5 blocks/s while the other is there until 3.5 s (17.5),
    then 10: 3.75 s.
    """
    bench = Bench(HOST, SSD)
    stores = [group.stores[0] for group in bench.pool.groups]
    stores[0].enter((1, 20), 20, 0.0)
    stores[1].enter((1, 26), 26, 0.0)
    fetch = bench.ranks[0].offer((1, 26), 0, MANY, 26, 0.0)
    assert parts_of(fetch) == [(0, 0, 20), (1, 20, 26)]
    assert fetch is not None
    assert [part.upto - part.start for part in fetch.parts] == [20, 6]
    assert fetch.tokens_by_kind == (20, 5, 0), "the last token is computed"
    bench.ranks[0].begin(fetch, "a", 0.0)
    assert bench.run() == {"a": pytest.approx(3.75)}
    assert bench.held(0, (1, 26), 10.0) == 26, "what came through the host stays there"
    assert bench.kernel.fired <= 2 * 2


def test_without_a_host_tier_the_drive_is_read_directly() -> None:
    bench = Bench(SSD)
    bench.pool.groups[0].stores[0].enter((1, 6), 6, 0.0)
    bench.fetch(0.0, "a", (1, 6))
    assert bench.run() == {"a": pytest.approx(3.5)}


def test_a_fetch_must_beat_the_computation() -> None:
    """20 blocks of 1 token at 10 blocks/s: 2 s. Computed at 0.11 s a token 2.2 s, at 0.09 1.8 s."""
    for token_s, is_worth in ((0.11, True), (0.09, False)):
        bench = Bench(HOST, fetch="when_faster", prefill_s=lambda new, _cached, s=token_s: s * new)
        bench.ranks[0].stored((1, 20), 20, -100.0)
        fetch = bench.ranks[0].offer((1, 20, 90, 5), 0, MANY, 25, 0.0)
        assert (fetch is not None) is is_worth


def test_recomputation_is_estimated_with_the_context_that_it_would_read() -> None:
    """10 of 30 blocks are hit, 15 more on the host: 1.5 s. 20 new after 10, or 5 after 25."""
    asked: list[tuple[int, int]] = []

    def prefill_s(new: int, cached: int) -> float:
        asked.append((new, cached))
        return 0.1 * new + 0.01 * new * cached

    bench = Bench(HOST, fetch="when_faster", prefill_s=prefill_s)
    bench.ranks[0].stored((1, 25), 25, -100.0)
    fetch = bench.ranks[0].offer((1, 30), 10, MANY, 30, 0.0)
    assert asked == [(20, 10), (5, 25)]
    # 2 + 2 s alone; 0.5 + 1.25 s after the fetch: 2.25 s saved for 1.5 s.
    assert parts_of(fetch) == [(0, 10, 25)]


def test_the_slow_end_of_a_chain_is_computed_instead() -> None:
    """A token takes 0.2 s. Host: 20 blocks in 2 s save 4 s.

    SSD: 6 more in 3.5 s would save 1.2 s more and cost 1.5 s more; 12 in 6.5 s, 2.4 s for 4.5 s.
    """
    for on_ssd in (26, 32):
        bench = Bench(HOST, SSD, fetch="when_faster", prefill_s=lambda new, _cached: 0.2 * new)
        bench.pool.groups[0].stores[0].enter((1, 20), 20, 0.0)
        bench.pool.groups[1].stores[0].enter((1, on_ssd), on_ssd, 0.0)
        assert parts_of(bench.ranks[0].offer((1, 40), 0, MANY, 40, 0.0)) == [(0, 0, 20)]


def test_parts_that_go_side_by_side_take_as_long_as_the_slowest() -> None:
    """A token takes 0.3 s. Host alone: 6 s for 2. With 6 from the SSD: 7.8 s for 3.5, not 5.5."""
    bench = Bench(HOST, SSD, fetch="when_faster", prefill_s=lambda new, _cached: 0.3 * new)
    bench.pool.groups[0].stores[0].enter((1, 20), 20, 0.0)
    bench.pool.groups[1].stores[0].enter((1, 26), 26, 0.0)
    fetch = bench.ranks[0].offer((1, 40), 0, MANY, 40, 0.0)
    assert parts_of(fetch) == [(0, 0, 20), (1, 20, 26)]
    assert fetch is not None
    assert fetch.seconds == pytest.approx(3.5)


def test_a_request_that_goes_away_frees_the_link_and_the_blocks() -> None:
    """Two of 20 blocks share 10 blocks/s; at 1 s a is gone, b has 15 left: 2.5 s."""
    bench = Bench(HOST)
    tiers = bench.ranks[0]
    tiers.stored((1, 20), 20, -100.0)
    tiers.stored((100, 20), 20, -100.0)
    fetch = tiers.offer((1, 20), 0, MANY, 20, 0.0)
    assert fetch is not None
    tiers.begin(fetch, "a", 0.0)
    bench.fetch(0.0, "b", (100, 20))
    bench.at(1.0, lambda _now_s: tiers.cancel(fetch))
    assert bench.run() == {"b": pytest.approx(2.5)}
    assert bench.pool.groups[0].stores[0].cache.pinned == 0
    tiers.cancel(fetch)


def test_the_last_fetch_cancelled_leaves_no_event() -> None:
    bench = Bench(HOST)
    tiers = bench.ranks[0]
    tiers.stored((1, 20), 20, -100.0)
    fetch = tiers.offer((1, 20), 0, MANY, 20, 0.0)
    assert fetch is not None
    tiers.begin(fetch, "a", 0.0)
    tiers.cancel(fetch)
    assert bench.run() == {}
    assert bench.kernel.acted_s == 0.0


def test_what_is_being_read_is_not_evicted() -> None:
    """A store of 10 blocks: 6 are read when 8 others arrive; only 4 of those find room."""
    bench = Bench({**HOST, "capacity_tokens": 10})
    tiers = bench.ranks[0]
    tiers.stored((1, 6), 6, -100.0)
    fetch = tiers.offer((1, 6), 0, MANY, 6, 0.0)
    assert fetch is not None
    tiers.begin(fetch, "a", 0.0)
    tiers.stored((50, 8), 8, 0.0)
    assert (bench.held(0, (1, 6), 0.8), bench.held(0, (50, 8), 0.8)) == (6, 4)


def test_a_fetch_that_begins_too_late_is_an_error() -> None:
    bench = Bench({**HOST, "capacity_tokens": 10})
    tiers = bench.ranks[0]
    tiers.stored((1, 6), 6, -100.0)
    fetch = tiers.offer((1, 6), 0, MANY, 6, 0.0)
    tiers.stored((50, 10), 10, 0.0)
    assert tiers.offer((50, 10), 0, MANY, 10, 50.0) is not None
    assert fetch is not None
    with pytest.raises(RunError, match="host has lost blocks"):
        tiers.begin(fetch, "a", 50.0)


# -- peers -------------------------------------------------------------------------------------


def test_the_peer_that_holds_most_sends_it() -> None:
    """Slot 1 has 8 blocks, slots 2 and 3 have 12: slot 2. 1 s + 12 / 5 = 3.4 s."""
    bench = Bench(PEER, replicas=(0, 1, 2, 3))
    for slot, held in ((0, 3), (1, 8), (3, 12), (2, 12)):
        bench.index.listener(slot)(1, 0, held)
    fetch = bench.ranks[0].offer((1, 20), 3, MANY, 20, 0.0)
    assert parts_of(fetch) == [(0, 3, 12)]
    assert fetch is not None
    assert fetch.parts[0].source == 2
    bench.fetch(0.0, "a", (1, 20), 0)
    assert bench.run() == {"a": pytest.approx(3.4)}


def test_two_that_fetch_from_one_peer_share_its_link() -> None:
    """1 s, then 10 blocks each at 2.5 blocks/s."""
    bench = Bench(PEER, replicas=(0, 1, 2))
    bench.index.listener(2)(1, 0, 10)
    bench.fetch(0.0, "a", (1, 10), 0)
    bench.fetch(0.0, "b", (1, 10), 1)
    assert bench.run() == {"a": pytest.approx(5.0), "b": pytest.approx(5.0)}


def test_a_rank_is_no_peer_of_itself() -> None:
    bench = Bench(PEER, replicas=(0, 1))
    bench.index.listener(0)(1, 0, 10)
    assert bench.ranks[0].offer((1, 20), 0, MANY, 20, 0.0) is None


def test_peers_are_asked_for_what_the_host_lacks() -> None:
    bench = Bench(HOST, PEER, replicas=(0, 1))
    bench.ranks[0].stored((1, 4), 4, -100.0)
    bench.index.listener(1)(1, 0, 10)
    fetch = bench.ranks[0].offer((1, 20), 0, MANY, 20, 0.0)
    assert parts_of(fetch) == [(0, 0, 4), (1, 4, 10)]
    assert fetch is not None
    bench.ranks[0].begin(fetch, "a", 0.0)
    assert bench.run() == {"a": pytest.approx(1.0 + 6 / 5)}
    assert bench.held(0, (1, 20), 10.0) == 4, "a peer sends to the GPU, past the host"


@pytest.mark.parametrize("tiers", [(), (HOST,), (PEER,)])
def test_a_router_names_the_peer_to_copy_from(tiers: tuple[dict[str, Any], ...]) -> None:
    """Default way: 50 blocks/s after 1 ms; it has 100 of the 120 that the router counted on."""
    bench = Bench(*tiers, replicas=(0, 1, 2), copies_by_router=True)
    bench.index.listener(1)(1, 0, 100)
    bench.index.listener(2)(1, 0, 110)
    rank = bench.ranks[0]
    if tiers != (PEER,):
        assert rank.offer((1, 200), 0, MANY, 200, 0.0) is None
    fetch = rank.copy_from((1, 200), 20, 1, 120, 200)
    assert fetch is not None
    assert rank.names[fetch.parts[0].tier] == "peer"
    assert (fetch.hit, fetch.upto, fetch.parts[0].source) == (20, 100, 1)
    rank.begin(fetch, "a", 0.0)
    seconds = 17.0 if tiers == (PEER,) else 0.001 + 80 / 50
    assert fetch.seconds == pytest.approx(seconds)
    assert bench.run() == {"a": pytest.approx(seconds)}
    assert rank.copy_from((1, 200), 100, 1, 120, 200) is None
    assert rank.copy_from((1, 200), 0, 0, 120, 200) is None


def test_a_router_that_names_a_peer_without_a_way_to_one_is_an_error() -> None:
    with pytest.raises(RunError, match="no way to one"):
        Bench(HOST).ranks[0].copy_from((1, 5), 0, 1, 5, 5)


# -- from the GPU to a tier --------------------------------------------------------------------


def test_written_through_a_block_counts_when_it_has_arrived() -> None:
    """Host 10 blocks/s: 20 blocks at 2 s. The SSD is written from there: 2 + 20 / 2 + 0.5 s."""
    bench = Bench(HOST, SSD)
    bench.ranks[0].stored((1, 20), 20, 0.0)
    for now_s, host, ssd in ((1.9, 0, 0), (2.0, 20, 0), (12.4, 20, 0), (12.5, 20, 20)):
        assert (bench.held(0, (1, 20), now_s), bench.held(1, (1, 20), now_s)) == (host, ssd)
    assert bench.kernel.fired == 0


def test_writes_take_turns_and_nothing_is_written_twice() -> None:
    """20 blocks until 2 s; then the 5 that are new of the next, until 2.5 s."""
    bench = Bench(HOST)
    tiers, store = bench.ranks[0], bench.pool.groups[0].stores[0]
    tiers.stored((1, 20), 20, 0.0)
    tiers.stored((1, 15, 100, 5), 20, 0.0)
    tiers.stored((1, 20), 20, 0.5)
    assert store.written == 25
    assert bench.held(0, (1, 15, 100, 5), 2.4) == 15
    assert bench.held(0, (1, 15, 100, 5), 2.5) == 20
    tiers.stored((1, 20), 20, 5.0)
    assert store.written == 25


def test_written_on_eviction() -> None:
    """A GPU of 10 blocks; 6 are evicted by others.

    They reach the host 0.6 s after the rank's next look at its tiers, which is at 1 s.
    """
    bench = Bench(HOST, write="on_eviction")
    tiers = bench.ranks[0]
    assert tiers.writes_back
    cache = KVCache(10, spill=tiers.spilled)
    cache.touch((1, 6))
    tiers.stored((1, 6), 6, 0.0)
    assert bench.pool.groups[0].stores[0].written == 0
    cache.touch((50, 10))
    assert cache.match((1, 6)) == 0
    assert tiers.offer((1, 6), 0, MANY, 6, 1.0) is None
    assert tiers.offer((1, 6), 0, MANY, 6, 1.5) is None
    assert parts_of(tiers.offer((1, 6), 0, MANY, 6, 1.6)) == [(0, 0, 6)]


def test_evicting_block_by_block_writes_the_same_as_at_once() -> None:
    written = []
    for step in (1, 3, 6):
        bench = Bench(HOST, write="on_eviction")
        tiers = bench.ranks[0]
        cache = KVCache(6, spill=tiers.spilled)
        cache.touch((1, 4, 50, 2))
        for _ in range(6 // step):
            cache.grow(step)
        tiers.offer((9, 1), 0, MANY, 1, 0.0)
        store = bench.pool.groups[0].stores[0]
        written.append((store.written, bench.held(0, (1, 4, 50, 2), 0.6)))
    assert written == [(6, 6)] * 3


def test_the_host_s_victims_go_to_the_drive() -> None:
    """A host of 10 blocks that writes back: 8 arrive at 0.8 s, 8 others push 6 out at 1.6 s.

    Those are on the SSD, with the 2 before them, 8 / 2 + 0.5 s later: at 6.1 s.
    """
    host = {**HOST, "capacity_tokens": 10}
    bench = Bench(host, SSD, write="on_eviction")
    tiers = bench.ranks[0]
    tiers.spilled((1, 8), 0)
    tiers.spilled((50, 8), 0)
    tiers.offer((9, 1), 0, MANY, 1, 0.0)
    assert (bench.held(0, (1, 8), 1.5), bench.held(0, (1, 8), 1.6)) == (8, 2)
    assert (bench.held(1, (1, 8), 6.0), bench.held(1, (1, 8), 6.1)) == (0, 8)


def test_a_look_at_one_store_enters_what_has_come_to_all_of_them() -> None:
    """Rank 0 evicts from its host at 1.6 s; whoever looks first, the pool's SSD has it at 6.1 s."""
    seen = []
    for first in (0, 1):
        host = {**HOST, "capacity_tokens": 10}
        ssd = {**SSD, "shared_by": "pool", "shared_bandwidth_gb_s": 2.0}
        bench = Bench(host, ssd, replicas=(0, 1), write="on_eviction")
        bench.ranks[0].spilled((1, 8), 0)
        bench.ranks[0].spilled((50, 8), 0)
        bench.ranks[0].offer((9, 1), 0, MANY, 1, 0.0)
        bench.ranks[first].offer((9, 1), 0, MANY, 1, 3.0)
        looks = (bench.ranks[1].offer((1, 8), 0, MANY, 8, at_s) for at_s in (6.0, 6.1))
        seen.append([None if fetch is None else fetch.upto for fetch in looks])
    assert seen == [[None, 8]] * 2


def test_written_on_the_nth_use() -> None:
    """After 3 uses: (1, 10) is used whole twice and its first 6 blocks once more."""
    bench = Bench(HOST, write="on_reuse", write_hits=3)
    tiers, store = bench.ranks[0], bench.pool.groups[0].stores[0]
    tiers.stored((1, 10), 10, 0.0)
    tiers.stored((1, 10), 10, 1.0)
    assert store.written == 0
    tiers.stored((1, 6, 80, 4), 10, 2.0)
    assert store.written == 6
    assert bench.held(0, (1, 10), 3.0) == 6


def test_a_tier_smaller_than_a_chain_takes_its_head_once() -> None:
    bench = Bench({**HOST, "capacity_tokens": 4})
    for _ in range(3):
        bench.ranks[0].stored((1, 10), 10, 0.0)
        assert bench.held(0, (1, 10), 10.0) == 4
    assert bench.pool.groups[0].stores[0].written == 4


def test_a_block_is_not_there_before_its_chain() -> None:
    """The way out of rank 0 is slow: (1, 8) arrives at 4 s. Rank 1 adds 2 blocks to it at once."""
    store = Store(100, Lane(100.0), 0.0, Writes())
    assert store.write((1, 8), 8, 0.0, Lane(2.0)) == 4.0
    assert store.write((1, 8, 50, 2), 10, 0.0) == 4.0
    assert (store.match((1, 8, 50, 2), 3.9), store.match((1, 8, 50, 2), 4.0)) == (0, 10)


# -- who has which store -----------------------------------------------------------------------


def test_stores_belong_to_ranks_replicas_the_pool_or_the_deployment() -> None:
    shared = {"kind": "shared", "capacity_tokens": 1000, "bandwidth_gb_s": 10.0}
    ssd = {**SSD, "shared_by": "replica"}
    bench = Bench(HOST, ssd, {**shared, "shared_by": "deployment"}, replicas=(4, 4, 7, 7))
    assert [group.store_of for group in bench.pool.groups] == [
        (0, 1, 2, 3), (0, 0, 1, 1), (0, 0, 0, 0),
    ]  # fmt: skip
    other = bench.deployment.pool(bench.section, bench.site)
    assert other.groups[2].stores == bench.pool.groups[2].stores
    assert other.groups[1].stores != bench.pool.groups[1].stores
    bench.ranks[3].stored((1, 10), 10, 0.0)
    names = ("host", "ssd", "shared")
    for rank, tier in ((3, 0), (2, 1), (0, 2)):
        fetch = bench.ranks[rank].offer((1, 10), 0, MANY, 10, 100.0)
        assert parts_of(fetch) == [(tier, 0, 10)]
        assert bench.ranks[rank].names == names
    assert parts_of(other.ranks[0].offer((1, 10), 0, MANY, 10, 100.0)) == [(2, 0, 10)]


def test_routers_hear_what_each_store_holds() -> None:
    bench = Bench({**HOST, "shared_by": "replica"}, replicas=(0, 0, 1))
    bench.ranks[1].stored((1, 10), 10, 0.0)
    bench.ranks[2].stored((1, 4), 4, 0.0)
    assert bench.pool.groups[0].index.match((1, 10)) == {}
    bench.deployment.settle(10.0)
    assert bench.pool.groups[0].index.match((1, 10)) == {0: 10, 1: 4}


def test_links_of_each_gpu_and_of_the_store_carry_their_own_bytes() -> None:
    """A block is 8 GB, 1 GB on each of 8 GPUs at 10 GB/s.

    The store's own 16 GB/s carry all of it: 2 blocks/s.
    """
    host = {**HOST, "shared_by": "replica", "shared_bandwidth_gb_s": 16.0}
    bench = Bench(host)
    site = Site((0,), 1, 8e9, 1e9, lambda _new, _cached: 1.0, bench.note, bench.index)
    tiers: Tiers = bench.deployment.pool(bench.section, site).ranks[0]
    tiers.stored((1, 10), 10, 0.0)
    assert tiers.offer((1, 10), 0, MANY, 10, 4.9) is None
    fetch = tiers.offer((1, 10), 0, MANY, 10, 5.0)
    assert fetch is not None
    assert (fetch.seconds, fetch.bytes) == (pytest.approx(5.0), 80e9)


def test_a_store_without_room_for_a_block_is_an_error() -> None:
    with pytest.raises(RunError, match="tier host holds no KV block of 1 tokens"):
        Bench({"kind": "host", "capacity_gib": 0.5})


def test_runs_are_cut_to_a_number_of_blocks() -> None:
    blocks = (1, 4, 50, 3)
    assert [cut(blocks, n) for n in (0, 3, 4, 5, 7, 9)] == [
        (), (1, 3), (1, 4), (1, 4, 50, 1), blocks, blocks,
    ]  # fmt: skip


# -- links -------------------------------------------------------------------------------------


def shared_by_naive_steps(
    jobs: list[tuple[float, float]], rate: float, latency_s: float
) -> list[float]:
    """Arrivals on one link: every job has its share from its start, and moves after the latency."""
    left = [blocks for _, blocks in jobs]
    done = [0.0] * len(jobs)
    now_s = 0.0
    while any(blocks > 0.0 for blocks in left):
        there = [i for i, (at_s, _) in enumerate(jobs) if at_s <= now_s and left[i] > 0.0]
        moving = [i for i in there if jobs[i][0] + latency_s <= now_s]
        share = rate / max(len(there), 1)
        times = [at_s for at_s, _ in jobs] + [at_s + latency_s for at_s, _ in jobs]
        until_s = min(
            [t for t in times if t > now_s] + [now_s + left[i] / share for i in moving]
        )  # fmt: skip
        for i in moving:
            left[i] -= share * (until_s - now_s)
            if left[i] < 1e-9:
                left[i], done[i] = 0.0, until_s
        now_s = until_s
    return done


@settings(deadline=None)
@given(
    jobs=st.lists(
        st.tuples(st.integers(0, 20).map(float), st.integers(1, 30).map(float)),
        min_size=1,
        max_size=8,
    ),
    latency_s=st.sampled_from([0.0, 0.75]),
)
def test_sharing_agrees_with_naive_steps_at_two_events_a_copy(
    jobs: list[tuple[float, float]], latency_s: float
) -> None:
    kernel = Kernel()
    copies = Copies(kernel, 0)
    link = Link(4.0)
    done = [0.0] * len(jobs)

    def start(number: int, now_s: float) -> None:
        def arrived(at_s: float) -> None:
            done[number] = at_s

        copies.start((link,), jobs[number][1], latency_s, now_s, arrived)

    for number, (at_s, _) in enumerate(jobs):
        kernel.timer(CLASS_ARRIVAL, number, lambda now_s, n=number: start(n, now_s)).set(at_s)
    kernel.run()
    assert done == pytest.approx(shared_by_naive_steps(jobs, 4.0, latency_s))
    assert kernel.fired <= len(jobs) + 2 * len(jobs)
    assert not link.copies


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_stores_hold_whole_chains_and_let_go_of_what_was_read(data: st.DataObject) -> None:
    """Random prompts of one tree, written, fetched and cancelled by four ranks."""
    write = data.draw(st.sampled_from(["through", "on_eviction", "on_reuse"]), label="write")
    tiers = (
        {**HOST, "capacity_tokens": 20, "shared_by": "replica"},
        {**SSD, "capacity_tokens": 30, "shared_by": "pool"},
    )
    bench = Bench(*tiers, replicas=(0, 0, 1, 1), write=write)
    prompts = [(1, 9), (1, 4, 100, 7), (1, 4, 100, 3, 200, 5), (300, 12)]
    fetches: list[tuple[Tiers, Fetch]] = []

    def act(now_s: float) -> None:
        rank = bench.ranks[data.draw(st.integers(0, 3))]
        blocks = data.draw(st.sampled_from(prompts))
        kind = data.draw(st.sampled_from(["store", "spill", "fetch", "fetch", "cancel"]))
        if kind == "store":
            rank.stored(blocks, sum(blocks[1::2]), now_s)
        elif kind == "spill" and rank.writes_back:
            rank.spilled(blocks, 0)
        elif kind == "cancel" and fetches:
            owner, fetch = fetches.pop()
            owner.cancel(fetch)
        elif kind == "fetch":
            found = rank.offer(blocks, 0, MANY, 20, now_s)
            if found is not None:
                assert found.upto <= max(bench.held(t, blocks, now_s, s) for t, s in stores)
                rank.begin(found, (rank.slot, now_s), now_s)
                fetches.append((rank, found))

    stores = [(0, 0), (0, 1), (1, 0)]
    for step in range(25):
        bench.at(step * 1.5, act)
    bench.run()
    bench.deployment.settle(1e6)
    for group in bench.pool.groups:
        for number, store in enumerate(group.stores):
            assert store.cache.pinned == 0
            assert store.cache.used <= store.cache.capacity
            for blocks in prompts:
                held = group.index.match(blocks).get(number, 0)
                assert held == store.cache.match(blocks)
            assert not store._coming
    assert all(not link.copies for group in bench.pool.groups for link in group.links)
