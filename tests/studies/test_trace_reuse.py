"""Reuse distances: by hand, against a naive stack of single blocks, and the reference figures."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.studies.cache_study import cache_study
from factory.studies.prompts import read_prompts
from factory.studies.trace_reuse import ReuseCurve, ReuseDistances
from factory.workload.blocks import Runs, chained, merged

SIZE = 100
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def curve_of(prompts: list[Runs], tokens: list[int] | None = None, **options: int) -> ReuseCurve:
    distances = ReuseDistances(SIZE, **options)
    for i, runs in enumerate(prompts):
        distances.add(runs, tokens[i] if tokens else SIZE * sum(runs[1::2]))
    return distances.curve()


class NaiveStack:
    """Every block, the most recent first; a prompt's first block is its most recent."""

    def __init__(self) -> None:
        self.stack: list[int] = []
        self.distances: list[int] = []

    def add(self, runs: Runs) -> None:
        blocks = [b for i in range(0, len(runs), 2) for b in range(runs[i], runs[i] + runs[i + 1])]
        self.distances += [self.stack.index(b) + 1 for b in blocks if b in self.stack]
        self.stack = blocks + [b for b in self.stack if b not in blocks]


def test_distances_by_hand() -> None:
    # Two prompts of two blocks with nothing in common, then the first again. Between a block's uses
    # lie both blocks of the other: the first block is at distance 3, the second at 4.
    curve = curve_of([(0, 2), (10, 2), (0, 2)])
    assert (curve.requests, curve.blocks, curve.tokens) == (3, 6, 600)
    assert curve.distinct_blocks == 4
    assert [curve.block_ratio(c) for c in range(6)] == [0, 0, 0, 1 / 6, 2 / 6, 2 / 6]
    assert curve.ideal_block_ratio == 2 / 6
    assert curve.rate == 1


def test_a_partial_last_block_counts_its_own_tokens() -> None:
    # Prompts of 150 tokens: the second block is half full. Three blocks hit the full one only.
    curve = curve_of([(0, 2), (10, 2), (0, 2)], [150] * 3)
    assert [curve.token_ratio(c) for c in (2, 3, 4)] == [0, 100 / 450, 150 / 450]
    assert curve.ideal_token_ratio == 150 / 450


def test_a_prefix_that_grows_is_used_at_once() -> None:
    # 0 1 | 0 1 2 3 | 0 1 2 3: every block was used by the prompt before, nothing lies between.
    curve = curve_of([(0, 2), (0, 4), (0, 4)])
    assert [curve.block_ratio(c) for c in (1, 2, 3, 4)] == [2 / 10, 4 / 10, 5 / 10, 6 / 10]


def test_prompts_that_name_nothing_hit_nothing() -> None:
    curve = curve_of([(), ()], [50, 50])
    assert (curve.blocks, curve.tokens, curve.distinct_blocks) == (0, 100, 0)
    assert curve.ideal_block_ratio == curve.ideal_token_ratio == curve.block_ratio(10) == 0


@st.composite
def traces(draw: st.DrawFn) -> list[Runs]:
    """Prompts that branch off each other, renamed so that they are chained."""
    made: list[Runs] = []
    for number in range(draw(st.integers(1, 25))):
        parts: list[int] = []
        if made and draw(st.booleans()):
            before = made[draw(st.integers(0, len(made) - 1))]
            left = draw(st.integers(1, sum(before[1::2])))
            for first, count in zip(before[::2], before[1::2], strict=True):
                parts += (first, min(count, left))
                left -= min(count, left)
        own = draw(st.integers(0 if parts else 1, 6))
        made.append(merged([*parts, 1000 * (number + 1), own]))
    return chained(made)


@given(traces())
@settings(max_examples=200, deadline=None)
def test_distances_are_those_of_a_naive_stack(prompts: list[Runs]) -> None:
    naive = NaiveStack()
    for runs in prompts:
        naive.add(runs)
    curve = curve_of(prompts)
    assert curve.distinct_blocks == len(naive.stack)
    found = np.array(naive.distances)
    for capacity in range(max(naive.distances, default=0) + 3):
        expected = int((found <= capacity).sum())
        assert curve.block_ratio(capacity) * curve.blocks == pytest.approx(expected, abs=1e-6)


def test_long_traces_are_renumbered_and_stay_exact() -> None:
    """More prompts than the tree has slots at first, against caches that are really simulated."""
    from factory.serving.routers import Ask

    rng = np.random.default_rng(7)
    raw: list[Runs] = []
    for number in range(9000):
        document = int(min(rng.zipf(1.3), 300))
        keep = int(rng.integers(1, 20))
        raw.append((document * 100, keep, 1_000_000 + number * 10, int(rng.integers(1, 4))))
    prompts = chained(raw)
    curve = curve_of(prompts)
    asks = [Ask(float(i), SIZE * sum(r[1::2]), r, i) for i, r in enumerate(prompts)]
    sizes = [7, 200, 256]
    for point in cache_study(asks, [*sizes, None], block_size=SIZE):
        size = point.capacity_blocks or curve.distinct_blocks
        assert curve.block_ratio(size) == pytest.approx(point.hit_block_ratio, abs=1e-12)


def test_samples_hold_a_bound_and_come_near() -> None:
    rng = np.random.default_rng(3)
    prompts: list[Runs] = [
        (int(document) * 100, int(rng.integers(1, 30)))
        for document in rng.zipf(1.2, 60_000) % 40_000
    ]
    exact = curve_of(prompts)
    distances = ReuseDistances(SIZE, most_runs=4000)
    for runs in prompts:
        distances.add(runs, SIZE * runs[1])
    sampled = distances.curve()
    assert exact.rate == 1
    assert 0 < sampled.rate < 0.5
    assert sum(len(stack) // 2 for stack in distances._stacks.values()) <= 4000
    assert sampled.blocks == exact.blocks
    assert sampled.distinct_blocks == pytest.approx(exact.distinct_blocks, rel=0.1)
    assert sampled.ideal_block_ratio == pytest.approx(exact.ideal_block_ratio, abs=0.02)
    for capacity in (10_000, 50_000, 100_000):
        assert sampled.block_ratio(capacity) == pytest.approx(exact.block_ratio(capacity), abs=0.03)


@pytest.mark.parametrize(
    ("trace", "reference", "options"),
    [
        ("mooncake_conversation.jsonl.gz", "lru_reference_conversation.csv", {}),
        ("agentic_sessions.parquet", "lru_reference_agentic.csv", {"sessions": 200}),
    ],
)
def test_hit_ratios_are_those_of_the_reference(
    trace: str, reference: str, options: dict[str, int]
) -> None:
    if not (DATA / "traces" / trace).exists():
        pytest.skip(f"needs ../shared/data/traces/{trace}, which is not beside this checkout")
    with (DATA / "kv_cache" / reference).open(newline="", encoding="utf-8") as lines:
        rows = [
            row
            for row in csv.DictReader(lines)
            if row.get("policy", "lru_tail_first") == "lru_tail_first"
            and row.get("workers", "1") == "1"
        ]
    assert rows
    prompts = read_prompts(str(DATA / "traces" / trace), **options)  # type: ignore[arg-type]

    def blocks(row: dict[str, str]) -> float:
        if "capacity_blocks_total" in row:
            return float(row["capacity_blocks_total"])
        tokens = float(row["capacity_tokens"].replace("M", "e6"))
        return tokens if tokens == math.inf else tokens // prompts.block_size

    sizes = [int(blocks(row)) for row in rows if blocks(row) < 1e12]
    distances = ReuseDistances(prompts.block_size, sizes=sizes)
    for ask in prompts.asks:
        distances.add(ask.blocks, ask.input_tokens)
    curve = distances.curve()
    for row in rows:
        assert round(curve.block_ratio(blocks(row)), 6) == float(row["hit_block_ratio"])
        if "hit_token_ratio" in row:
            assert round(curve.token_ratio(blocks(row)), 6) == float(row["hit_token_ratio"])
