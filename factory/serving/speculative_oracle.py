"""The oracle of `speculative`: sequences that decode with drafts, looked at in every step."""

from __future__ import annotations

from collections.abc import Iterator

from factory.serving.batch import ENDLESS
from factory.serving.sequence import Sequence
from factory.serving.speculative import ONE, SHIFT, pace_of


class _Member:
    """A sequence of the batch: where it stood before each step, and what it has emitted."""

    __slots__ = ("blocks", "credit", "log", "pace", "positions", "sequence")

    def __init__(self, sequence: Sequence, block_size: int) -> None:
        self.sequence = sequence
        self.pace = pace_of(sequence)[0]
        self.credit = 0
        self.positions = [sequence.position]
        self.log: list[tuple[int, int]] = []
        self.blocks = -(-sequence.position // block_size)

    def step(self) -> int:
        """Emits what its credit makes up; returns that."""
        self.credit += self.pace
        tokens = self.credit >> SHIFT
        self.credit &= ONE - 1
        return tokens

    def position_before(self, step: int) -> int:
        """KV tokens that it has before step ``step`` of its stay, done or to come."""
        if step < len(self.positions):
            return self.positions[step]
        credit = self.credit
        position = self.positions[-1]
        for _ in range(step - len(self.positions) + 1):
            credit += self.pace
            position += credit >> SHIFT
            credit &= ONE - 1
        return position


class SpeculativeStepBatch:
    """Every member is looked at in every step (see `speculative.SpeculativeBatch`)."""

    __slots__ = (
        "_block", "_drafts", "_members", "_tickets", "is_paused", "lag", "settled", "size", "step",
    )  # fmt: skip

    def __init__(self, block_size: int, drafts: int, step: int = 0) -> None:
        self.size = 0
        self.step = step
        self.settled = step
        self.lag = 0
        self.is_paused = False
        self._block = block_size
        self._drafts = drafts
        self._members: dict[int, _Member] = {}
        self._tickets = 0

    @property
    def context(self) -> float:
        """KV tokens that the next step reads, one new token of each sequence included."""
        members = self._members.values()
        tokens = sum(member.sequence.position + 1 for member in members)
        return ((tokens << SHIFT) + sum(member.credit for member in members)) / ONE

    @property
    def slope(self) -> float:
        """KV tokens by which `context` grows per step."""
        return sum(member.pace for member in self._members.values()) / ONE

    def join(self, sequence: Sequence) -> None:
        self._tickets += 1
        member = _Member(sequence, self._block)
        sequence.ticket = self._tickets
        sequence.join_step = self.step
        sequence.join_context = sequence.position + 1
        sequence.pace = member.pace
        sequence.counted = sequence.generated
        sequence.blocks = member.blocks
        self._members[sequence.ticket] = member
        self.size += 1

    def leave(self, sequence: Sequence) -> None:
        member = self._members.pop(sequence.ticket)
        sequence.ticket = -1
        sequence.decode_steps += len(member.positions) - 1
        self.size -= 1

    def advance(self, steps: int) -> bool:
        for _ in range(steps):
            self.step += 1
            for member in self._members.values():
                tokens = member.step()
                member.sequence.generated += tokens
                member.sequence.position += tokens
                member.positions.append(member.sequence.position)
                member.log.append((self.step, tokens))
        return bool(self.finished())

    def finished(self) -> list[Sequence]:
        sequences = [member.sequence for member in self._members.values()]
        return [sequence for sequence in sequences if sequence.generated >= sequence.limit]

    def horizon(self) -> int:
        return min((_steps_left(member) for member in self._members.values()), default=ENDLESS)

    def laps(self, until: int) -> int:
        return -(-(until - self.settled) * (self._drafts + 1) // self._block)

    def emissions(self, until: int) -> Iterator[tuple[int, int]]:
        for member in self._members.values():
            for step, tokens in member.log:
                if step <= until:
                    yield member.sequence.request.tenant, tokens
                    member.sequence.counted += tokens
            member.log = [(step, tokens) for step, tokens in member.log if step > until]

    def growth(self, until: int) -> int:
        if until <= self.settled:
            return 0
        return sum(
            max(0, self._needed(member, until - 1) - member.blocks)
            for member in self._members.values()
        )

    def _needed(self, member: _Member, step: int) -> int:
        position = member.position_before(step - member.sequence.join_step)
        return -(-(position + 1 + self._drafts) // self._block)

    def settle(self, until: int) -> int:
        count = self.growth(until)
        if until > self.settled:
            self.settled = until
            for member in self._members.values():
                member.blocks = max(member.blocks, self._needed(member, until - 1))
                member.sequence.blocks = member.blocks
        return count

    def fits(self, blocks: int) -> bool:
        return self.growth(self.step + 1) <= blocks

    def room(self, blocks: int, most: int) -> int:
        for steps in range(most):
            if self.growth(self.step + steps + 1) > blocks:
                return steps
        return most


def _steps_left(member: _Member) -> int:
    left = member.sequence.limit - member.sequence.generated
    start = member.positions[-1]
    steps = 0
    while member.position_before(len(member.positions) - 1 + steps) - start < left:
        steps += 1
    return steps
