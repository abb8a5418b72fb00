"""A token bucket: a rate that may be exceeded by what was saved up."""

from __future__ import annotations

_SLACK = 1e-9
"""Share of the burst that rounding may take: a whole token is there when its time has come."""


class TokenBucket:
    """Fills at a rate up to its burst, and starts full.

    What costs more than the burst passes when the bucket is full. The level may become negative, by
    costs that are known only afterwards; then it has to fill from there.

    Args:
        per_s: Rate at which it fills, units per second.
        burst: What it holds, units.

    Attributes:
        level: What was in it at the time it was last asked about, units.
    """

    __slots__ = ("_at_s", "_burst", "_per_s", "level")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._at_s = 0.0
        self.level = burst

    def fill(self, now_s: float) -> None:
        """Time is ``now_s``, seconds, not before any earlier call."""
        level = self.level + (now_s - self._at_s) * self._per_s
        self._at_s = now_s
        self.level = level if level < self._burst else self._burst

    def has(self, cost: float, now_s: float) -> bool:
        """Whether ``cost`` units may be taken at ``now_s``."""
        self.fill(now_s)
        needed = cost if cost < self._burst else self._burst
        return self.level >= needed - _SLACK * self._burst

    def take(self, cost: float) -> None:
        """Takes ``cost`` units out."""
        self.level -= cost
