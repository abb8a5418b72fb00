from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from factory.facility import PoolNeed, place
from factory.facility.placement import Shelf


def test_replicas_fill_racks_in_order_and_never_span_them() -> None:
    placement = place(
        [Shelf(2, 8, 8), Shelf(1, 4, 4)], [PoolNeed(0, 3, 4), PoolNeed(1, 1, 2), PoolNeed(0, 1, 4)]
    )
    assert placement.rack_group == (0, 0, 1)
    assert placement.replica_racks == ((0, 0, 1), (2,), (1,))
    assert placement.free_gpus == (0, 0, 2)
    assert placement.misfits == (0, 0, 0)


def test_who_finds_no_rack_is_counted() -> None:
    # 12 GPUs are free, but no rack has 6 after the first replica of each.
    placement = place([Shelf(2, 8, 8)], [PoolNeed(0, 3, 6)])
    assert placement.replica_racks == ((0, 1),)
    assert placement.misfits == (1,)


needs = st.lists(
    st.builds(PoolNeed, st.integers(0, 1), st.integers(1, 6), st.integers(1, 9)),
    max_size=5,
)


def test_a_replica_stays_within_an_nvlink_domain_if_it_can() -> None:
    """Racks of two domains of 8: 6 GPUs take a domain each, 12 a whole rack, 2 what is left."""
    needs = [PoolNeed(0, 2, 6), PoolNeed(0, 1, 12), PoolNeed(0, 3, 2)]
    placement = place([Shelf(2, 16, 8)], needs)
    assert placement.replica_racks == ((0, 0), (1,), (0, 0, 1))
    assert placement.free_gpus == (0, 2)


shelves = st.builds(
    lambda racks, domains, gpus: Shelf(racks, domains * gpus, gpus),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 9),
)


@given(st.lists(shelves, min_size=2, max_size=2), needs)
def test_gpus_are_conserved(groups: list[Shelf], wanted: list[PoolNeed]) -> None:
    placement = place(groups, wanted)
    free = [groups[group].gpus for group in placement.rack_group]
    for need, racks, misfits in zip(
        wanted, placement.replica_racks, placement.misfits, strict=True
    ):
        assert len(racks) + misfits == need.replicas
        for rack in racks:
            assert placement.rack_group[rack] == need.group
            free[rack] -= need.gpus
    assert tuple(free) == placement.free_gpus
    assert min(free, default=0) >= 0
