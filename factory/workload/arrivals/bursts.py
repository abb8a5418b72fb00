"""Markov-modulated Poisson arrivals: bursts that come and go by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from factory.statistics import stream
from factory.workload.arrivals.operational import moved, unit_times
from factory.workload.arrivals.profiles import Profile
from factory.workload.arrivals.segments import Floats, Segments, product

#: Stays drawn at a time.
_STAYS = 4096


@dataclass(frozen=True, slots=True)
class ModulatedPoisson:
    """A Poisson process whose rate follows a Markov chain (MMPP).

    The chain starts in its steady state, so that counts have the mean rate × time from the start.
    Its path does not depend on the rate: at another rate the same bursts hold more arrivals. A
    profile multiplies the rate and leaves the stays alone. (Fischer and Meier-Hellstern, The
    Markov-modulated Poisson process cookbook, Performance Evaluation 18, 1993.)

    Attributes:
        rate: Mean arrivals per second over all states, > 0.
        factors: Rate of each state relative to the others', >= 0, one of them > 0.
        means_s: Mean stay in each, s, > 0; stays are exponential.
        order: Whether states follow in turn, or each of the others is as likely.
        name: Name of the random streams.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
        profile: Factor of the rate over time; None for one that stays.
    """

    rate: float
    factors: tuple[float, ...]
    means_s: tuple[float, ...]
    order: Literal["cyclic", "random"]
    name: str
    seed: int
    replication: int
    profile: Profile | None = None

    def times(self, until_s: float) -> Iterator[list[float]]:
        """Yields arrival times in seconds, ascending, all below `until_s`, a chunk at a time."""
        path = self.path()
        spans = path if self.profile is None else product(self.profile.spans(), path)
        units = unit_times("poisson", 1.0, self.name, self.seed, self.replication)
        return moved((chunk / self.rate for chunk in units), spans, until_s)

    def path(self) -> Iterator[Segments]:
        """Yields the rate over its mean, level by level, some thousand stays at a time."""
        means, factors, number = np.array(self.means_s), self.relative_rates(), len(self.factors)
        state, start = 0, 0.0
        for chunk in count():
            rng = stream(self.seed, self.replication, f"{self.name}/states", chunk)
            if chunk == 0:
                state = int(np.searchsorted(np.cumsum(self.shares())[:-1], rng.random(), "right"))
            stays = rng.standard_exponential(_STAYS)
            steps = np.ones(_STAYS, np.int64)
            if self.order == "random":
                steps = rng.integers(1, number, _STAYS)
            after = state + np.cumsum(steps)
            states = (after - steps) % number
            state = int(after[-1]) % number
            ends = start + np.cumsum(stays * means[states])
            level = factors[states]
            yield Segments(np.append(start, ends[:-1]), level, level, float(ends[-1]))
            start = float(ends[-1])

    def shares(self) -> Floats:
        """Share of the time in each state.

        Both orders visit every state equally often, so shares go with the mean stays.
        """
        means = np.array(self.means_s)
        shares: Floats = means / means.sum()
        return shares

    def relative_rates(self) -> Floats:
        """Rate of each state over the mean rate."""
        factors = np.array(self.factors)
        rates: Floats = factors / float(self.shares() @ factors)
        return rates

    def gap_mean_s(self) -> float:
        """Mean gap, s."""
        return 1 / self.rate

    def gap_variance(self) -> float:
        """Variance of the gap between successive arrivals, s².

        With the rates Λ, the generator Q and the phases p = πΛ / λ that arrivals find,
        E[X²] = 2 p (Λ - Q)⁻² 1 (Fischer and Meier-Hellstern, 1993, section 2).
        """
        rates = self.rate * self.relative_rates()
        found = self.shares() * rates / self.rate
        stay = np.linalg.inv(np.diag(rates) - self._generator())
        second = 2 * float(found @ stay @ stay @ np.ones(len(rates)))
        return second - 1 / self.rate**2

    def dispersion(self, window_s: float = math.inf) -> float:
        """Index of dispersion of counts: variance over mean of the arrivals in a window.

        Var N(t) = λt + 2 πΛ [D t - D² (I - exp Qt)] Λ1 with the deviation matrix
        D = (1π - Q)⁻¹ - 1π (Fischer and Meier-Hellstern, 1993, section 2); 1 for Poisson.
        """
        rates = self.rate * self.relative_rates()
        shares, generator = self.shares(), self._generator()
        steady = np.tile(shares, (len(shares), 1))
        deviation = np.linalg.inv(steady - generator) - steady
        slope = float(shares * rates @ deviation @ rates)
        if math.isinf(window_s):
            return 1 + 2 * slope / self.rate
        from scipy.linalg import expm

        gone = np.eye(len(rates)) - expm(generator * window_s)
        start = float(shares * rates @ deviation @ deviation @ gone @ rates)
        return 1 + 2 * (slope - start / window_s) / self.rate

    def _generator(self) -> NDArray[np.float64]:
        number = len(self.means_s)
        leave = 1 / np.array(self.means_s)
        if self.order == "cyclic":
            follow = np.roll(np.eye(number), 1, axis=1)
        else:
            follow = (np.ones((number, number)) - np.eye(number)) / (number - 1)
        generator: NDArray[np.float64] = leave[:, None] * (follow - np.eye(number))
        return generator
