"""The autoscaler of a pool: asks its policy in time, keeps its limits, tells the pool.

One timer per scaled pool. The run ends when no event is left, so that a timer that always set
itself again would keep it alive for ever: it is set only while `Autoscaler.more` says that
something is inside or expected. After a pause `Autoscaler.wake` sets it again; decisions stay on
the policy's own grid of times, whatever the pause.

Within an instant the autoscaler comes last: it sees what everything else left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.serving.scaling import Policy, Signals

CLASS_CONTROL = CLASS_ARRIVAL + 1
"""Class of the autoscalers' events: after all others of an instant."""

SCALE_UP, SCALE_DOWN = "scale_up", "scale_down"
REPLICA_READY, REPLICA_DRAINED = "replica_ready", "replica_drained"
"""Kinds of rows of ``fact_events``; the last two are the replicas' own to note."""

Note = Callable[[float, str, str, float, str], None]
"""Takes (seconds, kind, subject, value, detail) of an event."""


class Scalable(Protocol):
    """A pool as its autoscaler sees it."""

    def signals(self, now_s: float) -> Signals:
        """What the pool shows; counts since the last call start anew."""
        ...

    def scale_to(self, replicas: int, now_s: float) -> None:
        """Has so many replicas active or starting from now on.

        More: as many are started. Fewer: those that start are given up first, the newest before
        others, then the active ones with the least work drain.
        """
        ...


class Budget:
    """GPUs that several pools may hold together; who asks first is served first.

    A pool holds GPUs from the start of a replica until it has drained. Pools ask in the order of
    their timers (time, then pool), where Dynamo's planner shrinks all pools in proportion.

    Args:
        gpus: GPUs in all.
    """

    __slots__ = ("_gpus", "_held")

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._held: dict[int, int] = {}

    def hold(self, pool: int, gpus: int) -> None:
        """Notes what a pool holds; call it for each before the run, and when replicas drained."""
        self._held[pool] = gpus

    def free(self, pool: int) -> int:
        """GPUs that a pool may hold: what the others leave."""
        others = sum(gpus for other, gpus in self._held.items() if other != pool)
        return max(self._gpus - others, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every decision of a pool.

    Attributes:
        least, most: Replicas.
        step: Replicas that one decision may add or take.
        up_cooldown_s, down_cooldown_s: Seconds since the last change before another.
        gpus_per_replica: GPUs.
        gpus: GPUs that the pool may hold.
    """

    least: int
    most: int
    step: float = inf
    up_cooldown_s: float = 0.0
    down_cooldown_s: float = 0.0
    gpus_per_replica: int = 1
    gpus: float = inf


def clamped(
    wanted: int, signals: Signals, limits: Limits, since_change_s: float, free_gpus: float = inf
) -> int:
    """The replicas to have of those wanted.

    Minimum and maximum first, then the step, the cool-down, and for an addition what the racks and
    budgets hold beside the replicas that still drain, and what there is power for.

    Args:
        wanted: What the policy says.
        signals: What the pool shows.
        limits: Its bounds.
        since_change_s: Seconds since it last changed; infinite if it never did.
        free_gpus: GPUs that a budget shared with other pools leaves it.
    """
    now = signals.replicas
    wanted = min(max(wanted, limits.least), limits.most)
    if wanted > now:
        if since_change_s < limits.up_cooldown_s:
            return now
        room = min(limits.gpus, free_gpus) // limits.gpus_per_replica
        most = min(min(float(limits.most), room) - signals.draining, now + signals.startable)
        return int(max(min(wanted, now + limits.step, most), now))
    if wanted < now:
        if since_change_s < limits.down_cooldown_s:
            return now
        return int(max(wanted, now - limits.step))
    return now


class Autoscaler:
    """Scales one pool.

    Args:
        kernel: The environment.
        owner: Stable id of the pool among those scaled, for the order of timers.
        subject: Its name in ``fact_events``.
        pool: The pool.
        policy: How many replicas it should have.
        limits: Bounds.
        more: Whether anything is inside or expected; without it the timer rests.
        note: Takes `SCALE_UP` and `SCALE_DOWN`, with the new number of replicas.
        budget: Shared with other pools, if any; the pool must `Budget.hold` what it has.
    """

    __slots__ = (
        "_asked",
        "_budget",
        "_changed_s",
        "_limits",
        "_more",
        "_note",
        "_owner",
        "_policy",
        "_pool",
        "_subject",
        "_timer",
    )

    def __init__(
        self,
        kernel: Kernel,
        owner: int,
        subject: str,
        pool: Scalable,
        policy: Policy,
        limits: Limits,
        more: Callable[[], bool],
        note: Note,
        budget: Budget | None = None,
    ) -> None:
        self._owner = owner
        self._subject = subject
        self._pool = pool
        self._policy = policy
        self._limits = limits
        self._more = more
        self._note = note
        self._budget = budget
        self._changed_s = -inf
        self._asked = -1
        self._timer = kernel.timer(CLASS_CONTROL, owner, self._decide)

    def wake(self, now_s: float) -> None:
        """Sets the timer if it rests: at the start, and when a request comes after a pause."""
        if self._timer.due == inf:
            self._set(now_s, held_back=False)

    def rest(self) -> None:
        """Takes the timer back: nothing is inside or expected any more.

        Without it the timer would fire once more, decide nothing, and yet make the run that much
        longer.
        """
        self._timer.due = inf

    def arrived(self, now_s: float, draining: int) -> None:
        """A request found no replica, active or starting: starts one, whatever the cool-down.

        For pools with `wake_on_arrival`. Where there is no room for it yet, the timer tries again.

        Args:
            now_s: Time, seconds.
            draining: Replicas that still drain.
        """
        signals = Signals(now_s, 0.0, 0, 0, 0, 0, 0, 0, draining)
        if clamped(1, signals, self._limits, inf, self._free(signals)):
            self._scale(1, signals, now_s, "a request came")
            self.wake(now_s)
        else:
            due = self._policy.next_s(now_s, held_back=True)
            self._timer.set(min(due, self._timer.due))

    def _decide(self, now_s: float) -> None:
        if not self._more():
            return
        signals = self._pool.signals(now_s)
        wanted = self._policy.desired(signals)
        since_s = now_s - self._changed_s
        if signals.unplaced and not signals.active:
            wanted = max(wanted, 1)
            if not signals.starting:
                since_s = inf
        replicas = clamped(wanted, signals, self._limits, since_s, self._free(signals))
        if replicas != signals.replicas:
            self._scale(replicas, signals, now_s, f"{min(wanted, self._limits.most)} wanted")
        self._set(now_s, held_back=replicas != wanted)

    def _free(self, signals: Signals) -> float:
        if self._budget is None:
            return inf
        held = signals.replicas + signals.draining
        self._budget.hold(self._owner, held * self._limits.gpus_per_replica)
        return self._budget.free(self._owner)

    def _scale(self, replicas: int, signals: Signals, now_s: float, why: str) -> None:
        before = signals.replicas
        self._changed_s = now_s
        if self._budget is not None and replicas > before:
            held = replicas + signals.draining
            self._budget.hold(self._owner, held * self._limits.gpus_per_replica)
        if replicas != self._asked:
            kind = SCALE_UP if replicas > before else SCALE_DOWN
            detail = f"from {before} replicas: {why}"
            self._note(now_s, kind, self._subject, float(replicas), detail)
        self._asked = replicas
        self._pool.scale_to(replicas, now_s)

    def _set(self, now_s: float, *, held_back: bool) -> None:
        if not self._more():
            return
        due = self._policy.next_s(now_s, held_back=held_back)
        if due < inf:
            self._timer.set(due)
