"""The store of one tier below the GPU's memory: what it holds, and what is being written to it.

What it holds is a `KVCache` filled by `touch`, hence closed under prefixes: a block is there with
all before it. A write takes its turn on its way in (`Lane`) and counts from the moment that its
last block has arrived. No event marks that moment: whoever looks at a store says what time it is,
and what has arrived by then, at any store of the deployment, is entered in the order of arrival.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from factory.serving.kv_cache import KVCache, PrefixListener, Spill


def cut(blocks: tuple[int, ...], upto: int) -> tuple[int, ...]:
    """The runs of the first `upto` blocks of a prompt."""
    left = upto
    for i in range(1, len(blocks), 2):
        count = blocks[i]
        if left <= count:
            return (*blocks[:i], left) if left > 0 else blocks[: i - 1]
        left -= count
    return blocks


class Lane:
    """One way into a store, first come first served.

    Attributes:
        blocks_per_s: Bandwidth, KV blocks per second.
        free_s: When all that was sent over it has arrived, seconds.
    """

    __slots__ = ("blocks_per_s", "free_s")

    def __init__(self, blocks_per_s: float) -> None:
        self.blocks_per_s = blocks_per_s
        self.free_s = -inf

    def send(self, blocks: int, now_s: float) -> float:
        """Sends blocks from ``now_s`` on; returns when the last has arrived."""
        begins_s = self.free_s if self.free_s > now_s else now_s
        self.free_s = begins_s + blocks / self.blocks_per_s
        return self.free_s


class Writes:
    """What is on its way to the stores of a deployment."""

    __slots__ = ("_heap", "_next")

    def __init__(self) -> None:
        # By arrival, then number; with the runs that come.
        self._heap: list[tuple[float, int, Store, tuple[int, ...]]] = []
        self._next = 0

    def add(self, arrival_s: float, store: Store, blocks: tuple[int, ...]) -> int:
        """Blocks for a store that will be there at ``arrival_s``; returns their number."""
        self._next = number = self._next + 1
        heappush(self._heap, (arrival_s, number, store, blocks))
        return number

    @property
    def last(self) -> int:
        """Number of the last one sent."""
        return self._next

    def settle(self, now_s: float) -> None:
        """Enters in every store what has arrived by now."""
        heap = self._heap
        while heap and heap[0][0] <= now_s:
            arrival_s, number, store, blocks = heappop(heap)
            store.receive(number, blocks, arrival_s)


class Store:
    """One store of a tier; a rank, a replica, a pool or a deployment has it.

    Blocks that it evicts go to the store `below`, if there is one.

    Attributes:
        cache: What it holds.
        latency_s: Of a read or a write, seconds.
        below: Store that takes what this one evicts; None: nothing does.
        written: Blocks that have been sent to it.
    """

    __slots__ = (
        "_coming", "_lane", "_lost", "_now_s", "_writes", "below", "cache", "latency_s", "written",
    )  # fmt: skip

    def __init__(
        self,
        capacity_blocks: int,
        lane: Lane,
        latency_s: float,
        writes: Writes,
        listener: PrefixListener | None = None,
        below: Store | None = None,
    ) -> None:
        """Makes an empty store.

        Args:
            capacity_blocks: Blocks that it holds.
            lane: Its own way in, which all its writers share.
            latency_s: Of a read or a write, seconds.
            writes: What is on its way to the stores of the deployment.
            listener: Told about every change of the blocks present.
            below: Store that takes what this one evicts.
        """
        spill: Spill | None = None if below is None else self._spilled
        self.cache = KVCache(capacity_blocks, listener, spill=spill)
        self.latency_s = latency_s
        self.below = below
        self.written = 0
        self._lane = lane
        self._writes = writes
        # Of each run on its way here, the write with most blocks of it: (blocks, number, arrival).
        self._coming: dict[int, tuple[int, int, float]] = {}
        self._now_s = 0.0
        # Writes up to this number were on their way when the store was lost.
        self._lost = 0

    def lose(self, now_s: float) -> None:
        """Its memory is gone with all that it held and that was on its way."""
        self._writes.settle(now_s)
        self._lost = self._writes.last
        self._coming.clear()
        self.cache.lose()

    def receive(self, number: int, blocks: tuple[int, ...], now_s: float) -> None:
        """A write has arrived."""
        if number <= self._lost:
            return
        coming = self._coming
        for first in blocks[::2]:
            known = coming.get(first)
            if known is not None and known[1] == number:
                del coming[first]
        self._touch(blocks, now_s)

    def match(self, blocks: tuple[int, ...], now_s: float) -> int:
        """Leading blocks of a prompt that it holds."""
        self._writes.settle(now_s)
        return self.cache.match(blocks)

    def enter(self, blocks: tuple[int, ...], upto: int, now_s: float) -> None:
        """Holds the first `upto` blocks at once: they have passed through it."""
        self._writes.settle(now_s)
        self._touch(cut(blocks, upto), now_s)

    def write(
        self,
        blocks: tuple[int, ...],
        upto: int,
        now_s: float,
        lane: Lane | None = None,
        ready_s: float = -inf,
    ) -> float:
        """Sends it the first `upto` blocks of a prompt, less those that it has or that are coming.

        Args:
            blocks: Runs of the prompt.
            upto: Leading blocks that it shall hold.
            now_s: Time, seconds.
            lane: The writer's way out, beside the store's way in: the slower one counts.
            ready_s: When the blocks are where they are sent from, if that is later.

        Returns:
            When all of them are there.
        """
        self._writes.settle(now_s)
        return self._send(blocks, upto, now_s, lane, max(now_s, ready_s))

    def _send(
        self, blocks: tuple[int, ...], upto: int, now_s: float, lane: Lane | None, ready_s: float
    ) -> float:
        upto = min(upto, self.cache.capacity)
        head = cut(blocks, upto)
        present = self.cache.match(head)
        new = upto - present
        if new <= 0:
            self._touch(head, now_s)
            return ready_s
        coming = self._coming
        before_s = ready_s
        if coming:
            sent, before_s = self._sent(head, ready_s)
            new = upto - max(present, sent)
            if new <= 0:
                return before_s
        done_s = self._lane.send(new, ready_s)
        if lane is not None:
            done_s = max(done_s, lane.send(new, ready_s))
        done_s = max(done_s + self.latency_s, before_s)
        self.written += new
        number = self._writes.add(done_s, self, head)
        for i in range(0, len(head), 2):
            known = coming.get(head[i])
            if known is None or known[0] < head[i + 1]:
                coming[head[i]] = (head[i + 1], number, done_s)
        return done_s

    def pin(self, blocks: tuple[int, ...], upto: int) -> None:
        """The first `upto` blocks, which it holds, are being read: they stay."""
        self.cache.admit(blocks, upto, 0)

    def release(self, blocks: tuple[int, ...], upto: int, now_s: float) -> None:
        """The first `upto` blocks have been read: they are its most recently used."""
        self._writes.settle(now_s)
        self.cache.release(blocks, upto, 0, now_s)

    def _sent(self, head: tuple[int, ...], ready_s: float) -> tuple[int, float]:
        """Leading blocks that it will hold when all is written, and when those have arrived."""
        depth = sum(head[1::2])
        for i in range(len(head) - 2, -1, -2):
            count = head[i + 1]
            depth -= count
            known = self._coming.get(head[i])
            if known is not None:
                return depth + min(count, known[0]), max(known[2], ready_s)
        return 0, ready_s

    def _touch(self, blocks: tuple[int, ...], now_s: float) -> None:
        self._now_s = now_s
        self.cache.touch(blocks, now_s)

    def _spilled(self, blocks: tuple[int, ...], _start: int) -> None:
        below = self.below
        assert below is not None
        # In the middle of an entry: what else has arrived by now is entered after it.
        below._send(blocks, sum(blocks[1::2]), self._now_s, None, self._now_s)  # noqa: SLF001
