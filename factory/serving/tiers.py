"""The KV tiers below a rank's GPU memory: what is fetched from them and what is written to them.

A prompt's leading blocks lie in GPU memory first, then in the tiers in their order (host, SSD, a
shared store, peers): each tier is asked for what those before it lack, as vLLM's tiered offloading
(0.32, 2026) and SGLang's HiCache (2025) do. All that is fetched is one `Fetch` with a part per
tier. Parts are copied side by side, each over its own links, and the slowest ends the fetch. What
comes from an SSD or a shared store passes the host's links too where there is a host tier, and
stays in the host tier (the host is the gateway of vLLM's secondary tiers and of HiCache's L3).

Writes never make anybody wait, and take effect when they have arrived (see `tier_store`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factory.errors import RunError
from factory.serving.kv_cache import KVCache
from factory.serving.tier_fetch import Fetch, Part, Peers, Tier, TierPolicy
from factory.serving.tier_links import Copies, Path, share
from factory.serving.tier_store import cut

_SEEN_BLOCKS = 64_000
"""Blocks whose uses `on_reuse` counts (``max_tracker_size`` of vLLM 0.21's reuse manager, 2026)."""


class Tiers:
    """The tiers of one rank; stores and links may be shared with other ranks.

    A rank's use of it, when it looks for a prompt's blocks:

        hit = cache.match(blocks)
        fetch = tiers.offer(blocks, hit, most, tokens, now_s)
        if fetch is not None:                        # at the same instant:
            cache.admit(blocks, hit, fetch.upto - hit)   # room for what comes
            tiers.begin(fetch, sequence, now_s)
        ...
        def done(sequence, fetch, now_s):            # all of it has arrived
            cache.commit(blocks, fetch.hit, fetch.upto)

    and `stored` whenever it has committed blocks. `spilled` is the `spill` of its cache, where
    `writes_back` says so.

    Attributes:
        names: Names of the tiers, in order.
        slot: The rank's row among the peers.
        policy: When it writes and fetches.
        blocking: Whether the rank waits for its fetches; else only the request does.
        writes_back: Whether blocks are written when they are evicted, so that `spilled` must be
            told of them.
    """

    __slots__ = (
        "_copies", "_done", "_evicted", "_peers", "_seen", "_tiers", "blocking", "names", "policy",
        "slot", "writes_back",
    )  # fmt: skip

    def __init__(
        self,
        slot: int,
        tiers: tuple[Tier, ...],
        policy: TierPolicy,
        copies: Copies,
        done: Callable[[Any, Fetch, float], None],
        peers: Peers | None = None,
    ) -> None:
        """Makes the tiers of a rank.

        Args:
            slot: The rank's row among the peers.
            tiers: The tiers, fastest first; one without a store is the peers'.
            policy: When to write and to fetch.
            copies: The copies that may share a link with the rank's.
            done: Called as `(sequence, fetch, now_s)` when all of a fetch has arrived.
            peers: The GPU caches of the pool.
        """
        self.slot = slot
        self.names = tuple(tier.name for tier in tiers)
        self.policy = policy
        self.blocking = policy.blocking
        self._tiers = tiers
        self._copies = copies
        self._done = done
        self._peers = peers
        self._evicted: list[tuple[int, ...]] = []
        stored = any(tier.store is not None for tier in tiers)
        self.writes_back = stored and not policy.write_hits
        self._seen = [KVCache(_SEEN_BLOCKS) for _ in range(policy.write_hits - 1)]

    # -- from the tiers to the GPU -------------------------------------------------------------

    def offer(
        self, blocks: tuple[int, ...], hit: int, upto_most: int, tokens: int, now_s: float
    ) -> Fetch | None:
        """Looks for what the tiers hold of a prompt beyond its first `hit` blocks.

        Args:
            blocks: Runs of the prompt.
            hit: Leading blocks on the GPU.
            upto_most: Leading blocks that a fetch may bring the total to.
            tokens: Length of the prompt, tokens.
            now_s: Time, seconds.

        Returns:
            The fetch to `begin`, now or never; None if the tiers have nothing more, or nothing that
            is worth its time.
        """
        self._write_back(now_s)
        parts: list[Part] = []
        upto = hit
        for position, tier in enumerate(self._tiers):
            if upto >= upto_most:
                break
            found, source = 0, -1
            if tier.store is not None:
                found = tier.store.match(blocks, now_s)
            elif self._peers is not None and self._peers.searched:
                found, source = self._best_peer(self._peers, blocks)
            if found > upto:
                found = min(found, upto_most)
                links = self._links_from(tier, source)
                parts.append(Part(position, upto, found, links, source))
                upto = found
        return self._worth(blocks, hit, parts, tokens)

    def copy_from(
        self, blocks: tuple[int, ...], hit: int, source: int, upto: int, tokens: int
    ) -> Fetch | None:
        """The fetch of a prompt's first `upto` blocks from a peer that a router has named.

        So Mooncake's scheduler copies a hot prefix to the instance that it chose (Qin et al., 2025,
        algorithm 1). Whether it is worth it, the router has decided.

        Args:
            blocks: Runs of the prompt.
            hit: Leading blocks on the GPU.
            source: Slot of the peer.
            upto: Leading blocks that the router counts on.
            tokens: Length of the prompt, tokens.

        Returns:
            The fetch to `begin`, now or never; None if the peer has nothing more (any longer).
        """
        if self._peers is None:
            raise RunError("Tiers: a router named a peer to copy from, and there is no way to one")
        position = next(i for i, tier in enumerate(self._tiers) if tier.store is None)
        upto = min(upto, self._peers.index.match(blocks).get(source, 0))
        if upto <= hit or source == self.slot:
            return None
        links = self._links_from(self._tiers[position], source)
        part = Part(position, hit, upto, links, source)
        return self._fetch(blocks, hit, [part], tokens, self._seconds(part))

    def begin(self, fetch: Fetch, sequence: Any, now_s: float) -> None:
        """Starts to copy a fetch; `done` is called when all of it has arrived.

        What lies in a store stays there until then. What lies on a peer is not pinned there: it is
        copied even if the peer evicts it meanwhile.
        """
        fetch.sequence = sequence
        fetch.left = len(fetch.parts)
        for part in fetch.parts:
            tier = self._tiers[part.tier]
            if tier.store is not None:
                if tier.store.cache.match(fetch.blocks) < part.upto:
                    raise RunError(f"Tiers: {tier.name} has lost blocks of a fetch begun late")
                tier.store.pin(fetch.blocks, part.upto)

            def arrived(at_s: float, part: Part = part) -> None:
                self._arrived(fetch, part, at_s)

            part.copy = self._copies.start(
                part.links, part.upto - part.start, tier.latency_s, now_s, arrived
            )

    def cancel(self, fetch: Fetch) -> None:
        """The request went away: what is still under way is broken off."""
        now_s = self._copies.now_s
        fetch.left = 0
        for part in fetch.parts:
            if part.copy is not None:
                self._copies.stop(part.copy, now_s)
                self._let_go(fetch, part, now_s)

    def lose(self, now_s: float) -> None:
        """The rank's memory is gone, and the stores that only its replica has.

        What others share stays, and so does what is on its way there. No fetch may be under way.
        """
        self._evicted.clear()
        self._seen = [KVCache(_SEEN_BLOCKS) for _ in self._seen]
        for tier in self._tiers:
            if tier.store is not None and tier.is_own:
                tier.store.lose(now_s)

    def _best_peer(self, peers: Peers, blocks: tuple[int, ...]) -> tuple[int, int]:
        """Most leading blocks that another slot holds, and the first slot that does."""
        best, source = 0, -1
        for slot, held in peers.index.match(blocks).items():
            if slot != self.slot and (held > best or (held == best and slot < source)):
                best, source = held, slot
        return best, source

    def _links_from(self, tier: Tier, source: int) -> Path:
        if source < 0 or self._peers is None:
            return tier.links
        return (*tier.links, self._peers.links[source])

    def _seconds(self, part: Part) -> float:
        """Seconds that a part takes at the shares it would get now."""
        blocks = part.upto - part.start
        return self._tiers[part.tier].latency_s + blocks / share(part.links, 1)

    def _worth(
        self, blocks: tuple[int, ...], hit: int, parts: list[Part], tokens: int
    ) -> Fetch | None:
        """The parts as a fetch, less those at the end that cost more time than they save."""
        if not parts:
            return None
        seconds = 0.0
        if not self.policy.when_faster:
            for part in parts:
                seconds = max(seconds, self._seconds(part))
            return self._fetch(blocks, hit, parts, tokens, seconds)
        size = self.policy.block_size
        estimate = self.policy.prefill_s
        alone_s = estimate(tokens - hit * size, hit * size)
        best_s, best, best_seconds = 0.0, 0, 0.0
        for number, part in enumerate(parts, 1):
            seconds = max(seconds, self._seconds(part))
            cached = min(part.upto * size, tokens)
            saved_s = alone_s - estimate(tokens - cached, cached) - seconds
            if saved_s > best_s:
                best_s, best, best_seconds = saved_s, number, seconds
        if not best:
            return None
        return self._fetch(blocks, hit, parts[:best], tokens, best_seconds)

    def _fetch(
        self, blocks: tuple[int, ...], hit: int, parts: list[Part], tokens: int, seconds: float
    ) -> Fetch:
        size, most = self.policy.block_size, tokens - 1
        by_kind = [0, 0, 0]
        for part in parts:
            from_it = min(part.upto * size, most) - min(part.start * size, most)
            by_kind[self._tiers[part.tier].kind] += from_it
        host, ssd, remote = by_kind
        size_bytes = (parts[-1].upto - hit) * self.policy.block_bytes
        return Fetch(blocks, hit, tuple(parts), (host, ssd, remote), size_bytes, seconds)

    def _arrived(self, fetch: Fetch, part: Part, now_s: float) -> None:
        self._let_go(fetch, part, now_s)
        for tier in self._tiers[: part.tier]:
            # It has come through the tiers above, by whose links it was copied.
            if tier.store is not None and part.source < 0:
                tier.store.enter(fetch.blocks, part.upto, now_s)
        fetch.left -= 1
        if not fetch.left:
            self._done(fetch.sequence, fetch, now_s)

    def _let_go(self, fetch: Fetch, part: Part, now_s: float) -> None:
        store = self._tiers[part.tier].store
        part.copy = None
        if store is not None:
            store.release(fetch.blocks, part.upto, now_s)

    # -- from the GPU to the tiers -------------------------------------------------------------

    def stored(self, blocks: tuple[int, ...], upto: int, now_s: float) -> None:
        """The rank has committed (or found again) the first `upto` blocks of a prompt."""
        if self.writes_back:
            self._write_back(now_s)
            return
        for seen in self._seen:
            upto = seen.touch(cut(blocks, upto))
        if not upto:
            return
        ready_s = now_s
        for tier in self._tiers:
            if tier.store is not None:
                # Each tier is written from the one above it.
                ready_s = tier.store.write(blocks, upto, now_s, tier.lane, ready_s)

    def spilled(self, blocks: tuple[int, ...], _start: int) -> None:
        """The cache has evicted the end of a chain (the `spill` of the rank's `KVCache`).

        It is written at the rank's next look at its tiers: the leap engine takes its blocks when
        they are looked at, and nothing may depend on when it does.
        """
        evicted = self._evicted
        if evicted:
            last = evicted[-1]
            if last[:-1] == blocks[:-1] and last[-1] >= blocks[-1]:
                return
        evicted.append(blocks)

    def _write_back(self, now_s: float) -> None:
        if not self._evicted:
            return
        evicted, self._evicted = self._evicted, []
        tier = next((tier for tier in self._tiers if tier.store is not None), None)
        if tier is None or tier.store is None:
            return
        for blocks in evicted:
            tier.store.write(blocks, sum(blocks[1::2]), now_s, tier.lane)
