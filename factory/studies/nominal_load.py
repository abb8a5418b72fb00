"""Load without step times: what a router sees of the workers in a study of caches alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from factory.errors import InputError
from factory.serving.slots import Slots

#: How much faster KV is copied than computed, nominally: a 70B model with grouped queries keeps
#: 160 KiB of KV per token in FP8, so a link of 64 GB/s (Dynamo's figure between nodes) moves
#: 390,000 tokens/s, where the defaults below prefill 12,000.
COPY_SPEED = 32.0


@dataclass(frozen=True, slots=True)
class NominalLoad:
    """How long a request counts on the worker it was sent to.

    A study of caches has no step times, yet most routers weigh a cached prefix against load. So
    every request counts from its arrival for one and the same residence, whatever its length and
    whatever else its worker does: as one of the worker's requests and with its whole prompt as KV
    in use. For a shorter part of that, its prefill, it counts as waiting and with the prompt tokens
    that its worker did not hold. Number and tokens of what came last are what real signals follow
    as long as no worker is overloaded; a nominal time has no queue, so a worker that gets too much
    looks as busy as it should but never falls behind. Nothing more exact is possible without the
    step times that `factory run` has.

    The defaults are those of a long-context chat (Mooncake's conversation trace: 12,035 prompt
    tokens, 343 answered): 1 s at 12,000 tokens/s for the prompt, 9 s at 26 ms a token for the
    answer. With them Dynamo's cost (`kv_cost`) comes within 0.7 points of reference hit ratios on
    that trace with 4, 8 and 16 workers; with twice the residence up to 2 points lower,
    because load then outweighs prefixes more. Where a router asks how long a prefill takes, a
    prompt of the trace's mean length takes `prefill_s`, others in proportion, and KV is copied
    `COPY_SPEED` times faster.

    Attributes:
        residence_s: Seconds a request counts.
        prefill_s: Seconds of these that it counts as waiting and to be computed.
    """

    residence_s: float = 10.0
    prefill_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.prefill_s <= self.residence_s < float("inf"):
            raise InputError(
                "nominal load: the prefill must be >= 0 s and within the residence, got prefill "
                f"{self.prefill_s:g} s, residence {self.residence_s:g} s"
            )


class LoadedSlots:
    """The columns of `Slots`, as requests come and their nominal times pass.

    Attributes:
        slots: What routers see.
        now_s: The time it has come to, seconds.
    """

    __slots__ = ("_leaving", "_load", "_prefilling", "now_s", "slots")

    def __init__(self, slots: Slots, load: NominalLoad) -> None:
        self.slots = slots
        self.now_s = 0.0
        self._load = load
        # All stay equally long, so the first to come is the first to leave: (time, slot, tokens).
        self._prefilling: deque[tuple[float, int, int]] = deque()
        self._leaving: deque[tuple[float, int, int]] = deque()

    def advance(self, now_s: float) -> None:
        """Takes out what no longer counts at a time; times do not fall."""
        self.now_s = now_s
        slots = self.slots
        prefilling, leaving = self._prefilling, self._leaving
        while prefilling and prefilling[0][0] <= now_s:
            _, slot, tokens = prefilling.popleft()
            slots.waiting[slot] -= 1
            slots.prefill_tokens[slot] -= tokens
        while leaving and leaving[0][0] <= now_s:
            _, slot, tokens = leaving.popleft()
            slots.requests[slot] -= 1
            slots.kv_tokens[slot] -= tokens

    def enter(self, slot: int, input_tokens: int, new_tokens: int) -> None:
        """Counts a request that arrives now.

        Args:
            slot: Where it was sent.
            input_tokens: Length of its prompt, tokens.
            new_tokens: Of these, the tokens that must be computed.
        """
        slots, load, now_s = self.slots, self._load, self.now_s
        slots.waiting[slot] += 1
        slots.prefill_tokens[slot] += new_tokens
        self._prefilling.append((now_s + load.prefill_s, slot, new_tokens))
        slots.requests[slot] += 1
        slots.kv_tokens[slot] += input_tokens
        self._leaving.append((now_s + load.residence_s, slot, input_tokens))
