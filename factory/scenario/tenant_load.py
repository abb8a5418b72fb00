"""How sessions start: the `load` of a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from factory.scenario.base import Count, Flag, NonNegative, Part, Positive, Text, TimeOfDay

Arrival = Literal["poisson", "deterministic", "gamma", "weibull", "bursts"]

AMOUNTS = ("rate", "concurrency", "tokens_per_day", "output_tokens_per_day", "users", "at")
"""Ways to say how much; a load has one of them, or the rates of a file."""

DEFAULT_BURST: Mapping[str, float] = {"factor": 5.0, "burst_s": 30.0, "quiet_s": 270.0}
"""A burst as it is unless said otherwise (assumed): a tenth of the time at five times the rate."""

DEFAULT_PEAK_HOUR = 14.0
"""Local hour of the highest rate unless said otherwise (assumed: early afternoon)."""


class BurstState(Part):
    """A state of the process that modulates the rate."""

    factor: NonNegative = Field(description="Rate in this state, relative to the other states'.")
    mean_s: Positive = Field(description="Mean stay in it, s; stays are exponential.")


class Bursts(Part):
    """A Markov-modulated Poisson process: quiet and bursts, or any states."""

    factor: Positive | None = Field(
        default=None, description="Rate in a burst over the rate between bursts; by default 5."
    )
    burst_s: Positive | None = Field(
        default=None, description="Mean length of a burst, s; by default 30."
    )
    quiet_s: Positive | None = Field(
        default=None, description="Mean time between bursts, s; by default 270."
    )
    states: tuple[BurstState, ...] | None = Field(
        default=None, description="Two or more states, in place of the three fields above."
    )
    next: Literal["cyclic", "random"] = Field(
        default="cyclic",
        description="States follow in their order, or each of the others is as likely.",
    )


class Diurnal(Part):
    """A day's curve on the local clock; its mean over a week is 1."""

    peak_to_mean: Annotated[float, Field(strict=True, ge=1, le=12)] = Field(
        description="Highest rate of a day over the day's mean; 1 is a flat day."
    )
    peak_hour: Annotated[float, Field(strict=True, ge=0, lt=24)] = Field(
        default=DEFAULT_PEAK_HOUR, description="Local hour of the highest rate."
    )
    weekend_factor: NonNegative = Field(
        default=1.0, description="Rate of a Saturday or Sunday over that of a working day."
    )
    time_zone: Text | None = Field(
        default=None, description="IANA zone of the users; by default facility.time_zone."
    )


class Ramp(Part):
    """A straight way from one factor to another; before and after it the factor holds."""

    from_factor: NonNegative = Field(default=0.0, description="Factor up to the start.")
    to_factor: NonNegative = Field(default=1.0, description="Factor from the end on.")
    start_s: NonNegative = Field(default=0.0, description="Where it starts, s.")
    duration_s: Positive = Field(description="How long it takes, s.")


class Spike(Part):
    """A factor for a while."""

    at_s: NonNegative = Field(description="Where it starts, s.")
    duration_s: Positive = Field(description="How long it lasts, s.")
    factor: NonNegative = Field(description="Multiplies the rate; 0 is an outage of the clients.")


class RateProfile(Part):
    """The rate over time, relative to the load's rate; what is given multiplies."""

    diurnal: Diurnal | None = Field(default=None, description="Days and weeks on a local clock.")
    ramp: Ramp | None = Field(default=None, description="A straight way between two factors.")
    spikes: tuple[Spike, ...] = Field(default=(), description="Factors for a while.")
    points: tuple[tuple[NonNegative, ...], ...] | None = Field(
        default=None,
        description="[time_s, factor] each, straight lines between; two at one time are a jump.",
    )
    path: Annotated[str, Field(strict=True, min_length=1)] | None = Field(
        default=None,
        description="CSV of time_s, rate (sessions/s), straight lines between; gzip is understood; "
        "relative to the scenario's file. Its mean is the load's rate unless that is stated.",
    )
    sha256: Text | None = Field(
        default=None, description="Digest of the file; filled in when the scenario is loaded."
    )
    repeat: Flag = Field(
        default=False, description="Points or file begin again at their end; else the last holds."
    )


class WarmStart(Part):
    """Sessions that began before the run are under way at its start."""

    span_s: Positive = Field(
        description="How far back they began, s; a few mean sessions are enough. Clients of a "
        "closed loop began up to twice as far back."
    )
    ttft_s: NonNegative = Field(
        default=1.0, description="Time to first token of their answers up to the start, s."
    )
    itl_ms: NonNegative = Field(
        default=20.0, description="Inter-token latency of their answers up to the start, ms."
    )


class Load(Part):
    """How sessions start: at a rate (open loop), at local times, or at a fixed concurrency."""

    rate: Positive | None = Field(
        default=None,
        description="Sessions started per second.",
        json_schema_extra={"unit": "sessions/s"},
    )
    tokens_per_day: Positive | None = Field(
        default=None,
        description="In place of a rate: prompt tokens (cached ones too) and output tokens per "
        "day, as an API bills them.",
    )
    output_tokens_per_day: Positive | None = Field(
        default=None, description="In place of a rate: output tokens per day."
    )
    users: Positive | None = Field(
        default=None, description="In place of a rate: active users, with what each asks per day."
    )
    requests_per_user_per_day: Positive | None = Field(
        default=None, description="users: requests of one user per day, all turns counted."
    )
    at: tuple[TimeOfDay, ...] | None = Field(
        default=None,
        description="In place of a rate: a session starts every day at each of these local times "
        "(facility.time_zone), as [02:00, 14:30].",
    )
    arrival: Arrival = Field(
        default="poisson", description="Shape of the gaps between sessions, with a rate."
    )
    cv: Positive = Field(
        default=1.0,
        description="gamma, weibull: coefficient of variation of the gaps; 1 is Poisson.",
    )
    bursts: Bursts | None = Field(
        default=None, description="bursts: states of the rate; by default quiet and bursts."
    )
    profile: RateProfile | None = Field(
        default=None, description="The rate over time; by default it stays."
    )
    concurrency: Count | None = Field(
        default=None, description="Sessions always in flight; one ends, the next starts."
    )
    concurrency_ramp_s: NonNegative = Field(
        default=0.0, description="concurrency: clients start evenly over so many seconds."
    )
    warm_start: WarmStart | None = Field(
        default=None,
        description="Sessions that began before the run, each where it would be; by default the "
        "run begins with none. Caches are cold: leave a warm-up in which contexts are computed.",
    )
