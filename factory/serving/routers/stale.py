"""Signals as old as a router's polling makes them."""

from __future__ import annotations

from copy import copy
from math import inf

from factory.serving.routers.protocol import Ask, Router
from factory.serving.slots import Slots


class StaleSignals:
    """Shows another router a copy of the columns, taken at most once in ``interval_s``.

    The copy is taken when a request comes and the last one is at least as old as the interval: it
    is a function of the requests' times alone. Between two copies every request sees the same
    loads, its predecessors not among them, and so requests herd. Which slots are live is never
    stale: a request is not sent to a slot that takes none.

    Args:
        router: The router that chooses.
        interval_s: Least age of a copy before the next, seconds.
    """

    def __init__(self, router: Router, interval_s: float) -> None:
        self._router = router
        self._interval_s = interval_s
        self._seen: Slots | None = None
        self._taken_s = 0.0

    def choose(self, ask: Ask, slots: Slots) -> int:
        """What the router chooses by the copy."""
        seen = self._seen
        if seen is None:
            self._seen = seen = Slots(slots.count)
            self._taken_s = -inf
        if ask.now_s - self._taken_s >= self._interval_s:
            for name in Slots.__slots__:
                setattr(seen, name, copy(getattr(slots, name)))
            self._taken_s = ask.now_s
        seen.live = slots.live
        return self._router.choose(ask, seen)
