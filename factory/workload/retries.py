"""Clients that try again: a workload around another.

A request that is turned away, out of time or lost is sent once more after a back-off, as a new
request with the same prompt and answer, and the workload inside is not told. It is told of the last
attempt, with its outcome. A session therefore goes on after a retry that succeeds, a closed loop
keeps its concurrency meanwhile, and an agent's next turn waits for the attempt that counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from factory.records.codes import COMPLETED, IN_FLIGHT, OUTCOMES
from factory.scenario.admission import Retry
from factory.statistics import stream
from factory.workload.loops import NOTHING
from factory.workload.protocol import Workload
from factory.workload.request import Request

_CHUNK = 1024
"""Random numbers drawn at a time."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How one tenant's clients try again.

    Attributes:
        name: Name of the tenant; names its random stream.
        attempts: Attempts in all, the first among them.
        backoff_s: Wait before the first retry, seconds.
        multiplier: Factor between a wait and the next.
        max_backoff_s: Longest wait, seconds.
        jitter: Largest share by which a wait is shortened, 0 to 1.
        outcomes: Codes of `factory.records.codes` that are tried again.
        throttle_tokens, throttle_ratio: maxTokens and tokenRatio of gRPC's retry throttling
            (proposal A6, 2017); 0 for no throttling.
    """

    name: str
    attempts: int
    backoff_s: float
    multiplier: float
    max_backoff_s: float
    jitter: float
    outcomes: frozenset[int]
    throttle_tokens: float = 0.0
    throttle_ratio: float = 0.0

    def wait_s(self, failed: int, chance: float) -> float:
        """Seconds from the end of an attempt to the next one.

        Args:
            failed: Attempts that have failed, at least 1.
            chance: Random number in [0, 1).
        """
        # Not multiplier ** (failed - 1), which overflows for a client that never gives up.
        wait = self.backoff_s
        for _ in range(failed - 1):
            wait *= self.multiplier
            if wait >= self.max_backoff_s:
                break
        return min(wait, self.max_backoff_s) * (1.0 - self.jitter * chance)


def policy(name: str, section: Retry) -> RetryPolicy:
    """The policy of a tenant as the scenario states it."""
    return RetryPolicy(
        name,
        section.attempts,
        section.backoff_s,
        section.multiplier,
        section.max_backoff_s,
        section.jitter,
        frozenset(OUTCOMES.index(outcome) for outcome in section.on),
        float(section.throttle_tokens or 0),
        section.throttle_ratio or 0.0,
    )


class Retries:
    """A workload whose requests are tried again (see the module).

    Numbers of requests are given here, in order of creation, retries among them. A limit of the
    inner workload on the requests it creates counts first attempts only.

    Args:
        inner: The workload.
        policies: Policy of each tenant that has one, by position in the scenario.
        seed: Root of the run's streams.
        replication: Repetition under the same seed.

    Attributes:
        created: Requests created so far, retries among them.
        retried: Retries among them.
    """

    __slots__ = ("_clients", "_inner", "created", "retried")

    def __init__(
        self,
        inner: Workload,
        policies: Mapping[int, RetryPolicy],
        seed: int,
        replication: int,
    ) -> None:
        self._inner = inner
        self._clients = {
            tenant: _Clients(own, seed, replication) for tenant, own in policies.items()
        }
        self.created = 0
        self.retried = 0

    @property
    def block_size(self) -> tuple[int, ...]:
        """Tokens per block, one number per deployment."""
        return self._inner.block_size

    @property
    def skipped_rows(self) -> int:
        """Malformed trace rows left out so far."""
        return self._inner.skipped_rows

    @property
    def session_tenants(self) -> frozenset[int]:
        """Positions of the tenants whose sessions can have more than one request."""
        return self._inner.session_tenants

    def cut_tasks(self, session: int) -> Sequence[int]:
        """Tasks for which a session had more to send when demand ended; to be asked once."""
        return self._inner.cut_tasks(session)

    def start(self) -> Iterator[Request]:
        """Yields the requests that wait for no answer, lazily, by (arrival_s, index)."""
        for request in self._inner.start():
            request.index = request.root = self.created
            self.created += 1
            yield request

    def on_done(self, request: Request, time_s: float, outcome: int) -> Sequence[Request]:
        """Returns the next attempt, or what the inner workload answers to the last one."""
        clients = self._clients.get(request.tenant)
        if clients is not None and outcome != IN_FLIGHT:
            wait_s = clients.wait_s(request.attempt + 1, outcome)
            if wait_s > 0.0:
                return (self._again(request, time_s + wait_s),)
        later = self._inner.on_done(request, time_s, outcome)
        if not later:
            return NOTHING
        for made in later:
            made.index = made.root = self.created
            self.created += 1
        return later

    def _again(self, request: Request, arrival_s: float) -> Request:
        index = self.created
        self.created = index + 1
        self.retried += 1
        return Request(
            index,
            request.tenant,
            request.deployment,
            request.session,
            request.turn,
            request.parent,
            request.root,
            request.attempt + 1,
            arrival_s,
            request.input_tokens,
            request.output_tokens,
            request.blocks,
            request.context_blocks,
            request.max_tokens,
            request.first_s,
            request.task,
            request.agent,
        )


class _Clients:
    """The clients of one tenant: their random numbers and what their throttle has left."""

    __slots__ = ("_chances", "_left", "_policy")

    def __init__(self, own: RetryPolicy, seed: int, replication: int) -> None:
        self._policy = own
        self._chances = _chances(own, seed, replication)
        self._left = own.throttle_tokens

    def wait_s(self, attempts: int, outcome: int) -> float:
        """Seconds until the next attempt after so many; 0 if there is none."""
        own = self._policy
        most = own.throttle_tokens
        if outcome == COMPLETED:
            if most:
                self._left = min(most, self._left + own.throttle_ratio)
            return 0.0
        if outcome not in own.outcomes:
            return 0.0
        if most:
            self._left = max(0.0, self._left - 1.0)
            if self._left <= most / 2:
                return 0.0
        if attempts >= own.attempts:
            return 0.0
        return own.wait_s(attempts, next(self._chances))


def _chances(own: RetryPolicy, seed: int, replication: int) -> Iterator[float]:
    chunk = 0
    while True:
        numbers = stream(seed, replication, f"workload/{own.name}/retries", chunk)
        yield from numbers.random(_CHUNK).tolist()
        chunk += 1
