"""Requests of a session go where the session's first one went."""

from __future__ import annotations

from factory.serving.routers.choice import Turns, column
from factory.serving.routers.protocol import Ask
from factory.serving.slots import Slots


class SessionAffinity:
    """A sticky table: a session keeps its slot as long as the slot is live.

    A session that is new, forgotten or whose slot went away goes to the slot with the fewest
    requests, and stays there. TensorRT-LLM's conversation affinity does the same (1.3,
    ``kv_cache_routing_conversation_affinity``, ``new_conv_placement: least_queued``) and remembers
    65,536 conversations; vLLM's production stack hashes the session's name instead.

    Args:
        max_sessions: Sessions remembered; beyond that the one that asked longest ago is forgotten.
    """

    def __init__(self, max_sessions: int) -> None:
        self._most = max_sessions
        self._slots: dict[int, int] = {}  # session → slot, the one that asked longest ago first
        self._turns = Turns()

    def choose(self, ask: Ask, slots: Slots) -> int:
        """The session's slot."""
        known = self._slots
        slot = known.pop(ask.session, -1)
        if slot < 0 or (len(slots.live) < slots.count and slot not in slots.live):
            slot = self._turns.least(column(slots.requests), slots)
        known[ask.session] = slot
        if len(known) > self._most:
            del known[next(iter(known))]
        return slot
