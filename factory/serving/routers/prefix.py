"""Routers that follow the longest cached prefix: SGLang's with its thresholds, and the pure one."""

from __future__ import annotations

import numpy as np

from factory.serving.routers.choice import Turns, column
from factory.serving.routers.protocol import Ask, Surroundings
from factory.serving.slots import Slots


class LongestPrefix:
    """The slot that holds most of the prompt, whatever its load; a warning, not advice.

    Where all prompts begin alike, everything goes to the slot that got the first one. Of slots that
    hold as much, the one with the fewest requests.
    """

    def __init__(self, around: Surroundings) -> None:
        self._index = around.index
        self._turns = Turns()

    def choose(self, ask: Ask, slots: Slots) -> int:
        """The slot with the longest match."""
        held = self._index.held(ask.blocks)
        best = self._turns.live(held, slots).max()
        loads = np.where(held == best, column(slots.requests), np.inf)
        return self._turns.least(loads, slots)


class PrefixThreshold:
    """SGLang's ``cache_aware`` policy.

    If the load is uneven (max − min > ``balance_abs_threshold`` and max > min x
    ``balance_rel_threshold``, in requests), the least loaded slot. Else the slot with the longest
    match, if it has more than ``cache_threshold`` of the prompt. Else the least loaded one; there
    SGLang's router of 2024 takes the one with the smallest radix tree, which here decides between
    equal loads (the tokens that the router has sent to a slot stand for the size of its tree).

    Defaults are those of the command line of SGLang's model gateway (2025: 0.3, 64, 1.5).
    """

    def __init__(
        self,
        around: Surroundings,
        cache_threshold: float,
        balance_abs_threshold: float,
        balance_rel_threshold: float,
    ) -> None:
        self._index = around.index
        self._block = around.block_size
        self._threshold = cache_threshold
        self._abs = balance_abs_threshold
        self._rel = balance_rel_threshold
        self._sent = np.zeros(around.slots)
        self._turns = Turns()

    def choose(self, ask: Ask, slots: Slots) -> int:
        """The slot by load, by prefix, or by load and size of the tree."""
        slot = self._choose(ask, slots)
        self._sent[slot] += ask.input_tokens
        return slot

    def _choose(self, ask: Ask, slots: Slots) -> int:
        turns = self._turns
        requests = column(slots.requests)
        loads = turns.live(requests, slots)
        least, most = int(loads.min()), int(loads.max())
        if most - least <= self._abs or most <= least * self._rel:
            held = self._index.held(ask.blocks)
            best = int(turns.live(held, slots).max())
            if best * self._block > self._threshold * ask.input_tokens:
                return turns.least(np.where(held == best, requests, np.inf), slots)
        return turns.least(np.where(requests == least, self._sent, np.inf), slots)
