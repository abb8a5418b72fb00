"""What one rank of a replica has to do in each step of a leap."""

from __future__ import annotations


class RankWork:
    """The work of one attention rank per step, with what changes from step to step.

    Plain and mutable on purpose: the scheduler keeps one per rank and updates it in place, so a
    plan costs no allocation on the asking side. Step ``k`` counts from 0 at the state described.

    Attributes:
        decode: Sequences decoding. Where steps verify drafts, each takes one row and one more for
            each draft; the step model knows how many these are.
        context: KV tokens that the decoding sequences read in step 0, summed over them, one new
            token of each included, its drafts not. A whole number unless steps verify drafts.
        context_slope: KV tokens added to ``context`` per step: ``decode`` if each step gives one
            token per sequence, else the sum of the tokens that each sequence's steps give.
        prefill_tokens: Prompt tokens computed per step, the same in every step.
        prefill_pairs: Query-key pairs of prefill attention in step 0: the sum, over the chunk's
            tokens, of the KV positions that each attends to.
        prefill_pairs_slope: Pairs added per step.
        prefill_context: KV tokens that prefill attention reads in step 0, summed over chunks.
        prefill_context_slope: KV tokens added per step.
        logit_rows: Sequences that need the LM head per step: those that decode and the prefills
            that end.
    """

    __slots__ = (
        "context",
        "context_slope",
        "decode",
        "logit_rows",
        "prefill_context",
        "prefill_context_slope",
        "prefill_pairs",
        "prefill_pairs_slope",
        "prefill_tokens",
    )

    def __init__(
        self,
        decode: int = 0,
        context: float = 0,
        prefill_tokens: int = 0,
        prefill_pairs: float = 0.0,
        prefill_pairs_slope: float = 0.0,
        prefill_context: int = 0,
        prefill_context_slope: int = 0,
        logit_rows: int = 0,
        context_slope: float | None = None,
    ) -> None:
        self.decode = decode
        self.context = context
        self.context_slope: float = decode if context_slope is None else context_slope
        self.prefill_tokens = prefill_tokens
        self.prefill_pairs = prefill_pairs
        self.prefill_pairs_slope = prefill_pairs_slope
        self.prefill_context = prefill_context
        self.prefill_context_slope = prefill_context_slope
        self.logit_rows = logit_rows

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"RankWork({fields})"
