"""The quarters of the local clock by which demand is metered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

QUARTER_S = 900.0


class Quarters:
    """Fifteen-minute quarters of a local clock, on simulated time.

    Clocks are put forward and back by whole quarters, so the offset at the epoch aligns them all.

    Args:
        epoch: Instant of simulated time 0, aware.
        zone: IANA name of the place's time zone.

    Attributes:
        before_s: How far the quarter that holds time 0 reaches back before it, s.
    """

    __slots__ = ("before_s",)

    def __init__(self, epoch: dt.datetime, zone: str) -> None:
        here = epoch.astimezone(ZoneInfo(zone))
        since_hour_s = here.minute * 60 + here.second + here.microsecond * 1e-6
        self.before_s = since_hour_s % QUARTER_S

    @property
    def is_whole(self) -> bool:
        """Whether its edges are at whole seconds."""
        return self.before_s.is_integer()

    def edge(self, number: int) -> float:
        """When quarter ``number`` ends, s; the first is 0."""
        return (number + 1) * QUARTER_S - self.before_s

    def spans(self, end_s: float) -> Iterator[tuple[int, float, float, bool]]:
        """Yields (number, start, end, whether it is whole) of each that has begun by ``end_s``."""
        number, start_s = 0, 0.0
        while start_s < end_s:
            edge_s = self.edge(number)
            is_whole = edge_s <= end_s and (number > 0 or self.before_s == 0.0)
            yield number, start_s, min(edge_s, end_s), is_whole
            number, start_s = number + 1, edge_s
