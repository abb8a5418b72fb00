"""The power tree as a table: what each node may draw, drew and could not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.records.reader import RunReader
from factory.report.figures import known
from factory.report.power_model import TreeNode

MOST_NODES = 24

_COLUMNS = (
    "is_measured",
    "power_node",
    "window_s",
    "mean_it_kw",
    "peak_1s_it_kw",
    "limit_it_kw",
    "mean_headroom_it_kw",
    "capped_s",
    "braked_s",
    "dark_s",
)


def tree_of(
    reader: RunReader, nodes: Sequence[Mapping[str, Any]], cells: float
) -> tuple[tuple[TreeNode, ...], int]:
    """The facility and the tightest nodes beneath it, over the measured interval.

    A node speaks for itself; only the facility, which all cells share, for all of them.

    Args:
        reader: Tables of the run.
        nodes: Rows of `dim_power_nodes`.
        cells: Cells over those simulated.

    Returns:
        At most `MOST_NODES`, the facility first, then those with the least headroom over their
        limit, and those without a limit last; and how many are left out.
    """
    rows = reader.read("fact_power", _COLUMNS)
    shown = rows.flag("is_measured")
    names = rows.text("power_node")
    group = names.codes[shown]
    count = len(names.values)
    span_s = rows.number("window_s")[shown]

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(group, values, minlength=count).astype(np.float64)

    def seconds(column: str) -> NDArray[np.float64]:
        return total(rows.number(column)[shown])

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        has = ~np.isnan(values)
        all_s = total(np.where(has, span_s, 0.0))
        summed = total(np.where(has, values, 0.0) * span_s)
        means: NDArray[np.float64] = summed / np.where(all_s > 0.0, all_s, np.nan)
        return means

    peak_kw = np.full(count, -math.inf)
    np.maximum.at(peak_kw, group, rows.number("peak_1s_it_kw")[shown])
    mean_kw = mean(rows.number("mean_it_kw")[shown])
    limit_kw = rows.number("limit_it_kw")[shown]
    share = np.divide(
        rows.number("mean_headroom_it_kw")[shown],
        limit_kw,
        out=np.full(len(limit_kw), np.nan),
        where=limit_kw > 0.0,
    )
    headroom = mean(share)
    marked = {what: seconds(f"{what}_s") for what in ("capped", "braked", "dark")}
    place = {str(name): code for code, name in enumerate(names.values)}
    found = []
    for node in nodes:
        code = place.get(node["power_node"])
        if code is None:
            continue
        scale = cells if node["level"] == "facility" else 1.0
        found.append(
            TreeNode(
                node["power_node"],
                node["level"],
                _scaled(node["budget_it_kw"], scale),
                _scaled(known(float(mean_kw[code])), scale),
                _scaled(known(float(peak_kw[code])), scale),
                known(float(headroom[code])),
                float(marked["capped"][code]),
                float(marked["braked"][code]),
                float(marked["dark"][code]),
                _scaled(node["stranded_it_kw"], scale),
            )
        )
    found.sort(key=_tightness)
    return tuple(found[:MOST_NODES]), max(0, len(found) - MOST_NODES)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _tightness(node: TreeNode) -> tuple[bool, float]:
    headroom = node.headroom_ratio
    return node.level != "facility", math.inf if headroom is None else headroom
