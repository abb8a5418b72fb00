"""Spare units: what takes the place of what broke, while that is away for repair.

A place whose unit broke takes a free spare, and is whole again after the swap. Without one it
waits: for its own unit to come back, or for another's, whichever is first. What comes back finds
its place taken, and is a spare from then on (or goes to a place that waits).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from factory.facility.agenda import Agenda


class Place:
    """Where a unit broke: ``whole`` is called as ``(now_s, swapped)`` when it works again."""

    __slots__ = ("is_waiting", "owner", "whole")

    def __init__(self, owner: int, whole: Callable[[float, bool], None]) -> None:
        self.owner = owner
        self.whole = whole
        self.is_waiting = False


class SpareUnits:
    """The spares of one rack group and kind.

    Args:
        agenda: Keeps the time of swaps.
        units: How many there are.
        swap_s: Seconds from when a spare is free for a place until that is whole.

    Attributes:
        free: Units that stand ready now.
    """

    __slots__ = ("_agenda", "_swap_s", "_waiting", "free")

    def __init__(self, agenda: Agenda, units: int, swap_s: float) -> None:
        self._agenda = agenda
        self._swap_s = swap_s
        self._waiting: deque[Place] = deque()
        self.free = units

    def broke(self, place: Place, now_s: float) -> None:
        """The unit of a place is away: a spare takes it over, now or when there is one."""
        if self.free:
            self.free -= 1
            self._swap(place, now_s)
        else:
            place.is_waiting = True
            self._waiting.append(place)

    def back(self, place: Place, now_s: float) -> None:
        """The unit that broke at a place is repaired."""
        if place.is_waiting:
            place.is_waiting = False
            self._waiting.remove(place)
            place.whole(now_s, False)
        elif self._waiting:
            other = self._waiting.popleft()
            other.is_waiting = False
            self._swap(other, now_s)
        else:
            self.free += 1

    def _swap(self, place: Place, now_s: float) -> None:
        def done(at_s: float) -> None:
            place.whole(at_s, True)

        self._agenda.at(now_s + self._swap_s, place.owner, done)
