"""Which links KV takes, from where ranks stand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.facility import PoolNeed, place
from factory.facility.placement import Shelf
from factory.kernel import Kernel
from factory.scenario import catalog
from factory.scenario.transfer import KvTransfer
from factory.serving.fabric import Fabric
from factory.serving.network import CARRIERS, Cables, Network, link_problems
from factory.serving.stands import Stand, gpu_numbers, rank_numbers, stand

SYSTEM = catalog().systems["hgx-h200"]
GPU = catalog().gpus["h200-sxm"]
NVL72 = catalog().systems["gb300-nvl72"]
GB300 = catalog().gpus["gb300"]


def at(rack: int, *numbers: int) -> Stand:
    """A rank on GPUs of an HGX H200 rack: 4 nodes of 8, each an NVLink domain."""
    return stand(rack, numbers, SYSTEM, GPU)


def network(**fields: object) -> Network:
    return Network(KvTransfer(**fields), Cables())


def test_auto_is_nvlink_inside_a_domain_and_infiniband_beyond_pair_by_pair() -> None:
    """450 GB/s of NVLink and 50 GB/s of network a GPU, of which transfers reach 0.9."""
    prefill, near, far = at(0, 0, 1), at(0, 2, 3), at(0, 8, 9)
    wires = network()
    assert wires.kind(prefill, near) == "nvlink"
    assert wires.kind(prefill, far) == "infiniband"
    assert wires.path(prefill, near).bound == pytest.approx(2 * 450e9 * 0.9)
    assert wires.path(prefill, far).bound == pytest.approx(2 * 50e9 * 0.9)
    # The two leave by different ports.
    assert wires.path(prefill, near).uses[0][0] is not wires.path(prefill, far).uses[0][0]


def test_the_narrower_end_binds() -> None:
    assert network().path(at(0, 0, 1, 2, 3), at(0, 8)).bound == pytest.approx(50e9 * 0.9)


def test_a_whole_rack_is_one_domain_where_the_hardware_says_so() -> None:
    wires = network()
    first, last = stand(0, (0,), NVL72, GB300), stand(0, (71,), NVL72, GB300)
    assert wires.kind(first, last) == "nvlink"
    assert wires.kind(first, stand(1, (0,), NVL72, GB300)) == "infiniband"


def test_a_rank_over_two_domains_uses_the_network() -> None:
    wide = at(0, *range(16))
    assert wide.domain == -1
    assert network().kind(wide, at(0, 16)) == "infiniband"
    assert network().kind(wide, wide) == "infiniband"


def test_ethernet_has_its_own_efficiency_and_latency() -> None:
    way = network(network="ethernet").path(at(0, 0), at(0, 1))
    assert way.bound == pytest.approx(50e9 * 0.87)
    assert way.latency_s == CARRIERS["ethernet"].latency_s
    stated = network(network="ethernet", efficiency_ratio=0.5, latency_ms=3.0)
    assert stated.path(at(0, 0), at(0, 1)).bound == pytest.approx(25e9)
    assert stated.path(at(0, 0), at(0, 1)).latency_s == 3e-3


def test_three_replicas_of_two_deployments_share_a_nodes_cards() -> None:
    """Two cards of 25 GB/s for the node, all of which transfers reach: 50 GB/s for three ranks.

    Each alone could send over both, since its GPU's link to the host carries 64. Each of 100 GB
    gets 50 / 3, so all take 6 s.
    """
    section = KvTransfer(
        network="infiniband", nics_per_node=2, nic_gb_s=25.0, efficiency_ratio=1.0, latency_ms=0
    )
    cables = Cables()
    chat, code = Network(section, cables), Network(section, cables)
    kernel = Kernel()
    arrivals: dict[Any, float] = {}
    fabric = Fabric(kernel, 0, arrivals.__setitem__)
    for name, wires, gpu in (("a", chat, 0), ("b", chat, 1), ("c", code, 7)):
        way = wires.path(at(0, gpu), at(1, 8 * gpu % 32))
        assert way.bound == 50e9
        fabric.send(name, way, 100e9, 0.0)
    kernel.run()
    # a and c meet at node 0 of rack 1 or apart: the sender's node binds all three alike.
    assert arrivals == pytest.approx(dict.fromkeys("abc", 6.0))


def test_a_gpus_way_to_the_hosts_cards_is_its_link_to_the_host() -> None:
    way = network(network="infiniband", nics_per_node=8, nic_gb_s=50.0).path(at(0, 0), at(0, 8))
    assert way.bound == GPU.host_link_gb_s * 1e9


def test_a_rank_on_two_nodes_sends_over_both() -> None:
    """12 GPUs, 8 on one node and 4 on the next, of 100 GB/s each: the first is full at 150 GB/s."""
    section = {"network": "infiniband", "nics_per_node": 2, "efficiency_ratio": 1.0}
    way = network(**section).path(at(0, *range(12)), at(1, *range(16)))
    shares = [use for _, use in way.uses]
    assert shares == pytest.approx([2 / 3, 1 / 3, 0.5, 0.5])
    assert way.bound == pytest.approx(2 * 50e9 / (2 / 3))


def test_an_oversubscribed_spine_is_shared_by_the_rack() -> None:
    """32 cards of 50 GB/s at 4 to 1: 400 GB/s up and 400 down, for all pairs between two racks."""
    wires = network(oversubscription=4.0)
    inside = wires.path(at(0, 0), at(0, 8))
    across = wires.path(at(0, 0), at(1, 0))
    other = wires.path(at(0, 16), at(1, 8))
    assert len(inside.uses) == 2
    assert [link.bytes_per_s for link, _ in across.uses] == [50e9, 400e9, 400e9, 50e9]
    assert across.uses[1][0] is other.uses[1][0]
    assert len(network().path(at(0, 0), at(1, 0)).uses) == 2


def test_a_stated_bandwidth_takes_the_place_of_any_network() -> None:
    """4 GPUs send 10 GB/s each, and shared with nobody, near or far."""
    wires = network(bandwidth_gb_s=10.0)
    for sink in (at(0, 4, 5, 6, 7), at(0, 8, 9, 10, 11), at(1, 0, 1, 2, 3)):
        assert wires.path(at(0, 0, 1, 2, 3), sink).bound == pytest.approx(40e9)


def test_a_path_is_made_once() -> None:
    wires = network()
    source, sink = at(0, 0), at(0, 1)
    assert wires.path(source, sink) is wires.path(source, sink)


@pytest.mark.parametrize(
    ("fields", "sink", "joined"),
    [
        ({"network": "nvlink"}, at(0, 1), True),
        ({"network": "nvlink"}, at(0, 8), False),
        ({"nics_per_node": 0}, at(0, 1), True),
        ({"nics_per_node": 0}, at(0, 8), False),
        ({"nics_per_node": 0, "bandwidth_gb_s": 1.0}, at(0, 8), True),
        ({"network": "ethernet"}, at(3, 8), True),
    ],
)
def test_a_missing_link_is_a_problem(fields: dict[str, object], sink: Stand, joined: bool) -> None:
    wires = network(**fields)
    found = list(link_problems("kv_transfer", wires, [("in-0", at(0, 0))], [("out-0", sink)]))
    assert len(found) == (0 if joined else 1)
    if joined:
        assert wires.path(at(0, 0), sink).bound > 0
        return
    assert "no link from in-0 (rack 0) to out-0 (rack 0)" in str(found[0])
    assert "one NVLink domain" in str(found[0])
    with pytest.raises(ValueError, match="no link joins"):
        wires.path(at(0, 0), sink)


def test_gpus_are_numbered_as_they_are_placed() -> None:
    """Racks of two domains of 8. 6 GPUs take the first, 2 what is left of it, 10 need both."""
    groups, needs = [Shelf(2, 16, 8)], [PoolNeed(0, 1, 6), PoolNeed(0, 1, 10), PoolNeed(0, 2, 2)]
    numbers = gpu_numbers(place(groups, needs), groups, needs)
    assert numbers == (
        ((0, 1, 2, 3, 4, 5),),
        (tuple(range(10)),),  # The second rack: the first has no two whole domains.
        ((6, 7), (8, 9)),
    )


@given(
    st.integers(1, 4),
    st.sampled_from([(8, 8), (16, 8), (32, 8), (72, 72)]),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 20)), max_size=6),
)
def test_no_gpu_is_given_twice(
    racks: int, shelf: tuple[int, int], pools: list[tuple[int, int]]
) -> None:
    groups = [Shelf(racks, *shelf)]
    needs = [PoolNeed(0, replicas, gpus) for replicas, gpus in pools]
    placement = place(groups, needs)
    taken: list[tuple[int, int]] = []
    for need, chosen, pool in zip(
        needs, placement.replica_racks, gpu_numbers(placement, groups, needs), strict=True
    ):
        for rack, numbers in zip(chosen, pool, strict=True):
            assert len(numbers) == need.gpus
            if need.gpus <= shelf[1]:
                assert len({number // shelf[1] for number in numbers}) == 1
            taken += [(rack, number) for number in numbers]
    assert len(taken) == len(set(taken))
    assert racks * shelf[0] - len(taken) == sum(placement.free_gpus)


def test_ranks_of_a_replica_lie_side_by_side_within_each_stage() -> None:
    """Tp 2, dp 2, pp 2: stage 0 is GPUs 0 to 3, stage 1 is 4 to 7."""
    assert rank_numbers(range(8), 2, 2, 0) == (0, 1, 4, 5)
    assert rank_numbers(range(8), 2, 2, 1) == (2, 3, 6, 7)


def test_the_two_ways_of_a_link_do_not_meet() -> None:
    source, sink = at(0, 0), at(0, 1)
    wires = network()
    there, back = wires.path(source, sink), wires.path(sink, source)
    assert {link for link, _ in there.uses}.isdisjoint(link for link, _ in back.uses)


def test_a_stand_is_itself_only() -> None:
    one = at(0, 0)
    assert one != dataclasses.replace(one)
