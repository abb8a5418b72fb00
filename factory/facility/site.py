"""The meter of a facility: what comes from the grid for the IT power of its tree.

It follows the root of the tree, adds what the building draws, and lets battery and ramp limit act.
Between changes all is constant or linear in time; a piece is cut where a window, a quarter, a
price, a carbon intensity or the temperature outside changes, so every integral is exact, and the
same for any window. It never acts on what it measures: who curtails reads it.
"""

from __future__ import annotations

from math import ceil, inf, nan

from factory.facility.battery import Supply
from factory.facility.demand_meter import Quarters
from factory.facility.metering import EnergyBins, Windows
from factory.facility.site_meter import (
    CHARGED_J,
    CURTAILED_S,
    DISCHARGED_J,
    EXCESS_J,
    FACILITY_J,
    FIELDS,
    GRAMS,
    GRID_J,
    IT_J,
    J_PER_KWH,
    J_PER_MWH,
    USD,
    Metered,
    Outside,
)
from factory.facility.tree import PowerNode
from factory.power.overhead import Overhead


class Site:
    """A site whose meter runs with the simulation (see the module).

    Args:
        root: The facility's node of the power tree.
        overhead: What the building draws on top of it.
        supply: Battery and ramp limit.
        quarters: The quarters of the demand meter.
        outside: Temperature, price and carbon intensity.
        response_s: Time that a reduction may take before excess counts, s.

    Attributes:
        outside_c: Temperature outside now, degrees Celsius; 0 where nothing depends on it.
        energy_j: Grid energy so far, J; up to date after `account`.
        excess_j: Grid energy above limits so far, J; likewise.
        ramped_j: Of that, what was drawn because grid power may fall no faster than its ramp.
    """

    __slots__ = (
        "_bins", "_counts_s", "_cut_s", "_edge_s", "_index", "_it_w", "_levels_j", "_limit_w",
        "_limits_w", "_outside", "_overhead", "_quarter", "_quarters", "_quarters_j", "_rates",
        "_response_s", "_root", "_supply", "_windows", "energy_j", "excess_j", "outside_c",
        "ramped_j",
    )  # fmt: skip

    def __init__(
        self,
        root: PowerNode,
        overhead: Overhead,
        supply: Supply,
        quarters: Quarters,
        outside: Outside,
        response_s: float = 0.0,
    ) -> None:
        self._root = root
        self._overhead = overhead
        self._supply = supply
        self._quarters = quarters
        self._outside = outside
        self._response_s = response_s
        self._windows = Windows(root.windows.window_s, FIELDS)
        self._levels_j: list[float] = []
        self._limits_w: dict[int, float] = {}
        self._bins = EnergyBins()
        self._quarters_j = [0.0]
        self._quarter = self._index = 0
        self._cut_s = 0.0
        self._limit_w = inf
        self._counts_s = inf
        self.energy_j = self.excess_j = self.ramped_j = 0.0
        self._it_w = root.power_w
        self.outside_c = 0.0
        self._rates = (0.0, 0.0)
        self._look_outside(0.0)
        supply.begin(self.facility_w)
        self._edge_s = self._next_edge(0.0)
        root.watchers.append(self._changed)

    @property
    def facility_w(self) -> float:
        """What is drawn behind the meter now, W."""
        return self._overhead.watts(self._it_w, self.outside_c)

    @property
    def level_j(self) -> float:
        """Level of the battery when it was last accounted for, J."""
        return self._supply.level_at(self._cut_s)

    @property
    def battery_w(self) -> float:
        """The most that the battery gives, W."""
        return self._supply.battery.power_w

    def it_watts(self, grid_w: float) -> float:
        """IT power that draws so much behind the meter at the temperature of now, W."""
        return self._overhead.it_watts(grid_w, self.outside_c)

    def next_warmer(self, time_s: float) -> float:
        """When the temperature outside changes first after a time, s."""
        temperature = self._outside.temperature
        return inf if temperature is None else temperature.next_change(time_s)

    def limit(self, now_s: float, limit_w: float, *, battery: bool) -> None:
        """Grid power shall be at most ``limit_w`` from now on; infinite ends that.

        Args:
            now_s: Now.
            limit_w: The limit, W.
            battery: Whether the battery gives what is drawn above it.
        """
        self.account(now_s)
        self._limit_w = limit_w
        self._counts_s = now_s + self._response_s if limit_w < inf else inf
        if battery:
            self._supply.curtail(now_s, limit_w)
        self._edge_s = self._next_edge(now_s)

    def account(self, until_s: float) -> None:
        """Books everything up to ``until_s``."""
        supply = self._supply
        while True:
            end_s = until_s
            if supply.until_s < end_s:
                end_s = supply.until_s
            if self._edge_s < end_s:
                end_s = self._edge_s
            if end_s > self._cut_s:
                self._book(end_s)
            is_done = end_s >= until_s
            if supply.until_s <= end_s:
                supply.turn()
                is_done = False
            if self._edge_s <= end_s:
                self._pass_edge(end_s)
                is_done = False
            if is_done:
                return

    def read(self, end_s: float) -> Metered:
        """See `Meter`."""
        self.account(end_s)
        window_s = self._windows.window_s
        count = max(1, ceil(end_s / window_s))
        levels_j = [*self._levels_j, *[self.level_j] * count][:count]
        limits_w = [self._limits_w.get(index, nan) for index in range(count)]
        spans = list(self._quarters.spans(end_s))
        return Metered(
            self._windows.fold(count),
            levels_j,
            limits_w,
            self._bins.watts(end_s),
            self._quarters_j[: len(spans)],
        )

    # -- between edges -------------------------------------------------------------------------

    def _changed(self, now_s: float, it_w: float) -> None:
        """The root draws ``it_w`` from now on."""
        if it_w == self._it_w:
            return
        self.account(now_s)
        self._it_w = it_w
        self._supply.follow(now_s, self.facility_w)

    def _book(self, end_s: float) -> None:
        """Books the part of a piece up to ``end_s``."""
        supply = self._supply
        start_s = self._cut_s
        self._cut_s = end_s
        seconds = end_s - start_s
        from_w, to_w = supply.grid_at(start_s), supply.grid_at(end_s)
        grid_j = 0.5 * (from_w + to_w) * seconds
        facility_j = supply.facility_w * seconds
        row = self._windows.row(self._index)
        row[IT_J] += self._it_w * seconds
        row[FACILITY_J] += facility_j
        row[GRID_J] += grid_j
        given_j = facility_j - grid_j
        if given_j > 0.0:
            row[DISCHARGED_J] += given_j
        else:
            row[CHARGED_J] -= given_j
        if self._limit_w < inf:
            row[CURTAILED_S] += seconds
            lowest = self._limits_w
            lowest[self._index] = min(lowest.get(self._index, inf), self._limit_w)
            if start_s >= self._counts_s:
                excess_j = _above(from_w - self._limit_w, to_w - self._limit_w, seconds)
                row[EXCESS_J] += excess_j
                self.excess_j += excess_j
                if supply.descends_to_w <= self._limit_w:
                    self.ramped_j += excess_j
        price, carbon = self._rates
        row[USD] += price * grid_j / J_PER_MWH
        row[GRAMS] += carbon * grid_j / J_PER_KWH
        self._quarters_j[self._quarter] += grid_j
        self.energy_j += grid_j
        self._by_second(start_s, end_s)

    def _by_second(self, start_s: float, end_s: float) -> None:
        """Adds grid power to the seconds, in each of which a slope has its mean."""
        supply = self._supply
        while start_s < end_s:
            until_s = min(float(int(start_s) + 1), end_s) if supply.slope else end_s
            middle_w = supply.grid_at(0.5 * (start_s + until_s))
            self._bins.add(start_s, until_s, middle_w)
            start_s = until_s

    # -- edges ---------------------------------------------------------------------------------

    def _next_edge(self, now_s: float) -> float:
        return min(
            (self._index + 1) * self._windows.window_s,
            self._quarters.edge(self._quarter),
            self._outside.next_change(now_s),
            self._counts_s if self._counts_s > now_s else inf,
        )

    def _pass_edge(self, now_s: float) -> None:
        if now_s >= (self._index + 1) * self._windows.window_s:
            self._index += 1
            self._levels_j.append(self._supply.level_at(now_s))
        if now_s >= self._quarters.edge(self._quarter):
            self._quarter += 1
            self._quarters_j.append(0.0)
        before_c = self.outside_c
        self._look_outside(now_s)
        if self.outside_c != before_c:
            self._supply.follow(now_s, self.facility_w)
        self._edge_s = self._next_edge(now_s)

    def _look_outside(self, now_s: float) -> None:
        outside = self._outside
        if outside.temperature is not None:
            self.outside_c = outside.temperature.at(now_s)
        self._rates = (
            0.0 if outside.price is None else outside.price.at(now_s),
            0.0 if outside.carbon is None else outside.carbon.at(now_s),
        )


def _above(from_w: float, to_w: float, seconds: float) -> float:
    """∫ max(0, power) dt of power that is linear in time, J."""
    if from_w <= 0.0 and to_w <= 0.0:
        return 0.0
    if from_w >= 0.0 and to_w >= 0.0:
        return 0.5 * (from_w + to_w) * seconds
    above_w = max(from_w, to_w)
    return 0.5 * above_w * seconds * above_w / abs(to_w - from_w)
