"""The front door: requests enter when their time comes, whether or not they follow an answer."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.serving.deployment import Deployment
from factory.serving.replica import Replica
from factory.workload import Request, Workload


class Intake:
    """Feeds a workload's requests to the deployments, and its answers back.

    All requests of one instant are queued before any replica starts on them.

    Args:
        kernel: The environment.
        workload: Who asks.
        deployments: Who serves, by number; filled in before `open`.

    Attributes:
        taken: Requests that have entered so far.
        last_s: When the last one entered, seconds.
    """

    __slots__ = (
        "_later",
        "_next",
        "_source",
        "_timer",
        "_workload",
        "deployments",
        "last_s",
        "taken",
    )

    def __init__(
        self, kernel: Kernel, workload: Workload, deployments: Sequence[Deployment]
    ) -> None:
        self._workload = workload
        self.deployments = deployments
        self._timer = kernel.timer(CLASS_ARRIVAL, 0, self._fire)
        self._source = iter(workload.start())
        self._next: Request | None = None
        self._later: list[tuple[float, int, Request]] = []
        self.taken = 0
        self.last_s = 0.0

    @property
    def expects(self) -> bool:
        """Whether more requests are known to come."""
        return self._next is not None or bool(self._later)

    def open(self) -> None:
        """Lets the first requests come."""
        self._next = next(self._source, None)
        self._aim()

    def _aim(self) -> None:
        upcoming = self._next
        later = self._later
        if upcoming is not None and (not later or upcoming.arrival_s <= later[0][0]):
            self._timer.set(upcoming.arrival_s)
        elif later:
            self._timer.set(later[0][0])

    def _fire(self, now_s: float) -> None:
        woken: dict[Replica, None] = {}
        upcoming = self._next
        while upcoming is not None and upcoming.arrival_s <= now_s:
            self._enter(upcoming, now_s, woken)
            upcoming = next(self._source, None)
        self._next = upcoming
        later = self._later
        while later and later[0][0] <= now_s:
            self._enter(heappop(later)[2], now_s, woken)
        self._aim()
        for replica in woken:
            replica.poke(now_s)

    def _enter(self, request: Request, now_s: float, woken: dict[Replica, None]) -> None:
        self.taken += 1
        self.last_s = now_s
        replica = self.deployments[request.deployment].arrive(request, now_s)
        if replica is not None:
            woken[replica] = None

    def left(self, request: Request, now_s: float, outcome: int) -> None:
        """A request left; what the workload sends in answer enters now or is kept for its time."""
        follow = self._workload.on_done(request, now_s, outcome)
        if not follow:
            return
        woken: dict[Replica, None] = {}
        for later in follow:
            if later.arrival_s <= now_s:
                self._enter(later, now_s, woken)
            else:
                heappush(self._later, (later.arrival_s, later.index, later))
        self._aim()
        for replica in woken:
            replica.poke(now_s)
