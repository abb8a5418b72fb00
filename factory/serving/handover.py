"""From prefill to decode: who decodes a prompt, when there is room for it, and its KV's way there.

Late (``overlap: after``): when the prompt is computed, a decode rank is chosen; when that has room,
the KV leaves. Early (``by_layer``): a decode rank is chosen and its room taken before the prompt
goes to prefill at all, as Dynamo and vLLM's connectors do; the KV then leaves layer by layer while
the prompt is computed, and only the last layer's share follows.

Where decode has no room, sequences wait: computed ones go on holding what they have where they were
prefilled, and so prefill fills up in its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from factory.serving.accounts import Accounts
from factory.serving.fabric import Fabric
from factory.serving.front_end import step_s
from factory.serving.links import Flow, Path
from factory.serving.phases import ACTIVE
from factory.serving.pool_side import PoolSide
from factory.serving.rank import Rank
from factory.serving.replica import Replica
from factory.serving.residency import reserve, take_over
from factory.serving.sequence import (
    STAGE_HANDING,
    STAGE_MOVING,
    STAGE_READY,
    STAGE_RESERVING,
    Sequence,
)
from factory.serving.stands import Stand
from factory.serving.terms import Terms


class Handover:
    """Hands sequences of one deployment over (see the module).

    Args:
        decode: The pool that decodes.
        terms: What holds for every request of the deployment.
        accounts: Its books.
        fabric: What carries KV.
        paths: Its way between the GPUs of two ranks.
        prefill_s: Estimate of the seconds to prefill (new, cached) tokens.

    Attributes:
        enter: Called as ``(sequence, now_s)`` when room for a sequence is taken early; returns the
            replica to poke, if any.
        refuse: Called as ``(sequence, now_s)`` when the decode router turns one away.
        lacking: Called as ``(now_s)`` when no decode replica is up.
        freed: Called as ``(replica, now_s)`` when a prefill replica has let go of a sequence.
        pending: Sequences for which no decode replica is up.
        waiting: Sequences that wait for a decode replica, or for room in one.
    """

    __slots__ = (
        "_accounts", "_decode", "_fabric", "_paths", "_prefill_s", "_terms", "enter", "freed",
        "lacking", "pending", "refuse", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        decode: PoolSide,
        terms: Terms,
        accounts: Accounts,
        fabric: Fabric,
        paths: Callable[[Stand, Stand], Path],
        prefill_s: Callable[[int, int], float],
    ) -> None:
        self._decode = decode
        self._terms = terms
        self._accounts = accounts
        self._fabric = fabric
        self._paths = paths
        self._prefill_s = prefill_s
        self.enter: Callable[[Sequence, float], Replica | None]
        self.refuse: Callable[[Sequence, float], None]
        self.lacking: Callable[[float], None]
        self.freed: Callable[[Replica, float], None]
        self.pending: deque[Sequence] = deque()
        self.waiting = 0

    # -- who and when --------------------------------------------------------------------------

    def reserve(self, sequence: Sequence, now_s: float) -> None:
        """Seeks room for a sequence before it is prefilled."""
        sequence.stage = STAGE_RESERVING
        self.waiting += 1
        self._seek(sequence, now_s)

    def prefilled(self, sequence: Sequence, rank: Rank, now_s: float) -> None:
        """The prompt of a sequence has been computed on ``rank``."""
        rank.admitted.pop(sequence, None)
        rank.asked = True  # one who waits may be let in, now that this one is no longer counted
        rank.outgoing += 1
        target = sequence.target
        if target is None:
            sequence.stage = STAGE_HANDING
            self.waiting += 1
            self._seek(sequence, now_s)
            return
        assert sequence.flow is not None
        self._depart(sequence, target, now_s)
        self._fabric.computed(sequence.flow, now_s, self._wait_s(target))

    def _seek(self, sequence: Sequence, now_s: float) -> None:
        decode = self._decode
        if not decode.slots.live:
            self.pending.append(sequence)
            self.lacking(now_s)
            return
        target = sequence.meant
        if target is None or target.replica.phase != ACTIVE:
            target = decode.choose(sequence, now_s)
        if target is None:
            self.refuse(sequence, now_s)
            return
        sequence.target = target
        target.expect(sequence)
        target.unreserved.add(sequence, now_s)
        if target.unreserved.first() is sequence:
            self.room(target, now_s)
        target.replica.reconsider(now_s)

    def grown(self, now_s: float) -> None:
        """More replicas decode."""
        while self.pending and self._decode.slots.live:
            sequence = self.pending.popleft()
            if sequence.stage in (STAGE_HANDING, STAGE_RESERVING):
                self._seek(sequence, now_s)

    def room(self, rank: Rank, now_s: float) -> None:
        """Lets in what there is room for of the sequences that wait for a rank."""
        waiting = rank.unreserved
        while waiting.count:
            sequence = waiting.first()
            if not reserve(rank, sequence, now_s):
                return
            waiting.take()
            self.waiting -= 1
            if sequence.stage == STAGE_RESERVING:
                replica = self.enter(sequence, now_s)
                if replica is not None:
                    replica.poke(now_s)
            else:
                self._depart(sequence, rank, now_s)
                path, size = self._way(sequence, rank)
                wait_s = self._wait_s(rank)
                sequence.flow = self._fabric.send(sequence, path, size, now_s, wait_s)

    # -- the KV's way --------------------------------------------------------------------------

    def begun(self, sequence: Sequence, now_s: float) -> None:
        """The prompt of a sequence begins to be computed: its KV may leave as it comes."""
        if sequence.target is None:
            return
        if sequence.flow is not None:  # it was preempted, and begins anew
            self._fabric.cancel(sequence.flow, now_s)
        source = sequence.prefill_rank
        assert source is not None
        path, size = self._way(sequence, sequence.target)
        last = self._terms.last_bytes(min(sequence.left, source.limits.batched_tokens))
        expected_s = self._prefill_s(sequence.left, sequence.cached)
        sequence.flow = self._fabric.open(sequence, path, size, last, now_s, expected_s)

    def _way(self, sequence: Sequence, target: Rank) -> tuple[Path, float]:
        source = sequence.prefill_rank
        assert source is not None
        sequence.transfer_bytes = size = self._terms.kv_bytes(sequence.request.input_tokens)
        return self._paths(source.stand, target.stand), size

    def _wait_s(self, target: Rank) -> float:
        return self._terms.handover_steps * step_s(target.replica)

    def _depart(self, sequence: Sequence, target: Rank, now_s: float) -> None:
        """From here on a sequence belongs to the rank that decodes it."""
        take_over(target, sequence)
        sequence.stage = STAGE_MOVING
        sequence.transfer_start_s = now_s

    def arrived(self, sequence: Sequence, now_s: float) -> None:
        """The KV of a sequence is with its decode replica: the client gets its first token."""
        source = sequence.prefill_rank
        target = sequence.decode_rank
        assert source is not None
        assert target is not None
        sequence.flow = None
        sequence.transfer_s = now_s - sequence.transfer_start_s
        sequence.first_token_s = now_s
        sequence.generated = 1
        sequence.stage = STAGE_READY
        self._accounts.first_token(sequence, now_s)
        target.incoming -= 1
        target.ready.append(sequence)
        target.replica.poke(now_s)
        self._free_source(source, sequence, now_s)

    def _free_source(self, source: Rank, sequence: Sequence, now_s: float) -> None:
        """What a sequence held where it was prefilled is free."""
        source.handed_over(sequence, now_s)
        if source.waiting.count:
            source.replica.poke(now_s)
        self.freed(source.replica, now_s)

    # -- the way out ---------------------------------------------------------------------------

    def untie(self, sequence: Sequence, now_s: float) -> None:
        """The rank that was to decode a sequence is gone, and the room taken there before."""
        target = sequence.target
        assert target is not None
        if sequence.flow is not None:
            self._fabric.cancel(sequence.flow, now_s)
            sequence.flow = None
        target.give_back(sequence, now_s)
        sequence.target = None

    def drop(self, sequence: Sequence, now_s: float) -> None:
        """A sequence gives up what it has, or waits for, on the way between the pools."""
        target = sequence.target
        if target is None and sequence in self.pending:
            self.pending.remove(sequence)
        flow: Flow | None = sequence.flow
        if flow is not None:
            self._fabric.cancel(flow, now_s)
            sequence.flow = None
        if sequence.stage == STAGE_MOVING:
            source = sequence.prefill_rank
            assert source is not None
            assert target is not None
            target.incoming -= 1
            target.forget(sequence, now_s)
            self._free_source(source, sequence, now_s)
        elif sequence.stage == STAGE_HANDING:
            source = sequence.prefill_rank
            assert source is not None
            self.waiting -= 1
            if target is not None:
                target.unexpect(sequence)
            sequence.prefill_pinned = sequence.pinned
            sequence.prefill_private = sequence.private
            sequence.prefill_final = sequence.final
            self._free_source(source, sequence, now_s)
        elif sequence.stage == STAGE_RESERVING and (
            target is None or sequence not in target.admitted
        ):
            self.waiting -= 1
            if target is not None:
                target.unexpect(sequence)
        elif target is None or sequence.decode_rank is not None:
            return
        else:
            target.give_back(sequence, now_s)
        if target is not None:
            target.replica.poke(now_s)
            self.freed(target.replica, now_s)
