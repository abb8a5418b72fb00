"""What is wrong with a scenario that only its step models, memory, places and files can tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from factory.economics.remarks import unpriced_remark
from factory.errors import InputError, Problem, ScenarioError
from factory.performance import build_memory
from factory.performance.sources import source_notes, source_problems
from factory.power.rack import idle_rack_w
from factory.scenario import Catalog, Deployment, Pool, Scenario, locate, missing_files
from factory.scenario.trace import TraceFormat
from factory.serving.network import Cables, Network, link_problems
from factory.serving.stands import Stand
from factory.simulation.cache_builder import block_bytes
from factory.simulation.length_limits import length_notes, length_problems
from factory.simulation.names import block_size, lay_out, placed
from factory.simulation.pool_builder import stands_of
from factory.simulation.power_checks import power_problems
from factory.simulation.power_warnings import power_warnings
from factory.simulation.site_checks import site_problems
from factory.workload import build as build_workload
from factory.workload.traces.detect import detect


def preflight(scenario: Scenario, catalog: Catalog) -> list[Problem]:
    """Problems of a scenario that has passed the checks of its schema, each with its place.

    Args:
        scenario: From `factory.scenario.load`.
        catalog: What its names refer to.
    """
    problems = list(_places(scenario, catalog))
    if not problems:
        problems += power_problems(scenario, catalog)
    problems += _memory(scenario, catalog)
    for path, deployment, pool in _pools(scenario):
        problems += source_problems(pool, deployment, catalog, scenario, path)
    problems += [*_roles(scenario), *_contract(scenario, catalog)]
    problems += site_problems(scenario, catalog)
    if not problems:
        problems += [*length_problems(scenario, catalog), *_tiers(scenario, catalog)]
        problems += _links(scenario, catalog)
    problems += missing_files(scenario) or _demand(scenario, catalog)
    return _located(scenario, problems)


def _located(scenario: Scenario, problems: Iterable[Problem]) -> list[Problem]:
    return [
        dataclasses.replace(p, location=p.location or locate(scenario, p.path)) for p in problems
    ]


def warnings(scenario: Scenario, catalog: Catalog) -> list[Problem]:
    """What can be run, but is seldom meant, each with its place.

    Args:
        scenario: One that passes `preflight`.
        catalog: What its names refer to.
    """
    return _located(scenario, power_warnings(scenario, catalog))


def notes(scenario: Scenario, catalog: Catalog) -> list[str]:
    """What a reader of the results must know of prices, lengths and step times, a line each.

    Changes of the catalogue come first.

    Args:
        scenario: One that passes `preflight`.
        catalog: What its names refer to.
    """
    changed = [
        (f"{section}.{name}", len(fields))
        for section, records in scenario.catalog_changes.sections
        for name, fields in records.items()
    ]
    told = []
    if changed:
        count, names = sum(number for _, number in changed), ", ".join(name for name, _ in changed)
        noun = "number" if count == 1 else "numbers"
        told.append(f"{count} {noun} of the catalogue changed by overlay, in {names}")
    told += [remark for remark in (_unpriced(scenario, catalog),) if remark]
    told += length_notes(scenario, catalog)
    return told + [
        note
        for _, deployment, pool in _pools(scenario)
        for note in source_notes(pool, deployment, catalog, scenario)
    ]


def _unpriced(scenario: Scenario, catalog: Catalog) -> str:
    """That prices are named which lack a system of the facility."""
    prices = scenario.prices
    if prices is None:
        return ""
    priced: Mapping[str, float] = prices.usd_per_gpu_hour or {}
    if prices.book is not None:
        priced = catalog.price_books[prices.book].usd_per_gpu_hour
    systems = dict.fromkeys(group.system for group in scenario.facility.racks)
    return unpriced_remark(prices.book, [name for name in systems if name not in priced])


def _pools(scenario: Scenario) -> Iterator[tuple[str, Deployment, Pool]]:
    for number, deployment in enumerate(scenario.deployments):
        for position, pool in enumerate(deployment.pools):
            yield f"deployments[{number}].pools[{position}]", deployment, pool


def _memory(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    for path, deployment, pool in _pools(scenario):
        engine = pool.engine
        stated = engine.kv_capacity_tokens
        block = deployment.block_size or 1
        if stated is not None and stated < block:
            message = f"must hold at least one block of {block} tokens"
            yield Problem(f"{path}.engine.kv_capacity_tokens", message, stated)
        if engine.step_model.kind == "fixed":
            continue
        memory = build_memory(pool, deployment, catalog, scenario)
        if stated is not None and memory.weights < memory.whole:
            continue
        if not memory.fits:
            weights = deployment.precision.weights
            message = (
                f"{deployment.model} in {weights} does not fit {pool.gpus_per_replica} GPUs: each "
                f"lacks {memory.missing_gib:.1f} GiB"
            )
            remedy = "more GPUs per replica (tp, pp, ep), fewer bytes per weight, a larger GPU"
            yield Problem(f"{path}.parallel", message, None, remedy)
        elif stated is None and memory.kv_capacity_tokens < block:
            message = (
                f"leaves {memory.kv_capacity_tokens} tokens of KV, less than a block of {block}"
            )
            ratio = engine.gpu_memory_utilization
            yield Problem(f"{path}.engine.gpu_memory_utilization", message, ratio)
        elif stated is not None and stated > memory.kv_capacity_tokens:
            message = "is more than memory leaves beside the weights"
            allowed = f"at most {memory.kv_capacity_tokens}"
            yield Problem(f"{path}.engine.kv_capacity_tokens", message, stated, allowed)


def _tiers(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Tiers whose bytes hold no block."""
    for path, deployment, pool in _pools(scenario):
        size = block_size(deployment)
        once, _ = block_bytes(pool, deployment, catalog, size)
        for number, tier in enumerate(pool.kv_cache.tiers):
            place = f"{path}.kv_cache.tiers[{number}]"
            if tier.kind == "peer" or tier.blocks(size, once):
                continue
            message = f"holds no KV block of {size} tokens ({once / 2**30:.3g} GiB)"
            if tier.capacity_tokens is not None:
                given, remedy = tier.capacity_tokens, f"at least {size}"
                yield Problem(f"{place}.capacity_tokens", message, given, remedy)
            elif tier.capacity_gib is not None:
                least = f"at least {once / 2**30:.3g}"
                yield Problem(f"{place}.capacity_gib", message, tier.capacity_gib, least)


def _links(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Whether KV finds a way from every prefill rank to every decode rank."""
    layout = lay_out(scenario, catalog)
    for number, deployment in enumerate(scenario.deployments):
        network = Network(deployment.kv_transfer, Cables())
        stands: dict[str, list[tuple[str, Stand]]] = {}
        for place in layout.pools:
            if place.deployment == number:
                system = catalog.systems[scenario.facility.racks[place.group].system]
                own = stands_of(layout, place, system, catalog.gpus[system.gpu])
                stands[place.pool.role] = [
                    (f"{place.pool.name}-{replica}", stand)
                    for replica, ranks in enumerate(own)
                    for stand in ranks
                ]
        path = f"deployments[{number}].kv_transfer"
        yield from link_problems(path, network, stands.get("prefill", []), stands.get("decode", []))


def _places(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    misfits = placed(scenario, catalog).misfits
    for (path, _, pool), missing in zip(_pools(scenario), misfits, strict=True):
        if missing:
            message = (
                f"{missing} of {pool.replicas} replicas of {pool.gpus_per_replica} GPUs find no "
                f"rack of group {pool.racks} with that many free: in one NVLink domain, or in "
                "whole ones"
            )
            yield Problem(f"{path}.replicas", message, pool.replicas)


def _roles(scenario: Scenario) -> Iterator[Problem]:
    for number, deployment in enumerate(scenario.deployments):
        seen: set[str] = set()
        for position, pool in enumerate(deployment.pools):
            if pool.role in seen:
                message = "a deployment has one pool of each role"
                yield Problem(f"deployments[{number}].pools[{position}].role", message, pool.role)
            seen.add(pool.role)


def _contract(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """The contract must hold the facility's idle racks."""
    contracted_mw = scenario.facility.contracted_mw
    idle_w = 0.0
    for group in scenario.facility.racks:
        system = catalog.systems[group.system]
        idle_w += group.count * idle_rack_w(system, catalog.gpus[system.gpu])
    idle_mw = scenario.cells.count * idle_w * (scenario.facility.pue or 1.0) / 1e6
    if contracted_mw is not None and contracted_mw < idle_mw:
        message = "is below what the idle racks draw, with PUE"
        allowed = f"at least {idle_mw:.4g}"
        yield Problem("facility.contracted_mw", message, contracted_mw, allowed)


def _demand(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """A demand that cannot be made: by its files, and by the first request of its trace."""
    trace = scenario.workload.trace
    sizes = [block_size(deployment) for deployment in scenario.deployments]
    try:
        workload = build_workload(scenario, catalog, sizes)
        first = None if trace is None else next(iter(workload.start()), None)
    except ScenarioError as error:
        yield from error.problems
    except InputError as error:
        if trace is None or _format_of(trace.path) == trace.format:
            yield Problem("workload", str(error))
            return
        message = f"the file cannot be read as this: {error}"
        allowed = ", ".join(get_args(TraceFormat))
        yield Problem("workload.trace.format", message, trace.format, allowed)
    else:
        if first is None and trace is not None and (trace.from_s or trace.to_s is not None):
            message = "no request of the trace comes from then on"
            yield Problem("workload.trace.from_s", message, trace.from_s, "less than its duration")


def _format_of(path: str) -> str | None:
    """The format that a trace is in by its first row, if any."""
    try:
        return detect(path)
    except InputError:
        return None
