"""A number over time that holds until the next one: its values, integrals and changes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from math import inf


class Steps:
    """A step-wise constant number over time, laid out as far as it is asked for.

    Args:
        spans: (start in s, value), starts rising; the first value holds before it too, the last for
            ever. May be endless.

    Raises:
        ValueError: There is none.
    """

    __slots__ = ("_rest", "starts_s", "values")

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        self._rest: Iterator[tuple[float, float]] | None = iter(spans)
        self.starts_s: list[float] = []
        self.values: list[float] = []
        self._lay(-inf)
        if not self.starts_s:
            raise ValueError("a series needs one value at least")

    @property
    def is_constant(self) -> bool:
        """Whether it never changes."""
        return self.next_change(-inf) == inf

    def at(self, time_s: float) -> float:
        """The value at a time, s; at a change the later one."""
        return self.values[self._index(time_s)]

    def next_change(self, time_s: float) -> float:
        """When the value changes first after a time, s; infinite if it never does."""
        index = self._index(time_s)
        value = self.values[index]
        while True:
            index += 1
            if index >= len(self.starts_s) and not self._lay(self.starts_s[-1]):
                return inf
            if self.values[index] != value and self.starts_s[index] > time_s:
                return self.starts_s[index]

    def spans(self, from_s: float, to_s: float) -> Iterator[tuple[float, float, float]]:
        """Yields (start, end, value) of the parts of a span of time, cut at each change."""
        while from_s < to_s:
            end_s = min(self.next_change(from_s), to_s)
            yield from_s, end_s, self.at(from_s)
            from_s = end_s

    def integral(self, from_s: float, to_s: float) -> float:
        """∫ value dt between two times, s."""
        return sum(value * (end - start) for start, end, value in self.spans(from_s, to_s))

    def mean(self, from_s: float, to_s: float) -> float:
        """Time mean between two times, s; at one instant the value there."""
        if to_s <= from_s:
            return self.at(from_s)
        return self.integral(from_s, to_s) / (to_s - from_s)

    def _index(self, time_s: float) -> int:
        if self.starts_s[-1] <= time_s:
            self._lay(time_s)
        return max(bisect_right(self.starts_s, time_s) - 1, 0)

    def _lay(self, time_s: float) -> bool:
        """Lays steps out until one begins after a time; says whether there is such a one."""
        while self._rest is not None:
            step = next(self._rest, None)
            if step is None:
                self._rest = None
                break
            self.starts_s.append(step[0])
            self.values.append(step[1])
            if step[0] > time_s:
                return True
        return False


def constant(value: float) -> Steps:
    """A number that stays."""
    return Steps([(0.0, value)])


def days(
    starts_s: Sequence[float],
    values: Sequence[float],
    stretches: Iterable[tuple[float, float, float, int]],
) -> Steps:
    """A day that comes again on a local clock.

    Args:
        starts_s: When each value begins, s after local midnight; the first is 0, rising.
        values: As many.
        stretches: (start, end, seconds shown by the local clock at the start, weekday) of the time
            in which that clock runs on evenly, without end.
    """
    if min(values) == max(values):
        return constant(values[0])

    def steps() -> Iterator[tuple[float, float]]:
        for start_s, end_s, local_s, _ in stretches:
            first = bisect_right(starts_s, local_s) - 1
            yield start_s, values[first]
            for later, value in zip(starts_s[first + 1 :], values[first + 1 :], strict=True):
                at_s = start_s + (later - local_s)
                if at_s >= end_s:
                    break
                yield at_s, value

    return Steps(steps())
