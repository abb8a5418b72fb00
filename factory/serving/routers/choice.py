"""How routers pick among slots: least values with fair ties, and draws from a named stream."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.serving.slots import Slots


def column(values: array[int]) -> NDArray[np.int64]:
    """A column of `Slots` as numpy sees it: the same memory, not a copy."""
    return np.frombuffer(values, dtype=np.int64)


# Slots up to which lists are quicker than numpy's calls.
FEW = 64


def next_least(values: Sequence[float], last: int) -> int:
    """Position of the least value; among equals the next one after ``last``, cyclically."""
    least = min(values)
    place = values.index(least)
    if place <= last and values.count(least) > 1 and least in values[last + 1 :]:
        return values.index(least, last + 1)
    return place


class Turns:
    """Picks the live slot of least value; slots with equal values take turns.

    So no slot is preferred for its number: with equal values it is round robin.
    """

    __slots__ = ("_last", "_live", "_places")

    def __init__(self) -> None:
        self._last = -1
        self._live: list[int] | None = None
        self._places = np.empty(0, dtype=np.intp)

    def live(self, values: NDArray[Any], slots: Slots) -> NDArray[Any]:
        """The values of the live slots, in their order; all of them if all are live."""
        if len(slots.live) == slots.count:
            return values
        if slots.live is not self._live:
            self._live = slots.live
            self._places = np.array(slots.live, dtype=np.intp)
        return values[self._places]

    def least_of(self, values: Sequence[float], live: Sequence[int]) -> int:
        """The same for few slots: of ``live``, in order, with a value for each."""
        # Where the slot chosen last stands among the live ones, or would.
        last = self._last
        if last >= 0 and (last >= len(live) or live[last] != last):
            last = bisect_right(live, last) - 1
        self._last = slot = live[next_least(values, last)]
        return slot

    def least(self, values: NDArray[Any], slots: Slots) -> int:
        """The live slot with the least value; among equals the next after the last one chosen.

        Args:
            values: One per slot, live or not; infinite for a slot that must not be chosen. At least
                one live slot has a finite one.
            slots: The pool.
        """
        live = self.live(values, slots)
        if len(live) <= FEW:
            return self.least_of(live.tolist(), slots.live)
        (lows,) = (live == live[live.argmin()]).nonzero()
        if live is not values:
            lows = self._places[lows]
        at = 0
        if len(lows) > 1:
            at = int(lows.searchsorted(self._last, side="right")) % len(lows)
        self._last = slot = int(lows[at])
        return slot


def softmax_least(values: NDArray[Any], temperature: float, uniform: Callable[[], float]) -> int:
    """Draws a position, low values more often: weights exp(−value / (temperature × range)).

    Values are scaled by their range first, so that the temperature has the same meaning whatever
    their unit; without a range the draw is uniform.

    Args:
        values: One per choice.
        temperature: Above 0; towards 0 the least value is certain.
        uniform: Draws a number in [0, 1).
    """
    low = values.min()
    scale = temperature * (float(values.max() - low) or 1.0)
    sums = np.exp((low - values) / scale).cumsum()
    place = int(sums.searchsorted(uniform() * sums[-1], side="right"))
    return min(place, len(sums) - 1)


def uniform_from(stream: np.random.Generator) -> Callable[[], float]:
    """A function that draws numbers in [0, 1) from a named stream, many at once."""
    buffer: list[float] = []

    def uniform() -> float:
        if not buffer:
            buffer.extend(stream.random(4096).tolist()[::-1])
        return buffer.pop()

    return uniform


def drawer(uniform: Callable[[], float]) -> Callable[[int], int]:
    """A function that draws whole numbers below its argument, by the numbers of ``uniform``."""

    def draw(below: int) -> int:
        return int(uniform() * below)

    return draw
