"""Which GPUs each replica and each of its ranks has, and so its nodes and NVLink domains."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.facility import Placement, PoolNeed
    from factory.facility.placement import Shelf
    from factory.scenario.specs import GpuSpec, SystemSpec
    from factory.serving.links import Link

GB = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """The GPUs of one attention rank, and what joins them to others.

    Attributes:
        rack: Its rack, by number.
        gpus: How many they are.
        domain: NVLink domain of the rack that holds them all; -1 if they are in several.
        nodes: Each node of the rack that holds some, and its share of them.
        nvlink_bytes_per_s, nic_bytes_per_s, host_bytes_per_s: One GPU's NVLink ports, network card
            and link to the host, each way.
        node_gpus, rack_gpus: GPUs of its node and of its rack.
        links: Its own links, by kind; filled in by `factory.serving.network`.
    """

    rack: int
    gpus: int
    domain: int
    nodes: tuple[tuple[int, float], ...]
    nvlink_bytes_per_s: float
    nic_bytes_per_s: float
    host_bytes_per_s: float
    node_gpus: int
    rack_gpus: int
    links: dict[str, tuple[Link, Link]] = field(default_factory=dict, repr=False)


def stand(rack: int, numbers: Seq[int], system: SystemSpec, gpu: GpuSpec) -> Stand:
    """Where a rank stands.

    Args:
        rack: Its rack.
        numbers: Its GPUs, by number within the rack.
        system: The rack's system.
        gpu: Its GPU.
    """
    domains = {number // system.nvlink_domain_gpus for number in numbers}
    counts: dict[int, int] = {}
    for number in numbers:
        node = number // system.gpus_per_node
        counts[node] = counts.get(node, 0) + 1
    return Stand(
        rack=rack,
        gpus=len(numbers),
        domain=domains.pop() if len(domains) == 1 else -1,
        nodes=tuple((node, count / len(numbers)) for node, count in sorted(counts.items())),
        nvlink_bytes_per_s=gpu.nvlink_gb_s * GB,
        nic_bytes_per_s=gpu.scaleout_gb_s * GB,
        host_bytes_per_s=gpu.host_link_gb_s * GB,
        node_gpus=system.gpus_per_node,
        rack_gpus=system.gpus_per_rack,
    )


def gpu_numbers(
    placement: Placement, groups: Seq[Shelf], needs: Seq[PoolNeed]
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The GPUs of each replica, by number within its rack, pool by pool.

    A rack's GPUs are taken as `factory.facility.place` does: from its first NVLink domain with
    room, in order of placement; larger replicas take whole domains.

    Args:
        placement: Which rack each replica stands in.
        groups: What the racks of each group hold.
        needs: What the pools asked for, as ``placement`` was made from both.
    """
    free: list[list[list[int]]] = []
    for number in placement.rack_group:
        size = groups[number].domain_gpus
        count = groups[number].gpus // size
        free.append([list(range(i * size, (i + 1) * size)) for i in range(count)])
    pools = []
    for need, racks in zip(needs, placement.replica_racks, strict=True):
        size = groups[need.group].domain_gpus
        pools.append(tuple(_taken(free[rack], need.gpus, size) for rack in racks))
    return tuple(pools)


def _taken(domains: list[list[int]], gpus: int, size: int) -> tuple[int, ...]:
    if gpus <= size:
        chosen = [next(domain for domain in domains if len(domain) >= gpus)]
    else:
        whole = (domain for domain in domains if len(domain) == size)
        chosen = list(islice(whole, -(-gpus // size)))
    taken: list[int] = []
    for domain in chosen:
        count = min(gpus - len(taken), len(domain))
        taken += domain[:count]
        del domain[:count]
    return tuple(taken)


def rank_numbers(numbers: Seq[int], tp: int, dp: int, rank: int) -> tuple[int, ...]:
    """The GPUs of one attention rank of a replica.

    Pipeline stages follow each other, and within a stage the ranks' tensor-parallel groups.

    Args:
        numbers: The replica's GPUs, ``tp * dp`` for each stage.
        tp: GPUs of a tensor-parallel group.
        dp: Attention ranks of the replica.
        rank: The rank, from 0.
    """
    stage = tp * dp
    return tuple(
        number for i, number in enumerate(numbers) if rank * tp <= i % stage < (rank + 1) * tp
    )
