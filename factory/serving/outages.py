"""A replica that can break, trip, or rest for a while: `factory.facility.Machine` over a replica.

What stops at once loses the step in progress, and all requests that have anything there: those that
wait, compute or decode, whose KV is on its way there or from there, or that have room there. Its
caches are empty from then on; tiers that it shares with others keep what they hold, so that a
client who tries again may find its KV there. What rests drains first. When nothing holds it any
more it starts, as long as its pool's replicas take to.

A pool with an autoscaler has its say: another replica starts in the place of one that is held, and
one that comes back starts only if the pool lacks one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from factory.facility.agenda import Agenda, Appointment
from factory.facility.machines import Watcher
from factory.facility.tree import PowerNode
from factory.records.codes import (
    LEDGER_STATES,
    RESTART_BEGAN,
    STATE_FAILED,
    STATE_MAINTENANCE,
    STATE_PAUSED,
    STATE_TRIPPED,
)
from factory.serving.autoscaler import REPLICA_READY, Note
from factory.serving.deployment import Deployment
from factory.serving.fleet import Fleet
from factory.serving.phases import (
    ACTIVE,
    DRAINING,
    FAILED,
    GIVEN_BACK,
    MAINTENANCE,
    PAUSED,
    STARTING,
    TRIPPED,
)
from factory.serving.rank import Rank
from factory.serving.replica import Replica
from factory.serving.residency import unfetched

_PHASES = {
    STATE_TRIPPED: TRIPPED,
    STATE_FAILED: FAILED,
    STATE_MAINTENANCE: MAINTENANCE,
    STATE_PAUSED: PAUSED,
}
"""The phase of each state in which a machine can be held; of several the first counts."""

MACHINE_PAUSED, MACHINE_RESUMED = "paused", "resumed"
"""Kinds of rows of ``fact_events`` that machines write."""

Cause = tuple[int, str]
"""Ledger state and name."""


@dataclass(slots=True)
class _Hold:
    """What a cause does: how often it holds, what GPUs draw meanwhile, what is lost by it."""

    watts: float
    keeps_weights: bool
    times: int = 1


@dataclass(frozen=True, slots=True)
class Crew:
    """What the machines of one pool have in common.

    Attributes:
        ranks: Those of all its replicas.
        deployment: Its deployment.
        fleet: Its replicas, if it is scaled.
        startup_s: Seconds to start so many replicas at once.
        agenda: Keeps the time of starts and of draining.
        note: Takes ``fact_events``.
        starting: Machines that start now.
    """

    ranks: Sequence[Rank]
    deployment: Deployment
    fleet: Fleet | None
    startup_s: Callable[[int], float]
    agenda: Agenda
    note: Note
    starting: dict[int, None] = field(default_factory=dict)


class Outages:
    """One replica and what holds it (see the module); a `factory.facility.Machine`.

    Attributes:
        drains: Whether it takes no more requests, and will rest when it has none.
        replica: The replica.
    """

    __slots__ = (
        "_crew", "_due", "_holds", "_was_loaded", "bare_watts", "drains", "gpus", "loaded_watts",
        "name", "number", "rack", "replica", "watchers",
    )  # fmt: skip

    def __init__(
        self,
        replica: Replica,
        name: str,
        rack: PowerNode,
        gpus: tuple[int, ...],
        loaded_watts: float,
        bare_watts: float,
        crew: Crew,
    ) -> None:
        self.replica = replica
        self.number = replica.name
        self.name = name
        self.rack = rack
        self.gpus = gpus
        self.loaded_watts = loaded_watts
        self.bare_watts = bare_watts
        self.watchers: list[Watcher] = []
        self.drains = False
        self._crew = crew
        self._holds: dict[Cause, _Hold] = {}
        # Whether it has been down, since it last was up, for nothing that loses its weights.
        self._was_loaded = False
        self._due: Appointment | None = None
        crew.deployment.machines[replica] = self

    @property
    def is_up(self) -> bool:
        """Whether it takes requests."""
        return self.replica.phase == ACTIVE

    @property
    def is_down(self) -> bool:
        """Whether something holds it, and nothing runs on it any more."""
        return bool(self._holds) and not self.drains

    @property
    def is_starting(self) -> bool:
        """Whether nothing holds it and it is about to be up."""
        return not self._holds and self.replica.phase == STARTING

    # -- what holds it -------------------------------------------------------------------------

    def shut(self) -> None:
        """Takes no more requests: `fail` or `pause` follows at the same instant."""
        ranks = self.replica.ranks
        ranks[0].slots.shut(rank.slot for rank in ranks)
        if self._crew.fleet is not None:
            self._crew.fleet.shut(self.replica)

    def fail(
        self,
        now_s: float,
        state: int,
        watts_per_gpu: float,
        cause: str = "",
        *,
        keeps_weights: bool = False,
    ) -> None:
        """Stops at once (see `factory.facility.Machine`)."""
        was_down = self.is_down
        self._hold((state, cause), watts_per_gpu, keeps_weights)
        if was_down:
            self._again(now_s)
            return
        self._call_off()
        self.drains = False
        self._was_loaded = self.replica.phase in (ACTIVE, DRAINING)
        self.shut()
        self._stop(now_s)
        self._lose(now_s)
        self._told(now_s)

    def pause(
        self,
        now_s: float,
        state: int = STATE_PAUSED,
        cause: str = "",
        drain_timeout_s: float | None = None,
    ) -> None:
        """Drains, then rests (see `factory.facility.Machine`)."""
        was_held = bool(self._holds)
        self._hold((state, cause), self.bare_watts, keeps_weights=False)
        if state == STATE_PAUSED:
            detail = "GPUs that drain and rest"
            self._crew.note(now_s, MACHINE_PAUSED, self.name, float(len(self.gpus)), detail)
        if was_held:
            if not self.drains:
                self._again(now_s)
            return
        self._call_off()
        self.shut()
        replica = self.replica
        if replica.phase not in (ACTIVE, DRAINING):
            self._rest(now_s)
            return
        self.drains = True
        replica.enter(DRAINING, now_s)
        self._resized()
        if self._crew.fleet is not None:
            self._crew.fleet.out(replica, now_s)
        if replica.is_drained:
            self.rested(now_s)
        elif drain_timeout_s is not None:
            due_s = now_s + drain_timeout_s
            self._due = self._crew.agenda.at(due_s, self.number, self._out_of_time)

    def repair(self, now_s: float, state: int = STATE_TRIPPED, cause: str = "") -> None:
        """A cause of `fail` is over."""
        self._let_go((state, cause), now_s)

    def resume(self, now_s: float, state: int = STATE_PAUSED, cause: str = "") -> None:
        """A cause of `pause` is over."""
        if state == STATE_PAUSED and (state, cause) in self._holds:
            detail = "GPUs that may start again"
            self._crew.note(now_s, MACHINE_RESUMED, self.name, float(len(self.gpus)), detail)
        self._let_go((state, cause), now_s)

    def _hold(self, cause: Cause, watts: float, keeps_weights: bool) -> None:
        held = self._holds.get(cause)
        if held is None:
            self._holds[cause] = _Hold(watts, keeps_weights)
        else:
            held.times += 1

    def _let_go(self, cause: Cause, now_s: float) -> None:
        held = self._holds.get(cause)
        if held is None:
            return
        held.times -= 1
        if held.times:
            return
        del self._holds[cause]
        if not self._holds:
            self._free(now_s, cause[0])
        elif not self.drains:
            self._again(now_s)

    # -- what it does --------------------------------------------------------------------------

    def _again(self, now_s: float) -> None:
        """Other causes hold it than before."""
        if self.replica.phase != GIVEN_BACK:
            self._stop(now_s)

    def _stop(self, now_s: float) -> None:
        """Halts its replica by the causes that there are."""
        replica = self.replica
        if not all(hold.keeps_weights for hold in self._holds.values()):
            self._was_loaded = False
        if replica.phase != GIVEN_BACK:
            states = [state for state in _PHASES if any(state == of for of, _ in self._holds)]
            watts = min(hold.watts for hold in self._holds.values())
            replica.now_s = now_s
            replica.halt(now_s, _PHASES[states[0]], watts)

    def _lose(self, now_s: float) -> None:
        """All that it had is gone; its deployment and its pool are told."""
        crew = self._crew
        crew.deployment.lose(self.replica, now_s)
        self._forget(now_s)
        self._resized()
        if crew.fleet is not None:
            crew.fleet.out(self.replica, now_s)

    def _forget(self, now_s: float) -> None:
        """Its caches are empty, and nobody can copy from them any more."""
        replica = self.replica
        for other in self._crew.ranks:
            if other.fetching and other.replica is not replica:
                for rank in replica.ranks:
                    unfetched(other, rank.slot, now_s)
        for rank in replica.ranks:
            if rank.tiers is not None:
                rank.tiers.lose(now_s)
            rank.cache.lose()
            rank.chunks = []

    def _resized(self) -> None:
        door = self._crew.deployment.door
        if door is not None:
            self._crew.deployment.size_door(door)

    def rested(self, now_s: float) -> None:
        """It has drained."""
        self._call_off()
        self.drains = False
        self._rest(now_s)

    def _rest(self, now_s: float) -> None:
        """It stops with nothing to lose but what is cached."""
        self._stop(now_s)
        self._forget(now_s)
        if self._crew.fleet is not None:
            self._crew.fleet.out(self.replica, now_s)
        self._told(now_s)

    def _out_of_time(self, now_s: float) -> None:
        self._crew.deployment.lose(self.replica, now_s)

    def _free(self, now_s: float, state: int) -> None:
        """Nothing holds it any more; what did so last was ``state``."""
        self._call_off()
        fleet, replica = self._crew.fleet, self.replica
        if self.drains:
            self.drains = False
            if fleet is None or fleet.keeps(replica):
                self._up(now_s)
            return
        if fleet is not None:
            fleet.back(replica, now_s)
            self._told(now_s)
            return
        starting = self._crew.starting
        starting[self.number] = None
        replica.enter(STARTING, now_s)
        startup_s = 0.0 if self._was_loaded else self._crew.startup_s(len(starting))
        if startup_s:
            after = f"after {LEDGER_STATES[state]}"
            self._crew.note(now_s, RESTART_BEGAN, self.name, float(replica.meter.gpus), after)
            self._due = self._crew.agenda.at(now_s + startup_s, self.number, self._up)
        else:
            self._up(now_s)

    def _up(self, now_s: float) -> None:
        """It takes requests again."""
        crew, replica = self._crew, self.replica
        self._call_off()
        replica.enter(ACTIVE, now_s)
        replica.ranks[0].slots.open(rank.slot for rank in replica.ranks)
        crew.note(now_s, REPLICA_READY, self.name, 1.0, "")
        self._told(now_s)
        crew.deployment.grown(now_s)

    def _call_off(self) -> None:
        self._crew.starting.pop(self.number, None)
        if self._due is not None:
            self._due.call_off()
            self._due = None

    def _told(self, now_s: float) -> None:
        for told in self.watchers:
            told(now_s)
