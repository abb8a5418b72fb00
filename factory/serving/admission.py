"""Who may enter a deployment now: rate limits, queue limits, shedding, concurrency, batch work.

What gateways do in front of the engines, under their names where there are any: queue limits that
answer 503 (SGLang's ``--max-queued-requests``, 2025), a limit of concurrent requests with a queue
before it (SGLang's router, ``--max-concurrent-requests``; the concurrency limit of the flow control
in llm-d, 2026), token buckets per tenant that answer 429 (Envoy's local rate limit), lower priority
shed first ("sheddable" in the Gateway API inference extension, 2025), early rejection by predicted
TTFT (Mooncake, 2024, section 7.2), and batch work that runs in the valleys (OpenAI's batch API).

Every decision is a function of what was told and of the time, in O(1); `release` is O(tenants).
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from math import inf

from factory.serving.buckets import TokenBucket
from factory.serving.queues import FirstCome
from factory.serving.sequence import Sequence

ADMIT = 0
"""Go in."""
REJECT = 1
"""Be turned away."""
DEFER = 2
"""Wait outside: give the sequence to `AdmissionControl.hold`."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a deployment grants a tenant; infinite where there is no limit.

    Attributes:
        priority: Higher goes first.
        weight: Share among those of one priority.
        batch: Whether it is let in only into valleys.
        shed_at: Share of a shedding limit that holds for it.
        ttft_limit_s: Limit on its time to first token, seconds.
        concurrency: Requests inside at once.
        held: Requests kept outside at once.
        requests_per_s, burst_requests: Its rate limit and what it can save up, requests.
        tokens_per_s, burst_tokens: The same in tokens.
    """

    priority: int = 0
    weight: float = 1.0
    batch: bool = False
    shed_at: float = 1.0
    ttft_limit_s: float = inf
    concurrency: float = inf
    held: float = inf
    requests_per_s: float = inf
    burst_requests: float = inf
    tokens_per_s: float = inf
    burst_tokens: float = inf


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the deployment as a whole; infinite where there is none.

    Attributes:
        queue_requests: Requests that wait in it.
        queue_requests_per_replica: The same, for each live replica.
        ttft_factor: Times a tenant's limit, the predicted TTFT that turns it away.
        concurrency: Requests inside at once.
        waits: Whether who exceeds a concurrency waits outside, or is turned away.
        batch_load: Load below which batch work is let in, 0 to 1.
    """

    queue_requests: float = inf
    queue_requests_per_replica: float = inf
    ttft_factor: float = inf
    concurrency: float = inf
    waits: bool = True
    batch_load: float = 0.8


class AdmissionControl:
    """The door of a deployment.

    Args:
        terms: Of each tenant of the run, by position.
        limits: Of the deployment.

    Attributes:
        predicts: Whether `decide` looks at the predicted TTFT.
        inside: Requests let in that have not left.
        held: Requests kept outside.
    """

    __slots__ = ("_at_once", "_batch_held", "_buckets", "_capacity", "_capacity_tokens", "_limits",
                 "_queue", "_rooms", "_terms", "_tokens", "held", "inside", "predicts")  # fmt: skip

    def __init__(self, terms: Seq[Terms], limits: Limits) -> None:
        self._terms = tuple(terms)
        self._limits = limits
        self._buckets = [_buckets(own) for own in terms]
        self._rooms = [FirstCome() for _ in terms]
        self._at_once = [0] * len(self._terms)
        self._batch_held = 0
        self._tokens = 0
        self._capacity = self._capacity_tokens = inf
        self._queue = limits.queue_requests
        self.predicts = limits.ttft_factor < inf
        self.inside = 0
        self.held = 0

    @property
    def load(self) -> float:
        """Requests or prompt tokens inside over what the replicas hold, whichever is more."""
        requests = self.inside / self._capacity
        tokens = self._tokens / self._capacity_tokens
        return requests if requests > tokens else tokens

    def resize(self, replicas: int, requests: float, tokens: float) -> None:
        """So many live replicas hold so many sequences and KV tokens in all."""
        self._capacity = requests if requests > 0 else 1.0
        self._capacity_tokens = tokens if tokens > 0 else 1.0
        limits = self._limits
        per_replica = limits.queue_requests_per_replica * max(replicas, 1)
        self._queue = min(limits.queue_requests, per_replica)

    def decide(
        self,
        tenant: int,
        prompt_tokens: int,
        now_s: float,
        waiting: int,
        predicted_ttft_s: float = 0.0,
    ) -> int:
        """What happens to a request that has just come; counts it if it is admitted.

        Args:
            tenant: Position of its tenant.
            prompt_tokens: Length of its prompt, tokens.
            now_s: Time, seconds.
            waiting: Requests that wait for a place in a batch, all replicas together.
            predicted_ttft_s: Seconds until it would have its first token; if `predicts`.

        Returns:
            `ADMIT`, `REJECT` or `DEFER`.
        """
        terms = self._terms[tenant]
        requests, tokens = self._buckets[tenant]
        if requests is not None and not requests.has(1, now_s):
            return REJECT
        if tokens is not None and not tokens.has(prompt_tokens, now_s):
            return REJECT
        if not terms.batch:
            share = terms.shed_at
            if waiting + self.held - self._batch_held >= self._queue * share:
                return REJECT
            if predicted_ttft_s > terms.ttft_limit_s * self._limits.ttft_factor * share:
                return REJECT
        answer = ADMIT
        room = self._rooms[tenant]
        if room.count or not self._may_enter(tenant, terms, waiting):
            if not (terms.batch or self._limits.waits) or room.count >= terms.held:
                return REJECT
            answer = DEFER
        if requests is not None:
            requests.take(1)
        if tokens is not None:
            tokens.take(prompt_tokens)
        if answer == ADMIT:
            self._enter(tenant, prompt_tokens)
        return answer

    def hold(self, sequence: Sequence) -> None:
        """Keeps a deferred sequence outside until `release` gives it or it is abandoned."""
        tenant = sequence.request.tenant
        self._rooms[tenant].add(sequence)
        self._count_held(tenant, 1)

    def abandon(self, sequence: Sequence) -> None:
        """A sequence that is held leaves, e.g. because it is out of time."""
        tenant = sequence.request.tenant
        self._rooms[tenant].discard(sequence)
        self._count_held(tenant, -1)

    def release(self, waiting: int) -> Sequence | None:
        """The next held sequence that may go in now, which counts as inside; None if none may.

        To be asked until it answers None, with ``waiting`` as it is then, whenever a request left,
        the last waiting one was admitted to a batch, or the replicas changed. Interactive work goes
        before batch; then higher priority; then the fewest requests inside per weight.
        """
        if not self.held:
            return None
        chosen = -1
        best = (False, 0, 0.0, 0)
        for tenant, room in enumerate(self._rooms):
            if room.count:
                terms = self._terms[tenant]
                share = self._at_once[tenant] / terms.weight
                key = (terms.batch, -terms.priority, share, tenant)
                if (chosen < 0 or key < best) and self._may_enter(tenant, terms, waiting):
                    chosen, best = tenant, key
        if chosen < 0:
            return None
        sequence = self._rooms[chosen].take()
        self._count_held(chosen, -1)
        self._enter(chosen, sequence.request.input_tokens)
        return sequence

    def left(self, tenant: int, prompt_tokens: int, output_tokens: int, now_s: float) -> None:
        """A request that was inside left, with so many tokens of its answer."""
        self.inside -= 1
        self._at_once[tenant] -= 1
        self._tokens -= prompt_tokens
        tokens = self._buckets[tenant][1]
        if tokens is not None and output_tokens:
            tokens.fill(now_s)
            tokens.take(output_tokens)

    def _may_enter(self, tenant: int, terms: Terms, waiting: int) -> bool:
        if self._at_once[tenant] >= terms.concurrency or self.inside >= self._limits.concurrency:
            return False
        return not terms.batch or (waiting == 0 and self.load < self._limits.batch_load)

    def _enter(self, tenant: int, prompt_tokens: int) -> None:
        self.inside += 1
        self._at_once[tenant] += 1
        self._tokens += prompt_tokens

    def _count_held(self, tenant: int, change: int) -> None:
        self.held += change
        if self._terms[tenant].batch:
            self._batch_held += change


def _buckets(terms: Terms) -> tuple[TokenBucket | None, TokenBucket | None]:
    requests = tokens = None
    if terms.requests_per_s < inf:
        requests = TokenBucket(terms.requests_per_s, terms.burst_requests)
    if terms.tokens_per_s < inf:
        tokens = TokenBucket(terms.tokens_per_s, terms.burst_tokens)
    return requests, tokens
