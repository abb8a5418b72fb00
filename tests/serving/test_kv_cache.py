"""The KV cache against a cache that keeps one entry per block, and against reference hit ratios."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
import sys
from collections import Counter, OrderedDict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from _pytest.mark import ParameterSet
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from factory.serving.kv_cache import KVCache
from factory.serving.prefix_index import PrefixIndex

DATA = Path(__file__).parents[3] / "shared" / "data"


def to_runs(path: list[int]) -> tuple[int, ...]:
    """Encodes block ids as (first, count, …); run starts are canonical if the ids are chained."""
    runs: list[int] = []
    for block in path:
        if runs and runs[-2] + runs[-1] == block:
            runs[-1] += 1
        else:
            runs += (block, 1)
    return tuple(runs)


def to_blocks(runs: tuple[int, ...]) -> list[int]:
    """Decodes runs into block ids."""
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return [first + i for first, count in pairs for i in range(count)]


@st.composite
def prompt_trees(draw: st.DrawFn) -> list[list[int]]:
    """Prompts as chained block ids, each forking from an earlier one or extending it."""
    prompts: list[list[int]] = [[]]
    fresh = 100
    for _ in range(draw(st.integers(1, 5))):
        stem = draw(st.sampled_from(prompts))
        cut = draw(st.integers(0, len(stem)))
        tail = draw(st.integers(1, 9))
        prompts.append([*stem[:cut], *range(fresh, fresh + tail)])
        # Half of the time the ids leave a gap, so that the next extension begins a run.
        fresh += tail + draw(st.integers(0, 1))
    return prompts


class BlockLRU:
    """The oracle: one entry per block, pins counted per block, blocks freed one by one."""

    def __init__(self, capacity: int, ttl_s: float, most_kept: int) -> None:
        self.capacity = capacity
        self.ttl_s = ttl_s
        self.most_kept = most_kept
        self.now_s = 0.0
        self.pins: dict[int, int] = {}  # every block present
        self.idle: OrderedDict[int, float] = OrderedDict()  # block → idle since
        self.kept: dict[int, None] = {}
        self.evicted: list[int] = []
        self.private = 0

    @property
    def used(self) -> int:
        return len(self.pins) + self.private

    def match(self, path: list[int]) -> int:
        return sum(1 for _ in itertools.takewhile(self.pins.__contains__, path))

    def available(self, path: list[int], hit: int) -> int:
        taken = sum(block in self.idle for block in path[:hit])
        return self.capacity - self.used + len(self.idle) - taken

    def pin(self, block: int) -> None:
        self.pins[block] = self.pins.get(block, 0) + 1
        self.idle.pop(block, None)

    def evict_for(self, new: int) -> None:
        while self.used + new > self.capacity:
            block, _ = self.idle.popitem(last=False)
            del self.pins[block]
            self.evicted.append(block)

    def expire(self) -> int:
        old = [b for b, since_s in self.idle.items() if since_s < self.now_s - self.ttl_s]
        for block in old:
            del self.idle[block], self.pins[block]
        return len(old)

    def hold(self, path: list[int], upto: int) -> int:
        held = 0
        for block in path[: min(upto, self.match(path))]:
            if block not in self.kept:
                if len(self.kept) == self.most_kept:
                    break
                self.kept[block] = None
                self.pin(block)
            held += 1
        return held

    def admit(self, path: list[int], hit: int, new: int) -> bool:
        if new > self.available(path, hit):
            return False
        for block in path[:hit]:
            self.pin(block)
        self.evict_for(new)
        self.private += new
        return True

    def commit(self, path: list[int], hit: int, upto: int) -> None:
        for block in path[hit:upto]:
            self.private -= 1
            self.pin(block)

    def release(self, path: list[int], pinned: int, private: int) -> None:
        self.private -= private
        for block in reversed(path[:pinned]):
            self.pins[block] -= 1
            if not self.pins[block]:
                self.idle[block] = self.now_s

    def touch(self, path: list[int]) -> int:
        hit = self.match(path)
        held = hit
        for block in path[:hit]:
            self.pin(block)
        for block in path[hit:]:
            if self.used == self.capacity and not self.idle:
                break
            self.evict_for(1)
            self.pin(block)
            held += 1
        self.release(path, held, 0)
        return hit


def check_invariants(cache: KVCache) -> None:
    """Asserts what must hold of the structure between any two calls."""
    assert cache.used == cache.private + cache.pinned + cache.evictable <= cache.capacity
    assert min(cache.private, cache.pinned, cache.evictable) >= 0
    runs = cache._runs
    below: Counter[tuple[int, int]] = Counter()
    for first, run in runs.items():
        assert run.first == first
        assert run.held > 0
        if run.parent is not None:
            assert runs[run.parent.first] is run.parent
            assert run.base == run.parent.base + run.fork
            assert 0 < run.fork <= run.parent.held
            if run.pins:
                below[run.parent.first, run.fork] += 1
        else:
            assert run.base == run.fork == 0
        assert run.pins == sorted(run.pins)
        tops = [run.pins[-1] if run.pins else 0, *(s.stop for s in reversed(run.idle))]
        assert [s.start for s in reversed(run.idle)] == tops[:-1]
        assert tops[-1] == run.held, "pinned head, then stretches, then nothing"
    for (first, fork), children in below.items():
        assert Counter(runs[first].pins)[fork] >= children, "a pinned run pins what it hangs from"
    alive = [s for s in cache._lru if s.start < s.stop]
    assert len(alive) == sum(len(run.idle) for run in runs.values())
    assert len(cache._lru) - len(alive) == cache._dead
    assert all(s in s.run.idle for s in alive)
    assert cache.pinned == sum(run.pins[-1] for run in runs.values() if run.pins)
    assert cache.evictable == sum(s.stop - s.start for s in alive)
    assert cache.kept == sum(run.kept for run in runs.values()) <= cache.most_kept
    assert all(run.kept <= (run.pins[-1] if run.pins else 0) for run in runs.values())
    times = [s.since_s for s in cache._lru]
    assert times == sorted(times), "what has been idle for longest comes first"


class KVCacheMachine(RuleBasedStateMachine):
    """Sequences live and die in any interleaving; the cache and the oracle never differ."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[list[int]] = []  # [path, pinned, private]

    @initialize(
        capacity=st.integers(0, 50),
        paths=prompt_trees(),
        warm=st.booleans(),
        ttl_s=st.sampled_from([3.0, math.inf]),
        most_kept=st.sampled_from([0, 4, 12]),
    )
    def start(
        self, capacity: int, paths: list[list[int]], warm: bool, ttl_s: float, most_kept: int
    ) -> None:
        self.paths = paths
        self.held: Counter[int] = Counter()
        self.spilled: list[int] = []
        self.cache = KVCache(
            capacity, self.heard, ttl_s=ttl_s, most_kept=most_kept, spill=self.spill
        )
        self.oracle = BlockLRU(capacity, ttl_s, most_kept)
        for path in paths if warm else ():
            assert self.cache.touch(to_runs(path)) == self.oracle.touch(path)

    def heard(self, first: int, before: int, after: int) -> None:
        assert self.held[first] == before != after
        self.held[first] = after

    def spill(self, blocks: tuple[int, ...], start: int) -> None:
        chain = to_blocks(blocks)
        assert any(path[: len(chain)] == chain for path in self.paths), "the whole chain, in runs"
        assert start < len(chain)
        self.spilled += reversed(chain[start:])

    def path(self, data: st.DataObject) -> list[int]:
        return data.draw(st.sampled_from(self.paths), label="path")

    @rule(data=st.data(), new=st.integers(0, 12))
    def admit(self, data: st.DataObject, new: int) -> None:
        path = self.path(data)
        blocks = to_runs(path)
        match = self.cache.match(blocks)
        hit = data.draw(st.just(match) | st.integers(0, match), label="hit")
        assert self.cache.available(blocks, hit) == self.oracle.available(path, hit)
        done = self.cache.admit(blocks, hit, new)
        assert done == self.oracle.admit(path, hit, new)
        if done:
            self.running.append([path, hit, new])

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.running), label="sequence")
        path, pinned, private = sequence
        most = min(len(path), pinned + private)
        upto = data.draw(st.just(most) | st.integers(pinned, most), label="upto")
        known = data.draw(st.integers(upto, len(path)), label="known")
        consumed = self.cache.commit(to_runs(path[:known]), pinned, upto)
        assert consumed == upto - pinned
        self.oracle.commit(path, pinned, upto)
        sequence[1:] = [upto, private - consumed]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), new=st.integers(0, 5))
    def grow(self, data: st.DataObject, new: int) -> None:
        sequence = data.draw(st.sampled_from(self.running), label="sequence")
        done = self.cache.grow(new)
        assert done == self.oracle.admit([], 0, new)
        if done:
            sequence[2] += new

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.running) - 1), label="sequence")
        path, pinned, private = self.running.pop(at)
        known = data.draw(st.integers(pinned, len(path)), label="known")
        self.cache.release(to_runs(path[:known]), pinned, private, self.oracle.now_s)
        self.oracle.release(path, pinned, private)

    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        path = self.path(data)
        assert self.cache.touch(to_runs(path), self.oracle.now_s) == self.oracle.touch(path)

    @rule(seconds=st.integers(0, 4))
    def wait(self, seconds: int) -> None:
        self.oracle.now_s += seconds
        assert self.cache.expire(self.oracle.now_s) == self.oracle.expire()

    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        path = self.path(data)
        upto = data.draw(st.integers(0, len(path)), label="upto")
        assert self.cache.hold(to_runs(path), upto) == self.oracle.hold(path, upto)

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "cache"):
            return
        cache, oracle = self.cache, self.oracle
        check_invariants(cache)
        assert self.spilled == oracle.evicted
        assert (cache.used, cache.private) == (oracle.used, oracle.private)
        assert cache.evictable == len(oracle.idle)
        assert [cache.match(to_runs(p)) for p in self.paths] == [
            oracle.match(p) for p in self.paths
        ]
        assert {f: n for f, n in self.held.items() if n} == {
            first: run.held for first, run in cache._runs.items()
        }
        # The whole order of eviction, not only its next victim.
        order = [
            run.base + i
            for run, s in ((s.run, s) for s in cache._lru)
            for i in reversed(range(s.start, s.stop))
        ]
        depth = {block: i for path in self.paths for i, block in enumerate(path)}
        assert order == [depth[block] for block in oracle.idle]


KVCacheMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAgainstBlockLRU = KVCacheMachine.TestCase


def test_a_chain_loses_its_tail_first() -> None:
    cache = KVCache(10)
    assert cache.touch((1, 6)) == 0
    assert cache.touch((20, 6)) == 0
    assert cache.match((1, 6)) == 4
    assert cache.match((20, 6)) == 6


def test_what_is_pinned_stays_and_a_refused_admission_changes_nothing() -> None:
    cache = KVCache(10)
    assert cache.admit((1, 6), 0, 6)
    assert cache.commit((1, 6), 0, 6) == 6
    cache.touch((20, 4))
    assert (cache.used, cache.pinned, cache.evictable, cache.private) == (10, 6, 4, 0)
    assert not cache.admit((), 0, 5)
    assert not cache.admit((20, 4), 4, 1)
    assert cache.match((20, 4)) == 4
    assert cache.admit((20, 4), 2, 2)
    assert cache.match((20, 4)) == 2
    assert not cache.grow(1)


def test_blocks_committed_by_two_sequences_are_kept_once() -> None:
    cache = KVCache(10)
    assert cache.admit((1, 4), 0, 4)
    assert cache.admit((1, 4), 0, 4)
    assert cache.used == 8
    assert cache.commit((1, 4), 0, 4) == 4
    assert cache.commit((1, 4), 0, 4) == 4
    assert (cache.used, cache.pinned, cache.private) == (4, 4, 0)
    cache.release((1, 4), 4, 0)
    assert (cache.pinned, cache.evictable) == (4, 0)
    cache.release((1, 4), 4, 0)
    assert (cache.pinned, cache.evictable) == (0, 4)


def test_two_sequences_that_computed_the_same_runs_each_pin_them_once() -> None:
    cache = KVCache(20)
    blocks = (1, 2, 10, 3, 20, 4)
    cache.touch((1, 2))
    assert cache.admit(blocks, 2, 7)
    assert cache.admit(blocks, 2, 7)
    cache.commit(blocks, 2, 9)
    cache.commit(blocks, 2, 9)
    assert (cache.pinned, cache.private) == (9, 0)
    cache.release(blocks, 9, 0)
    cache.release(blocks, 9, 0)
    assert (cache.pinned, cache.evictable) == (0, 9)
    check_invariants(cache)


def test_a_sequence_that_pinned_less_than_is_present_releases_as_much() -> None:
    cache = KVCache(20)
    blocks = (1, 2, 10, 3, 20, 4)
    cache.touch(blocks)
    assert cache.available(blocks, 2) == 18
    assert cache.admit(blocks, 2, 0)
    assert (cache.pinned, cache.evictable) == (2, 7)
    cache.release(blocks, 2, 0)
    assert (cache.pinned, cache.evictable) == (0, 9)
    check_invariants(cache)


def test_a_prompt_without_shareable_blocks_is_private() -> None:
    cache = KVCache(sys.maxsize)
    assert cache.match(()) == cache.touch(()) == 0
    assert cache.admit((), 0, 7)
    assert cache.grow(1)
    cache.release((), 0, 8)
    assert cache.used == 0


def test_the_answer_is_cached_for_the_next_turn() -> None:
    cache = KVCache(100)
    cache.admit((1, 4), 0, 5)
    assert cache.commit((1, 4), 0, 4) == 4
    assert cache.grow(1)
    assert cache.commit((1, 6), 4, 6) == 2
    cache.release((1, 6), 6, 0)
    assert cache.match((1, 9)) == 6


def test_idle_blocks_expire_and_used_ones_do_not() -> None:
    """Time to live 10 s. (1, 6) is idle from 0 s, (20, 4) from 5 s, (1, 2) in use until 12 s."""
    evicted: list[tuple[tuple[int, ...], int]] = []
    cache = KVCache(20, ttl_s=10.0, spill=lambda blocks, start: evicted.append((blocks, start)))
    cache.touch((1, 6), 0.0)
    cache.touch((20, 4), 5.0)
    assert cache.admit((1, 6), 2, 0)
    assert cache.expire(10.0) == 0
    assert cache.expire(10.5) == 4
    assert (cache.match((1, 6)), cache.match((20, 4))) == (2, 4)
    cache.release((1, 2), 2, 0, 12.0)
    assert cache.expire(15.5) == 4
    assert cache.expire(22.0) == 0
    assert cache.expire(22.5) == 2
    assert (cache.used, evicted) == (0, [])


def test_without_a_time_to_live_nothing_expires() -> None:
    cache = KVCache(20)
    cache.touch((1, 6))
    assert cache.expire(1e12) == 0


def test_a_system_prompt_is_kept_for_ever_up_to_a_share_of_the_cache() -> None:
    cache = KVCache(10, most_kept=3)
    assert cache.hold((1, 4), 4) == 0
    cache.touch((1, 4, 50, 6))
    assert cache.hold((1, 4, 50, 6), 4) == 3
    assert cache.hold((1, 4)) == 3
    assert cache.hold((1, 2, 70, 5), 2) == 2
    assert (cache.kept, cache.pinned, cache.evictable) == (3, 3, 7)
    cache.touch((80, 9))
    assert cache.match((1, 4)) == 3
    assert cache.match((80, 9)) == 7
    assert not cache.admit((), 0, 8)
    assert cache.admit((), 0, 7)


def test_eviction_reports_the_chain_of_what_it_takes() -> None:
    spilled: list[tuple[tuple[int, ...], int]] = []
    cache = KVCache(10, spill=lambda blocks, start: spilled.append((blocks, start)))
    cache.touch((1, 4, 50, 3))
    cache.touch((1, 2, 80, 3))
    cache.grow(2)
    assert spilled == [((1, 4, 50, 3), 5)]
    cache.grow(4)
    assert spilled[1:] == [((1, 4, 50, 1), 4), ((1, 4), 2), ((1, 2, 80, 3), 4)]


def test_a_negative_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match=r"capacity_blocks must be >= 0, got -1"):
        KVCache(-1)


def test_the_eviction_queue_stays_in_proportion_to_what_is_cached() -> None:
    cache = KVCache(sys.maxsize)
    for _ in range(5_000):
        cache.touch((1, 10))
        cache.touch((1, 5, 30, 5))
    assert len(cache._lru) < 1_000
    check_invariants(cache)


# Reference figures: shared/data/README.md states their conventions.


NO_DATA = "measured data not present (../shared/data)"


def data(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(NO_DATA)
    return path


def references(name: str, label: str, **columns: str) -> list[ParameterSet]:
    """Rows of a reference file whose columns have the given values, named after `label`."""
    path = DATA / "kv_cache" / name
    if not path.exists():
        return [pytest.param({}, marks=pytest.mark.skip(reason=NO_DATA))]
    with path.open() as lines:
        return [
            pytest.param(row, id=label.format(**row))
            for row in csv.DictReader(lines)
            if all(row[column] == value for column, value in columns.items())
        ]


def conversation_references(routing: str, **columns: str) -> list[ParameterSet]:
    return references(
        "lru_reference_conversation.csv",
        "{workers}x{capacity_blocks_per_worker}",
        policy="lru_tail_first",
        routing=routing,
        **columns,
    )


def blocks_of(capacity: str) -> int:
    return sys.maxsize if capacity == "inf" else int(float(capacity))


@pytest.fixture(scope="module")
def conversation() -> list[tuple[tuple[int, ...], int, int]]:
    """Prompts of the trace: runs, blocks, tokens."""
    prompts = []
    with gzip.open(data("traces/mooncake_conversation.jsonl.gz"), "rt") as lines:
        for line in lines:
            row = json.loads(line)
            prompts.append((to_runs(row["hash_ids"]), len(row["hash_ids"]), row["input_length"]))
    return prompts


def replay(
    conversation: list[tuple[tuple[int, ...], int, int]], row: dict[str, str]
) -> dict[str, float]:
    workers = int(row["workers"])
    index = PrefixIndex(workers)
    capacity = blocks_of(row["capacity_blocks_per_worker"])
    caches = [KVCache(capacity, index.listener(slot)) for slot in range(workers)]
    hit_blocks = hit_tokens = 0
    load = [0] * workers
    for i, (blocks, count, tokens) in enumerate(conversation):
        slot = i % workers
        if row["routing"] == "longest_prefix":
            held = index.match(blocks)
            slot = min(held, key=lambda s: (-held[s], s), default=0)
        hit = caches[slot].touch(blocks)
        hit_blocks += hit
        hit_tokens += min(hit * 512, tokens)
        load[slot] += count
    total = sum(load)
    return {
        "hit_block_ratio": hit_blocks / total,
        "hit_token_ratio": hit_tokens / sum(tokens for _, _, tokens in conversation),
        "imbalance_prompt": max(load) * workers / total,
    }


@pytest.mark.parametrize("row", conversation_references("none"))
def test_hit_ratios_of_one_cache_equal_the_reference(
    conversation: list[tuple[tuple[int, ...], int, int]], row: dict[str, str]
) -> None:
    got = replay(conversation, row)
    for column in ("hit_block_ratio", "hit_token_ratio"):
        assert got[column] == pytest.approx(float(row[column]), abs=1e-6)


@pytest.mark.parametrize("row", conversation_references("round_robin"))
def test_hit_ratios_under_round_robin_equal_the_reference(
    conversation: list[tuple[tuple[int, ...], int, int]], row: dict[str, str]
) -> None:
    got = replay(conversation, row)
    assert got["hit_block_ratio"] == pytest.approx(float(row["hit_block_ratio"]), abs=1e-6)
    assert got["imbalance_prompt"] == pytest.approx(float(row["imbalance_prompt"]), abs=1e-3)


@pytest.mark.parametrize("row", conversation_references("longest_prefix", workers="16"))
def test_longest_prefix_sends_everything_to_one_cache(
    conversation: list[tuple[tuple[int, ...], int, int]], row: dict[str, str]
) -> None:
    got = replay(conversation, row)
    assert got["hit_block_ratio"] == pytest.approx(float(row["hit_block_ratio"]), abs=1e-6)
    assert got["imbalance_prompt"] == float(row["workers"])


@pytest.fixture(scope="module")
def agentic() -> list[tuple[int, ...]]:
    """Prompts of the first 200 sessions by file order, in order of arrival.

    One session starts every 60 s and its requests come at their recorded times. The reference
    leaves subagents out, whose blocks number 91,988 of 22,992,756.
    """
    table = pq.read_table(
        data("traces/agentic_sessions.parquet"),
        columns=["session_id", "t_s", "subagent_depth", "hash_runs"],
    ).to_pydict()
    arrivals = []
    number: dict[str, int] = {}
    for i, session in enumerate(table["session_id"]):
        at = number.setdefault(session, len(number))
        if at < 200 and table["subagent_depth"][i] == 0:
            runs = table["hash_runs"][i]
            # Block ids are local to a session.
            blocks = tuple(x if j % 2 else x + at * 10**7 for j, x in enumerate(runs))
            arrivals.append((at * 60 + table["t_s"][i], i, blocks))
    return [blocks for _, _, blocks in sorted(arrivals)]


@pytest.mark.parametrize("row", references("lru_reference_agentic.csv", "{capacity_tokens} tokens"))
def test_hit_ratios_of_coding_agents_equal_the_reference(
    agentic: list[tuple[int, ...]], row: dict[str, str]
) -> None:
    capacity = row["capacity_tokens"].replace("M", "e6")
    size = int(row["block_size"])
    cache = KVCache(sys.maxsize if capacity == "inf" else int(float(capacity)) // size)
    total = sum(sum(blocks[1::2]) for blocks in agentic)
    assert (len(agentic), total) == (int(row["requests"]), int(row["prompt_blocks"]))
    hit = sum(map(cache.touch, agentic))
    assert hit / total == pytest.approx(float(row["hit_block_ratio"]), abs=1e-6)
