"""Charts of the page: shapes stretch in SVG, words stand in HTML and keep their size on a phone.

A chart's plane is 1000 × 100 units, y downwards, drawn with ``preserveAspectRatio="none"``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory.report.figures import milliseconds, quantity, scaled, trimmed
from factory.report.ledger import GROUPS
from factory.report.model import Quantiles, Tenant, Timeline

PLANE_X = 1000.0
PLANE_Y = 100.0
MOST_WINDOWS = 240


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis: how far along it is, in per cent, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Series:
    """A line or an area of a chart: its CSS class, its name and its path on the plane."""

    key: str
    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Lane:
    """Spans below a chart: (left, width) in per cent of the width, and how strong each is drawn."""

    key: str
    label: str
    spans: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart over time.

    Attributes:
        series: drawn in order.
        x_ticks: along simulated time.
        y_ticks: upwards.
        outside: (left, width) of the spans that no figure covers, in per cent of the width.
        words: what the chart shows, for those who do not see it.
        is_area: whether series are areas rather than lines.
        lanes: spans of time drawn below it.
    """

    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    outside: tuple[tuple[float, float], ...]
    words: str
    is_area: bool = False
    lanes: tuple[Lane, ...] = ()


@dataclass(frozen=True, slots=True)
class Strip:
    """A tenant's p50, p90 and p99 of one latency on a logarithmic axis, places in per cent."""

    tenant: str
    marks: tuple[Tick, ...]
    limit: Tick | None
    is_late: bool
    text: str


@dataclass(frozen=True, slots=True)
class StripChart:
    """One latency of every tenant."""

    title: str
    meaning: str
    ticks: tuple[Tick, ...]
    strips: tuple[Strip, ...]


def rebinned(timeline: Timeline, most: int = MOST_WINDOWS) -> Timeline:
    """The same run in at most `most` windows: additive columns are summed, power is averaged."""
    n = len(timeline.start_s)
    if n <= most:
        return timeline
    width = math.ceil(n / most)
    spans = [slice(i, min(n, i + width)) for i in range(0, n, width)]

    def summed(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(math.fsum(values[span]) for span in spans)

    window_s = summed(timeline.window_s)
    kwh = [p * s for p, s in zip(timeline.facility_kw, timeline.window_s, strict=False)]
    return Timeline(
        start_s=tuple(timeline.start_s[span.start] for span in spans),
        window_s=window_s,
        is_measured=tuple(any(timeline.is_measured[span]) for span in spans),
        ledger={state: summed(values) for state, values in timeline.ledger.items()},
        output_tokens=summed(timeline.output_tokens),
        output_good_tokens=summed(timeline.output_good_tokens),
        facility_kw=tuple(e / s if s else 0.0 for e, s in zip(summed(kwh), window_s, strict=True))
        if timeline.facility_kw
        else (),
        contracted_kw=timeline.contracted_kw,
        budget_kw=timeline.budget_kw,
        power=timeline.power.binned(spans, timeline.window_s),
    )


def ledger_over_time(timeline: Timeline) -> Chart | None:
    """Shares of the provisioned GPU-seconds by group, stacked, over time."""
    at = edges(timeline)
    totals = [math.fsum(column) for column in zip(*timeline.ledger.values(), strict=True)]
    if not any(totals):
        return None
    floor = [0.0] * len(totals)
    series = []
    for group in GROUPS:
        columns = [timeline.ledger[state] for state in group.states if state in timeline.ledger]
        values = [math.fsum(column) for column in zip(*columns, strict=True)]
        if not any(values):
            continue
        top = [
            f + (v / total if total else 0.0)
            for f, v, total in zip(floor, values, totals, strict=True)
        ]
        series.append(Series(group.key, group.label, band(at, floor, top)))
        floor = top
    return Chart(
        tuple(series),
        _time_ticks(timeline),
        tuple(Tick(100.0 * y, f"{100 * y:.0f}%") for y in (0.0, 0.5, 1.0)),
        _outside(timeline),
        "Shares of provisioned GPU-seconds over simulated time: "
        + ", ".join(s.label for s in series)
        + ".",
        is_area=True,
    )


def tokens_over_time(timeline: Timeline) -> Chart | None:
    """Output tokens/s emitted, and those of good requests by the window of completion."""
    emitted = _rates(timeline.output_tokens, timeline.window_s)
    good = _rates(timeline.output_good_tokens, timeline.window_s)
    return lines(
        timeline,
        (("tokens", "output", emitted), ("good", "of good requests, when they complete", good)),
        "Output tokens per second over simulated time",
        "tokens/s",
    )


_LATENCIES = (
    ("ttft", "ttft_ms", "Time to first token", "from the attempt's arrival, queueing included"),
    ("itl", "itl_ms", "Time between tokens", "mean gap of a request after its first token"),
    ("e2e", "e2e_ms", "End to end", "from the first attempt's arrival to the last token"),
)


def latency_strips(tenants: Sequence[Tenant]) -> tuple[StripChart, ...]:
    """p50, p90 and p99 of each tenant beside its limit, one chart for each latency."""
    charts = []
    for name, limit_name, title, meaning in _LATENCIES:
        rows = [(t, getattr(t, name), getattr(t.limits, limit_name)) for t in tenants]
        values = [
            value
            for _, quantiles, limit in rows
            for value in (*quantiles.middle_to_tail, limit)
            if value is not None and value > 0
        ]
        if values:
            low, high = _decades(min(values), max(values))
            strips = tuple(_strip(t.name, q, limit, low, high) for t, q, limit in rows)
            charts.append(StripChart(title, meaning, _log_ticks(low, high), strips))
    return tuple(charts)


def _strip(
    tenant: str, quantiles: Quantiles, limit: float | None, low: float, high: float
) -> Strip:
    def place(value: float) -> float:
        return 100 * (math.log10(max(value, low)) - math.log10(low)) / math.log10(high / low)

    marks = tuple(
        Tick(place(value), f"{label} {milliseconds((value,))}")
        for label, value in zip(("p50", "p90", "p99"), quantiles.middle_to_tail, strict=True)
        if value is not None
    )
    drawn = None if limit is None else Tick(place(limit), f"limit {milliseconds((limit,))}")
    late = limit is not None and quantiles.p99 is not None and quantiles.p99 > limit
    return Strip(tenant, marks, drawn, late, milliseconds(quantiles.middle_to_tail))


def _decades(low: float, high: float) -> tuple[float, float]:
    """Round bounds on a 1-2-5 ladder, at least a factor of five apart."""
    ladder = [m * 10.0**e for e in range(-4, 10) for m in (1, 2, 5)]
    bottom = max(x for x in ladder if x <= max(low / 1.05, ladder[0]))
    top = min((x for x in ladder if x >= high * 1.05), default=high * 2)
    return bottom, max(top, bottom * 5)


def _log_ticks(low: float, high: float) -> tuple[Tick, ...]:
    span = math.log10(high / low)
    steps = (1, 2, 5) if span < 1.5 else (1,)
    values = [
        m * 10.0**e
        for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for m in steps
    ]
    return tuple(
        Tick(100 * math.log10(v / low) / span, _short_ms(v))
        for v in values
        if low * 0.999 <= v <= high * 1.001
    )


def _short_ms(value: float) -> str:
    return f"{trimmed(value / 1000)} s" if value >= 1000 else f"{trimmed(value)} ms"


def lines(
    timeline: Timeline,
    named: Sequence[tuple[str, str, Sequence[float | None]]],
    words: str,
    unit: str,
    lanes: tuple[Lane, ...] = (),
) -> Chart | None:
    """Lines over time on one axis from 0; None where nothing is above 0.

    Args:
        timeline: whose windows they follow.
        named: (key, label, values) of each, one value per window; None leaves a gap.
        words: what the chart shows.
        unit: of the values.
        lanes: spans drawn below.
    """
    present = [(label, [v for v in values if v is not None]) for _, label, values in named]
    highest = max((max(values, default=0.0) for _, values in present), default=0.0)
    if highest <= 0:
        return None
    top = round_up(highest)
    at = edges(timeline)
    series = tuple(
        Series(key, label, steps(at, [None if v is None else v / top for v in values]))
        for key, label, values in named
    )
    ticks = tuple(Tick(100.0 * f, scaled(f * top)) for f in (0.0, 0.5, 1.0))
    ranges = "; ".join(
        f"{label} {quantity(min(values))} to {quantity(max(values))} {unit}"
        for label, values in present
        if values
    )
    told = "".join(f" Marked below: {', '.join(x.label for x in lanes)}." for _ in lanes[:1])
    return Chart(
        series,
        _time_ticks(timeline),
        ticks,
        _outside(timeline),
        f"{words}: {ranges}.{told}",
        lanes=lanes,
    )


def round_up(value: float) -> float:
    """The next round number above: 1, 1.5, 2, 3, 4, 5, 6, 8 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20) if m * power >= value * 1.02)


def _rates(amounts: Sequence[float], spans_s: Sequence[float]) -> list[float]:
    return [a / s if s > 0 else 0.0 for a, s in zip(amounts, spans_s, strict=True)]


def edges(timeline: Timeline) -> list[float]:
    """Window boundaries on the plane's x axis; one more than windows."""
    end_s = _end_s(timeline)
    first = timeline.start_s[0]
    span = (end_s - first) or 1.0
    return [PLANE_X * (s - first) / span for s in (*timeline.start_s, end_s)]


def _end_s(timeline: Timeline) -> float:
    return timeline.start_s[-1] + timeline.window_s[-1]


def steps(at: Sequence[float], shares: Sequence[float | None]) -> str:
    """A line that keeps each value for the whole of its window; None leaves a gap."""
    words = []
    is_drawn = False
    for i, share in enumerate(shares):
        if share is not None:
            y = _n(PLANE_Y * (1 - share))
            words.append(f"{'L' if is_drawn else 'M'}{_n(at[i])} {y}H{_n(at[i + 1])}")
        is_drawn = share is not None
    return "".join(words)


def band(at: Sequence[float], floor: Sequence[float], top: Sequence[float]) -> str:
    """The area between two step lines."""
    back = "".join(
        f"L{_n(at[i + 1])} {_n(PLANE_Y * (1 - floor[i]))}H{_n(at[i])}"
        for i in reversed(range(len(floor)))
    )
    return steps(at, top) + back + "Z"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _outside(timeline: Timeline) -> tuple[tuple[float, float], ...]:
    """Warm-up and drain: (left, width) in per cent; the whole when nothing was measured."""
    at = [100 * edge / PLANE_X for edge in edges(timeline)]
    inside = [i for i, is_measured in enumerate(timeline.is_measured) if is_measured]
    if not inside:
        return ((0.0, 100.0),)
    start, end = at[inside[0]], at[inside[-1] + 1]
    spans = ((0.0, start), (end, 100.0 - end))
    return tuple((left, width) for left, width in spans if width > 0.01)


def _time_ticks(timeline: Timeline) -> tuple[Tick, ...]:
    return time_ticks(timeline.start_s[0], _end_s(timeline))


def time_ticks(first: float, end_s: float) -> tuple[Tick, ...]:
    """Four to eight round times from one to another, s."""
    span = (end_s - first) or 1.0
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800)
    longer = (21600, 43200, 86400, 172800, 604800, 1209600, 2592000)
    step = next((s for s in (*steps, *longer) if span / s <= 6), span)
    scale, unit = _time_unit(step)
    ticks = []
    k = math.ceil(first / step)
    while k * step <= end_s * (1 + 1e-9):
        ticks.append(Tick(100 * (k * step - first) / span, f"{trimmed(k * step / scale)} {unit}"))
        k += 1
    return tuple(ticks)


def _time_unit(step_s: float) -> tuple[float, str]:
    for scale, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if step_s >= scale and math.isclose(step_s / scale, round(step_s / scale)):
            return scale, unit
    return 1.0, "s"


def ledger_rows(by_group: Mapping[str, float]) -> list[tuple[str, str, str, float]]:
    """(key, label, meaning, share) of each group with a share, the order of the bar."""
    total = math.fsum(by_group.values()) or 1.0
    return [
        (group.key, group.label, group.meaning, by_group[group.key] / total)
        for group in GROUPS
        if by_group.get(group.key)
    ]
