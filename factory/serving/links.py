"""Links, the paths over them and the transfers on them: the state that a fabric keeps."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from math import ceil, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.serving.sequence import Sequence


class Link:
    """One direction of a link: a rank's NVLink ports, its NICs, a node's NICs, a rack's uplink.

    Attributes:
        bytes_per_s: Bandwidth.
        flows: Transfers that send over it now, by number. One for which no event marks the last
            byte may stay in it until its arrival, or until the link would be too narrow.
        demand: The most that these could ask of it together, bytes/s, each rounded up. A link that
            can carry it all couples nobody to anybody.
        mark, is_tight, room, weight: Scratch of `fair_share`: the last call that came by; whether
            its transfers may have to share it; what is left of it for those without a rate,
            bytes/s, and the sum of their uses.
    """

    __slots__ = ("bytes_per_s", "demand", "flows", "is_tight", "mark", "room", "weight")

    def __init__(self, bytes_per_s: float) -> None:
        if not bytes_per_s > 0.0:
            raise ValueError(f"a link must carry more than 0 bytes/s, got {bytes_per_s:g}")
        self.bytes_per_s = bytes_per_s
        self.flows: dict[int, Flow] = {}
        self.demand = 0
        self.mark = 0
        self.is_tight = False
        self.room = 0.0
        self.weight = 0.0

    def may_bind(self) -> bool:
        """Whether its transfers could ask for more than it carries."""
        return self.demand > self.bytes_per_s and len(self.flows) > 1


class Path:
    """The way from one rank to another.

    Attributes:
        uses: Each link, and the bytes that cross it for one byte of KV: a half where two nodes
            carry a half each, above 1 by what a network loses.
        latency_s: From the last byte sent to arrival.
        bound: What one transfer gets if it is alone, bytes/s: at most the ``most_bytes_per_s`` that
            it was made with, whatever the links carry.
        demands: That on each link, bytes/s, rounded up.
    """

    __slots__ = ("bound", "demands", "latency_s", "uses")

    def __init__(
        self,
        uses: tuple[tuple[Link, float], ...],
        latency_s: float = 0.0,
        most_bytes_per_s: float = inf,
    ) -> None:
        bound = most_bytes_per_s
        for link, use in uses:
            rate = link.bytes_per_s / use
            if rate < bound:
                bound = rate
        if not 0.0 < bound < inf:
            raise ValueError(f"a path needs a rate above 0 and below infinity, got {bound:g}")
        self.uses = uses
        self.latency_s = latency_s
        self.bound = bound
        self.demands = demands(bound, uses)


def demands(bound: float, uses: tuple[tuple[Link, float], ...]) -> tuple[int, ...]:
    """What a transfer of at most ``bound`` bytes/s can ask of each link, bytes/s, rounded up."""
    return tuple([ceil(bound * use) for _, use in uses])


def path(links: Seq[Link], latency_s: float = 0.0, most_bytes_per_s: float = inf) -> Path:
    """A path that every byte crosses whole, link by link."""
    return Path(tuple((link, 1.0) for link in links), latency_s, most_bytes_per_s)


class Flow:
    """One transfer.

    Attributes:
        number: Of its fabric, in order of beginning.
        uses: The links of its path, as in `Path`.
        left: Bytes to send as of ``changed_s``, those held back not among them.
        rate: Bytes/s since ``changed_s``; 0 while it is on no link.
        bound: The most it gets, bytes/s: its path's, or less while a prefill paces it.
        demands: That on each of its links, bytes/s, rounded up; as `Link.demand` sums it.
        held: Bytes held back until the prefill is done.
        is_open: Whether its prefill is under way, so that it can't arrive yet.
        is_alone: Whether it shares no tight link, so that no event marks its last byte.
        latency_s: From the last byte to arrival.
        version: Of its place in the fabric's agenda; -1 once it has arrived or was given up.
        mark, share, shares_tight: Scratch of `fair_share`: the last call that came by; the rate
            that it found, bytes/s; whether a link of its path is tight.
    """

    __slots__ = (
        "bound", "changed_s", "demands", "held", "is_alone", "is_open", "latency_s", "left", "mark",
        "number", "path", "rate", "sequence", "share", "shares_tight", "uses", "version",
    )  # fmt: skip

    def __init__(
        self, number: int, sequence: Sequence, path: Path, left: float, now_s: float
    ) -> None:
        self.number = number
        self.sequence = sequence
        self.path = path
        self.uses = path.uses
        self.left = left
        self.changed_s = now_s
        self.latency_s = path.latency_s
        self.held = 0.0
        self.rate = 0.0
        self.is_open = False
        self.is_alone = False
        self.version = 0
        self.mark = 0
        self.share = 0.0
        self.shares_tight = False
        self.bound = path.bound
        self.demands = path.demands

    def limit(self, bound: float) -> None:
        """Sets the most it may get, bytes/s; it must be on no link."""
        self.bound = bound
        self.demands = demands(bound, self.uses)

    def sent_s(self) -> float:
        """When its last byte is sent at the rate it has, seconds."""
        return self.changed_s + self.left / self.rate
