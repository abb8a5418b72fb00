"""When sessions start."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from factory.errors import InputError
from factory.scenario.tenant_load import DEFAULT_BURST, Bursts, Load
from factory.workload.arrivals import profiles, rate_files
from factory.workload.arrivals.bursts import ModulatedPoisson
from factory.workload.arrivals.clock import Clock
from factory.workload.arrivals.operational import Kind, cut, moved, unit_times, weibull_shape
from factory.workload.arrivals.profiles import Profile

_DAY_S = 86400.0


class Arrivals(Protocol):
    """When sessions start."""

    def times(self, until_s: float) -> Iterator[list[float]]:
        """Yields times in seconds, ascending, all below `until_s`, a chunk at a time."""
        ...


class Means(Protocol):
    """What a session asks on average."""

    @property
    def requests(self) -> float:
        """Requests of a session."""
        ...

    @property
    def input_tokens(self) -> float:
        """Prompt tokens of all its requests, cached ones too."""
        ...

    @property
    def output_tokens(self) -> float:
        """Output tokens of all its requests."""
        ...


@dataclass(frozen=True, slots=True)
class Renewal:
    """Independent gaps of one distribution between arrivals, in equilibrium from time 0 on.

    The same seed gives the same gaps at every rate, only stretched. With a profile that happens in
    operational time: the same arrivals, moved to where the rate is high.

    Attributes:
        kind: Shape of the gaps: exponential (Poisson arrivals), constant, gamma or Weibull.
        rate: Mean arrivals per second, > 0.
        cv: Coefficient of variation of gamma and Weibull gaps, > 0; 1 gives Poisson arrivals.
        name: Name of the random stream.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
        profile: Factor of the rate over time; None for one that stays.
    """

    kind: Kind
    rate: float
    cv: float
    name: str
    seed: int
    replication: int
    profile: Profile | None = None

    def times(self, until_s: float) -> Iterator[list[float]]:
        """Yields arrival times in seconds, ascending, all below `until_s`, a chunk at a time."""
        units = unit_times(self.kind, self.cv, self.name, self.seed, self.replication)
        scaled = (chunk / self.rate for chunk in units)
        if self.profile is None:
            return cut(scaled, until_s)
        return moved(scaled, self.profile.spans(), until_s)

    def gap_mean_s(self) -> float:
        """Mean gap, s, where the factor of the rate is 1."""
        return 1 / self.rate

    def gap_variance(self) -> float:
        """Variance of the gap, s², where the factor of the rate is 1."""
        cv = {"poisson": 1.0, "deterministic": 0.0}.get(self.kind, self.cv)
        return (cv / self.rate) ** 2

    def gap_quantile(self, p: float) -> float:
        """Smallest gap x, s, with P(gap <= x) >= p, where the factor of the rate is 1."""
        if self.kind == "deterministic":
            return 1 / self.rate
        if self.kind == "gamma":
            from scipy.special import gammaincinv

            shape = 1 / self.cv**2
            return float(gammaincinv(shape, p)) / shape / self.rate
        shape = weibull_shape(self.cv) if self.kind == "weibull" else 1.0
        return float((-math.log1p(-p)) ** (1 / shape) / math.gamma(1 + 1 / shape)) / self.rate


@dataclass(frozen=True, slots=True)
class Daily:
    """A start every day at each of some local times, from time 0 on.

    Attributes:
        clock: Simulated time's clock at the place.
        at: Local times of day.
    """

    clock: Clock
    at: tuple[dt.time, ...]

    def times(self, until_s: float) -> Iterator[list[float]]:
        """Yields start times in seconds, ascending, all below `until_s`, a day at a time."""
        for times in self.clock.daily(self.at):
            if times and times[-1] >= until_s:
                yield [time_s for time_s in times if time_s < until_s]
                return
            yield times


def session_rate(load: Load, means: Means) -> float:
    """Sessions per second that a load asks for, on average over its profile.

    Args:
        load: Any load but a closed loop.
        means: Means per session.

    Raises:
        InputError: The file whose mean rate it takes cannot be used, or a session has no mean
            number of requests or tokens to divide by.
        ValueError: The load is a closed loop: its rate is an outcome.
    """
    if load.rate is not None:
        return load.rate
    if load.at is not None:
        return len(load.at) / _DAY_S
    if load.tokens_per_day is not None:
        tokens = means.input_tokens + means.output_tokens
        return _daily("tokens_per_day", load.tokens_per_day, "tokens", tokens)
    if load.output_tokens_per_day is not None:
        amount = load.output_tokens_per_day
        return _daily("output_tokens_per_day", amount, "output tokens", means.output_tokens)
    if load.users is not None and load.requests_per_user_per_day is not None:
        amount = load.users * load.requests_per_user_per_day
        return _daily("users", amount, "requests", means.requests)
    if load.profile is not None and load.profile.path is not None:
        return rate_files.read(load.profile.path).mean
    raise ValueError("session_rate: a closed loop has no rate of its own")


def _daily(field: str, amount: float, what: str, per_session: float) -> float:
    if not 0 < per_session < math.inf:
        raise InputError(
            f"load.{field}: needs the mean number of {what} of a session, which is "
            f"{per_session:g}; give the lengths a finite mean above 0 (a max), or state load.rate"
        )
    return amount / _DAY_S / per_session


def build(
    load: Load,
    rate: float,
    profile: Profile | None,
    name: str,
    seed: int,
    replication: int,
    clock: Clock,
) -> Arrivals:
    """Makes the arrival process of a load.

    Args:
        load: Any load but a closed loop.
        rate: Mean sessions per second, as `session_rate` says or a mix.
        profile: Factor of the rate over time; None for one that stays.
        name: Name of its random streams, e.g. `workload/chat/arrivals`.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
        clock: Epoch and zone of the facility, for local times.
    """
    if load.at is not None:
        return Daily(clock, tuple(dt.time.fromisoformat(time) for time in load.at))
    if load.arrival != "bursts":
        return Renewal(load.arrival, rate, load.cv, name, seed, replication, profile)
    bursts = load.bursts or Bursts()
    if bursts.states is not None:
        factors = tuple(state.factor for state in bursts.states)
        means_s = tuple(state.mean_s for state in bursts.states)
    else:
        given = {key: getattr(bursts, key) or value for key, value in DEFAULT_BURST.items()}
        factors = (1.0, given["factor"])
        means_s = (given["quiet_s"], given["burst_s"])
    return ModulatedPoisson(rate, factors, means_s, bursts.next, name, seed, replication, profile)


def before(
    load: Load, rate: float, name: str, seed: int, replication: int, clock: Clock, span_s: float
) -> list[float]:
    """When sessions started in the last `span_s` seconds before the run: ascending, all below 0.

    Args:
        load: Any load but a closed loop, with its profile.
        rate: Mean sessions per second.
        name: Name of the random streams of the load; these are others.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.
        clock: Epoch and zone of the facility.
        span_s: How far back, s.
    """
    profile = profiles.build(load.profile, clock, span_s)
    named = f"{name}/before"
    made = build(load, rate, profile, named, seed, replication, clock.earlier(span_s))
    return [time_s - span_s for chunk in made.times(span_s) for time_s in chunk]


def client_starts(concurrency: int, ramp_s: float) -> list[float]:
    """When the clients of a closed loop begin, s: evenly, the first at 0, the last at `ramp_s`."""
    return [ramp_s * client / max(concurrency - 1, 1) for client in range(concurrency)]
