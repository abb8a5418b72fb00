"""How far predictions are from measurements, group by group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Pair:
    """A prediction beside its measurement, in one unit.

    Attributes:
        labels: What it belongs to, by kind of group, e.g. ``{"system": "gb200"}`` as pairs.
        measured: The measurement, > 0.
        predicted: The prediction.
    """

    labels: tuple[tuple[str, str], ...]
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Signed relative error: ``predicted / measured - 1``."""
        return self.predicted / self.measured - 1.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Relative errors of one group, as ratios: 0.1 is 10 %.

    Attributes:
        group: Labels of the group, in the order of its kinds; empty for all rows.
        n: Pairs.
        median: Median of the absolute errors.
        mean: Mean of the absolute errors (MAPE).
        bias: Mean of the signed errors: above 0 where we predict too much.
        p90: 90th percentile of the absolute errors (linear between order statistics).
    """

    group: tuple[str, ...]
    n: int
    median: float
    mean: float
    bias: float
    p90: float

    def as_json(self, kinds: Sequence[str]) -> dict[str, Any]:
        """Plain data; the group as an object by kind."""
        return {**asdict(self), "group": dict(zip(kinds, self.group, strict=True))}


def statistics(pairs: Sequence[Pair], group: tuple[str, ...] = ()) -> Statistics:
    """Statistics of the errors of some pairs.

    Args:
        pairs: At least one.
        group: What they have in common.
    """
    signed = np.array([pair.error for pair in pairs])
    absolute = np.abs(signed)
    return Statistics(
        group,
        len(pairs),
        float(np.median(absolute)),
        float(absolute.mean()),
        float(signed.mean()),
        float(np.quantile(absolute, 0.9)),
    )


def by_group(pairs: Iterable[Pair], kinds: Sequence[str]) -> list[Statistics]:
    """Statistics of every group of pairs that share their labels of these kinds, sorted."""
    groups: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs:
        labels = dict(pair.labels)
        groups.setdefault(tuple(labels[kind] for kind in kinds), []).append(pair)
    return [statistics(groups[group], group) for group in sorted(groups)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A limit and whether it holds.

    Attributes:
        name: What is limited, e.g. ``decode median``.
        value: What was found, a ratio.
        limit: What is allowed.
        at_least: Whether the limit is a floor rather than a ceiling.
    """

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        word = "holds" if self.holds else "MISSED"
        return f"{self.name} {self.value:.1%} ({sign} {self.limit:.0%} {word})"

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "holds": self.holds}


def reasons(given: Iterable[str]) -> list[tuple[str, int]]:
    """How often each reason was given, the most frequent first; empty ones do not count."""
    counts: dict[str, int] = {}
    for reason in given:
        if reason:
            counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
