"""A leap: the longest run of steps over which a replica's batch does not change."""

from __future__ import annotations

from math import inf, nextafter

from factory.performance import Segment
from factory.serving.sequence import Sequence


class PrefillShare:
    """What one sequence takes of the prefill in each step of a leap.

    Attributes:
        sequence: Whose prompt it is.
        tokens: Prompt tokens per step, of which ``recomputed`` were computed before.
        pairs, pairs_slope: Query-key pairs in step 0, and added per step.
        cached: Its tokens that came from the cache, which each new token attends to.
    """

    __slots__ = ("cached", "pairs", "pairs_slope", "recomputed", "sequence", "tokens")

    def __init__(
        self,
        sequence: Sequence,
        tokens: int,
        pairs: float,
        pairs_slope: float,
        cached: int,
        recomputed: int,
    ) -> None:
        self.sequence = sequence
        self.tokens = tokens
        self.pairs = pairs
        self.pairs_slope = pairs_slope
        self.cached = cached
        self.recomputed = recomputed


class Leap:
    """The line on which a replica's next steps lie, and how far it has been accounted for.

    Attributes:
        segment: Seconds and work of each step.
        anchor_s: Time of the leap's start (see `begun_at`); boundary ``k`` is at ``anchor_s +
            segment.elapsed(k)``.
        step: Steps that the replica had done at the anchor.
        size: Decoding sequences over all ranks.
        by_tenant: Decoding sequences by tenant.
        shares: The prompts in each step.
        watts: Draw of one GPU, mean over the replica.
        uncapped: Seconds at the pool's own clock ÷ seconds at the clock granted, at most 1.
        k, part: Accounted for up to step ``k`` and this fraction of it.
    """

    __slots__ = (
        "anchor_s",
        "by_tenant",
        "k",
        "part",
        "segment",
        "shares",
        "size",
        "step",
        "uncapped",
        "watts",
    )

    def __init__(
        self,
        segment: Segment,
        anchor_s: float,
        step: int,
        size: int,
        by_tenant: dict[int, int],
        shares: list[PrefillShare],
        watts: float,
        uncapped: float,
        part: float = 0.0,
    ) -> None:
        self.segment = segment
        self.anchor_s = anchor_s
        self.step = step
        self.size = size
        self.by_tenant = by_tenant
        self.shares = shares
        self.watts = watts
        self.uncapped = uncapped
        self.k = 0
        self.part = part


def position(leap: Leap, now_s: float) -> tuple[int, float]:
    """Whole steps that a leap has done at ``now_s``, and the fraction of the next."""
    segment = leap.segment
    k = segment.steps_by(leap.anchor_s, now_s)
    if k >= segment.steps:
        return k, 0.0
    length = segment.base_s + segment.slope_s * k
    part = (now_s - leap.anchor_s - segment.elapsed(k)) / length
    return k, min(max(part, 0.0), 1.0)


def begun_at(segment: Segment, now_s: float, part: float) -> float:
    """The anchor of a line whose step 0 is done to the fraction ``part`` at ``now_s``.

    As if it had begun at this clock, so that its first boundary comes when the rest of it is done.
    """
    if not part:
        return now_s
    anchor_s = now_s - part * segment.base_s
    while anchor_s + segment.base_s < now_s:  # by rounding alone
        anchor_s = nextafter(anchor_s, inf)
    return anchor_s
