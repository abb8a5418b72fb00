"""One rank of a replica: its queue, its batch, its KV cache, and what of them runs next.

Between two steps its scheduler (`schedulers`) decides what the next one computes. The rank keeps
the books: blocks, the columns that routers see, who is where.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from factory.errors import RunError
from factory.kernel import Timer
from factory.performance import RankWork
from factory.serving.batch import ENDLESS, Batch
from factory.serving.kv_cache import KVCache
from factory.serving.limits import RankLimits
from factory.serving.meter import charge
from factory.serving.pauses import Pauses
from factory.serving.queues import Queue
from factory.serving.sequence import STAGE_RUNNING, STAGE_WAITING, Sequence
from factory.serving.slots import Slots
from factory.serving.speculative import UNIT, SpeculativeBatch
from factory.serving.step_work import Chunk

if TYPE_CHECKING:
    from factory.serving.replica import Replica
    from factory.serving.schedulers import Scheduler
    from factory.serving.stands import Stand
    from factory.serving.tier_fetch import Fetch
    from factory.serving.tiers import Tiers


class Rank:
    """The state of one rank (see the module).

    Attributes:
        slot: Its row in the columns that routers see.
        stand: The GPUs that it has, and what joins them to others.
        waiting: Sequences to admit, in order.
        prefilling: Admitted sequences with prompt left to compute.
        fetching: Admitted sequences whose cached KV is on its way from a lower tier.
        landed: Those of them whose KV has come, to prefill from the next boundary on.
        chunks: What runs of prompts in each step now.
        chunk_steps: Steps for which `chunks` holds.
        budget: Tokens that the step now running has left for prompts.
        block: Tokens of a KV block.
        drafting: The batch again, if its steps verify drafts.
        rows: Tokens of a step that each decoding sequence takes: its own and its drafts.
        asked: Whether something has come or gone since its scheduler last looked at who waits.
        steady: Steps over which the draw of the work last filled in hardly changes.
        ready: Sequences whose KV has arrived, to join the batch at the next boundary.
        unreserved: Prefilled sequences that wait for KV blocks here.
        doomed: Sequences that leave at the next boundary, whatever they have.
        incoming, outgoing: Sequences whose KV is on its way here, or leaves from here.
        owed: Blocks that admitted sequences may yet need, where the scheduler guarantees them.
        pauses: Steps that its batch sat out; None where none ever does.
        is_watched: Whether its owner wants to know who is admitted.
        tells: Whether its owner wants to know when a prompt begins to be computed.
        tiers: Lower tiers of its cache, if it has any.
    """

    __slots__ = (
        "_expiry",
        "_tenants",
        "admitted",
        "asked",
        "batch",
        "block",
        "budget",
        "cache",
        "chunk_steps",
        "chunks",
        "doomed",
        "drafting",
        "fetching",
        "incoming",
        "is_watched",
        "landed",
        "limits",
        "name",
        "outgoing",
        "owed",
        "pauses",
        "prefilling",
        "ready",
        "replica",
        "rows",
        "scheduler",
        "slot",
        "slots",
        "stand",
        "steady",
        "tells",
        "tiers",
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
        scheduler: Scheduler,
        waiting: Queue,
        unreserved: Queue,
        drafting: SpeculativeBatch | None = None,
    ) -> None:
        self.name = name
        self.slot = slot
        self.slots = slots
        self.limits = limits
        self.cache = cache
        self.batch = batch
        self.scheduler = scheduler
        self.work = RankWork()
        self.replica: Replica
        self.stand: Stand
        self.waiting = waiting
        self.prefilling: list[Sequence] = []
        self.fetching: dict[Sequence, Fetch] = {}
        self.landed: list[Sequence] = []
        self.asked = False
        self.chunks: list[Chunk] = []
        self.chunk_steps = ENDLESS
        self.steady = ENDLESS
        self.budget = limits.batched_tokens
        self.ready: list[Sequence] = []
        self.unreserved = unreserved
        self.doomed: list[Sequence] = []
        self.admitted: dict[Sequence, None] = {}
        self.incoming = 0
        self.outgoing = 0
        self.owed = 0
        self.tells = False
        self.is_watched = False
        self.tiers: Tiers | None = None
        self.pauses: Pauses | None = None
        self._tenants: dict[int, int] = {}
        self.block = limits.block_size
        self._expiry: Timer | None = None
        self.drafting = drafting
        self.rows = limits.drafts + 1

    # -- requests come and go ------------------------------------------------------------------

    def enqueue(self, sequence: Sequence, now_s: float) -> bool:
        """Takes a request to prefill; says whether the next step boundary could admit it."""
        request = sequence.request
        limits = self.limits
        expected = request.input_tokens
        if limits.prefix_caching and request.blocks:
            expected -= self.cache.match(request.blocks) * limits.block_size
        sequence.expected = expected if expected > 0 else 0
        sequence.prefill_rank = self
        sequence.stage = STAGE_WAITING
        slots = self.slots
        slot = self.slot
        slots.requests[slot] += 1
        slots.waiting[slot] += 1
        slots.queued += 1
        slots.prefill_tokens[slot] += sequence.expected
        slots.kv_tokens[slot] += request.input_tokens
        if not self.waiting.add(sequence, now_s):
            return False
        if not limits.yields and (self.budget <= 0 or len(self.admitted) >= limits.sequences):
            return False
        self.asked = True
        return True

    def withdraw(self, sequence: Sequence) -> None:
        """A waiting sequence goes away."""
        self.waiting.discard(sequence)
        slots = self.slots
        slot = self.slot
        slots.requests[slot] -= 1
        slots.waiting[slot] -= 1
        slots.queued -= 1
        slots.prefill_tokens[slot] -= sequence.expected
        slots.kv_tokens[slot] -= sequence.request.input_tokens
        sequence.expected = 0

    def forget(self, sequence: Sequence, now_s: float) -> None:
        """A sequence leaves: its blocks and its share of the columns are given back."""
        request = sequence.request
        if self.scheduler.guarantees:
            self.owed -= sequence.final - sequence.pinned - sequence.private
        blocks = request.blocks
        if self.limits.caches_answers and request.context_blocks:
            # Its runs are those of the prompt, and the answer's after them.
            blocks = request.context_blocks
            self._keep_answer(sequence, now_s)
        if not sequence.pinned:
            blocks = ()
        self._release(blocks, sequence.pinned, sequence.private, now_s)
        sequence.pinned = sequence.private = 0
        self.admitted.pop(sequence, None)
        self.slots.requests[self.slot] -= 1
        self.slots.kv_tokens[self.slot] -= request.input_tokens

    def _keep_answer(self, sequence: Sequence, now_s: float) -> None:
        """Shares the whole blocks that the answer has filled."""
        blocks = sequence.request.context_blocks
        whole = min(sum(blocks[1::2]), sequence.position // self.block)
        if whole > sequence.pinned:
            sequence.private -= self.cache.commit(blocks, sequence.pinned, whole)
            sequence.pinned = whole
            if self.tiers is not None:
                self.tiers.stored(blocks, whole, now_s)

    def handed_over(self, sequence: Sequence, now_s: float) -> None:
        """The KV of a prefilled sequence has left: what it held here is given back."""
        request = sequence.request
        pinned, private = sequence.prefill_pinned, sequence.prefill_private
        if self.scheduler.guarantees:
            self.owed -= sequence.prefill_final - pinned - private
        self._release(request.blocks if pinned else (), pinned, private, now_s)
        self.outgoing -= 1
        self.slots.requests[self.slot] -= 1
        self.slots.kv_tokens[self.slot] -= request.input_tokens

    def final_blocks(self, sequence: Sequence) -> int:
        """KV blocks that a sequence has when its answer is as long as its client allows."""
        most = sequence.request.input_tokens + sequence.declared + self.limits.drafts
        return -(-min(most, self.limits.model_len + self.limits.drafts) // self.block)

    def expect(self, sequence: Sequence) -> None:
        """A sequence has been routed here to decode; its KV comes when there is room."""
        self.slots.requests[self.slot] += 1
        self.slots.kv_tokens[self.slot] += sequence.request.input_tokens

    def give_back(self, sequence: Sequence, now_s: float) -> None:
        """A sequence for which blocks were taken here goes away before it came."""
        self.owed -= sequence.decode_final - sequence.decode_private
        self._release((), 0, sequence.decode_private, now_s)
        del self.admitted[sequence]
        self.slots.requests[self.slot] -= 1
        self.slots.kv_tokens[self.slot] -= sequence.request.input_tokens

    def unexpect(self, sequence: Sequence) -> None:
        """A sequence that waited for room here goes away."""
        self.unreserved.discard(sequence)
        self.slots.requests[self.slot] -= 1
        self.slots.kv_tokens[self.slot] -= sequence.request.input_tokens

    def join(self, sequence: Sequence) -> None:
        """A sequence decodes here from the next step on."""
        sequence.stage = STAGE_RUNNING
        replica = self.replica
        pauses = self.pauses
        meter = replica.meter
        sequence.cost_mark = meter.mark() if pauses is None else pauses.marks(meter)
        self.batch.join(sequence)
        if pauses is None:
            replica.count(sequence.request.tenant, 1)
        else:
            self.scheduler.joined(self, sequence)
            self._count(sequence.request.tenant, 1)

    def leave(self, sequence: Sequence) -> None:
        """A sequence decodes no more; its cost is charged to it, and its blocks are known."""
        tenant = sequence.request.tenant
        replica = self.replica
        meter = replica.meter
        pauses = self.pauses
        if pauses is None:
            marks = meter.mark()
            replica.count(tenant, -1)
        else:
            marks = pauses.marks(meter)
            self.scheduler.left(self, sequence)
            self._count(tenant, -1)
        if self.drafting is None:
            charge(sequence, marks)
            self.batch.leave(sequence)
            total = -(-sequence.position // self.block)
        else:
            charge(sequence, marks, sequence.pace * UNIT)
            self.batch.leave(sequence)
            meter.emitted(tenant, sequence.generated - sequence.counted)
            total = sequence.blocks
        sequence.private = total - sequence.pinned

    def _count(self, tenant: int, change: int) -> None:
        """A sequence of ``tenant`` joined (+1) or left (-1) a batch that may pause."""
        pauses = self.pauses
        assert pauses is not None
        self._tenants[tenant] = self._tenants.get(tenant, 0) + change
        if not pauses.is_on:
            self.replica.count(tenant, change)

    def pause(self, on: bool) -> bool:
        """Lets the batch sit out the steps to come, or take part; says whether that is new."""
        pauses = self.pauses
        assert pauses is not None
        if pauses.is_on == on:
            return False
        self.replica.touch()
        if on:
            pauses.begin(self.replica.meter)
        else:
            pauses.end(self.replica.meter)
        if self.drafting is not None:
            self.drafting.is_paused = on
        for tenant, number in self._tenants.items():
            self.replica.count(tenant, -number if on else number)
        return True

    def laps(self, until: int) -> int:
        """Blocks beyond which no member of the batch needs any for its steps before ``until``."""
        if self.drafting is None:
            return (until - 1 - self.batch.settled) // self.block + 1
        return self.drafting.laps(until)

    def expire_by(self, timer: Timer) -> None:
        """Lets idle blocks expire, by a timer whose callback is `expire`."""
        self._expiry = timer

    def expire(self, now_s: float) -> None:
        """Idle blocks that are too old go."""
        cache = self.cache
        cache.expire(now_s)
        self._aim_expiry()

    def _release(self, blocks: tuple[int, ...], pinned: int, private: int, now_s: float) -> None:
        self.cache.release(blocks, pinned, private, now_s)
        self.asked = True
        if self._expiry is not None and self._expiry.due == inf:
            self._aim_expiry()

    def _aim_expiry(self) -> None:
        assert self._expiry is not None
        oldest_s = self.cache.oldest_s()
        if oldest_s < inf:
            # A little later than exactly, so that rounding never makes it too early.
            self._expiry.set((oldest_s + self.cache.ttl_s) * (1.0 + 1e-12) + 1e-9)

    # -- steps ---------------------------------------------------------------------------------

    def advance(self, steps: int) -> bool:
        """``steps`` more steps are done; says whether a sequence came to the end of something."""
        batch = self.batch
        ended = False
        pauses = self.pauses
        if pauses is not None and pauses.is_on:
            pauses.lag += steps
            if self.drafting is not None:
                self.drafting.lag += steps
        elif batch.size:
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
        limits = self.limits
        done = [sequence for sequence, _, completes, _ in chunks if completes]
        for sequence in done:
            self.prefilling.remove(sequence)
            blocks = sequence.request.blocks
            if blocks and limits.prefix_caching:
                upto = sum(blocks[1::2])
                sequence.private -= self.cache.commit(blocks, sequence.pinned, upto)
                sequence.pinned = upto
                if sequence.request.tenant in limits.pinned_tenants:
                    self.cache.hold(blocks, blocks[1])
                if self.tiers is not None:
                    self.tiers.stored(blocks, upto, self.replica.now_s)
            self.slots.prefill_tokens[self.slot] -= sequence.expected
            sequence.expected = 0
        if self.waiting.count and self.waiting.refresh():
            self.asked = True
        return done

    def settle(self, until: int) -> None:
        """Takes the KV blocks that steps of the batch before ``until`` have needed."""
        batch = self.batch
        if until <= batch.settled:
            return
        if not batch.size:
            batch.settled = until
            return
        need = batch.settle(until)
        if need and not self.cache.grow(need):
            raise RunError(f"KV blocks of slot {self.slot} do not add up: {need} are missing")
        if self.scheduler.guarantees:
            self.owed -= need

    def compose(self) -> bool:
        """Chooses what runs in the next step; says whether that differs from the last one.

        The replica's account must be up to date if this preempts, which it asks `Replica.touch`
        for.
        """
        if self.landed:
            self.prefilling.extend(self.landed)
            for sequence in self.landed:
                sequence.stage = STAGE_RUNNING
                if self.tells:
                    self.replica.owner.begun(sequence, self, self.replica.now_s)
            self.landed.clear()
        if self.tiers is None or not self.tiers.blocking:
            return self.scheduler.compose(self)
        # A prompt just admitted may have begun a fetch, for which all others wait at once.
        changed = not self.fetching and self.scheduler.compose(self)
        if self.fetching:
            changed = self.pause(True) or changed
            self.budget = 0
            changed = self.run([], ENDLESS) or changed
        return changed

    def run(self, chunks: list[Chunk], steps: int) -> bool:
        """Lets the next step compute ``chunks``; says whether these differ from the last one's."""
        self.chunk_steps = steps
        if chunks != self.chunks:
            self.chunks = chunks
            return True
        return False

    def steps_ahead(self) -> int:
        """Steps for which nothing in this rank changes, at least 1 if it has work."""
        batch = self.batch
        ahead = self.chunk_steps
        if batch.size and (self.pauses is None or not self.pauses.is_on):
            horizon = batch.horizon()
            if horizon < ahead:
                ahead = horizon
            if self.pauses is not None:
                ahead = min(ahead, self.scheduler.patience(self))
            cache = self.cache
            room = cache.capacity - cache.pinned - cache.private
            if self.drafting is None:
                laps = (batch.step + ahead - 1 - batch.settled) // self.block + 1
            else:
                laps = self.drafting.laps(batch.step + ahead)
            if batch.size * laps > room:
                ahead = batch.room(room, ahead)
        return ahead
