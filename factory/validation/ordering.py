"""Whether predictions put designs in the order that measurements do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

CLOSE = 0.1
"""Two points are compared where the logarithms of their interactivities differ by less."""

APART = 1.2
"""And where one's throughput is over so many times the other's."""


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration's place in the plane of the published curves.

    Attributes:
        demand: What it must share with others to be compared: model, ISL and OSL.
        interactivity: Measured, tokens per second and user.
        measured, predicted: Tokens per second and GPU.
    """

    demand: tuple[str, ...]
    interactivity: float
    measured: float
    predicted: float


@dataclass(frozen=True, slots=True)
class Ordering:
    """Over all pairs that can be compared.

    Attributes:
        pairs: How many.
        right: Of how many the predicted order is the measured one.
    """

    pairs: int
    right: int

    @property
    def share(self) -> float:
        """Share of pairs in the right order; NaN without pairs."""
        return self.right / self.pairs if self.pairs else math.nan

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "share": self.share}


def ordering(points: Sequence[Point]) -> Ordering:
    """Counts the pairs of equal demand and like interactivity whose throughputs are apart."""
    groups: dict[tuple[str, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(point.demand, []).append(point)
    pairs = right = 0
    for group in groups.values():
        group.sort(key=lambda point: point.interactivity)
        for place, slow in enumerate(group):
            for fast in group[place + 1 :]:
                if math.log(fast.interactivity / slow.interactivity) >= CLOSE:
                    break
                ratio = fast.measured / slow.measured
                if max(ratio, 1.0 / ratio) > APART:
                    pairs += 1
                    right += (fast.predicted - slow.predicted) * (ratio - 1.0) > 0.0
    return Ordering(pairs, right)
