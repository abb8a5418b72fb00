"""KV transfers between replicas: links with bandwidth, latency and fair sharing.

Each replica has one link out and one in. A transfer gets the lesser of its fair shares of the two;
when one begins or ends, those that share a link with it are worked out anew. The latency counts as
so much more to send, so that a transfer alone takes exactly ``latency + bytes / bandwidth``.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from factory.kernel import CLASS_TRANSFER, Kernel
from factory.serving.sequence import Sequence


class Link:
    """One direction of a replica's network.

    Attributes:
        bytes_per_s: Bandwidth.
        flows: Transfers that use it now.
    """

    __slots__ = ("bytes_per_s", "flows")

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self.flows: dict[int, Flow] = {}


class Flow:
    """One transfer."""

    __slots__ = ("changed_s", "left", "number", "rate", "sequence", "sink", "source", "version")

    def __init__(
        self, number: int, sequence: Sequence, source: Link, sink: Link, left: float
    ) -> None:
        self.number = number
        self.sequence = sequence
        self.source = source
        self.sink = sink
        self.left = left
        self.rate = 0.0
        self.changed_s = 0.0
        self.version = 0


class Fabric:
    """All transfers of a deployment.

    Args:
        kernel: The environment.
        owner: Stable id of its timer.
        latency_s: Fixed time of a transfer, seconds.
        arrived: Called as ``(sequence, now_s)`` when a transfer is done.
    """

    __slots__ = ("_arrived", "_ends", "_latency_s", "_next", "_timer")

    def __init__(
        self,
        kernel: Kernel,
        owner: int,
        latency_s: float,
        arrived: Callable[[Sequence, float], None],
    ) -> None:
        self._timer = kernel.timer(CLASS_TRANSFER, owner, self._fire)
        self._latency_s = latency_s
        self._arrived = arrived
        self._ends: list[tuple[float, int, int, Flow]] = []
        self._next = 0

    def send(
        self, sequence: Sequence, source: Link, sink: Link, size_bytes: float, now_s: float
    ) -> None:
        """Begins to send ``size_bytes`` from one replica to another."""
        alone = min(source.bytes_per_s, sink.bytes_per_s)
        self._next = number = self._next + 1
        flow = Flow(number, sequence, source, sink, size_bytes + self._latency_s * alone)
        flow.changed_s = now_s
        source.flows[number] = flow
        sink.flows[number] = flow
        if len(source.flows) == 1 and len(sink.flows) == 1:
            flow.rate = alone
            heappush(self._ends, (now_s + flow.left / alone, number, 0, flow))
        else:
            self._share(flow, now_s)
        self._timer.set(self._due())

    def _share(self, flow: Flow, now_s: float) -> None:
        """Works out the rates of all that share a link with ``flow``."""
        for other in {**flow.source.flows, **flow.sink.flows}.values():
            source = other.source
            sink = other.sink
            rate = min(source.bytes_per_s / len(source.flows), sink.bytes_per_s / len(sink.flows))
            if rate != other.rate:
                other.left -= other.rate * (now_s - other.changed_s)
                other.left = max(other.left, 0.0)
                other.rate = rate
                other.changed_s = now_s
                other.version += 1
                heappush(
                    self._ends, (now_s + other.left / rate, other.number, other.version, other)
                )

    def _due(self) -> float:
        """When the next transfer ends; the heap is not empty."""
        ends = self._ends
        while ends[0][2] != ends[0][3].version:
            heappop(ends)
        return ends[0][0]

    def _fire(self, now_s: float) -> None:
        ends = self._ends
        done: list[Flow] = []
        while ends and (ends[0][0] <= now_s or ends[0][2] != ends[0][3].version):
            _, _, version, flow = heappop(ends)
            if version == flow.version:
                flow.version = -1
                del flow.source.flows[flow.number]
                del flow.sink.flows[flow.number]
                done.append(flow)
        for flow in done:
            if flow.source.flows or flow.sink.flows:
                self._share(flow, now_s)
        if ends:
            self._timer.set(self._due())
        for flow in done:
            self._arrived(flow.sequence, now_s)
