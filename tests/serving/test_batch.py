"""The batch that leaps against the batch that looks at every member in every step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from factory.serving.batch import ENDLESS, LeapBatch, StepBatch
from factory.serving.sequence import Sequence
from factory.workload import Request


def sequence(number: int, position: int, generated: int, limit: int) -> Sequence:
    """A sequence that is about to decode."""
    request = Request(number, 0, 0, number, 0, -1, number, 0, 0.0, position, limit, ())
    made = Sequence(request, limit, 0)
    made.position = position
    made.generated = generated
    return made


class Batches(RuleBasedStateMachine):
    """Does the same to both, and asks both the same."""

    @initialize(block=st.sampled_from([1, 2, 3, 16]), step=st.integers(0, 40))
    def start(self, block: int, step: int) -> None:
        self.leap, self.step = LeapBatch(block, step), StepBatch(block, step)
        self.members: list[tuple[Sequence, Sequence]] = []
        self.joined = 0

    @rule(position=st.integers(0, 40), generated=st.integers(0, 5), left=st.integers(1, 30))
    def join(self, position: int, generated: int, left: int) -> None:
        # Blocks are settled up to the present whenever membership changes, as a rank does.
        assert self.leap.settle(self.leap.step) == self.step.settle(self.step.step)
        pair = tuple(sequence(self.joined, position, generated, generated + left) for _ in range(2))
        self.joined += 1
        self.members.append((pair[0], pair[1]))
        self.leap.join(pair[0])
        self.step.join(pair[1])

    @precondition(lambda self: self.members)
    @rule(which=st.integers(0, 50))
    def leave(self, which: int) -> None:
        assert self.leap.settle(self.leap.step) == self.step.settle(self.step.step)
        mine, other = self.members.pop(which % len(self.members))
        self.leap.leave(mine)
        self.step.leave(other)
        assert (mine.generated, mine.position) == (other.generated, other.position)

    @rule(share=st.floats(0, 1))
    def advance(self, share: float) -> None:
        steps = int(share * min(self.step.horizon(), 40))
        finished = self.leap.advance(steps), self.step.advance(steps)
        assert finished[0] == finished[1]

    @rule(steps=st.integers(0, 50))
    def settle(self, steps: int) -> None:
        until = self.step.step + min(steps, self.step.horizon())
        assert self.leap.settle(until) == self.step.settle(until)

    @rule()
    def finish(self) -> None:
        assert self.leap.settle(self.leap.step) == self.step.settle(self.step.step)
        done = [(a.request.index, a) for a in self.leap.finished()]
        others = [(b.request.index, b) for b in self.step.finished()]
        assert [number for number, _ in done] == [number for number, _ in others]
        for (number, mine), (_, other) in zip(done, others, strict=True):
            self.leap.leave(mine)
            self.step.leave(other)
            assert (mine.generated, mine.position) == (other.generated, other.position)
            self.members = [m for m in self.members if m[0].request.index != number]

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "leap"):
            return
        leap, step = self.leap, self.step
        assert (leap.size, leap.context, leap.step) == (step.size, step.context, step.step)
        assert leap.settled == step.settled
        assert leap.horizon() == step.horizon()
        for steps in (0, 1, 2, 5, 17):
            assert leap.growth(step.step + steps) == step.growth(step.step + steps)
        need = step.growth(step.step + 1)
        for blocks in (0, need - 1, need, need + 1, 3 * need + 2):
            if blocks < 0:
                continue
            assert leap.fits(blocks) == step.fits(blocks)
            for most in (1, 3, 20):
                assert leap.room(blocks, most) == step.room(blocks, most)


Batches.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, derandomize=True, database=None
)
TestBatches = Batches.TestCase


def test_an_empty_batch_is_endless() -> None:
    batch = LeapBatch(16)
    assert batch.horizon() == ENDLESS
    assert batch.room(0, ENDLESS) == ENDLESS
    assert batch.growth(1000) == 0


def test_blocks_of_one_sequence() -> None:
    """30 tokens in blocks of 16: the second block has two places left."""
    batch = LeapBatch(16)
    batch.join(sequence(0, 30, 0, 100))
    assert [batch.growth(steps) for steps in (1, 2, 3, 18, 19)] == [0, 0, 1, 1, 2]
    assert batch.room(0, 100) == 2
    assert batch.room(1, 100) == 18
    batch.advance(2)
    assert not batch.fits(0)
    assert batch.settle(3) == 1
    assert batch.fits(0)
