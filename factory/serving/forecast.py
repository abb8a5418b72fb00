"""Forecasts of the next interval from those that were."""

from __future__ import annotations

from collections import deque
from typing import Protocol

WARM_UP_POINTS = 5
"""Values that smoothing with a trend wants before it is trusted; until then the newest value is the
forecast, as Dynamo's planner does (`kalman_min_points`, 1.5, 2026)."""


class Forecast(Protocol):
    """Takes one value per interval and says what the next will be."""

    def observe(self, value: float) -> None:
        """Takes the value of the interval that just ended."""
        ...

    def next(self) -> float:
        """The value expected of the next interval, never below 0; 0 before the first."""
        ...


class Constant:
    """The next interval is as the last was."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0.0

    def observe(self, value: float) -> None:
        """Takes a value (see `Forecast`)."""
        self._value = value

    def next(self) -> float:
        """The newest value."""
        return self._value


class MovingAverage:
    """The mean of the newest ``window`` values."""

    __slots__ = ("_values",)

    def __init__(self, window: int) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def observe(self, value: float) -> None:
        """Takes a value (see `Forecast`)."""
        self._values.append(value)

    def next(self) -> float:
        """Their mean."""
        values = self._values
        return sum(values) / len(values) if values else 0.0


class LinearTrend:
    """The least-squares line through the newest ``window`` values, one interval on."""

    __slots__ = ("_values",)

    def __init__(self, window: int) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def observe(self, value: float) -> None:
        """Takes a value (see `Forecast`)."""
        self._values.append(value)

    def next(self) -> float:
        """The line's next value; the newest value while there are fewer than two."""
        values = self._values
        count = len(values)
        if count < 2:
            return values[-1] if values else 0.0
        middle = (count - 1) / 2
        mean = sum(values) / count
        spread = count * (count * count - 1) / 12
        slope = sum((place - middle) * value for place, value in enumerate(values)) / spread
        return max(mean + slope * (count - middle), 0.0)


class Holt:
    """Exponential smoothing of level and trend (Holt, 1957; reprinted 2004).

    Args:
        level: Weight of the newest value in the level, 0 to 1.
        trend: Weight of the newest step of the level in the trend, 0 to 1.
        points: Values before the trend counts.
    """

    __slots__ = ("_count", "_level", "_newest", "_of_level", "_of_trend", "_points", "_trend")

    def __init__(self, level: float, trend: float, points: int = WARM_UP_POINTS) -> None:
        self._of_level = level
        self._of_trend = trend
        self._points = points
        self._count = 0
        self._newest = self._level = self._trend = 0.0

    def observe(self, value: float) -> None:
        """Takes a value (see `Forecast`); the first two set level and trend."""
        self._newest = value
        self._count += 1
        if self._count == 1:
            self._level = value
        elif self._count == 2:
            self._trend = value - self._level
            self._level = value
        else:
            before = self._level
            self._level += self._trend
            self._level += self._of_level * (value - self._level)
            self._trend += self._of_trend * (self._level - before - self._trend)

    def next(self) -> float:
        """Level and trend together."""
        if self._count < self._points:
            return self._newest
        return max(self._level + self._trend, 0.0)
