"""How a breaker heats: an inverse-time curve as the rate of a thermal account.

A breaker's curve says how long a constant overload is tolerated from cold. For an overload that
varies, the share of that time which each span uses up is added: at 1 the breaker opens. With
constant power that is the curve itself; with a power that is constant between events the instant is
exact. At or below its rating it cools with a time constant (Newton's law); between the rating and
the curve's first point it keeps its heat, for the curve says nothing of how soon it would open.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import exp, inf, log


class BreakerCurve:
    """Seconds tolerated by overload.

    Between points the time is a straight line in the logarithms of both, as such curves are drawn;
    beyond the last point it is the last point's.

    Args:
        points: (overload ratio > 1, seconds tolerated > 0), ratios rising, seconds not rising.
        cooling_s: Time constant of cooling, seconds; by default the first point's seconds.

    Attributes:
        first_ratio: Below it an overload is carried for ever.
        cooling_s: Time constant of cooling, seconds.
    """

    __slots__ = ("_ratios", "_slopes", "_times", "cooling_s", "first_ratio")

    def __init__(
        self, points: Sequence[tuple[float, float]], cooling_s: float | None = None
    ) -> None:
        self._ratios = [ratio for ratio, _ in points]
        self._times = [seconds for _, seconds in points]
        self._slopes = [log(t1 / t0) / log(r1 / r0) for (r0, t0), (r1, t1) in pairwise(points)]
        self._slopes.append(0.0)
        self.first_ratio, first_s = points[0]
        self.cooling_s = cooling_s or first_s

    def tolerated_s(self, ratio: float) -> float:
        """Seconds for which a breaker that is cold carries ``ratio`` times its rating."""
        if ratio < self.first_ratio:
            return inf
        number = bisect_right(self._ratios, ratio) - 1
        rise: float = (ratio / self._ratios[number]) ** self._slopes[number]
        return self._times[number] * rise

    def heat_after(self, heat: float, ratio: float, seconds: float) -> float:
        """Heat after ``seconds`` at ``ratio``, from ``heat``; 0 is cold, at 1 it opens."""
        if ratio <= 1.0:
            return heat * exp(-seconds / self.cooling_s)
        return heat + seconds / self.tolerated_s(ratio)

    def trips_after_s(self, heat: float, ratio: float) -> float:
        """Seconds at ``ratio`` until it opens, from ``heat``; infinite if it does not."""
        tolerated_s = self.tolerated_s(ratio)
        return inf if tolerated_s == inf else max(1.0 - heat, 0.0) * tolerated_s
