"""What a rank's next step computes: the rules of the engines.

* `Mixed` (vLLM; TensorRT-LLM's in-flight batching): decoding sequences first, one token each, then
  prompts in order, in chunks, within the same budget of tokens.
* `PrefillFirst` (SGLang): as long as a prompt can be admitted, steps compute prompts alone;
  decoding sequences sit them out.

They differ too in whom they let in, and in who goes when memory runs out: vLLM preempts the last of
the lowest priority, which goes back to its place in the queue; SGLang retracts those with the
fewest tokens generated, which go to its end; TensorRT-LLM
(``GUARANTEED_NO_EVICT``) lets in only what surely fits up to its last token.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Protocol

from factory.serving.batch import ENDLESS
from factory.serving.residency import admit, give_way, last_of_lowest, make_room
from factory.serving.sequence import STAGE_RUNNING, Sequence
from factory.serving.step_work import Chunk, add_chunk, steps_of, still_running, tokens_of

if TYPE_CHECKING:
    from factory.serving.rank import Rank

INIT_NEW_TOKEN_RATIO = 0.7
MIN_NEW_TOKEN_RATIO_FACTOR = 0.14
NEW_TOKEN_RATIO_DECAY_STEPS = 600
RETRACT_DECODE_STEPS = 20
CLIP_MAX_NEW_TOKENS = 4096
"""SGLang's constants of these names (its scheduler, 2025)."""

_FEWEST_STALE = 64
"""Entries of sequences that have left, from which on clearing them out is considered."""

LOOK_STEPS = 16
"""Decode steps after which `PrefillFirst` looks again whether a waiting prompt fits, if nothing has
joined or left. SGLang looks after each; its estimate falls by under 3 % in so many."""


class Scheduler(Protocol):
    """Decides between two steps of one rank.

    Attributes:
        guarantees: Whether admission sets blocks aside for the longest answer that a client allows.
        may_pause: Whether steps may leave the decoding sequences out.
        puts_last: Whether who must go waits behind all others, not where its arrival puts it.
        room_steps: Steps for which it makes room, once it must.
    """

    guarantees: bool
    may_pause: bool
    puts_last: bool
    room_steps: int

    def compose(self, rank: Rank) -> bool:
        """Chooses what the next step computes; says whether that differs from the last one."""

    def admits(self, rank: Rank, sequence: Sequence, spare: int, total: int) -> bool:
        """Whether a prompt of ``total`` tokens that leaves ``spare`` blocks over may come in."""

    def victim(self, rank: Rank) -> Sequence:
        """Who goes when they are."""

    def joined(self, rank: Rank, sequence: Sequence) -> None:
        """A sequence has joined the batch."""

    def left(self, rank: Rank, sequence: Sequence) -> None:
        """A sequence is about to leave the batch."""

    def patience(self, rank: Rank) -> int:
        """Steps after which it must be asked again though nothing has happened."""


class Mixed:
    """Prompts in chunks beside decoding sequences, within one budget of tokens.

    Args:
        guarantees: See `Scheduler`; TensorRT-LLM's ``GUARANTEED_NO_EVICT``.
    """

    __slots__ = ("guarantees", "may_pause", "puts_last", "room_steps")

    def __init__(self, guarantees: bool = False) -> None:
        self.guarantees = guarantees
        self.may_pause = False
        self.puts_last = False
        self.room_steps = 1

    def compose(self, rank: Rank) -> bool:
        """Decoding sequences first, then prompts as the budget allows."""
        batch = rank.batch
        size = batch.size
        # It may have sat out while the rank waited for a fetch.
        changed = rank.pauses is not None and rank.pause(False)
        made_room = False
        if size:
            cache = rank.cache
            if rank.drafting is None:
                laps = (batch.step - batch.settled) // rank.block + 1
            else:
                laps = rank.drafting.laps(batch.step + 1)
            if size * laps > cache.capacity - cache.pinned - cache.private:
                made_room = make_room(rank)
                changed = changed or made_room
        if rank.prefilling or rank.chunks or rank.waiting.count:
            return self._prompts(rank, changed, made_room)
        rank.budget = rank.limits.batched_tokens - size * rank.rows
        return changed

    def _prompts(self, rank: Rank, changed: bool, made_room: bool) -> bool:
        """Chooses what of prompts runs beside the batch; says as `compose` does."""
        batch = rank.batch
        limits = rank.limits
        waiting = rank.waiting
        chunks: list[Chunk] = []
        budget = limits.batched_tokens - batch.size * rank.rows
        is_chunked = limits.is_chunked
        for sequence in rank.prefilling:
            if budget <= 0 or not (is_chunked or sequence.left <= budget or not chunks):
                break
            budget -= add_chunk(chunks, sequence, budget if is_chunked else sequence.left)
        while waiting.count and budget > 0 and not made_room:
            sequence = waiting.first()
            if not (is_chunked or sequence.left <= budget or not chunks):
                break
            if not admit(rank, sequence):
                if not (limits.yields and give_way(rank, sequence)):
                    break
                changed = True
                chunks = still_running(chunks)
                budget = limits.batched_tokens - batch.size * rank.rows - tokens_of(chunks)
                continue
            waiting.take()
            if sequence.stage == STAGE_RUNNING:
                budget -= add_chunk(chunks, sequence, budget if is_chunked else sequence.left)
        rank.budget = budget
        # After a preemption, who waits tries again at the very next boundary.
        rank.chunk_steps = 1 if changed else steps_of(chunks)
        if chunks != rank.chunks:
            rank.chunks = chunks
            return True
        return changed

    def admits(self, rank: Rank, sequence: Sequence, spare: int, total: int) -> bool:
        """Whether room for growth stays free; where it is guaranteed, all that may be needed."""
        if self.guarantees:
            growth = rank.final_blocks(sequence) - -(-total // rank.limits.block_size)
            # What is owed has the growth up to the next step in it, which is off already.
            batch = rank.batch
            owed = rank.owed - batch.growth(batch.step + 1)
            if rank.admitted and spare - owed < growth:
                return False
        return spare >= rank.limits.watermark_blocks or (not rank.admitted and spare >= 0)

    def victim(self, rank: Rank) -> Sequence:
        """The last admitted of the lowest priority."""
        found = last_of_lowest(rank)
        assert found is not None
        return found

    def joined(self, rank: Rank, sequence: Sequence) -> None:
        """Changes nothing."""

    def left(self, rank: Rank, sequence: Sequence) -> None:
        """Changes nothing."""

    def patience(self, rank: Rank) -> int:  # noqa: ARG002
        """Nothing changes by itself."""
        return ENDLESS


class PrefillFirst:
    """Prompts alone while any can be admitted, then decoding alone (SGLang).

    A prompt comes in if it leaves room for what the running sequences are expected to generate: of
    what their clients still allow (4,096 tokens at most) a share, the *new token ratio*. It falls
    with every decode step, is set anew, from what those who stay really generated, when sequences
    had to be retracted, and begins again when there was nothing to do.

    Args:
        conservativeness: Multiplies the ratio (``--schedule-conservativeness``).
    """

    __slots__ = (
        "_capped", "_falling", "_first", "_last", "_promised", "_ratio", "_since", "_uncapped",
        "_works", "guarantees", "may_pause", "puts_last", "room_steps",
    )  # fmt: skip

    def __init__(self, conservativeness: float = 1.0) -> None:
        self.guarantees = False
        self.may_pause = True
        self.puts_last = True
        self.room_steps = RETRACT_DECODE_STEPS
        self._first = min(INIT_NEW_TOKEN_RATIO * conservativeness, 1.0)
        self._last = self._first * MIN_NEW_TOKEN_RATIO_FACTOR
        # The ratio as it was at a step of the batch, from which on it falls.
        self._ratio = self._first
        self._since = 0
        self._works = False
        # Of the batch, who is allowed more than the cap counts as the cap, up to the step in the
        # heap; all others as the step at which they would come to their clients' limits.
        self._capped = 0
        self._uncapped: list[tuple[int, int, Sequence]] = []
        self._falling = 0
        self._promised = 0

    def compose(self, rank: Rank) -> bool:
        """Prompts alone if there are any that fit, else decoding."""
        waiting = rank.waiting
        batch = rank.batch
        limits = rank.limits
        chunks: list[Chunk] = []
        budget = limits.batched_tokens
        changed = False
        if not self._works:
            self._ratio, self._since = self._first, batch.step
        if rank.prefilling or waiting:
            for sequence in rank.prefilling:
                if budget <= 0:
                    break
                budget -= add_chunk(chunks, sequence, budget)
            if rank.asked or batch.step % LOOK_STEPS == 0 or chunks:
                chunks, changed = self._let_in(rank, chunks)
        rank.asked = False
        rank.budget = limits.batched_tokens - tokens_of(chunks)
        self._works = batch.size > 0 or len(chunks) > 0
        if chunks:
            changed = rank.pause(batch.size > 0) or changed
            return rank.run(chunks, 1 if changed else steps_of(chunks)) or changed
        changed = rank.pause(False) or changed
        if batch.size and make_room(rank):
            changed = True
        return rank.run(chunks, 1 if changed else steps_of(chunks)) or changed

    def _let_in(self, rank: Rank, chunks: list[Chunk]) -> tuple[list[Chunk], bool]:
        """Admits waiting prompts; returns the chunks then, and whether anybody gave way."""
        waiting = rank.waiting
        limits = rank.limits
        gave_way = False
        while waiting:
            budget = limits.batched_tokens - tokens_of(chunks)
            if budget <= 0:
                break
            sequence = waiting.first()
            if not admit(rank, sequence):
                if not (limits.yields and give_way(rank, sequence)):
                    break
                gave_way = True
                chunks = still_running(chunks)
                continue
            waiting.take()
            if sequence.stage == STAGE_RUNNING:
                add_chunk(chunks, sequence, budget)
        return chunks, gave_way

    def admits(self, rank: Rank, sequence: Sequence, spare: int, total: int) -> bool:  # noqa: ARG002
        """Whether what is free is enough for what all are expected to generate."""
        if not rank.admitted:
            return spare >= 0
        step = rank.batch.step
        self._uncap(step)
        allowed = self._capped * CLIP_MAX_NEW_TOKENS + self._promised - self._falling * step
        owed = allowed * self._ratio_at(step)
        own = min(sequence.declared - sequence.generated, CLIP_MAX_NEW_TOKENS)
        for other in rank.prefilling:
            own += min(other.declared - other.generated, CLIP_MAX_NEW_TOKENS)
        return spare >= 0 and spare * rank.limits.block_size >= owed + own

    def _ratio_at(self, step: int) -> float:
        decay = (self._first - self._last) / NEW_TOKEN_RATIO_DECAY_STEPS
        return max(self._ratio - decay * (step - self._since), self._last)

    def victim(self, rank: Rank) -> Sequence:
        """The one with the fewest tokens generated, of those the one with the longest prompt."""
        step = rank.batch.step

        def tokens(sequence: Sequence) -> int:
            # One by each of its prefills and decode steps; drafts that came true are left out.
            return 1 + sequence.preemptions + sequence.decode_steps + step - sequence.join_step

        running = [s for s in rank.admitted if s.ticket >= 0]
        found = min(running, key=lambda s: (tokens(s), -s.request.input_tokens, -s.ticket))
        running.remove(found)
        generated = sum(tokens(s) for s in running) + RETRACT_DECODE_STEPS * len(running)
        self._ratio = min(generated / (sum(s.declared for s in running) + 1), 1.0)
        self._since = step
        return found

    def joined(self, rank: Rank, sequence: Sequence) -> None:
        """Counts what its client allows it."""
        step = rank.batch.step
        sequence.promise = promise = step + sequence.declared - sequence.generated
        if promise - CLIP_MAX_NEW_TOKENS > step:
            self._capped += 1
            heap = self._uncapped
            if len(heap) > 2 * self._capped + _FEWEST_STALE:
                heap[:] = [entry for entry in heap if entry[2].ticket == entry[1]]
                heapify(heap)
            heappush(heap, (promise - CLIP_MAX_NEW_TOKENS, sequence.ticket, sequence))
        else:
            self._falling += 1
            self._promised += promise
        if rank.batch.size == 1:
            self._since = step
        rank.asked = True

    def left(self, rank: Rank, sequence: Sequence) -> None:
        """Counts it no more; the ratio of an empty batch stays."""
        step = rank.batch.step
        self._uncap(step)
        if sequence.promise - CLIP_MAX_NEW_TOKENS > step:
            self._capped -= 1
        else:
            self._falling -= 1
            self._promised -= sequence.promise
        if rank.batch.size == 1:
            self._ratio = self._ratio_at(step)

    def _uncap(self, step: int) -> None:
        """Who is allowed less than the cap by now counts by its limit."""
        heap = self._uncapped
        while heap and heap[0][0] <= step:
            _, ticket, sequence = heappop(heap)
            if sequence.ticket == ticket:
                self._capped -= 1
                self._falling += 1
                self._promised += sequence.promise

    def patience(self, rank: Rank) -> int:
        """Until the next look, if a prompt waits for the ratio to fall."""
        if not rank.waiting.count or rank.chunks or len(rank.admitted) >= rank.limits.sequences:
            return ENDLESS
        return LOOK_STEPS - rank.batch.step % LOOK_STEPS
