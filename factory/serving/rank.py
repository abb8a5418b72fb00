"""One rank of a replica: its queue, its batch, its KV cache, and what of them runs next.

The rank decides as a serving engine does between two steps: running sequences first, one token
each; then prompts in order of arrival, in chunks, within a budget of tokens; a prompt is admitted
when its KV blocks fit. When decoding sequences need blocks and there are none, the one admitted
last is preempted and computed again later.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.errors import RunError
from factory.performance import RankWork
from factory.serving.batch import ENDLESS, Batch
from factory.serving.kv_cache import KVCache
from factory.serving.leap import PrefillShare
from factory.serving.sequence import Sequence
from factory.serving.slots import Slots
from factory.serving.speculative import UNIT, SpeculativeBatch

if TYPE_CHECKING:
    from factory.serving.replica import Replica


_LEAST_STEADY = 64
"""Decode steps that a leap may have however short its contexts: attention weighs little there."""


_MOST_CHUNKS = 8
"""Chunks of a prompt that a leap may have; its draw is that of the middle one."""


@dataclass(frozen=True, slots=True)
class RankLimits:
    """The engine's limits, per rank.

    Attributes:
        sequences: Sequences running at once.
        batched_tokens: Tokens per step: one for each decoding sequence and each of its drafts, and
            the rest for prompts.
        block_size: Tokens per KV block.
        prefix_caching: Whether prompts share KV blocks.
        watermark_blocks: Blocks that admission leaves free for the growth of those running.
        drafts: Drafts of each decoding sequence that a step verifies.
    """

    sequences: int
    batched_tokens: int
    block_size: int
    prefix_caching: bool
    watermark_blocks: int
    drafts: int = 0


class Rank:
    """The scheduler of one rank (see the module).

    Attributes:
        slot: Its row in the columns that routers see.
        waiting: Sequences to admit, in order.
        prefilling: Admitted sequences with prompt left to compute.
        chunks: What of them runs in each step now: (sequence, tokens, whether that completes it,
            how many of the tokens are computed again).
        chunk_steps: Steps for which `chunks` holds.
        steady: Steps over which the draw of the work last filled in hardly changes.
        ready: Sequences whose KV has arrived, to join the batch at the next boundary.
        unreserved: Prefilled sequences that wait for KV blocks here.
        incoming, outgoing: Sequences whose KV is on its way here, or leaves from here.
    """

    __slots__ = (
        "_block",
        "_budget",
        "_drafting",
        "_rows",
        "_tokens",
        "admitted",
        "batch",
        "cache",
        "chunk_steps",
        "chunks",
        "incoming",
        "limits",
        "name",
        "outgoing",
        "prefilling",
        "ready",
        "replica",
        "slot",
        "slots",
        "steady",
        "unreserved",
        "waiting",
        "work",
    )

    def __init__(
        self,
        name: int,
        slot: int,
        slots: Slots,
        limits: RankLimits,
        cache: KVCache,
        batch: Batch,
        drafting: SpeculativeBatch | None = None,
    ) -> None:
        self.name = name
        self.slot = slot
        self.slots = slots
        self.limits = limits
        self.cache = cache
        self.batch = batch
        self.work = RankWork()
        self.replica: Replica
        self.waiting: deque[Sequence] = deque()
        self.prefilling: list[Sequence] = []
        self.chunks: list[tuple[Sequence, int, bool, int]] = []
        self.chunk_steps = ENDLESS
        self.steady = ENDLESS
        self.ready: list[Sequence] = []
        self.unreserved: deque[Sequence] = deque()
        self.admitted: dict[Sequence, None] = {}
        self.incoming = 0
        self.outgoing = 0
        self._block = limits.block_size
        self._tokens = limits.batched_tokens
        self._budget = limits.batched_tokens
        # The batch again, if its steps verify drafts.
        self._drafting = drafting
        self._rows = limits.drafts + 1

    # -- requests come and go ------------------------------------------------------------------

    def enqueue(self, sequence: Sequence) -> bool:
        """Takes a request to prefill; says whether the next step boundary could admit it."""
        request = sequence.request
        limits = self.limits
        expected = request.input_tokens
        if limits.prefix_caching and request.blocks:
            expected -= self.cache.match(request.blocks) * limits.block_size
        sequence.expected = expected if expected > 0 else 0
        sequence.prefill_rank = self
        slots = self.slots
        slot = self.slot
        slots.requests[slot] += 1
        slots.prefill_tokens[slot] += sequence.expected
        slots.kv_tokens[slot] += request.input_tokens
        waiting = self.waiting
        waiting.append(sequence)
        if len(waiting) > 1 and not _promote(waiting):
            return False
        return self._budget > 0 and len(self.admitted) < limits.sequences

    def forget(self, sequence: Sequence) -> None:
        """A sequence leaves: its blocks and its share of the columns are given back."""
        request = sequence.request
        blocks = request.blocks if sequence.pinned else ()
        self.cache.release(blocks, sequence.pinned, sequence.private)
        sequence.pinned = sequence.private = 0
        self.admitted.pop(sequence, None)
        self.slots.requests[self.slot] -= 1
        self.slots.kv_tokens[self.slot] -= request.input_tokens

    def handed_over(self, sequence: Sequence) -> None:
        """The KV of a prefilled sequence has left: what it held here is given back."""
        request = sequence.request
        blocks = request.blocks if sequence.prefill_pinned else ()
        self.cache.release(blocks, sequence.prefill_pinned, sequence.prefill_private)
        self.outgoing -= 1
        self.slots.requests[self.slot] -= 1
        self.slots.kv_tokens[self.slot] -= request.input_tokens

    def reserve(self, sequence: Sequence, now_s: float) -> bool:
        """Takes the KV blocks for a sequence prefilled elsewhere; says whether there are enough."""
        limits = self.limits
        if self.waiting or len(self.admitted) >= limits.sequences:
            return False
        blocks = -(-sequence.request.input_tokens // self._block)
        cache = self.cache
        batch = self.batch
        spare = cache.capacity - cache.used + cache.evictable - blocks
        # No batch of this size needs more by the end of the leap, and for the step after it, which
        # a boundary at work on may have composed: then the steps need no count.
        end = self.replica.end_step()
        if self._drafting is None:
            most = batch.size * ((end - batch.settled) // self._block + 1)
        else:
            most = batch.size * self._drafting.laps(end + 1)
        if spare - most < limits.watermark_blocks:
            spare -= batch.growth(self.replica.next_step(now_s))
            if spare < limits.watermark_blocks and (self.admitted or spare < 0):
                return False
            self.replica.shorten(now_s)
        if not cache.admit((), 0, blocks):
            raise RunError(f"KV blocks of slot {self.slot} do not add up at a reservation")
        sequence.prefill_pinned = sequence.pinned
        sequence.prefill_private = sequence.private
        sequence.pinned = 0
        sequence.private = blocks
        self.admitted[sequence] = None
        self.incoming += 1
        return True

    def queue(self, sequence: Sequence) -> None:
        """A prefilled sequence waits for room here, before all of lower priority."""
        self.unreserved.append(sequence)
        _promote(self.unreserved)

    def expect(self, sequence: Sequence) -> None:
        """A prefilled sequence has been routed here; its KV comes when there is room."""
        sequence.decode_rank = self
        self.slots.requests[self.slot] += 1
        self.slots.kv_tokens[self.slot] += sequence.request.input_tokens

    def join(self, sequence: Sequence) -> None:
        """A sequence decodes here from the next step on."""
        sequence.cost_mark = self.replica.meter.mark()
        self.batch.join(sequence)
        self.replica.count(sequence.request.tenant, 1)

    def leave(self, sequence: Sequence) -> None:
        """A sequence decodes no more; its cost is charged to it, and its blocks are known."""
        replica = self.replica
        tenant = sequence.request.tenant
        if self._drafting is None:
            replica.meter.charge(sequence)
            self.batch.leave(sequence)
            total = -(-sequence.position // self._block)
        else:
            replica.meter.charge(sequence, sequence.pace * UNIT)
            self.batch.leave(sequence)
            replica.meter.emitted(tenant, sequence.generated - sequence.counted)
            total = sequence.blocks
        replica.count(tenant, -1)
        sequence.private = total - sequence.pinned

    # -- steps ---------------------------------------------------------------------------------

    def advance(self, steps: int) -> bool:
        """``steps`` more steps are done; says whether a sequence came to the end of something."""
        batch = self.batch
        ended = False
        if batch.size:
            ended = batch.advance(steps)
        else:
            batch.step += steps
        for sequence, tokens, completes, _ in self.chunks:
            done = tokens * steps
            sequence.left -= done
            sequence.position += done
            if sequence.recompute:
                again = min(sequence.recompute, done)
                sequence.recompute -= again
                sequence.recomputed_tokens += again
                sequence.computed_tokens -= again
            sequence.computed_tokens += done
            if completes:
                ended = True
        return ended

    def prefilled(self) -> list[Sequence]:
        """The sequences whose prompt the last step completed; their blocks are shared now."""
        chunks = self.chunks
        if not chunks:
            return []
        done = [sequence for sequence, _, completes, _ in chunks if completes]
        for sequence in done:
            self.prefilling.remove(sequence)
            blocks = sequence.request.blocks
            if blocks and self.limits.prefix_caching:
                upto = sum(blocks[1::2])
                sequence.private -= self.cache.commit(blocks, sequence.hit, upto)
                sequence.pinned = upto
            self.slots.prefill_tokens[self.slot] -= sequence.expected
            sequence.expected = 0
        return done

    def settle(self, until: int) -> None:
        """Takes the KV blocks that steps before ``until`` have needed."""
        batch = self.batch
        if until <= batch.settled:
            return
        if not batch.size:
            batch.settled = until
            return
        need = batch.settle(until)
        if need and not self.cache.grow(need):
            raise RunError(f"KV blocks of slot {self.slot} do not add up: {need} are missing")

    def compose(self) -> bool:
        """Chooses what runs in the next step; says whether that differs from the last one.

        The replica's account must be up to date if this preempts, which it asks `Replica.touch`
        for.
        """
        batch = self.batch
        size = batch.size
        changed = False
        if size:
            cache = self.cache
            if self._drafting is None:
                laps = (batch.step - batch.settled) // self._block + 1
            else:
                laps = self._drafting.laps(batch.step + 1)
            if size * laps > cache.capacity - cache.pinned - cache.private:
                changed = self._make_room()
        if not (self.prefilling or self.waiting or self.chunks):
            self._budget = self._tokens - size * self._rows
            return changed
        chunks: list[tuple[Sequence, int, bool, int]] = []
        budget = self._tokens - batch.size * self._rows
        for sequence in self.prefilling:
            if budget <= 0:
                break
            budget -= _add_chunk(chunks, sequence, budget)
        waiting = self.waiting
        while waiting and budget > 0 and not changed and self._admit(waiting[0]):
            sequence = waiting.popleft()
            self.prefilling.append(sequence)
            budget -= _add_chunk(chunks, sequence, budget)
        self._budget = budget
        # After a preemption, who waits tries again at the very next boundary.
        self.chunk_steps = 1 if chunks or changed else ENDLESS
        if len(chunks) == 1 and not changed:
            sequence, tokens, completes, again = chunks[0]
            if not completes and not again:
                self.chunk_steps = (sequence.left - 1) // tokens
        if chunks != self.chunks:
            self.chunks = chunks
            return True
        return changed

    def _admit(self, sequence: Sequence) -> bool:
        limits = self.limits
        if len(self.admitted) >= limits.sequences:
            return False
        request = sequence.request
        cache = self.cache
        blocks = request.blocks if limits.prefix_caching else ()
        hit = cache.match(blocks) if blocks else 0
        total = request.input_tokens + sequence.generated
        new = -(-total // limits.block_size) - hit
        batch = self.batch
        spare = cache.available(blocks, hit) - new
        if batch.size:
            spare -= batch.growth(batch.step + 1)
        if spare < limits.watermark_blocks and (self.admitted or spare < 0):
            return False
        # The blocks found are pinned before those still owed are taken: that may evict.
        fits = cache.admit(blocks, hit, 0)
        self.settle(self.batch.step)
        if not fits or not cache.grow(new):
            raise RunError(f"KV blocks of slot {self.slot} do not add up at an admission")
        cached = min(hit * limits.block_size, total - 1)
        sequence.hit = sequence.pinned = hit
        sequence.private = new
        sequence.cached = cached
        if sequence.recompute:
            sequence.recompute = max(0, sequence.recompute - cached)
        sequence.left = total - cached
        sequence.position = cached
        if sequence.first_cached < 0:
            sequence.first_cached = cached
            sequence.prefill_start_s = self.replica.now_s
        self.admitted[sequence] = None
        return True

    def _make_room(self) -> bool:
        """Preempts until the next step's new blocks fit; says whether it did."""
        batch = self.batch
        cache = self.cache
        preempted = False
        while batch.size:
            if batch.fits(cache.capacity - cache.pinned - cache.private):
                break
            self.replica.touch()
            self.settle(batch.step)
            self._preempt(next(s for s in reversed(self.admitted) if s.ticket >= 0 or s.left))
            preempted = True
        return preempted

    def _preempt(self, sequence: Sequence) -> None:
        if sequence.ticket >= 0:
            self.leave(sequence)
        else:
            self.prefilling.remove(sequence)
        prompt_tokens = sequence.request.input_tokens
        known = sequence.position + sequence.recompute
        if sequence.generated:
            known = prompt_tokens + sequence.generated
        self.forget(sequence)
        self.slots.requests[self.slot] += 1
        self.slots.kv_tokens[self.slot] += prompt_tokens
        sequence.recompute = known
        sequence.left = prompt_tokens + sequence.generated
        sequence.position = 0
        sequence.hit = 0
        sequence.preemptions += 1
        self.waiting.appendleft(sequence)

    def steps_ahead(self) -> int:
        """Steps for which nothing in this rank changes, at least 1 if it has work."""
        batch = self.batch
        ahead = self.chunk_steps
        if batch.size:
            horizon = batch.horizon()
            if horizon < ahead:
                ahead = horizon
            cache = self.cache
            room = cache.capacity - cache.pinned - cache.private
            if self._drafting is None:
                laps = (batch.step - batch.settled + ahead) // self._block + 1
            else:
                laps = self._drafting.laps(batch.step + ahead)
            if batch.size * laps > room:
                ahead = batch.room(room, ahead)
        return ahead

    def fill(self, shares: list[PrefillShare]) -> bool:
        """Writes the work of the next step into `work`, and its prompts into ``shares``.

        Returns:
            Whether there is any work.
        """
        work = self.work
        batch = self.batch
        size = batch.size
        work.decode = work.logit_rows = size
        work.context = read = batch.context
        # A leap draws constant power, so it ends before contexts grow by much.
        if self._drafting is None:
            work.context_slope = size
            self.steady = _LEAST_STEADY + read // (4 * size) if size else ENDLESS
        else:
            work.context_slope = slope = self._drafting.slope
            self.steady = _LEAST_STEADY + int(read / (4 * slope)) if size else ENDLESS
        chunks = self.chunks
        if not chunks:
            if work.prefill_tokens:
                work.prefill_tokens = work.prefill_context = work.prefill_context_slope = 0
                work.prefill_pairs = work.prefill_pairs_slope = 0.0
            return size > 0
        tokens = context = slope = 0
        pairs = pairs_slope = 0.0
        for sequence, count, completes, again in chunks:
            position = sequence.position
            own = count * position + count * (count + 1) * 0.5
            own_slope = 0.0
            if completes:
                work.logit_rows += 1
            else:
                own_slope = float(count * count)
                slope += count
                if self.steady > _MOST_CHUNKS:
                    self.steady = _MOST_CHUNKS
            shares.append(PrefillShare(sequence, count, own, own_slope, sequence.cached, again))
            tokens += count
            pairs += own
            pairs_slope += own_slope
            context += position + count
        work.prefill_tokens = tokens
        work.prefill_pairs = pairs
        work.prefill_pairs_slope = pairs_slope
        work.prefill_context = context
        work.prefill_context_slope = slope
        return True


def _promote(queue: deque[Sequence]) -> bool:
    """Moves the last of a queue before all of lower priority; says whether it is first now."""
    sequence = queue[-1]
    place = len(queue) - 1
    while place and queue[place - 1].priority < sequence.priority:
        place -= 1
    if place < len(queue) - 1:
        queue.pop()
        queue.insert(place, sequence)
    return place == 0


def _add_chunk(
    chunks: list[tuple[Sequence, int, bool, int]], sequence: Sequence, budget: int
) -> int:
    """Adds what of a prompt a step of ``budget`` more tokens computes; returns its tokens."""
    left = sequence.left
    tokens = left if left <= budget else budget
    recompute = sequence.recompute
    chunks.append((sequence, tokens, left <= budget, recompute and min(recompute, tokens)))
    return tokens
