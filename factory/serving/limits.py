"""What an engine's settings let one rank do."""

from __future__ import annotations

from dataclasses import dataclass

from factory.serving.batch import ENDLESS


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
        is_chunked: Whether a step may compute a part of a prompt. If not, the first prompt of a
            step runs whole, and others where the budget has room for all of them.
        yields: Tenants whose running requests give way to a prompt of higher priority that finds no
            room.
        caches_answers: Whether an answer's blocks stay for the prompt that continues it.
        model_len: Prompt and output tokens that a sequence may have.
        pinned_tenants: Tenants whose shared prefix, once computed, is never evicted.
    """

    sequences: int
    batched_tokens: int
    block_size: int
    prefix_caching: bool
    watermark_blocks: int
    drafts: int = 0
    is_chunked: bool = True
    yields: frozenset[int] = frozenset()
    caches_answers: bool = False
    model_len: int = ENDLESS
    pinned_tenants: frozenset[int] = frozenset()
