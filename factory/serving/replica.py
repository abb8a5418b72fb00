"""One model instance: its ranks in lock-step, its clock, its timer.

A replica schedules one event per leap. At a boundary it applies the steps that are done, lets
sequences end and join, asks every rank what runs next, and plans anew only if something changed:
otherwise the line and its anchor stay, so that boundaries are the same numbers however often a leap
is interrupted, and the step engine (``stepwise``) hits the same ones.
"""

from __future__ import annotations

from collections.abc import Callable

from factory.facility import RackBudget
from factory.kernel import CLASS_STEP, Kernel
from factory.performance import Segment, StepModel
from factory.records.codes import (
    STATE_DRAINING,
    STATE_FETCH_CACHED,
    STATE_IDLE,
    STATE_IDLE_WAITING_WORK,
    STATE_PAUSED,
    STATE_SPARE,
    STATE_STALLED_TRANSFER,
    STATE_STARTING,
)
from factory.serving.batch import ENDLESS
from factory.serving.leap import Leap, PrefillShare, position, scaled
from factory.serving.meter import RELEASED, Meter
from factory.serving.owner import Owner
from factory.serving.rank import Rank
from factory.serving.residency import cull
from factory.serving.step_work import fill

ACTIVE = 0
STARTING = 1
DRAINING = 2
OFF = 3
GIVEN_BACK = 4
"""Phases of a replica's life: it serves, it loads its weights, it finishes what it has, it is
switched off but paid for, and its GPUs are no longer rented."""

_PHASE_STATES = {STARTING: STATE_STARTING, DRAINING: STATE_DRAINING, OFF: STATE_SPARE}


class Replica:
    """One model instance (see the module).

    Args:
        kernel: The environment.
        name: Run-unique number of the replica.
        ranks: Its ranks.
        model: How long steps take.
        meter: Its account.
        watts: Draw of one GPU from (segment, clock, step of the segment).
        idle_watts: Draw of one GPU that has the model loaded and does nothing.
        bare_watts: Draw of one GPU with nothing loaded.
        clock: The pool's own clock, as a ratio of the nominal one.
        stepwise: One event per step instead of one per leap.

    Attributes:
        leap: The line that its steps are on; None while it does nothing.
        k: Steps done since the leap's anchor, of those that an event or a look has counted.
        step: The same since the run began.
        target: Step of the leap at whose end the timer is due.
        now_s: Time of the boundary being worked at, seconds.
        clock: Clock that it runs at; ``nominal_clock`` is the pool's own.
        has_doomed: Whether sequences are to leave at the next boundary, whatever they have.
        phase: Where in its life it is: `ACTIVE` and the others.
        idle_watts: Draw of one of its GPUs when it does nothing, in this phase.
        budget: The budget of its rack, if that has one.
    """

    __slots__ = (
        "_bare_watts",
        "_busy",
        "_draws",
        "_held",
        "_idle_state",
        "_inside",
        "_kernel",
        "_loaded_watts",
        "_middle",
        "_rest",
        "_shares",
        "_size",
        "_stale",
        "_steady",
        "_stepwise",
        "_tenants",
        "_watts",
        "_works",
        "budget",
        "clock",
        "has_doomed",
        "idle_watts",
        "k",
        "leap",
        "meter",
        "model",
        "name",
        "nominal_clock",
        "now_s",
        "owner",
        "phase",
        "ranks",
        "step",
        "target",
        "timer",
    )

    def __init__(
        self,
        kernel: Kernel,
        name: int,
        ranks: list[Rank],
        model: StepModel,
        meter: Meter,
        watts: Callable[[Segment, float, float], float],
        idle_watts: float,
        bare_watts: float,
        clock: float,
        stepwise: bool,
    ) -> None:
        self._kernel = kernel
        self.name = name
        self.ranks = ranks
        self.model = model
        self.meter = meter
        self.clock = clock
        self.nominal_clock = clock
        self.idle_watts = idle_watts
        self.phase = ACTIVE
        self.has_doomed = False
        self._loaded_watts = idle_watts
        self._bare_watts = bare_watts
        self.owner: Owner
        self.budget: RackBudget | None = None
        self.timer = kernel.timer(CLASS_STEP, name, self._boundary)
        self.leap: Leap | None = None
        self.k = 0
        self.step = 0
        self.target = 0
        self.now_s = 0.0
        self._watts = watts
        # What was planned last: the work, its shares and sizes, for how many steps its draw holds
        # and at which of them it is taken; draws by clock are kept where a budget asks for them.
        self._works = [rank.work for rank in ranks]
        self._shares: list[PrefillShare] = []
        self._tenants: dict[int, int] = {}
        self._size = 0
        self._stepwise = stepwise
        self._inside = False
        self._stale = False
        self._steady = ENDLESS
        self._middle = 0.0
        self._rest = 1.0
        self._idle_state = STATE_IDLE
        self._busy = False
        self._held = False
        self._draws: dict[float, float] = {}
        for rank in ranks:
            rank.replica = self

    def count(self, tenant: int, change: int) -> None:
        """A sequence of ``tenant`` joined (+1) or left (-1) a batch."""
        tenants = self._tenants
        tenants[tenant] = tenants.get(tenant, 0) + change

    def end_step(self) -> int:
        """Index of the step at which the current leap is to end, or of the next one when idle."""
        leap = self.leap
        return self.step if leap is None else leap.step + self.target

    def next_step(self, now_s: float) -> int:
        """Index of the step after the one in progress at ``now_s``, or after the next one."""
        leap = self.leap
        if leap is None or self._inside:
            return self.step + 1
        return leap.step + self._next_boundary(leap, now_s)

    def poke(self, now_s: float) -> None:
        """Something came for the next step boundary; an idle replica starts at once."""
        if self._inside:
            return
        leap = self.leap
        if leap is None:
            self.rest(now_s)
            self.now_s = now_s
            self._inside = True
            if self.has_doomed:
                self._cull(now_s)
            for rank in self.ranks:
                if rank.ready:
                    self._join(rank)
                rank.compose()
                if rank.unreserved.count:
                    self.owner.room(rank, now_s)
            self._plan(now_s)
            self._inside = False
            if self.phase == DRAINING and self.is_drained:
                self.owner.rested(self, now_s)
            return
        k = self._next_boundary(leap, now_s)
        if k < self.target:
            self.target = k
            self.timer.set(leap.anchor_s + leap.segment.elapsed(k))

    def _next_boundary(self, leap: Leap, now_s: float) -> int:
        """The first boundary that is still to come at ``now_s``.

        One of this very instant is, if its event would come after the one that fires now.
        """
        k = leap.segment.steps_by(leap.anchor_s, now_s)
        if (
            k > self.k
            and self._kernel.order < self.timer.order
            and leap.anchor_s + leap.segment.elapsed(k) == now_s
        ):
            return k
        return k + 1

    def shorten(self, now_s: float) -> None:
        """Blocks have been taken that the current leap may have counted on: look again soon."""
        if self.leap is not None:
            self.poke(now_s)

    def touch(self) -> None:
        """Brings the account to the boundary being worked at: the batch is about to change."""
        leap = self.leap
        if leap is not None:
            self._account(leap, self.now_s)

    def rest(self, now_s: float) -> None:
        """Brings the account of an idle replica to ``now_s``; who is fetched for pays for that."""
        meter = self.meter
        if self._idle_state != STATE_FETCH_CACHED:
            meter.rest(now_s, self._idle_state, self.idle_watts)
            return
        since_s = meter.until_s
        meter.rest(now_s, STATE_FETCH_CACHED, self.idle_watts)
        waiting = [sequence for rank in self.ranks for sequence in rank.fetching]
        for sequence in waiting:
            each_s = (now_s - since_s) * meter.gpus / len(waiting)
            sequence.gpu_s_cached += each_s
            sequence.energy_input_j += each_s * self.idle_watts

    def close(self, now_s: float) -> None:
        """Brings the account to ``now_s``, in mid-step too: the run ends here."""
        leap = self.leap
        if leap is None:
            self.rest(now_s)
            return
        k, part = position(leap, now_s)
        self._advance(k - self.k)
        self.meter.work(leap, k, part, now_s)

    def _advance(self, steps: int) -> list[Rank]:
        """Counts ``steps`` more steps; returns the ranks in which something came to an end."""
        self.k += steps
        self.step += steps
        return [rank for rank in self.ranks if rank.advance(steps)]

    def _account(self, leap: Leap, now_s: float) -> None:
        """Brings the account to the boundary at ``now_s``."""
        k = self.k
        if leap.k < k:
            meter = self.meter
            if now_s < meter.edge_s:
                meter.add_work(leap, k, 0.0, now_s)
            else:
                meter.work(leap, k, 0.0, now_s)

    def _join(self, rank: Rank) -> None:
        """Lets the sequences in whose KV has arrived."""
        self.touch()
        rank.settle(rank.batch.step)
        for sequence in rank.ready:
            rank.join(sequence)
        rank.ready.clear()

    def _boundary(self, now_s: float) -> None:
        leap = self.leap
        assert leap is not None
        self.now_s = now_s
        self._inside = True
        ranks = self.ranks
        changed = False
        ended = self._advance(self.target - self.k)
        if ended:
            changed = True
            self._account(leap, now_s)
            for rank in ended:
                self._end(rank, now_s)
        if self.has_doomed:
            self._cull(now_s)
            changed = True
        for rank in ranks:
            if rank.ready:
                self._join(rank)
                changed = True
            if rank.compose():
                changed = True
            if rank.unreserved.count:
                self.owner.room(rank, now_s)
        if changed or self._stale or self.k >= leap.segment.steps:
            self._plan(now_s)
        else:
            self._aim(leap)
        self._inside = False
        if self.phase == DRAINING and self.is_drained:
            self.owner.rested(self, now_s)

    def _cull(self, now_s: float) -> None:
        """Lets go of the sequences that are doomed.

        Of all ranks before any composes: who waits for that may come to a rank before.
        """
        self.has_doomed = False
        for rank in self.ranks:
            for sequence in cull(rank):
                self.owner.gone(sequence, rank, now_s)

    def _end(self, rank: Rank, now_s: float) -> None:
        """Lets the sequences of a rank go that came to an end at this boundary."""
        owner = self.owner
        batch = rank.batch
        rank.settle(batch.step)
        done = batch.finished() if batch.size else ()
        if rank.chunks:
            for sequence in rank.prefilled():
                owner.prefilled(sequence, now_s)
        for sequence in done:
            rank.leave(sequence)
            owner.finished(sequence, now_s)

    def _plan(self, now_s: float) -> None:
        """Plans the next leap from the ranks' state, or goes idle."""
        leap = self.leap
        if leap is not None:
            self._account(leap, now_s)
        self._stale = False
        shares: list[PrefillShare] = []
        busy = False
        size = 0
        steady = chunks = ENDLESS
        for rank in self.ranks:
            if fill(rank, shares):
                busy = True
                size += rank.work.decode
                if rank.steady < steady:
                    steady = rank.steady
                if rank.chunk_steps < chunks:
                    chunks = rank.chunk_steps
        self._size = size
        self._steady = steady
        self._middle = 0.5 * (min(chunks, steady) - 1) if 1 < chunks < ENDLESS else 0.0
        self._busy = busy
        self._held = False
        if not busy:
            self.leap = None
            self._idle_state = self._why_idle()
            if self.budget is not None:
                self._draws.clear()
                self.clock = min(self.budget.grant(now_s, self), self.nominal_clock)
            return
        self._shares = shares
        clock = self.clock
        if self.budget is not None:
            self._draws.clear()
            clock = min(self.budget.grant(now_s, self), self.nominal_clock)
            if not clock:
                self._held = True
                self.leap = None
                self._idle_state = STATE_PAUSED
                return
        self.leap = self._line(now_s, clock, 1.0)
        self._aim(self.leap)

    def _line(self, now_s: float, clock: float, rest: float) -> Leap:
        """The leap from now on at ``clock``, of which step 0 has the fraction ``rest`` to go."""
        self.clock = clock
        self._rest = rest
        segment = self.model.plan(self._works, clock, ENDLESS)
        if segment.steps > self._steady:
            segment.steps = self._steady
        if self.budget is None:
            watts = self._watts(segment, clock, self._middle)
        else:
            watts = self.watts_at(clock) / self.meter.gpus
        uncapped = 1.0
        if clock < self.nominal_clock:
            full = self.model.plan(self._works, self.nominal_clock, ENDLESS)
            uncapped = full.base_s / segment.base_s if segment.base_s else 1.0
        if rest < 1.0:
            segment = scaled(segment, rest)
        self.k = 0
        return Leap(
            segment, now_s, self.step, self._size, self._tenants, self._shares, watts, uncapped
        )

    def _aim(self, leap: Leap) -> None:
        """Sets the timer to the next boundary at which something can change."""
        ahead = 1
        if not self._stepwise:
            ahead = ENDLESS
            for rank in self.ranks:
                steps = rank.steps_ahead()
                if steps < ahead:
                    ahead = steps
        target = self.k + ahead
        segment = leap.segment
        if target > segment.steps:
            target = segment.steps
        self.target = target
        self.timer.set(leap.anchor_s + segment.elapsed(target))

    def _why_idle(self) -> int:
        if self.phase != ACTIVE:
            return _PHASE_STATES.get(self.phase, RELEASED)
        waiting = False
        for rank in self.ranks:
            if rank.fetching:
                return STATE_FETCH_CACHED
            if rank.incoming or (rank.outgoing and rank.waiting.count):
                return STATE_STALLED_TRANSFER
            if rank.waiting.count or rank.unreserved.count:
                waiting = True
        return STATE_IDLE_WAITING_WORK if waiting else STATE_IDLE

    def reconsider(self, now_s: float) -> None:
        """What an idle replica waits for may have changed."""
        if self.leap is None and not self._inside and not self._held:
            state = self._why_idle()
            if state != self._idle_state:
                self.rest(now_s)
                self._idle_state = state

    def enter(self, phase: int, now_s: float) -> None:
        """Enters a phase of its life."""
        if self.leap is None and not self._inside:
            self.rest(now_s)
        self.phase = phase
        self.idle_watts = self._bare_watts if phase in (OFF, GIVEN_BACK) else self._loaded_watts
        self._idle_state = self._why_idle()

    @property
    def is_drained(self) -> bool:
        """Whether it drains and no sequence is here, on its way here, or held for a transfer."""
        if self.phase != DRAINING:
            return False
        slots = self.ranks[0].slots
        return not any(slots.requests[rank.slot] for rank in self.ranks)

    # -- PowerLoad -----------------------------------------------------------------------------

    def watts_at(self, clock: float) -> float:
        """Draw of the whole replica at ``clock`` with the work it has, watts."""
        if self._held or not self._busy:
            return self.idle_watts * self.meter.gpus
        clock = min(clock, self.nominal_clock)
        watts = self._draws.get(clock)
        if watts is None:
            segment = self.model.plan(self._works, clock, ENDLESS)
            watts = self._draws[clock] = self._watts(segment, clock, self._middle)
        return watts * self.meter.gpus

    def resume(self, now_s: float) -> None:
        """Asks for power again, having waited for it."""
        self.poke(now_s)

    def set_clock(self, now_s: float, clock: float) -> None:
        """Runs at ``clock`` from now on; the rest of the step takes its remaining fraction."""
        clock = min(clock, self.nominal_clock)
        leap = self.leap
        if leap is None or clock == self.clock:
            self.clock = clock
            return
        if self._inside:
            self.clock = clock
            self._stale = True
            return
        boundary = self._next_boundary(leap, now_s)
        boundary_s = leap.anchor_s + leap.segment.elapsed(boundary)
        if boundary_s <= now_s:
            self.clock = clock
            self._stale = True
            self.target = boundary
            self.timer.set(boundary_s)
            return
        k, part = position(leap, now_s)
        self._advance(k - self.k)
        self.meter.work(leap, k, part, now_s)
        shares: list[PrefillShare] = []
        for rank in self.ranks:
            fill(rank, shares)
        self._shares = shares
        rest = (self._rest if k == 0 else 1.0) * (1.0 - part)
        self.leap = leap = self._line(now_s, clock, rest)
        self.target = 1
        self.timer.set(now_s + leap.segment.elapsed(1))
