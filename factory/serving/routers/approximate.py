"""Routing by a guessed index: every decision is remembered where the next ones look."""

from __future__ import annotations

from factory.serving.approximate_index import ApproximateIndex
from factory.serving.routers.protocol import REJECT, Ask, Router
from factory.serving.slots import Slots


class Remembering:
    """Lets another router choose by an `ApproximateIndex` and enters what it chose.

    Args:
        router: The router that chooses; it reads the index.
        index: What the index remembers.
    """

    def __init__(self, router: Router, index: ApproximateIndex) -> None:
        self._router = router
        self._index = index
        self._live: list[int] | None = None

    def choose(self, ask: Ask, slots: Slots) -> int:
        """What the router chooses."""
        index = self._index
        index.advance(ask.now_s)
        if slots.live is not self._live:
            if self._live is not None:
                staying = frozenset(slots.live)
                for slot in self._live:
                    if slot not in staying:
                        index.forget(slot)
            self._live = slots.live
        slot = self._router.choose(ask, slots)
        if slot != REJECT and ask.blocks:
            index.send(slot, ask.blocks, ask.now_s)
        return slot
