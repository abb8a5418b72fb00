"""Least load, with racks that are short of power counted as busier than they are."""

from __future__ import annotations

import numpy as np

from factory.serving.routers.choice import Turns, column
from factory.serving.routers.protocol import Ask, Surroundings
from factory.serving.slots import Slots


class PowerAware:
    """The slot with the fewest requests, where a rack without headroom counts as so many more.

    A rack whose unused share of its power budget is at least ``min_headroom`` costs nothing; below
    that the penalty grows in proportion, up to ``power_penalty`` requests at none. So load moves to
    racks with headroom without swamping them. Ours.

    Args:
        around: The pool.
        min_headroom: Share of a rack's budget, above 0.
        power_penalty: Requests.
    """

    def __init__(self, around: Surroundings, min_headroom: float, power_penalty: float) -> None:
        self._headroom = around.headroom
        self._enough = min_headroom
        self._penalty = power_penalty
        racks = around.racks or (0,) * around.slots
        self._racks = sorted(set(racks))
        self._places = np.array([self._racks.index(rack) for rack in racks], dtype=np.intp)
        self._turns = Turns()

    def choose(self, _ask: Ask, slots: Slots) -> int:
        """The slot of least load and penalty."""
        shares = np.array([self._headroom(rack) for rack in self._racks])
        short = np.maximum(self._enough - shares, 0.0)
        short *= self._penalty / self._enough
        return self._turns.least(column(slots.requests) + short[self._places], slots)
