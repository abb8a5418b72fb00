"""What a router is asked, what it may know, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from factory.serving.slots import Slots

Blocks = tuple[int, ...]

REJECT = -1
"""Answer of a router that turns a request away."""


class Ask:
    """A request as a router sees it: never how long its answer will be.

    Attributes:
        now_s: Time, seconds.
        input_tokens: Length of the prompt, tokens.
        blocks: Its runs of KV blocks; empty where nothing can be shared.
        session, tenant, priority: Who asks.
        copy_from: Left by a router that wants KV replicated to the slot it chose: the slot that
            holds more of the prompt, and how many leading blocks of it to copy; else None.
    """

    __slots__ = ("blocks", "copy_from", "input_tokens", "now_s", "priority", "session", "tenant")

    def __init__(
        self,
        now_s: float,
        input_tokens: int,
        blocks: Blocks = (),
        session: int = 0,
        tenant: int = 0,
        priority: int = 0,
    ) -> None:
        self.now_s = now_s
        self.input_tokens = input_tokens
        self.blocks = blocks
        self.session = session
        self.tenant = tenant
        self.priority = priority
        self.copy_from: tuple[int, int] | None = None


class Router(Protocol):
    """Chooses a slot for a request."""

    def choose(self, ask: Ask, slots: Slots) -> int:
        """The slot, one of ``slots.live``, that a request goes to; `REJECT` turns it away."""
        ...


class Index(Protocol):
    """Knows, or guesses, which slots hold the start of a prompt."""

    def match(self, blocks: Blocks) -> dict[int, int]:
        """Slot → leading blocks of the prompt held there, for the slots that hold any.

        The dictionary is the caller's; its order is a function of the simulation alone.
        """
        ...

    def held(self, blocks: Blocks) -> NDArray[np.int64]:
        """The same as an array: leading blocks held, one number per slot."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pool offers the routers that are built for it.

    Attributes:
        slots: Number of slots.
        block_size: Tokens of a KV block.
        draw: Draws a whole number below its argument from the router's own random stream.
        uniform: Draws a number in [0, 1) from the same.
        index: Which slots hold the start of a prompt, as the caches report it.
        prefill_s: Estimate of the seconds that a slot takes to prefill (new tokens, cached tokens)
            with nothing beside it.
        transfer_s: Estimate of the seconds to copy the KV of so many tokens from one replica to
            another.
        headroom: Share of the power budget of a rack that nothing draws now, 0 to 1; 1 for a rack
            without a budget.
        ttft_limits_s: Limit of each tenant on the time to its first token, seconds; infinite where
            there is none.
        racks: The rack of each slot, by number; empty for one rack.
        tier_kinds: What each of `tiers` is: host, ssd, shared.
        tiers: The same as `index` for the caches below the GPU's memory, in order.
    """

    slots: int
    block_size: int
    draw: Callable[[int], int]
    uniform: Callable[[], float]
    index: Index
    prefill_s: Callable[[int, int], float]
    transfer_s: Callable[[int], float]
    headroom: Callable[[int], float]
    ttft_limits_s: tuple[float, ...]
    racks: tuple[int, ...] = ()
    tiers: tuple[Index, ...] = ()
    tier_kinds: tuple[str, ...] = ()
