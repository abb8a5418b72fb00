"""Charts of a trace: axes, bars and the curve."""

from __future__ import annotations

import re

from factory.report import trace_charts as charts


def windows(*rates: float | None) -> dict[str, object]:
    return {
        "duration_s": 10.0 * len(rates),
        "window_s": 10.0,
        "windows": [
            {"start_s": 10.0 * i, "rate_per_s": rate, "gap_cv": rate}
            for i, rate in enumerate(rates)
        ],
    }


def test_a_window_without_a_rate_is_a_gap_in_the_line() -> None:
    chart = charts.rate_over_time(windows(1.0, 2.0, None, 4.0))
    assert chart is not None
    (line,) = chart.series
    # 5 is the top of the axis; the plane is 1000 wide and 100 high, y downwards.
    assert line.path == "M0 80H250L250 60H500M750 20H1000"
    assert chart.words == "Requests per second over time: 1.00 to 4.00."


def test_two_windows_are_no_chart() -> None:
    assert charts.rate_over_time(windows(1.0, 2.0)) is None


def test_poisson_is_drawn_beside_the_cv() -> None:
    chart = charts.gaps_over_time(windows(0.5, 1.0, 1.9))
    assert chart is not None
    assert [series.key for series in chart.series] == ["tokens", "contract"]
    assert chart.series[1].path == "M0 50.00H1000"


def test_bars_are_shares() -> None:
    chart = charts.histogram([[1, 10, 3], [10, 100, 1]], "decode", "Tokens", "")
    assert chart is not None
    # Three of four, top of the axis 80 %; then one of four.
    assert chart.series[0].path.startswith("M0 6.25H500L500 68.75H1000")
    assert [tick.label for tick in chart.x_ticks] == ["1", "10", "100"]
    assert charts.histogram(None, "decode", "Tokens", "") is None


def test_an_axis_of_times_has_times() -> None:
    chart = charts.histogram([[0.01, 1.0, 1], [1.0, 7200.0, 1]], "decode", "Waits", "s")
    assert chart is not None
    labels = [tick.label for tick in chart.x_ticks]
    assert labels == ["10 ms", "100 ms", "1 s", "10 s", "1 min", "10 min", "1 h"]


def test_one_value_still_has_an_axis() -> None:
    chart = charts.histogram([[374.0, 376.0, 1]], "decode", "Tokens", "")
    assert chart is not None
    assert len(chart.x_ticks) == 2


def test_the_reuse_curve_ends_at_the_ideal() -> None:
    points = ((64.0, 0.1), (640.0, 0.2), (6400.0, 0.4))
    reuse = {
        "curve": [{"capacity_tokens": c, "hit_token_ratio": h} for c, h in points],
        "ideal_hit_token_ratio": 0.4,
    }
    chart = charts.reuse_curve(reuse)
    assert chart is not None
    curve, ideal = chart.series
    ys = [float(y) for y in re.findall(r" ([\d.]+)", curve.path)]
    assert ys == sorted(ys, reverse=True)
    assert ideal.path == f"M0 {ys[-1]:.2f}H1000"
    assert "half of the ideal 40% with 640 tokens" in chart.words


def test_nothing_reused_is_no_curve() -> None:
    reuse = {
        "curve": [{"capacity_tokens": 1.0, "hit_token_ratio": 0.0}],
        "ideal_hit_token_ratio": 0.0,
    }
    assert charts.reuse_curve(reuse) is None
