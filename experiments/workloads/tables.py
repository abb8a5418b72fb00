"""Quantile tables as `configs/workloads` states them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Table = list[tuple[float, float]]

GRID = (
    0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7,
    0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0,
)  # fmt: skip


def quantile_table(values: Sequence[float] | Floats, fewest: int = 30) -> Table:
    """Quantiles on a grid, as far out as `fewest` values lie beyond, and the largest value.

    Args:
        values: What was measured.
        fewest: Values that must lie beyond an inner quantile in either tail.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    margin = fewest / len(x)
    inner = [p for p in GRID if margin <= p <= 1 - margin or p in {0.0, 1.0}]
    return _risen([(p, _three_digits(float(np.quantile(x, p)))) for p in inner])


def count_table(values: Sequence[int] | Floats, exact: int = 10, fewest: int = 5) -> Table:
    """Quantiles of whole numbers: those up to `exact` keep their shares to four digits.

    Draws are rounded, so the value k takes all between k - 1/2 and k + 1/2.

    Args:
        values: Whole numbers.
        exact: Largest value whose share is kept.
        fewest: Values that must lie beyond an inner quantile of the upper tail.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    table: Table = [(0.0, max(float(x[0]) - 0.5, 0.0))]
    for k in range(int(x[0]), exact + 1):
        table.append((round(float((x <= k).mean()), 4), k + 0.5))
    reached = table[-1][0]
    for p in GRID:
        if reached < p <= 1 - fewest / len(x):
            table.append((p, _three_digits(float(np.quantile(x, p)))))
    if reached < 1:
        table.append((1.0, float(x[-1])))
    return _risen(table)


def yaml_of(table: Table, indent: int) -> str:
    """A table as YAML, a few pairs on a line."""
    cells = [f"[{p:g}, {value:g}]" for p, value in table]
    lines, line = [], ""
    for cell in cells:
        if len(line) + len(cell) > 96 - indent:
            lines.append(line.rstrip())
            line = ""
        line += f"{cell}, "
    lines.append(line.rstrip(", "))
    return ("\n" + " " * indent).join(lines)


def _risen(table: Table) -> Table:
    """Without pairs that repeat a p, and with values that never fall (rounding may let them)."""
    risen: Table = []
    for p, value in table:
        if risen and p <= risen[-1][0]:
            continue
        risen.append((p, max(value, risen[-1][1] if risen else value)))
    return risen


def _three_digits(value: float) -> float:
    if value == 0:
        return 0.0
    digits = 2 - math.floor(math.log10(abs(value)))
    return float(round(value, digits))
