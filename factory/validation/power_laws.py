"""Laws over power: what nodes draw, how energy adds up, the battery, the meter of demand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.economics.power import parameter
from factory.records.derive import JOULES_PER_KWH
from factory.records.power_views import BATTERY_EFFICIENCY
from factory.records.reader import Columns, RunReader
from factory.validation.request_laws import largest
from factory.validation.results import LawResult, departure, within

_CLOSE = 1e-9
_QUARTER_S = 900.0
_PARTS = ("energy_gpu_kwh", "energy_other_kwh", "energy_loss_kwh", "energy_it_kwh")
_BOUNDARIES = ("energy_gpu_kwh", "energy_it_kwh", "energy_facility_kwh")
_NODES = (
    "power_node",
    "level",
    "window_index",
    "window_s",
    *_PARTS,
    "energy_facility_kwh",
    "peak_1s_it_kw",
    "mean_it_kw",
    "budget_it_kw",
    "limit_it_kw",
    "mean_headroom_it_kw",
    "dark_s",
    "curtailed_s",
)
_GRID = (
    "window_index",
    "window_s",
    "energy_it_kwh",
    "energy_facility_kwh",
    "energy_grid_kwh",
    "battery_charged_kwh",
    "battery_discharged_kwh",
    "battery_level_kwh",
)
_POOLS = ("window_index", *_BOUNDARIES, "energy_gpu_idle_kwh")


def power_laws(reader: RunReader) -> list[LawResult]:
    """Every law over power.

    Args:
        reader: Tables of the run.

    Raises:
        InputError: A table is missing.
    """
    nodes = reader.read("fact_power", _NODES)
    grid = reader.read("fact_grid", _GRID)
    pools = reader.read("fact_intervals", _POOLS)
    return [
        _parts(nodes, grid, pools),
        _tree(reader, nodes),
        _limits(reader, nodes),
        _dark(nodes),
        _grid_balance(grid),
        _battery(reader, grid),
        _meter(reader, grid),
        _requests(reader, pools),
        _down(reader),
    ]


def _by_window(
    rows: Columns, name: str, which: NDArray[np.bool_], count: int
) -> NDArray[np.float64]:
    windows = rows.number("window_index")[which].astype(np.int64)
    return np.bincount(windows, rows.number(name)[which], count).astype(np.float64)


def _parts(nodes: Columns, grid: Columns, pools: Columns) -> LawResult:
    """∫ power = energy = Σ of its parts: pools, racks, facility and grid agree in every window.

    A facility's overhead goes to pools and racks by IT energy; where nothing draws any, it is the
    facility's alone.
    """
    tables = (pools, nodes, grid)
    count = 1 + int(max(t.number("window_index").max(initial=-1.0) for t in tables))
    worst, told = 0.0, "no power rows"
    has_it = _by_window(nodes, "energy_it_kwh", nodes.is_equal("level", "facility"), count) > 0.0
    for name in _BOUNDARIES if nodes.rows else ():
        sums = {"pools": _by_window(pools, name, np.ones(pools.rows, np.bool_), count)}
        for level in ("rack", "facility"):
            is_level = nodes.is_equal("level", level)
            if is_level.any():
                sums[level] = _by_window(nodes, name, is_level, count)
        if grid.rows and name != "energy_gpu_kwh":
            sums["grid"] = _by_window(grid, name, np.ones(grid.rows, np.bool_), count)
        low, high = np.min(list(sums.values()), axis=0), np.max(list(sums.values()), axis=0)
        alone = ~has_it & (name == "energy_facility_kwh")
        off, window = largest(np.where(alone, 0.0, (high - low) / np.maximum(high, 1e-12)))
        if off >= worst:
            worst = off
            parts = ", ".join(f"{where} {values[window]:.9g}" for where, values in sums.items())
            told = f"{name} in window {window}: {parts}"
    idle = pools.number("energy_gpu_idle_kwh")
    gpu = pools.number("energy_gpu_kwh")
    over, row = largest(np.maximum(idle - gpu, -idle) / np.maximum(gpu, 1e-12))
    if over > max(worst, _CLOSE):
        worst, told = over, f"energy_gpu_idle_kwh {idle[row]:.9g} of {gpu[row]:.9g} in row {row}"
    return within("energy_is_sum_of_parts", worst, _CLOSE, told)


def _tree(reader: RunReader, nodes: Columns) -> LawResult:
    """GPUs, the rest and losses make IT energy, and a node's are the sums of those beneath it."""
    name = "energy_adds_up_the_tree"
    if not nodes.rows:
        return within(name, 0.0, _CLOSE, "no power rows")
    energy = {part: nodes.number(part) for part in _PARTS}
    it = energy["energy_it_kwh"]
    floor = np.maximum(it, 1e-12)
    own = np.abs(sum(energy[part] for part in _PARTS[:3]) - it) / floor
    worst, row = largest(own)
    offender = f"GPUs, the rest and losses against IT{_at(nodes, row)}" if worst > _CLOSE else ""
    dim = reader.read("dim_power_nodes", ("power_node", "parent_power_node"))
    above = dict(zip(dim.strings("power_node"), dim.strings("parent_power_node"), strict=True))
    windows = nodes.number("window_index").astype(int).tolist()
    places = list(zip(nodes.strings("power_node"), windows, strict=True))
    at = {place: index for index, place in enumerate(places)}
    beneath: dict[int, list[int]] = {}
    for index, (node, window) in enumerate(places):
        parent = at.get((above.get(node), window))
        if parent is not None:
            beneath.setdefault(parent, []).append(index)
    for parent, children in beneath.items():
        for part in _PARTS:
            values = energy[part]
            off = abs(float(values[children].sum()) - float(values[parent])) / float(floor[parent])
            if off > max(worst, _CLOSE):
                worst, offender = off, f"{part} beneath{_at(nodes, parent)}"
    detail = f"{len(beneath)} sums of nodes beneath one, {nodes.rows} rows"
    return within(name, worst, _CLOSE, detail + (f"; worst: {offender}" if offender else ""))


def _at(nodes: Columns, row: int) -> str:
    window = int(nodes.number("window_index")[row])
    return f" {nodes.strings('power_node')[row]}, window {window}"


def _limits(reader: RunReader, nodes: Columns) -> LawResult:
    """Under ideal control no node draws more than its limit over any second.

    Where a curtailment moves the limit within a window, its energy is held to the integral of the
    limit instead.
    """
    name = "power_within_budget"
    mode = parameter(reader, "facility.control.mode") or "ideal"
    limit = nodes.number("limit_it_kw")
    if mode != "ideal":
        return within(name, 0.0, _CLOSE, f"control is {mode}: nodes may exceed their budgets")
    if not np.isfinite(limit).any():
        return within(name, 0.0, _CLOSE, "no node has a budget")
    budget = nodes.number("budget_it_kw")
    bound = np.where(_steady(nodes) | (limit == budget), limit, np.nan)
    drawn = np.fmax(nodes.number("peak_1s_it_kw"), nodes.number("mean_it_kw"))
    short = np.nan_to_num(-nodes.number("mean_headroom_it_kw") / limit, nan=-np.inf)
    over = np.fmax(np.nan_to_num((drawn - bound) / bound, nan=-np.inf), short)
    worst, row = largest(over)
    most = bound[row] if np.isfinite(bound[row]) else limit[row]
    detail = f"closest:{_at(nodes, row)}: {drawn[row]:.6g} of {most:.6g} kW"
    return within(name, max(worst, 0.0), _CLOSE, detail)


def _steady(nodes: Columns) -> NDArray[np.bool_]:
    """Whether a row's limit holds all through its window: as before, as after, and curtailed."""
    limit = nodes.number("limit_it_kw")
    whole = nodes.number("curtailed_s") >= nodes.number("window_s") * (1 - _CLOSE)
    node = np.asarray(nodes.text("power_node").codes)
    order = np.lexsort((nodes.number("window_index"), node))
    same = (node[order][1:] == node[order][:-1]) & (limit[order][1:] == limit[order][:-1])
    steady = np.zeros(nodes.rows, np.bool_)
    steady[order] = np.concatenate([[False], same]) & np.concatenate([same, [False]])
    return steady & whole


def _dark(nodes: Columns) -> LawResult:
    """A node that is dark for a whole window draws nothing in it; below a rack, its GPUs do not."""
    dark = nodes.number("dark_s") >= nodes.number("window_s") * (1 - _CLOSE)
    dark &= nodes.number("window_s") > 0.0
    drawn = np.where(
        nodes.is_equal("level", "node"),
        nodes.number("energy_gpu_kwh"),
        nodes.number("energy_it_kwh"),
    )
    worst, row = largest(np.where(dark, drawn, 0.0))
    detail = f"{nodes.number('dark_s').sum():.9g} dark seconds, {int(dark.sum())} whole windows"
    if worst > 0.0:
        detail += f"; kWh drawn by{_at(nodes, row)}"
    return within("dark_nodes_draw_nothing", worst, 1e-12, detail)


def _grid_balance(grid: Columns) -> LawResult:
    """Grid energy is the facility's, plus what charges the battery, less what it gives."""
    facility, drawn = grid.number("energy_facility_kwh"), grid.number("energy_grid_kwh")
    charged, given = grid.number("battery_charged_kwh"), grid.number("battery_discharged_kwh")
    size = np.maximum(np.maximum(facility, drawn), 1e-12)
    off = np.abs(facility + charged - given - drawn) / size
    # An overhead is never negative, nor is what a battery takes or gives, nor what the grid gives.
    below = np.max([grid.number("energy_it_kwh") - facility, -charged, -given, -drawn], axis=0)
    worst, row = largest(np.maximum(off, below / size))
    detail = f"{facility.sum():.9g} kWh of the facility, {drawn.sum():.9g} of the grid"
    if worst > _CLOSE:
        detail += f"; worst in window {int(grid.number('window_index')[row])}"
    return within("grid_energy_by_cause", worst, _CLOSE, detail)


def _battery(reader: RunReader, grid: Columns) -> LawResult:
    """What a battery takes, times its efficiency, less what it gives is the change of its level."""
    level = grid.number("battery_level_kwh")
    charged, given = grid.number("battery_charged_kwh"), grid.number("battery_discharged_kwh")
    moved = float((charged + given).sum())
    if not np.isfinite(level).any():
        return within("battery_conserved", moved, 0.0, "no battery")
    efficiency = _number(reader, BATTERY_EFFICIENCY, 1.0)
    scale = _simulated_share(reader)
    capacity = _number(reader, "facility.grid.battery.capacity_mwh", np.inf) * 1e3 * scale
    power_kw = _number(reader, "facility.grid.battery.power_mw", np.inf) * 1e3 * scale
    size = max(float(level.max()), moved, 1e-12)
    change = efficiency * charged - given
    off = {
        "level": float(np.abs(np.diff(level) - change[1:]).max(initial=0.0)) / size,
        "capacity": max(float(level.max()) / capacity - 1.0, float(-level.min()) / size),
        "power": max(
            float((kwh * 3600.0 - power_kw * grid.number("window_s")).max()) / (size * 3600.0)
            for kwh in (charged, given)
        ),
    }
    worst = max(off, key=lambda name: off[name])
    detail = f"{charged.sum():.9g} kWh taken, {given.sum():.9g} given at {efficiency:g}, "
    detail += f"level {level.min():.6g} to {level.max():.6g} kWh; closest: {worst}"
    return within("battery_conserved", max(off[worst], 0.0), _CLOSE, detail)


def _number(reader: RunReader, path: str, default: float) -> float:
    """A number of the resolved scenario, or a default where it says none."""
    text = parameter(reader, path)
    return default if text is None else float(text)


def _simulated_share(reader: RunReader) -> float:
    row = reader.read("fact_runs", ("cells", "cells_simulated"))
    return float(row.number("cells_simulated")[0] / row.number("cells")[0])


def _meter(reader: RunReader, grid: Columns) -> LawResult:
    """Quarters follow one another, and together hold all energy from the grid."""
    name = "demand_meter_is_grid_energy"
    columns = ("start_time_s", "end_time_s", "is_whole", "energy_grid_kwh")
    quarters = reader.read("fact_demand_meter", columns)
    drawn = float(grid.number("energy_grid_kwh").sum())
    metered = float(quarters.number("energy_grid_kwh").sum())
    start, end = quarters.number("start_time_s"), quarters.number("end_time_s")
    span = end - start
    off = departure(metered, drawn)
    gap = float(np.abs(start[1:] - end[:-1]).max(initial=0.0))
    uneven = np.where(quarters.flag("is_whole"), np.abs(span - _QUARTER_S), span - _QUARTER_S)
    wrong_s = max(gap, float(uneven.max(initial=0.0)))
    detail = f"{quarters.rows} quarters: {metered:.9g} kWh, of the grid {drawn:.9g}"
    if wrong_s > 1e-6:
        detail += f"; {wrong_s:.6g} s between quarters, or off the length of one"
    return within(name, max(off, wrong_s * 1e-3), _CLOSE, detail)


def _requests(reader: RunReader, pools: Columns) -> LawResult:
    """Σ requests' joules + idle joules = what GPUs drew, exactly where nothing is in flight.

    Every step's joules go to those in it, by their share of its work, whether or not their requests
    are served in the end.
    """
    rows = reader.read("fact_requests", ("outcome", "energy_input_j", "energy_output_j"))
    asked = float((rows.number("energy_input_j") + rows.number("energy_output_j")).sum())
    idle = float(pools.number("energy_gpu_idle_kwh").sum()) * JOULES_PER_KWH
    drawn = float(pools.number("energy_gpu_kwh").sum()) * JOULES_PER_KWH
    is_drained = not rows.is_equal("outcome", "in_flight").any()
    off = departure(asked + idle, drawn) if is_drained or asked + idle > drawn else 0.0
    detail = f"{asked:.9g} J of requests + {idle:.9g} J idle, of {drawn:.9g} J"
    return within("request_energy_and_idle_are_gpu_energy", off, 1e-6, detail)


#: Kinds of events that take GPUs out of service, by the state of the ledger that shows it.
_TAKEN_BY = {
    "failed": ("failed",),
    "tripped": ("breaker_tripped",),
    "maintenance": ("maintenance_began", "upgrade_began"),
}


def _down(reader: RunReader) -> LawResult:
    """No GPU is down before an event of the kind that takes it down."""
    events = reader.read("fact_events", ("event_time_s", "kind"))
    names = [f"gpu_s_{state}" for state in _TAKEN_BY]
    pools = reader.read("fact_intervals", ("window_start_time_s", "window_s", *names))
    end_s = pools.number("window_start_time_s") + pools.number("window_s")
    worst, told = 0.0, []
    for state, kinds in _TAKEN_BY.items():
        gpu_s = pools.number(f"gpu_s_{state}")
        kind = np.any([events.is_equal("kind", name) for name in kinds], axis=0)
        first_s = float(events.number("event_time_s")[kind].min(initial=np.inf))
        early = float(gpu_s[end_s <= first_s].sum())
        told.append(f"{gpu_s.sum():.9g} GPU s {state}, {int(kind.sum())} events")
        if early > worst:
            worst = early
            told.append(f"{early:.9g} of them in windows before the first")
    return within("down_time_has_events", worst, 1e-6, "; ".join(told))
