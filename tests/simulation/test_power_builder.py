"""The power tree of a scenario: its nodes, their codes and budgets, and where replicas draw."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.power import idle_watts
from factory.power.rack import rack_law
from factory.records.reader import RunReader
from factory.scenario import Facility, catalog, load
from factory.simulation import simulate
from factory.simulation.names import Layout, lay_out
from factory.simulation.power_builder import (
    build_feed,
    build_tree,
    settled,
    shares_of,
)
from factory.simulation.power_places import row_copies, rows_of_racks


def hall(**pool: Any) -> dict[str, Any]:
    """Two copies of a row with mixed racks, one row of its own, and a rack outside rows."""
    return {
        "name": "hall",
        "facility": {
            "name": "hall",
            "pue": 1.25,
            "budget_mw": 0.4,
            "rows": [
                {"name": "west", "count": 2, "budget_kw": 120},
                {"name": "east", "budget_kw": 200},
            ],
            "racks": [
                {"name": "h", "system": "hgx-h200", "count": 3, "row": "west", "budget_kw": 40},
                {"name": "n", "system": "gb200-nvl72", "row": "east", "node_budget_kw": 7},
                {"name": "b", "system": "hgx-b200", "count": 2, "row": "west"},
                {"name": "a", "system": "hgx-h100"},
            ],
        },
        "deployments": [
            {
                "name": "d",
                "model": "llama-3.1-8b",
                "pools": [
                    {
                        "name": "p",
                        "role": "aggregated",
                        "racks": "n",
                        "replicas": 3,
                        "parallel": {"dp": 3},
                        **pool,
                    }
                ],
            }
        ],
        "workload": {
            "tenants": [{"name": "t", "load": {"rate": 5}, "input_tokens": 50, "output_tokens": 5}]
        },
        "run": {"requests": 10, "window_s": 1},
    }


def laid_out(data: dict[str, Any]) -> Layout:
    """Names and places of a scenario."""
    return lay_out(load(data), catalog())


def test_codes_go_from_the_facility_to_rows_racks_and_servers() -> None:
    layout = laid_out(hall())
    names = layout.codes.power_nodes
    assert names[:11] == [
        "hall", "west-0", "west-1", "east", "h-0", "h-1", "h-2", "n-0", "b-0", "b-1", "a-0",
    ]  # fmt: skip
    assert names[11:] == [f"n-0/node-{i}" for i in range(18)]
    levels = layout.codes.power_node_levels
    assert levels == ["facility"] + ["row"] * 3 + ["rack"] * 7 + ["node"] * 18
    assert [names[code] for code in layout.power.racks] == names[4:11]
    assert [len(servers) for servers in layout.power.servers] == [0, 0, 0, 18, 0, 0, 0]


def test_racks_are_spread_evenly_over_the_copies_of_their_row() -> None:
    nodes = laid_out(hall()).power.nodes
    parents = {node.name: nodes[node.parent].name for node in nodes[4:11]}
    # The odd rack of the first group goes to the first copy, and then both have as many.
    assert parents == {
        "h-0": "west-0", "h-1": "west-0", "h-2": "west-1",
        "b-0": "west-0", "b-1": "west-1", "n-0": "east", "a-0": "hall",
    }  # fmt: skip


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    copies=st.integers(1, 5),
)
def test_no_row_has_two_racks_more_than_another(counts: list[int], copies: int) -> None:
    facility = Facility.model_validate(
        {
            "rows": [{"name": "row", "count": copies}],
            "racks": [
                {"name": f"g{i}", "system": "hgx-h200", "count": count, "row": "row"}
                for i, count in enumerate(counts)
            ],
        }
    )
    rows = rows_of_racks(facility)
    assert len(rows) == sum(counts)
    assert len(row_copies(facility)) == copies
    held = [rows.count(row) for row in range(copies)]
    assert max(held) - min(held) <= 1
    first = 0
    for count in counts:
        own = rows[first : first + count]
        assert list(own) == sorted(own)
        first += count


def test_a_single_row_has_the_plain_name_and_all_its_racks() -> None:
    data = hall()
    data["facility"]["rows"][0]["count"] = 1
    nodes = laid_out(data).power.nodes
    west = next(node for node in nodes if node.name == "west")
    assert west.gpus == 3 * 32 + 2 * 32
    assert west.system is None
    assert west.design_it_kw == pytest.approx(96 * 1.37 + 64 * 1.71)


def test_what_is_usable_is_the_least_of_budget_and_what_is_beneath() -> None:
    nodes = {node.name: node for node in laid_out(hall()).power.nodes}
    assert nodes["h-0"].usable_kw == 40
    assert nodes["b-0"].usable_kw == pytest.approx(32 * 1.71)
    # 18 trays of 7 kW in an NVL72 rack of 134.6 kW.
    assert nodes["n-0"].usable_kw == pytest.approx(126)
    assert (nodes["east"].usable_kw, nodes["east"].stranded_kw) == pytest.approx((126, 74))
    assert nodes["west-0"].usable_kw == 120
    assert nodes["west-1"].usable_kw == pytest.approx(40 + 32 * 1.71)
    assert nodes["west-1"].stranded_kw == pytest.approx(80 - 32 * 1.71)
    assert nodes["hall"].budget_kw == pytest.approx(320)
    beneath = 120 + 40 + 32 * 1.71 + 126 + 32 * 1.37
    assert nodes["hall"].usable_kw == pytest.approx(min(beneath, 320))
    assert nodes["hall"].stranded_kw == 0


def test_the_tree_draws_what_bare_gpus_do() -> None:
    known = catalog()
    scenario = load(hall())
    tree = build_tree(scenario, known, lay_out(scenario, known))
    assert [node.number for node in tree.nodes] == list(range(len(tree.nodes)))
    h100 = known.gpus["h100-sxm"]
    bare_w = 32 * idle_watts(h100, loaded=False)
    other_w = sum(rack_law(known.systems["hgx-h100"], 32)(bare_w, 1.0))
    assert tree.node("a-0").power_w == pytest.approx(bare_w + other_w)
    assert tree.root.power_w == pytest.approx(sum(rack.power_w for rack in tree.racks))
    assert tree.node("west-0").rating_w == 120e3
    assert tree.node("b-0").rating_w == inf
    assert tree.node("n-0/node-17").rating_w == 7e3
    # Nine GPUs of the NVL72 rack are in replicas: trays 0 and 1 whole, one GPU of tray 2.
    bare_w = idle_watts(known.gpus["gb200"], loaded=False)
    spare = [tree.node(f"n-0/node-{i}").gpu_w / bare_w for i in range(4)]
    assert spare == pytest.approx([0, 0, 3, 4])
    assert tree.node("n-0").gpu_w == pytest.approx(63 * bare_w)


def test_a_replica_draws_on_each_server_by_its_share_of_gpus() -> None:
    known = catalog()
    scenario = load(hall(power={"cap_w": 800, "priority": 7}))
    layout = lay_out(scenario, known)
    [place] = layout.pools
    first = layout.power.servers[3][0]
    assert [shares_of(layout, place, number, 4) for number in range(3)] == [
        ((first, 1.0),),
        ((first, 1 / 3), (first + 1, 2 / 3)),
        ((first + 1, 2 / 3), (first + 2, 1 / 3)),
    ]
    tree = build_tree(scenario, known, layout)
    feed = build_feed(tree, layout, place, 1, scenario, known, (0.0, 1200.0))
    assert (feed.cap_w, feed.priority, feed.gpus, feed.role) == (800, 7, 3, "aggregated")
    assert feed.rack is tree.node("n-0")
    before = tree.node("n-0/node-1").gpu_w
    feed.draw(0.0, 900.0)
    assert tree.node("n-0/node-1").gpu_w - before == pytest.approx(600)


def test_servers_are_nodes_where_a_budget_or_the_tables_ask_for_them() -> None:
    data = hall()
    del data["facility"]["racks"][1]["node_budget_kw"]
    assert not any(laid_out(data).power.servers)
    data["facility"]["power_tables"] = "node"
    counts = [len(servers) for servers in laid_out(data).power.servers]
    assert counts == [4, 4, 4, 18, 4, 4, 4]
    nodes = laid_out(data).power.nodes
    assert nodes[-1].name == "a-0/node-3"
    assert (nodes[-1].gpus, nodes[nodes[-1].parent].name) == (8, "a-0")


def test_a_profile_is_a_clock_of_the_pool() -> None:
    known = catalog()
    scenario = settled(load(hall(power={"profile": "max_q"})), known)
    [pool] = scenario.deployments[0].pools
    assert pool.clock_ratio == 0.91
    slower = settled(load(hall(power={"profile": "max_q"}, clock_ratio=0.7)), known)
    assert slower.deployments[0].pools[0].clock_ratio == 0.7


def test_the_tables_know_the_nodes(tmp_path: Path) -> None:
    result = simulate(load(hall(power={"profile": "max_q", "cap_w": 700})), out=tmp_path / "run")
    reader = RunReader(result.run_dir)
    columns = ("power_node", "level", "parent_power_node", "gpus", "budget_it_kw", "stranded_it_kw")
    rows = reader.read("dim_power_nodes", columns)
    names = rows.strings("power_node")
    sizes = zip(rows.strings("level"), rows.number("gpus"), strict=True)
    by_name = dict(zip(names, sizes, strict=True))
    assert by_name["hall"] == ("facility", 3 * 32 + 72 + 2 * 32 + 32)
    assert by_name["west-0"] == ("row", 96)
    assert by_name["n-0/node-3"] == ("node", 4)
    parents = dict(zip(names, rows.strings("parent_power_node"), strict=True))
    assert parents["n-0/node-3"] == "n-0"
    assert (parents["n-0"], parents["east"]) == ("east", "hall")
    power = reader.read("fact_power", ("power_node", "level", "peak_1s_it_kw", "budget_it_kw"))
    assert set(power.strings("power_node")) == set(names)
