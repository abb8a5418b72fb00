"""What a rank's next step computes, as the step model and the account see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factory.serving.batch import ENDLESS
from factory.serving.leap import PrefillShare
from factory.serving.sequence import STAGE_RUNNING, Sequence

if TYPE_CHECKING:
    from factory.serving.rank import Rank

_LEAST_STEADY = 64
"""Decode steps that a leap may have however short its contexts: attention weighs little there."""


_MOST_CHUNKS = 8
"""Chunks of a prompt that a leap may have; its draw is that of the middle one."""

Chunk = tuple[Sequence, int, bool, int]
"""What runs of a prompt in each step: (sequence, tokens, whether that completes it, how many of the
tokens are computed again)."""


def add_chunk(chunks: list[Chunk], sequence: Sequence, budget: int) -> int:
    """Adds what of a prompt a step of ``budget`` more tokens computes; returns its tokens."""
    left = sequence.left
    tokens = left if left <= budget else budget
    recompute = sequence.recompute
    chunks.append((sequence, tokens, left <= budget, recompute and min(recompute, tokens)))
    return tokens


def tokens_of(chunks: list[Chunk]) -> int:
    """Tokens of a step that these chunks take."""
    return sum(chunk[1] for chunk in chunks)


def still_running(chunks: list[Chunk]) -> list[Chunk]:
    """Those of these chunks whose sequences have not been preempted."""
    return [chunk for chunk in chunks if chunk[0].stage == STAGE_RUNNING]


def steps_of(chunks: list[Chunk]) -> int:
    """Steps in which exactly these chunks run: several where one long prompt runs alone."""
    if not chunks:
        return ENDLESS
    if len(chunks) == 1:
        sequence, tokens, completes, again = chunks[0]
        if not completes and not again:
            return (sequence.left - 1) // tokens
    return 1


def fill(rank: Rank, shares: list[PrefillShare]) -> bool:
    """Writes the work of the next step into ``rank.work``, and its prompts into ``shares``.

    Returns:
        Whether there is any work.
    """
    work = rank.work
    batch = rank.batch
    size = batch.size
    if rank.pauses is not None and rank.pauses.is_on:
        size = 0
    work.decode = work.logit_rows = size
    if size:
        work.context = read = batch.context
        work.context_slope = slope = size if rank.drafting is None else rank.drafting.slope
        # A leap draws constant power, so it ends before contexts grow by much.
        rank.steady = _LEAST_STEADY + int(read / (4 * slope))
    else:
        work.context = work.context_slope = 0
        rank.steady = ENDLESS
    chunks = rank.chunks
    if not chunks:
        if work.prefill_tokens:
            work.prefill_tokens = work.prefill_context = work.prefill_context_slope = 0
            work.prefill_pairs = work.prefill_pairs_slope = 0.0
        return size > 0
    tokens = context = context_slope = 0
    pairs = pairs_slope = 0.0
    for sequence, count, completes, again in chunks:
        position = sequence.position
        own = count * position + count * (count + 1) * 0.5
        own_slope = 0.0
        if completes:
            work.logit_rows += 1
        else:
            own_slope = float(count * count)
            context_slope += count
            if rank.steady > _MOST_CHUNKS:
                rank.steady = _MOST_CHUNKS
        shares.append(PrefillShare(sequence, count, own, own_slope, sequence.cached, again))
        tokens += count
        pairs += own
        pairs_slope += own_slope
        context += position + count
    work.prefill_tokens = tokens
    work.prefill_pairs = pairs
    work.prefill_pairs_slope = pairs_slope
    work.prefill_context = context
    work.prefill_context_slope = context_slope
    return True
