"""A pool as its deployment sees it: which of its ranks serves a request."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from factory.facility import Windows
from factory.serving.rank import Rank
from factory.serving.routers import REJECT, Ask, Router
from factory.serving.sequence import Sequence
from factory.serving.slots import Slots


@dataclass(frozen=True, slots=True)
class PoolSide:
    """One pool (see the module).

    Attributes:
        ranks: The rank of each slot.
        slots: The columns that its router reads.
        router: Chooses a slot.
        windows: Sums of the pool.
        is_single: Whether there is nothing to choose.
        prefill_s: Estimate of the seconds that a slot takes to prefill (new, cached) tokens.
    """

    ranks: Seq[Rank]
    slots: Slots
    router: Router
    windows: Windows
    is_single: bool
    prefill_s: Callable[[int, int], float]

    def choose(self, sequence: Sequence, now_s: float) -> Rank | None:
        """The rank that a request goes to; None turns it away. Some slot must be live."""
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

    def predicted_ttft_s(self, input_tokens: int) -> float:
        """Seconds to a first token where the least is queued, once a slot is live."""
        queued = self.slots.prefill_tokens
        least = min((queued[slot] for slot in self.slots.live), default=0)
        return self.prefill_s(least + input_tokens, 0)
