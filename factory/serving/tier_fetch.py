"""What the tiers of a rank are made of, and what a fetch from them is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from factory.serving.prefix_index import PrefixIndex
from factory.serving.tier_links import Copy, Link, Path
from factory.serving.tier_store import Lane, Store

KIND_HOST = 0
KIND_SSD = 1
KIND_REMOTE = 2
"""A shared store, or peers."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier as a rank sees it.

    Attributes:
        name: Its name.
        kind: `KIND_HOST`, `KIND_SSD` or `KIND_REMOTE`.
        store: What holds the blocks; None: the GPU memory of peers does.
        links: What a copy from it to the rank goes over; of peers all but the source's link.
        lane: The rank's way into it; None where the store's own is all there is.
        latency_s: From the beginning of a copy to its first block, seconds.
        is_own: Whether the store is of the rank's replica alone, and goes where that goes.
    """

    name: str
    kind: int
    store: Store | None
    links: Path
    lane: Lane | None
    latency_s: float
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Peers:
    """The GPU caches of a pool, as sources.

    Attributes:
        index: Which slots hold the start of a prompt.
        links: The link out of each slot.
        searched: Whether a rank looks for peers itself; else a router names them.
    """

    index: PrefixIndex
    links: tuple[Link, ...]
    searched: bool = True


@dataclass(frozen=True, slots=True)
class TierPolicy:
    """When a rank writes to its tiers and when it fetches from them.

    Attributes:
        block_size: Tokens of a KV block.
        block_bytes: Bytes of a KV block, all GPUs of a rank together.
        write_hits: Uses after which a block is written to the tiers; 0: when it is evicted.
        when_faster: Whether a fetch must beat the estimate of computing the same blocks.
        blocking: Whether the rank waits for its fetches; else only the request does.
        prefill_s: Estimate of the seconds to prefill (new tokens, cached tokens).
    """

    block_size: int
    block_bytes: float
    write_hits: int
    when_faster: bool
    blocking: bool
    prefill_s: Callable[[int, int], float]


class Part:
    """Blocks `start` to `upto` (excluded) of a prompt, from one tier.

    Attributes:
        tier: Position of the tier.
        source: Slot of the peer that sends them; -1: a store does.
    """

    __slots__ = ("copy", "links", "source", "start", "tier", "upto")

    def __init__(self, tier: int, start: int, upto: int, links: Path, source: int = -1) -> None:
        self.tier = tier
        self.start = start
        self.upto = upto
        self.links = links
        self.source = source
        self.copy: Copy | None = None


class Fetch:
    """What the tiers have beyond the first `hit` blocks of a prompt, and its way to the GPU.

    Attributes:
        blocks: Runs of the prompt.
        hit: Leading blocks that were on the GPU.
        upto: Leading blocks that will be.
        parts: One per tier that sends some, in the order of the blocks.
        tokens_by_kind: Prompt tokens that come from the host, from an SSD, and from a shared store
            or peers; the last token of a prompt is computed in any case.
        bytes: Bytes to copy, all GPUs of the rank together.
        seconds: Estimate of the time it takes, had it begun when it was offered.
        sequence: Whom it is for, from `Tiers.begin` on.
    """

    __slots__ = (
        "blocks", "bytes", "hit", "left", "parts", "seconds", "sequence", "tokens_by_kind", "upto",
    )  # fmt: skip

    def __init__(
        self,
        blocks: tuple[int, ...],
        hit: int,
        parts: tuple[Part, ...],
        tokens_by_kind: tuple[int, int, int],
        size_bytes: float,
        seconds: float,
    ) -> None:
        self.blocks = blocks
        self.hit = hit
        self.upto = parts[-1].upto
        self.parts = parts
        self.tokens_by_kind = tokens_by_kind
        self.bytes = size_bytes
        self.seconds = seconds
        self.sequence: Any = None
        self.left = 0
