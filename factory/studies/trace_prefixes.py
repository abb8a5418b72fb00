"""What prompts of a trace begin with alike, and which prompts continue earlier ones."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass

from factory.workload.blocks import Runs

_MOST_BEGINNINGS = 500_000
_MOST_PROMPTS = 500_000


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """A beginning that several prompts have.

    Attributes:
        blocks: Its length: the longest that nine in ten of these prompts have.
        prompts: Prompts with the same first block.
        share: Their share of all prompts counted.
    """

    blocks: int
    prompts: int
    share: float


class Beginnings:
    """Counts the first runs of prompts.

    Bounded: beginnings met once are forgotten when half a million are held, so only rare ones can
    be missed (Manku and Motwani 2002). A prefix that is one run in some prompts and several in
    others counts up to the end of the first.
    """

    __slots__ = ("_counts", "_held", "prompts")

    def __init__(self) -> None:
        self.prompts = 0
        self._held = 0
        self._counts: dict[int, dict[int, int]] = {}  # first block → blocks of the run → prompts

    def add(self, runs: Runs) -> None:
        """Counts the beginning of a prompt."""
        self.prompts += 1
        if not runs:
            return
        lengths = self._counts.get(runs[0])
        if lengths is None:
            self._counts[runs[0]] = {runs[1]: 1}
            self._held += 1
        else:
            self._held += runs[1] not in lengths
            lengths[runs[1]] = lengths.get(runs[1], 0) + 1
        if self._held > _MOST_BEGINNINGS:
            self._forget()

    def most_shared(self, most: int = 5, least_share: float = 0.001) -> list[SharedPrefix]:
        """Returns the beginnings of most prompts, the most frequent first.

        Args:
            most: How many at most.
            least_share: Those of a smaller share of the prompts are left out, and single ones.
        """
        totals = {first: sum(lengths.values()) for first, lengths in self._counts.items()}
        order = sorted(totals, key=lambda first: (-totals[first], first))[:most]
        return [
            SharedPrefix(
                _common(self._counts[first].items(), totals[first]),
                totals[first],
                totals[first] / self.prompts,
            )
            for first in order
            if totals[first] > max(1, least_share * self.prompts)
        ]

    def _forget(self) -> None:
        kept = {first: n for first, n in self._counts.items() if sum(n.values()) > 1}
        self._counts = kept
        self._held = sum(map(len, kept.values()))
        if self._held > _MOST_BEGINNINGS // 2:
            # Nothing is rare: the longer tail of run lengths has to go instead.
            self._counts = {first: {min(n): sum(n.values())} for first, n in kept.items()}
            self._held = len(self._counts)


def _common(lengths: Iterable[tuple[int, int]], prompts: int) -> int:
    """The longest length that 90 % of the prompts reach."""
    reached = 0
    for length, count in sorted(lengths, reverse=True):
        reached += count
        if reached >= 0.9 * prompts:
            return length
    return 0


@dataclass(slots=True)
class Conversation:
    """The latest request of a conversation.

    Attributes:
        number: Of the conversation, from 0.
        turn: Position of the request in it, from 0.
        time_s: Its arrival.
        input_tokens: Its prompt.
        output_tokens: Its answer.
    """

    number: int
    turn: int
    time_s: float
    input_tokens: int
    output_tokens: int


class Continuations:
    """Finds conversations in a trace that names blocks and no sessions.

    A prompt continues an earlier one if it begins with all whole blocks of that prompt, and if
    those are more than the prefix that unrelated prompts share. Where several do, it continues the
    longest. Holds the latest request of each of the last half a million conversations.

    Args:
        block_size: Tokens per block.
        shared_blocks: Leading blocks that unrelated prompts share.
    """

    __slots__ = ("_at", "_ends", "_next", "_shared", "_size", "conversations")

    def __init__(self, block_size: int, shared_blocks: int) -> None:
        self._size = block_size
        self._shared = shared_blocks
        # First block of a run → positions in it where a latest prompt ends, ascending.
        self._ends: dict[int, list[int]] = {}
        self._at: dict[tuple[int, int], Conversation] = {}
        self._next = 0
        self.conversations = 0

    def add(
        self, runs: Runs, time_s: float, input_tokens: int, output_tokens: int
    ) -> Conversation | None:
        """Takes the next prompt in.

        Returns:
            The request that it continues, or None if it begins a conversation.
        """
        before = self._longest(runs)
        if before is None:
            self.conversations += 1
            latest = Conversation(self._next, 0, time_s, input_tokens, output_tokens)
            self._next += 1
        else:
            latest = Conversation(
                before.number, before.turn + 1, time_s, input_tokens, output_tokens
            )
        place = self._end(runs, input_tokens // self._size)
        if place is not None:
            if place not in self._at:
                insort(self._ends.setdefault(place[0], []), place[1])
            self._at.pop(place, None)
            self._at[place] = latest
            if len(self._at) > _MOST_PROMPTS:
                self._remove(next(iter(self._at)))
        return before

    def _longest(self, runs: Runs) -> Conversation | None:
        for i in range(len(runs) - 2, -1, -2):
            ends = self._ends.get(runs[i])
            at = bisect_right(ends, runs[i + 1]) if ends else 0
            if ends and at:
                place = (runs[i], ends[at - 1])
                found = self._at[place]
                self._remove(place)
                return found
        return None

    def _end(self, runs: Runs, blocks: int) -> tuple[int, int] | None:
        """The run in which the last whole block stands, and its position there from 1."""
        if blocks <= self._shared:
            return None
        for i in range(0, len(runs), 2):
            if blocks <= runs[i + 1]:
                return runs[i], blocks
            blocks -= runs[i + 1]
        return None

    def _remove(self, place: tuple[int, int]) -> None:
        del self._at[place]
        ends = self._ends[place[0]]
        ends.pop(bisect_right(ends, place[1]) - 1)
        if not ends:
            del self._ends[place[0]]
