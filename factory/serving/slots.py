"""What routers see: one column per signal, one row per (replica, rank)."""

from __future__ import annotations


class Slots:
    """Signals of the ranks of a pool, kept up to date as requests come and go.

    A slot is one rank of one replica: it has its own batch and cache.

    Attributes:
        count: Number of slots.
        requests: Requests waiting or running, or on their way to it.
        prefill_tokens: Prompt tokens to compute of the requests assigned to it whose prompt is not
            done; the whole of it until then, as an engine reports the end of a prefill and no less.
        kv_tokens: Prompt tokens of the requests assigned to it, a measure of the KV in use.
    """

    __slots__ = ("count", "kv_tokens", "prefill_tokens", "requests")

    def __init__(self, count: int) -> None:
        self.count = count
        self.requests = [0] * count
        self.prefill_tokens = [0] * count
        self.kv_tokens = [0] * count
