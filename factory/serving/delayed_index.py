"""A prefix index that hears of every change late, as one fed by events over a network does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from factory.serving.kv_cache import PrefixListener
from factory.serving.prefix_index import PrefixIndex


class DelayedIndex:
    """What a `PrefixIndex` would have answered ``delay_s`` ago.

    Reports wait in a queue and are applied when the index is asked, those that are due: O(1) per
    report, no event of the kernel, and the answer depends on the time alone.

    Args:
        slots: Number of caches.
        delay_s: From a change of a cache until the index knows, seconds, ≥ 0.
        clock: The simulated time, seconds.
    """

    __slots__ = ("_clock", "_delay_s", "_index", "_waiting", "slots")

    def __init__(self, slots: int, delay_s: float, clock: Callable[[], float]) -> None:
        self.slots = slots
        self._index = PrefixIndex(slots)
        self._delay_s = delay_s
        self._clock = clock
        self._waiting: deque[tuple[float, PrefixListener, int, int, int]] = deque()

    def listener(self, slot: int) -> PrefixListener:
        """Returns the function by which the cache of a slot reports (its `PrefixListener`)."""
        report = self._index.listener(slot)
        waiting, clock, delay_s = self._waiting, self._clock, self._delay_s

        def later(first: int, before: int, after: int) -> None:
            waiting.append((clock() + delay_s, report, first, before, after))

        return later

    def match(self, blocks: tuple[int, ...]) -> dict[int, int]:
        """Slot → leading blocks held, by the reports that have arrived (see `PrefixIndex`)."""
        self._apply()
        return self._index.match(blocks)

    def held(self, blocks: tuple[int, ...]) -> NDArray[np.int64]:
        """Leading blocks held, per slot, by the reports that have arrived."""
        self._apply()
        return self._index.held(blocks)

    def _apply(self) -> None:
        """Applies the reports that are due."""
        waiting = self._waiting
        if not waiting:
            return
        now_s = self._clock()
        while waiting and waiting[0][0] <= now_s:
            _, report, first, before, after = waiting.popleft()
            report(first, before, after)
