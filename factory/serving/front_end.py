"""What lies between a client and the scheduler: the connection, tokenising, polling."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.serving.replica import Replica
from factory.serving.sequence import Sequence


class FrontEnd:
    """Keeps each request for a while before it is routed.

    Args:
        kernel: The environment.
        owner: Number of the deployment.
        delay_s: Seconds that every request takes.
        steps: Steps of the entry pool that it waits beside that, until the scheduler looks.
        entry: A replica of the entry pool, whose step is taken.
        enter: Routes a sequence; returns the replica to poke, if any.
    """

    __slots__ = ("_delay_s", "_enter", "_entry", "_held", "_number", "_steps", "_timer")

    def __init__(
        self,
        kernel: Kernel,
        owner: int,
        delay_s: float,
        steps: float,
        entry: Replica,
        enter: Callable[[Sequence, float], Replica | None],
    ) -> None:
        # Owner 0 of this class is the intake, whose arrivals come first.
        self._timer = kernel.timer(CLASS_ARRIVAL, owner + 1, self._fire)
        self._delay_s = delay_s
        self._steps = steps
        self._entry = entry
        self._enter = enter
        self._held: list[tuple[float, int, Sequence]] = []
        self._number = 0

    def hold(self, sequence: Sequence, now_s: float) -> None:
        """Takes a request that has just come."""
        due_s = now_s + self._delay_s + self._steps * step_s(self._entry)
        self._number += 1
        heappush(self._held, (due_s, self._number, sequence))
        self._timer.set(self._held[0][0])

    def _fire(self, now_s: float) -> None:
        held = self._held
        woken: dict[Replica, None] = {}
        while held and held[0][0] <= now_s:
            replica = self._enter(heappop(held)[2], now_s)
            if replica is not None:
                woken[replica] = None
        if held:
            self._timer.set(held[0][0])
        for replica in woken:
            replica.poke(now_s)


def step_s(replica: Replica) -> float:
    """Seconds of decoding in the step that a replica's line began with; 0 if it does nothing."""
    if replica.leap is None:
        return 0.0
    segment = replica.leap.segment
    return max(segment.base_s - segment.prefill_base_s, 0.0)
