"""A deployment: one model served by its pools, from a request's arrival to its row in the table.

arrive → router → rank.enqueue … prefilled → (decode router → reserve → transfer →) join … finished
→ row
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from math import isnan
from typing import Any

from factory.facility import Windows
from factory.records.codes import COMPLETED, IN_FLIGHT, REJECTED
from factory.serving.acceptance import Acceptance
from factory.serving.front_end import FrontEnd, step_s
from factory.serving.meter import (
    CACHED,
    FINISHED,
    GOOD,
    OFFERED,
    OUTPUT,
    OUTPUT_GOOD,
    REFUSED,
    TENANT_INPUT,
    TENANT_OUTPUT,
    TENANT_OUTPUT_GOOD,
)
from factory.serving.rank import Rank
from factory.serving.replica import Replica
from factory.serving.router import Router
from factory.serving.sequence import Sequence
from factory.serving.slots import Slots
from factory.serving.transfer import Fabric, Link
from factory.workload import Request

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """Limits of a tenant, seconds; infinite where there is none."""

    ttft_s: float
    itl_s: float
    e2e_s: float


@dataclass(frozen=True, slots=True)
class PoolSide:
    """One pool as its deployment sees it.

    Attributes:
        ranks: The rank of each slot.
        slots: The columns that its router reads.
        router: Chooses a slot.
        windows: Sums of the pool.
        links: Link of each replica towards the other pool, by run-unique number.
    """

    ranks: Seq[Rank]
    slots: Slots
    router: Router
    windows: Windows
    links: dict[int, Link]


class Deployment:
    """Takes requests in and sees them through (see the module).

    Args:
        entry: The pool that prefills.
        decode: The pool that decodes, if it is another one.
        prompt_limit: Prompt tokens that the entry pool can hold.
        model_len: Prompt and output tokens that a sequence may have.
        kv_bytes_per_token: KV of one token over all layers and GPUs of a replica, bytes.
        levels: Service level of each tenant of the run.
        priorities: Priority of each tenant of the run; higher goes first.
        tenants: Sums of each tenant of the run.
        write: Takes a finished row of `fact_requests`.
        left: Called as ``(request, now_s, outcome)`` when a request leaves.
        acceptance: How many decode steps answers take, if steps verify drafts.
        handover_steps: Steps of a decode replica that a sequence waits for after its KV came.
    """

    __slots__ = (
        "_acceptance",
        "_decode",
        "_edge_s",
        "_entry",
        "_handover_steps",
        "_kv_bytes",
        "_left",
        "_levels",
        "_model_len",
        "_pool_row",
        "_priorities",
        "_prompt_limit",
        "_tenant_rows",
        "_tenants",
        "_write",
        "completed",
        "fabric",
        "front_end",
        "inside",
    )

    def __init__(
        self,
        entry: PoolSide,
        decode: PoolSide | None,
        prompt_limit: int,
        model_len: int,
        kv_bytes_per_token: float,
        levels: Seq[ServiceLevel],
        priorities: Seq[int],
        tenants: Seq[Windows],
        write: Callable[[Row], None],
        left: Callable[[Request, float, int], None],
        acceptance: Acceptance | None = None,
        handover_steps: float = 0.0,
    ) -> None:
        self._acceptance = acceptance
        self._entry = entry
        self._decode = decode
        self._prompt_limit = prompt_limit
        self._model_len = model_len
        self._kv_bytes = kv_bytes_per_token
        self._levels = levels
        self._priorities = priorities
        self._tenants = tenants
        self._write = write
        self._left = left
        self._handover_steps = handover_steps
        self.fabric: Fabric | None = None
        self.front_end: FrontEnd | None = None
        self.inside: dict[Sequence, None] = {}
        self.completed = 0
        self._edge_s = 0.0
        self._turn(0.0)

    def _turn(self, now_s: float) -> None:
        """Finds the rows of the window that holds ``now_s``."""
        windows = (self._decode or self._entry).windows
        index = windows.index(now_s)
        self._pool_row = windows.row(index)
        self._tenant_rows = [tenant.row(index) for tenant in self._tenants]
        self._edge_s = (index + 1) * windows.window_s

    # -- a request's way -----------------------------------------------------------------------

    def arrive(self, request: Request, now_s: float) -> Replica | None:
        """Takes a request; returns the replica to poke, if any."""
        if now_s >= self._edge_s:
            self._turn(now_s)
        row = self._tenant_rows[request.tenant]
        row[OFFERED] += 1
        row[TENANT_INPUT] += request.input_tokens
        limit = self._model_len - request.input_tokens
        if limit > request.output_tokens:
            limit = request.output_tokens
        sequence = Sequence(request, limit, self._priorities[request.tenant])
        if limit < 1 or request.input_tokens > self._prompt_limit:
            row[REFUSED] += 1
            self._record(sequence, REJECTED, now_s)
            self._left(request, now_s, REJECTED)
            return None
        if self._acceptance is not None and limit > 1:
            sequence.steps = self._acceptance.steps(request.index, limit - 1)
        self.inside[sequence] = None
        if self.front_end is not None:
            self.front_end.hold(sequence, now_s)
            return None
        return self.enter(sequence)

    def enter(self, sequence: Sequence) -> Replica | None:
        """Routes a request to the pool that prefills; returns the replica to poke, if any."""
        request = sequence.request
        entry = self._entry
        ranks = entry.ranks
        if len(ranks) == 1:
            rank = ranks[0]
        else:
            rank = ranks[entry.router.choose(request.input_tokens, request.blocks, entry.slots)]
        replica = rank.replica
        if rank.enqueue(sequence) or replica.leap is None:
            return replica
        return None

    def prefilled(self, sequence: Sequence, now_s: float) -> None:
        """The prompt is computed, and with it the next token (see `replica.Owner`)."""
        rank = sequence.decode_rank or sequence.prefill_rank
        assert rank is not None
        first = isnan(sequence.prefill_end_s)
        decode = self._decode
        if first:
            sequence.prefill_end_s = now_s
            cached = sequence.request.input_tokens - sequence.computed_tokens
            sequence.first_cached = cached
            if cached:
                rank.replica.meter.add(CACHED, cached)
        if decode is None or sequence.decode_rank is not None or sequence.limit == 1:
            self._token(sequence, rank, now_s, first)
            return
        rank.admitted.pop(sequence, None)
        rank.outgoing += 1
        target = decode.ranks[decode.router.choose(sequence.request.input_tokens, (), decode.slots)]
        target.expect(sequence)
        target.queue(sequence)
        if target.unreserved[0] is sequence:
            self.room(target, now_s)
        target.replica.reconsider(now_s)

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

    def _send(self, sequence: Sequence, target: Rank, now_s: float) -> bool:
        if not target.reserve(sequence, now_s):
            return False
        source = sequence.prefill_rank
        decode = self._decode
        assert source is not None
        assert decode is not None
        assert self.fabric is not None
        sequence.transfer_start_s = now_s
        sequence.transfer_bytes = size = sequence.request.input_tokens * self._kv_bytes
        self.fabric.send(
            sequence,
            self._entry.links[source.replica.name],
            decode.links[target.replica.name],
            size,
            now_s,
            self._handover_steps * step_s(target.replica),
        )
        return True

    def arrived(self, sequence: Sequence, now_s: float) -> None:
        """The KV of a sequence is with its decode replica: the client gets its first token."""
        source = sequence.prefill_rank
        target = sequence.decode_rank
        assert source is not None
        assert target is not None
        sequence.transfer_s = now_s - sequence.transfer_start_s
        sequence.first_token_s = now_s
        sequence.generated = 1
        if now_s >= self._edge_s:
            self._turn(now_s)
        self._pool_row[OUTPUT] += 1
        self._tenant_rows[sequence.request.tenant][TENANT_OUTPUT] += 1
        source.handed_over(sequence)
        sequence.hit = 0
        target.incoming -= 1
        target.ready.append(sequence)
        target.replica.poke(now_s)
        if source.waiting:
            source.replica.poke(now_s)

    def finished(self, sequence: Sequence, now_s: float) -> None:
        """The sequence has all its tokens (see `replica.Owner`)."""
        rank = sequence.decode_rank or sequence.prefill_rank
        assert rank is not None
        self._complete(sequence, rank, now_s)

    def _complete(self, sequence: Sequence, rank: Rank, now_s: float) -> None:
        rank.forget(sequence)
        request = sequence.request
        level = self._levels[request.tenant]
        if now_s >= self._edge_s:
            self._turn(now_s)
        row = self._tenant_rows[request.tenant]
        row[FINISHED] += 1
        self.completed += 1
        tokens = sequence.limit
        first_s = sequence.first_token_s
        if (
            first_s - request.arrival_s <= level.ttft_s
            and now_s - request.arrival_s <= level.e2e_s
            and (tokens < 2 or (now_s - first_s) / (tokens - 1) <= level.itl_s)
        ):
            row[GOOD] += 1
            row[TENANT_OUTPUT_GOOD] += tokens
            if rank is sequence.prefill_rank and self._decode is not None:
                self._entry.windows.at(now_s)[OUTPUT_GOOD] += tokens
            else:
                self._pool_row[OUTPUT_GOOD] += tokens
        del self.inside[sequence]
        self._record(sequence, COMPLETED, now_s)
        self._left(request, now_s, COMPLETED)

    def room(self, rank: Rank, now_s: float) -> None:
        """Lets in what there is room for of the prefilled sequences that wait for a rank."""
        while rank.unreserved and self._send(rank.unreserved[0], rank, now_s):
            rank.unreserved.popleft()

    def close(self) -> None:
        """The run ends: what is still inside gets a row that says so."""
        for sequence in list(self.inside):
            rank = sequence.decode_rank or sequence.prefill_rank
            if rank is not None and sequence.ticket >= 0:
                rank.leave(sequence)
            self._record(sequence, IN_FLIGHT, float("nan"))

    def _record(self, sequence: Sequence, outcome: int, now_s: float) -> None:
        request = sequence.request
        prefill = sequence.prefill_rank
        decode = sequence.decode_rank
        if decode is None and self._decode is None:
            decode = prefill
        prefilled_s = sequence.prefill_end_s
        # Cached tokens count when the prompt is done, here as in the sums of the pool.
        cached = 0 if isnan(prefilled_s) else sequence.first_cached
        self._write(
            (
                request.index,
                request.root,
                request.attempt,
                request.session,
                request.turn,
                request.parent,
                request.deployment,
                request.tenant,
                -1 if prefill is None else prefill.replica.name,
                -1 if prefill is None else prefill.name,
                -1 if decode is None else decode.replica.name,
                -1 if decode is None else decode.name,
                outcome,
                request.arrival_s,
                sequence.prefill_start_s,
                prefilled_s,
                sequence.first_token_s,
                now_s,
                request.input_tokens,
                sequence.computed_tokens,
                sequence.recomputed_tokens,
                cached,
                request.output_tokens,
                sequence.generated,
                sequence.decode_steps,
                sequence.preemptions,
                int(sequence.transfer_bytes),
                sequence.transfer_s,
                sequence.gpu_s_computed,
                sequence.gpu_s_cached,
                sequence.gpu_s_output,
                sequence.energy_input_j,
                sequence.energy_output_j,
            )
        )
