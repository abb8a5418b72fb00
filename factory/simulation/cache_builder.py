"""Assembly of a pool's KV caches: the tiers below them, and who hears what they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from factory.kernel import Kernel
from factory.performance import architecture as arch
from factory.performance.build import layout_of
from factory.performance.kv_layers import kv_layers_per_gpu
from factory.scenario import Catalog, Deployment, Pool
from factory.scenario.kv_cache import KvCache, Tier
from factory.serving.kv_cache import KVCache, PrefixListener
from factory.serving.prefix_index import PrefixIndex
from factory.serving.residency import fetched
from factory.serving.routers import Index, event_index
from factory.serving.sequence import Sequence
from factory.serving.tier_build import DeploymentTiers, PoolTiers, Site, TierGroup
from factory.serving.tier_fetch import Fetch


@dataclass(frozen=True, slots=True)
class PoolCaches:
    """The caches of a pool's ranks, by slot.

    Attributes:
        caches: In GPU memory.
        tiers: Below it; None where there are none.
        index: Which slots hold the start of a prompt, as the pool's router hears of it.
        tier_indexes, tier_kinds: The same for the tiers, in order, and what each is.
        copy_s: Estimate of the seconds to copy the KV of so many tokens from another replica.
    """

    caches: tuple[KVCache, ...]
    tiers: PoolTiers | None
    index: Index
    tier_indexes: tuple[Index, ...]
    tier_kinds: tuple[str, ...]
    copy_s: Callable[[int], float]


@dataclass(frozen=True, slots=True)
class _SlotIndex:
    """Which slots reach a store that holds the start of a prompt, as far as writes have arrived."""

    group: TierGroup
    settle: Callable[[], None]

    def match(self, blocks: tuple[int, ...]) -> dict[int, int]:
        self.settle()
        held = self.group.index.match(blocks)
        if not held:
            return {}
        stores = self.group.store_of
        return {slot: held[store] for slot, store in enumerate(stores) if store in held}

    def held(self, blocks: tuple[int, ...]) -> NDArray[np.int64]:
        found = np.zeros(len(self.group.store_of), dtype=np.int64)
        for slot, blocks_held in self.match(blocks).items():
            found[slot] = blocks_held
        return found


def block_bytes(
    pool: Pool, deployment: Deployment, catalog: Catalog, size: int
) -> tuple[float, float]:
    """Bytes of a KV block of ``size`` tokens: what a store keeps, and what one GPU moves.

    Sliding layers are written as blocks fill, so that a store keeps all layers' (a prompt that ends
    at the block needs its window); a fetch of many blocks moves the last window's alone, which is
    left out: full layers' are what a block adds (llm-d, "Serving Hybrid Models at Scale", 2026).
    Without a hybrid KV cache all layers' are moved.
    """
    model = catalog.models[deployment.model]
    kv_format = deployment.precision.kv_cache
    draft = deployment.speculation is not None
    layers = kv_layers_per_gpu(model, layout_of(pool), kv_format, draft=draft)
    on_gpu = layers.uniform_bytes
    if pool.engine.hybrid_kv_cache:
        on_gpu = layers.full * layers.layer_bytes
    once = arch.kv_bytes_per_token(model, kv_format)
    if draft:
        once += model.mtp_layers * arch.kv_values_per_layer(model) * arch.VALUE_BYTES[kv_format]
    return once * size, on_gpu * size


def build_caches(
    kernel: Kernel,
    catalog: Catalog,
    deployment: Deployment,
    pool: Pool,
    makers: DeploymentTiers,
    capacity_blocks: int,
    size: int,
    prefill_s: Callable[[int, int], float],
    is_caching: bool,
) -> PoolCaches:
    """The caches of a pool.

    Args:
        kernel: The environment.
        catalog: What its names refer to.
        deployment: What it serves.
        pool: What they are of.
        makers: Makes the tiers of the deployment.
        capacity_blocks: Blocks of a rank.
        size: Tokens of a block.
        prefill_s: Estimate of the seconds to prefill (new, cached) tokens.
        is_caching: Whether prompts share blocks at all.
    """
    section = pool.kv_cache
    router = deployment.decode_router if pool.role == "decode" else deployment.router
    dp = pool.parallel.dp
    slots = pool.most_replicas * dp
    heard = event_index(router, slots, lambda: kernel.now) if is_caching else None
    copies = is_caching and router.policy == "min_ttft"
    peers = None
    if copies or (is_caching and any(tier.kind == "peer" for tier in section.tiers)):
        peers = PrefixIndex(slots)
    tiers = None
    if is_caching and (section.tiers or copies):
        once, on_gpu = block_bytes(pool, deployment, catalog, size)
        site = Site(
            tuple(slot // dp for slot in range(slots)),
            size,
            once,
            on_gpu,
            prefill_s,
            _done,
            PrefixIndex(slots) if peers is None else peers,
            copies,
        )
        tiers = makers.pool(section, site)
    caches = []
    for slot in range(slots):
        own = None if tiers is None else tiers.ranks[slot]
        caches.append(
            KVCache(
                capacity_blocks,
                _both(
                    None if heard is None else heard.listener(slot),
                    None if peers is None else peers.listener(slot),
                ),
                ttl_s=section.ttl_s or inf,
                most_kept=int(capacity_blocks * section.pinned_ratio),
                spill=own.spilled if own is not None and own.writes_back else None,
            )
        )
    groups = () if tiers is None else tiers.groups
    return PoolCaches(
        tuple(caches),
        tiers,
        PrefixIndex(slots) if heard is None else heard,
        tuple(_SlotIndex(group, lambda: makers.settle(kernel.now)) for group in groups),
        tuple(group.kind for group in groups),
        _copy_estimate(section, pool, deployment, catalog, size),
    )


def _copy_estimate(
    section: KvCache, pool: Pool, deployment: Deployment, catalog: Catalog, size: int
) -> Callable[[int], float]:
    """Seconds to copy the KV of so many tokens from another replica, as its tiers would alone."""
    if pool.engine.step_model.kind == "fixed":
        return lambda _tokens: 0.0
    stated = [tier for tier in section.tiers if tier.kind == "peer"]
    peer = stated[0] if stated else Tier(kind="peer")
    _, on_gpu = block_bytes(pool, deployment, catalog, size)
    rate = peer.bytes_per_s / (on_gpu / size)
    return lambda tokens: peer.latency_s + tokens / rate


def _done(sequence: Sequence, fetch: Fetch, now_s: float) -> None:
    rank = sequence.decode_rank or sequence.prefill_rank
    assert rank is not None
    fetched(rank, sequence, fetch, now_s)


def _both(first: PrefixListener | None, second: PrefixListener | None) -> PrefixListener | None:
    """A listener that tells two others."""
    if first is None or second is None:
        return first or second

    def report(run: int, before: int, after: int) -> None:
        first(run, before, after)
        second(run, before, after)

    return report
