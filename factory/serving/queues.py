"""Orders in which requests wait: for a place in a rank's batch, for KV room, or at the front door.

`first` is a function of what has been called, never of the time or of how often it was asked: it
changes only inside the calls that say so by returning True. A leap that was planned while one
sequence was first therefore holds until such a call, and both engines see the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Protocol

from factory.errors import FactoryError
from factory.scenario.admission import Queueing
from factory.serving.sequence import Sequence

_FEWEST_GONE = 32
"""Entries of sequences that have left, from which on clearing them out is considered."""


class Queue(Protocol):
    """Sequences that wait, and which of them is next.

    ============  ==================  =====================  =========================
    call          fcfs                priority, shortest     fair (T tenants waiting)
    ============  ==================  =====================  =========================
    add           O(1)                O(log n)               O(T)
    first         O(1)                O(1)                   O(1)
    take          O(1)                O(log n)               O(T)
    put_back      O(those before it)  O(log n)               O(those before it + T)
    discard       O(1), amortised     O(log n), amortised    O(T), amortised
    served        O(1)                O(1)                   O(T)
    refresh       O(1)                O(1)                   O(1)
    ============  ==================  =====================  =========================

    lpm: add, put_back, discard and take O(n) up to its limit of waiting sequences, O(1) above it;
    refresh one look-up for each of them.

    Attributes:
        count: Sequences that wait; `len` is the same, slower.
    """

    count: int

    def add(self, sequence: Sequence, now_s: float = 0.0) -> bool:
        """Takes in a sequence at ``now_s`` (seconds); says whether it changed who is first."""
        ...

    def put_back(self, sequence: Sequence, last: bool = False) -> bool:
        """Takes back a preempted sequence; says as `add` does.

        Where the order is that of arrival, it goes to its place, or if ``last`` behind all others.
        """
        ...

    def discard(self, sequence: Sequence) -> bool:
        """A sequence that waits here waits no more; says whether it was first."""
        ...

    def first(self) -> Sequence:
        """The next one, which stays.

        Raises:
            IndexError: If none waits.
        """
        ...

    def take(self) -> Sequence:
        """The next one, which leaves the queue to be served.

        Raises:
            IndexError: If none waits.
        """
        ...

    def served(self, tenant: int, tokens: int) -> bool:
        """A tenant was given output ``tokens``; says whether that changed who is first."""
        ...

    def refresh(self) -> bool:
        """The KV cache has changed (prompts were committed); says whether that changed the first.

        To be called where both engines have a boundary.
        """
        ...

    def outranks(self, sequence: Sequence, other: Sequence) -> bool:
        """Whether a sequence is of higher priority than another and, waiting, goes before it."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sequence]: ...


class FirstCome:
    """Higher priority first, then in order of arrival: vLLM's ``fcfs`` for equal priorities.

    One deque per priority. A preempted sequence goes before all of its priority that came later,
    which in vLLM is the front of the queue.
    """

    __slots__ = ("_gone", "_head", "_lanes", "_level", "count")

    def __init__(self) -> None:
        self.count = 0
        # The lane that the first is in, whose head never is one that left, and its priority.
        self._head: deque[Sequence] = deque()
        self._level = 0
        self._lanes = {0: self._head}
        self._gone: set[Sequence] = set()

    def add(self, sequence: Sequence, now_s: float = 0.0) -> bool:  # noqa: ARG002
        """Takes in a sequence; says whether it is first."""
        level = sequence.priority
        if level == self._level and not self._gone:
            self._head.append(sequence)
            self.count = count = self.count + 1
            return count == 1
        if sequence in self._gone:
            self._clear()
        self._lane(level).append(sequence)
        self.count += 1
        return self._leads(level)

    def put_back(self, sequence: Sequence, last: bool = False) -> bool:
        """Takes a sequence before those of its priority that arrived later, or behind them."""
        if last:
            return self.add(sequence)
        if sequence in self._gone:
            self._clear()
        level = sequence.priority
        lane = self._lane(level)
        key = _arrival(sequence)
        place = 0
        for other in lane:
            if _arrival(other) > key:
                break
            place += 1
        lane.insert(place, sequence)
        self.count += 1
        return self._leads(level) or (place == 0 and lane is self._head)

    def discard(self, sequence: Sequence) -> bool:
        """A waiting sequence leaves; says whether it was first."""
        head = self._head
        if head[0] is sequence:
            self.take()
            return True
        self.count -= 1
        self._gone.add(sequence)
        if len(self._gone) > _FEWEST_GONE + self.count:
            self._clear()
        return False

    def first(self) -> Sequence:
        """The next one, which stays."""
        return self._head[0]

    def take(self) -> Sequence:
        """The next one, which leaves."""
        head = self._head
        sequence = head.popleft()
        self.count -= 1
        if self._gone or (self.count and not head):
            self._settle()
        return sequence

    def served(self, tenant: int, tokens: int) -> bool:  # noqa: ARG002
        """Changes nothing."""
        return False

    def refresh(self) -> bool:
        """Changes nothing."""
        return False

    def outranks(self, sequence: Sequence, other: Sequence) -> bool:
        """Whether its priority is higher."""
        return sequence.priority > other.priority

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sequence]:
        gone = self._gone
        for level in sorted(self._lanes, reverse=True):
            for sequence in self._lanes[level]:
                if sequence not in gone:
                    yield sequence

    def _lane(self, level: int) -> deque[Sequence]:
        lane = self._lanes.get(level)
        if lane is None:
            lane = self._lanes[level] = deque()
        return lane

    def _leads(self, level: int) -> bool:
        """A sequence of a priority has come; says whether it put another lane first."""
        if self.count > 1 and level <= self._level:
            return False
        self._head = self._lanes[level]
        self._level = level
        return True

    def _settle(self) -> None:
        """Finds the lane that is first now, and drops those that left from its head."""
        gone = self._gone
        for level in sorted(self._lanes, reverse=True):
            lane = self._lanes[level]
            while lane and gone and lane[0] in gone:
                gone.remove(lane.popleft())
            if lane:
                self._head = lane
                self._level = level
                return

    def _clear(self) -> None:
        """Drops every entry of a sequence that left."""
        gone = self._gone
        for lane in self._lanes.values():
            kept = [sequence for sequence in lane if sequence not in gone]
            lane.clear()
            lane.extend(kept)
        gone.clear()


Key = tuple[float, ...]
KeyOf = Callable[[Sequence, int], Key]
"""The key of a sequence with so many tokens to compute; the lowest goes first."""


class Keyed:
    """Lowest key first, then in order of arrival. A key is fixed when a sequence is taken in.

    Args:
        key: See `ageing_priority` and `shortest`.
    """

    __slots__ = ("_heap", "_key", "_number", "_places", "count")

    def __init__(self, key: KeyOf) -> None:
        self.count = 0
        self._key = key
        # The head of the heap is never an entry that is void.
        self._heap: list[tuple[Key, float, int, int, Sequence]] = []
        self._places: dict[Sequence, int] = {}
        self._number = 0

    def add(self, sequence: Sequence, now_s: float = 0.0) -> bool:  # noqa: ARG002
        """Takes in a sequence, by the prompt tokens that it is expected to compute."""
        return self._push(sequence, sequence.expected)

    def put_back(self, sequence: Sequence, last: bool = False) -> bool:  # noqa: ARG002
        """Takes back a sequence, by all that it has to compute again."""
        return self._push(sequence, sequence.left)

    def discard(self, sequence: Sequence) -> bool:
        """A waiting sequence leaves; says whether it was first."""
        heap, places = self._heap, self._places
        was_first = heap[0][4] is sequence
        del places[sequence]
        self.count -= 1
        self._settle()
        if len(heap) > _FEWEST_GONE + 2 * self.count:
            heap[:] = [entry for entry in heap if places.get(entry[4]) == entry[3]]
            heapify(heap)
        return was_first

    def first(self) -> Sequence:
        """The next one, which stays."""
        return self._heap[0][4]

    def take(self) -> Sequence:
        """The next one, which leaves."""
        sequence = heappop(self._heap)[4]
        del self._places[sequence]
        self.count -= 1
        self._settle()
        return sequence

    def served(self, tenant: int, tokens: int) -> bool:  # noqa: ARG002
        """Changes nothing."""
        return False

    def refresh(self) -> bool:
        """Changes nothing: a key is fixed."""
        return False

    def outranks(self, sequence: Sequence, other: Sequence) -> bool:
        """Whether its priority is higher, and its key lower however many tokens there are."""
        return sequence.priority > other.priority and self._key(sequence, 0) < self._key(other, 0)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._places)

    def _push(self, sequence: Sequence, tokens: int) -> bool:
        self._number = number = self._number + 1
        self._places[sequence] = number
        heap = self._heap
        entry = (self._key(sequence, tokens), *_arrival(sequence), number, sequence)
        heappush(heap, entry)
        self.count += 1
        return heap[0] is entry

    def _settle(self) -> None:
        heap, places = self._heap, self._places
        while heap and places.get(heap[0][4]) != heap[0][3]:
            heappop(heap)


def ageing_priority(ageing_s: float) -> KeyOf:
    """Priority that rises by one for every ``ageing_s`` seconds since arrival.

    At time t a sequence has the level ``priority + (t - arrival_s) / ageing_s``. All rise at one
    rate, so the order is that of ``arrival_s - priority × ageing_s`` at any t.
    """
    return lambda sequence, _: (sequence.request.arrival_s - sequence.priority * ageing_s,)


def shortest(ageing_tokens_per_s: float) -> KeyOf:
    """Higher priority first, then fewest tokens to compute, less so many for each second waited.

    At time t the size is ``tokens - rate × (t - arrival_s)``: the order is that of
    ``tokens + rate × arrival_s`` at any t.
    """
    rate = ageing_tokens_per_s
    return lambda sequence, tokens: (
        -sequence.priority,
        tokens + rate * sequence.request.arrival_s,
    )


def build(
    section: Queueing,
    weights: Mapping[int, float] | None = None,
    cached: Callable[[Sequence], int] | None = None,
) -> Queue:
    """The queue that a scenario asks for.

    Args:
        section: Its order and that order's own fields.
        weights: fair: share of each tenant, by its position in the scenario; by default 1.
        cached: lpm: tokens of a sequence's prompt in the KV cache where it waits, tokens.

    Raises:
        FactoryError: For lpm without ``cached``.
    """
    from factory.serving.cache_order import LongestPrefix
    from factory.serving.fair_queue import Fair

    if section.order == "fair":
        return Fair(weights or {}, section.input_weight, section.output_weight)
    if section.order == "lpm":
        if cached is None:
            raise FactoryError("order lpm needs to know what is cached")
        return LongestPrefix(cached, section.max_matched)
    if section.order == "shortest_first":
        return Keyed(shortest(section.ageing_tokens_per_s))
    if section.order == "priority" and section.ageing_s is not None:
        return Keyed(ageing_priority(section.ageing_s))
    return FirstCome()


def _arrival(sequence: Sequence) -> tuple[float, int]:
    request = sequence.request
    return request.arrival_s, request.index
