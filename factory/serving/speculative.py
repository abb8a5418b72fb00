"""The decoding sequences of a rank whose steps emit several tokens each (see `batch`).

An answer's number of decode steps is drawn when it arrives (`acceptance`), and its tokens are
spread evenly over them: at the end of step ``j`` of a stay in the batch a sequence has emitted
``floor(j * pace)`` tokens, where the pace is its tokens over its steps, rounded up to a multiple of
`UNIT`. That is a whole number after every step, never falls, and is all of them after the last one.
The context that step times are worked out from is the line itself, ``j * pace``: its sum over the
batch is affine in the step, and exact, since paces are integers in units of `UNIT`.

A step writes KV for its token and for all its drafts, so blocks for these are taken before it:
what it will accept is not known then.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace
from typing import Protocol

from factory.serving.batch import ENDLESS, Batch
from factory.serving.sequence import Sequence

SHIFT = 24
ONE = 1 << SHIFT
"""A token in fixed point. A pace that is rounded up adds less than a token over 2**24 steps."""

UNIT = 1.0 / ONE
"""The grain of paces and contexts, tokens."""

_MOST_LOOKED_AT = 32
"""Openings of blocks that `SpeculativeLeapBatch.room` looks at before it is content."""


class SpeculativeBatch(Batch, Protocol):
    """What a rank asks of sequences that decode with drafts, besides what `Batch` answers.

    Attributes:
        lag: Steps of the replica that it has sat out.
        is_paused: Whether it sits out the present ones.
    """

    lag: int
    is_paused: bool

    @property
    def slope(self) -> float:
        """KV tokens by which `context` grows per step."""

    def growth(self, until: int) -> int:
        """As `Batch.growth`; ``until`` is no step that is done."""

    def settle(self, until: int) -> int:
        """As `Batch.settle`; ``until`` is the present."""

    def laps(self, until: int) -> int:
        """Blocks beyond which no member needs any for steps before ``until`` (since `settle`)."""

    def emissions(self, until: int) -> Iterator[tuple[int, int]]:
        """Tokens of steps before ``until`` that are not counted yet, as (tenant, tokens).

        They count as counted from now on: in ``counted`` of each sequence.
        """


def pace_of(sequence: Sequence) -> tuple[int, int]:
    """Pace of a sequence that joins a batch, in units of `UNIT`, and its steps until it is done.

    A preemption ends with a prefill that gives a token without a decode step, so the steps left of
    those drawn may be more than the tokens left; then every step gives one.
    """
    tokens = sequence.limit - sequence.generated
    steps = min(sequence.steps - sequence.decode_steps, tokens)
    return -(-(tokens << SHIFT) // steps), steps


class SpeculativeLeapBatch:
    """A batch that is advanced by any number of steps in constant time (see `SpeculativeBatch`).

    Two heaps hold what is to come: the steps at which sequences finish, and those before which
    they need more blocks than they have.

    Args:
        block_size: Tokens per KV block.
        drafts: Drafts that a step verifies.
        step: Steps already done by the replica.
    """

    __slots__ = (
        "_block",
        "_context",
        "_drafts",
        "_finishes",
        "_members",
        "_openings",
        "_owed",
        "_slope",
        "_tickets",
        "is_paused",
        "lag",
        "settled",
        "size",
        "step",
    )

    def __init__(self, block_size: int, drafts: int, step: int = 0) -> None:
        self.size = 0
        self.step = step
        self.settled = step
        self.lag = 0
        self.is_paused = False
        self._block = block_size
        self._drafts = drafts
        self._context = 0
        self._slope = 0
        self._finishes: list[tuple[int, int, Sequence]] = []
        self._openings: list[tuple[int, int, Sequence]] = []
        self._members: dict[int, Sequence] = {}
        self._owed = 0
        self._tickets = 0

    @property
    def context(self) -> float:
        """KV tokens that the next step reads, one new token of each sequence included."""
        return self._context / ONE

    @property
    def slope(self) -> float:
        """KV tokens by which `context` grows per step."""
        return self._slope / ONE

    def join(self, sequence: Sequence) -> None:
        pace, steps = pace_of(sequence)
        position = sequence.position
        self._tickets = ticket = self._tickets + 1
        sequence.ticket = ticket
        sequence.join_step = self.step
        sequence.join_context = position + 1
        sequence.pace = pace
        sequence.counted = sequence.generated
        sequence.blocks = -(-position // self._block)
        self._members[ticket] = sequence
        heappush(self._finishes, (self.step + steps, ticket, sequence))
        heappush(self._openings, (self._opening(sequence), ticket, sequence))
        self.size += 1
        self._context += (position + 1) << SHIFT
        self._slope += pace

    def leave(self, sequence: Sequence) -> None:
        done = self.step - sequence.join_step
        pace = sequence.pace
        tokens = done * pace >> SHIFT
        del self._members[sequence.ticket]
        self.size -= 1
        self._context -= (sequence.join_context << SHIFT) + done * pace
        self._slope -= pace
        sequence.ticket = -1
        sequence.decode_steps += done
        sequence.generated += tokens
        sequence.position += tokens

    def advance(self, steps: int) -> bool:
        self.step += steps
        self._context += self._slope * steps
        return self.horizon() <= 0

    def finished(self) -> list[Sequence]:
        heap = self._finishes
        step = self.step
        done: list[Sequence] = []
        while heap and heap[0][0] <= step:
            _, ticket, sequence = heappop(heap)
            if sequence.ticket == ticket:
                done.append(sequence)
        return done

    def horizon(self) -> int:
        heap = self._finishes
        while heap:
            finish, ticket, sequence = heap[0]
            if sequence.ticket == ticket:
                return finish - self.step
            heappop(heap)
        return ENDLESS

    def laps(self, until: int) -> int:
        return -(-(until - self.settled) * (self._drafts + 1) // self._block)

    def emissions(self, until: int) -> Iterator[tuple[int, int]]:
        until = min(until, self.step)
        for sequence in self._members.values():
            done = until - sequence.join_step
            emitted = sequence.generated + (done * sequence.pace >> SHIFT)
            yield sequence.request.tenant, emitted - sequence.counted
            sequence.counted = emitted

    # -- KV blocks -----------------------------------------------------------------------------

    def _opening(self, sequence: Sequence) -> int:
        """The first step before which a sequence that joins needs more blocks than it has."""
        short = sequence.blocks * self._block - self._drafts - sequence.join_context + 1
        return sequence.join_step + max(0, -(-(short << SHIFT) // sequence.pace))

    def _catch_up(self) -> None:
        """Owes the blocks that the steps done have needed."""
        heap = self._openings
        step = self.step
        block = self._block
        drafts = self._drafts
        while heap and heap[0][0] < step:
            _, ticket, sequence = heap[0]
            if sequence.ticket != ticket:
                heappop(heap)
                continue
            start = sequence.join_step
            pace = sequence.pace
            first = sequence.join_context + drafts
            blocks = -(-(first + ((step - 1 - start) * pace >> SHIFT)) // block)
            self._owed += blocks - sequence.blocks
            sequence.blocks = blocks
            short = blocks * block + 1 - first
            heapreplace(heap, (start - (-(short << SHIFT) // pace), ticket, sequence))

    def growth(self, until: int) -> int:
        return self._count(until, self.size)[0]

    def _count(self, until: int, most: int) -> tuple[int, bool]:
        """Blocks for steps before ``until``, and whether at most ``most`` members need some.

        If more of them do, the count is of some only. Every step of the walk down the heap is at a
        member that needs a block, or has left, or at the end of the walk.
        """
        self._catch_up()
        heap = self._openings
        size = len(heap)
        count = self._owed
        members = 0
        stack = [0] if size else []
        while stack:
            place = stack.pop()
            step, ticket, sequence = heap[place]
            if step >= until:
                continue
            if sequence.ticket == ticket:
                if members == most:
                    return count, False
                members += 1
                emitted = (until - 1 - sequence.join_step) * sequence.pace >> SHIFT
                tokens = sequence.join_context + self._drafts + emitted
                count -= -tokens // self._block + sequence.blocks
            place = 2 * place + 1
            if place < size:
                stack.append(place)
                if place + 1 < size:
                    stack.append(place + 1)
        return count, True

    def settle(self, until: int) -> int:
        self._catch_up()
        self.settled = until
        count = self._owed
        self._owed = 0
        return count

    def fits(self, blocks: int) -> bool:
        return self.growth(self.step + 1) <= blocks

    def room(self, blocks: int, most: int) -> int:
        step = self.step
        steps = 1
        while True:
            need, is_all = self._count(step + steps, _MOST_LOOKED_AT if steps > 1 else self.size)
            if need > blocks or not is_all:
                return steps // 2
            if steps >= most:
                return most
            steps *= 2
