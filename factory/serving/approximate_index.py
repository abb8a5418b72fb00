"""A prefix index that no cache reports to: a router's guess from its own decisions.

A prompt that was sent to a slot is taken to be held there for a fixed time after, and longer if a
later prompt shares it. What the cache really evicted, or kept longer, the guess does not know.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from factory.serving.prefix_index import PrefixIndex


class Reported(Protocol):
    """An index that caches report to."""

    def match(self, blocks: tuple[int, ...]) -> dict[int, int]:
        """Slot → leading blocks held."""
        ...

    def held(self, blocks: tuple[int, ...]) -> NDArray[np.int64]:
        """The same, one number per slot."""
        ...


class ApproximateIndex:
    """Which slots should hold the start of a prompt, by what was sent there lately.

    NVIDIA Dynamo's router works so without KV events (``--no-router-kv-events``,
    ``--router-ttl-secs`` 120). Costs O(runs) per prompt: within a run that a slot was sent several
    times, a longer stretch sent earlier and a shorter one sent later form a staircase, and each
    step is built and forgotten once.

    Args:
        slots: Number of slots.
        ttl_s: How long a prompt is remembered, seconds, above 0.
    """

    __slots__ = ("_expiries", "_index", "_reports", "_stairs", "_ttl_s")

    def __init__(self, slots: int, ttl_s: float) -> None:
        self._index = PrefixIndex(slots)
        self._reports = [self._index.listener(slot) for slot in range(slots)]
        self._ttl_s = ttl_s
        # Of each slot: first block of a run → (leading blocks, forgotten at), most blocks first.
        self._stairs: list[dict[int, deque[tuple[int, float]]]] = [{} for _ in range(slots)]
        self._expiries: deque[tuple[float, int, int]] = deque()  # time, slot, first block

    def send(self, slot: int, blocks: tuple[int, ...], now_s: float) -> None:
        """A prompt goes to a slot.

        Args:
            slot: Number of the slot.
            blocks: Runs of the prompt, `(first, count, first, count, …)`.
            now_s: Time, seconds; never less than at an earlier call.
        """
        stairs, report = self._stairs[slot], self._reports[slot]
        until_s = now_s + self._ttl_s
        flat = iter(blocks)
        for first, count in zip(flat, flat, strict=False):
            stair = stairs.get(first)
            if stair is None:
                stair = stairs[first] = deque()
                report(first, 0, count)
            else:
                held = stair[0][0]
                while stair and stair[-1][0] <= count:
                    stair.pop()
                if not stair and count > held:
                    report(first, held, count)
            stair.append((count, until_s))
            self._expiries.append((until_s, slot, first))

    def match(self, blocks: tuple[int, ...]) -> dict[int, int]:
        """Slot → leading blocks that it should hold, as of the last `advance`."""
        return self._index.match(blocks)

    def held(self, blocks: tuple[int, ...]) -> NDArray[np.int64]:
        """The same, one number per slot."""
        return self._index.held(blocks)

    def advance(self, now_s: float) -> None:
        """Forgets what was sent `ttl_s` ago or earlier."""
        expiries = self._expiries
        while expiries and expiries[0][0] <= now_s:
            _, slot, first = expiries.popleft()
            stair = self._stairs[slot].get(first)
            if stair is None:
                continue
            held = stair[0][0]
            while stair and stair[0][1] <= now_s:
                stair.popleft()
            if stair:
                if stair[0][0] < held:
                    self._reports[slot](first, held, stair[0][0])
            else:
                del self._stairs[slot][first]
                self._reports[slot](first, held, 0)

    def forget(self, slot: int) -> None:
        """Forgets all that was sent to a slot: it went away, and its cache with it."""
        for first, stair in self._stairs[slot].items():
            self._reports[slot](first, stair[0][0], 0)
        self._stairs[slot].clear()


class Both:
    """What caches report, and what was sent lately and they have not computed yet.

    A prompt that still waits for its prefill is in no cache, but those that share its start had
    better follow it: with reports alone they are spread while queues are long.

    Args:
        reported: What the caches report.
        sent: What was sent where.
    """

    __slots__ = ("_reported", "_sent")

    def __init__(self, reported: Reported, sent: ApproximateIndex) -> None:
        self._reported = reported
        self._sent = sent

    def match(self, blocks: tuple[int, ...]) -> dict[int, int]:
        """Slot → leading blocks that it holds or will, by whichever knows of more."""
        found = self._reported.match(blocks)
        for slot, blocks_sent in self._sent.match(blocks).items():
            if blocks_sent > found.get(slot, 0):
                found[slot] = blocks_sent
        return found

    def held(self, blocks: tuple[int, ...]) -> NDArray[np.int64]:
        """The same, one number per slot."""
        return np.maximum(self._reported.held(blocks), self._sent.held(blocks))
