"""Whether there is power to start a replica: what an autoscaler may see of the tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from factory.facility import PowerNode
from factory.power import gpu_watts
from factory.scenario import GpuSpec, Pool
from factory.serving.phases import STARTING
from factory.serving.replica import Replica


def peak_watts(gpu: GpuSpec, pool: Pool) -> float:
    """The most that a GPU of a pool draws at its clock and within its cap, watts."""
    clock = pool.clock_ratio
    cap_w = gpu.tdp_w if pool.power.cap_w is None else pool.power.cap_w
    return min(gpu_watts(gpu, 1.0, clock, 1.0, clock), cap_w)


def power_room(
    replicas: Sequence[Replica], peak_w: float, least_ratio: float
) -> Callable[[Sequence[int]], list[int]]:
    """Chooses those of a pool's replicas that there is power to start.

    A replica may start if its rack and every node above that has a limit leaves so much of it
    unused that the replica could draw its peak, with the hosts' share, and in any case
    ``least_ratio`` of the limit. Replicas of the pool that start already are counted at their
    peak; those of other pools, which the operator of this one does not see, as they draw.

    Args:
        replicas: All that there is room for, in order.
        peak_w: The most that one of their GPUs draws, watts.
        least_ratio: Share of each limit that must be unused.
    """

    def rises(replica: Replica) -> float:
        """What its rack would draw more if the replica drew its peak, IT watts."""
        rack = replica.feed.rack
        more_w = max(peak_w * replica.feed.gpus - replica.feed.watts, 0.0)
        return rack.it_w(rack.gpu_w + more_w) - rack.it_w(rack.gpu_w)

    def startable(positions: Sequence[int]) -> list[int]:
        taken_w: dict[PowerNode, float] = {}

        def take(replica: Replica) -> None:
            more_w = rises(replica)
            for node in replica.feed.rack.path():
                taken_w[node] = taken_w.get(node, 0.0) + more_w

        for replica in replicas:
            if replica.phase == STARTING:
                take(replica)
        chosen = []
        for position in positions:
            replica = replicas[position]
            more_w = rises(replica)
            if all(
                node.limit_w - node.power_w - taken_w.get(node, 0.0)
                >= max(more_w, least_ratio * node.limit_w)
                for node in replica.feed.rack.path()
                if node.limit_w < inf
            ):
                chosen.append(position)
                take(replica)
        return chosen

    return startable
