"""The power tree of a run: its nodes, and the plug of each replica."""

from __future__ import annotations

from collections import Counter
from math import inf

from factory.facility.feed import Feed
from factory.facility.tree import PowerNode, PowerTree, RackLaw
from factory.power import clock_levels, idle_watts
from factory.power.profiles import profile_clock
from factory.power.rack import rack_law
from factory.scenario import Catalog, Deployment, GpuSpec, Pool, Scenario, SystemSpec
from factory.simulation.names import Layout, PoolPlace
from factory.simulation.power_places import NodePlace


def build_tree(scenario: Scenario, catalog: Catalog, layout: Layout) -> PowerTree:
    """The nodes of the power tree, drawing what GPUs do that no replica uses.

    Args:
        scenario: One that passes `preflight`, defaults filled in.
        catalog: What its names refer to.
        layout: Names and places of the same scenario.
    """
    places = layout.power
    spare = _spare_gpus(layout, scenario, catalog)
    nodes: list[PowerNode] = []
    for number, place in enumerate(places.nodes):
        law, fixed_w = None, 0.0
        if place.group >= 0:
            system = catalog.systems[scenario.facility.racks[place.group].system]
            law = law_of(place, system, catalog.gpus[system.gpu])
            fixed_w = idle_watts(catalog.gpus[system.gpu], loaded=False) * spare[number]
        nodes.append(
            PowerNode(
                place.name,
                number,
                place.level,
                None if place.parent < 0 else nodes[place.parent],
                place.gpus,
                inf if place.budget_kw is None else place.budget_kw * 1e3,
                scenario.run.window_s,
                law,
                fixed_w,
            )
        )
    return PowerTree(nodes)


def law_of(place: NodePlace, system: SystemSpec, gpu: GpuSpec) -> RackLaw:
    """What a rack, or a server, draws beside its GPUs.

    Args:
        place: The rack or server.
        system: What it is.
        gpu: Its GPU.
    """
    law = rack_law(system, place.gpus)
    return _bound(law, place.gpus * gpu.tdp_w) if place.level == "node" else law


def _bound(law: RackLaw, most_w: float) -> RackLaw:
    """The most that falls to a server of what it shares with its rack, whatever that draws."""
    most = law(most_w, 1.0)
    return lambda gpu_w, present: most  # noqa: ARG005


def _spare_gpus(layout: Layout, scenario: Scenario, catalog: Catalog) -> Counter[int]:
    """GPUs that no replica uses, by code of their rack and of their server."""
    used: list[set[int]] = [set() for _ in layout.power.racks]
    for place in layout.pools:
        for rack, numbers in zip(place.racks, layout.gpus[place.code], strict=True):
            used[rack].update(numbers)
    spare: Counter[int] = Counter()
    for rack, (code, servers) in enumerate(
        zip(layout.power.racks, layout.power.servers, strict=True)
    ):
        group = scenario.facility.racks[layout.power.nodes[code].group]
        gpus_per_node = catalog.systems[group.system].gpus_per_node
        for number in range(layout.power.nodes[code].gpus):
            if number not in used[rack]:
                spare[code] += 1
                if servers:
                    spare[servers[number // gpus_per_node]] += 1
    return spare


def shares_of(
    layout: Layout, place: PoolPlace, number: int, gpus_per_node: int
) -> tuple[tuple[int, float], ...]:
    """(code of a server, share) of a replica's GPUs; empty where servers are no nodes.

    Args:
        layout: Names and places.
        place: The pool.
        number: The replica, from 0 in its pool.
        gpus_per_node: GPUs of a server.
    """
    servers = layout.power.servers[place.racks[number]]
    if not servers:
        return ()
    numbers = layout.gpus[place.code][number]
    counts = Counter(gpu // gpus_per_node for gpu in numbers)
    return tuple((servers[node], count / len(numbers)) for node, count in sorted(counts.items()))


def build_feed(
    tree: PowerTree, layout: Layout, place: PoolPlace, number: int, scenario: Scenario,
    catalog: Catalog, span_w: tuple[float, float],
) -> Feed:  # fmt: skip
    """The plug of one replica.

    Args:
        tree: From `build_tree`.
        layout: Names and places.
        place: Its pool.
        number: The replica, from 0 in its pool.
        scenario: From `settled`.
        catalog: What its names refer to.
        span_w: Lowest and highest draw of any GPU of the run, watts.
    """
    pool = place.pool
    system = catalog.systems[scenario.facility.racks[place.group].system]
    gpu = catalog.gpus[system.gpu]
    shares = shares_of(layout, place, number, system.gpus_per_node)
    cap_w = pool.power.cap_w
    return Feed(
        place.first_replica + number,
        place.code,
        pool.role,
        pool.gpus_per_replica,
        tree.nodes[layout.power.racks[place.racks[number]]],
        [(tree.nodes[code], share) for code, share in shares],
        clock_levels(gpu.min_clock_ratio, top=pool.clock_ratio),
        inf if cap_w is None or cap_w >= gpu.tdp_w else cap_w,
        pool.power.priority,
        span_w,
    )


def settled(scenario: Scenario, catalog: Catalog) -> Scenario:
    """The scenario with the power profile of each pool as its clock: the lower of the two."""
    systems = {group.name: group.system for group in scenario.facility.racks}

    def pool(section: Pool) -> Pool:
        gpu = catalog.gpus[catalog.systems[systems[section.racks]].gpu]
        clock = profile_clock(gpu, section.power.profile)
        if clock >= section.clock_ratio:
            return section
        return section.model_copy(update={"clock_ratio": clock})

    def deployment(section: Deployment) -> Deployment:
        return section.model_copy(update={"pools": tuple(pool(each) for each in section.pools)})

    return scenario.model_copy(
        update={"deployments": tuple(deployment(each) for each in scenario.deployments)}
    )
