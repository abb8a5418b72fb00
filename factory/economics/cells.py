"""How far the simulated cells of a facility differ: mean and standard error of headline figures.

Cells are alike but for their draws, so that figures of the facility, count / simulated times the
sum over the simulated cells, are as uncertain as the mean over them: the standard deviation between
cells over the root of their number. Cells that share a budget which binds do not differ
independently of each other; then it is an estimate.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from factory.economics.totals import PricedIntervals, Totals
from factory.economics.unit_costs import unit_costs
from factory.records.cell_views import SPREAD


def cell_figures(intervals: PricedIntervals) -> dict[str, Any]:
    """Cells of the run, and mean and standard error over those that were simulated.

    Args:
        intervals: The run's intervals with their prices.

    Returns:
        `count`, `simulated`, and `spread`: by figure of `v_cell_spread` the `mean` over simulated
        cells, of one cell and not weighted, and its `stderr`, None for fewer than two. A figure
        that some cell does not have is None.
    """
    run = intervals.run
    weight = run.cells / run.cells_simulated
    cells = [
        _figures(intervals.total(intervals.is_measured & (intervals.cell == cell), run.measured_s))
        for cell in range(run.cells_simulated)
    ]
    return {
        "count": run.cells,
        "simulated": run.cells_simulated,
        "spread": {
            name: _spread([figures[name] for figures in cells], weight if name in _SUMS else 1.0)
            for name in SPREAD
        },
    }


#: Figures that weights multiply.
_SUMS = frozenset(("tokens_per_s_output_good", "cost_usd", "facility_kw"))


def _figures(totals: Totals) -> dict[str, float | None]:
    return {**unit_costs(totals), "cost_usd": totals.cost_usd}


def _spread(values: list[float | None], weight: float) -> dict[str, float | None]:
    known = [value / weight for value in values if value is not None]
    if len(known) < len(values):
        return {"mean": None, "stderr": None}
    cells = np.array(known)
    stderr = float(cells.std(ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else None
    return {"mean": float(cells.mean()), "stderr": stderr}
