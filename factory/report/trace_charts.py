"""Charts of a trace: over time, and by length or size on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from factory.report.charts import PLANE_X, PLANE_Y, Chart, Series, Tick, band, round_up, steps
from factory.report.charts import time_ticks as ticks_of_time
from factory.report.figures import percent, quantity, scaled, significant

_FEWEST_WINDOWS = 3
#: Largest over smallest cache of the curve: smaller ones hold next to nothing.
_WIDEST = 3e4
#: Marks of an axis of times, s.
_TIMES = (1e-3, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36000.0, 360000.0, 3.6e6, 3.6e7)


def rate_over_time(time: Mapping[str, Any]) -> Chart | None:
    """Requests per second of each window."""
    return _over_time(
        time, "rate_per_s", "requests per second", "Requests per second over time", None
    )


def gaps_over_time(time: Mapping[str, Any]) -> Chart | None:
    """Coefficient of variation of the gaps of each window, beside that of Poisson arrivals."""
    return _over_time(
        time, "gap_cv", "CV of gaps", "Coefficient of variation of gaps over time", 1.0
    )


def histogram(
    cells: Sequence[Sequence[float]] | None, key: str, what: str, unit: str
) -> Chart | None:
    """Shares of values in cells of equal ratio.

    Args:
        cells: (from, to, how many) each, side by side.
        key: CSS class of the bars.
        what: What is counted, for words.
        unit: Of the axis, after a number: `s` or nothing.
    """
    if not cells:
        return None
    low, high = cells[0][0], cells[-1][1]
    total = sum(cell[2] for cell in cells)
    shares = [cell[2] / total for cell in cells]
    top = round_up(max(shares))
    edges = [PLANE_X * _place(edge, low, high) for edge in (low, *(cell[1] for cell in cells))]
    bars = band(edges, [0.0] * len(shares), [share / top for share in shares])
    most = max(cells, key=lambda cell: cell[2])
    words = (
        f"{what}: from {_value(low, unit)} to {_value(high, unit)}, most often "
        f"{_value(most[0], unit)} to {_value(most[1], unit)}."
    )
    return Chart(
        (Series(key, what, bars),),
        _log_ticks(low, high, unit),
        tuple(Tick(100 * f, percent(f * top)) for f in (0.0, 0.5, 1.0)),
        (),
        words,
        is_area=True,
    )


def reuse_curve(reuse: Mapping[str, Any]) -> Chart | None:
    """Share of prompt tokens hit by the size of the cache, beside that of one without bound."""
    curve, ideal = reuse["curve"], reuse["ideal_hit_token_ratio"]
    least = curve[-1]["capacity_tokens"] / _WIDEST
    points = [
        (p["capacity_tokens"], p["hit_token_ratio"]) for p in curve if p["capacity_tokens"] >= least
    ]
    if len(points) < 2 or not ideal:
        return None
    low, high = points[0][0], points[-1][0]
    top = min(1.0, round_up(ideal))
    path = "".join(
        f"{'L' if i else 'M'}{PLANE_X * _place(size, low, high):.2f} "
        f"{PLANE_Y * (1 - hit / top):.2f}"
        for i, (size, hit) in enumerate(points)
    )
    line = f"M0 {PLANE_Y * (1 - ideal / top):.2f}H{PLANE_X:g}"
    half = next(size for size, hit in points if hit >= ideal / 2)
    words = (
        f"Share of prompt tokens hit by cache size: half of the ideal {percent(ideal)} with "
        f"{quantity(half)} tokens, all of it with {quantity(high)} tokens."
    )
    return Chart(
        (
            Series("tokens", "one least-recently-used cache", path),
            Series("contract", "a cache without bound", line),
        ),
        _log_ticks(low, high, ""),
        tuple(Tick(100 * f, percent(f * top)) for f in (0.0, 0.5, 1.0)),
        (),
        words,
    )


def _over_time(
    time: Mapping[str, Any], key: str, label: str, title: str, reference: float | None
) -> Chart | None:
    windows = time["windows"]
    known = [window[key] for window in windows if window[key] is not None]
    if len(known) < _FEWEST_WINDOWS:
        return None
    end_s = time["duration_s"]
    top = round_up(max(*known, reference or 0.0))
    width = time["window_s"]
    path = ""
    for window in windows:
        if window[key] is not None:
            start = PLANE_X * window["start_s"] / end_s
            stop = PLANE_X * min(window["start_s"] + width, end_s) / end_s
            part = steps([start, stop], [window[key] / top])
            # Neighbouring windows are one line, drawn through.
            joins = path.endswith(f"H{part[1:].split(' ')[0]}")
            path += f"L{part[1:]}" if joins else part
    series = [Series("tokens", label, path)]
    if reference is not None:
        y = PLANE_Y * (1 - reference / top)
        series.append(Series("contract", "Poisson arrivals", f"M0 {y:.2f}H{PLANE_X:g}"))
    return Chart(
        tuple(series),
        ticks_of_time(0.0, end_s),
        tuple(Tick(100 * f, scaled(f * top)) for f in (0.0, 0.5, 1.0)),
        (),
        f"{title}: {significant(min(known))} to {significant(max(known))}.",
    )


def _place(value: float, low: float, high: float) -> float:
    """Where a value stands on a logarithmic axis, 0 to 1."""
    return math.log(value / low) / math.log(high / low)


def _log_ticks(low: float, high: float, unit: str) -> tuple[Tick, ...]:
    """Powers of ten, every second or third of them where they would stand close; else 1-2-5."""
    decades = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    values = [10.0**e for e in decades]
    if unit == "s":
        values = [t for t in _TIMES if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
    if len(values) < 3:
        values = [
            m * 10.0**e
            for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            for m in (1, 2, 5)
            if low * (1 - 1e-9) <= m * 10.0**e <= high * (1 + 1e-9)
        ]
    values = values or [low, high]
    stride = math.ceil(len(values) / 7)
    return tuple(Tick(100 * _place(v, low, high), _value(v, unit)) for v in values[::stride])


def _value(value: float, unit: str) -> str:
    if unit == "s" and value >= 60:
        size, name = (3600, "h") if value >= 3600 else (60, "min")
        return f"{scaled(value / size)} {name}"
    if unit == "s" and value < 1:
        return f"{scaled(value * 1000)} ms"
    return f"{scaled(value)} {unit}".rstrip()
