"""Which rack each replica stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a rack group holds.

    Attributes:
        racks: Number of racks.
        gpus: GPUs of each.
        domain_gpus: GPUs of an NVLink domain, which divide those of a rack.
    """

    racks: int
    gpus: int
    domain_gpus: int


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


def place(groups: Sequence[Shelf], needs: Sequence[PoolNeed]) -> Placement:
    """Puts replicas into racks in the order given.

    Each goes into the first NVLink domain of its group that has room, or, if it is larger than a
    domain, into the first rack that has enough whole ones.

    Args:
        groups: What the racks of each group hold.
        needs: What the pools ask for, in order.

    Returns:
        The placement; a replica never spans racks.
    """
    rack_group: list[int] = []
    free: list[list[int]] = []
    for group, shelf in enumerate(groups):
        for _ in range(shelf.racks):
            rack_group.append(group)
            free.append([shelf.domain_gpus] * (shelf.gpus // shelf.domain_gpus))
    replica_racks: list[tuple[int, ...]] = []
    misfits: list[int] = []
    for need in needs:
        domain_gpus = groups[need.group].domain_gpus
        chosen: list[int] = []
        rack = 0
        for _ in range(need.replicas):
            while rack < len(free) and not (
                rack_group[rack] == need.group and _take(free[rack], need.gpus, domain_gpus)
            ):
                rack += 1
            if rack == len(free):
                break
            chosen.append(rack)
        replica_racks.append(tuple(chosen))
        misfits.append(need.replicas - len(chosen))
    left = tuple(sum(domains) for domains in free)
    return Placement(tuple(rack_group), left, tuple(replica_racks), tuple(misfits))


def _take(domains: list[int], gpus: int, domain_gpus: int) -> bool:
    """Takes GPUs of a rack for one replica; says whether there were enough."""
    if gpus <= domain_gpus:
        fitting = (i for i, free in enumerate(domains) if free >= gpus)
        place = next(fitting, None)
        if place is not None:
            domains[place] -= gpus
        return place is not None
    whole = [i for i, free in enumerate(domains) if free == domain_gpus]
    count = -(-gpus // domain_gpus)
    if len(whole) < count:
        return False
    for i in whole[:count]:
        taken = min(gpus, domain_gpus)
        domains[i] -= taken
        gpus -= taken
    return True
