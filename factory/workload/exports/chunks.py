"""Block ids in blocks of another size, and as small numbers."""

from __future__ import annotations

from bisect import bisect_right

from factory.workload.blocks import RUN_SPAN, SESSION_BASE, SOURCE_SPAN, Runs, merged, refined
from factory.workload.blocks import trimmed as first_blocks
from factory.workload.exports.rows import Loss


def coarsened_loss(size: int, target: int) -> Loss:
    """What is said of prompts whose ids do not fill whole blocks of the target."""
    why = f"at their ends (blocks of {size} tokens fill no whole one of {target})"
    return Loss(f"prompt loses some block ids {why}", f"prompts lose some block ids {why}")


def resized(runs: Runs, size: int, target: int, tokens: int) -> Runs:
    """Returns a prompt's blocks in blocks of another size.

    A smaller block of number j in a block takes the id `id × (size / target) + j`. A larger block
    takes the id of the last of the blocks it holds: ids are chained, so that one determines all
    before it. A larger block that the prompt does not fill is named only if its tokens all are.

    Args:
        runs: Flattened runs of ids, chained.
        size: Tokens of their blocks.
        target: Tokens of the wanted blocks; it divides `size` or is divided by it.
        tokens: Of the whole prompt.

    Returns:
        Flattened runs, chained at the new size.
    """
    if size == target:
        return runs
    if size % target == 0:
        return first_blocks(refined(runs, size // target), -(-tokens // target))
    factor = target // size
    result: list[int] = []
    taken = 0  # blocks of the prompt so far
    last = -1
    for i in range(0, len(runs), 2):
        first, count = runs[i], runs[i + 1]
        for at in range(taken + factor - taken % factor, taken + count + 1, factor):
            result += (first + at - taken - 1, 1)
        taken += count
        last = first + count - 1
    if taken % factor and taken * size >= tokens:
        result += (last, 1)
    return merged(result)


def loses_ids(runs: Runs, size: int, target: int) -> bool:
    """Whether whole blocks of a prompt are not part of a whole larger one."""
    return target > size and bool(sum(runs[1::2]) % (target // size))


class SmallIds:
    """Gives the blocks of generated prompts the numbers 0, 1, 2, … as they are met.

    Ids of a workload are far apart (every session sets many aside); a file is shorter with small
    ones. What is kept of a session goes when it is over.
    """

    __slots__ = ("_next", "_owned", "_spans")

    def __init__(self) -> None:
        self._next = 0
        # For each span of ids: starts of known stretches, their ends, and their new first ids.
        self._spans: dict[int, tuple[list[int], list[int], list[int]]] = {}
        self._owned: dict[str, list[int]] = {}

    def renamed(self, runs: Runs, session: str | None) -> Runs:
        """Returns the same prompt with small ids.

        Args:
            runs: Flattened runs of ids.
            session: Session that the prompt's private ids belong to; None if it has no other
                request, so that they need not be kept.
        """
        result: list[int] = []
        for i in range(0, len(runs), 2):
            first, count = runs[i], runs[i + 1]
            span = first // RUN_SPAN
            is_private = first % SOURCE_SPAN >= SESSION_BASE
            if is_private and session is None:
                result += (self._next, count)
                self._next += count
                continue
            known = self._spans.get(span)
            if known is None:
                known = self._spans[span] = ([], [], [])
                if is_private and session is not None:
                    self._owned.setdefault(session, []).append(span)
            self._stretch(known, first, first + count, result)
        return merged(result)

    def forget(self, session: str) -> None:
        """Drops what is kept of a session that is over."""
        for span in self._owned.pop(session, ()):
            del self._spans[span]

    def _stretch(
        self,
        known: tuple[list[int], list[int], list[int]],
        at: int,
        end: int,
        result: list[int],
    ) -> None:
        """Adds the new ids of the blocks from `at` up to `end`."""
        starts, ends, names = known
        while at < end:
            i = bisect_right(starts, at) - 1
            if i >= 0 and at < ends[i]:
                upto = min(end, ends[i])
                result += (names[i] + at - starts[i], upto - at)
            else:
                upto = min(end, starts[i + 1]) if i + 1 < len(starts) else end
                if i >= 0 and ends[i] == at and names[i] + ends[i] - starts[i] == self._next:
                    ends[i] = upto
                else:
                    starts.insert(i + 1, at)
                    ends.insert(i + 1, upto)
                    names.insert(i + 1, self._next)
                result += (self._next, upto - at)
                self._next += upto - at
            at = upto
