"""What routers see: one column per signal, one row per (replica, rank)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable


class Slots:
    """Signals of the ranks of a pool, kept up to date as requests come and go.

    A slot is one rank of one replica: it has its own batch and cache. Columns are arrays of 64-bit
    whole numbers, which routers look at through numpy without copying them; their length is fixed.

    Attributes:
        count: Number of slots.
        live: The slots that take requests now, in order; never empty while a router is asked.
        requests: Requests waiting or running, or on their way to it.
        waiting: Of these, the requests that its scheduler has not admitted.
        queued: The sum of `waiting`.
        prefill_tokens: Prompt tokens to compute of the requests assigned to it whose prompt is not
            done; the whole of it until then, as an engine reports the end of a prefill and no less.
        kv_tokens: Prompt tokens of the requests assigned to it, a measure of the KV in use.
        capacity_tokens: KV tokens that a slot holds.
    """

    __slots__ = (
        "capacity_tokens", "count", "kv_tokens", "live", "prefill_tokens", "queued", "requests",
        "waiting",
    )  # fmt: skip

    def __init__(self, count: int, capacity_tokens: int = 0) -> None:
        self.count = count
        self.capacity_tokens = capacity_tokens
        self.live = list(range(count))
        self.requests = array("q", bytes(8 * count))
        self.waiting = array("q", bytes(8 * count))
        self.queued = 0
        self.prefill_tokens = array("q", bytes(8 * count))
        self.kv_tokens = array("q", bytes(8 * count))

    def open(self, slots: Iterable[int]) -> None:
        """Lets slots take requests."""
        self.live = sorted({*self.live, *slots})

    def shut(self, slots: Iterable[int]) -> None:
        """Slots take no more requests."""
        gone = frozenset(slots)
        self.live = [slot for slot in self.live if slot not in gone]
