"""What became of attempts, and what happened beside them, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attempts:
    """What became of attempts that arrived in the measured interval.

    Attributes:
        total: how many.
        retried: of these, not the first of their request.
        too_long: rejected, their prompts being longer than their deployment takes.
        shortest_tokens: prompt of the shortest of those.
        turned_away: rejected by admission or a router.
        timed_out: given up by their clients.
        failed: lost with what served them.
        sessions: sessions of several turns that ended with one that was not tried again.
        wasted_ratio: share of the GPU time of requests that went to those timed out.
    """

    total: int = 0
    retried: int = 0
    too_long: int = 0
    shortest_tokens: int = 0
    turned_away: int = 0
    timed_out: int = 0
    failed: int = 0
    sessions: int = 0
    wasted_ratio: float = 0.0

    @property
    def noun(self) -> str:
        """What to call one: where nothing was tried again, an attempt is a request."""
        return "attempt" if self.retried else "request"

    def share(self, number: int) -> float:
        """A number of them over all of them."""
        return number / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Happening:
    """Events of one kind.

    Attributes:
        kind: in one word.
        number: how many.
        subjects: what they happened to, in order.
        first_s: the first, s of simulated time.
        last_s: the last.
    """

    kind: str
    number: int
    subjects: tuple[str, ...]
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A pool is to have more or fewer replicas.

    Attributes:
        at_s: when, s of simulated time.
        pool: which.
        replicas: how many from then on.
        why: what was said of it.
    """

    at_s: float
    pool: str
    replicas: float
    why: str
