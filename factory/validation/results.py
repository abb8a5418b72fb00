"""What a law says of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LawResult:
    """One law held against one run.

    Attributes:
        name: snake_case name of the law.
        holds: Whether it holds.
        detail: One sentence with the figures compared, and the offender where it does not hold.
        measured: The largest departure found.
        limit: The largest departure allowed.
    """

    name: str
    holds: bool
    detail: str
    measured: float
    limit: float


def within(name: str, measured: float, limit: float, detail: str) -> LawResult:
    """A law that holds where a departure stays within its limit; NaN never does."""
    return LawResult(name, bool(measured <= limit), detail, float(measured), limit)


def departure(left: float, right: float) -> float:
    """How far two figures are apart, relative to the larger; 0 for two zeros."""
    return abs(left - right) / max(abs(left), abs(right)) if left != right else 0.0
