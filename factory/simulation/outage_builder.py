"""What may hold the replicas of a run: their machines, and the failures and work of a scenario."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from factory.facility.agenda import Agenda
from factory.facility.failures import Failures, Note, Process, Scripted
from factory.facility.faults import Component, RackShape, Topology
from factory.facility.machines import Machine
from factory.facility.spares import SpareUnits
from factory.facility.tree import PowerTree
from factory.facility.upgrades import Rolling, Window
from factory.kernel import Kernel
from factory.power import idle_watts
from factory.records.cell_names import cell_of, plain
from factory.scenario import Catalog, Scenario
from factory.scenario.failures import FailureProcess, Upgrade
from factory.scenario.failures import Failures as Section
from factory.scenario.fault_targets import (
    FaultPlaces,
    domain_gpus,
    fault_places,
)
from factory.scenario.fault_trace import read_faults
from factory.serving.deployment import Deployment
from factory.serving.intake import Intake
from factory.serving.outages import Crew, Outages
from factory.simulation.names import Layout
from factory.simulation.pool_builder import PoolMeter
from factory.simulation.power_places import rows_of_racks
from factory.simulation.startups import startup_seconds
from factory.statistics import stream
from factory.workload.lengths import seconds

_WORK = 1 << 28
"""Order of planned work among what happens at one instant: after failures, repairs and starts."""


def _agenda(
    scenario: Scenario, deployments: Sequence[Deployment], intake: Intake, kernel: Kernel
) -> Agenda:
    """Keeps what is to happen while requests are inside or expected, or the run's time lasts."""

    def is_busy() -> bool:
        return intake.expects or any(deployment.inside for deployment in deployments)

    agenda = Agenda(kernel, scenario.run.duration_s or 0.0, is_busy)
    for deployment in deployments:
        deployment.emptied.append(agenda.rest)
    return agenda


@dataclass(frozen=True, slots=True)
class Held:
    """What may hold replicas: their machines, by code, and what keeps the times."""

    agenda: Agenda
    machines: tuple[Outages, ...]


def build_outages(
    scenario: Scenario,
    catalog: Catalog,
    layout: Layout,
    tree: PowerTree,
    pools: Sequence[PoolMeter],
    deployments: Sequence[Deployment],
    intake: Intake,
    kernel: Kernel,
    note: Note,
) -> Held:
    """The machine of every replica, and ``facility.failures`` set going: it acts by itself.

    Faults by name are of cell 0; processes, spares and planned work are of every cell.

    Args:
        scenario: One that passes `preflight`, defaults filled in.
        catalog: What its names refer to.
        layout: Names and places of the same scenario.
        tree: Its power tree.
        pools: Its pools, by code.
        deployments: Its deployments, fleets and all.
        intake: Where requests come from.
        kernel: The environment.
        note: Takes ``fact_events``.
    """
    agenda = _agenda(scenario, deployments, intake, kernel)
    machines: list[Outages] = []
    for meter in pools:
        machines += _machines(scenario, catalog, layout, tree, meter, deployments, agenda, note)
    racks = [rack for meter in pools for rack in meter.place.racks]
    if scenario.facility.failures != Section():
        _begin(scenario, catalog, tree, machines, racks, agenda, note)
    return Held(agenda, tuple(machines))


def _machines(
    scenario: Scenario,
    catalog: Catalog,
    layout: Layout,
    tree: PowerTree,
    meter: PoolMeter,
    deployments: Sequence[Deployment],
    agenda: Agenda,
    note: Note,
) -> Iterator[Outages]:
    """The machines of one pool."""
    place = meter.place
    deployment = deployments[place.deployment]
    section = scenario.deployments[place.deployment]
    fleets = [fleet for fleet in deployment.fleets if fleet.owns(meter.replicas[0])]
    crew = Crew(
        [rank for replica in meter.replicas for rank in replica.ranks],
        deployment,
        fleets[0] if fleets else None,
        startup_seconds(scenario, catalog, section, place.pool),
        agenda,
        note,
    )
    system = catalog.systems[scenario.facility.racks[place.group].system]
    gpu = catalog.gpus[system.gpu]
    loaded_w, bare_w = idle_watts(gpu, loaded=True), idle_watts(gpu, loaded=False)
    for replica, rack, gpus in zip(
        meter.replicas, place.racks, layout.gpus[place.code], strict=True
    ):
        name = layout.codes.replicas[replica.name]
        yield Outages(replica, name, tree.racks[rack], gpus, loaded_w, bare_w, crew)


def _begin(
    scenario: Scenario,
    catalog: Catalog,
    tree: PowerTree,
    machines: Sequence[Outages],
    racks_of: Sequence[int],
    agenda: Agenda,
    note: Note,
) -> None:
    """Sets failures and planned work going."""
    section = scenario.facility.failures
    places = fault_places(scenario, catalog)
    topology = _topology(scenario, places, machines, racks_of)
    spares = _spares(scenario, agenda)
    rows = tuple(node for node in tree.nodes if node.level == "row")
    failures = Failures(agenda, topology, machines, tree.racks, rows, spares, note)
    run = scenario.run
    draws = partial(stream, run.seed, run.replication)
    for process in section.all_processes:
        level = "node" if process.of == "tray" else process.of
        for system, groups in _by_system(scenario, process):
            components = list(topology.components(level, groups))
            made = _process(process, catalog.systems[system].gpus_per_node)
            failures.run(made, components, draws)
    faults = list(section.faults)
    if section.trace is not None:
        faults += read_faults(section.trace.path, places)
    if faults:
        failures.script(
            [
                Scripted(
                    fault.at_s,
                    fault.duration_s,
                    _component(topology, places, fault.target),
                    fault.kind == "replacement",
                )
                for fault in faults
            ]
        )
    _planned(scenario, places, topology, machines, agenda, note)


def _topology(
    scenario: Scenario,
    places: FaultPlaces,
    machines: Sequence[Machine],
    racks_of: Sequence[int],
) -> Topology:
    groups = [group.name for group in scenario.facility.racks for _ in range(group.count)]
    shapes = zip(places.racks, groups, rows_of_racks(scenario.facility), strict=True)
    return Topology(
        tuple(
            RackShape(
                name, group, system.gpus_per_rack, system.gpus_per_node, domain_gpus(system), row
            )
            for (name, system), group, row in shapes
        ),
        places.rows,
        tuple(
            (rack, tuple(machine.gpus)) for rack, machine in zip(racks_of, machines, strict=True)
        ),
        places.replicas,
    )


def _spares(scenario: Scenario, agenda: Agenda) -> dict[tuple[str, bool], SpareUnits]:
    """The spares of every rack group, by whether they are GPUs."""
    return {
        (group.name, spares.of == "gpu"): SpareUnits(agenda, spares.units, spares.swap_s)
        for group in scenario.facility.racks
        for spares in scenario.facility.failures.spares
        if spares.racks == plain(group.name)
    }


def _by_system(scenario: Scenario, process: FailureProcess) -> Iterator[tuple[str, list[str]]]:
    """The rack groups that a process is of, by their system."""
    found: dict[str, list[str]] = {}
    for group in scenario.facility.racks:
        if process.racks in (None, plain(group.name)):
            found.setdefault(group.system, []).append(group.name)
    if process.of == "row":  # a row has one life, whatever stands in it
        found = {next(iter(found)): [name for names in found.values() for name in names]}
    yield from found.items()


def _process(process: FailureProcess, gpus_per_node: int) -> Process:
    mtbf_s = process.mtbf_s
    if mtbf_s is None:
        assert process.per_1000_node_days is not None
        mtbf_s = 1000 * 86_400.0 / process.per_1000_node_days
        if process.of == "gpu":
            mtbf_s *= gpus_per_node
    return Process(
        process.name,
        mtbf_s,
        process.shape or 1.0,
        seconds(process.repair_s),
        process.kind == "replacement",
    )


def _component(topology: Topology, places: FaultPlaces, name: str) -> Component:
    """What a scenario names, by its word for it: a tray stays a tray."""
    target = places.find(name)
    assert target is not None
    found = topology.component(target.level, target.number, target.part)
    if target.level == "node" and "/tray-" in name:
        return replace(found, name=found.name.replace("/node-", "/tray-"))
    return found


def _planned(
    scenario: Scenario,
    places: FaultPlaces,
    topology: Topology,
    machines: Sequence[Machine],
    agenda: Agenda,
    note: Note,
) -> None:
    """Maintenance and upgrades, of every cell."""
    failures = scenario.facility.failures
    owner = _WORK
    for work in failures.maintenance:
        for cell in sorted({cell_of(group.name) for group in scenario.facility.racks}):
            own = _of_cell(places, cell)
            for target in work.targets:
                component = _component(topology, own, target)
                owner += 1
                Window(
                    agenda, owner, component.name,
                    [machines[position] for position, _ in topology.hits(component)],
                    work.at_s, work.duration_s, work.every_s, work.drain_timeout_s, note,
                )  # fmt: skip
    for upgrade in failures.upgrades:
        for name, positions in _upgraded(scenario, upgrade):
            owner += 1
            Rolling(
                agenda, owner, name, [machines[position] for position in positions],
                upgrade.at_s, upgrade.at_once, upgrade.duration_s, upgrade.drain_timeout_s, note,
            )  # fmt: skip


def _of_cell(places: FaultPlaces, cell: int) -> FaultPlaces:
    """The places of one cell by the names that the scenario has for them."""

    def name(full: str) -> str:
        return re.sub(r"@\d+", "", full) if cell_of(full) == cell else ""

    return FaultPlaces(
        tuple((name(rack), system) for rack, system in places.racks),
        tuple(name(row) for row in places.rows),
        tuple(name(replica) for replica in places.replicas),
    )


def _upgraded(scenario: Scenario, upgrade: Upgrade) -> Iterator[tuple[str, list[int]]]:
    """Name and replicas of what an upgrade is of, in every cell."""
    first = 0
    for deployment in scenario.deployments:
        chosen: list[int] = []
        for pool in deployment.pools:
            own = list(range(first, first + pool.most_replicas))
            first += pool.most_replicas
            if upgrade.pool == plain(pool.name):
                yield pool.name, own
            chosen += own
        if upgrade.deployment == plain(deployment.name):
            yield deployment.name, chosen
