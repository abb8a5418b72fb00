"""Hit ratio against cache size and router, without step times.

Prompts go through the real parts of a deployment: a router, one `KVCache` per worker and the
`PrefixIndex` that the caches report to. What is left out is time inside a worker: a prompt is
computed and shared at the instant it arrives, nothing is pinned while it runs, and answers are not
cached. So this is the hit ratio that memory and routing alone allow; a whole simulation has less of
it where prompts of one moment share a prefix that none has computed yet, and more where answers
become the next turn's prompt.

Conventions (those of the public `kvcache-simulator`, 2026): a hit is the longest run of leading
blocks present; the whole prompt is inserted at arrival, of one larger than the cache the leading
blocks that fit; eviction takes the least recently used prompt's last blocks first.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from factory.errors import InputError
from factory.scenario.routing import Router as RouterSection
from factory.serving.delayed_index import DelayedIndex
from factory.serving.kv_cache import KVCache
from factory.serving.prefix_index import PrefixIndex
from factory.serving.routers import (
    REJECT,
    Ask,
    Router,
    Surroundings,
    build,
    drawer,
    event_index,
    uniform_from,
)
from factory.serving.routers.protocol import Index
from factory.serving.slots import Slots
from factory.statistics import stream
from factory.studies.nominal_load import COPY_SPEED, LoadedSlots, NominalLoad

RouterMaker = Callable[[Surroundings], Router]
"""Makes a router for a pool, as `factory.serving.routers.build` does for a scenario's section."""


@dataclass(frozen=True, slots=True)
class CachePoint:
    """What one design reached on all prompts.

    Attributes:
        router: Name of the router; `none` if there was none.
        workers: Workers, each with a cache of its own.
        capacity_blocks: Blocks of all caches together, as asked for; None without a bound.
        requests: Requests served.
        rejected_requests: Requests that the router turned away; they count nowhere else.
        prompt_blocks: Blocks of the prompts.
        hit_blocks: Of these, the leading blocks that were there already.
        copied_blocks: Of those, the blocks that the router had copied from another worker.
        prompt_tokens: Tokens of the prompts.
        hit_tokens: Of these, the tokens in blocks that were hit.
        imbalance_prompt: Prompt blocks of the worker that got most, over the mean of all workers.
        imbalance_miss: The same for the blocks that had to be computed.
    """

    router: str
    workers: int
    capacity_blocks: int | None
    requests: int
    rejected_requests: int
    prompt_blocks: int
    hit_blocks: int
    copied_blocks: int
    prompt_tokens: int
    hit_tokens: int
    imbalance_prompt: float
    imbalance_miss: float

    @property
    def capacity_blocks_per_worker(self) -> int | None:
        """Blocks of each worker's cache; None without a bound."""
        return None if self.capacity_blocks is None else self.capacity_blocks // self.workers

    @property
    def hit_block_ratio(self) -> float:
        """Share of the prompts' blocks that were hit."""
        return self.hit_blocks / self.prompt_blocks if self.prompt_blocks else 0.0

    @property
    def hit_token_ratio(self) -> float:
        """Share of the prompts' tokens that were hit."""
        return self.hit_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def cache_study(
    prompts: Sequence[Ask],
    capacities: Iterable[int | None],
    workers: int = 1,
    router: RouterSection | RouterMaker | None = None,
    *,
    block_size: int,
    name: str = "",
    load: NominalLoad | None = None,
    seed: int = 0,
) -> list[CachePoint]:
    """Sends every prompt to a worker's cache, once for each capacity.

    Costs O(runs of blocks) per prompt and capacity, and what the router costs.

    Args:
        prompts: By arrival (`factory.studies.prompts` reads them from traces).
        capacities: Blocks of all workers together, shared out evenly, a remainder left out; None
            for no bound.
        workers: Workers, each with a cache of its own.
        router: A scenario's router section or a function that makes a router; a new router is made
            for each capacity. None for a single worker.
        block_size: Tokens per block of the prompts.
        name: Name of the router in the results; by default the section's policy.
        load: What a router sees of the load; by default `NominalLoad()`.
        seed: Root of the router's random stream, the same for each capacity.

    Returns:
        One point for each capacity, in the order given.

    Raises:
        InputError: There are no workers, several and no router, a capacity below one block for
            each, or prompts that name no blocks.
    """
    if workers < 1:
        raise InputError(f"workers: must be >= 1, got {workers}")
    if router is None and workers > 1:
        raise InputError(f"router: is missing; {workers} workers need one")
    sizes = [sum(ask.blocks[1::2]) for ask in prompts]
    if not any(sizes):
        raise InputError("prompts: name no blocks, so nothing can hit a cache")
    study = _Study(prompts, sizes, workers, block_size, load or NominalLoad(), seed)
    label = name or _name_of(router)
    points = []
    for capacity in capacities:
        if capacity is not None and capacity < workers:
            raise InputError(
                f"capacity: must be at least one block for each of {workers} "
                f"worker{'s' * (workers > 1)}, got {capacity} of {block_size} tokens in all"
            )
        points.append(study.point(capacity, router, label))
    return points


def _name_of(router: RouterSection | RouterMaker | None) -> str:
    if router is None:
        return "none"
    if isinstance(router, RouterSection):
        return router.policy
    return getattr(router, "__name__", type(router).__name__)


class _Study:
    """Prompts and workers; a point of the study at a time."""

    def __init__(
        self,
        prompts: Sequence[Ask],
        sizes: Sequence[int],
        workers: int,
        block_size: int,
        load: NominalLoad,
        seed: int,
    ) -> None:
        self._prompts = prompts
        self._sizes = sizes
        self._workers = workers
        self._block = block_size
        self._load = load
        self._seed = seed
        mean_tokens = sum(ask.input_tokens for ask in prompts) / len(prompts)
        self._s_per_token = load.prefill_s / mean_tokens
        self._tenants = 1 + max(ask.tenant for ask in prompts)

    def point(
        self, capacity: int | None, router: RouterSection | RouterMaker | None, name: str
    ) -> CachePoint:
        workers, size = self._workers, self._block
        blocks_each = sys.maxsize if capacity is None else capacity // workers
        slots = Slots(workers, sys.maxsize if capacity is None else blocks_each * size)
        loaded = LoadedSlots(slots, self._load)
        index = _index(router, workers, lambda: loaded.now_s)
        caches = [
            KVCache(blocks_each, index.listener(slot) if index else None) for slot in range(workers)
        ]
        made = self._router(router, index or PrefixIndex(workers))
        prompt_blocks, missed_blocks = [0] * workers, [0] * workers
        requests = copied = prompt_tokens = hit_tokens = slot = 0
        for ask, count in zip(self._prompts, self._sizes, strict=True):
            ask.copy_from = None
            if made is not None:
                loaded.advance(ask.now_s)
                slot = made.choose(ask, slots)
                if slot == REJECT:
                    continue
            there = _at_source(ask, caches)
            hit = caches[slot].touch(ask.blocks)
            if there > hit:
                copied += there - hit
                hit = there
            tokens = min(hit * size, ask.input_tokens)
            requests += 1
            prompt_blocks[slot] += count
            missed_blocks[slot] += count - hit
            prompt_tokens += ask.input_tokens
            hit_tokens += tokens
            if made is not None:
                loaded.enter(slot, ask.input_tokens, ask.input_tokens - tokens)
        return CachePoint(
            router=name,
            workers=workers,
            capacity_blocks=capacity,
            requests=requests,
            rejected_requests=len(self._prompts) - requests,
            prompt_blocks=sum(prompt_blocks),
            hit_blocks=sum(prompt_blocks) - sum(missed_blocks),
            copied_blocks=copied,
            prompt_tokens=prompt_tokens,
            hit_tokens=hit_tokens,
            imbalance_prompt=_imbalance(prompt_blocks),
            imbalance_miss=_imbalance(missed_blocks),
        )

    def _router(self, router: RouterSection | RouterMaker | None, index: Index) -> Router | None:
        if router is None:
            return None
        uniform = uniform_from(stream(self._seed, 0, "studies/cache_study/router"))
        s_per_token = self._s_per_token
        around = Surroundings(
            slots=self._workers,
            block_size=self._block,
            draw=drawer(uniform),
            uniform=uniform,
            index=index,
            prefill_s=lambda new_tokens, _cached_tokens: new_tokens * s_per_token,
            transfer_s=lambda tokens: tokens * s_per_token / COPY_SPEED,
            headroom=lambda _rack: 1.0,
            ttft_limits_s=(math.inf,) * self._tenants,
        )
        return build(router, around) if isinstance(router, RouterSection) else router(around)


def _index(
    router: RouterSection | RouterMaker | None, workers: int, clock: Callable[[], float]
) -> PrefixIndex | DelayedIndex | None:
    """What the caches report to; None where nobody asks."""
    if router is None:
        return None
    if isinstance(router, RouterSection):
        return event_index(router, workers, clock)
    return PrefixIndex(workers)


def _at_source(ask: Ask, caches: Sequence[KVCache]) -> int:
    """Leading blocks of a prompt that its router wants copied, and that are still there."""
    if ask.copy_from is None:
        return 0
    source, most = ask.copy_from
    return min(most, caches[source].match(ask.blocks))


def _imbalance(of_workers: Sequence[int]) -> float:
    """The largest over the mean; 1 where there is nothing."""
    total = sum(of_workers)
    return max(of_workers) * len(of_workers) / total if total else 1.0
