from __future__ import annotations

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from views import tenant, timeline

from factory.report import charts, power_charts


def points(path: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", path)]


@given(st.integers(1, 2000), st.integers(1, 240))
def test_rebinning_keeps_every_sum(windows: int, most: int) -> None:
    fine = timeline(windows)
    coarse = charts.rebinned(fine, most)
    assert len(coarse.start_s) <= most
    assert math.isclose(sum(coarse.output_tokens), sum(fine.output_tokens))
    assert math.isclose(sum(coarse.window_s), sum(fine.window_s))
    assert math.isclose(sum(coarse.ledger["decode"]), sum(fine.ledger["decode"]))


def test_the_ledger_fills_the_plane() -> None:
    chart = charts.ledger_over_time(timeline())
    assert chart is not None
    assert [s.key for s in chart.series] == ["decode", "prefill", "idle", "unused"]
    assert min(points(chart.series[-1].path)[1:2]) == pytest.approx(0, abs=0.01)
    for series in chart.series:
        assert all(-0.01 <= value <= 1000.01 for value in points(series.path))


def test_warm_up_and_drain_are_marked() -> None:
    line = dataclasses.replace(timeline(4), is_measured=(False, True, True, False))
    chart = charts.tokens_over_time(line)
    assert chart is not None
    assert chart.outside == ((0.0, 25.0), (75.0, 25.0))


def test_a_run_without_a_measured_window_is_marked_whole() -> None:
    line = dataclasses.replace(timeline(2), is_measured=(False, False))
    chart = charts.tokens_over_time(line)
    assert chart is not None
    assert chart.outside == ((0.0, 100.0),)


def test_a_chart_of_nothing_is_not_drawn() -> None:
    nothing = charts.Timeline((0.0,), (60.0,), (True,), {"idle": (0.0,)}, (0.0,), (0.0,), ())
    assert charts.ledger_over_time(nothing) is None
    assert charts.tokens_over_time(nothing) is None
    assert power_charts.power_over_time(nothing) is None


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_an_axis_ends_just_above_the_highest_value(value: float) -> None:
    top = charts.round_up(value)
    assert value < top <= 2.1 * value


@given(st.floats(0.01, 1e6), st.integers(1, 300))
def test_time_ticks_are_few_and_on_the_axis(window_s: float, windows: int) -> None:
    line = timeline(windows)
    line = charts.Timeline(
        tuple(window_s * i for i in range(windows)),
        (window_s,) * windows,
        *(getattr(line, n) for n in ("is_measured", "ledger", "output_tokens")),
        line.output_good_tokens,
        line.facility_kw,
    )
    ticks = charts._time_ticks(line)
    assert 1 <= len(ticks) <= 8
    assert all(-1e-6 <= tick.at <= 100.0001 for tick in ticks)


def test_latency_strips_put_the_limit_where_it_is() -> None:
    ttft, itl, e2e = charts.latency_strips((tenant(),))
    strip = ttft.strips[0]
    assert strip.limit is not None
    assert strip.marks[-1].at < strip.limit.at
    assert not strip.is_late
    assert e2e.strips[0].limit is None
    assert [mark.at for mark in itl.strips[0].marks] == sorted(
        mark.at for mark in itl.strips[0].marks
    )
