"""A deployment: one model served by its pools, from a request's arrival to its row in the table.

arrive → door → front end → router → rank.enqueue … prefilled → (decode router → reserve → transfer
→) join … finished → row. From anywhere on this way `abort` takes a request out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Seq
from math import inf, isnan, nan

from factory.kernel import Timer
from factory.records.codes import COMPLETED, FAILED, IN_FLIGHT, REJECTED, TIMED_OUT
from factory.serving.acceptance import Acceptance
from factory.serving.accounts import Accounts
from factory.serving.admission import ADMIT, AdmissionControl
from factory.serving.admission import REJECT as TURN_AWAY
from factory.serving.conditional import stays_local
from factory.serving.deadlines import END, FIRST_TOKEN, Deadlines
from factory.serving.fleet import Fleet, held_by, is_tied
from factory.serving.front_end import FrontEnd
from factory.serving.handover import Handover
from factory.serving.meter import CACHED
from factory.serving.owner import Draining
from factory.serving.pace import Pace
from factory.serving.phases import ACTIVE, DRAINING
from factory.serving.pool_side import PoolSide
from factory.serving.rank import Rank
from factory.serving.replica import Replica
from factory.serving.sequence import (
    STAGE_GONE,
    STAGE_HANDING,
    STAGE_HELD,
    STAGE_MOVING,
    STAGE_RESERVING,
    STAGE_WAITING,
    Sequence,
)
from factory.serving.terms import Client, Terms
from factory.workload import Request


class Deployment:
    """Takes requests in and sees them through (see the module).

    Args:
        entry: The pool that prefills.
        decode: The pool that decodes, if it is another one.
        terms: What holds for every request.
        clients: What is known of each tenant of the run.
        accounts: Its books.
        left: Called as ``(request, now_s, outcome)`` when a request leaves.
        acceptance: How many decode steps answers take, if steps verify drafts.
        handover: What lies between the pools, where they are two.

    Attributes:
        front_end: What lies before the router, if that takes time.
        door: Who may enter, if not everybody.
        opener: Calls `wake` for those whom the door holds.
        deadlines: Time-outs, if clients have any.
        fleets: The pools that are scaled.
        machines: What failures and planned work hold, by replica; see `outages`.
        emptied: Called when nobody is inside any more.
        barred: Tenants that are turned away for now.
        expects: Whether requests may come that are not inside.
        inside: Requests that have arrived and not left.
    """

    __slots__ = (
        "_acceptance", "_clients", "_decode", "_entry", "_handover", "_left", "_pace", "_pending",
        "_terms", "accounts", "barred", "deadlines", "door", "emptied", "expects", "fleets",
        "front_end", "inside", "machines", "opener",
    )  # fmt: skip

    def __init__(
        self,
        entry: PoolSide,
        decode: PoolSide | None,
        terms: Terms,
        clients: Seq[Client],
        accounts: Accounts,
        left: Callable[[Request, float, int], None],
        acceptance: Acceptance | None = None,
        handover: Handover | None = None,
    ) -> None:
        self._handover = handover
        if handover is not None:
            handover.enter = self._prefill
            handover.refuse = self._refused
            handover.lacking = self._lacking
            handover.freed = self._look_at
        self._acceptance = acceptance
        self._entry = entry
        self._decode = decode
        self._terms = terms
        self._clients = clients
        self._left = left
        # Requests for which no replica is up.
        self._pending: deque[Sequence] = deque()
        self._pace = Pace()
        self.accounts = accounts
        self.front_end: FrontEnd | None = None
        self.door: AdmissionControl | None = None
        self.opener: Timer | None = None
        self.deadlines: Deadlines | None = None
        self.fleets: list[Fleet] = []
        self.machines: dict[Replica, Draining] = {}
        self.emptied: list[Callable[[], None]] = []
        self.barred: frozenset[int] = frozenset()
        self.expects: Callable[[], bool] = bool
        self.inside: dict[Sequence, None] = {}

    @property
    def completed(self) -> int:
        """Requests completed so far."""
        return self.accounts.completed

    @property
    def waiting(self) -> int:
        """Requests inside that wait: for a replica, to be admitted to a batch, or for decode."""
        waiting = self._entry.slots.queued + len(self._pending)
        if self._decode is not None:
            waiting += self._decode.slots.queued
        return waiting if self._handover is None else waiting + self._handover.waiting

    @property
    def longest_prompt_tokens(self) -> int:
        """Prompts above this are rejected, tokens: an answer needs one token of the context."""
        return min(self._terms.prompt_limit, self._terms.model_len - 1)

    # -- the way in ----------------------------------------------------------------------------

    def arrive(self, request: Request, now_s: float) -> Replica | None:
        """Takes a request; returns the replica to poke, if any."""
        self.accounts.arrived(request, now_s)
        terms = self._terms
        client = self._clients[request.tenant]
        room = terms.model_len - request.input_tokens
        declared = min(request.max_tokens or request.output_tokens, room)
        limit = min(request.output_tokens, declared)
        sequence = Sequence(request, limit, client.priority, declared)
        if limit < 1 or request.input_tokens > terms.prompt_limit or request.tenant in self.barred:
            self._turn_away(sequence, now_s)
            return None
        if self._acceptance is not None and limit > 1:
            sequence.steps = self._acceptance.steps(request.index, limit - 1)
        self.inside[sequence] = None
        for fleet in self.fleets:
            fleet.came(request.input_tokens, now_s)
        door = self.door
        if door is not None:
            waiting = self.waiting
            predicted_s = 0.0
            if door.predicts:
                predicted_s = self._entry.predicted_ttft_s(
                    request,
                    self._pace.share_ahead(client.priority),
                    self._pace.wait_s(client.priority),
                )
            answer = door.decide(request.tenant, request.input_tokens, now_s, waiting, predicted_s)
            if answer == TURN_AWAY:
                del self.inside[sequence]
                self._turn_away(sequence, now_s)
                return None
            sequence.is_counted = answer == ADMIT
        if self.deadlines is not None:
            if client.ttft_timeout_s < inf:
                self.deadlines.watch(sequence, now_s + client.ttft_timeout_s, FIRST_TOKEN)
            if client.timeout_s < inf:
                self.deadlines.watch(sequence, now_s + client.timeout_s, END)
        if door is not None and not sequence.is_counted:
            door.hold(sequence)
            return None
        if self.front_end is not None:
            self.front_end.hold(sequence, now_s)
            return None
        return self.enter(sequence, now_s)

    def _refused(self, sequence: Sequence, now_s: float) -> None:
        """The decode router turns a request away."""
        self._out(sequence, REJECTED, now_s)

    def _turn_away(self, sequence: Sequence, now_s: float) -> None:
        sequence.stage = STAGE_GONE
        self.accounts.unserved(sequence.request, REJECTED, now_s)
        self.accounts.record(sequence, REJECTED, now_s, self._decode is not None)
        self._left(sequence.request, now_s, REJECTED)

    def _pass(self, sequence: Sequence, now_s: float) -> Replica | None:
        """Lets a request through the door."""
        if self.front_end is not None:
            self.front_end.hold(sequence, now_s)
            return None
        return self.enter(sequence, now_s)

    def enter(self, sequence: Sequence, now_s: float) -> Replica | None:
        """Routes a request to the pool that prefills; returns the replica to poke, if any."""
        if sequence.stage == STAGE_GONE:
            return None
        if self._terms.local is not None and sequence.target is None:
            rank = self._local(sequence, now_s)
            if rank is not None:
                return self._queue(rank, sequence, now_s)
        if self._terms.is_early and sequence.target is None and sequence.limit > 1:
            assert self._handover is not None
            self._handover.reserve(sequence, now_s)
            return None
        return self._prefill(sequence, now_s)

    def _prefill(self, sequence: Sequence, now_s: float) -> Replica | None:
        """Sends a request to the pool that prefills; returns the replica to poke, if any."""
        entry = self._entry
        sequence.stage = STAGE_HELD
        if not entry.slots.live:
            self._pending.append(sequence)
            self._lacking(now_s)
            return None
        rank = entry.choose(sequence, now_s)
        if rank is None:
            self._out(sequence, REJECTED, now_s)
            return None
        return self._queue(rank, sequence, now_s)

    def _queue(self, rank: Rank, sequence: Sequence, now_s: float) -> Replica | None:
        """Queues a sequence at a rank; returns its replica if that is to look now or soon."""
        if rank.is_watched:
            self._pace.came(sequence.priority)
        replica = rank.replica
        if rank.enqueue(sequence, now_s) or replica.leap is None:
            return replica
        return None

    def _lacking(self, now_s: float) -> None:
        """A request finds no replica up that it needs."""
        for fleet in self.fleets:
            fleet.waits(now_s)

    def _local(self, sequence: Sequence, now_s: float) -> Rank | None:
        """The rank that decodes a request, if it is to prefill it too."""
        decode = self._decode
        assert decode is not None
        assert self._terms.local is not None
        if not decode.slots.live:
            return None
        sequence.meant = rank = decode.choose(sequence, now_s)
        if rank is None:
            return None
        request = sequence.request
        hit = rank.cache.match(request.blocks) * rank.limits.block_size if request.blocks else 0
        uncached = max(request.input_tokens - hit, 0)
        queued = self._entry.slots.queued
        if not stays_local(uncached, request.input_tokens, queued, self._terms.local):
            return None
        sequence.decode_rank = rank
        return rank

    def wake(self, now_s: float) -> None:
        """Replicas have come up, or somebody left: lets in who waits for that."""
        woken: dict[Replica, None] = {}
        pending = self._pending
        while pending and self._entry.slots.live:
            sequence = pending.popleft()
            if sequence.stage != STAGE_GONE:
                replica = self._prefill(sequence, now_s)
                if replica is not None:
                    woken[replica] = None
        if self._handover is not None:
            self._handover.grown(now_s)
        door = self.door
        while door is not None:
            released = door.release(self.waiting)
            if released is None:
                break
            released.is_counted = True
            replica = self._pass(released, now_s)
            if replica is not None:
                woken[replica] = None
        for replica in woken:
            replica.poke(now_s)

    # -- from prefill to decode ----------------------------------------------------------------

    def prefilled(self, sequence: Sequence, now_s: float) -> None:
        """The prompt is computed, and with it the next token (see `owner.Owner`)."""
        rank = sequence.decode_rank or sequence.prefill_rank
        assert rank is not None
        first = isnan(sequence.prefill_end_s)
        if first:
            sequence.prefill_end_s = now_s
            cached = sequence.request.input_tokens - sequence.computed_tokens
            sequence.first_cached = cached
            if cached:
                rank.replica.meter.add(CACHED, cached)
            for fleet in self.fleets:
                fleet.computed(sequence.request.input_tokens, cached)
        if self._handover is None or sequence.decode_rank is not None or sequence.limit == 1:
            self._token(sequence, rank, now_s, first)
            return
        if sequence.doomed < 0:
            self._handover.prefilled(sequence, rank, now_s)

    def admitted(self, sequence: Sequence, now_s: float) -> None:
        """A request that waited has been let into a batch (see `owner.Owner`)."""
        self._pace.admitted(sequence.priority, now_s)
        if self._entry.slots.queued:
            return
        if self.door is not None and self.door.held and self.opener is not None:
            self.opener.set(now_s)

    def begun(self, sequence: Sequence, rank: Rank, now_s: float) -> None:  # noqa: ARG002
        """The next step is the first of a prompt (see `owner.Owner`)."""
        if self._handover is not None:
            self._handover.begun(sequence, now_s)

    def room(self, rank: Rank, now_s: float) -> None:
        """A rank for which sequences wait has been through a boundary (see `owner.Owner`)."""
        if self._handover is not None:
            self._handover.room(rank, now_s)

    def arrived(self, sequence: Sequence, now_s: float) -> None:
        """The KV of a sequence is where it decodes."""
        if self._handover is not None:
            self._handover.arrived(sequence, now_s)

    def _token(self, sequence: Sequence, rank: Rank, now_s: float, first: bool) -> None:
        """A prefill gave a token where the sequence goes on."""
        sequence.generated += 1
        rank.replica.meter.delivered(sequence.request.tenant)
        if first:
            sequence.first_token_s = now_s
        if sequence.generated >= sequence.limit:
            self._complete(sequence, rank, now_s)
        else:
            rank.join(sequence)

    def _look_at(self, replica: Replica, now_s: float) -> None:
        if replica.is_drained:
            self.rested(replica, now_s)

    def rested(self, replica: Replica, now_s: float) -> None:
        """A draining replica has nothing left to do (see `owner.Owner`)."""
        machine = self.machines.get(replica)
        if machine is not None and machine.drains:
            machine.rested(now_s)
            return
        for fleet in self.fleets:
            if fleet.owns(replica):
                fleet.rested(replica, now_s)

    def unplaced(self) -> int:
        """Requests that wait because no replica is up."""
        prefilled = 0 if self._handover is None else len(self._handover.pending)
        return len(self._pending) + prefilled

    def lose(self, replica: Replica, now_s: float) -> None:
        """A replica is given up with what it still has: at its next boundary, or now if it halted.

        A request that computes its prompt elsewhere, and had room here to decode, fails too.
        """
        halted = replica.leap is None and replica.phase not in (ACTIVE, DRAINING)
        for sequence in held_by(replica, list(self.inside)):
            if halted and is_tied(sequence, replica):
                assert self._handover is not None
                self._handover.untie(sequence, now_s)
            self.abort(sequence, FAILED, now_s)
        if halted:
            replica.cull(now_s)

    def open(self) -> None:
        """The run begins: autoscalers look before anybody comes."""
        for fleet in self.fleets:
            fleet.scaler.wake(0.0)

    def grown(self, now_s: float) -> None:
        """More replicas serve."""
        if self.door is not None:
            self.size_door(self.door)
        self.wake(now_s)

    def size_door(self, door: AdmissionControl) -> None:
        """Tells the door what the replicas that are up hold."""
        door.resize(self._entry.replicas_up(), *(self._decode or self._entry).room_up())

    # -- the way out ---------------------------------------------------------------------------

    def finished(self, sequence: Sequence, now_s: float) -> None:
        """The sequence has all its tokens (see `owner.Owner`)."""
        rank = sequence.decode_rank or sequence.prefill_rank
        assert rank is not None
        self._complete(sequence, rank, now_s)

    def _complete(self, sequence: Sequence, rank: Rank, now_s: float) -> None:
        rank.forget(sequence, now_s)
        if sequence.doomed >= 0:  # its client has given up since the last boundary
            self._out(sequence, sequence.doomed, now_s)
            return
        elsewhere = None
        if self._decode is not None and sequence.decode_rank is None:
            elsewhere = self._entry.windows
        self.accounts.finished(sequence, elsewhere, now_s)
        for fleet in self.fleets:
            fleet.answered(sequence.generated)
        self._close(sequence, COMPLETED, now_s)
        if self._terms.is_fair:
            self._served(sequence, now_s)

    def _served(self, sequence: Sequence, now_s: float) -> None:
        """A sequence that was served leaves: the queue it came from may count that."""
        source = sequence.prefill_rank
        if source is not None and source.waiting.served(
            sequence.request.tenant, sequence.generated
        ):
            source.asked = True
            source.replica.poke(now_s)

    def _close(self, sequence: Sequence, outcome: int, now_s: float) -> None:
        """A request leaves: its row is written, and who waits for that is told."""
        sequence.stage = STAGE_GONE
        del self.inside[sequence]
        request = sequence.request
        self.accounts.record(sequence, outcome, now_s, self._decode is not None)
        door = self.door
        if door is not None and sequence.is_counted:
            door.left(request.tenant, request.input_tokens, sequence.generated, now_s)
        self._left(request, now_s, outcome)
        if door is not None and door.held:
            self.wake(now_s)
        if not self.inside:
            self._rest()

    def _rest(self) -> None:
        """Nothing is inside: no timer shall keep the run alive."""
        if self.deadlines is not None:
            self.deadlines.rest()
        if self.fleets and not self.expects():
            for fleet in self.fleets:
                fleet.rest()
        for told in self.emptied:
            told()

    def _out(self, sequence: Sequence, outcome: int, now_s: float) -> None:
        """A request leaves without its answer."""
        if self._handover is not None:
            self._handover.drop(sequence, now_s)
        self.accounts.unserved(sequence.request, outcome, now_s)
        self._close(sequence, outcome, now_s)
        if sequence.generated and self._terms.is_fair:
            self._served(sequence, now_s)

    def expired(self, sequence: Sequence, now_s: float) -> None:
        """A client has given up."""
        self.abort(sequence, TIMED_OUT, now_s)

    def abort(self, sequence: Sequence, outcome: int, now_s: float) -> None:
        """Takes a request out, wherever it is; one that runs leaves at the next step boundary."""
        stage = sequence.stage
        source = sequence.prefill_rank
        rank = sequence.decode_rank or source
        if stage == STAGE_HELD:
            if self.door is not None and not sequence.is_counted:
                self.door.abandon(sequence)
            elif sequence in self._pending:
                self._pending.remove(sequence)
            self._out(sequence, outcome, now_s)
        elif stage == STAGE_WAITING:
            assert rank is not None
            rank.withdraw(sequence)
            if rank.is_watched:
                self._pace.left(sequence.priority)
            self._out(sequence, outcome, now_s)
            self._look_at(rank.replica, now_s)
            if rank.waiting.count or rank.unreserved.count:
                rank.asked = True
                rank.replica.poke(now_s)
            else:
                rank.replica.reconsider(now_s)
        elif stage in (STAGE_HANDING, STAGE_MOVING, STAGE_RESERVING):
            self._out(sequence, outcome, now_s)
        elif sequence.doomed < 0:
            assert rank is not None
            sequence.doomed = outcome
            rank.doomed.append(sequence)
            rank.replica.has_doomed = True
            rank.replica.poke(now_s)

    def gone(self, sequence: Sequence, rank: Rank, now_s: float) -> None:  # noqa: ARG002
        """A doomed sequence has left its rank (see `owner.Owner`)."""
        self._out(sequence, sequence.doomed, now_s)

    def close(self) -> None:
        """The run ends: what is still inside gets a row that says so."""
        for sequence in list(self.inside):
            rank = sequence.decode_rank or sequence.prefill_rank
            if rank is not None and sequence.ticket >= 0:
                rank.leave(sequence)
            self.accounts.record(sequence, IN_FLIGHT, nan, self._decode is not None)
