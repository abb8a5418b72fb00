"""Step times that are simply stated: for queueing oracles and hand-computed tests."""

from __future__ import annotations

from collections.abc import Sequence

from factory.performance.segment import Segment
from factory.performance.work import RankWork


class FixedStepModel:
    """A step lasts ``base + per_seq * decoding + per_prefill_token * prompt tokens``.

    The base is charged to decode when anything decodes, else to prefill. All of it is compute:
    at clock ``c`` a step lasts ``1 / c`` times as long. It computes and moves nothing, so power
    follows from being busy alone. The slowest rank sets the step. Where steps verify drafts, the
    stated times include that: nothing is added for them.

    Args:
        base_ms: Milliseconds of any step.
        per_seq_ms: Milliseconds per decoding sequence.
        per_prefill_token_ms: Milliseconds per prompt token.
    """

    __slots__ = ("_base_s", "_per_seq_s", "_per_token_s")

    def __init__(self, base_ms: float, per_seq_ms: float, per_prefill_token_ms: float) -> None:
        self._base_s = base_ms * 1e-3
        self._per_seq_s = per_seq_ms * 1e-3
        self._per_token_s = per_prefill_token_ms * 1e-3

    @property
    def peak_flops(self) -> float:
        """Any number will do for a model that computes nothing: 1."""
        return 1.0

    @property
    def peak_hbm(self) -> float:
        """Any number will do for a model that moves nothing: 1."""
        return 1.0

    @property
    def host_s(self) -> float:
        """None of a stated time is the host's."""
        return 0.0

    def plan(self, ranks: Sequence[RankWork], clock: float, max_steps: int) -> Segment:
        """The line of the next steps: a constant (see ``StepModel.plan``)."""
        slowest = prefill = decode = 0.0
        for rank in ranks:
            rank_prefill = self._per_token_s * rank.prefill_tokens
            rank_decode = 0.0
            if rank.decode:
                rank_decode = self._base_s + self._per_seq_s * rank.decode
            elif rank.prefill_tokens:
                rank_prefill += self._base_s
            slowest = max(slowest, rank_prefill + rank_decode)
            prefill += rank_prefill
            decode += rank_decode
        share = 1.0 / (len(ranks) * clock)
        base_s = slowest / clock
        prefill *= share
        decode *= share
        wait = max(base_s - prefill - decode, 0.0)
        return Segment(
            max_steps,
            base_s,
            0.0,
            slowest,
            0.0,
            prefill,
            0.0,
            decode,
            0.0,
            0.0,
            wait,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        )
