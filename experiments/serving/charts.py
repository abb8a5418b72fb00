"""Charts of experiments: light, one palette, SVG and PNG through vl-convert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Okabe and Ito (2008): told apart by the colour-blind.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#5A5A5A", "#B8A200")

_INK = "#333333"


def lines(
    rows: Sequence[dict[str, Any]],
    x: tuple[str, str],
    y: tuple[str, str],
    designs: Sequence[str],
    title: str,
    *,
    log: bool = False,
    diagonal: float | None = None,
    width: int = 420,
    height: int = 260,
) -> Any:
    """Means over seeds as lines over a load, one per design, the spread of seeds as bars.

    Args:
        rows: Of `experiments.serving.runs`.
        x: Column and title of the axis.
        y: The same upwards.
        designs: In the order of the legend.
        title: Of the chart.
        log: Whether the scale upwards is logarithmic.
        diagonal: Draw y = x up to here.
        width: Pixels.
        height: Pixels.
    """
    import altair as alt

    shown = _means(rows, x[0], y[0], designs, log)
    scale = alt.Scale(type="log") if log else alt.Scale(zero=True)
    across = alt.X("x:Q", title=x[1], scale=alt.Scale(zero=False, nice=False, padding=12))
    colour = alt.Color(
        "design:N",
        title=None,
        sort=list(designs),
        scale=alt.Scale(domain=list(designs), range=list(COLOURS[: len(designs)])),
    )
    shape = alt.Shape(
        "design:N", title=None, sort=list(designs), scale=alt.Scale(domain=list(designs))
    )
    base = alt.Chart(alt.Data(values=shown))
    decades = [10.0**k for k in range(-3, 5)]
    axis = alt.Axis(values=decades, format="~g") if log else alt.Axis()
    up = alt.Y("y:Q", title=y[1], scale=scale, axis=axis)
    chart = base.mark_line(strokeWidth=2, clip=True).encode(across, up, colour)
    chart += base.mark_point(size=36, filled=True, opacity=1, clip=True).encode(
        across, up, colour, shape
    )
    chart += base.mark_rule(clip=True).encode(across, alt.Y("low:Q"), alt.Y2("high:Q"), colour)
    if diagonal is not None:
        low = min(row["x"] for row in shown)
        ends = alt.Data(values=[{"x": low, "y": low}, {"x": diagonal, "y": diagonal}])
        chart += (
            alt.Chart(ends)
            .mark_line(strokeDash=[4, 4], color="#999999", strokeWidth=1, clip=True)
            .encode(alt.X("x:Q"), alt.Y("y:Q"))
        )
    return chart.properties(title=title, width=width, height=height)


def _means(
    rows: Sequence[dict[str, Any]], x: str, y: str, designs: Sequence[str], log: bool
) -> list[dict[str, Any]]:
    """One point per design and load: mean, least and most over the seeds."""
    at: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        if row[y] is not None and (row[y] > 0 or not log):
            at.setdefault((row["design"], row["load"]), []).append(row)
    return [
        {
            "design": design,
            "x": sum(row[x] for row in same) / len(same),
            "y": sum(row[y] for row in same) / len(same),
            "low": min(row[y] for row in same),
            "high": max(row[y] for row in same),
        }
        for (design, _), same in at.items()
        if design in designs
    ]


def save(chart: Any, path: Path) -> None:
    """Writes ``path`` with .svg and .png."""
    import vl_convert

    chart = chart.configure(background="white", font="sans-serif")
    chart = chart.configure_view(stroke=None)
    chart = chart.configure_axis(
        gridColor="#e6e6e6", domainColor="#999999", tickColor="#999999", labelColor=_INK,
        titleColor=_INK, titleFontWeight="normal",
    )  # fmt: skip
    chart = chart.configure_title(anchor="start", fontSize=13, fontWeight="bold", color=_INK)
    chart = chart.configure_legend(
        labelColor=_INK, labelFontSize=12, symbolStrokeWidth=2, labelLimit=0
    )
    spec = chart.to_json()
    path.with_suffix(".svg").write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    path.with_suffix(".png").write_bytes(vl_convert.vegalite_to_png(spec, scale=1.5))
