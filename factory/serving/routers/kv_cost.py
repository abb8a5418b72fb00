"""NVIDIA Dynamo's KV router: blocks to prefill, less what is cached, plus blocks in decode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.serving.routers.choice import Turns, column, softmax_least
from factory.serving.routers.protocol import Ask, Blocks, Surroundings
from factory.serving.slots import Slots


class KvCost:
    """The slot of least ``prefill_load_scale * max(0, prefill - credit) + decode``, in blocks.

    *prefill*: prompt tokens queued there and those of this prompt. *credit*: leading blocks of the
    prompt that the slot holds, each by the first tier it is found in: ``device_credit`` for the
    GPU's memory, ``host_credit`` and ``disk_credit`` for what the host and the disk add. *decode*:
    KV of the requests assigned to it. NVIDIA Dynamo, KV router (documentation of 1.2, 2026):
    ``--router-prefill-load-scale`` 1, ``--router-kv-overlap-score-credit`` 1,
    ``--router-host-cache-hit-weight`` 0.75, ``--router-disk-cache-hit-weight`` 0.25,
    ``--router-temperature`` 0.

    Args:
        around: The pool.
        prefill_load_scale: Weight of prefill against decode.
        device_credit: Part of a block on the GPU that need not be computed.
        host_credit: The same of a block in host memory.
        disk_credit: The same of a block on disk.
        temperature: 0 takes the least cost, and slots of equal cost in turn; above 0 draws by
            softmax over the costs scaled by their range.
    """

    def __init__(
        self,
        around: Surroundings,
        prefill_load_scale: float,
        device_credit: float,
        host_credit: float,
        disk_credit: float,
        temperature: float,
    ) -> None:
        self._block = around.block_size
        self._scale = prefill_load_scale
        worth = {"host": host_credit}
        # What is neither the GPU's nor the host's is as far away as a disk.
        lower = [worth.get(kind, disk_credit) for kind in around.tier_kinds]
        indexes = (around.index, *around.tiers)
        self._tiers = tuple(zip(indexes, (device_credit, *lower), strict=True))
        self._temperature = temperature
        self._uniform = around.uniform
        self._turns = Turns()

    def choose(self, ask: Ask, slots: Slots) -> int:
        """The slot of least cost, or one drawn."""
        # In tokens, which changes no comparison.
        prefill = column(slots.prefill_tokens) + ask.input_tokens
        left = np.maximum(prefill - self._block * self._credit(ask.blocks), 0.0)
        cost = self._scale * left + column(slots.kv_tokens)
        if not self._temperature:
            return self._turns.least(cost, slots)
        values = self._turns.live(cost, slots)
        return slots.live[softmax_least(values, self._temperature, self._uniform)]

    def _credit(self, blocks: Blocks) -> NDArray[np.float64]:
        """Credit of each slot, blocks."""
        (index, worth), *lower = self._tiers
        reached = index.held(blocks)
        credit: NDArray[np.float64] = np.multiply(reached, worth, dtype=np.float64)
        for index, worth in lower:
            held = np.maximum(index.held(blocks), reached)
            credit += worth * (held - reached)
            reached = held
        return credit
