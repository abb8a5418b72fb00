"""Fair sharing between tenants: the virtual token counter.

Sheng, Cao, Li, Zhu, Li, Zhuo, Gonzalez, Stoica: Fairness in Serving Large Language Models
(OSDI 2024), algorithm 2 with the weights of its section 4.3: each tenant has a counter of the
service it was given, and the tenant with the lowest goes first. A tenant that comes back from
having nothing queued is lifted to the lowest counter of those that have, so that nobody saves up
service by being idle. Two tenants that always have something queued get service in proportion to
their weights, within a bound that does not grow with time.

Two things differ. Priorities come first, and sharing is among tenants of one priority (the bands of
the flow control of the Gateway API inference extension, 2025). Output tokens are counted when a
sequence leaves, not one by one: a leap of many steps then is as exact as its steps, and the bound
grows by the output of the sequences that run at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from factory.serving.queues import FirstCome
from factory.serving.sequence import Sequence


class Fair:
    """The tenant with the least service first, then in order of arrival.

    Args:
        weights: Share of each tenant, by position; 1 where none is given.
        input_weight: Service that a prompt token counts for.
        output_weight: Service that an output token counts for.

    Attributes:
        service: Counter of each tenant that ever waited: weighted tokens over its weight.
    """

    __slots__ = ("_first", "_input", "_lanes", "_last", "_output", "_waiting", "_weights", "count",
                 "service")  # fmt: skip

    def __init__(
        self, weights: Mapping[int, float], input_weight: float, output_weight: float
    ) -> None:
        self.count = 0
        self.service: dict[int, float] = {}
        self._weights = weights
        self._input = input_weight
        self._output = output_weight
        self._lanes: dict[int, FirstCome] = {}
        # Priority of every tenant that waits; the tenant that last ceased to, by priority.
        self._waiting: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._first = -1

    def add(self, sequence: Sequence, now_s: float = 0.0) -> bool:
        """Takes in a sequence, and lifts its tenant if that had none; says if it is first."""
        tenant, level = sequence.request.tenant, sequence.priority
        lane = self._lane(tenant)
        self.count += 1
        if lane.count:
            lane.add(sequence, now_s)
            return False
        lane.add(sequence, now_s)
        self._lift(tenant, level)
        self._waiting[tenant] = level
        return self._choose()

    def put_back(self, sequence: Sequence, last: bool = False) -> bool:
        """Takes back a sequence and the charge for its prompt, which is made when it is taken."""
        tenant = sequence.request.tenant
        lane = self._lane(tenant)
        self.service[tenant] -= self._prompt(sequence)
        self._waiting[tenant] = sequence.priority
        leads = lane.put_back(sequence, last)
        self.count += 1
        return self._choose() or (leads and self._first == tenant)

    def discard(self, sequence: Sequence) -> bool:
        """A waiting sequence leaves unserved; says whether it was first."""
        tenant = sequence.request.tenant
        was_first = self._lanes[tenant].discard(sequence) and tenant == self._first
        self.count -= 1
        self._leave(tenant)
        self._choose()
        return was_first

    def first(self) -> Sequence:
        """The next one, which stays."""
        if not self.count:
            raise IndexError("nothing waits")
        return self._lanes[self._first].first()

    def take(self) -> Sequence:
        """The next one, which leaves; its prompt counts as served."""
        sequence = self.first()
        tenant = self._first
        self._lanes[tenant].take()
        self.count -= 1
        self.service[tenant] += self._prompt(sequence)
        self._leave(tenant)
        self._choose()
        return sequence

    def served(self, tenant: int, tokens: int) -> bool:
        """A sequence of a tenant leaves with so many output tokens."""
        given = self._output * tokens / self._weights.get(tenant, 1.0)
        self.service[tenant] = self.service.get(tenant, 0.0) + given
        return tenant in self._waiting and self._choose()

    def refresh(self) -> bool:
        """Changes nothing."""
        return False

    def outranks(self, sequence: Sequence, other: Sequence) -> bool:
        """Whether its priority is higher."""
        return sequence.priority > other.priority

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sequence]:
        for lane in self._lanes.values():
            yield from lane

    def _lane(self, tenant: int) -> FirstCome:
        lane = self._lanes.get(tenant)
        if lane is None:
            lane = self._lanes[tenant] = FirstCome()
            self.service.setdefault(tenant, 0.0)
        return lane

    def _prompt(self, sequence: Sequence) -> float:
        request = sequence.request
        return self._input * request.input_tokens / self._weights.get(request.tenant, 1.0)

    def _lift(self, tenant: int, level: int) -> None:
        """A tenant comes back: it starts level with the least served one of its priority."""
        service = self.service
        peers = [service[other] for other, theirs in self._waiting.items() if theirs == level]
        if peers:
            floor = min(peers)
        elif level in self._last:
            floor = service[self._last[level]]
        else:
            return
        if service[tenant] < floor:
            service[tenant] = floor

    def _leave(self, tenant: int) -> None:
        if not self._lanes[tenant].count:
            self._last[self._waiting.pop(tenant)] = tenant

    def _choose(self) -> bool:
        """Finds the tenant that is first; says whether it is another one."""
        before = self._first
        service = self.service
        first = -1
        best = (0, 0.0, 0)
        for tenant, level in self._waiting.items():
            key = (-level, service[tenant], tenant)
            if first < 0 or key < best:
                first, best = tenant, key
        self._first = first
        return first != before
