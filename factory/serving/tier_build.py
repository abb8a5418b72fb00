"""From a scenario's `kv_cache` sections to the tiers of every rank of a deployment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from factory.errors import RunError
from factory.kernel import Kernel
from factory.scenario.kv_cache import KvCache
from factory.scenario.kv_cache import Tier as TierSection
from factory.serving.prefix_index import PrefixIndex
from factory.serving.tier_fetch import (
    KIND_HOST,
    KIND_REMOTE,
    KIND_SSD,
    Fetch,
    Peers,
    Tier,
    TierPolicy,
)
from factory.serving.tier_links import Copies, Link, Path
from factory.serving.tier_store import Lane, Store, Writes
from factory.serving.tiers import Tiers

_KINDS = {"host": KIND_HOST, "ssd": KIND_SSD, "shared": KIND_REMOTE, "peer": KIND_REMOTE}

_BY_NAME = TierSection(kind="peer")
"""The way to peers where only routers name them."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a pool is, as far as its tiers go.

    Attributes:
        replicas: The replica of each slot.
        block_size: Tokens of a KV block.
        block_bytes: Bytes of a KV block, kept once however many GPUs have a copy: what a store
            holds, and what crosses links that a whole store has.
        gpu_block_bytes: Bytes of a KV block on one GPU: what crosses the links of each GPU.
        prefill_s: Estimate of the seconds to prefill (new tokens, cached tokens).
        done: Called as `(sequence, fetch, now_s)` when all of a fetch has arrived.
        index: Which slots of the pool hold the start of a prompt.
        copies_by_router: Whether a router may name a peer to copy from (`Tiers.copy_from`).
    """

    replicas: tuple[int, ...]
    block_size: int
    block_bytes: float
    gpu_block_bytes: float
    prefill_s: Callable[[int, int], float]
    done: Callable[[Any, Fetch, float], None]
    index: PrefixIndex
    copies_by_router: bool = False


@dataclass(frozen=True, slots=True)
class TierGroup:
    """The stores of one tier of a pool.

    Attributes:
        name: Name of the tier.
        kind: Its kind.
        store_of: The number of each slot's store.
        stores: The stores, by number.
        links: The way out of each store that several ranks share.
        index: Which stores hold the start of a prompt.
    """

    name: str
    kind: str
    store_of: tuple[int, ...]
    stores: tuple[Store, ...]
    links: tuple[Link, ...]
    index: PrefixIndex


@dataclass(frozen=True, slots=True)
class PoolTiers:
    """The tiers of a pool.

    Attributes:
        ranks: Those of each slot.
        groups: The stores of each tier that has any, in order.
    """

    ranks: tuple[Tiers, ...]
    groups: tuple[TierGroup, ...]


class DeploymentTiers:
    """Makes the tiers of a deployment's pools; copies of all pools share its one timer.

    Args:
        kernel: The environment.
        owner: Stable id of the timer among those of transfers.
    """

    __slots__ = ("_copies", "_shared", "_writes")

    def __init__(self, kernel: Kernel, owner: int) -> None:
        self._copies = Copies(kernel, owner)
        self._writes = Writes()
        self._shared: dict[str, TierGroup] = {}

    def pool(self, section: KvCache, site: Site) -> PoolTiers:
        """The tiers of a pool; those that the deployment shares are made with its first pool."""
        writes_back = not section.hits_to_write
        groups: list[TierGroup] = []
        # From the last to the first: a store that writes back is made with the one below it.
        for tier in reversed(section.tiers):
            if tier.kind != "peer":
                below = groups[0] if groups and writes_back else None
                groups.insert(0, self._group(tier, site, below))
        peers = _peers(section, site)
        policy = TierPolicy(
            site.block_size,
            site.block_bytes,
            section.hits_to_write,
            section.fetch == "when_faster",
            section.onboarding == "blocking",
            site.prefill_s,
        )
        ranks = tuple(
            Tiers(slot, _of_rank(slot, section, site, groups, peers), policy, self._copies,
                  site.done, peers)
            for slot in range(len(site.replicas))
        )  # fmt: skip
        return PoolTiers(ranks, tuple(groups))

    def settle(self, now_s: float) -> None:
        """Brings the indexes of all stores up to date, before a router reads them."""
        self._writes.settle(now_s)

    def _group(self, tier: TierSection, site: Site, below: TierGroup | None) -> TierGroup:
        slots = len(site.replicas)
        if tier.owner == "deployment" and tier.label in self._shared:
            known = self._shared[tier.label]
            return TierGroup(
                known.name, known.kind, (0,) * slots, known.stores, known.links, known.index
            )
        numbers = (0,) * slots
        if tier.owner == "rank":
            numbers = tuple(range(slots))
        elif tier.owner == "replica":
            order = {replica: n for n, replica in enumerate(dict.fromkeys(site.replicas))}
            numbers = tuple(order[replica] for replica in site.replicas)
        count = max(numbers) + 1
        capacity = tier.blocks(site.block_size, site.block_bytes)
        if not capacity:
            raise RunError(f"tier {tier.label} holds no KV block of {site.block_size} tokens")
        own = tier.bytes_per_s / site.gpu_block_bytes
        if tier.owner != "rank":
            own = tier.shared_bytes_per_s / site.block_bytes
        index = PrefixIndex(count)
        stores = tuple(
            Store(
                capacity,
                Lane(own),
                tier.latency_s,
                self._writes,
                index.listener(number),
                None if below is None else below.stores[below.store_of[numbers.index(number)]],
            )
            for number in range(count)
        )
        links = tuple(Link(own) for _ in range(count)) if tier.owner != "rank" else ()
        group = TierGroup(tier.label, tier.kind, numbers, stores, links, index)
        if tier.owner == "deployment":
            self._shared[tier.label] = group
        return group


def _peers(section: KvCache, site: Site) -> Peers | None:
    stated = [tier for tier in section.tiers if tier.kind == "peer"]
    if not stated and not site.copies_by_router:
        return None
    tier = stated[0] if stated else _BY_NAME
    rate = tier.bytes_per_s / site.gpu_block_bytes
    return Peers(site.index, tuple(Link(rate) for _ in site.replicas), bool(stated))


def _of_rank(
    slot: int, section: KvCache, site: Site, groups: list[TierGroup], peers: Peers | None
) -> tuple[Tier, ...]:
    """The tiers of one rank, with links of its own."""
    tiers: list[Tier] = []
    by_host: Path = ()
    stores = iter(groups)
    sections = list(section.tiers)
    if peers is not None and not peers.searched:
        sections.append(_BY_NAME)
    for tier in sections:
        rate = tier.bytes_per_s / site.gpu_block_bytes
        links: Path = (Link(rate),)
        kind = _KINDS[tier.kind]
        if tier.kind == "peer":
            tiers.append(Tier(tier.label, kind, None, links, None, tier.latency_s))
            continue
        group = next(stores)
        number = group.store_of[slot]
        if group.links:
            links += (group.links[number],)
        lane = Lane(rate) if group.links else None
        store = group.stores[number]
        is_own = tier.owner in ("rank", "replica")
        tiers.append(Tier(tier.label, kind, store, links + by_host, lane, tier.latency_s, is_own))
        if tier.kind == "host":
            by_host = links
    return tuple(tiers)
