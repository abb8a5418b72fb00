"""Which rack each replica stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolNeed:
    """What a pool asks of a rack group.

    Attributes:
        group: Position of the rack group.
        replicas: Number of replicas.
        gpus: GPUs of one replica.
    """

    group: int
    replicas: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything stands.

    Attributes:
        rack_group: Rack group of each rack.
        free_gpus: GPUs of each rack that no replica uses.
        replica_racks: Rack of each replica, pool by pool.
        misfits: Replicas of each pool for which there was no rack with enough GPUs.
    """

    rack_group: tuple[int, ...]
    free_gpus: tuple[int, ...]
    replica_racks: tuple[tuple[int, ...], ...]
    misfits: tuple[int, ...]


def place(groups: Sequence[tuple[int, int]], needs: Sequence[PoolNeed]) -> Placement:
    """Puts replicas into racks in the order given.

    Each goes into the first rack of its group that has room.

    Args:
        groups: (racks, GPUs per rack) of each rack group.
        needs: What the pools ask for, in order.

    Returns:
        The placement; a replica never spans racks.
    """
    rack_group: list[int] = []
    free: list[int] = []
    for group, (racks, gpus) in enumerate(groups):
        rack_group.extend([group] * racks)
        free.extend([gpus] * racks)
    replica_racks: list[tuple[int, ...]] = []
    misfits: list[int] = []
    for need in needs:
        chosen: list[int] = []
        rack = 0
        for _ in range(need.replicas):
            while rack < len(free) and (rack_group[rack] != need.group or free[rack] < need.gpus):
                rack += 1
            if rack == len(free):
                break
            free[rack] -= need.gpus
            chosen.append(rack)
        replica_racks.append(tuple(chosen))
        misfits.append(need.replicas - len(chosen))
    return Placement(tuple(rack_group), tuple(free), tuple(replica_racks), tuple(misfits))
