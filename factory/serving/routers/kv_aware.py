"""The default router: the least delay that a prompt's prefill causes, on all who share the slot."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from math import exp

import numpy as np
from numpy.typing import NDArray

from factory.serving.routers.choice import FEW, Turns, column
from factory.serving.routers.protocol import Ask, Blocks, Surroundings
from factory.serving.slots import Slots

HOST_CREDIT, FAR_CREDIT = 0.75, 0.25
"""What KV in host memory, and on disk or farther away, is worth against KV on the GPU: Dynamo's
credits (2026)."""

CHURN_S = 300.0
"""Time constant over which a slot's cache counts as filled lately, seconds (assumed)."""

# Slots up to which lists are quicker than numpy's calls for the part that knows no prefix.
_LISTED = 20

# Weights grow with time instead of old sums decaying; beyond this exponent they start afresh.
_LARGEST_EXPONENT = 300.0


class KvAware:
    """The slot of least cost in prompt tokens; slots of equal cost take turns.

    cost = queued + (overlap_weight + churn_weight * churn) * new + load_weight * KV in use

    *queued*: prompt tokens ahead of this one. *new*: tokens of this prompt that the slot does not
    hold; what lower tiers hold counts in part (`HOST_CREDIT`). To route by queued + new (the
    soonest first token of this very request) computes too much twice: what a slot computes delays,
    beside this request, all that come to it until its queue is empty and all that decode there.
    Hence ``overlap_weight``: 1 + the requests delayed. *churn*, 0 to 1, is what was lately computed
    at a slot over the same of the slot with most: new blocks push older ones out, and soonest
    missed are those where the cache turns over fastest. So prompts that nobody knows go where
    memory lies idle. *KV in use* slows decoding: reading a token's KV for a few hundred steps takes
    about a twentieth of the time of computing the token.

    Args:
        around: The pool.
        overlap_weight: Prompt tokens queued that one token to be computed is worth.
        load_weight: The same of a token of KV in use.
        churn_weight: The same of a token computed where most was computed lately.
    """

    def __init__(
        self,
        around: Surroundings,
        overlap_weight: float,
        load_weight: float,
        churn_weight: float,
    ) -> None:
        self._index = around.index
        worths = [HOST_CREDIT if kind == "host" else FAR_CREDIT for kind in around.tier_kinds]
        self._tiers = tuple(zip(around.tiers, worths, strict=True))
        self._block = around.block_size
        self._overlap = overlap_weight
        self._load = load_weight
        self._churn = churn_weight
        # Each token weighted by exp(time / CHURN_S).
        self._computed = array("d", [0.0] * around.slots)
        self._most = 0.0
        self._since_s = 0.0
        # Of a new token, in queued ones.
        self._worth = array("d", [overlap_weight] * around.slots)
        self._turns = Turns()

    def choose(self, ask: Ask, slots: Slots) -> int:
        """The slot of least cost."""
        if slots.count <= FEW:
            return self._choose_of_few(ask, slots)
        blocks_held = self._index.held(ask.blocks).astype(np.float64)
        for tier, credit in self._tiers:
            blocks_held += credit * np.maximum(tier.held(ask.blocks) - blocks_held, 0.0)
        new = blocks_held * -self._block
        new += ask.input_tokens
        if self._block * sum(ask.blocks[1::2]) > ask.input_tokens:
            np.maximum(new, 0, out=new)
        cost: NDArray[np.float64] = np.frombuffer(self._worth) * new
        cost += self._load * column(slots.kv_tokens)
        cost += column(slots.prefill_tokens)
        slot = self._turns.least(cost, slots)
        self._count(slot, int(new[slot]), ask.now_s)
        return slot

    def _choose_of_few(self, ask: Ask, slots: Slots) -> int:
        """The same, by lists: with few slots the cost of a choice is that of calling numpy."""
        live = slots.live
        block = self._block
        tokens = ask.input_tokens
        held: Mapping[int, float] = self._index.match(ask.blocks)
        if self._tiers:
            held = self._with_tiers(held, ask.blocks)
        worth = self._worth
        load = self._load
        kv, queued = slots.kv_tokens, slots.prefill_tokens
        if len(live) == slots.count:
            cost = self._costs(tokens, slots)
            for slot, blocks in held.items():
                new = max(tokens - block * blocks, 0)
                cost[slot] = worth[slot] * new + load * kv[slot] + queued[slot]
        else:
            cost = [
                worth[slot] * max(tokens - block * held.get(slot, 0), 0)
                + load * kv[slot]
                + queued[slot]
                for slot in live
            ]
        slot = self._turns.least_of(cost, live)
        self._count(slot, max(int(tokens - block * held.get(slot, 0)), 0), ask.now_s)
        return slot

    def _costs(self, tokens: int, slots: Slots) -> list[float]:
        """Cost of every slot for a prompt of which none holds anything."""
        kv, queued = slots.kv_tokens, slots.prefill_tokens
        if slots.count <= _LISTED:
            weighed = zip(self._worth, kv, queued, strict=True)
            return [worth * tokens + self._load * used + wait for worth, used, wait in weighed]
        costs: NDArray[np.float64] = np.frombuffer(self._worth) * tokens
        costs += self._load * column(kv)
        costs += column(queued)
        found: list[float] = costs.tolist()
        return found

    def _with_tiers(self, held: Mapping[int, float], blocks: Blocks) -> Mapping[int, float]:
        """Blocks held, those of lower tiers counted by what fetching them saves."""
        found = dict(held)
        for tier, credit in self._tiers:
            for slot, blocks_held in tier.match(blocks).items():
                more = blocks_held - found.get(slot, 0)
                if more > 0:
                    found[slot] = found.get(slot, 0) + credit * more
        return found

    def _count(self, slot: int, tokens: int, now_s: float) -> None:
        """Enters tokens that a slot will compute."""
        if not tokens:
            return
        computed = self._computed
        exponent = (now_s - self._since_s) / CHURN_S
        if exponent > _LARGEST_EXPONENT:
            fallen = exp(-exponent)
            falling = np.frombuffer(computed)
            falling *= fallen
            self._most *= fallen
            self._since_s = now_s
            exponent = 0.0
        total = computed[slot] + tokens * exp(exponent)
        computed[slot] = total
        if total > self._most:
            self._most = total
            if len(computed) <= FEW:
                share = self._churn / total
                self._worth = array("d", [self._overlap + share * each for each in computed])
                return
            worth = np.frombuffer(self._worth)
            worth[:] = np.frombuffer(computed)
            worth *= self._churn / total
            worth += self._overlap
        else:
            self._worth[slot] = self._overlap + self._churn / self._most * total
