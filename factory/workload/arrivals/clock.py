"""The local clock of a place over simulated time, daylight saving included."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfo

_DAY = dt.timedelta(days=1)
_HOUR = dt.timedelta(hours=1)
_TICK = dt.timedelta(microseconds=1)


class Stretch(NamedTuple):
    """Time within one day in which the local clock runs on evenly.

    Attributes:
        start_s: Where it starts, s of simulated time.
        end_s: Where it ends: at midnight, or when the clock is changed.
        local_s: What the clock shows at its start, s since midnight.
        weekday: 0 on a Monday to 6 on a Sunday.
    """

    start_s: float
    end_s: float
    local_s: float
    weekday: int


@dataclass(frozen=True, slots=True)
class Clock:
    """What clocks show.

    Attributes:
        epoch: Instant of simulated time 0, aware.
        zone: IANA name of the place's time zone.
    """

    epoch: dt.datetime
    zone: str = "UTC"

    def earlier(self, by_s: float) -> Clock:
        """The clock whose time 0 is so many seconds earlier."""
        return Clock(self.epoch - dt.timedelta(seconds=by_s), self.zone) if by_s else self

    def stretches(self) -> Iterator[Stretch]:
        """Yields stretches from time 0 on, without end (up to the year 9999)."""
        zone = ZoneInfo(self.zone)
        epoch = now = self.epoch.astimezone(dt.UTC)
        try:
            while True:
                here = now.astimezone(zone)
                shown = here.replace(tzinfo=None) - dt.datetime.combine(here.date(), dt.time())
                until = _change(now, now + _DAY - shown, zone)
                yield Stretch(
                    (now - epoch).total_seconds(),
                    (until - epoch).total_seconds(),
                    shown.total_seconds(),
                    here.weekday(),
                )
                now = until
        except OverflowError:
            return

    def daily(self, times: Sequence[dt.time]) -> Iterator[list[float]]:
        """Yields the simulated times, s from 0 on, at which the clock shows `times`, day by day.

        A time that the clock skips when it is put forward comes as much later; one that it shows
        twice counts the first time (PEP 495).
        """
        zone = ZoneInfo(self.zone)
        epoch = self.epoch.astimezone(dt.UTC)
        day = epoch.astimezone(zone).date()
        try:
            while True:
                shown = [dt.datetime.combine(day, time, zone).astimezone(dt.UTC) for time in times]
                seconds = sorted((instant - epoch).total_seconds() for instant in shown)
                yield [second for second in seconds if second >= 0]
                day += _DAY
        except OverflowError:
            return


def _change(now: dt.datetime, until: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """When the clock is changed first after `now`, or `until`; changes are over an hour apart."""
    offset = now.astimezone(zone).utcoffset()
    low = now
    while low < until:
        high = min(low + _HOUR, until)
        if high.astimezone(zone).utcoffset() != offset:
            while high - low > _TICK:
                middle = low + (high - low) / 2
                if middle.astimezone(zone).utcoffset() == offset:
                    low = middle
                else:
                    high = middle
            return high
        low = high
    return until
