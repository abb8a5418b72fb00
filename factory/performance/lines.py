"""The upper one of affine functions of the step index, and how long it stays so."""

from __future__ import annotations

from collections.abc import Sequence


def upper_line(
    base: float, slope: float, other: float, other_slope: float, steps: int
) -> tuple[float, float, int]:
    """The higher of two lines at step 0 (the steeper if equal), and the steps for which it is.

    Args:
        base: One line at step 0.
        slope: What it adds per step.
        other: The other line at step 0.
        other_slope: What that one adds per step.
        steps: Steps asked for, at least 1.

    Returns:
        Base and slope of the higher line, and ``steps``, cut at the last step up to the crossing.
    """
    if other > base or (other == base and other_slope > slope):
        base, slope, other, other_slope = other, other_slope, base, slope
    if other_slope > slope:
        crossing = (base - other) / (other_slope - slope)
        if crossing < steps:
            steps = min(steps, int(crossing) + 1)
    return base, slope, steps


def upper_of(
    bases: Sequence[float], slopes: Sequence[float], steps: int
) -> tuple[float, float, int]:
    """The same for any number of lines: O(lines).

    Args:
        bases: Value of each line at step 0.
        slopes: Value that each adds per step.
        steps: Steps asked for, at least 1.

    Returns:
        Base and slope of the highest line, and ``steps``, cut where another overtakes it.
    """
    base = max(bases)
    slope = max([s for b, s in zip(bases, slopes, strict=True) if b == base])
    steeper = [(base - b) / (s - slope) for b, s in zip(bases, slopes, strict=True) if s > slope]
    if steeper:
        crossing = min(steeper)
        if crossing < steps:
            steps = min(steps, int(crossing) + 1)
    return base, slope, steps
