"""Routers that look at no prompt: at random, in turn, by load."""

from __future__ import annotations

from bisect import bisect_right

from factory.serving.routers.choice import FEW, Turns, column
from factory.serving.routers.protocol import Ask, Surroundings
from factory.serving.slots import Slots


class Random:
    """Any live slot, uniformly."""

    def __init__(self, around: Surroundings) -> None:
        self._draw = around.draw

    def choose(self, _ask: Ask, slots: Slots) -> int:
        """Any slot."""
        return slots.live[self._draw(len(slots.live))]


class RoundRobin:
    """Every live slot in turn."""

    def __init__(self) -> None:
        self._last = -1

    def choose(self, _ask: Ask, slots: Slots) -> int:
        """The next slot."""
        live = slots.live
        self._last = slot = live[bisect_right(live, self._last) % len(live)]
        return slot


class LeastLoaded:
    """The slot with the fewest requests, waiting and running; among equals the next in turn."""

    def __init__(self) -> None:
        self._turns = Turns()

    def choose(self, _ask: Ask, slots: Slots) -> int:
        """The slot with the fewest requests."""
        if slots.count <= FEW:
            live, requests = slots.live, slots.requests
            values = requests if len(live) == slots.count else [requests[slot] for slot in live]
            return self._turns.least_of(values, live)
        return self._turns.least(column(slots.requests), slots)


class PowerOfTwo:
    """The less loaded of two slots drawn at random (Mitzenmacher 2001).

    Load is the number of requests. With equal loads the first drawn wins, which is fair. SGLang's
    router offers the same as ``--policy power_of_two``.
    """

    def __init__(self, around: Surroundings) -> None:
        self._draw = around.draw

    def choose(self, _ask: Ask, slots: Slots) -> int:
        """The less loaded of two."""
        live = slots.live
        count = len(live)
        if count == 1:
            return live[0]
        place = self._draw(count)
        one = live[place]
        # The other is drawn among the slots that are left.
        other = live[(place + 1 + self._draw(count - 1)) % count]
        return other if slots.requests[other] < slots.requests[one] else one
