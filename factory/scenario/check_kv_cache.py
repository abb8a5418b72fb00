"""Checks of a pool's `kv_cache`: tiers that hold something, have a way to them, and an order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from factory.errors import Problem
from factory.scenario.findings import repeated
from factory.scenario.kv_cache import KvCache, SharedBy, Tier, TierKind

_DEPTH: Mapping[TierKind, int] = {"host": 0, "ssd": 1, "shared": 2, "peer": 2}
_WIDTH: Mapping[SharedBy, int] = {"rank": 0, "replica": 1, "pool": 2, "deployment": 3}
_OF_STORES = (
    "capacity_gib", "capacity_tokens", "shared_by", "shared_bandwidth_gb_s",
)  # fmt: skip
_OF_TIERS = ("write", "write_hits", "onboarding", "fetch")


@dataclass(frozen=True, slots=True)
class CacheSetting:
    """What the checks know of the pool around a `kv_cache` section.

    Attributes:
        prefix_caching: Whether its engine keeps KV for later prompts.
        slots: Ranks of the pool, those of all replicas.
        block_size: Tokens of a KV block; None where a trace decides.
        block_bytes: Bytes of a KV block, kept once; None where nothing states them.
        capacity_tokens: KV of one rank, tokens; None where memory decides.
        longest_tokens: Longest prompt and answer that the engine takes; None: the model's.
    """

    prefix_caching: bool = True
    slots: int = 1
    block_size: int | None = None
    block_bytes: float | None = None
    capacity_tokens: int | None = None
    longest_tokens: int | None = None


def kv_cache_problems(path: str, section: KvCache, setting: CacheSetting) -> Iterator[Problem]:
    """Everything that is wrong with one `kv_cache` section at ``path``."""
    if not setting.prefix_caching:
        yield from _unused_problems(path, section)
    yield from repeated(f"{path}.tiers", (tier.label for tier in section.tiers))
    for number, tier in enumerate(section.tiers):
        yield from _tier_problems(f"{path}.tiers[{number}]", tier, setting)
    yield from _order_problems(path, section.tiers)
    yield from _policy_problems(path, section)
    yield from _pin_problems(path, section, setting)


def shared_tier_problems(sections: Iterable[tuple[str, KvCache]]) -> Iterator[Problem]:
    """Whether the pools of a deployment say the same of the tiers that they share.

    Args:
        sections: Path and section of each pool.
    """
    known: dict[str, tuple[str, Tier]] = {}
    for path, section in sections:
        for number, tier in enumerate(section.tiers):
            if tier.owner != "deployment":
                continue
            place = f"{path}.tiers[{number}]"
            first, other = known.setdefault(tier.label, (place, tier))
            for field in ("kind", "capacity_gib", "capacity_tokens", "shared_bandwidth_gb_s"):
                value, wanted = getattr(tier, field), getattr(other, field)
                if value != wanted:
                    message = f"must be as in {first}: the deployment shares this tier"
                    allowed = None if wanted is None else str(wanted)
                    yield Problem(f"{place}.{field}", message, value, allowed)


def _unused_problems(path: str, section: KvCache) -> Iterator[Problem]:
    remedy = "needs engine.enable_prefix_caching: true, or nothing is kept for later prompts"
    if section.tiers:
        names = ", ".join(tier.label for tier in section.tiers)
        yield Problem(f"{path}.tiers", remedy, names)
    if section.ttl_s is not None:
        yield Problem(f"{path}.ttl_s", remedy, section.ttl_s)
    if section.pin_shared_prefix:
        yield Problem(f"{path}.pin_shared_prefix", remedy, section.pin_shared_prefix)


def _tier_problems(place: str, tier: Tier, setting: CacheSetting) -> Iterator[Problem]:
    if not tier.bytes_per_s:
        message = f"is needed: a {tier.kind} tier is as fast as the network to it"
        yield Problem(f"{place}.bandwidth_gb_s", message)
    if tier.kind == "peer":
        for field in _OF_STORES:
            value = getattr(tier, field)
            if value is not None:
                message = "is not for kind: peer, which is the GPU memory of other replicas"
                yield Problem(f"{place}.{field}", message, value)
        if setting.slots < 2:
            message = "kind: peer needs another rank in the pool; raise replicas or parallel.dp"
            yield Problem(f"{place}.kind", message, tier.kind)
        return
    if tier.shared_bandwidth_gb_s is not None and tier.owner == "rank":
        message = "is for a store that several ranks share; state shared_by, or bandwidth_gb_s"
        yield Problem(f"{place}.shared_bandwidth_gb_s", message, tier.shared_bandwidth_gb_s)
    yield from _capacity_problems(place, tier, setting)


def _capacity_problems(place: str, tier: Tier, setting: CacheSetting) -> Iterator[Problem]:
    gib, tokens, size = tier.capacity_gib, tier.capacity_tokens, setting.block_size
    if gib is None and tokens is None:
        message = f"is needed (or capacity_tokens): how much KV the {tier.kind} tier holds"
        yield Problem(f"{place}.capacity_gib", message)
    elif gib is not None and tokens is not None:
        yield Problem(place, "has capacity_gib and capacity_tokens; state one of them")
    elif size is None:
        return
    elif tokens is not None and tokens < size:
        message = f"must hold at least one KV block of {size} tokens"
        yield Problem(f"{place}.capacity_tokens", message, tokens)
    elif gib is not None and setting.block_bytes and not tier.blocks(size, setting.block_bytes):
        mib = setting.block_bytes / 2**20
        message = f"must hold at least one KV block of {size} tokens, {mib:.3g} MiB"
        yield Problem(f"{place}.capacity_gib", message, gib)


def _order_problems(path: str, tiers: tuple[Tier, ...]) -> Iterator[Problem]:
    for number, tier in enumerate(tiers):
        place = f"{path}.tiers[{number}]"
        above = tiers[:number]
        deeper = [other for other in above if _DEPTH[other.kind] > _DEPTH[tier.kind]]
        if deeper:
            message = f"must stand before {deeper[0].label}: tiers go host, ssd, shared or peer"
            yield Problem(f"{place}.kind", message, tier.kind)
        if tier.kind == "peer":
            if any(other.kind == "peer" for other in above):
                yield Problem(f"{place}.kind", "a pool has one tier of peers", tier.kind)
            continue
        wider = [
            other
            for other in above
            if other.kind != "peer" and _WIDTH[other.owner] > _WIDTH[tier.owner]
        ]
        if wider:
            message = (
                f"must be shared at least as widely as {wider[0].label} above it "
                f"({wider[0].owner}), which is what it is written from"
            )
            yield Problem(f"{place}.shared_by", message, tier.owner)


def _policy_problems(path: str, section: KvCache) -> Iterator[Problem]:
    if not section.tiers:
        for field in _OF_TIERS:
            value = getattr(section, field)
            # A default that is stated does no harm, and a resolved scenario states them all.
            if value != KvCache.model_fields[field].default:
                yield Problem(f"{path}.{field}", "is for tiers, and there are none", value)
        return
    if section.write_hits is not None and section.write != "on_reuse":
        yield Problem(f"{path}.write_hits", "is for write: on_reuse only", section.write_hits)
    elif section.write_hits == 1:
        message = "must be >= 2: after one use is write: through"
        yield Problem(f"{path}.write_hits", message, section.write_hits)


def _pin_problems(path: str, section: KvCache, setting: CacheSetting) -> Iterator[Problem]:
    place = f"{path}.max_pinned_ratio"
    if not section.pin_shared_prefix:
        if section.max_pinned_ratio is not None:
            message = "is for pin_shared_prefix: true only"
            yield Problem(place, message, section.max_pinned_ratio)
        return
    capacity, longest = setting.capacity_tokens, setting.longest_tokens
    if capacity is None or longest is None or longest > capacity:
        return
    left = capacity - int(capacity * section.pinned_ratio)
    if longest > left:
        message = (
            f"leaves {left} of {capacity} tokens to a request that may take max_model_len = "
            f"{longest}; lower it"
        )
        allowed = f"at most {1 - longest / capacity:.3g}"
        yield Problem(place, message, section.pinned_ratio, allowed)
