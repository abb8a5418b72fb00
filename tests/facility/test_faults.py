"""Blast radius: what a broken component takes down, counted by hand."""

from __future__ import annotations

import pytest

from factory.facility.faults import RackShape, Topology


def topology() -> Topology:
    """An NVL72 rack and an HGX rack in a row, another HGX rack outside of it.

    On the NVL72: a replica of 6 GPUs over trays 0 and 1, one of 2 on tray 1, one of 1 on tray 2. On
    the first HGX rack: one of 8 on node 0, one of 16 on nodes 1 and 2. Nothing on the last rack.
    """
    nvl = RackShape("nvl-0", "nvl", 72, 4, 72, 0)
    racks = (nvl, RackShape("hgx-0", "hgx", 32, 8, 8, 0), RackShape("hgx-1", "hgx", 32, 8, 8))
    machines = (
        (0, tuple(range(6))),
        (0, (6, 7)),
        (0, (8,)),
        (1, tuple(range(8))),
        (1, tuple(range(8, 24))),
    )
    return Topology(racks, ("row-a",), machines, ("a-0", "a-1", "b-0", "c-0", "d-0"))


@pytest.mark.parametrize(
    ("level", "number", "part", "hits"),
    [
        ("gpu", 0, 5, ((0, 1 / 6),)),
        ("gpu", 0, 9, ()),
        ("node", 0, 0, ((0, 4 / 6),)),
        ("node", 0, 1, ((0, 2 / 6), (1, 1.0))),
        ("node", 1, 1, ((4, 0.5),)),
        # A replica of one GPU does not need the NVLink of its domain.
        ("nvlink_domain", 0, 0, ((0, 1.0), (1, 1.0))),
        ("nvlink_domain", 1, 2, ((4, 0.5),)),
        ("rack", 0, 0, ((0, 1.0), (1, 1.0), (2, 1.0))),
        ("network", 1, 0, ((3, 1.0), (4, 1.0))),
        ("row", 0, 0, tuple((machine, 1.0) for machine in range(5))),
        ("rack", 2, 0, ()),
        ("replica", 3, 0, ((3, 1.0),)),
    ],
)
def test_who_goes_down(
    level: str, number: int, part: int, hits: tuple[tuple[int, float], ...]
) -> None:
    made = topology()
    assert made.hits(made.component(level, number, part)) == hits


def test_names_are_those_of_a_scenario() -> None:
    made = topology()
    names = [
        made.component("gpu", 0, 17),
        made.component("node", 1, 3),
        made.component("nvlink_domain", 0, 0),
        made.component("network", 2),
        made.component("rack", 2),
        made.component("row", 0),
        made.component("replica", 4),
    ]
    assert [component.name for component in names] == [
        "nvl-0/gpu-17",
        "hgx-0/node-3",
        "nvl-0/domain-0",
        "network/hgx-1",
        "hgx-1",
        "row-a",
        "d-0",
    ]


@pytest.mark.parametrize(
    ("level", "groups", "count"),
    [
        ("gpu", None, 72 + 32 + 32),
        ("node", ["nvl"], 18),
        ("node", ["hgx"], 8),
        ("nvlink_domain", None, 1 + 4 + 4),
        ("rack", ["hgx"], 2),
        ("network", None, 3),
        ("row", None, 1),
        ("row", ["nvl"], 1),
    ],
)
def test_how_many_there_are(level: str, groups: list[str] | None, count: int) -> None:
    assert len(list(topology().components(level, groups))) == count
