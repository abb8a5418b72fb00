"""Which KV caches hold the start of a prompt: one look-up over all replicas.

The index hears from every cache, once per run of blocks that changes (never once per block), how
many leading blocks of that run it holds, and so answers for all caches without asking one. Prompts
are runs of chained block ids, as in `factory.serving.kv_cache`.
"""

from __future__ import annotations

from collections.abc import Callable

# Holders of a run up to which a loop beats built-in functions over all of them.
_FEW = 16


class PrefixIndex:
    """The longest prefix of a prompt per slot; a slot is one KV cache (one rank of a replica).

    Attributes:
        slots: Number of caches; slots are numbered from 0.
    """

    __slots__ = ("_runs", "slots")

    def __init__(self, slots: int) -> None:
        """Makes an empty index.

        Args:
            slots: Number of caches.
        """
        self.slots = slots
        self._runs: dict[int, dict[int, int]] = {}  # first block → slot → leading blocks held

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
        runs = self._runs

        def report(first: int, _before: int, after: int) -> None:
            holders = runs.get(first)
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


def _enter(found: dict[int, int], holders: dict[int, int], start: int, stop: int) -> None:
    """Enters the holders of a run that is blocks `start` to `stop` (excluded) of the prompt."""
    count = stop - start
    if len(holders) > _FEW and min(holders.values()) >= count:
        found.update(dict.fromkeys(holders, stop))
    else:
        for slot, held in holders.items():
            found[slot] = start + held if held < count else stop
