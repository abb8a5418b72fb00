"""Which KV caches hold the start of a prompt: one look-up over all replicas.

The index hears from every cache, once per run of blocks that changes (never once per block), how
many leading blocks of that run it holds, and so answers for all caches without asking one. Prompts
are runs of chained block ids, as in `factory.serving.kv_cache`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Holders of a run up to which a loop beats built-in functions over all of them.
_FEW = 16


class PrefixIndex:
    """The longest prefix of a prompt per slot; a slot is one KV cache (one rank of a replica).

    Attributes:
        slots: Number of caches; slots are numbered from 0.
    """

    __slots__ = ("_least", "_runs", "slots")

    def __init__(self, slots: int) -> None:
        """Makes an empty index.

        Args:
            slots: Number of caches.
        """
        self.slots = slots
        self._runs: dict[int, dict[int, int]] = {}  # first block → slot → leading blocks held
        self._least: dict[int, int] = {}  # runs that every slot holds → least held by any; a cache

    def listener(self, slot: int) -> Callable[[int, int, int], None]:
        """Returns the function by which the cache of a slot reports (its `PrefixListener`).

        Args:
            slot: Number of the cache, 0 ≤ slot < `slots`.

        Returns:
            A function of `(first, before, after)`: of the run that starts with block `first`, the
            cache held `before` leading blocks and holds `after` now.

        Raises:
            ValueError: There is no such slot.
        """
        if not 0 <= slot < self.slots:
            raise ValueError(f"PrefixIndex: slot must be in 0..{self.slots - 1}, got {slot}")
        runs, least = self._runs, self._least

        def report(first: int, _before: int, after: int) -> None:
            holders = runs.get(first)
            if first in least:
                del least[first]
            if holders is None:
                runs[first] = {slot: after}
            elif after:
                holders[slot] = after
            else:
                del holders[slot]
                if not holders:
                    del runs[first]

        return report

    def match(self, blocks: tuple[int, ...]) -> dict[int, int]:
        """Finds every cache that holds the start of a prompt, and how much of it.

        Args:
            blocks: Runs of the prompt, `(first, count, first, count, …)`.

        Returns:
            Slot → leading blocks held, for the slots that hold any. A new dictionary, whose order
            depends on the order of the reports alone.
        """
        runs = self._runs
        found: dict[int, int] = {}
        holders: dict[int, int] = {}
        before = base = 0
        flat = iter(blocks)
        for first, count in zip(flat, flat, strict=False):
            holding = runs.get(first)
            if holding is None:
                break
            # Who holds a run holds all before it. So equal numbers mean the same caches, which
            # are entered once, with the deepest run.
            if len(holding) != len(holders) and holders:
                _enter(found, holders, before, base)
            holders = holding
            before = base
            base += count
        if len(holders) > _FEW:
            _enter(found, holders, before, base)
        else:
            count = base - before
            for slot, held in holders.items():
                found[slot] = before + held if held < count else base
        return found

    def held(self, blocks: tuple[int, ...]) -> NDArray[np.int64]:
        """Finds how much of a prompt's start each cache holds.

        Costs nothing per slot in Python where few caches hold a run, or all hold the whole of it.

        Args:
            blocks: Runs of the prompt, `(first, count, first, count, …)`.

        Returns:
            Leading blocks held, one number per slot; a new array.
        """
        runs = self._runs
        found: NDArray[np.int64] = np.zeros(self.slots, dtype=np.int64)
        holders: dict[int, int] = {}
        before = base = first = 0
        flat = iter(blocks)
        for next_first, count in zip(flat, flat, strict=False):
            holding = runs.get(next_first)
            if holding is None:
                break
            # As in `match`.
            if len(holding) != len(holders) and holders:
                self._fill(found, first, holders, before, base)
            holders, first = holding, next_first
            before = base
            base += count
        self._fill(found, first, holders, before, base)
        return found

    def _fill(
        self, found: NDArray[np.int64], first: int, holders: dict[int, int], start: int, stop: int
    ) -> None:
        """As `_enter`, into an array; the run begins with block `first`."""
        count = stop - start
        if len(holders) <= _FEW:
            for slot, held in holders.items():
                found[slot] = start + held if held < count else stop
            return
        if len(holders) == self.slots:
            least = self._least.get(first)
            if least is None:
                least = self._least[first] = min(holders.values())
            if least >= count:
                found.fill(stop)
                return
        slots = np.fromiter(holders, np.intp, len(holders))
        found[slots] = start + np.fromiter(holders.values(), np.int64, len(holders)).clip(max=count)


def _enter(found: dict[int, int], holders: dict[int, int], start: int, stop: int) -> None:
    """Enters the holders of a run that is blocks `start` to `stop` (excluded) of the prompt."""
    count = stop - start
    if len(holders) > _FEW and min(holders.values()) >= count:
        found.update(dict.fromkeys(holders, stop))
    else:
        for slot, held in holders.items():
            found[slot] = start + held if held < count else stop
