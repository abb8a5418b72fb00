"""Charts of power: over time beside its limits, with what happened below, and load duration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from factory.report.charts import (
    PLANE_X,
    Chart,
    Lane,
    Series,
    Tick,
    edges,
    lines,
    round_up,
    steps,
)
from factory.report.figures import quantity, scaled
from factory.report.ledger import group
from factory.report.model import Timeline
from factory.report.power_view import MARKS

#: Colours of energy by cause: keys of groups of the ledger, which carry them.
CAUSES = {
    "gpu_active": ("decode", "GPUs at work", "while their replicas do something"),
    "gpu_idle": ("idle", "GPUs idle", "while their replicas do nothing, and GPUs without one"),
    "hosts_and_network": ("prefill", "hosts and network", "CPUs, NICs, switches, fans, storage"),
    "power_supplies": ("stalled", "power supplies", "lost in them"),
    "facility_overhead": ("blocked", "facility overhead", "cooling and distribution"),
    "battery_losses": ("capped", "battery losses", "taken and never given again"),
    "battery_stored": ("fetch", "battery stored", "what it holds more than before"),
}
_FAINTEST = 0.3


def power_over_time(timeline: Timeline) -> Chart | None:
    """Facility power in kW beside contract, budgets and limits; marks of what lowered it."""
    if not timeline.facility_kw:
        return None
    drawn: list[float | None] = list(timeline.facility_kw)
    shown: list[tuple[str, str, Sequence[float | None]]] = [("power", "drawn", drawn)]
    line = timeline.power
    if _differs(line.grid_kw, drawn):
        shown.append(("good", "from the grid", line.grid_kw))
    if timeline.contracted_kw is not None:
        shown.append(("contract", "contracted", [timeline.contracted_kw] * len(drawn)))
    if timeline.budget_kw is not None:
        shown.append(("budget", "all that budgets allow", [timeline.budget_kw] * len(drawn)))
    if any(limit is not None for limit in line.limit_kw):
        shown.append(("limit", "limit in force", line.limit_kw))
    words = "Facility power in kW over simulated time"
    return lines(timeline, shown, words, "kW", lanes(timeline))


def _differs(grid_kw: Sequence[float | None], facility_kw: Sequence[float | None]) -> bool:
    """Whether a battery gives or takes."""
    pairs = zip(grid_kw, facility_kw, strict=False)
    return any(
        a is not None and b is not None and not math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
        for a, b in pairs
    )


def lanes(timeline: Timeline) -> tuple[Lane, ...]:
    """A lane for each thing that lowered power or took GPUs away, at its share of each window."""
    at = [100.0 * edge / PLANE_X for edge in edges(timeline)]
    found = []
    for key, label, _ in MARKS:
        shares = timeline.power.marks.get(key)
        if not shares or not any(shares):
            continue
        found.append(Lane(key, label, _spans(at, shares)))
    return tuple(found)


def _spans(at: Sequence[float], shares: Sequence[float]) -> tuple[tuple[float, float, float], ...]:
    """(left, width, strength) of each run of windows with one share above 0."""
    found: list[tuple[float, float, float]] = []
    before = 0.0
    for i, share in enumerate(shares):
        width = at[i + 1] - at[i]
        if share > 0.0 and share == before:
            left, done, strength = found.pop()
            found.append((left, done + width, strength))
        elif share > 0.0:
            found.append((at[i], width, _FAINTEST + (1.0 - _FAINTEST) * share))
        before = share
    return tuple(found)


def load_duration(timeline: Timeline) -> Chart | None:
    """Power from the grid that is passed for a share of the measured time."""
    rows = [
        (span, grid, peak)
        for span, grid, peak, is_measured in zip(
            timeline.window_s,
            timeline.power.grid_kw,
            timeline.power.peak_kw,
            timeline.is_measured,
            strict=False,
        )
        if is_measured and span > 0.0 and grid is not None and peak is not None
    ]
    highest = max((max(grid, peak) for _, grid, peak in rows), default=0.0)
    if len(rows) < 2 or highest <= 0.0:
        return None
    top = round_up(max(highest, timeline.contracted_kw or 0.0))
    means = sorted(((grid, span) for span, grid, _ in rows), reverse=True)
    peaks = sorted(((peak, span) for span, _, peak in rows), reverse=True)
    series = [
        Series("power", "mean of each window", _curve(means, top)),
        Series("good", "highest second of each window", _curve(peaks, top)),
    ]
    if timeline.contracted_kw is not None:
        flat = steps([0.0, PLANE_X], [timeline.contracted_kw / top])
        series.append(Series("contract", "contracted", flat))
    low = min(grid for grid, _ in means)
    return Chart(
        tuple(series),
        tuple(Tick(float(at), f"{at}%") for at in (0, 25, 50, 75, 100)),
        tuple(Tick(100.0 * f, scaled(f * top)) for f in (0.0, 0.5, 1.0)),
        (),
        "Power from the grid that is passed for a share of the measured time: means of windows "
        f"{quantity(low)} to {quantity(means[0][0])} kW, highest second "
        f"{quantity(peaks[0][0])} kW.",
    )


def _curve(values: Sequence[tuple[float, float]], top: float) -> str:
    """Steps from the highest to the lowest, each as wide as it lasts."""
    all_s = math.fsum(span for _, span in values)
    at, done = [0.0], 0.0
    for _, span in values:
        done += span
        at.append(PLANE_X * done / all_s)
    return steps(at, [value / top for value, _ in values])


def energy_rows(by_cause: Mapping[str, float]) -> list[tuple[str, str, str, float]]:
    """(key, label, meaning, share) of each cause that took energy, of all that did."""
    taken = {cause: kwh for cause, kwh in by_cause.items() if kwh > 0.0}
    total = math.fsum(taken.values()) or 1.0
    return [
        (group(key).key, label, meaning, taken[cause] / total)
        for cause, (key, label, meaning) in CAUSES.items()
        if cause in taken
    ]
