"""The KV cache of a pool's replicas: what stays in it, and the tiers of memory below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from factory.scenario.base import Count, Flag, Name, NonNegative, Part, Positive, Ratio
from factory.units import BYTES_PER_GIB

TierKind = Literal["host", "ssd", "shared", "peer"]
SharedBy = Literal["rank", "replica", "pool", "deployment"]
WritePolicy = Literal["through", "on_eviction", "on_reuse"]

BANDWIDTH_GB_S: Mapping[TierKind, float] = {"host": 32.0, "ssd": 10.0, "peer": 50.0}
"""GB/s of one GPU each way: the defaults of AISimulate (NVIDIA, 2026, ``docs/replay/engine/
kv-cache.md``: 32 for ``host_offload``, 10 for ``g3_offload``, which it calls assumptions; 50 for
fetches from peers). A shared store has none: its network decides."""

LATENCY_MS: Mapping[TierKind, float] = {"host": 0.0, "ssd": 0.1, "shared": 0.1, "peer": 1.0}
"""From the beginning of a copy to its first byte (the same source)."""

SHARED_BANDWIDTH_GB_S = 80.0
"""GB/s each way of a store that several ranks share (the same source)."""

WRITE_HITS = 2
"""Uses before ``on_reuse`` writes: SGLang's ``write_through_selective`` (2025) and the
``store_threshold`` of vLLM's offloading (0.21, 2026)."""

MAX_PINNED_RATIO = 0.25
"""Share of the cache that pinned prefixes may take (assumed)."""


class Tier(Part):
    """Memory that holds KV which the GPU has no room for; or the GPUs of other replicas."""

    kind: TierKind = Field(
        description="host: the node's DRAM; ssd: its drives; shared: a store over the network; "
        "peer: the GPU memory of the pool's other replicas."
    )
    name: Name | None = Field(default=None, description="Name in reports; by default the kind.")
    capacity_gib: Positive | None = Field(
        default=None, description="KV that one such store holds, GiB; not for peers."
    )
    capacity_tokens: Count | None = Field(
        default=None, description="KV that one such store holds, tokens, in place of capacity_gib."
    )
    bandwidth_gb_s: Positive | None = Field(
        default=None,
        description="GB/s per GPU, each way; by default 32 for host, 10 for ssd, 50 for peer.",
    )
    latency_ms: NonNegative | None = Field(
        default=None,
        description="From the beginning of a copy to its first byte, ms; by default 0 for host, "
        "0.1 for ssd and shared, 1 for peer.",
    )
    shared_by: SharedBy | None = Field(
        default=None,
        description="Who has one such store together: the GPUs of a rank, the ranks of a replica, "
        "a pool, or all pools of the deployment that name it; by default rank, and pool for "
        "shared. Not for peers.",
    )
    shared_bandwidth_gb_s: Positive | None = Field(
        default=None,
        description="GB/s of the store for all who share it, each way; by default 80.",
    )

    @property
    def label(self) -> str:
        """Its name, or its kind."""
        return self.name or self.kind

    @property
    def owner(self) -> SharedBy:
        """`shared_by`, as stated or by default."""
        return self.shared_by or ("pool" if self.kind == "shared" else "rank")

    @property
    def bytes_per_s(self) -> float:
        """Bandwidth of one GPU each way, bytes/s; 0 where none is known."""
        return (self.bandwidth_gb_s or BANDWIDTH_GB_S.get(self.kind, 0.0)) * 1e9

    @property
    def shared_bytes_per_s(self) -> float:
        """Bandwidth of the store each way, bytes/s."""
        return (self.shared_bandwidth_gb_s or SHARED_BANDWIDTH_GB_S) * 1e9

    @property
    def latency_s(self) -> float:
        """From the beginning of a copy to its first byte, seconds."""
        stated = self.latency_ms
        return (LATENCY_MS[self.kind] if stated is None else stated) / 1e3

    def blocks(self, block_size: int, block_bytes: float) -> int:
        """Blocks that one store holds; 0 if it is smaller than one, or nothing is stated.

        Args:
            block_size: Tokens of a block.
            block_bytes: Bytes of a block, kept once however many GPUs have a copy.
        """
        if self.capacity_tokens is not None:
            return self.capacity_tokens // block_size
        return int((self.capacity_gib or 0.0) * BYTES_PER_GIB / block_bytes)


class KvCache(Part):
    """What of a pool's KV is kept for later prompts, and where."""

    ttl_s: Positive | None = Field(
        default=None,
        description="Seconds after which KV that no request uses is dropped from the GPU; by "
        "default only room for others drives it out.",
    )
    cache_outputs: Flag = Field(
        default=True, description="Keep the KV of answers, for the next turn of their session."
    )
    pin_shared_prefix: Flag = Field(
        default=False, description="Keep prefixes that sessions share (system prompts) for ever."
    )
    max_pinned_ratio: Ratio | None = Field(
        default=None,
        description="pin_shared_prefix: share of the cache that such prefixes may take; by "
        "default 0.25.",
    )
    tiers: tuple[Tier, ...] = Field(
        default=(), description="Tiers below GPU memory, the fastest first; by default none."
    )
    write: WritePolicy = Field(
        default="through",
        description="When KV goes to the tiers. through: as soon as it is computed, to all of "
        "them; on_reuse: the same, after write_hits uses; on_eviction: when the tier above drops "
        "it.",
    )
    write_hits: Count | None = Field(
        default=None, description="on_reuse: uses after which KV is written; by default 2."
    )
    onboarding: Literal["overlapped", "blocking"] = Field(
        default="overlapped",
        description="While KV is fetched, overlapped: only its request waits; blocking: the whole "
        "rank does.",
    )
    fetch: Literal["always", "when_faster"] = Field(
        default="always",
        description="KV found in a tier is fetched always, or when that is estimated to take less "
        "time than to compute it.",
    )

    @property
    def pinned_ratio(self) -> float:
        """Share of the cache that pinned prefixes may take; 0 if none are pinned."""
        if not self.pin_shared_prefix:
            return 0.0
        return MAX_PINNED_RATIO if self.max_pinned_ratio is None else self.max_pinned_ratio

    @property
    def hits_to_write(self) -> int:
        """Uses after which KV is written to the tiers; 0: it is written when it is evicted."""
        if self.write == "on_eviction":
            return 0
        return 1 if self.write == "through" else self.write_hits or WRITE_HITS
