"""By how much the rate of a trace is changed, and what is drawn for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from factory.statistics import stream

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Rate:
    """By how much the rate of a trace is changed, and what is drawn for it.

    Attributes:
        scale: Factor of the rate, > 0.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
        factor: How many blocks of the deployment make a block of the trace.
    """

    scale: float
    seed: int
    replication: int
    factor: int

    def keeps(self, copy: int) -> Iterator[bool]:
        """Yields for unit after unit whether it stays in the last, thinned copy."""
        share = self.scale - math.floor(self.scale)
        for index in count():
            name = f"workload/trace/thin/{copy}"
            yield from (stream(self.seed, self.replication, name, index).random(_CHUNK) < share)

    def turns(self) -> list[float]:
        """By which part of the circle each copy is turned; the first is not."""
        draws = stream(self.seed, self.replication, "workload/trace/copies").random(self.copies)
        return [0.0, *draws[: self.copies - 1].tolist()]

    @property
    def copies(self) -> int:
        """How many there are, the thinned one counted."""
        return math.ceil(self.scale)
