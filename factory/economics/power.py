"""Power and energy of a run: by cause, at the grid, at its limits, and what was down.

Figures are of the measured interval and of all cells together, as those of the views on power.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.economics.totals import RunFacts, Totals
from factory.economics.unit_costs import divided
from factory.records.codes import LEDGER_STATES, RESTART_BEGAN, STATE_STARTING
from factory.records.columns import Text
from factory.records.power_views import (
    BATTERY_EFFICIENCY,
    DOWN_STATES,
    ENERGY_CAUSES,
    RESTART_STATES,
    RESUMED_STATE,
)
from factory.records.reader import Columns, RunReader

_MARKED = ("capped", "braked", "dark")
_GRID = (
    "weight",
    "is_measured",
    "window_index",
    "energy_it_kwh",
    "energy_facility_kwh",
    "energy_grid_kwh",
    "battery_charged_kwh",
    "battery_discharged_kwh",
    "battery_level_kwh",
    "peak_1s_grid_kw",
    "excess_kwh",
    "curtailed_s",
    "electricity_usd",
    "emissions_g",
)
_NODES = (
    "weight",
    "power_node",
    "level",
    "is_measured",
    "window_index",
    "window_s",
    "energy_other_kwh",
    "energy_loss_kwh",
    "peak_1s_it_kw",
    "mean_it_kw",
    "budget_it_kw",
    "limit_it_kw",
    "mean_headroom_it_kw",
    *(f"{what}_s" for what in _MARKED),
)


def parameter(reader: RunReader, path: str) -> str | None:
    """A value of the resolved scenario, in words.

    Args:
        reader: Tables of the run.
        path: As `--set` takes it.

    Returns:
        None where the scenario has no such path, or says null.

    Raises:
        InputError: The table is missing.
    """
    rows = reader.read("fact_run_parameters", ("path", "value"))
    found: Text = rows.text("path")
    if path not in found.values:
        return None
    return rows.strings("value")[int(np.argmax(rows.is_equal("path", path)))]


def power_figures(reader: RunReader, facts: RunFacts) -> dict[str, Any]:
    """What `run --json` says of power beside its means.

    Args:
        reader: Tables of the run.
        facts: The run's row.

    Returns:
        kW, seconds and ratios by name. `capped_s`, `braked_s` and `dark_s` count the time in which
        some node was, of each window that of the node that was longest; `capped_ratio` and so on
        are their share of the measured time. Headroom is the facility's; `tightest` is the node
        with the least mean headroom over its limit; `above_budget` has the nodes that drew more
        than their own budget over some second (see `_above_budget`). The facility's peak is that
        of IT with the overhead of its window. A figure without a limit, a whole quarter or a
        series is None.

    Raises:
        InputError: A table is missing.
    """
    grid = _measured(reader, "fact_grid", _GRID)
    nodes = _measured(reader, "fact_power", _NODES)
    weight = grid["weight"]
    facility = nodes["level"] == "facility"
    marked = {what: longest_s(nodes["window_index"], nodes[f"{what}_s"]) for what in _MARKED}
    top = {name: values[facility] for name, values in nodes.items()}
    energy_kwh = {
        at: float((weight * grid[f"energy_{at}_kwh"]).sum()) for at in ("it", "facility", "grid")
    }
    limited = top["weight"] * top["limit_it_kw"]
    peak_it_kw = top["weight"] * top["peak_1s_it_kw"]
    return {
        "mean_grid_kw": divided(energy_kwh["grid"] * 3600, facts.measured_s),
        "peak_1s_it_kw": _most(peak_it_kw),
        "peak_1s_facility_kw": _most(peak_it_kw * _overhead(top["window_index"], grid)),
        "peak_1s_grid_kw": _most(weight * grid["peak_1s_grid_kw"]),
        **_demand(reader),
        "contracted_facility_kw": facts.contracted_facility_mw * 1e3,
        "pue_ratio": divided(energy_kwh["facility"], energy_kwh["it"]),
        "limit_it_kw": None if np.isnan(limited).all() else float(np.nanmin(limited)),
        "mean_headroom_it_kw": _headroom(
            top["weight"] * top["mean_headroom_it_kw"], top["window_s"]
        ),
        "tightest": _tightest(nodes),
        "above_budget": _above_budget(nodes),
        "control_mode": parameter(reader, "facility.control.mode"),
        **{f"{what}_s": seconds for what, seconds in marked.items()},
        **{f"{what}_ratio": divided(seconds, facts.measured_s) for what, seconds in marked.items()},
        "curtailed_s": float(grid["curtailed_s"].sum()),
        "excess_kwh": float((weight * grid["excess_kwh"]).sum()),
        **_stranded(reader, facts),
    }


def energy_figures(reader: RunReader, totals: Totals) -> dict[str, Any]:
    """Energy by cause, and what it cost and emitted at the grid.

    Args:
        reader: Tables of the run.
        totals: Of the measured interval.

    Returns:
        `grid_kwh`; `by_cause`: kWh by cause of `v_energy_by_cause`, which add up to it;
        what a battery took and gave, and held at the end, None without one; `electricity_usd`,
        `emissions_g` and both per unit of energy, None without a series.

    Raises:
        InputError: A table is missing.
    """
    grid = _measured(reader, "fact_grid", _GRID)
    nodes = _measured(reader, "fact_power", _NODES)
    weight = grid["weight"]

    def of_grid(name: str) -> float:
        return float((weight * grid[name]).sum())

    top = nodes["level"] == "facility"
    efficiency = float(parameter(reader, BATTERY_EFFICIENCY) or 1.0)
    drawn, facility = of_grid("energy_grid_kwh"), of_grid("energy_facility_kwh")
    lost = of_grid("battery_charged_kwh") * (1.0 - efficiency)
    idle = totals.amounts["energy_gpu_idle_kwh"]
    parts = (
        totals.amounts["energy_gpu_kwh"] - idle,
        idle,
        *(
            float((nodes["weight"] * nodes[f"energy_{part}_kwh"])[top].sum())
            for part in ("other", "loss")
        ),
        facility - of_grid("energy_it_kwh"),
        lost,
        drawn - facility - lost,
    )
    usd, emissions = of_grid("electricity_usd"), of_grid("emissions_g")
    level_kwh = (weight * grid["battery_level_kwh"])[-1:]
    has_battery = bool(level_kwh.size) and not np.isnan(level_kwh[0])
    return {
        "grid_kwh": drawn,
        "battery_charged_kwh": of_grid("battery_charged_kwh") if has_battery else None,
        "battery_discharged_kwh": of_grid("battery_discharged_kwh") if has_battery else None,
        "battery_level_kwh": float(level_kwh[0]) if has_battery else None,
        "by_cause": dict(zip(ENERGY_CAUSES, parts, strict=True)),
        "electricity_usd": None if np.isnan(usd) else usd,
        "paid_usd_per_mwh": None if np.isnan(usd) else divided(usd * 1e3, drawn),
        "emissions_g": None if np.isnan(emissions) else emissions,
        "carbon_g_per_kwh": None if np.isnan(emissions) else divided(emissions, drawn),
    }


def availability(reader: RunReader) -> dict[str, float | None]:
    """Shares of the provisioned GPU-seconds of pools that were down, and that were not.

    The starts of a pool that nothing scales are shared out by what the replicas that start had been
    held by (`restart_began`); those after a pause are part of the pause, which is no outage, and
    stand apart. Where a pool is scaled, a start cannot be told from one of autoscaling.

    Args:
        reader: Tables of the run.

    Returns:
        `availability_ratio` and the shares that it lacks, by state, with `restarting_ratio` for
        starts, of which `restarting_after_…_ratio` say after what; `resuming_ratio` for starts
        after pauses, which it does not lack. None without GPUs.

    Raises:
        InputError: A table is missing.
    """
    events = reader.read("fact_events", ("kind", "subject", "detail"))
    scaled = events.is_equal("kind", "scale_up") | events.is_equal("kind", "scale_down")
    pools_that_scale = {
        subject
        for subject, is_scaled in zip(events.strings("subject"), scaled.tolist(), strict=True)
        if is_scaled
    }
    starting = f"gpu_s_{LEDGER_STATES[STATE_STARTING]}"
    columns = ("weight", "is_measured", "pool", "role", "gpu_s_provisioned", starting)
    rows = reader.read("fact_intervals", (*columns, *(f"gpu_s_{s}" for s in DOWN_STATES)))
    weight = rows.number("weight") * rows.flag("is_measured") * ~rows.is_equal("role", "unassigned")
    down = {s: float((weight * rows.number(f"gpu_s_{s}")).sum()) for s in DOWN_STATES}
    started = weight * rows.number(starting)
    pools = rows.strings("pool")
    after = dict.fromkeys(RESTART_STATES, 0.0)
    of_pools = _restarts(reader, events)
    for pool in {*pools} - pools_that_scale:
        gpu_s = float(started[rows.is_equal("pool", str(pool))].sum())
        counts = of_pools.get(str(pool)) or {DOWN_STATES[0]: 1}
        for state, count in counts.items():
            after[state] += gpu_s * count / sum(counts.values())
    resuming = after.pop(RESUMED_STATE)
    down["restarting"] = sum(after.values())
    held = float((weight * rows.number("gpu_s_provisioned")).sum())
    return {
        "availability_ratio": divided(held - sum(down.values()), held),
        **{f"{state}_ratio": divided(seconds, held) for state, seconds in down.items()},
        **{f"restarting_after_{s}_ratio": divided(gpu_s, held) for s, gpu_s in after.items()},
        "resuming_ratio": divided(resuming, held),
    }


def _restarts(reader: RunReader, events: Columns) -> dict[str, dict[str, int]]:
    """How many starts there were after each state, by pool."""
    rows = np.flatnonzero(events.is_equal("kind", RESTART_BEGAN))
    if not rows.size:
        return {}
    dim = reader.read("dim_replicas", ("replica", "pool"))
    home = dict(zip(dim.strings("replica"), dim.strings("pool"), strict=True))
    subjects, details = events.strings("subject"), events.strings("detail")
    found: dict[str, dict[str, int]] = {}
    for row in rows.tolist():
        state = str(details[row] or "").removeprefix("after ")
        of = found.setdefault(str(home.get(subjects[row])), dict.fromkeys(RESTART_STATES, 0))
        of[state if state in of else DOWN_STATES[0]] += 1
    return found


def _measured(reader: RunReader, table: str, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Columns of the measured windows, strings as arrays of objects."""
    rows: Columns = reader.read(table, names)
    shown = rows.flag("is_measured")
    found: dict[str, NDArray[Any]] = {}
    for name in names:
        if name in ("level", "power_node"):
            found[name] = np.array(rows.strings(name), dtype=object)[shown]
        elif name != "is_measured":
            found[name] = rows.number(name)[shown]
    return found


def longest_s(windows: NDArray[Any], seconds: NDArray[Any]) -> float:
    """Seconds of the row that has most of each window, added up.

    Args:
        windows: Number of the window of each row.
        seconds: Seconds of each row, of the same shape.
    """
    if not windows.size:
        return 0.0
    longest = np.zeros(int(windows.max()) + 1)
    np.maximum.at(longest, windows.astype(np.int64), seconds)
    return float(longest.sum())


def _most(values: NDArray[Any]) -> float | None:
    return float(values.max()) if values.size else None


def _overhead(windows: NDArray[Any], grid: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Facility over IT energy of each window; 1 where IT draws nothing."""
    it_kwh = grid["energy_it_kwh"]
    ratio = np.divide(
        grid["energy_facility_kwh"], it_kwh, out=np.ones(len(it_kwh)), where=it_kwh > 0.0
    )
    of = dict(zip(grid["window_index"].tolist(), ratio.tolist(), strict=True))
    return np.array([of.get(window, 1.0) for window in windows.tolist()])


_ABOVE = 1e-6


def _above_budget(nodes: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Nodes whose own budget was passed over some second, the furthest over it first.

    The tables have the highest second of each window, not how many there were: `window_s` adds up
    the windows that hold such a second, `mean_window_s` those that lie above it in the mean. kW are
    the node's own, of all cells for the facility.
    """
    budget_kw = nodes["budget_it_kw"]
    is_top = nodes["level"] == "facility"
    over_kw = np.where(is_top, nodes["weight"], 1.0) * (nodes["peak_1s_it_kw"] - budget_kw)
    passed = nodes["peak_1s_it_kw"] > budget_kw * (1.0 + _ABOVE)
    lasted = nodes["mean_it_kw"] > budget_kw * (1.0 + _ABOVE)
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(nodes["power_node"][passed].tolist()):
        mine = passed & (nodes["power_node"] == name)
        most = int(np.flatnonzero(mine)[np.argmax(over_kw[mine])])
        scale = float(nodes["weight"][most]) if is_top[most] else 1.0
        found.append(
            {
                "power_node": str(name),
                "budget_it_kw": scale * float(budget_kw[most]),
                "most_it_kw": float(over_kw[most]),
                "most_ratio": float(nodes["peak_1s_it_kw"][most] / budget_kw[most] - 1.0),
                "windows": int(mine.sum()),
                "window_s": float(nodes["window_s"][mine].sum()),
                "mean_window_s": float(nodes["window_s"][mine & lasted].sum()),
            }
        )
    return sorted(found, key=lambda row: -row["most_ratio"])


def _headroom(headroom_kw: NDArray[Any], window_s: NDArray[Any]) -> float | None:
    """Mean over time of the windows that have a limit."""
    has = ~np.isnan(headroom_kw)
    seconds = float(window_s[has].sum())
    return float((headroom_kw * window_s)[has].sum()) / seconds if seconds else None


def _tightest(nodes: dict[str, NDArray[Any]]) -> dict[str, Any] | None:
    """The node with the least mean headroom over its limit."""
    has = ~np.isnan(nodes["mean_headroom_it_kw"]) & (nodes["limit_it_kw"] > 0.0)
    seconds = nodes["window_s"][has]
    share = (nodes["mean_headroom_it_kw"] / nodes["limit_it_kw"])[has] * seconds
    names = nodes["power_node"][has]
    if not seconds.sum():
        return None
    found, group = np.unique(names.astype(str), return_inverse=True)
    means = np.bincount(group, share) / np.maximum(np.bincount(group, seconds), 1e-12)
    least = int(np.argmin(means))
    return {"power_node": str(found[least]), "headroom_ratio": float(means[least])}


def _demand(reader: RunReader) -> dict[str, Any]:
    """The highest whole quarter of the measured interval."""
    names = ("weight", "is_whole", "is_measured", "mean_grid_kw", "quarter_local")
    rows = reader.read("fact_demand_meter", names)
    shown = np.flatnonzero(rows.flag("is_whole") & rows.flag("is_measured"))
    if not shown.size:
        return {"peak_15min_grid_kw": None, "peak_15min_local": None}
    mean = (rows.number("weight") * rows.number("mean_grid_kw"))[shown]
    highest = int(np.argmax(mean))
    return {
        "peak_15min_grid_kw": float(mean[highest]),
        "peak_15min_local": rows.strings("quarter_local")[int(shown[highest])],
    }


def _stranded(reader: RunReader, facts: RunFacts) -> dict[str, float | None]:
    """IT power that the tree can use, and contracted power that it never can."""
    dim = reader.read("dim_power_nodes", ("level", "usable_it_kw"))
    pue = float(reader.read("fact_runs", ("pue",)).number("pue")[0])
    usable_kw = dim.number("usable_it_kw")[dim.is_equal("level", "facility")]
    if not usable_kw.size:
        return {"usable_it_kw": None, "stranded_facility_kw": None}
    usable = float(usable_kw[0]) * facts.cells / facts.cells_simulated
    return {
        "usable_it_kw": usable,
        "stranded_facility_kw": max(facts.contracted_facility_mw * 1e3 - usable * pue, 0.0),
    }
