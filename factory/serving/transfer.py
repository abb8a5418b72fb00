"""KV transfers between replicas: links with bandwidth, latency and fair sharing.

Each replica has one link out and one in. While it sends, a transfer gets the least of its fair
shares of the two and of what one rank's network cards carry; when one begins or ends, those that
share a link with it are worked out anew. The latency follows the last byte and holds no link.
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
        flows: Transfers that send over it now, by number. One that was never shared may stay in it
            after its last byte, until the next one comes.
    """

    __slots__ = ("bytes_per_s", "flows")

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self.flows: dict[int, Flow] = {}


class Flow:
    """One transfer: bytes left and rate as of ``changed_s``; it arrives ``latency_s`` after."""

    __slots__ = (
        "changed_s", "latency_s", "left", "number", "rate", "sequence", "sink", "source", "version",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        sequence: Sequence,
        source: Link,
        sink: Link,
        left: float,
        now_s: float,
        latency_s: float,
    ) -> None:
        self.number = number
        self.sequence = sequence
        self.source = source
        self.sink = sink
        self.left = left
        self.latency_s = latency_s
        self.rate = 0.0
        self.changed_s = now_s
        self.version = 0

    def sent_s(self) -> float:
        """When its last byte is sent at the rate it has."""
        return self.changed_s + self.left / self.rate


class Fabric:
    """All transfers of a deployment.

    Args:
        kernel: The environment.
        owner: Stable id of its timer.
        latency_s: From the last byte sent to arrival, seconds.
        most_bytes_per_s: What one transfer gets at most: it goes from one rank to one.
        arrived: Called as ``(sequence, now_s)`` when a transfer is done.
    """

    __slots__ = ("_arrived", "_due", "_latency_s", "_most", "_next", "_timer")

    def __init__(
        self,
        kernel: Kernel,
        owner: int,
        latency_s: float,
        most_bytes_per_s: float,
        arrived: Callable[[Sequence, float], None],
    ) -> None:
        self._timer = kernel.timer(CLASS_TRANSFER, owner, self._fire)
        self._latency_s = latency_s
        self._most = most_bytes_per_s
        self._arrived = arrived
        # (time, number, version, flow): the arrival of a flow that shares no link, for which no
        # event marks the last byte; of one that does, first its last byte, then its arrival.
        self._due: list[tuple[float, int, int, Flow]] = []
        self._next = 0

    def send(
        self,
        sequence: Sequence,
        source: Link,
        sink: Link,
        size_bytes: float,
        now_s: float,
        wait_s: float = 0.0,
    ) -> None:
        """Begins to send ``size_bytes`` to a replica that looks ``wait_s`` after they are there."""
        self._next = number = self._next + 1
        latency_s = self._latency_s + wait_s
        flow = Flow(number, sequence, source, sink, size_bytes, now_s, latency_s)
        if source.flows:
            _forget_sent(source, now_s)
        if sink.flows:
            _forget_sent(sink, now_s)
        source.flows[number] = flow
        sink.flows[number] = flow
        self._share(flow, now_s)
        self._timer.set(self._due[0][0])

    def _share(self, flow: Flow, now_s: float) -> None:
        """Works out the rates of all that share a link with ``flow``."""
        if len(flow.source.flows) == 1 and len(flow.sink.flows) == 1:
            self._set_rate(flow, now_s)
            return
        for other in {**flow.source.flows, **flow.sink.flows}.values():
            self._set_rate(other, now_s)

    def _set_rate(self, flow: Flow, now_s: float) -> None:
        source = flow.source
        sink = flow.sink
        alone = len(source.flows) == 1 and len(sink.flows) == 1
        rate = min(
            self._most,
            source.bytes_per_s / len(source.flows),
            sink.bytes_per_s / len(sink.flows),
        )
        flow.left -= flow.rate * (now_s - flow.changed_s)
        if flow.left < 0.0:
            flow.left = 0.0
        flow.rate = rate
        flow.changed_s = now_s
        flow.version += 1
        sent_s = now_s + flow.left / rate
        due_s = sent_s + flow.latency_s if alone else sent_s
        heappush(self._due, (due_s, flow.number, flow.version, flow))

    def _fire(self, now_s: float) -> None:
        due = self._due
        done: list[Flow] = []
        while due and (due[0][0] <= now_s or due[0][2] != due[0][3].version):
            _, number, version, flow = heappop(due)
            if version != flow.version:
                continue
            source = flow.source
            sink = flow.sink
            if number in source.flows and (len(source.flows) > 1 or len(sink.flows) > 1):
                del source.flows[number]
                del sink.flows[number]
                heappush(due, (now_s + flow.latency_s, number, version, flow))
                for other in {**source.flows, **sink.flows}.values():
                    self._set_rate(other, now_s)
                continue
            source.flows.pop(number, None)
            sink.flows.pop(number, None)
            done.append(flow)
        if due:
            self._timer.set(due[0][0])
        for flow in done:
            self._arrived(flow.sequence, now_s)


def _forget_sent(link: Link, now_s: float) -> None:
    """Takes flows off a link, and off their other one, whose last byte is sent."""
    sent = [flow for flow in link.flows.values() if flow.sent_s() <= now_s]
    for flow in sent:
        flow.source.flows.pop(flow.number, None)
        flow.sink.flows.pop(flow.number, None)
