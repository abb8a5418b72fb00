"""Who may stay in a rank's KV memory: admission, reservation, preemption, and leaving early.

Each function acts on one `Rank` at a step boundary, except `reserve` and `fetched`, which come when
a transfer or a copy does. What is refused changes nothing, so asking again is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factory.errors import RunError
from factory.serving.sequence import (
    STAGE_FETCHING,
    STAGE_GONE,
    STAGE_READY,
    STAGE_RUNNING,
    STAGE_WAITING,
    Sequence,
)

if TYPE_CHECKING:
    from factory.serving.rank import Rank
    from factory.serving.tier_fetch import Fetch
    from factory.serving.tiers import Tiers


def admit(rank: Rank, sequence: Sequence) -> bool:
    """Takes KV blocks for a waiting sequence, to prefill or first to fetch what is cached."""
    limits = rank.limits
    if len(rank.admitted) >= limits.sequences:
        return False
    request = sequence.request
    cache = rank.cache
    blocks = request.blocks if limits.prefix_caching else ()
    hit = cache.match(blocks) if blocks else 0
    total = request.input_tokens + sequence.generated
    needed = -(-total // limits.block_size)
    new = needed - hit
    batch = rank.batch
    spare = cache.available(blocks, hit) - new
    if batch.size:
        spare -= batch.growth(batch.step + 1)
    scheduler = rank.scheduler
    if not scheduler.admits(rank, sequence, spare, total):
        return False
    # The blocks found are pinned before those still owed are taken: that may evict.
    fits = cache.admit(blocks, hit, 0)
    if batch.settled < batch.step:
        rank.settle(batch.step)
    if not fits or not cache.grow(new):
        raise RunError(f"KV blocks of slot {rank.slot} do not add up at an admission")
    sequence.pinned = hit
    sequence.private = new
    sequence.final = needed
    if scheduler.guarantees:
        sequence.final = rank.final_blocks(sequence)
        rank.owed += sequence.final - needed
    cached = min(hit * limits.block_size, total - 1)
    sequence.cached = cached
    if sequence.recompute:
        sequence.recompute = max(0, sequence.recompute - cached)
    sequence.left = total - cached
    sequence.position = cached
    now_s = rank.replica.now_s
    if sequence.first_cached < 0:
        sequence.first_cached = cached
        sequence.prefill_start_s = now_s
    rank.admitted[sequence] = None
    slots = rank.slots
    slots.waiting[rank.slot] -= 1
    slots.queued -= 1
    if rank.is_watched:
        rank.replica.owner.admitted(sequence, now_s)
    if rank.tiers is None or not blocks or not _fetch(rank, rank.tiers, sequence, hit, total):
        sequence.stage = STAGE_RUNNING
        rank.prefilling.append(sequence)
        if rank.tells:
            rank.replica.owner.begun(sequence, rank, now_s)
    return True


def _fetch(rank: Rank, tiers: Tiers, sequence: Sequence, hit: int, total: int) -> bool:
    """Begins to copy what lower tiers hold of a prompt just admitted; says whether there is any."""
    blocks = sequence.request.blocks
    now_s = rank.replica.now_s
    fetch = None
    if sequence.copy_from is not None:
        source, upto = sequence.copy_from
        fetch = tiers.copy_from(blocks, hit, source, upto, total)
        sequence.copy_from = None
    if fetch is None:
        fetch = tiers.offer(blocks, hit, sum(blocks[1::2]), total, now_s)
    if fetch is None:
        return False
    sequence.stage = STAGE_FETCHING
    rank.fetching[sequence] = fetch
    tiers.begin(fetch, sequence, now_s)
    return True


def fetched(rank: Rank, sequence: Sequence, fetch: Fetch, now_s: float) -> None:
    """The cached KV that a sequence waited for is here: it prefills from the next boundary on."""
    if rank.replica.leap is None:
        rank.replica.rest(now_s)
    del rank.fetching[sequence]
    upto = fetch.upto
    sequence.private -= rank.cache.commit(sequence.request.blocks, sequence.pinned, upto)
    sequence.pinned = upto
    total = sequence.left + sequence.position
    cached = min(upto * rank.limits.block_size, total - 1)
    if sequence.recompute:
        sequence.recompute = max(0, sequence.recompute - (cached - sequence.cached))
    sequence.cached = cached
    sequence.left = total - cached
    sequence.position = cached
    if not sequence.preemptions:
        sequence.first_cached = cached
        sequence.cached_by_tier = fetch.tokens_by_kind
    rank.landed.append(sequence)
    rank.replica.poke(now_s)


def unfetched(rank: Rank, slot: int, now_s: float) -> None:
    """Another slot, that cached KV comes from, is gone: who waits for that computes it."""
    gone = [
        (sequence, fetch)
        for sequence, fetch in rank.fetching.items()
        if any(part.source == slot for part in fetch.parts)
    ]
    if not gone:
        return
    assert rank.tiers is not None
    if rank.replica.leap is None:
        rank.replica.rest(now_s)
    for sequence, fetch in gone:
        del rank.fetching[sequence]
        rank.tiers.cancel(fetch)
        rank.landed.append(sequence)
    rank.replica.poke(now_s)


def reserve(rank: Rank, sequence: Sequence, now_s: float) -> bool:
    """Takes the KV blocks for a sequence prefilled elsewhere; says whether there are enough."""
    limits = rank.limits
    if rank.waiting.count or len(rank.admitted) >= limits.sequences:
        return False
    block = limits.block_size
    blocks = -(-sequence.request.input_tokens // block)
    cache = rank.cache
    batch = rank.batch
    spare = cache.capacity - cache.used + cache.evictable - blocks
    final = blocks
    if rank.scheduler.guarantees:
        final = rank.final_blocks(sequence)
        if rank.admitted and spare - rank.owed < final - blocks:
            return False
    # No batch of this size needs more by the end of the leap, and for the step after it, which a
    # boundary at work on may have composed: then the steps need no count.
    replica = rank.replica
    lag = replica.step - batch.step
    most = batch.size * rank.laps(replica.end_step() - lag + 1)
    if spare - most < limits.watermark_blocks:
        spare -= batch.growth(replica.next_step(now_s) - lag)
        if spare < limits.watermark_blocks and (rank.admitted or spare < 0):
            return False
        replica.shorten(now_s)
    if not cache.admit((), 0, blocks):
        raise RunError(f"KV blocks of slot {rank.slot} do not add up at a reservation")
    sequence.decode_private = blocks
    sequence.decode_final = final
    rank.owed += final - blocks
    rank.admitted[sequence] = None
    return True


def take_over(rank: Rank, sequence: Sequence) -> None:
    """A sequence is prefilled, and moves to the blocks that `reserve` took for it."""
    sequence.decode_rank = rank
    sequence.prefill_pinned = sequence.pinned
    sequence.prefill_private = sequence.private
    sequence.prefill_final = sequence.final
    sequence.pinned = 0
    sequence.private = sequence.decode_private
    sequence.final = sequence.decode_final
    rank.incoming += 1


def make_room(rank: Rank) -> bool:
    """Preempts until the blocks that the next steps need are there; says whether it did."""
    batch = rank.batch
    cache = rank.cache
    steps = 1
    preempted = False
    while batch.size:
        if batch.growth(batch.step + steps) <= cache.capacity - cache.pinned - cache.private:
            break
        rank.replica.touch()
        rank.settle(batch.step)
        preempt(rank, rank.scheduler.victim(rank))
        preempted = True
        steps = rank.scheduler.room_steps if batch.size > 1 else 1
    return preempted


def give_way(rank: Rank, sequence: Sequence) -> bool:
    """Preempts one that must yield to a waiting sequence, if any does; says whether it did.

    It goes back behind that one: in an order that would let it in first again, it stays.
    """
    found = last_of_lowest(rank, rank.limits.yields)
    if found is None or not rank.waiting.outranks(sequence, found):
        return False
    rank.replica.touch()
    rank.settle(rank.batch.step)
    preempt(rank, found)
    return True


def last_of_lowest(rank: Rank, tenants: frozenset[int] | None = None) -> Sequence | None:
    """Of the sequences that run, the last admitted among those of the lowest priority.

    Args:
        rank: Where.
        tenants: Whose sequences are meant; by default anybody's.
    """
    found = None
    for sequence in reversed(rank.admitted):
        if (
            sequence.stage == STAGE_RUNNING
            and (sequence.decode_rank or sequence.prefill_rank) is rank
            and (tenants is None or sequence.request.tenant in tenants)
            and (found is None or sequence.priority < found.priority)
        ):
            found = sequence
    return found


def preempt(rank: Rank, sequence: Sequence) -> None:
    """Takes a running sequence's KV away; it waits to be computed again."""
    if sequence.ticket >= 0:
        rank.leave(sequence)
    else:
        rank.prefilling.remove(sequence)
    prompt_tokens = sequence.request.input_tokens
    known = sequence.position + sequence.recompute
    if sequence.generated:
        known = prompt_tokens + sequence.generated
    rank.forget(sequence, rank.replica.now_s)
    slots = rank.slots
    slots.requests[rank.slot] += 1
    slots.waiting[rank.slot] += 1
    slots.queued += 1
    slots.kv_tokens[rank.slot] += prompt_tokens
    sequence.recompute = known
    sequence.left = prompt_tokens + sequence.generated
    sequence.position = 0
    sequence.preemptions += 1
    sequence.stage = STAGE_WAITING
    rank.waiting.put_back(sequence, rank.scheduler.puts_last)


def cull(rank: Rank) -> list[Sequence]:
    """The doomed leave at a boundary; returns those that had not come to their end just now."""
    gone = [sequence for sequence in rank.doomed if sequence.stage != STAGE_GONE]
    rank.doomed.clear()
    if not gone:
        return gone
    rank.replica.touch()
    rank.settle(rank.batch.step)
    for sequence in gone:
        if sequence.stage == STAGE_WAITING:  # preempted since
            rank.withdraw(sequence)
            continue
        if sequence.stage == STAGE_READY:
            rank.ready.remove(sequence)
        elif sequence.stage == STAGE_FETCHING:
            _unfetch(rank, sequence)
        elif sequence.ticket >= 0:
            rank.leave(sequence)
        elif sequence in rank.prefilling:  # else its prompt was completed just now
            rank.prefilling.remove(sequence)
        rank.slots.prefill_tokens[rank.slot] -= sequence.expected
        sequence.expected = 0
        rank.forget(sequence, rank.replica.now_s)
    if rank.chunks:
        rank.chunks = [chunk for chunk in rank.chunks if chunk[0].stage != STAGE_GONE]
    return gone


def _unfetch(rank: Rank, sequence: Sequence) -> None:
    fetch = rank.fetching.pop(sequence, None)
    if fetch is None:
        rank.landed.remove(sequence)
    else:
        assert rank.tiers is not None
        rank.tiers.cancel(fetch)
