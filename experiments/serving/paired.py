"""Differences between designs that saw the same demand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from experiments.serving.runs import Row
from factory.statistics import Interval, bonferroni, mean_interval

CONFIDENCE = 0.95


def values(
    rows: Sequence[Row], design: str, load: float, figure: str, by: str = "seed"
) -> dict[int, float]:
    """A figure of a design at a load, by seed or another column."""
    return {row[by]: row[figure] for row in rows if row["design"] == design and row["load"] == load}


def mean(rows: Sequence[Row], design: str, load: float, figure: str) -> float:
    """The same, its mean over the seeds that have it; NaN if none does."""
    found = [x for x in values(rows, design, load, figure).values() if x is not None]
    return sum(found) / len(found) if found else math.nan


def cell(value: float, form: str) -> str:
    """A figure in a table; a dash for NaN."""
    return "–" if math.isnan(value) else form.format(value)


def difference(
    rows: Sequence[Row],
    one: str,
    other: str,
    load: float,
    figure: str,
    tests: int = 1,
    relative: bool = False,
    by: str = "seed",
) -> Interval:
    """`one` less `other`, seed by seed: common random numbers, Student's t.

    Args:
        rows: Of `experiments.serving.runs`.
        one: A design.
        other: The design it is compared to.
        load: At which load.
        figure: Column of the rows.
        tests: Intervals that shall all hold together at `CONFIDENCE` (Bonferroni).
        relative: In units of the other's figure.
        by: Column of which equal values make a pair.
    """
    ours, theirs = (values(rows, design, load, figure, by) for design in (one, other))
    pairs = [(ours[key], theirs[key]) for key in sorted(ours)]
    found = [(a - b) / b if relative else a - b for a, b in pairs]
    return mean_interval(found, bonferroni(CONFIDENCE, tests))


def shown(interval: Interval, digits: int = 2, unit: str = "") -> str:
    """``+1.23 ± 0.04``."""
    return f"{interval.mean:+.{digits}f} ± {interval.half_width:.{digits}f}{unit}"


def less(
    rows: Sequence[Row],
    one: str,
    other: str,
    loads: tuple[str, Sequence[float]],
    figures: Mapping[str, tuple[str, int]],
) -> str:
    """A table of `one` less `other`; the intervals of a column hold together.

    Args:
        rows: Of `experiments.serving.runs`.
        one: A design.
        other: The design it is compared to.
        loads: Title of the loads, and those shown.
        figures: Title of a column → figure and digits.
    """
    title, lines = loads[0], []
    for x in loads[1]:
        found = (
            shown(difference(rows, one, other, x, name, len(loads[1])), digits)
            for name, digits in figures.values()
        )
        lines.append([f"{x:g}", *found])
    return markdown([title, *figures], lines)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
