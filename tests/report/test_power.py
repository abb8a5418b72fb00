"""What the screen and the page say of power: limits, marks, load duration, causes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import hand_made_run as by_hand
import pytest
from views import LEDGER, figures, pool, timeline, view

from factory.economics import summarize
from factory.report import charts, power_charts
from factory.report.binding import binding
from factory.report.lines import what
from factory.report.model import RunView, Timeline
from factory.report.page import render_page
from factory.report.power_lines import cell_lines, energy_lines, power_lines
from factory.report.power_model import Cells, Power, PowerLine, TreeNode
from factory.report.power_tree import MOST_NODES
from factory.report.sentence import cautions
from factory.report.view import load_view


def with_power(line: Timeline, **changes: object) -> Timeline:
    return dataclasses.replace(line, power=dataclasses.replace(line.power, **changes))


def slowed(share: float, *, paused: float = 0.0, marks: dict[str, tuple[float, ...]]) -> RunView:
    """A run whose GPUs were slowed and paused in windows 1 and 2 alike."""
    line = timeline(4)
    line = dataclasses.replace(
        line,
        ledger={**line.ledger, "power_capped": (0, 10, 10, 0), "paused": (0, 0, 10 * paused, 0)},
    )
    ledger = {**LEDGER, "power_capped": share, "paused": paused}
    return view(figures=figures(ledger=ledger), timeline=with_power(line, marks=marks))


@pytest.mark.parametrize(
    ("marks", "kind"),
    [
        ({}, "power"),
        ({"curtailed": (0.0, 1.0, 0.0, 0.0)}, "curtailment"),
        ({"curtailed": (0.0, 0.0, 0.0, 1.0)}, "power"),
        ({"braked": (0.0, 0.0, 0.2, 0.0)}, "brake"),
    ],
    ids=["no mark", "curtailed while capped", "curtailed at another time", "braked"],
)
def test_what_slowed_gpus_is_named(marks: dict[str, tuple[float, ...]], kind: str) -> None:
    bound = binding(slowed(0.2, marks=marks))
    assert bound.kind == kind
    assert "20% of GPU time" in bound.clause


def test_pauses_are_told_apart() -> None:
    assert "20% paused altogether" in binding(slowed(0.1, paused=0.2, marks={})).detail
    assert "altogether" not in binding(slowed(0.0, paused=0.2, marks={})).detail


@pytest.mark.parametrize(
    ("lost", "restarting", "kind"),
    [
        ({"tripped": 0.06, "failed": 0.02}, {}, "trips"),
        ({"tripped": 0.03, "failed": 0.02}, {"failed": 0.02}, "failures"),
        ({"maintenance": 0.06}, {}, "maintenance"),
        ({"maintenance": 0.02}, {"maintenance": 0.1}, "maintenance"),
        ({"tripped": 0.01}, {"tripped": 0.1, "failed": 0.01}, "trips"),
        ({"failed": 0.01}, {"failed": 0.01}, "demand"),
        ({}, {"failed": 0.2}, "failures"),
    ],
)
def test_outages_are_named_by_what_took_most(
    lost: dict[str, float], restarting: dict[str, float], kind: str
) -> None:
    run = view(figures=figures(ledger={"decode": 0.5, "idle": 0.4, **lost}))
    run = dataclasses.replace(run, power=Power(restarting=restarting))
    assert binding(run).kind == kind


def test_a_budget_that_always_caps_is_named_however_little_it_takes() -> None:
    run = slowed(0.01, marks={"capped": (1.0, 1.0, 1.0, 1.0)})
    assert binding(run).kind == "demand"
    run = dataclasses.replace(run, power=Power(capped_ratio=0.99, capped_node="hall"))
    bound = binding(run)
    assert (bound.kind, bound.clause) == (
        "power",
        "the power budget of hall binds (capped 99.0% of the time)",
    )
    assert "took 1.0% of the GPU time" in bound.detail
    full = dataclasses.replace(run, pools=(pool("decode", load=0.9),))
    assert binding(full).kind == "pool"
    assert "hall lowered clocks 99.0% of the time" in binding(full).detail


def test_a_device_cap_is_no_budget() -> None:
    capped = Power(device_caps=("chat",))
    run = dataclasses.replace(slowed(0.2, marks={}), power=capped)
    assert binding(run).kind == "device_cap"
    assert "pools[].power.cap_w of chat) slowed 20%" in binding(run).detail
    both = dataclasses.replace(slowed(0.2, marks={"capped": (0.0, 1.0, 1.0, 0.0)}), power=capped)
    assert binding(both).kind == "power"


def test_outages_of_any_kind_are_added_up() -> None:
    run = view(figures=figures(ledger={"decode": 0.9, "tripped": 0.06, "failed": 0.04}))
    assert binding(run).detail == (
        "6.0% of the GPU time went to racks without power behind open breakers; 10% to outages "
        "of any kind."
    )


def test_limits_leave_gaps_and_marks_stand_below() -> None:
    line = with_power(
        timeline(4),
        limit_kw=(None, 90.0, 90.0, None),
        marks={"curtailed": (0.0, 1.0, 0.5, 0.0), "failed": (0.1, 0.0, 0.0, 0.0)},
    )
    chart = power_charts.power_over_time(line)
    assert chart is not None
    (limit,) = [series for series in chart.series if series.key == "limit"]
    assert re.findall("[MLH]", limit.path) == ["M", "H", "L", "H"]
    assert [lane.key for lane in chart.lanes] == ["curtailed", "failed"]
    assert [span[:2] for span in chart.lanes[0].spans] == [(25.0, 25.0), (50.0, 25.0)]
    strengths = [strength for *_, strength in chart.lanes[0].spans]
    assert strengths[0] == 1.0 > strengths[1] > 0.3
    assert "Marked below: curtailed by the grid, failed." in chart.words


def test_what_a_battery_changes_is_drawn_apart() -> None:
    line = timeline(4)
    same = power_charts.power_over_time(with_power(line, grid_kw=line.facility_kw))
    other = power_charts.power_over_time(with_power(line, grid_kw=(1.0, 2.0, 3.0, 4.0)))
    assert same is not None
    assert other is not None
    assert "from the grid" not in [series.label for series in same.series]
    assert "from the grid" in [series.label for series in other.series]


def test_load_duration_goes_down() -> None:
    line = with_power(timeline(4), grid_kw=(9.0, 20.0, 40.0, 30.0), peak_kw=(9.0, 25.0, 45.0, 35.0))
    chart = power_charts.load_duration(dataclasses.replace(line, contracted_kw=None))
    assert chart is not None
    heights = [float(y) for y in re.findall(r"[ML]-?[\d.]+ (-?[\d.]+)", chart.series[0].path)]
    assert heights == sorted(heights)  # y goes downwards
    assert heights == pytest.approx([100 * (1 - kw / 50) for kw in (40, 30, 20)])
    assert [tick.label for tick in chart.x_ticks] == ["0%", "25%", "50%", "75%", "100%"]
    assert power_charts.load_duration(timeline(4)) is None


def test_rebinning_keeps_power() -> None:
    fine = with_power(
        timeline(4),
        grid_kw=(1.0, 3.0, None, None),
        peak_kw=(2.0, 5.0, None, 1.0),
        limit_kw=(4.0, 3.0, None, None),
        marks={"capped": (1.0, 0.0, 0.0, 0.0)},
    )
    assert charts.rebinned(fine, 2).power == PowerLine(
        (2.0, None), (5.0, 1.0), (3.0, None), {"capped": (0.5, 0.0)}
    )


def test_energy_by_cause_leaves_out_what_gave() -> None:
    rows = power_charts.energy_rows({"gpu_active": 3.0, "gpu_idle": 1.0, "battery_stored": -2.0})
    assert [(label, share) for _, label, _, share in rows] == [
        ("GPUs at work", 0.75),
        ("GPUs idle", 0.25),
    ]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def curtailed(streams: dict, dims: dict) -> None:
        grid = list(streams["fact_grid"][2])
        grid[8:11] = [4500.0, 100.0, 5.0]  # limit_w, excess_j, curtailed_s
        streams["fact_grid"][2] = tuple(grid)
        power = list(streams["fact_power"][1])
        power[9:11] = [3500.0, 3000.0]  # limit_w, headroom_j
        streams["fact_power"][1] = tuple(power)
        streams["fact_demand_meter"] = [(0, 0.0, by_hand.END_S, 140000.0, 1)]
        interval = list(streams["fact_intervals"][5])
        interval[8 + 7] -= 8.0  # idle of decode in window 1
        interval[8 + 13] += 8.0  # failed
        streams["fact_intervals"][5] = tuple(interval)

    return by_hand.write(tmp_path_factory.mktemp("runs") / "run", curtailed)


def test_a_run_reads_back_with_its_power(run_dir: Path) -> None:
    run = load_view(run_dir, summarize(run_dir))
    assert run.timeline is not None
    line = run.timeline.power
    assert line.grid_kw == pytest.approx((4.0,) * 4)
    # 3.5 kW of IT at 1.25 in window 1; 4.5 kW at the grid in window 2.
    assert line.limit_kw == (None, pytest.approx(4.375), pytest.approx(4.5), None)
    assert line.marks["curtailed"] == (0.0, 0.0, 0.5, 0.0)
    assert line.marks["capped"] == pytest.approx((0.2, 0.2, 0.2, 0.4))
    assert line.marks["failed"] == pytest.approx((0.0, 0.1, 0.0, 0.0))
    power = run.power
    assert (power.peak_kw, power.peak_quarter_kw) == pytest.approx((4.0, 4.0))
    assert (power.tightest, power.curtailed_s) == ("b-0", 5.0)
    assert power.capped_ratio == pytest.approx(0.2)
    assert power.availability_ratio == pytest.approx(1 - 8 / 120)


def test_the_page_and_the_screen_say_so(run_dir: Path) -> None:
    run = load_view(run_dir, summarize(run_dir))
    html = render_page(run)
    for words in (
        "Load duration",
        "Where the energy went",
        "of the limit of b-0, the tightest node",
        'class="m-curtailed"',
        "limit in force",
        "highest quarter of an hour at the grid, from 2026-01-01 00:00+00:00",
    ):
        assert words in html
    labels = [line.label for line in power_lines(run)]
    drawn = ["Facility", "Energy", "Electricity", "Emissions"]
    assert labels == [*drawn, "Capped", "Headroom", "Curtailed", "Available"]
    assert any("above the limit of a curtailment" in line for line in cautions(run))


def test_the_facilitys_peak_is_not_the_grids() -> None:
    run = view(
        figures=figures(mean_facility_kw=60.8),
        power=Power(
            facility_peak_kw=71.0, peak_kw=50.8, grid_kw=55.0, grid_kwh=2000.0, pue=1.25,
            battery=(3.0, 2.5, 0.5), electricity_usd=4.0, is_side_account=True,
        ),
    )  # fmt: skip
    for lines in (power_lines(run), energy_lines(run)):
        found = {line.label: line for line in lines}
        assert "peak 71.0 kW" in found["Facility"].meaning
        assert "1.25" in found["Facility"].meaning
        assert found["Grid"].value == "55.0 kW"
        assert "peak 50.8 kW" in found["Grid"].meaning
        assert found["Energy"].value == "2.00 MWh"
        assert found["Battery"].value == "2.50 kWh"
        assert "side account" in found["Electricity"].meaning


def test_the_facilitys_budget_is_named_first() -> None:
    beneath = {"row": (2, 116.0), "rack": (2, 48.0)}
    own = Power(stated_kw=135.0, budgeted=beneath)
    (line,) = [x for x in energy_lines(view(power=own)) if x.label == "Budget"]
    assert line.value == "135 kW"
    assert line.meaning == (
        "of the facility, behind its overhead; 116 kW at IT of 2 rows; 48.0 kW at IT of 2 racks"
    )
    rows = Power(budgeted=beneath)
    (line,) = [x for x in energy_lines(view(power=rows)) if x.label == "Budget"]
    assert (line.value, line.meaning) == ("116 kW", "at IT, of 2 rows; 48.0 kW at IT of 2 racks")


def test_the_tree_is_a_table(run_dir: Path) -> None:
    run = load_view(run_dir, summarize(run_dir))
    nodes = {node.name: node for node in run.power.nodes}
    assert list(nodes) == ["facility", "b-0", "a-0"]
    rack = nodes["b-0"]
    assert (rack.budget_kw, rack.mean_kw, rack.peak_kw) == pytest.approx((1.7, 1.6, 1.6))
    assert rack.headroom_ratio == pytest.approx(0.1 / 1.7)
    assert (rack.capped_s, rack.braked_s, rack.dark_s) == (4.0, 0.0, 0.0)
    assert rack.stranded_kw == pytest.approx(0.1)
    assert nodes["a-0"].budget_kw is None
    html = render_page(run)
    assert '<th scope="row">b-0</th><td>rack</td><td class="n">1.70 kW</td>' in html


def test_a_tree_of_many_nodes_is_cut_and_counted() -> None:
    node = TreeNode("r", "rack", 10.0, 8.0, 9.0, 0.2, 0.0, 0.0, 0.0, 1.0)
    html = render_page(view(power=Power(nodes=(node,) * MOST_NODES, more_nodes=1200)))
    assert html.count('<th scope="row">r</th><td>rack</td>') == MOST_NODES
    assert "1,200 more nodes" in html


def test_all_cells_are_one_scale(tmp_path: Path) -> None:
    def cells(_: dict, dims: dict) -> None:
        dims["fact_runs"][0] |= {"cells": 140, "cells_simulated": 1}

    path = by_hand.write(tmp_path / "run", cells, weight=140.0)
    run = load_view(path, summarize(path))
    assert {offer.system: offer.gpus for offer in run.offers} == {"a": 560, "b": 560}
    assert [pool.gpus for pool in run.pools] == [280, 560, 280]
    assert run.figures.gpus_provisioned == pytest.approx(1120)
    assert "140 cells, 1 simulated · 560 GPUs of a" in what(run)
    facility, rack, _ = run.power.nodes
    assert facility.mean_kw == pytest.approx(140 * 3.2)
    assert rack.mean_kw == pytest.approx(1.6)
    assert "not known" in {line.label: line.meaning for line in cell_lines(run)}["Facility"]


def test_what_cells_differ_by_stands_beside_the_figure() -> None:
    cells = Cells(140, 3, {"facility_kw": (475.8, 1.5), "load_factor_ratio": (0.4, 0.02)})
    run = view(figures=figures(mean_facility_kw=66600.0), cells=cells)
    assert {line.label: line.value for line in cell_lines(run)} == {
        "Cost": "$0.312",
        "Facility": "66.6 MW ± 0.3%",
        "Load factor": "41% ± 5.0%",
    }
    assert cell_lines(view()) == ()


def test_a_book_that_lacks_a_system_is_not_no_prices(tmp_path: Path) -> None:
    def unpriced(_: dict, dims: dict) -> None:
        dims["dim_prices"] = [row for row in dims["dim_prices"] if row["system"] != "b"]
        dims["fact_run_parameters"].append({"path": "prices.book", "value": "book"})

    path = by_hand.write(tmp_path / "run", unpriced)
    (line,) = [x for x in cautions(load_view(path, summarize(path))) if "price" in x]
    assert line.startswith("The price book book (prices.book) has no price for b,")
    assert "prices.usd_per_gpu_hour" in line


def test_a_quiet_run_says_nothing_of_limits() -> None:
    assert power_lines(view()) == ()
