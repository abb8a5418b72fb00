"""Scaling policies: how many replicas a pool should have, from what can be observed."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Protocol
from zoneinfo import ZoneInfo

from factory.serving.forecast import Forecast

_ROUNDING = 1e-9
"""Rates that are whole multiples of a target but for rounding take no further replica."""

_MANY = 1e9
"""More replicas than any pool has: for demand of which a replica serves nothing in time."""

RETRY_S = 30.0
"""Seconds until a schedule that was held back asks again (`pollingInterval` of KEDA 2.22, 2026)."""

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What one active replica shows.

    Attributes:
        waiting: Requests not yet admitted.
        queued_prefill_tokens: Prompt tokens that wait to be computed.
        kv_use: KV tokens of running requests, and those that waiting ones will need for their
            prompts, over capacity; above 1 when they do not all fit. Blocks kept only for later
            prompts do not count.
    """

    waiting: int
    queued_prefill_tokens: int
    kv_use: float


@dataclass(frozen=True, slots=True)
class Signals:
    """What a pool shows its autoscaler: nothing of the future, no length of an unfinished answer.

    Attributes:
        now_s: Time, seconds.
        interval_s: Seconds since signals were last read, or since the start.
        arrivals: Requests that came to the pool in the interval.
        input_tokens: Prompt tokens of those.
        finished: Requests that finished in the interval.
        output_tokens: Output tokens of those.
        active, starting, draining: Replicas by state.
        loads: Of each active replica.
        cached_ratio: Share of prompt tokens lately found in caches, 0 to 1.
        unplaced: Requests that wait because there is no replica, active or starting.
        startable: Replicas for which there is power to start now.
    """

    now_s: float
    interval_s: float
    arrivals: int
    input_tokens: int
    finished: int
    output_tokens: int
    active: int
    starting: int
    draining: int
    loads: Sequence[ReplicaLoad] = ()
    cached_ratio: float = 0.0
    unplaced: int = 0
    startable: float = inf

    @property
    def replicas(self) -> int:
        """Replicas that serve or will: active and starting."""
        return self.active + self.starting


class Policy(Protocol):
    """Decides how many replicas there should be; limits are the autoscaler's."""

    def desired(self, signals: Signals) -> int:
        """Replicas wanted from now on."""
        ...

    def next_s(self, now_s: float, *, held_back: bool) -> float:
        """When to decide next, seconds, later than ``now_s``; infinite for never.

        Args:
            now_s: Time, seconds.
            held_back: Whether limits kept the pool from what was last wanted.
        """
        ...


def next_multiple(now_s: float, interval_s: float) -> float:
    """The first multiple of ``interval_s`` after ``now_s``, seconds."""
    count = math.floor(now_s / interval_s) + 1
    due = count * interval_s
    return due if due > now_s else (count + 1) * interval_s


@dataclass(frozen=True, slots=True)
class Targets:
    """What one replica serves at the service level; infinite where it does not matter.

    Attributes:
        requests_per_s, prefill_tokens_per_s, output_tokens_per_s: Rates of one replica.
        capacity: Requests per second of a replica for (mean prompt, mean output) tokens; used where
            nothing else is stated.
    """

    requests_per_s: float = inf
    prefill_tokens_per_s: float = inf
    output_tokens_per_s: float = inf
    capacity: Callable[[float, float], float] | None = None


class Throughput:
    """Predicted demand over what a replica serves at the service level.

    Request rate, mean prompt and mean output are predicted each by itself, as Dynamo's planner does
    (planner design, 1.5, 2026); its correction by measured latency is left out. Prompt tokens found
    in caches take nothing of `Targets.prefill_tokens_per_s`. An interval without requests is a rate
    of 0; mean lengths stay as they were.

    Args:
        interval_s: Seconds between decisions.
        targets: Rates of one replica.
        forecast: Makes the forecast of one series.
        load_ratio: Share of the targets to plan with.
    """

    __slots__ = (
        "_input",
        "_interval_s",
        "_load_ratio",
        "_output",
        "_rate",
        "_seen_output",
        "_seen_request",
        "_targets",
    )

    def __init__(
        self,
        interval_s: float,
        targets: Targets,
        forecast: Callable[[], Forecast],
        load_ratio: float = 1.0,
    ) -> None:
        self._interval_s = interval_s
        self._targets = targets
        self._load_ratio = load_ratio
        self._rate = forecast()
        self._input = forecast()
        self._output = forecast()
        self._seen_request = False
        self._seen_output = False

    def desired(self, signals: Signals) -> int:
        """Enough for the predicted demand; as many as there are until it can be predicted."""
        if signals.interval_s <= 0.0:
            return signals.replicas
        if signals.arrivals:
            self._seen_request = True
            self._input.observe(signals.input_tokens / signals.arrivals)
        if signals.finished:
            self._seen_output = True
            self._output.observe(signals.output_tokens / signals.finished)
        if not self._seen_request:
            return signals.replicas
        self._rate.observe(signals.arrivals / signals.interval_s)
        targets = self._targets
        needs_output = targets.capacity is not None or targets.output_tokens_per_s < inf
        if needs_output and not self._seen_output:
            return signals.replicas
        rate = self._rate.next() / self._load_ratio
        given, taken = self._input.next(), self._output.next()
        computed = given * (1.0 - signals.cached_ratio)
        replicas = max(
            rate / targets.requests_per_s,
            rate * computed / targets.prefill_tokens_per_s,
            rate * taken / targets.output_tokens_per_s,
        )
        if targets.capacity is not None and rate > 0.0:
            each = targets.capacity(computed, taken)
            replicas = max(replicas, rate / each) if each > 0.0 else _MANY
        return ceil(min(replicas, _MANY) - _ROUNDING)

    def next_s(self, now_s: float, *, held_back: bool) -> float:  # noqa: ARG002 - asks in time anyway
        """The next multiple of the interval."""
        return next_multiple(now_s, self._interval_s)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds of one signal of a replica: above ``up`` one is added, below ``down`` one may go."""

    up: float = inf
    down: float = inf


UNBOUNDED = Thresholds()
"""A signal that does not matter: it never adds a replica, and never keeps one."""


class Load:
    """Thresholds on what replicas have waiting and hold.

    One more as soon as any signal of any replica is above its upper threshold. One less if, were
    the load of each spread over one replica less (x n / (n - 1)), every signal of every replica
    would still be below its lower one: after the step the load lies between the two, so that a
    constant load never makes the pool swing. Nothing while a replica starts, whose help is not seen
    yet. These are the semantics of Dynamo's planner (load-based scaling, 1.5, 2026) with its
    consolidation check, which its static thresholds lack, applied to them.

    Args:
        interval_s: Seconds between decisions.
        queued: Prompt tokens that wait, per replica.
        kv_use: See `ReplicaLoad`.
        waiting: Requests that wait, per replica.
    """

    __slots__ = ("_interval_s", "_kv_use", "_queued", "_waiting")

    def __init__(
        self,
        interval_s: float,
        queued: Thresholds = UNBOUNDED,
        kv_use: Thresholds = UNBOUNDED,
        waiting: Thresholds = UNBOUNDED,
    ) -> None:
        self._interval_s = interval_s
        self._queued = queued
        self._kv_use = kv_use
        self._waiting = waiting

    def desired(self, signals: Signals) -> int:
        """One more, one less, or as many as there are."""
        replicas = signals.replicas
        if signals.starting or not signals.loads:
            return replicas
        loads = signals.loads
        worst = (
            (float(max(load.queued_prefill_tokens for load in loads)), self._queued),
            (max(load.kv_use for load in loads), self._kv_use),
            (float(max(load.waiting for load in loads)), self._waiting),
        )
        if any(value > bounds.up for value, bounds in worst):
            return replicas + 1
        if replicas < 2:
            return replicas - 1 if replicas and not any(value for value, _ in worst) else replicas
        share = replicas / (replicas - 1)
        if all(value == 0.0 or value * share < bounds.down for value, bounds in worst):
            return replicas - 1
        return replicas

    def next_s(self, now_s: float, *, held_back: bool) -> float:  # noqa: ARG002 - asks in time anyway
        """The next multiple of the interval."""
        return next_multiple(now_s, self._interval_s)


class Schedule:
    """Replicas at stated simulated times; before the first, as many as the pool starts with.

    Args:
        entries: (seconds, replicas), rising.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Sequence[tuple[float, int]]) -> None:
        self._entries = tuple(entries)

    def desired(self, signals: Signals) -> int:
        """What the newest entry says."""
        replicas = signals.replicas
        for at_s, wanted in self._entries:
            if at_s > signals.now_s:
                break
            replicas = wanted
        return replicas

    def next_s(self, now_s: float, *, held_back: bool) -> float:
        """The next entry."""
        due = min((at_s for at_s, _ in self._entries if at_s > now_s), default=inf)
        return min(due, now_s + RETRY_S) if held_back else due


class DailySchedule:
    """Replicas by local time of day, every day; until the first change after time 0, as they are.

    A time that the clock skips when it is put forward comes as much later; one that it shows twice
    counts the first time (PEP 495).

    Args:
        entries: (local time, replicas), rising.
        epoch: Instant of simulated time 0, aware.
        zone: IANA name of the zone.
    """

    __slots__ = ("_entries", "_epoch", "_zone")

    def __init__(
        self, entries: Sequence[tuple[dt.time, int]], epoch: dt.datetime, zone: str
    ) -> None:
        self._entries = tuple(entries)
        self._epoch = epoch
        self._zone = ZoneInfo(zone)

    def _changes(self, now_s: float) -> list[tuple[float, int]]:
        """Changes of yesterday, today and tomorrow by simulated time."""
        here = (self._epoch + dt.timedelta(seconds=now_s)).astimezone(self._zone)
        found = []
        for day in (here.date() - _DAY, here.date(), here.date() + _DAY):
            for time, replicas in self._entries:
                local = dt.datetime.combine(day, time, self._zone)
                at_s = (local.astimezone(dt.UTC) - self._epoch).total_seconds()
                found.append((at_s, replicas))
        return sorted(found)

    def desired(self, signals: Signals) -> int:
        """What the newest change of the run says."""
        replicas = signals.replicas
        for at_s, wanted in self._changes(signals.now_s):
            if 0.0 < at_s <= signals.now_s:
                replicas = wanted
        return replicas

    def next_s(self, now_s: float, *, held_back: bool) -> float:
        """The next change."""
        due = min(at_s for at_s, _ in self._changes(now_s) if at_s > now_s)
        return min(due, now_s + RETRY_S) if held_back else due
