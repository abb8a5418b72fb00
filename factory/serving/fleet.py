"""The replicas of a scaled pool: which of them serve, start, drain, or are off.

The pool stands in its racks with room for its most replicas. Those that are not up draw what bare
GPUs do, and are paid for (spare) unless the pool rents them by demand: then they are given back.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from heapq import heappop, heappush
from math import inf

from factory.kernel import Kernel
from factory.serving.autoscaler import (
    CLASS_CONTROL,
    REPLICA_DRAINED,
    REPLICA_READY,
    Autoscaler,
    Note,
)
from factory.serving.phases import ACTIVE, DRAINING, GIVEN_BACK, OFF, STARTING
from factory.serving.pool_side import PoolSide
from factory.serving.replica import Replica
from factory.serving.scaling import ReplicaLoad, Signals
from factory.serving.sequence import STAGE_HANDING, STAGE_MOVING, STAGE_RESERVING, Sequence

_READY = 1 << 16
"""Owners of the fleets' own timers, among those of the autoscalers, begin here."""


class Fleet:
    """The replicas of one pool (see the module); what its autoscaler scales.

    Args:
        kernel: The environment.
        owner: Number of the pool.
        side: The pool.
        replicas: All that there is room for, in order.
        names: Name of each, in ``fact_events``.
        up: Replicas that serve from the start.
        startup_s: Seconds to start so many replicas at once.
        on_demand: Whether GPUs that are not up are given back.
        drain_timeout_s: Seconds after which a draining replica loses what it still has.
        changed: Called as ``(now_s)`` when more replicas serve.
        lose: Called as ``(replica, now_s)`` when its time to drain is over.
        note: Takes ``fact_events``.

    Attributes:
        scaler: What decides.
        unplaced: Requests that wait for a replica.
        powered: Of replicas that are off, by position, those for which there is power to start now,
            all together; None where power is not looked at.
    """

    __slots__ = (
        "_arrivals", "_cached", "_changed", "_drain_timeout_s", "_due", "_finished", "_input",
        "_lose", "_names", "_note", "_off", "_out", "_output", "_prompts", "_read_s", "_replicas",
        "_side", "_startup_s", "_timer", "_wanted", "powered", "scaler", "unplaced",
    )  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        owner: int,
        side: PoolSide,
        replicas: Seq[Replica],
        names: Seq[str],
        up: int,
        startup_s: Callable[[int], float],
        on_demand: bool,
        drain_timeout_s: float,
        changed: Callable[[float], None],
        lose: Callable[[Replica, float], None],
        note: Note,
    ) -> None:
        self._side = side
        self._replicas = replicas
        self._names = names
        self._startup_s = startup_s
        self._off = GIVEN_BACK if on_demand else OFF
        self._drain_timeout_s = drain_timeout_s
        self._changed = changed
        self._lose = lose
        self._note = note
        self._timer = kernel.timer(CLASS_CONTROL, _READY + owner, self._fire)
        # (time, position, phase that it is in until then)
        self._due: list[tuple[float, int, int]] = []
        self._arrivals = self._input = self._finished = self._output = 0
        self._prompts = self._cached = 0
        self._read_s = 0.0
        self._wanted = up
        # Replicas that failures and planned work hold.
        self._out: dict[Replica, None] = {}
        self.unplaced: Callable[[], int] = int
        self.powered: Callable[[Seq[int]], Seq[int]] | None = None
        self.scaler: Autoscaler
        for position, replica in enumerate(replicas):
            if position >= up:
                replica.enter(self._off, 0.0)
                side.slots.shut(rank.slot for rank in replica.ranks)

    # -- what it sees --------------------------------------------------------------------------

    def came(self, input_tokens: int, now_s: float) -> None:
        """A request came to the pool's deployment."""
        self._arrivals += 1
        self._input += input_tokens
        self.scaler.wake(now_s)

    def waits(self, now_s: float) -> None:
        """A request found no replica that takes it."""
        if not self._count(ACTIVE) and not self._count(STARTING):
            self.scaler.arrived(now_s, self._count(DRAINING))

    def computed(self, input_tokens: int, cached_tokens: int) -> None:
        """A prompt of the pool's deployment is done, so many of its tokens found in caches."""
        self._prompts += input_tokens
        self._cached += cached_tokens

    def answered(self, output_tokens: int) -> None:
        """A request of the pool's deployment has all its tokens."""
        self._finished += 1
        self._output += output_tokens

    def signals(self, now_s: float) -> Signals:
        """What the pool shows; counts since the last call start anew."""
        seen = Signals(
            now_s,
            now_s - self._read_s,
            self._arrivals,
            self._input,
            self._finished,
            self._output,
            self._count(ACTIVE),
            self._count(STARTING),
            self._count(DRAINING),
            [self._load(replica) for replica in self._replicas if replica.phase == ACTIVE],
            cached_ratio=self._cached / self._prompts if self._prompts else 0.0,
            unplaced=self.unplaced(),
            startable=inf if self.powered is None else len(self._ready()),
        )
        self._arrivals = self._input = self._finished = self._output = 0
        self._prompts = self._cached = 0
        self._read_s = now_s
        return seen

    def _count(self, phase: int) -> int:
        return sum(replica.phase == phase for replica in self._replicas)

    def _load(self, replica: Replica) -> ReplicaLoad:
        slots = self._side.slots
        waiting = queued = held = 0
        for rank in replica.ranks:
            cache = rank.cache
            waiting += slots.waiting[rank.slot] + rank.unreserved.count
            queued += slots.prefill_tokens[rank.slot]
            held += (cache.private + cache.pinned - cache.kept) * rank.block
            held += sum(sequence.request.input_tokens for sequence in rank.waiting)
            held += sum(sequence.request.input_tokens for sequence in rank.unreserved)
        return ReplicaLoad(waiting, queued, held / (slots.capacity_tokens * len(replica.ranks)))

    # -- what it does --------------------------------------------------------------------------

    def scale_to(self, replicas: int, now_s: float) -> None:
        """Has so many replicas active or starting from now on (see `autoscaler.Scalable`)."""
        self._wanted = replicas
        more = replicas - self._count(ACTIVE) - self._count(STARTING)
        if more > 0:
            self._start(more, now_s)
        for _ in range(-more):
            self._stop(now_s)

    def _start(self, count: int, now_s: float) -> None:
        ready_s = now_s + self._startup_s(count)
        for position in self._ready()[:count]:
            self._replicas[position].enter(STARTING, now_s)
            self._later(ready_s, position, STARTING)

    def _ready(self) -> Seq[int]:
        """Replicas that are off and can be started now, in order."""
        idle = [
            position
            for position, replica in enumerate(self._replicas)
            if replica.phase == self._off and replica not in self._out
        ]
        if self.powered is None:
            return idle
        # A pool without any replica gets its first whatever the power, or requests wait for ever.
        first = [] if self._count(ACTIVE) or self._count(STARTING) else idle[:1]
        return list(self.powered(idle)) or first

    def _stop(self, now_s: float) -> None:
        starting = [(due, n) for due, n, phase in self._due if phase == STARTING]
        if starting:
            _, position = max(starting)
            self._due = sorted(entry for entry in self._due if entry[1:] != (position, STARTING))
            self._aim()
            self._replicas[position].enter(self._off, now_s)
            return
        requests = self._side.slots.requests
        active = [n for n, replica in enumerate(self._replicas) if replica.phase == ACTIVE]
        position = min(
            active,
            key=lambda n: (sum(requests[rank.slot] for rank in self._replicas[n].ranks), -n),
        )
        replica = self._replicas[position]
        self._side.slots.shut(rank.slot for rank in replica.ranks)
        replica.enter(DRAINING, now_s)
        if replica.is_drained:
            self.rested(replica, now_s)
        elif self._drain_timeout_s < inf:
            self._later(now_s + self._drain_timeout_s, position, DRAINING)

    def rested(self, replica: Replica, now_s: float) -> None:
        """A draining replica of this pool has nothing left to do."""
        replica.enter(self._off, now_s)
        self._forget(replica)
        name = self._names[self._replicas.index(replica)]
        self._note(now_s, REPLICA_DRAINED, name, 0.0, "")

    def shut(self, replica: Replica) -> None:
        """A replica of this pool is about to be held: it does not start in place of another."""
        self._out[replica] = None

    def out(self, replica: Replica, now_s: float) -> None:
        """A failure or planned work holds a replica of this pool: another starts in its place."""
        self.shut(replica)
        self._forget(replica)
        missing = self._wanted - self._count(ACTIVE) - self._count(STARTING)
        if missing > 0:
            self._start(missing, now_s)

    def back(self, replica: Replica, now_s: float) -> None:
        """Nothing holds a replica any more: it starts if the pool lacks one, or else is off."""
        self._out.pop(replica, None)
        if replica.phase != self._off:
            replica.enter(self._off, now_s)
        if self._wanted > self._count(ACTIVE) + self._count(STARTING):
            replica.enter(STARTING, now_s)
            self._later(now_s + self._startup_s(1), self._replicas.index(replica), STARTING)

    def keeps(self, replica: Replica) -> bool:
        """Whether a replica that drained by no wish of the pool is to go on: it lacks one."""
        self._out.pop(replica, None)
        return self._wanted > self._count(ACTIVE) + self._count(STARTING)

    def _forget(self, replica: Replica) -> None:
        position = self._replicas.index(replica)
        self._due = sorted(entry for entry in self._due if entry[1] != position)
        self._aim()

    def rest(self) -> None:
        """Nothing is inside or expected any more: no timer shall keep the run alive."""
        self.scaler.rest()
        self._timer.due = inf

    def owns(self, replica: Replica) -> bool:
        """Whether a replica is of this pool."""
        return replica in self._replicas

    def _later(self, due_s: float, position: int, phase: int) -> None:
        heappush(self._due, (due_s, position, phase))
        self._aim()

    def _aim(self) -> None:
        if self._due:
            self._timer.set(self._due[0][0])
        else:
            self._timer.due = inf

    def _fire(self, now_s: float) -> None:
        grown = False
        while self._due and self._due[0][0] <= now_s:
            _, position, phase = heappop(self._due)
            replica = self._replicas[position]
            if replica.phase != phase:
                continue
            if phase == DRAINING:
                self._lose(replica, now_s)
                continue
            replica.enter(ACTIVE, now_s)
            self._side.slots.open(rank.slot for rank in replica.ranks)
            self._note(now_s, REPLICA_READY, self._names[position], 1.0, "")
            grown = True
        self._aim()
        if grown:
            self._changed(now_s)


def held_by(replica: Replica, inside: Seq[Sequence]) -> list[Sequence]:
    """Of the requests inside, those that have something on a replica, or are to decode there."""
    return [sequence for sequence in inside if _holds(sequence, replica)]


def _holds(sequence: Sequence, replica: Replica) -> bool:
    target = sequence.target
    if target is not None and target.replica is replica:
        return sequence.decode_rank in (None, target)
    if sequence.stage in (STAGE_HANDING, STAGE_MOVING):
        rank = sequence.prefill_rank
    else:
        rank = sequence.decode_rank or sequence.prefill_rank
    return rank is not None and rank.replica is replica and sequence.stage != STAGE_RESERVING


def is_tied(sequence: Sequence, replica: Replica) -> bool:
    """Whether a request has room to decode on a replica, and is still to be prefilled elsewhere."""
    target = sequence.target
    return (
        target is not None
        and target.replica is replica
        and sequence.decode_rank is None
        and sequence in target.admitted
    )
