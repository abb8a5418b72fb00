"""What a site's meter counts, and the site that needs no meter of its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, nan
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from factory.facility.demand_meter import Quarters
from factory.facility.tree import PowerTree
from factory.power.series import Steps

IT_J = 0
FACILITY_J = 1
GRID_J = 2
CHARGED_J = 3
DISCHARGED_J = 4
EXCESS_J = 5
CURTAILED_S = 6
USD = 7
GRAMS = 8
FIELDS = 9
"""Fields of the site's windows: joules of IT, facility and grid, taken and given by the battery,
above the limit of a curtailment; seconds curtailed; the price and the emissions of grid energy."""

J_PER_MWH = 3.6e9
J_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Outside:
    """What comes from outside the fence, over time.

    Attributes:
        temperature: Degrees Celsius; None if nothing depends on it.
        price: USD/MWh.
        carbon: g/kWh.
    """

    temperature: Steps | None = None
    price: Steps | None = None
    carbon: Steps | None = None

    def next_change(self, time_s: float) -> float:
        """When one of them changes first after a time, s."""
        series = (self.temperature, self.price, self.carbon)
        return min((each.next_change(time_s) for each in series if each is not None), default=inf)


@dataclass(frozen=True, slots=True)
class Metered:
    """What a site's meter says of a run.

    Attributes:
        windows: Sums of each window, see `FIELDS`.
        levels_j: Level of the battery at the end of each window, J.
        limits_w: Lowest grid limit of a curtailment in each; nan for none.
        grid_w: Mean grid power of each second, W.
        quarters_j: Grid energy of each quarter, J.
    """

    windows: list[list[float]]
    levels_j: list[float]
    limits_w: list[float]
    grid_w: NDArray[np.float64]
    quarters_j: list[float]


class Meter(Protocol):
    """What measures a site."""

    def read(self, end_s: float) -> Metered:
        """Its sums; the run has ended then."""


class PlainMeter:
    """A site whose grid power is its IT power times a constant: read off the tree's own account.

    Args:
        tree: The facility.
        pue: Facility power over IT power.
        quarters: The quarters, at whole seconds.
        outside: Price and carbon intensity, which change at whole seconds.
    """

    __slots__ = ("_outside", "_pue", "_quarters", "_tree")

    def __init__(self, tree: PowerTree, pue: float, quarters: Quarters, outside: Outside) -> None:
        self._tree = tree
        self._pue = pue
        self._quarters = quarters
        self._outside = outside

    def read(self, end_s: float) -> Metered:
        """See `Meter`; the tree is closed."""
        window_s = self._tree.root.windows.window_s
        count = max(1, ceil(end_s / window_s))
        it_w = np.zeros(ceil(end_s))
        it_j = np.zeros(count)
        for rack in self._tree.racks:
            assert rack.bins is not None
            it_w += rack.bins.watts(end_s)
            it_j += [sum(row[:3]) for row in rack.windows.fold(count)]
        grid_w = it_w * self._pue
        by_second = grid_w.copy()
        if end_s % 1.0:
            by_second[-1] *= end_s % 1.0
        rows = []
        for joules in it_j.tolist():
            row = [0.0] * FIELDS
            row[IT_J] = joules
            row[FACILITY_J] = row[GRID_J] = joules * self._pue
            rows.append(row)
        outside = self._outside
        for field, series, unit in (
            (USD, outside.price, J_PER_MWH),
            (GRAMS, outside.carbon, J_PER_KWH),
        ):
            if series is None:
                continue
            values = np.zeros(len(by_second))
            for start_s, until_s, value in series.spans(0.0, end_s):
                values[int(start_s) : ceil(until_s)] = value
            sums = values * by_second / unit
            for index, row in enumerate(rows):
                row[field] = _sum(sums, index * window_s, (index + 1) * window_s)
        quarters = [_sum(by_second, start, end) for _, start, end, _ in self._quarters.spans(end_s)]
        return Metered(rows, [0.0] * count, [nan] * count, grid_w, quarters)


def _sum(by_second: NDArray[np.float64], from_s: float, to_s: float) -> float:
    return float(by_second[int(from_s) : ceil(to_s)].sum())
