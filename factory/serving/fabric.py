"""KV transfers between replicas, over links that they share.

Rates are max-min fair (`fair_share`). When a transfer begins or ends, only those that it could
affect are worked out anew; one that shares no tight link costs a single event. The latency follows
the last byte and holds no link.

KV leaves when its prefill is done (`Fabric.send`), or layer by layer while it is computed
(`Fabric.open`, then `Fabric.computed`), as Mooncake (Qin et al., 2024, section 5.2) and the
layer-wise connectors of vLLM and vLLM-Ascend (2025) push it: room is reserved on the decode side
first. An open transfer sends all but the last layer's part of the last step, which is there only
when the prefill is done; it has arrived at ::

    max(all bytes sent at its rates, prefill's end + that part at its rate) + latency

Of the exact course, in which each of L layers follows the one before, this leaves out that nothing
can leave before the first layer is computed: where the network is the bottleneck the KV arrives
early by a L-th of a step, and where compute is, exactly on time (both for rates that do not
change). ``expected_s`` spreads the bytes over the prefill, so that it takes no more of a shared
link than it could fill; without it the bytes go as fast as they can, and the link is free after.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from heapq import heappop, heappush
from math import inf

from factory.kernel import CLASS_TRANSFER, Kernel
from factory.serving.fair_share import share
from factory.serving.links import Flow, Link, Path
from factory.serving.sequence import Sequence

_OVER = -1


class Fabric:
    """All transfers over links that have to do with each other; usually those of a whole run.

    Deployments that share a node's network cards share the fabric.

    Args:
        kernel: The environment.
        owner: Stable id of its timer.
        arrived: Called as ``(sequence, now_s)`` when the KV of a sequence has arrived.
    """

    __slots__ = ("_arrived", "_due", "_mark", "_next", "_timer")

    def __init__(
        self, kernel: Kernel, owner: int, arrived: Callable[[Sequence, float], None]
    ) -> None:
        self._timer = kernel.timer(CLASS_TRANSFER, owner, self._fire)
        self._arrived = arrived
        # (time, number, version, flow): the arrival of a flow that shares no tight link or is on no
        # link any more; for any other its last byte.
        self._due: list[tuple[float, int, int, Flow]] = []
        self._next = 0
        self._mark = 0

    def send(
        self, sequence: Sequence, path: Path, size_bytes: float, now_s: float, wait_s: float = 0.0
    ) -> Flow:
        """Begins to send KV that is there.

        Args:
            sequence: Whose it is.
            path: The way it takes.
            size_bytes: How much.
            now_s: The time, seconds.
            wait_s: How long after the KV's arrival its replica looks for it, seconds.

        Returns:
            The transfer, which `cancel` takes.
        """
        self._next = number = self._next + 1
        flow = Flow(number, sequence, path, size_bytes, now_s)
        flow.latency_s += wait_s
        self._enter(flow, now_s)
        self._arm()
        return flow

    def open(
        self,
        sequence: Sequence,
        path: Path,
        size_bytes: float,
        last_bytes: float,
        now_s: float,
        expected_s: float = 0.0,
    ) -> Flow:
        """Begins to send KV of a prompt whose first step begins.

        Args:
            sequence: Whose it is.
            path: The way it takes.
            size_bytes: All of it, that found in the cache included.
            last_bytes: What is there at the end of the last step only, at most all of it: the last
                layer's KV of the tokens that this step computes.
            now_s: The time, seconds.
            expected_s: How long the prefill is expected to take, seconds: no more than what it
                yields in a time is sent in it. 0 does not gate it.

        Returns:
            The transfer, for `computed` and `cancel`.
        """
        self._next = number = self._next + 1
        held = min(last_bytes, size_bytes)
        flow = Flow(number, sequence, path, size_bytes - held, now_s)
        flow.held = held
        flow.is_open = True
        if flow.left <= 0.0:
            return flow
        if expected_s > 0.0:
            flow.limit(min(path.bound, flow.left / expected_s))
        self._enter(flow, now_s)
        self._arm()
        return flow

    def computed(self, flow: Flow, now_s: float, wait_s: float = 0.0) -> None:
        """The prefill of an open transfer is done: the rest of its KV is there.

        Args:
            flow: From `open`, not given up.
            now_s: The time, seconds.
            wait_s: As in `send`.
        """
        if not flow.is_open:
            raise ValueError(f"transfer {flow.number} is not open")
        flow.is_open = False
        flow.latency_s += wait_s
        bound = flow.path.bound
        if flow.bound == bound and flow.rate and (not flow.is_alone or flow.sent_s() > now_s):
            # It has the same rate for longer: nobody else is affected.
            flow.left += flow.held
            self._plan(flow)
        else:
            freed = self._leave(flow, now_s) if flow.rate else []
            flow.left += flow.held
            flow.limit(bound)
            self._enter(flow, now_s, freed)
        flow.held = 0.0
        self._arm()

    def cancel(self, flow: Flow, now_s: float) -> None:
        """Gives a transfer up: it arrives no more, and others get its part of the links."""
        if flow.version == _OVER:
            return
        freed = self._leave(flow, now_s) if flow.rate else []
        flow.is_open = False
        flow.version = _OVER
        if freed:
            self._reshare(freed, now_s)
        self._arm()

    # -- links ---------------------------------------------------------------------------------

    def _enter(self, flow: Flow, now_s: float, freed: Seq[Link] = ()) -> None:
        """Puts a transfer on its links; ``freed`` are links to work out anew besides."""
        number = flow.number
        tight: list[Link] = []
        for (link, _), demand in zip(flow.uses, flow.demands, strict=True):
            flows = link.flows
            link.demand += demand
            if flows and link.demand > link.bytes_per_s:
                self._forget_sent(link, now_s)
                if flows and link.demand > link.bytes_per_s:
                    tight.append(link)
            flows[number] = flow
        flow.changed_s = now_s
        if tight:
            self._reshare([*freed, *tight], now_s)
            return
        flow.rate = flow.bound
        flow.is_alone = True
        self._plan(flow)
        if freed:
            self._reshare(freed, now_s)

    def _leave(self, flow: Flow, now_s: float) -> list[Link]:
        """Takes a transfer off its links; returns those that were tight."""
        number = flow.number
        tight: list[Link] = []
        for (link, _), demand in zip(flow.uses, flow.demands, strict=True):
            if number in link.flows:
                if link.may_bind():
                    tight.append(link)
                del link.flows[number]
                link.demand -= demand
        left = flow.left - flow.rate * (now_s - flow.changed_s)
        flow.left = left if left > 0.0 else 0.0
        flow.rate = 0.0
        flow.changed_s = now_s
        flow.version += 1
        return tight

    def _forget_sent(self, link: Link, now_s: float) -> None:
        """Takes those off a link, and off their others, whose last byte is sent."""
        for flow in [flow for flow in link.flows.values() if flow.sent_s() <= now_s]:
            for (other, _), demand in zip(flow.uses, flow.demands, strict=True):
                del other.flows[flow.number]
                other.demand -= demand
            flow.left = flow.rate = 0.0

    def _reshare(self, seeds: Seq[Link], now_s: float) -> None:
        """Works out the rates of all that a change on ``seeds`` can reach."""
        self._mark += 1
        for flow in share(seeds, self._mark):
            rate = flow.share
            alone = not flow.shares_tight
            if rate == flow.rate and (alone or not flow.is_alone):
                continue
            left = flow.left - flow.rate * (now_s - flow.changed_s)
            flow.left = left if left > 0.0 else 0.0
            flow.changed_s = now_s
            flow.rate = rate
            flow.is_alone = alone
            self._plan(flow)

    # -- events --------------------------------------------------------------------------------

    def _plan(self, flow: Flow) -> None:
        """Enters what comes next of a transfer on links."""
        flow.version += 1
        due_s = flow.sent_s()
        if flow.is_alone:
            if flow.is_open:
                # Nobody waits for its links, and it can't arrive: nothing happens.
                return
            due_s += flow.latency_s
        heappush(self._due, (due_s, flow.number, flow.version, flow))

    def _arm(self) -> None:
        due = self._due
        while due and due[0][2] != due[0][3].version:
            heappop(due)
        timer = self._timer
        if not due:
            timer.due = inf
        elif due[0][0] != timer.due:
            timer.set(due[0][0])

    def _fire(self, now_s: float) -> None:
        due = self._due
        done: list[Flow] = []
        freed: list[Link] = []
        while True:
            while due and (due[0][0] <= now_s or due[0][2] != due[0][3].version):
                _, number, version, flow = heappop(due)
                if version != flow.version:
                    continue
                if flow.rate and not flow.is_alone:
                    freed += self._leave(flow, now_s)
                    flow.left = 0.0
                    if not flow.is_open:
                        heappush(due, (now_s + flow.latency_s, number, flow.version, flow))
                    continue
                if flow.rate:
                    self._leave(flow, now_s)
                flow.version = _OVER
                done.append(flow)
            if not freed:
                break
            self._reshare(freed, now_s)
            freed = []
        if due:
            self._timer.set(due[0][0])
        for flow in done:
            self._arrived(flow.sequence, now_s)
