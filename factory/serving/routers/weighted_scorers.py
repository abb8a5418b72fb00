"""llm-d's scheduler: every slot gets weighted scores, and the highest sum wins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.serving.routers.choice import Turns, column
from factory.serving.routers.protocol import Ask, Surroundings
from factory.serving.slots import Slots


class WeightedScorers:
    """The slot with the highest ``queue + kv_use + prefix`` score, each in 0–1 times its weight.

    *queue*: (max − q) / (max − min) over the waiting requests q, 1 where all have as many. *KV
    use*: 1 − KV in use over capacity. *prefix*: matched over all blocks of the prompt. llm-d
    (inference scheduler with the precise prefix cache, 2026): ``queue-scorer`` 2,
    ``kv-cache-utilization-scorer`` 2, ``prefix-cache-scorer`` 3; ``max-score-picker`` draws among
    equals, here they take turns.
    """

    def __init__(
        self,
        around: Surroundings,
        queue_weight: float,
        kv_use_weight: float,
        prefix_weight: float,
    ) -> None:
        self._index = around.index
        self._queue = queue_weight
        self._use = kv_use_weight
        self._prefix = prefix_weight
        self._turns = Turns()

    def choose(self, ask: Ask, slots: Slots) -> int:
        """The slot with the highest score."""
        # What is lost against the best score there is.
        lost: NDArray[np.float64] = np.zeros(slots.count)
        waiting = column(slots.waiting)
        queues = self._turns.live(waiting, slots)
        shortest, longest = int(queues.min()), int(queues.max())
        if longest > shortest:
            lost += self._queue / (longest - shortest) * (waiting - shortest)
        if slots.capacity_tokens:
            # A slot cannot use more than it has.
            used = np.minimum(column(slots.kv_tokens), slots.capacity_tokens)
            lost += self._use / slots.capacity_tokens * used
        total = sum(ask.blocks[1::2])
        if total:
            lost -= self._prefix / total * self._index.held(ask.blocks)
        return self._turns.least(lost, slots)
