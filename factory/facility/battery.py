"""What comes from the grid for what a facility draws: a battery and a ramp limit lie between.

The draw is constant between changes, so grid power is constant or, under a ramp limit, linear.
Each such piece of time ends where the draw changes, or by itself: the ramp is done, the battery
turns from giving to taking, is empty, full, or back at the level at which it rests. These instants
are computed, not looked for, so all energies are exact. See `power.battery` for the signs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import Literal

from factory.power.battery import BatterySpec, level_change_j, moved_j, seconds_until

NO_BATTERY = BatterySpec(0.0, 0.0, 1.0, 0.0)

BAND_RATIO = 0.05
"""Share of the capacity by which a battery that smooths ramps may stray from the level at which it
rests before it goes back there (assumed)."""

QUIET_S = 60.0
"""After a ramp that was missed no other is told for so long, s."""

Ending = Literal["never", "met", "turned", "empty", "full", "rested", "strayed"]


class Supply:
    """Grid power for the draw of a facility (see the module).

    Args:
        battery: What the battery can do; `NO_BATTERY` for none.
        note: Told as ``(now_s, kind, value)``: battery_empty and battery_full with the facility's
            draw in W, ramp_missed with the jump of grid power in W.
        ramp_w_per_s: Fastest change of grid power, W/s, as far as the battery reaches.
        peak_w: The battery gives what is drawn above this, W.
        recharge_w: Power at which it goes back to its resting level, W.

    Attributes:
        since_s: When the piece began.
        until_s: When it ends by itself; infinite if it does not.
        facility_w: Draw of the facility.
        grid_w: Grid power at the beginning of the piece, W.
        slope: Its change, W/s.
        level_j: Level of the battery at the beginning of the piece, J.
    """

    __slots__ = (
        "_band_j", "_curtailed_w", "_ending", "_note", "_peak_w", "_quiet_s", "_ramp",
        "_recharge_w", "_returning", "_wanted_w", "battery", "facility_w", "grid_w", "level_j",
        "since_s", "slope", "until_s",
    )  # fmt: skip

    def __init__(
        self,
        battery: BatterySpec,
        note: Callable[[float, str, float], None],
        ramp_w_per_s: float = inf,
        peak_w: float = inf,
        recharge_w: float = inf,
    ) -> None:
        self.battery = battery
        self._note = note
        self._ramp = ramp_w_per_s
        self._peak_w = peak_w
        self._curtailed_w = inf
        self._recharge_w = min(recharge_w, battery.power_w)
        self._band_j = 0.0
        if ramp_w_per_s < inf:
            self._band_j = BAND_RATIO * battery.capacity_j
            # Going back ends on a ramp of its own, which must not carry it out of the band, and
            # leaves power to smooth what changes meanwhile.
            most_w = min(0.5 * battery.power_w, sqrt(ramp_w_per_s * self._band_j))
            self._recharge_w = min(self._recharge_w, most_w)
        self._returning = False
        self._quiet_s = 0.0
        self._ending: Ending = "never"
        self._wanted_w = 0.0
        self.level_j = battery.initial_j
        self.since_s = 0.0
        self.until_s = inf
        self.facility_w = self.grid_w = self.slope = 0.0

    def begin(self, facility_w: float) -> None:
        """The run begins with so much drawn, and the grid has settled to it."""
        self.facility_w = self.grid_w = facility_w
        self._plan()

    def follow(self, now_s: float, facility_w: float) -> None:
        """The facility draws ``facility_w`` from now on, a time within the piece."""
        self._move(now_s)
        self.facility_w = facility_w
        self._plan()

    def curtail(self, now_s: float, limit_w: float) -> None:
        """The battery gives what is drawn above ``limit_w`` from now on; infinite ends that."""
        self._move(now_s)
        self._curtailed_w = limit_w
        self._plan()

    def turn(self) -> None:
        """The piece ends by itself."""
        battery = self.battery
        ending = self._ending
        self._move(self.until_s)
        # What ends it is reached exactly, not to the last digit.
        if ending == "met":
            self.grid_w = self._wanted_w
        elif ending == "turned":
            self.grid_w = self.facility_w
        elif ending == "empty":
            self.level_j = 0.0
            self._note(self.since_s, "battery_empty", self.facility_w)
        elif ending == "full":
            self.level_j = battery.capacity_j
            self._note(self.since_s, "battery_full", self.facility_w)
        elif ending == "rested":
            self.level_j = battery.initial_j
            self._returning = False
        elif ending == "strayed":
            self._returning = True
        self._plan()

    def grid_at(self, time_s: float) -> float:
        """Grid power at a time within the piece, W."""
        return self.grid_w + self.slope * (time_s - self.since_s)

    def level_at(self, time_s: float) -> float:
        """Level of the battery at a time within the piece, J."""
        given_j = moved_j(self.facility_w - self.grid_w, -self.slope, time_s - self.since_s)
        level_j = self.level_j + level_change_j(given_j, self.battery.efficiency_ratio)
        return min(max(level_j, 0.0), self.battery.capacity_j)

    @property
    def descends_to_w(self) -> float:
        """Where grid power is on its way down to by its ramp, W; infinite if it is not."""
        return self._wanted_w if self.slope < 0.0 else inf

    def _move(self, now_s: float) -> None:
        self.level_j, self.grid_w = self.level_at(now_s), self.grid_at(now_s)
        self.since_s = now_s

    def _plan(self) -> None:
        """Lays out the piece that begins."""
        drawn_w, level_j, battery = self.facility_w, self.level_j, self.battery
        # No power is sold: grid power is never below 0.
        low_w = max(drawn_w - (battery.power_w if level_j > 0.0 else 0.0), 0.0)
        high_w = drawn_w + (battery.power_w if level_j < battery.capacity_j else 0.0)
        if self._ramp == inf:
            self._returning = level_j != battery.initial_j
        self._wanted_w = wanted_w = min(max(self._wish_w(), low_w), high_w)
        if self._ramp == inf:
            self.grid_w = wanted_w
        else:
            self._clip(low_w, high_w)
        self.slope = 0.0
        if self.grid_w != wanted_w:
            self.slope = self._ramp if wanted_w > self.grid_w else -self._ramp
        seconds, self._ending = self._end()
        self.until_s = self.since_s + seconds

    def _wish_w(self) -> float:
        """Grid power that would be best, were there no bounds on battery and ramp."""
        drawn_w, level_j, rest_j = self.facility_w, self.level_j, self.battery.initial_j
        limit_w = min(self._peak_w, self._curtailed_w)
        if drawn_w >= limit_w:
            return limit_w
        if not self._returning or level_j == rest_j:
            return drawn_w
        if level_j > rest_j:
            return drawn_w - self._recharge_w
        if self._curtailed_w < inf:
            return drawn_w
        return min(drawn_w + self._recharge_w, limit_w)

    def _clip(self, low_w: float, high_w: float) -> None:
        """Grid power goes on as it was, as far as the battery can carry the difference."""
        was_w = self.grid_w
        self.grid_w = min(max(was_w, low_w), high_w)
        jump_w = self.grid_w - was_w
        is_missed = abs(jump_w) > 1e-9 * max(abs(was_w), abs(self.facility_w))
        if is_missed and self.since_s >= self._quiet_s:
            self._note(self.since_s, "ramp_missed", jump_w)
            self._quiet_s = self.since_s + QUIET_S

    def _end(self) -> tuple[float, Ending]:
        """Seconds until the piece ends by itself, and what does that."""
        battery, slope = self.battery, self.slope
        power_w = self.facility_w - self.grid_w
        ends: list[tuple[float, Ending]] = [(inf, "never")]
        if slope:
            ends.append(((self._wanted_w - self.grid_w) / slope, "met"))
            if power_w * slope > 0.0:
                ends.append((power_w / slope, "turned"))
        gives = power_w > 0.0 or (power_w == 0.0 and slope < 0.0)
        takes = power_w < 0.0 or (power_w == 0.0 and slope > 0.0)
        if not gives and not takes:
            return ends[-1]
        rest_j, band_j = battery.initial_j, self._band_j
        marks: list[tuple[float, Ending]] = []
        if self._returning:
            marks.append((rest_j, "rested"))
        elif self._ramp < inf:
            marks.append((rest_j - band_j if gives else rest_j + band_j, "strayed"))
        marks.append((0.0, "empty") if gives else (battery.capacity_j, "full"))
        for mark_j, ending in marks:
            away_j = self.level_j - mark_j  # to be given; to be taken if negative
            if (away_j > 0.0) if gives else (away_j < 0.0):
                energy_j = away_j if gives else away_j / battery.efficiency_ratio
                ends.append((seconds_until(energy_j, power_w, -slope), ending))
        return min(ends, key=lambda end: end[0])
