"""The clocks that a power budget chooses among."""

from __future__ import annotations

CLOCK_LEVELS = 12
"""Clock levels of a budget node: few enough that step tables by clock stay small."""


def clock_levels(
    min_clock_ratio: float, levels: int = CLOCK_LEVELS, top: float = 1.0
) -> tuple[float, ...]:
    """Evenly spaced clocks from the lowest to exactly ``top``, rising.

    Args:
        min_clock_ratio: Lowest clock over the nominal one, in (0, 1].
        levels: How many, at least 2.
        top: Highest clock; if it is below the lowest, all levels are at it.

    Raises:
        ValueError: if either is out of range.
    """
    if not 0.0 < min_clock_ratio <= 1.0:
        raise ValueError(f"min_clock_ratio must be in (0, 1], got {min_clock_ratio}")
    if levels < 2:
        raise ValueError(f"levels must be >= 2, got {levels}")
    last = levels - 1
    lowest = min(min_clock_ratio, top)
    step = (top - lowest) / last
    return (*(lowest + step * i for i in range(last)), top)
