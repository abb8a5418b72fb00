"""Budgets of the power tree, and profiles, against the hardware that shall keep them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from factory.errors import Problem
from factory.power import gpu_watts, idle_watts
from factory.power.profiles import profiles_of
from factory.scenario import Catalog, Cells, Pool, Scenario
from factory.simulation.names import Layout, lay_out
from factory.simulation.power_builder import law_of, shares_of
from factory.simulation.power_places import NodePlace


@dataclass(frozen=True, slots=True)
class _Draw:
    """What a node draws with models loaded and nothing to do, and with one replica at work.

    Attributes:
        idle_kw: IT power while every replica waits, kW.
        work_kw: IT power with one replica at work, the one that adds most, at its lowest clock, kW.
            With less it would wait for ever.
        clock: That clock.
    """

    idle_kw: float
    work_kw: float
    clock: float


def power_problems(scenario: Scenario, catalog: Catalog) -> Iterator[Problem]:
    """Budgets that the hardware cannot keep, and profiles that it does not have.

    Args:
        scenario: One whose replicas all find a place.
        catalog: What its names refer to.
    """
    for path, pool in pools_of(scenario):
        group = next(rack for rack in scenario.facility.racks if rack.name == pool.racks)
        name = catalog.systems[group.system].gpu
        known = profiles_of(catalog.gpus[name])
        if pool.power.profile not in known:
            message = f"no power profile of {name}"
            yield Problem(f"{path}.power.profile", message, pool.power.profile, ", ".join(known))
    cell = one_cell(scenario)
    layout = lay_out(cell, catalog)
    said: set[str] = set()
    draws = _draws(cell, catalog, layout)
    # Only ideal control lets a replica wait for power.
    waits = scenario.facility.control.mode == "ideal"
    for code, node in enumerate(layout.power.nodes):
        if node.budget_kw is None:
            continue
        path = path_of(cell, layout, code)
        if path in said:
            continue
        problem = _too_small(scenario, path, node, draws[code], waits=waits)
        if problem is not None:
            said.add(path)
            yield problem


def pools_of(scenario: Scenario) -> Iterator[tuple[str, Pool]]:
    """(its path, the pool) of all pools."""
    for number, deployment in enumerate(scenario.deployments):
        for position, pool in enumerate(deployment.pools):
            yield f"deployments[{number}].pools[{position}]", pool


def one_cell(scenario: Scenario) -> Scenario:
    """One cell of the scenario, with its share of the facility's budget."""
    facility = scenario.facility
    if facility.budget_mw is None:
        return scenario
    share = facility.budget_mw / scenario.cells.count
    own = facility.model_copy(update={"budget_mw": share})
    return scenario.model_copy(update={"facility": own, "cells": Cells()})


def path_of(scenario: Scenario, layout: Layout, code: int) -> str:
    """Where in the scenario the budget of a node stands."""
    node = layout.power.nodes[code]
    if node.level == "facility":
        return "facility.budget_mw"
    if node.level == "row":
        rows = [i for i, row in enumerate(scenario.facility.rows) for _ in range(row.count)]
        return f"facility.rows[{rows[code - 1]}].budget_kw"
    field = "budget_kw" if node.level == "rack" else "node_budget_kw"
    return f"facility.racks[{node.group}].{field}"


# -- what the hardware draws -------------------------------------------------------------------


def _draws(scenario: Scenario, catalog: Catalog, layout: Layout) -> dict[int, _Draw]:
    """What each node draws at least, by its code."""
    power = layout.power
    used, largest = _occupied(scenario, catalog, layout)
    idle_kw = [0.0] * len(power.nodes)
    rises = [(0.0, 1.0)] * len(power.nodes)
    for code in range(len(power.nodes) - 1, -1, -1):
        node = power.nodes[code]
        if node.group >= 0:
            system = catalog.systems[scenario.facility.racks[node.group].system]
            gpu = catalog.gpus[system.gpu]
            law = law_of(node, system, gpu)
            loaded_w, clock = idle_watts(gpu, loaded=True), gpu.min_clock_ratio
            rise_w = max(gpu_watts(gpu, 1.0, clock, 1.0, clock) - loaded_w, 0.0)
            bare_w = idle_watts(gpu, loaded=False) * (node.gpus - used[code])
            gpu_w = used[code] * loaded_w + bare_w
            work_w = gpu_w + largest[code] * rise_w
            idle_kw[code] = (gpu_w + sum(law(gpu_w, 1.0))) / 1e3
            rises[code] = ((work_w + sum(law(work_w, 1.0))) / 1e3 - idle_kw[code], clock)
        if node.parent >= 0 and node.level != "node":
            idle_kw[node.parent] += idle_kw[code]
            rises[node.parent] = max(rises[node.parent], rises[code])
    return {
        code: _Draw(idle, idle + rise, clock)
        for code, (idle, (rise, clock)) in enumerate(zip(idle_kw, rises, strict=True))
    }


def _occupied(
    scenario: Scenario, catalog: Catalog, layout: Layout
) -> tuple[Counter[int], Counter[int]]:
    """GPUs of replicas, and those of the largest one, by code of their rack and of their server."""
    power = layout.power
    used: Counter[int] = Counter()
    largest: Counter[int] = Counter()
    for place in layout.pools:
        system = catalog.systems[scenario.facility.racks[place.group].system]
        for number, rack in enumerate(place.racks):
            counts = {power.racks[rack]: len(layout.gpus[place.code][number])}
            for code, share in shares_of(layout, place, number, system.gpus_per_node):
                counts[code] = round(share * counts[power.racks[rack]])
            for code, gpus in counts.items():
                used[code] += gpus
                largest[code] = max(largest[code], gpus)
    return used, largest


def _too_small(
    scenario: Scenario, path: str, node: NodePlace, draw: _Draw, *, waits: bool
) -> Problem | None:
    """A budget that cannot be kept by lowering clocks."""
    budget = node.budget_kw
    assert budget is not None
    if budget >= (draw.work_kw if waits else draw.idle_kw):
        return None
    facility = scenario.facility
    scale, unit, given = 1.0, "kW", budget
    beside = ""
    if node.level == "facility":
        assert facility.budget_mw is not None
        pue = facility.pue or 1.0
        scale, unit, given = pue * scenario.cells.count / 1e3, "MW", facility.budget_mw
        beside = f", PUE {pue:.4g} included"
    cells = scenario.cells.count
    what = f"its {node.gpus} GPUs" if node.system is None else f"{node.gpus} GPUs of {node.system}"
    if node.level == "facility" and cells > 1:
        what = f"the {cells * node.gpus} GPUs of all {cells} cells"
    idle, most, design = (
        scale * kw for kw in (draw.idle_kw, draw.work_kw, max(node.design_it_kw, draw.work_kw))
    )
    short = (idle if budget < draw.idle_kw else most) - scale * budget
    if budget < draw.idle_kw:
        message = (
            f"is {short:.3g} {unit} below the {idle:.4g} {unit} that {what} draw idle with their "
            f"hosts{beside}: no clock goes there"
        )
    else:
        message = (
            f"is {short:.3g} {unit} below what {what} draw idle with one replica at work, at its "
            f"lowest clock ({draw.clock:g}){beside}: it would wait for ever"
        )
    return Problem(path, message, given, f"{most:.4g} to {design:.4g} {unit}, the design power")
