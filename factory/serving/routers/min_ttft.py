"""Mooncake's Conductor: the slot where the first token comes soonest, or nowhere if too late."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.serving.routers.choice import Turns, column
from factory.serving.routers.protocol import REJECT, Ask, Surroundings
from factory.serving.slots import Slots


class MinTtft:
    """The slot of least ``transfer + queue + prefill``, in seconds (Qin et al., FAST'25, alg. 1).

    *queue* is the estimated time of the prompt tokens queued there. A slot either computes what it
    does not hold, or, where the longest prefix held anywhere is over ``replicate_ratio`` times its
    own, fetches that prefix first if this is quicker; the choice then carries `Ask.copy_from`, and
    hot prefixes spread. With ``early_rejection`` a request is turned away when no slot would meet
    its tenant's limit on the time to the first token.

    Args:
        around: The pool.
        early_rejection: Whether requests that would come too late are turned away.
        replicate_ratio: ``kvcache_balancing_threshold`` of the paper, which states no value; ours
            is assumed.
    """

    def __init__(self, around: Surroundings, early_rejection: bool, replicate_ratio: float) -> None:
        self._around = around
        self._reject = early_rejection
        self._ratio = replicate_ratio
        self._turns = Turns()

    def choose(self, ask: Ask, slots: Slots) -> int:
        """The slot with the soonest first token; `REJECT` if that is too late."""
        around, turns = self._around, self._turns
        queued = column(slots.prefill_tokens)
        held = around.index.held(ask.blocks)
        lengths = np.unique(turns.live(held, slots)).tolist()
        best = lengths[-1]
        soonest: NDArray[np.float64] = np.full(slots.count, np.inf)
        # Of slots that hold as much the least queued is first: one estimate per length held.
        for length in lengths:
            tokens = np.where(held == length, queued, np.inf)
            shortest = slots.live[int(turns.live(tokens, slots).argmin())]
            least = int(tokens[shortest])
            # Prompt by prompt: attention grows with the square of each, not of all together.
            prompts = slots.waiting[shortest] + 1
            wait_s = prompts * around.prefill_s(round(least / prompts), 0) if least else 0.0
            soonest[tokens == least] = wait_s + self._prefill(ask, length, best)[0]
        slot = turns.least(soonest, slots)
        if self._reject and soonest[slot] > around.ttft_limits_s[ask.tenant]:
            return REJECT
        if self._prefill(ask, int(held[slot]), best)[1]:
            tokens = turns.live(np.where(held == best, queued, np.inf), slots)
            ask.copy_from = (slots.live[int(tokens.argmin())], best)
        return slot

    def _prefill(self, ask: Ask, held: int, best: int) -> tuple[float, bool]:
        """Seconds that a slot with so many blocks of the prompt takes, and whether it fetches."""
        around = self._around
        prompt, block = ask.input_tokens, around.block_size
        # The last token is computed even where all of the prompt is held.
        own = min(held * block, prompt - 1)
        computed_s = around.prefill_s(prompt - own, own)
        if best <= held * self._ratio:
            return computed_s, False
        theirs = min(best * block, prompt - 1)
        fetched_s = around.transfer_s(theirs - own) + around.prefill_s(prompt - theirs, theirs)
        return (fetched_s, True) if fetched_s < computed_s else (computed_s, False)
