"""The decoding sequences of a rank, advanced by leaps or, as the oracle, step by step.

Both classes answer the same questions. `LeapBatch` does it without looking at its members: a heap
of finish steps, a sum of contexts, and counters of where in its last block each sequence stands.
`StepBatch` looks at every member in every step.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Protocol

from factory.serving.sequence import Sequence


class Batch(Protocol):
    """What a rank asks of its decoding sequences.

    Attributes:
        size: Sequences in the batch.
        step: Steps done so far, over the life of the replica.
        settled: Steps whose KV blocks have been taken.
    """

    size: int
    step: int
    settled: int

    @property
    def context(self) -> Any:
        """KV tokens that they read in the next step, each one's new token included.

        A whole number, or a float where steps verify drafts.
        """

    def join(self, sequence: Sequence) -> None:
        """Takes part from the next step on; reads ``position``, ``generated`` and ``limit``."""

    def leave(self, sequence: Sequence) -> None:
        """Takes part no more; sets its ``generated``, ``position`` and ``decode_steps``."""

    def advance(self, steps: int) -> bool:
        """``steps`` more steps are done, at most `horizon` of them; says whether some finished."""

    def finished(self) -> list[Sequence]:
        """The sequences that have all their tokens, in order of joining."""

    def horizon(self) -> int:
        """Steps until the first sequence has all its tokens; a large number if there is none."""

    def growth(self, until: int) -> int:
        """KV blocks that steps from the last `settle` up to, not including, step ``until`` need."""

    def settle(self, until: int) -> int:
        """`growth(until)`, which is counted as taken from now on."""

    def fits(self, blocks: int) -> bool:
        """Whether ``blocks`` blocks are enough up to the end of the next step (since `settle`)."""

    def room(self, blocks: int, most: int) -> int:
        """A number of further steps, up to ``most``, that ``blocks`` blocks allow (since `settle`).

        It may be less than the largest one, but never 0 where one more step fits.
        """


ENDLESS = 1 << 40


class LeapBatch:
    """A batch that is advanced by any number of steps in constant time (see `Batch`).

    Args:
        block_size: Tokens per KV block.
        step: Steps already done by the replica.
    """

    __slots__ = ("_block", "_heap", "_needs", "_tickets", "context", "settled", "size", "step")

    def __init__(self, block_size: int, step: int = 0) -> None:
        self.size = 0
        self.context = 0
        self.step = step
        self._block = block_size
        self._heap: list[tuple[int, int, Sequence]] = []
        # _needs[r]: members that open a new block in every step j with j % block == r.
        self._needs = [0] * block_size
        self.settled = step
        self._tickets = 0

    def join(self, sequence: Sequence) -> None:
        step = self.step
        position = sequence.position
        sequence.join_step = step
        sequence.join_context = position + 1
        finish = step + sequence.limit - sequence.generated
        self._tickets = ticket = self._tickets + 1
        sequence.ticket = ticket
        heappush(self._heap, (finish, ticket, sequence))
        self._needs[(step - position) % self._block] += 1
        self.size += 1
        self.context += position + 1

    def leave(self, sequence: Sequence) -> None:
        step = self.step
        done = step - sequence.join_step
        position = sequence.join_context - 1
        self._needs[(sequence.join_step - position) % self._block] -= 1
        self.size -= 1
        self.context -= sequence.join_context + done
        sequence.ticket = -1
        sequence.decode_steps += done
        sequence.generated += done
        sequence.position = position + done

    def advance(self, steps: int) -> bool:
        self.step += steps
        self.context += self.size * steps
        heap = self._heap
        while heap and heap[0][0] <= self.step:
            if heap[0][2].ticket == heap[0][1]:
                return True
            heappop(heap)
        return False

    def finished(self) -> list[Sequence]:
        heap = self._heap
        step = self.step
        done: list[Sequence] = []
        while heap and heap[0][0] <= step:
            _, ticket, sequence = heappop(heap)
            if sequence.ticket == ticket:
                done.append(sequence)
        return done

    def horizon(self) -> int:
        heap = self._heap
        while heap:
            finish, ticket, sequence = heap[0]
            if sequence.ticket == ticket:
                return finish - self.step
            heappop(heap)
        return ENDLESS

    def growth(self, until: int) -> int:
        steps = until - self.settled
        if steps <= 0 or not self.size:
            return 0
        block = self._block
        laps, rest = divmod(steps, block)
        count = laps * self.size
        if rest:
            needs = self._needs
            first = self.settled % block
            end = first + rest
            if end <= block:
                count += needs[first] if rest == 1 else sum(needs[first:end])
            else:
                count += sum(needs[first:]) + sum(needs[: end - block])
        return count

    def settle(self, until: int) -> int:
        count = self.growth(until)
        self.settled = max(self.settled, until)
        return count

    def fits(self, blocks: int) -> bool:
        step = self.step
        if self.size * ((step - self.settled) // self._block + 1) <= blocks:
            return True
        return self.growth(step + 1) <= blocks

    def room(self, blocks: int, most: int) -> int:
        size = self.size
        if not size:
            return most
        block = self._block
        ahead = self.step - self.settled
        if size * ((ahead + most) // block + 1) <= blocks:
            return most
        needs = self._needs
        laps, left = divmod(blocks, size)
        offset = 0
        left -= needs[self.settled % block]
        while left >= 0:
            offset += 1
            left -= needs[(self.settled + offset) % block]
        return max(0, min(most, laps * block + offset - ahead))


class StepBatch:
    """The oracle: every member is looked at in every step (see `Batch`)."""

    __slots__ = ("_block", "_members", "_tickets", "context", "settled", "size", "step")

    def __init__(self, block_size: int, step: int = 0) -> None:
        self.size = 0
        self.context = 0
        self.step = step
        self._block = block_size
        self._members: dict[int, Sequence] = {}
        self.settled = step
        self._tickets = 0

    def join(self, sequence: Sequence) -> None:
        self._tickets += 1
        sequence.ticket = self._tickets
        sequence.join_step = self.step
        sequence.join_context = sequence.position + 1
        self._members[sequence.ticket] = sequence
        self._count()

    def leave(self, sequence: Sequence) -> None:
        del self._members[sequence.ticket]
        sequence.ticket = -1
        sequence.decode_steps += self.step - sequence.join_step
        self._count()

    def advance(self, steps: int) -> bool:
        for _ in range(steps):
            self.step += 1
            for sequence in self._members.values():
                sequence.generated += 1
                sequence.position += 1
        self._count()
        return any(member.generated >= member.limit for member in self._members.values())

    def _count(self) -> None:
        self.size = len(self._members)
        self.context = sum(sequence.position + 1 for sequence in self._members.values())

    def finished(self) -> list[Sequence]:
        return [member for member in self._members.values() if member.generated >= member.limit]

    def horizon(self) -> int:
        lefts = [member.limit - member.generated for member in self._members.values()]
        return min(lefts, default=ENDLESS)

    def growth(self, until: int) -> int:
        count = 0
        for step in range(self.settled, until):
            for member in self._members.values():
                if (member.position + step - self.step) % self._block == 0:
                    count += 1
        return count

    def settle(self, until: int) -> int:
        count = self.growth(until)
        self.settled = max(self.settled, until)
        return count

    def fits(self, blocks: int) -> bool:
        return self.growth(self.step + 1) <= blocks

    def room(self, blocks: int, most: int) -> int:
        for steps in range(most):
            if self.growth(self.step + steps + 1) > blocks:
                return steps
        return most
