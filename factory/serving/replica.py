"""One model instance: its ranks in lock-step, its clock, its timer.

A replica schedules one event per leap. At a boundary it applies the steps that are done, lets
sequences end and join, asks every rank what runs next, and plans anew only if something changed:
otherwise the line and its anchor stay, so that boundaries are the same numbers however often a leap
is interrupted, and the step engine (``stepwise``) hits the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from factory.facility import Feed
from factory.kernel import CLASS_STEP, Kernel
from factory.performance import Segment, StepModel
from factory.records.codes import (
    STATE_FETCH_CACHED,
    STATE_IDLE,
    STATE_PAUSED,
)
from factory.serving.batch import ENDLESS
from factory.serving.draws import Draws
from factory.serving.idleness import rest_fetching, why_idle
from factory.serving.leap import Leap, PrefillShare, begun_at, position
from factory.serving.meter import Meter
from factory.serving.owner import Owner
from factory.serving.phases import ACTIVE, DRAINING, FAILED, GIVEN_BACK, LOADED, STATES
from factory.serving.rank import Rank
from factory.serving.residency import cull
from factory.serving.step_work import fill


class Replica:
    """One model instance (see the module).

    Args:
        kernel: The environment.
        name: Run-unique number of the replica.
        ranks: Its ranks.
        model: How long steps take.
        meter: Its account.
        feed: Where it draws its power.
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
    """

    __slots__ = (
        "_bare_watts", "_busy", "_draws", "_held", "_idle_state", "_inside", "_kernel", "_left",
        "_loaded_watts", "_shares", "_size", "_stale", "_steady",
        "_stepwise", "_tenants", "clock", "feed", "has_doomed", "idle_watts",
        "k", "leap", "meter", "name", "nominal_clock", "now_s", "owner", "phase", "ranks",
        "step", "target", "timer",
    )  # fmt: skip

    def __init__(
        self, kernel: Kernel, name: int, ranks: list[Rank], model: StepModel, meter: Meter,
        feed: Feed, watts: Callable[[Segment, float, float], float], idle_watts: float,
        bare_watts: float, clock: float, stepwise: bool,
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self.name = name
        self.ranks = ranks
        self.meter = meter
        self.clock = clock
        self.nominal_clock = clock
        self.idle_watts = idle_watts
        self.phase = ACTIVE
        self.has_doomed = False
        self._loaded_watts = idle_watts
        self._bare_watts = bare_watts
        self.owner: Owner
        self.feed = feed
        self.timer = kernel.timer(CLASS_STEP, name, self._boundary)
        self.leap: Leap | None = None
        self.k = self.step = self.target = 0
        self.now_s = 0.0
        self._draws = Draws(model, [rank.work for rank in ranks], watts, meter.gpus)
        # What was planned last: its shares and sizes, and for how many steps its draw holds.
        self._shares: list[PrefillShare] = []
        self._tenants: dict[int, int] = {}
        self._size = 0
        self._stepwise = stepwise
        self._inside = self._stale = False
        self._steady = ENDLESS
        self._idle_state = STATE_IDLE
        self._busy = self._held = False
        # What is to be done of a step in the middle of which it was suspended.
        self._left = 0.0
        for rank in ranks:
            rank.replica = self
        feed.load = self
        feed.draw(0.0, idle_watts * meter.gpus)

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
        if self._inside or self._left or self.phase >= FAILED:
            return
        leap = self.leap
        if leap is None:
            self.rest(now_s)
            self.now_s = now_s
            self._inside = True
            self._compose(now_s)
            self._plan(now_s)
            self._step_out(now_s)
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
        if self.leap is not None:
            self._account(self.leap, self.now_s)

    def rest(self, now_s: float) -> None:
        """Brings the account of an idle replica to ``now_s``; who is fetched for pays for that."""
        if self._idle_state != STATE_FETCH_CACHED:
            self.meter.rest(now_s, self._idle_state, self.idle_watts)
        else:
            rest_fetching(self.meter, self.ranks, now_s, self.idle_watts)

    def close(self, now_s: float) -> None:
        """Brings the account to ``now_s``, in mid-step too: the run ends here."""
        leap = self.leap
        if leap is None:
            self.rest(now_s)
        else:
            self._interrupt(leap, now_s)

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
        changed = False
        ended = self._advance(self.target - self.k)
        if ended:
            changed = True
            self._account(leap, now_s)
            for rank in ended:
                self._end(rank, now_s)
        if self._compose(now_s):
            changed = True
        if changed or self._stale or self.k >= leap.segment.steps:
            self._plan(now_s)
        else:
            self._aim(leap)
        self._step_out(now_s)

    def _compose(self, now_s: float) -> bool:
        """Lets in who is ready and asks each rank what runs next; says whether that is new."""
        changed = self.has_doomed
        if changed:
            self.cull(now_s)
        for rank in self.ranks:
            if rank.ready:
                self._join(rank)
                changed = True
            if rank.compose():
                changed = True
            if rank.unreserved.count:
                self.owner.room(rank, now_s)
        return changed

    def _step_out(self, now_s: float) -> None:
        """Leaves a boundary."""
        self._inside = False
        if self.phase == DRAINING and self.is_drained:
            self.owner.rested(self, now_s)

    def cull(self, now_s: float) -> None:
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
        self._draws.middle = self._gather()
        self._held = False
        if not self._busy:
            self.leap = None
            self._idle_state = self._why_idle()
            self._draw_idle(now_s)
            return
        clock = self.clock
        feed = self.feed
        if feed.is_controlled:
            self._draws.forget()
            clock = min(feed.grant(now_s), self.nominal_clock)
            if not clock:
                self._hold(now_s)
                return
        self._begin(now_s, clock, 0.0)

    def _gather(self) -> float:
        """Takes what the next steps do; returns the one whose draw is taken for all of them."""
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
        self._busy = busy
        self._size = size
        self._steady = steady
        self._shares = shares
        return 0.5 * (min(chunks, steady) - 1) if 1 < chunks < ENDLESS else 0.0

    def _begin(self, now_s: float, clock: float, part: float, most: int = ENDLESS) -> None:
        """Goes on at ``clock`` with a step of which the fraction ``part`` is done.

        It looks again after ``most`` steps, if not before.
        """
        self.clock = clock
        draws = self._draws
        segment = draws.line(clock)
        if segment.steps > self._steady:
            segment.steps = self._steady
        feed = self.feed
        drawn = draws.at(clock) if feed.is_controlled else draws.of(segment, clock)
        feed.draw(now_s, drawn)
        uncapped = 1.0
        if clock < self.nominal_clock and segment.base_s:
            full_s = segment.full_base_s
            if self.nominal_clock != 1.0:
                full_s = draws.line(self.nominal_clock).base_s
            uncapped = full_s / segment.base_s
        self.k = 0
        self.leap = leap = Leap(
            segment, begun_at(segment, now_s, part), self.step, self._size, self._tenants,
            self._shares, drawn / self.meter.gpus, uncapped, part,
        )  # fmt: skip
        self._aim(leap, most)

    def _aim(self, leap: Leap, most: int = ENDLESS) -> None:
        """Sets the timer to the next boundary at which something can change."""
        ahead = 1
        if not self._stepwise:
            ahead = most
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

    def _hold(self, now_s: float) -> None:
        """It has work and no power for it."""
        self._held = True
        self.leap = None
        self._idle_state = STATE_PAUSED
        self.feed.draw(now_s, self.idle_watts * self.meter.gpus)

    def _why_idle(self) -> int:
        if self._held:
            return STATE_PAUSED
        if self.phase != ACTIVE:
            return STATES[self.phase]
        return why_idle(self.ranks)

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
        given = phase == GIVEN_BACK
        if given is not (self.phase == GIVEN_BACK):
            self.feed.released(now_s, given=given)
        self.phase = phase
        idle_watts = self._loaded_watts if phase in LOADED else self._bare_watts
        self._rests_at(now_s, 0.0 if given else idle_watts)
        self._idle_state = self._why_idle()

    def halt(self, now_s: float, phase: int, watts: float) -> None:
        """Stops at once and loses the step in progress; `enter` begins its life anew.

        Its sequences are still there: who halts it takes them out. Each of its GPUs draws
        ``watts`` from now on.
        """
        self.close(now_s)
        self.leap = None
        self.timer.due = inf
        self._left = 0.0
        self._held = self._busy = False
        self.phase = phase
        self._rests_at(now_s, watts)
        self._idle_state = self._why_idle()

    def _rests_at(self, now_s: float, watts: float) -> None:
        """Draws so much per GPU whenever it does nothing."""
        self.idle_watts = watts
        if self.leap is None and not self._inside:
            self._draw_idle(now_s)

    def _draw_idle(self, now_s: float) -> None:
        """Does nothing from now on; what it no longer draws, others may have."""
        feed = self.feed
        if feed.is_controlled:
            self._draws.forget()
            feed.grant(now_s)
        feed.draw(now_s, self.idle_watts * self.meter.gpus)

    @property
    def is_drained(self) -> bool:
        """Whether it drains and no sequence is here, on its way here, or held for a transfer."""
        slots = self.ranks[0].slots
        return self.phase == DRAINING and not any(slots.requests[rank.slot] for rank in self.ranks)

    def watts_at(self, clock: float) -> float:
        """Draw of the whole replica at ``clock`` with the work it has, watts."""
        if self._held or not self._busy or not clock:
            return self.idle_watts * self.meter.gpus
        return self._draws.at(min(clock, self.nominal_clock))

    def resume(self, now_s: float) -> None:
        """Asks for power again, having waited for it."""
        left = self._left
        if not left:
            self.poke(now_s)
            return
        self.rest(now_s)
        self._held = False
        self._draws.forget()
        self._gather()
        clock = min(self.feed.grant(now_s), self.nominal_clock)
        if not clock:
            self._hold(now_s)
            return
        self._left = 0.0
        self._begin(now_s, clock, 1.0 - left, 1)

    def suspend(self, now_s: float) -> None:
        """Stops in mid-step and draws what it draws idle, until it is resumed."""
        leap = self.leap
        if leap is None or self._inside or self._at_boundary(leap, now_s):
            return
        self._left = 1.0 - self._interrupt(leap, now_s) or 1e-9
        self.timer.due = inf
        self._hold(now_s)

    def _at_boundary(self, leap: Leap, now_s: float) -> bool:
        """Whether a boundary is due at this very instant: then it plans anew there."""
        boundary = self._next_boundary(leap, now_s)
        boundary_s = leap.anchor_s + leap.segment.elapsed(boundary)
        if boundary_s > now_s:
            return False
        self._stale = True
        self.target = boundary
        self.timer.set(boundary_s)
        return True

    def set_clock(self, now_s: float, clock: float) -> None:
        """Runs at ``clock`` from now on; the rest of the step takes its remaining fraction."""
        clock = min(clock, self.nominal_clock)
        leap = self.leap
        if leap is None or clock == self.clock:
            self.clock = clock
            return
        if self._inside or self._at_boundary(leap, now_s):
            self.clock = clock
            self._stale = True
            return
        part = self._interrupt(leap, now_s)
        self._draws.moved()
        self._gather()
        self._begin(now_s, clock, part, self.target - self.k)

    def _interrupt(self, leap: Leap, now_s: float) -> float:
        """Brings the account to the middle of a step; returns the fraction of it that is done."""
        k, part = position(leap, now_s)
        steps = k - self.k
        self._advance(steps)
        for rank in self.ranks:
            if rank.chunks:
                rank.chunk_steps -= steps
        self.meter.work(leap, k, part, now_s)
        return part
