"""Reads what the screen and the page show of power from a run's tables and summary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.economics.remarks import budget_remarks
from factory.records.codes import LEDGER_STATES
from factory.records.power_views import DOWN_STATES, ENERGY_CAUSES, LEVELS
from factory.records.reader import Columns, RunReader
from factory.report.figures import known
from factory.report.power_model import Cells, Power, PowerLine
from factory.report.power_tree import tree_of

#: What a power chart marks below its time axis: its key, what it is called, and where it is found:
#: seconds of the node that has most, of the facility, or GPU-seconds of the ledger.
MARKS = (
    ("capped", "clocks capped", "nodes"),
    ("braked", "power brake", "nodes"),
    ("curtailed", "curtailed by the grid", "facility"),
    ("tripped", "breaker tripped", "ledger"),
    ("failed", "failed", "ledger"),
    ("maintenance", "maintenance", "ledger"),
    ("paused", "paused", "ledger"),
)


def power_of(
    reader: RunReader,
    run: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    parameters: Mapping[str, str],
    covers: str,
) -> Power:
    """Peak, contract, budgets, headroom and what was down, all cells together.

    Args:
        reader: Tables of the run.
        run: The row of `fact_runs`.
        nodes: Rows of `dim_power_nodes`.
        summary: The fields of ``run --json``.
        parameters: Values of the scenario by path.
        covers: What prices include, in words.
    """
    cells = run["cells"] / run["cells_simulated"]
    grid = reader.read("fact_grid", ("weight", "is_measured", "peak_1s_grid_kw"))
    peaks = (grid.number("weight") * grid.number("peak_1s_grid_kw"))[grid.flag("is_measured")]
    budgets = [
        (node["level"], cells * node["budget_it_kw"])
        for node in nodes
        if node["budget_it_kw"] is not None
    ]
    tree, more_nodes = tree_of(reader, nodes, cells)
    capped = max(tree, key=lambda node: node.capped_s, default=None)
    battery = [known(_part(summary, "energy").get(f"battery_{name}_kwh")) for name in _BATTERY]
    stated_mw = _number(parameters.get("facility.budget_mw"))
    usable = [cells * node["usable_it_kw"] for node in nodes if node["level"] == "facility"]
    contracted_mw = run["contracted_facility_mw"]
    figures = _part(summary, "power")
    energy = _part(summary, "energy")
    down = _part(summary, "availability")
    tightest = _part(figures, "tightest")
    by_cause = _part(energy, "by_cause")
    return Power(
        facility_peak_kw=known(figures.get("peak_1s_facility_kw")),
        grid_kw=known(figures.get("mean_grid_kw")),
        grid_kwh=known(energy.get("grid_kwh")),
        peak_kw=float(peaks.max()) if peaks.size else None,
        contracted_kw=contracted_mw * 1e3 if contracted_mw else None,
        budget_kw=usable[0] * run["pue"] if budgets and usable else None,
        stated_kw=None if stated_mw is None else stated_mw * 1e3,
        budgeted=_budgeted(budgets, cells),
        peak_quarter_kw=known(figures.get("peak_15min_grid_kw")),
        peak_quarter=str(figures.get("peak_15min_local") or ""),
        pue=known(figures.get("pue_ratio")),
        tightest=str(tightest.get("power_node") or ""),
        headroom_ratio=known(tightest.get("headroom_ratio")),
        capped_ratio=known(figures.get("capped_ratio")) or 0.0,
        capped_node=capped.name if capped is not None and capped.capped_s else "",
        device_caps=_device_caps(parameters),
        braked_ratio=known(figures.get("braked_ratio")) or 0.0,
        curtailed_s=known(figures.get("curtailed_s")) or 0.0,
        excess_kwh=known(figures.get("excess_kwh")) or 0.0,
        stranded_kw=known(figures.get("stranded_facility_kw")),
        by_cause={cause: known(by_cause.get(cause)) or 0.0 for cause in ENERGY_CAUSES},
        electricity_usd=known(energy.get("electricity_usd")),
        emissions_g=known(energy.get("emissions_g")),
        is_side_account="electricity" in covers,
        battery=None
        if None in battery
        else (battery[0] or 0.0, battery[1] or 0.0, battery[2] or 0.0),
        availability_ratio=known(down.get("availability_ratio")),
        restarting={s: known(down.get(f"restarting_after_{s}_ratio")) or 0.0 for s in DOWN_STATES},
        resuming_ratio=known(down.get("resuming_ratio")) or 0.0,
        down={s: known(down.get(f"{s}_ratio")) or 0.0 for s in DOWN_STATES},
        above=tuple(budget_remarks(figures)),
        nodes=tree,
        more_nodes=more_nodes,
    )


_BATTERY = ("charged", "discharged", "level")
_CAP = re.compile(r"deployments\[(\d+)\]\.pools\[(\d+)\]\.power\.cap_w")


def _device_caps(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Pools whose GPUs have a cap of their own."""
    capped = (match for path in parameters if (match := _CAP.fullmatch(path)))
    return tuple(
        parameters.get(f"deployments[{match[1]}].pools[{match[2]}].name", "") for match in capped
    )


def _budgeted(budgets: Sequence[tuple[str, float]], cells: float) -> dict[str, tuple[int, float]]:
    """Nodes with a budget below the facility and the sum of these, by level, of all cells."""
    found = {}
    for level in LEVELS[1:]:
        own = [kw for at, kw in budgets if at == level]
        if own:
            found[level] = round(cells * len(own)), sum(own)
    return found


def cells_of(summary: Mapping[str, Any]) -> Cells:
    """The cells that a run stands for, from ``run --json``."""
    told = _part(summary, "cells")
    spread = _part(told, "spread")
    return Cells(
        round(known(told.get("count")) or 1),
        round(known(told.get("simulated")) or 1),
        {name: (known(row.get("mean")), known(row.get("stderr"))) for name, row in spread.items()},
    )


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = whole.get(name)
    return value if isinstance(value, Mapping) else {}


def power_line(reader: RunReader, ledger: Mapping[str, Sequence[float]], windows: int) -> PowerLine:
    """Power at the grid by window, limits on it, and shares of time that were marked.

    Args:
        reader: Tables of the run.
        ledger: GPU-seconds by state and window.
        windows: How many there are; windows without a row have no power.
    """
    grid = reader.read("fact_grid", _GRID)
    nodes = reader.read("fact_power", _NODES)
    weight = grid.number("weight")
    at = grid.number("window_index").astype(np.int64)

    def by_window(values: NDArray[np.float64]) -> NDArray[np.float64]:
        placed = np.full(windows, np.nan)
        placed[at] = values
        return placed

    span_s = by_window(grid.number("window_s"))
    limit_kw = by_window(weight * grid.number("limit_grid_kw"))
    held_kw = _facility_limit(nodes, by_window(_ratio(grid)))
    shares: dict[str, tuple[float, ...]] = {}
    for key, _, where in MARKS:
        if where == "nodes":
            share = _most_of_nodes(nodes, f"{key}_s", windows)
        elif where == "facility":
            share = by_window(grid.number(f"{key}_s")) / np.where(span_s > 0.0, span_s, np.inf)
        else:
            all_s = np.sum([ledger[state] for state in LEDGER_STATES], axis=0)
            share = np.asarray(ledger[key]) / np.where(all_s > 0.0, all_s, np.inf)
        share = np.clip(np.nan_to_num(share), 0.0, 1.0)
        if share.any():
            shares[key] = tuple(share.tolist())
    return PowerLine(
        grid_kw=_known(by_window(weight * grid.number("mean_grid_kw"))),
        peak_kw=_known(by_window(weight * grid.number("peak_1s_grid_kw"))),
        limit_kw=_known(np.fmin(limit_kw, held_kw)),
        marks=shares,
    )


_GRID = (
    "weight",
    "window_index",
    "window_s",
    "energy_it_kwh",
    "energy_facility_kwh",
    "mean_grid_kw",
    "peak_1s_grid_kw",
    "limit_grid_kw",
    "curtailed_s",
)
_NODES = ("weight", "window_index", "window_s", "level", "limit_it_kw", "capped_s", "braked_s")


def _ratio(grid: Columns) -> NDArray[np.float64]:
    """Facility over IT energy of each row; NaN without IT energy."""
    it = grid.number("energy_it_kwh")
    return grid.number("energy_facility_kwh") / np.where(it > 0.0, it, np.nan)


def _facility_limit(nodes: Columns, ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """The facility's own limit at the facility boundary, by window."""
    top = nodes.is_equal("level", "facility")
    held = np.full(len(ratio), np.nan)
    held[nodes.number("window_index")[top].astype(np.int64)] = (
        nodes.number("weight") * nodes.number("limit_it_kw")
    )[top]
    limited: NDArray[np.float64] = held * ratio
    return limited


def _most_of_nodes(nodes: Columns, column: str, windows: int) -> NDArray[np.float64]:
    """The largest share of each window that a node was marked."""
    span_s = nodes.number("window_s")
    share = nodes.number(column) / np.where(span_s > 0.0, span_s, np.inf)
    most = np.zeros(windows)
    np.maximum.at(most, nodes.number("window_index").astype(np.int64), share)
    return most


def _known(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(known(value) for value in values.tolist())
