"""What a reader of a run's figures must be told, in a sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from factory.units import kilowatts

_MOST = 3

_MODES = {
    "none": "facility.control.mode none watches budgets and holds nothing to them",
    "reactive": "reactive control acts after the fact, by its averaging_s and actuation_s",
}


def unpriced_remark(book: str | None, systems: Iterable[str]) -> str:
    """That prices are stated and lack systems of the facility, and what helps.

    Args:
        book: The price book; None where the scenario states prices itself.
        systems: Systems that it lacks.

    Returns:
        A sentence; empty where none is lacking.
    """
    names = ", ".join(systems)
    if not names:
        return ""
    if book is None:
        return (
            f"prices.usd_per_gpu_hour lacks {names}, so nothing that holds such GPUs has a cost: "
            "state a price for it"
        )
    return (
        f"the price book {book} (prices.book) has no price for {names}, so nothing that holds such "
        "GPUs has a cost: state prices.usd_per_gpu_hour in place of a book, or name one that has "
        "it (factory catalog prices)"
    )


def budget_remarks(power: Mapping[str, Any]) -> list[str]:
    """Which nodes drew more than their own budget, for how long and by how much at most.

    Args:
        power: `power` of the summary.

    Returns:
        A sentence for each of the furthest over theirs, and how many others there were.
    """
    above = power.get("above_budget") or ()
    why = _MODES.get(str(power.get("control_mode") or ""))
    told = []
    for row in above[:_MOST]:
        lasted = f", {row['mean_window_s']:g} s of them above it in the mean"
        budget = kilowatts(row["budget_it_kw"])
        told.append(
            f"power node {row['power_node']} drew more than its budget of {budget} (IT) in "
            f"{_windows(row['windows'])} ({row['window_s']:g} s)"
            f"{lasted if row['mean_window_s'] else ''}: by {kilowatts(row['most_it_kw'])} "
            f"({100.0 * row['most_ratio']:.3g}%) over its highest second"
        )
    if len(above) > _MOST:
        told.append(f"so did {len(above) - _MOST} more power nodes (v_power_nodes)")
    if told and why:
        told[0] += f"; {why}"
    return told


def _windows(number: int) -> str:
    return "1 window" if number == 1 else f"{number:,} windows"
