"""A pool as its deployment sees it: which of its ranks serves a request."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from factory.facility import Windows
from factory.serving.rank import Rank
from factory.serving.routers import REJECT, Ask, Index, Router
from factory.serving.sequence import Sequence
from factory.serving.slots import Slots
from factory.workload import Request


@dataclass(frozen=True, slots=True)
class PoolSide:
    """One pool (see the module).

    Attributes:
        ranks: The rank of each slot.
        slots: The columns that its router reads.
        router: Chooses a slot.
        windows: Sums of the pool.
        is_single: Whether there is nothing to choose.
        index: Which slots hold the start of a prompt.
        prefill_s: Estimate of the seconds that a slot takes to prefill (new, cached) tokens.
    """

    ranks: Seq[Rank]
    slots: Slots
    router: Router
    windows: Windows
    is_single: bool
    index: Index
    prefill_s: Callable[[int, int], float]

    def replicas_up(self) -> int:
        """Replicas that take requests."""
        return len({self.ranks[slot].replica.name for slot in self.slots.live})

    def room_up(self) -> tuple[int, float]:
        """Sequences and KV tokens that the slots which take requests hold together."""
        live = self.slots.live
        sequences = sum(self.ranks[slot].limits.sequences for slot in live)
        return sequences, float(self.slots.capacity_tokens * len(live))

    def choose(self, sequence: Sequence, now_s: float) -> Rank | None:
        """The rank that a request goes to; None turns it away. Some slot must be live."""
        sequence.copy_from = None
        if self.is_single:
            return self.ranks[0]
        request = sequence.request
        ask = Ask(
            now_s,
            request.input_tokens,
            request.blocks,
            request.session,
            request.tenant,
            sequence.priority,
        )
        slot = self.router.choose(ask, self.slots)
        if slot == REJECT:
            return None
        sequence.copy_from = ask.copy_from
        return self.ranks[slot]

    def predicted_ttft_s(self, request: Request, share_ahead: float, wait_s: float) -> float:
        """Seconds to a first token: where the least is queued, or where most of it is cached.

        Args:
            request: Who asks.
            share_ahead: Share of those who wait that go before it.
            wait_s: Seconds until it is let into a batch, by the pace of late.
        """
        slots = self.slots
        if not slots.live:
            return 0.0
        queued = slots.prefill_tokens
        candidates = [min(slots.live, key=queued.__getitem__)]
        if request.blocks:
            held = self.index.match(request.blocks)
            best = max(held, key=held.__getitem__, default=candidates[0])
            if best in slots.live:
                candidates.append(best)
        return min(self._ttft_at(slot, request, share_ahead, wait_s) for slot in candidates)

    def _ttft_at(self, slot: int, request: Request, share_ahead: float, wait_s: float) -> float:
        rank = self.ranks[slot]
        prompts = self.slots.waiting[slot] + 1
        cached = 0
        if request.blocks and rank.limits.prefix_caching:
            cached = rank.cache.match(request.blocks) * rank.limits.block_size
        cached = min(cached, request.input_tokens - 1)
        each = self.slots.prefill_tokens[slot] / prompts
        queue_s = prompts * self.prefill_s(round(each), 0) * share_ahead
        return max(queue_s, wait_s) + self.prefill_s(request.input_tokens - cached, cached)
