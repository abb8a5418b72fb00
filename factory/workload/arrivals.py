"""When sessions start: renewal processes, drawn in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np

from factory.statistics import stream

#: Rows drawn at a time; row i of a source is a function of the seed, the source's name and i.
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Renewal:
    """Independent gaps of one distribution between arrivals.

    The same seed gives the same gaps at every rate, only stretched.

    Attributes:
        kind: Shape of the gaps: exponential (Poisson arrivals), constant or gamma.
        rate: Mean arrivals per second, > 0.
        cv: Coefficient of variation of gamma gaps, > 0; 1 gives Poisson arrivals.
        name: Name of the random stream.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
    """

    kind: Literal["poisson", "deterministic", "gamma"]
    rate: float
    cv: float
    name: str
    seed: int
    replication: int

    def times(self, until_s: float) -> Iterator[list[float]]:
        """Yields arrival times in seconds, ascending, all below `until_s`, a chunk at a time."""
        start = 0.0
        for index in count():
            if self.kind == "deterministic":
                times = np.arange(index * CHUNK + 1, (index + 1) * CHUNK + 1) / self.rate
            else:
                times = start + np.cumsum(self._gaps(index)) / self.rate
                start = float(times[-1])
            if times[-1] >= until_s:
                yield times[: np.searchsorted(times, until_s, side="left")].tolist()
                return
            yield times.tolist()

    def gap_mean_s(self) -> float:
        """Mean gap, s."""
        return 1 / self.rate

    def gap_variance(self) -> float:
        """Variance of the gap, s²."""
        cv = {"poisson": 1.0, "deterministic": 0.0, "gamma": self.cv}[self.kind]
        return (cv / self.rate) ** 2

    def _gaps(self, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Gaps of mean 1."""
        rng = stream(self.seed, self.replication, self.name, index)
        if self.kind == "poisson":
            return rng.standard_exponential(CHUNK)
        shape = 1 / self.cv**2
        return rng.standard_gamma(shape, CHUNK) / shape
