"""Reuse distances of blocks, and so the hit ratio of a prefix cache at every size at once.

A block's *stack distance* is how many distinct blocks were used since its last use, itself
included (Mattson et al. 1970): a least-recently-used cache of C blocks hits exactly the references
whose distance is at most C. Prompts use their blocks at one instant, the first block counting as
the most recent, which is the convention of `factory.studies.cache_study`: a hit is the longest run
of leading blocks present, the whole prompt is inserted at arrival, the tail of the least recently
used prompt leaves first.

Because blocks are chained (`factory.workload.blocks`), the blocks last used by one prompt are its
tail. The stack is a list of tails, and a prompt moves O(runs) of them, not O(blocks): a Fenwick
tree over prompts sums the tails that are more recent.

Exact while at most `most_runs` runs are held. Beyond, whole runs are sampled by a hash of their
first block (SHARDS with a bounded number of samples: Waldspurger et al., FAST 2015): the rate
halves whenever the bound is met, distances and counts are scaled by it, and what the sample misses
of the references, known exactly, counts at the smallest distance (SHARDS-adj).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.workload.blocks import Runs

Floats = NDArray[np.float64]

#: Runs held before sampling begins; each takes about 250 bytes.
MOST_RUNS = 500_000

_HASH_BITS = 24
_MASK = (1 << 64) - 1
_FLUSH = 1 << 16
_FEWEST_SLOTS = 1 << 12


@dataclass(frozen=True, slots=True)
class ReuseCurve:
    """Hits of one least-recently-used cache by its size.

    Attributes:
        block_size: Tokens per block.
        requests: Prompts seen.
        blocks: Blocks of the prompts, each as often as it was used.
        tokens: Tokens of the prompts.
        distinct_blocks: Blocks used at least once; an estimate where `rate` < 1.
        rate: Share of the runs that the curve rests on at the end; 1 where it is exact.
        capacities: Cache sizes, blocks, ascending, shape (n,).
        hit_blocks: Blocks hit at each of them; exact there where `rate` is 1.
        hit_tokens: Tokens of those blocks.
    """

    block_size: int
    requests: int
    blocks: int
    tokens: int
    distinct_blocks: float
    rate: float
    capacities: Floats
    hit_blocks: Floats
    hit_tokens: Floats

    @property
    def ideal_block_ratio(self) -> float:
        """Share of the blocks that a cache without bound hits."""
        return float(self.hit_blocks[-1]) / self.blocks if self.blocks else 0.0

    @property
    def ideal_token_ratio(self) -> float:
        """Share of the prompt tokens that a cache without bound hits."""
        return float(self.hit_tokens[-1]) / self.tokens if self.tokens else 0.0

    def block_ratio(self, capacity: float) -> float:
        """Share of blocks hit with so many blocks of cache, linear between known sizes."""
        hits = float(np.interp(capacity, self.capacities, self.hit_blocks))
        return hits / self.blocks if self.blocks else 0.0

    def token_ratio(self, capacity: float) -> float:
        """Share of prompt tokens hit with so many blocks of cache."""
        hits = float(np.interp(capacity, self.capacities, self.hit_tokens))
        return hits / self.tokens if self.tokens else 0.0


class ReuseDistances:
    """Takes prompts in order of arrival; memory is bounded by `most_runs`.

    Args:
        block_size: Tokens per block.
        most_runs: Runs held before sampling begins.
        sizes: Cache sizes, blocks, at which the curve is to be exact, beside those of its grid:
            all up to 256, from there on 32 for each doubling.
    """

    __slots__ = ("_before", "_clock", "_cold", "_deficits", "_held", "_live", "_most", "_seen",
                 "_sizes", "_stacks", "_tallies", "_threshold", "_tree", "block_size", "blocks",
                 "requests", "tokens")  # fmt: skip

    def __init__(
        self, block_size: int, most_runs: int = MOST_RUNS, sizes: Sequence[int] = ()
    ) -> None:
        self.requests = 0
        self.blocks = 0
        self.tokens = 0
        self.block_size = block_size
        self._most = most_runs
        self._threshold = 1 << _HASH_BITS
        # First block of a run → its tails, flattened (end, prompt), the leading one last: blocks
        # up to `end` and from the end of the one behind it were last used by that prompt.
        self._stacks: dict[int, list[int]] = {}
        self._held = 0  # tails in all stacks
        self._clock = 0  # prompts of the tree in use
        self._live = 0  # blocks in the stack
        self._sizes = [0] * _FEWEST_SLOTS  # blocks last used by each prompt
        self._tree = [0] * (_FEWEST_SLOTS + 1)
        self._cold = 0.0
        self._seen = 0.0  # references that the sample stands for
        self._before: list[tuple[float, float, float]] = []  # (distance of the first, blocks, w)
        self._deficits: list[tuple[float, float]] = []  # (distance, tokens that are not there)
        self._tallies = _Tallies(sizes)

    @property
    def rate(self) -> float:
        """Share of the runs that are sampled now."""
        return self._threshold / (1 << _HASH_BITS)

    def add(self, runs: Runs, input_tokens: int) -> int:
        """Takes the next prompt in: O(runs · log prompts).

        Args:
            runs: Its blocks, chained (`factory.workload.blocks`).
            input_tokens: Its tokens; where its blocks name more, the last is partial.

        Returns:
            Its leading blocks that were used before; of the sampled ones, once `rate` is below 1.
        """
        if self._clock == len(self._sizes):
            self._renumber()
        prompt = self._clock
        self._clock += 1
        self.requests += 1
        self.tokens += input_tokens
        is_exact = self._threshold == 1 << _HASH_BITS
        weight = 1.0 if is_exact else 1.0 / self.rate
        pieces: list[tuple[int, int]] = []
        named = sampled = fresh = 0
        is_last_hit = False
        for i in range(0, len(runs), 2):
            first, count = runs[i], runs[i + 1]
            named += count
            is_last_hit = False
            if is_exact or _hash(first) < self._threshold:
                found = self._use(first, count, prompt, pieces)
                sampled += count
                fresh += count - found
                is_last_hit = found == count
        self.blocks += named
        self._seen += sampled * weight
        self._cold += fresh * weight
        distance = self._distances(pieces, weight)
        partial = named * self.block_size - input_tokens
        if partial > 0 and is_last_hit:
            self._deficits.append((distance, partial * weight))
        for owner, taken in pieces:
            self._change(owner, -taken)
        if sampled:
            self._change(prompt, sampled)
        self._live += fresh
        if len(self._before) >= _FLUSH:
            self._flush()
        while self._held > self._most and self._threshold > 1:
            self._sample_less()
        return sampled - fresh

    def curve(self) -> ReuseCurve:
        """Returns the hits by cache size, up to the size that hits all there is to hit."""
        self._flush()
        sizes, blocks, deficit = self._tallies.hits()
        # What the sample misses of the references is at the smallest distance: hot runs.
        missed = self.blocks - self._seen
        hits = np.maximum(blocks + np.where(sizes >= 1, missed, 0.0), 0.0)
        hits = np.minimum(np.maximum.accumulate(hits), self.blocks)
        tokens = np.minimum(np.maximum(hits * self.block_size - deficit, 0.0), self.tokens)
        seen = (self.block_size, self.requests, self.blocks, self.tokens)
        return ReuseCurve(*seen, self._cold, self.rate, sizes, hits, tokens)

    def _use(self, first: int, count: int, prompt: int, pieces: list[tuple[int, int]]) -> int:
        """Makes the prompt the last user of a run; returns how many blocks had been used before."""
        stack = self._stacks.get(first)
        if stack is None:
            self._stacks[first] = [count, prompt]
            self._held += 1
            return 0
        start = 0
        while stack:
            end, owner = stack[-2], stack[-1]
            taken = min(end, count) - start
            pieces.append((owner, taken))
            start += taken
            if end > count:
                break
            del stack[-2:]
            self._held -= 1
            if end == count:
                break
        stack += (count, prompt)
        self._held += 1
        return start

    def _distances(self, pieces: list[tuple[int, int]], weight: float) -> float:
        """Notes the distances of blocks used again; returns that of the last one."""
        recent, last, last_distance = 0, -1, 0.0
        for owner, taken in pieces:
            if owner != last:
                recent = self._live - self._sum(owner)
                last = owner
            distance = recent * weight + 1
            self._before.append((distance, float(taken), weight))
            last_distance = distance + taken - 1
            recent += taken
        return last_distance

    def _sum(self, prompt: int) -> int:
        """Blocks last used by prompts up to this one."""
        tree, total, i = self._tree, 0, prompt + 1
        while i:
            total += tree[i]
            i &= i - 1
        return total

    def _change(self, prompt: int, blocks: int) -> None:
        self._sizes[prompt] += blocks
        tree, i, n = self._tree, prompt + 1, len(self._tree)
        while i < n:
            tree[i] += blocks
            i += i & -i

    def _renumber(self) -> None:
        """Numbers the prompts that still have blocks in the stack from 0 on."""
        kept = [p for p, size in enumerate(self._sizes) if size]
        number = {p: i for i, p in enumerate(kept)}
        for stack in self._stacks.values():
            stack[1::2] = [number[p] for p in stack[1::2]]
        # Few enough renumberings that their cost, O(runs held), is spread thin.
        slots = max(_FEWEST_SLOTS, 2 * len(kept), self._held // 4)
        self._sizes = [self._sizes[p] for p in kept] + [0] * (slots - len(kept))
        self._clock = len(kept)
        self._plant()

    def _plant(self) -> None:
        """Builds the tree from the sizes, in O(prompts)."""
        n = len(self._sizes)
        tree = [0, *self._sizes]
        for i in range(1, n + 1):
            parent = i + (i & -i)
            if parent <= n:
                tree[parent] += tree[i]
        self._tree = tree

    def _sample_less(self) -> None:
        """Halves the sampling rate and forgets the runs that fall out."""
        self._threshold >>= 1
        gone = [first for first in self._stacks if _hash(first) >= self._threshold]
        for first in gone:
            stack = self._stacks.pop(first)
            self._held -= len(stack) // 2
            start = 0
            for i in range(len(stack) - 2, -1, -2):
                self._sizes[stack[i + 1]] -= stack[i] - start
                self._live -= stack[i] - start
                start = stack[i]
        self._plant()

    def _flush(self) -> None:
        self._tallies.add(self._before, self._deficits)
        self._before.clear()
        self._deficits.clear()


class _Tallies:
    """Ranges of distances, kept so that hits at the sizes of a grid are exact.

    A range of n distances from d on hits min(max(C − d + 1, 0), n) times in a cache of C blocks:
    (C − d + 1)⁺ − (C − d − n + 1)⁺. So the number and the sum of the ends in each cell of the grid
    are enough.
    """

    __slots__ = ("_counts", "_missing", "_sums", "grid", "largest")

    def __init__(self, sizes: Sequence[int]) -> None:
        steps = np.arange(8 * 32, 42 * 32) / 32
        self.grid: Floats = np.unique(
            np.concatenate((np.arange(1, 257), np.floor(2.0**steps), np.array(sizes, np.float64)))
        )
        n = len(self.grid) + 1
        self._counts = np.zeros(n)
        self._sums = np.zeros(n)
        self._missing = np.zeros(n)
        self.largest = 0.0

    def add(
        self,
        ranges: Sequence[tuple[float, float, float]],
        deficits: Sequence[tuple[float, float]],
    ) -> None:
        """Takes (first distance, distances, weight) and (distance, tokens) in."""
        n = len(self._counts)
        if ranges:
            first, count, weight = np.array(ranges).T
            for ends, sign in ((first, weight), (first + count, -weight)):
                cell = np.searchsorted(self.grid, ends, side="left")
                self._counts += np.bincount(cell, sign, n)
                self._sums += np.bincount(cell, sign * ends, n)
            self.largest = max(self.largest, float((first + count).max()) - 1)
        if deficits:
            distance, tokens = np.array(deficits).T
            cell = np.searchsorted(self.grid, distance, side="left")
            self._missing += np.bincount(cell, tokens, n)

    def hits(self) -> tuple[Floats, Floats, Floats]:
        """Returns cache sizes from 0 on, the blocks each hits and the tokens that those lack."""
        counts, sums = np.cumsum(self._counts[:-1]), np.cumsum(self._sums[:-1])
        blocks = (self.grid + 1) * counts - sums
        missing = np.cumsum(self._missing[:-1])
        # From the largest distance on nothing more is hit, so the next size of the grid says all.
        last = int(np.searchsorted(self.grid, self.largest))
        sizes = np.append(self.grid[:last], max(self.largest, 1.0))
        zero = np.zeros(1)
        return (
            np.concatenate((zero, sizes)),
            np.concatenate((zero, blocks[: last + 1])),
            np.concatenate((zero, missing[: last + 1])),
        )


def _hash(block: int) -> int:
    """A block's place in the sample, 0 to 2^24 (the finalizer of MurmurHash3)."""
    x = block & _MASK
    x = ((x ^ (x >> 33)) * 0xFF51AFD7ED558CCD) & _MASK
    x = ((x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53) & _MASK
    return x >> (64 - _HASH_BITS)
