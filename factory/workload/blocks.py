"""Block ids of prompts, as runs: `(first, count, first, count, …)`.

Two promises hold for every prompt that leaves this package, and the prefix caches rest on them:

* *chained*: a block's id determines every block before it, so the block that comes before an id is
  always the same one (or none);
* *canonical*: two runs that overlap start with the same id. It follows from the first promise when
  neighbouring runs that continue each other are merged.

Only whole blocks can be shared. A partial block at the end of a prompt gets no id here (the next
turn fills that place with another content), unless a trace itself names it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

Runs = tuple[int, ...]

#: Ids of one source of requests start at multiples of this; a trace that comes first keeps its own.
SOURCE_SPAN = 1 << 52
#: Inside a source: distinct shared prefixes, then from here on the sessions' private runs.
SESSION_BASE = 1 << 51
#: Ids set aside for each shared prefix and each session: no prompt has as many blocks.
RUN_SPAN = 1 << 24


class Chains:
    """Checks that prompts are chained: O(log runs) for a new run, O(1) for one seen before."""

    __slots__ = ("_before", "_end", "_starts")

    def __init__(self) -> None:
        self._before: dict[int, int] = {}  # first block of a run → the block before it
        self._end: dict[int, int] = {}  # first block of a run → one past its longest occurrence
        self._starts: list[int] = []  # first blocks, sorted

    def admit(self, runs: Runs) -> str | None:
        """Takes a prompt's runs in, up to the first that is not chained.

        Args:
            runs: Flattened runs, none empty, in which none continues the one before.

        Returns:
            None, or what contradicts the prompts seen earlier.
        """
        known_before, ends = self._before, self._end
        before = -1
        for first, count in zip(runs[::2], runs[1::2], strict=True):
            end = first + count
            known = known_before.get(first)
            if known is None:
                problem = self._begin(first, before, end)
            elif known != before:
                return f"block {first} follows {_name(before)} here and {_name(known)} earlier"
            elif end > ends[first]:
                problem = self._extend(first, end)
            else:
                problem = None
            if problem:
                return problem
            before = end - 1
        return None

    def span(self) -> int:
        """Returns a number above every block id."""
        return max(self._end.values(), default=0)

    def _begin(self, first: int, before: int, end: int) -> str | None:
        starts = self._starts
        at = bisect_left(starts, first) if starts and first < starts[-1] else len(starts)
        if at and self._end[starts[at - 1]] > first:
            return f"block {first} follows {_name(before)} here and block {first - 1} earlier"
        if at < len(starts) and starts[at] < end:
            return self._overlap(starts[at])
        starts.insert(at, first)
        self._before[first] = before
        self._end[first] = end
        return None

    def _extend(self, first: int, end: int) -> str | None:
        starts = self._starts
        if first != starts[-1]:
            after = starts[bisect_left(starts, first) + 1]
            if after < end:
                return self._overlap(after)
        self._end[first] = end
        return None

    def _overlap(self, block: int) -> str:
        known = _name(self._before[block])
        return f"block {block} follows block {block - 1} here and {known} earlier"


def merged(runs: Sequence[int]) -> Runs:
    """Returns runs with neighbours that continue each other made one, and empty ones left out."""
    result: list[int] = []
    for i in range(0, len(runs), 2):
        first, count = runs[i], runs[i + 1]
        if count and result and result[-2] + result[-1] == first:
            result[-1] += count
        elif count:
            result += (first, count)
    return tuple(result)


def refined(runs: Runs, factor: int) -> Runs:
    """Returns the same prompt in blocks `factor` times smaller."""
    return runs if factor == 1 else tuple(x * factor for x in runs)


def trimmed(runs: Runs, blocks: int) -> Runs:
    """Returns the first `blocks` blocks of a prompt."""
    result: list[int] = []
    for i in range(0, len(runs), 2):
        count = min(runs[i + 1], blocks)
        if count <= 0:
            break
        result += (runs[i], count)
        blocks -= count
    return tuple(result)


class _Node:
    """A run in the tree of all prompts: where it is met first decides the names of its blocks."""

    __slots__ = ("branches", "name")

    def __init__(self, name: int) -> None:
        self.name = name  # canonical id of its first block
        self.branches: dict[tuple[int, int], _Node] = {}  # (blocks taken, next raw id) → node


def chained(prompts: Sequence[Runs]) -> list[Runs]:
    """Renames blocks so that ids are chained; prompts share exactly the prefixes they shared.

    Equal ids after different prefixes (ids that hash a block's content alone) become different
    ids. Costs O(runs).

    Args:
        prompts: Flattened, merged runs of every prompt of one id space.

    Returns:
        The prompts with ids of their own, from 0 on.
    """
    span = max((sum(runs[1::2]) for runs in prompts), default=0) + 1
    root = _Node(-1)
    nodes = 0
    result: list[Runs] = []
    for runs in prompts:
        renamed: list[int] = []
        node, taken = root, 0
        for i in range(0, len(runs), 2):
            key = (taken, runs[i])
            branch = node.branches.get(key)
            if branch is None:
                branch = node.branches[key] = _Node(nodes * span)
                nodes += 1
            node, taken = branch, runs[i + 1]
            renamed += (branch.name, taken)
        result.append(tuple(renamed))
    return result


def _name(block: int) -> str:
    return "the start" if block < 0 else f"block {block}"
