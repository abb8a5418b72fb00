"""What a replica's work draws, and how long it takes, at each clock that is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from factory.performance import Segment, StepModel
from factory.performance.work import RankWork
from factory.serving.batch import ENDLESS


class Draws:
    """Lines and draws of one replica's work by clock, each found once (see the module).

    Args:
        model: How long steps take.
        works: The work of each rank: the scheduler changes it in place.
        watts: Draw of one GPU from (segment, clock, step of the segment).
        gpus: GPUs of the replica.

    Attributes:
        middle: Step of the line at which the draw is taken for all of it.
    """

    __slots__ = ("_gpus", "_lines", "_model", "_watts", "_watts_at", "_works", "middle")

    def __init__(
        self,
        model: StepModel,
        works: Sequence[RankWork],
        watts: Callable[[Segment, float, float], float],
        gpus: int,
    ) -> None:
        self._model = model
        self._works = works
        self._watts = watts
        self._gpus = gpus
        self._watts_at: dict[float, float] = {}
        self._lines: dict[float, Segment] = {}
        self.middle = 0.0

    def forget(self) -> None:
        """The work is another."""
        self._watts_at.clear()
        self._lines.clear()

    def moved(self) -> None:
        """The work has gone on: its lines begin elsewhere, its draws still hold."""
        self._lines.clear()

    def line(self, clock: float) -> Segment:
        """The line on which the next steps lie, to keep."""
        return self._lines.pop(clock, None) or self._model.plan(self._works, clock, ENDLESS)

    def of(self, line: Segment, clock: float) -> float:
        """What the replica draws on a line, watts."""
        return self._watts(line, clock, self.middle) * self._gpus

    def at(self, clock: float) -> float:
        """What the replica would draw at a clock, watts."""
        watts = self._watts_at.get(clock)
        if watts is None:
            line = self._lines[clock] = self._model.plan(self._works, clock, ENDLESS)
            watts = self._watts_at[clock] = self.of(line, clock)
        return watts
