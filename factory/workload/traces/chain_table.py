"""Whether the block ids of a whole trace are chained, in 24 bytes for each distinct run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.workload.blocks import Runs

_Ids = NDArray[np.int64]

#: The table of runs that are out of order is merged into the main one at this share of its length.
_MERGE_SHARE = 8


class ChainTable:
    """The runs of a trace as sorted columns: first block, the block before it, one past its end.

    It holds what `blocks.Chains` holds, for traces of millions of rows: three 64-bit numbers a
    distinct run (columns grow by a quarter, so up to 30 bytes), and takes a batch of prompts at
    once. Ids that rise as the trace goes on, as published traces number them, are appended; others
    are gathered apart and merged now and then.
    """

    __slots__ = ("_late", "_main")

    def __init__(self) -> None:
        self._main = _Columns()
        self._late = _Columns()  # runs that begin below the last of the main table

    @property
    def runs(self) -> int:
        """Distinct runs held."""
        return self._main.size + self._late.size

    def span(self) -> int:
        """Returns a number above every block id."""
        return max(
            (int(part.end.max()) for part in (self._main, self._late) if part.size), default=0
        )

    def admit_all(self, prompts: list[Runs]) -> bool:
        """Takes a batch of prompts in, if all of them are chained; else none.

        Args:
            prompts: Flattened runs, none empty, in which none continues the one before.
        """
        first, before, end = _flattened(prompts)
        if not len(first):
            return True
        order = np.argsort(first, kind="stable")
        first, before, end = first[order], before[order], end[order]
        new = np.ones(len(first), dtype=np.bool_)
        new[1:] = first[1:] != first[:-1]
        if bool((~new[1:] & (before[1:] != before[:-1])).any()):
            return False
        starts = np.flatnonzero(new)
        first, before, end = first[starts], before[starts], np.maximum.reduceat(end, starts)
        return self._admit(first, before, end)

    def admit(self, runs: Runs) -> str | None:
        """Takes one prompt in, or says what contradicts the prompts seen earlier."""
        if self.admit_all([runs]):
            return None
        before = -1
        for first, count in zip(runs[::2], runs[1::2], strict=True):
            problem = self._problem(first, count, before)
            if problem:
                return problem
            before = first + count - 1
        return f"block {runs[0]} is named twice"

    def _admit(self, first: _Ids, before: _Ids, end: _Ids) -> bool:
        places = []
        fresh = np.ones(len(first), dtype=np.bool_)
        for part in (self._main, self._late):
            at, is_known = part.find(first)
            if bool((part.before[at[is_known]] != before[is_known]).any()):
                return False
            places.append((part, at, is_known))
            fresh &= ~is_known
        # Runs may not overlap: each must end where the next one of either table begins, or before.
        ends = end.copy()
        for part, at, is_known in places:
            ends[is_known] = np.maximum(ends[is_known], part.end[at[is_known]])
        if bool((ends[:-1] > first[1:]).any()):
            return False
        for part, _, _ in places:
            if not part.has_room(first, ends):
                return False
        for part, at, is_known in places:
            part.end[at[is_known]] = ends[is_known]
        self._insert(first[fresh], before[fresh], end[fresh])
        return True

    def _insert(self, first: _Ids, before: _Ids, end: _Ids) -> None:
        main = self._main
        last = int(main.first[-1]) if main.size else -1
        cut = int(np.searchsorted(first, last, side="right"))
        if cut:
            self._late.merge(first[:cut], before[:cut], end[:cut])
            if self._late.size * _MERGE_SHARE > main.size:
                late, self._late = self._late, _Columns()
                main.merge(late.first, late.before, late.end)
        if cut < len(first):
            self._main.append(first[cut:], before[cut:], end[cut:])

    def _problem(self, first: int, count: int, before: int) -> str | None:
        here = f"follows {_name(before)} here"
        found = np.array([first])
        for part in (self._main, self._late):
            at, is_known = part.find(found)
            if is_known[0]:
                known = int(part.before[at[0]])
                if known != before:
                    return f"block {first} {here} and {_name(known)} earlier"
            elif at[0] and part.end[at[0] - 1] > first:
                return f"block {first} {here} and block {first - 1} earlier"
            after = int(at[0]) + bool(is_known[0])
            if after < part.size and part.first[after] < first + count:
                block, known = int(part.first[after]), int(part.before[after])
                return f"block {block} follows block {block - 1} here and {_name(known)} earlier"
        return None


class _Columns:
    """Runs sorted by their first block, in columns with room to grow."""

    __slots__ = ("_room", "size")

    def __init__(self) -> None:
        self.size = 0
        self._room = np.empty((3, 1024), dtype=np.int64)

    @property
    def first(self) -> _Ids:
        return self._room[0, : self.size]

    @property
    def before(self) -> _Ids:
        return self._room[1, : self.size]

    @property
    def end(self) -> _Ids:
        return self._room[2, : self.size]

    def find(self, first: _Ids) -> tuple[_Ids, NDArray[np.bool_]]:
        """Where each would stand, and whether it is there."""
        at = np.searchsorted(self.first, first)
        is_known = at < self.size
        is_known[is_known] = self.first[at[is_known]] == first[is_known]
        return at, is_known

    def has_room(self, first: _Ids, end: _Ids) -> bool:
        """Whether none of the runs given overlaps one of these, unless it is the same."""
        if not self.size:
            return True
        at = np.searchsorted(self.first, first)
        later = at + 1 - (self.first[np.minimum(at, self.size - 1)] != first)
        is_before = later < self.size
        clear_after = end[is_before] <= self.first[later[is_before]]
        has_earlier = at > 0
        clear_before = self.end[at[has_earlier] - 1] <= first[has_earlier]
        return bool(clear_after.all()) and bool(clear_before.all())

    def append(self, first: _Ids, before: _Ids, end: _Ids) -> None:
        """Adds runs that all begin after those held."""
        size = self.size + len(first)
        if size > self._room.shape[1]:
            room = np.empty((3, max(size, self._room.shape[1] * 5 // 4)), dtype=np.int64)
            room[:, : self.size] = self._room[:, : self.size]
            self._room = room
        self._room[:, self.size : size] = first, before, end
        self.size = size

    def merge(self, first: _Ids, before: _Ids, end: _Ids) -> None:
        """Adds runs in any place."""
        both = np.concatenate((self._room[:, : self.size], (first, before, end)), axis=1)
        self._room = both[:, np.argsort(both[0], kind="stable")]
        self.size = both.shape[1]


def _flattened(prompts: list[Runs]) -> tuple[_Ids, _Ids, _Ids]:
    """First block of every run, the one before it (-1: none), and one past its last."""
    pairs = np.fromiter(
        (x for runs in prompts for x in runs), np.int64, sum(map(len, prompts))
    ).reshape(-1, 2)
    first = pairs[:, 0].copy()
    end = first + pairs[:, 1]
    before = np.empty_like(first)
    before[1:] = end[:-1] - 1
    lengths = np.fromiter((len(runs) // 2 for runs in prompts), np.int64, len(prompts))
    heads = np.cumsum(lengths) - lengths
    before[heads[lengths > 0]] = -1
    return first, before, end


def _name(block: int) -> str:
    return "the start" if block < 0 else f"block {block}"
