"""Checks of failures: what breaks exists, spares are there, planned work is of something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from factory.errors import InputError, Problem
from factory.scenario.check_lengths import length_problems
from factory.scenario.failures import PRESETS, FailureProcess, Failures, Spares, Upgrade
from factory.scenario.fault_targets import fault_places
from factory.scenario.fault_trace import PLACE, read_faults
from factory.scenario.findings import STAND_IN, repeated, unknown
from factory.scenario.schema import Scenario
from factory.scenario.specs import Catalog

_PATH = "facility.failures"


def failure_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """What is wrong with ``facility.failures``."""
    failures = scenario.facility.failures
    if failures.preset is not None:
        yield from unknown(f"{_PATH}.preset", "preset", failures.preset, PRESETS)
    yield from repeated(f"{_PATH}.processes", (one.name for one in failures.processes))
    published = [one.name for one in PRESETS.get(failures.preset or "", ())]
    groups = [group.name for group in scenario.facility.racks]
    for index, process in enumerate(failures.processes):
        path = f"{_PATH}.processes[{index}]"
        if process.name in published:
            message = f"is the name of a process of preset {failures.preset}; names must differ"
            yield Problem(f"{path}.name", message, process.name)
        if process.racks is not None:
            yield from unknown(f"{path}.racks", "rack group", process.racks, groups)
        yield from _process_problems(path, process, scenario)
    for index, spares in enumerate(failures.spares):
        yield from _spare_problems(f"{_PATH}.spares[{index}]", spares, scenario)
    yield from _shared_spares(failures, scenario, catalog)
    yield from _late(failures, scenario.run.duration_s)
    for index, upgrade in enumerate(failures.upgrades):
        yield from _upgrade_problems(f"{_PATH}.upgrades[{index}]", upgrade, scenario)
    if all(group.system in catalog.systems for group in scenario.facility.racks):
        yield from _target_problems(failures, scenario, catalog)


def _late(failures: Failures, duration_s: float | None) -> Iterator[Problem]:
    """What is stated to begin and never does; a trace may be longer than a run."""
    if duration_s is None:
        return
    stated = {
        "faults": [one.at_s for one in failures.faults],
        "maintenance": [one.at_s for one in failures.maintenance],
        "upgrades": [one.at_s for one in failures.upgrades],
    }
    for kind, times in stated.items():
        for index, at_s in enumerate(times):
            if at_s >= duration_s:
                message = f"must be before the run ends (run.duration_s, {duration_s:g})"
                yield Problem(f"{_PATH}.{kind}[{index}].at_s", message, at_s)


def _process_problems(path: str, process: FailureProcess, scenario: Scenario) -> Iterator[Problem]:
    rates = {"mtbf_s": process.mtbf_s, "per_1000_node_days": process.per_1000_node_days}
    given = [name for name, value in rates.items() if value is not None]
    if len(given) != 1:
        message = "must give exactly one of mtbf_s and per_1000_node_days"
        yield Problem(path, message, " and ".join(given) or "none")
    elif process.mtbf_s is None and process.of not in ("gpu", "tray", "node"):
        message = f"is of nodes, their GPUs or trays; of a {process.of} state mtbf_s"
        yield Problem(f"{path}.per_1000_node_days", message, process.per_1000_node_days)
    if process.distribution == "weibull" and process.shape is None:
        yield Problem(f"{path}.shape", "is missing: the shape of the Weibull law", None, "> 0")
    if process.distribution != "weibull" and process.shape is not None:
        message = f"is for distribution: weibull; this is {process.distribution}"
        yield Problem(f"{path}.shape", message, process.shape)
    if process.of == "row" and not scenario.facility.rows:
        yield Problem(f"{path}.of", "needs facility.rows: there are none", process.of)
    if process.kind == "replacement" and process.of not in ("gpu", "tray", "node"):
        message = f"is for GPUs, trays and nodes; a {process.of} is mended in place"
        yield Problem(f"{path}.kind", message, process.kind, "recoverable")
    yield from length_problems(f"{path}.repair_s", process.repair_s)


def _target_problems(failures: Failures, scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    places = fault_places(scenario, catalog)
    if any(STAND_IN in name for name, _ in places.racks):
        return
    for index, fault in enumerate(failures.faults):
        path = f"{_PATH}.faults[{index}]"
        yield from places.problem(f"{path}.target", fault.target)
        found = places.find(fault.target)
        if fault.kind == "replacement" and found and found.level not in ("gpu", "node"):
            message = "is for GPUs, trays and nodes; this is mended in place"
            yield Problem(f"{path}.kind", message, fault.kind, "recoverable")
    for index, work in enumerate(failures.maintenance):
        for number, target in enumerate(work.targets):
            yield from places.problem(f"{_PATH}.maintenance[{index}].targets[{number}]", target)
    trace = failures.trace
    if trace is not None and Path(trace.path).is_file():
        try:
            read_faults(trace.path, places)
        except InputError as error:
            yield Problem(f"{PLACE}.path", str(error))


def unit_gpus(spares: Spares, scenario: Scenario, catalog: Catalog) -> int:
    """GPUs of one spare unit."""
    group = next(group for group in scenario.facility.racks if group.name == spares.racks)
    return 1 if spares.of == "gpu" else catalog.systems[group.system].gpus_per_node


def _spare_problems(path: str, spares: Spares, scenario: Scenario) -> Iterator[Problem]:
    yield from unknown(
        f"{path}.racks", "rack group", spares.racks, [g.name for g in scenario.facility.racks]
    )
    twice = [one for one in scenario.facility.failures.spares if one.racks == spares.racks]
    same = [one for one in twice if (one.of == "gpu") == (spares.of == "gpu")]
    if len(same) > 1 and same[0] is not spares:
        message = f"gives {spares.racks} spares of the same kind a second time; add up the units"
        yield Problem(path, message)


def _shared_spares(failures: Failures, scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Spares are GPUs of the racks that no pool uses; there must be as many."""
    for group in scenario.facility.racks:
        own = [(index, one) for index, one in enumerate(failures.spares) if one.racks == group.name]
        if not own or group.system not in catalog.systems:
            continue
        held = group.count * catalog.systems[group.system].gpus_per_rack
        used = sum(
            pool.gpus
            for deployment in scenario.deployments
            for pool in deployment.pools
            if pool.racks == group.name
        )
        wanted = sum(one.units * unit_gpus(one, scenario, catalog) for _, one in own)
        if wanted > held - used >= 0:
            index, last = own[-1]
            each = unit_gpus(last, scenario, catalog)
            rest = held - used - (wanted - last.units * each)
            message = (
                f"are GPUs that no pool uses, {wanted} of them: racks {group.name} hold {held}, "
                f"pools take {used}"
            )
            allowed = f"at most {max(rest, 0) // each}, or fewer replicas, or more racks"
            yield Problem(f"{_PATH}.spares[{index}].units", message, last.units, allowed)


def _upgrade_problems(path: str, upgrade: Upgrade, scenario: Scenario) -> Iterator[Problem]:
    given = [name for name in ("pool", "deployment") if getattr(upgrade, name) is not None]
    if len(given) != 1:
        message = "must give exactly one of pool and deployment"
        yield Problem(path, message, " and ".join(given) or "none")
        return
    if upgrade.deployment is not None:
        names = [deployment.name for deployment in scenario.deployments]
        yield from unknown(f"{path}.deployment", "deployment", upgrade.deployment, names)
    if upgrade.pool is not None:
        pools = [pool.name for deployment in scenario.deployments for pool in deployment.pools]
        yield from unknown(f"{path}.pool", "pool", upgrade.pool, pools)
