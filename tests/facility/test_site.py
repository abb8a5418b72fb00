"""The site's meter: exact energies, batteries by hand, and nothing that depends on windows."""

from __future__ import annotations

import datetime as dt
import itertools
from math import inf, isclose, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.facility.battery import NO_BATTERY, Supply
from factory.facility.demand_meter import Quarters
from factory.facility.site import Site
from factory.facility.site_meter import (
    CHARGED_J,
    CURTAILED_S,
    DISCHARGED_J,
    EXCESS_J,
    FACILITY_J,
    GRAMS,
    GRID_J,
    IT_J,
    USD,
    Metered,
    Outside,
    PlainMeter,
)
from factory.facility.tree import PowerNode, PowerTree
from factory.power.battery import BatterySpec
from factory.power.overhead import ConstantPue
from factory.power.series import Steps

UTC = dt.UTC
MIDNIGHT = Quarters(dt.datetime(2026, 1, 1, tzinfo=UTC), "UTC")
MWH = 3.6e9


class Noted:
    """What a supply tells."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, str, float]] = []

    def __call__(self, now_s: float, kind: str, value: float) -> None:
        self.rows.append((now_s, kind, value))


def tree_of(racks: int, window_s: float) -> PowerTree:
    """Racks that draw what their GPUs draw, and nothing else."""
    root = PowerNode("site", 0, "facility", None, racks, inf, window_s)
    nodes = [root]
    for number in range(racks):
        law = lambda gpu_w, _: (0.0, 0.0)  # noqa: E731, ARG005
        nodes.append(PowerNode(f"r{number}", number + 1, "rack", root, 1, inf, window_s, law))
    return PowerTree(nodes)


def follow(
    changes: list[tuple[float, float]],
    end_s: float,
    window_s: float = 60.0,
    battery: BatterySpec = NO_BATTERY,
    outside: Outside = Outside(),  # noqa: B008
    quarters: Quarters = MIDNIGHT,
    limits: list[tuple[float, float]] = [],  # noqa: B006
    pue: float = 1.0,
    **supply: float,
) -> tuple[Metered, Noted, Site, PowerTree]:
    """A site whose IT power takes stated values at stated times."""
    tree = tree_of(1, window_s)
    rack = tree.racks[0]
    told = Noted()
    rest = list(changes)
    while rest and rest[0][0] == 0.0:
        rack.change(0.0, rest.pop(0)[1] - rack.gpu_w)
    site = Site(
        tree.root, ConstantPue(pue), Supply(battery, told, **supply), quarters, outside
    )  # fmt: skip
    steps = sorted(
        [(time, 1, watts) for time, watts in rest] + [(time, 0, limit) for time, limit in limits]
    )
    for time_s, kind, value in steps:
        if kind:
            rack.change(time_s, value - rack.gpu_w)
        else:
            site.limit(time_s, value, battery=True)
    tree.close(end_s)
    return site.read(end_s), told, site, tree


def total(found: Metered, field: int) -> float:
    return sum(row[field] for row in found.windows)


def test_a_battery_carries_a_curtailment_of_an_hour_by_hand() -> None:
    """1 MW at PUE 1.2 and a limit a quarter lower: 0.3 MW for an hour is 0.3 MWh."""
    battery = BatterySpec(0.5 * MWH, 0.4e6, 0.8, 0.5 * MWH)
    found, told, site, _ = follow(
        [(0.0, 1e6)],
        3 * 3600.0,
        3600.0,
        battery,
        limits=[(3600.0, 0.9e6), (7200.0, inf)],
        pue=1.2,
    )
    assert told.rows == []
    assert [row[IT_J] for row in found.windows] == pytest.approx([3.6e9] * 3, rel=1e-12)
    assert [row[FACILITY_J] for row in found.windows] == pytest.approx([1.2 * 3.6e9] * 3)
    discharged = [row[DISCHARGED_J] for row in found.windows]
    assert discharged == pytest.approx([0.0, 0.3 * MWH, 0.0], rel=1e-12)
    # Afterwards it takes 0.4 MW: 0.3 / 0.8 = 0.375 MWh last 0.9375 of the hour.
    assert [row[CHARGED_J] for row in found.windows] == pytest.approx([0.0, 0.0, 0.375 * MWH])
    grid = [row[GRID_J] / MWH for row in found.windows]
    assert grid == pytest.approx([1.2, 0.9, 1.2 + 0.375], rel=1e-12)
    assert [level / MWH for level in found.levels_j] == pytest.approx([0.5, 0.2, 0.5], rel=1e-12)
    assert found.limits_w == pytest.approx([nan, 0.9e6, nan], nan_ok=True)
    assert [row[CURTAILED_S] for row in found.windows] == [0.0, 3600.0, 0.0]
    assert total(found, EXCESS_J) == pytest.approx(0.0, abs=1e-3)
    assert site.energy_j == pytest.approx(3.675 * MWH, rel=1e-12)
    peaks = [found.grid_w[i * 3600 : (i + 1) * 3600].max() for i in range(3)]
    assert peaks == pytest.approx([1.2e6, 0.9e6, 1.6e6], rel=1e-12)
    # Quarters: recharging ends 0.9375 h = 3.75 quarters after the curtailment.
    assert found.quarters_j[-1] == pytest.approx((1.2 * 0.25 + 0.4 * 0.1875) * MWH, rel=1e-12)


def test_a_battery_too_small_empties_at_the_computed_instant() -> None:
    battery = BatterySpec(0.1 * MWH, 0.4e6, 1.0, 0.1 * MWH)
    found, told, _, _ = follow(
        [(0.0, 1.2e6)], 7200.0, 3600.0, battery, limits=[(1800.0, 0.9e6), (5400.0, inf)]
    )
    # 0.1 MWh at 0.3 MW are 1,200 s; the other 2,400 s are above the limit by 0.3 MW.
    assert told.rows == [(pytest.approx(3000.0, abs=1e-6), "battery_empty", 1.2e6)]
    assert total(found, EXCESS_J) == pytest.approx(0.3e6 * 2400.0, rel=1e-9)


def test_a_ramp_is_a_straight_line_and_the_battery_the_triangle_above_it() -> None:
    """From 1 MW to 0.4 MW at 0.6 MW/min: one minute, in which the battery takes 18 MJ."""
    battery = BatterySpec(1.0 * MWH, 1e6, 0.9, 0.5 * MWH)
    found, told, site, _ = follow(
        [(0.0, 1e6), (30.0, 0.4e6)], 120.0, 30.0, battery, ramp_w_per_s=1e4
    )
    assert told.rows == []
    assert total(found, CHARGED_J) == pytest.approx(0.5 * 0.6e6 * 60.0, rel=1e-12)
    assert total(found, DISCHARGED_J) == 0.0
    assert [row[GRID_J] for row in found.windows] == pytest.approx(
        [30e6, 0.85e6 * 30, 0.55e6 * 30, 0.4e6 * 30], rel=1e-12
    )
    assert site.level_j == pytest.approx(0.5 * MWH + 0.9 * 18e6, rel=1e-12)
    seconds = found.grid_w[30:90]
    assert np.diff(seconds) == pytest.approx(np.full(59, -1e4), rel=1e-6)


def test_a_ramp_beyond_the_battery_is_said() -> None:
    battery = BatterySpec(1.0 * MWH, 0.2e6, 1.0, 0.5 * MWH)
    _, told, site, _ = follow([(0.0, 1e6), (30.0, 0.4e6)], 120.0, 30.0, battery, ramp_w_per_s=1e4)
    assert told.rows == [(30.0, "ramp_missed", pytest.approx(-0.4e6))]
    assert site.level_j == pytest.approx(0.5 * MWH + 0.5 * 0.2e6 * 20.0)


def test_peaks_are_shaved_and_the_battery_is_filled_below_the_peak() -> None:
    battery = BatterySpec(0.1 * MWH, 0.5e6, 1.0, 0.1 * MWH)
    found, told, _, _ = follow(
        [(0.0, 0.5e6), (900.0, 1.3e6), (1500.0, 0.8e6)], 7200.0, 900.0, battery, peak_w=1e6
    )
    assert told.rows == []
    assert found.grid_w.max() == pytest.approx(1e6, rel=1e-12)
    # 0.3 MW for 600 s were given; taken back at 0.2 MW, the room below the peak, in 900 s.
    assert [row[DISCHARGED_J] for row in found.windows][:2] == pytest.approx([0.0, 1.8e8])
    assert [row[CHARGED_J] for row in found.windows][:3] == pytest.approx([0.0, 0.6e8, 1.2e8])


LOADS = st.lists(
    st.tuples(st.floats(0.01, 590.0), st.floats(0.0, 2e6)), min_size=1, max_size=25
).map(sorted)


@st.composite
def plants(draw: st.DrawFn) -> dict[str, object]:
    capacity = draw(st.floats(1e6, 5e8))
    ratio = draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    efficiency = draw(st.sampled_from([0.7, 0.85, 1.0]))
    limits = draw(st.booleans())
    return {
        "battery": BatterySpec(capacity, draw(st.floats(1e4, 2e6)), efficiency, ratio * capacity),
        "ramp_w_per_s": draw(st.sampled_from([inf, 2e3, 5e4])),
        "peak_w": draw(st.sampled_from([inf, 1.1e6])),
        "limits": [(100.5, 0.7e6), (400.25, inf)] if limits else [],
        "pue": 1.25,
    }


@settings(max_examples=40, deadline=None)
@given(loads=LOADS, plant=plants())
def test_energy_is_conserved_and_windows_do_not_matter(
    loads: list[tuple[float, float]], plant: dict[str, object]
) -> None:
    changes = [(0.0, 1e6), *loads]
    runs = [follow(changes, 600.0, window_s, **plant) for window_s in (1.0, 10.0, 60.0)]
    battery = plant["battery"]
    assert isinstance(battery, BatterySpec)
    for found, _, site, tree in runs:
        charged, discharged = total(found, CHARGED_J), total(found, DISCHARGED_J)
        facility, grid = total(found, FACILITY_J), total(found, GRID_J)
        scale = max(facility, battery.capacity_j)
        change = site.level_j - battery.initial_j
        assert charged * battery.efficiency_ratio - discharged == pytest.approx(
            change, abs=1e-9 * scale
        )
        assert grid == pytest.approx(facility + charged - discharged, rel=1e-9)
        assert facility == pytest.approx(1.25 * tree.root.it_j(600.0), rel=1e-9)
        assert found.grid_w.sum() == pytest.approx(grid, rel=1e-9)
        assert sum(found.quarters_j) == pytest.approx(grid, rel=1e-9)
        assert all(-1e-6 <= level <= battery.capacity_j for level in found.levels_j)
        assert found.grid_w.min() >= -1e-6
    first, *others = [found for found, _, _, _ in runs]
    for found in others:
        for field in (IT_J, FACILITY_J, GRID_J, CHARGED_J, DISCHARGED_J, EXCESS_J, CURTAILED_S):
            assert isclose(total(first, field), total(found, field), rel_tol=1e-9, abs_tol=1e-3)
        assert first.grid_w.max() == pytest.approx(found.grid_w.max(), rel=1e-9)
        assert first.quarters_j == pytest.approx(found.quarters_j, rel=1e-9)
        assert first.levels_j[-1] == pytest.approx(found.levels_j[-1], rel=1e-9, abs=1e-3)
    assert [row[1] for row in runs[0][1].rows] == [row[1] for row in runs[1][1].rows]


PRICES = st.lists(
    st.tuples(st.floats(0.0, 600.0), st.floats(-50.0, 200.0)), min_size=1, max_size=8
).map(lambda steps: [(0.0, 30.0), *sorted(dict(steps).items())])


@settings(max_examples=40, deadline=None)
@given(loads=LOADS, prices=PRICES, plant=plants())
def test_the_price_of_energy_is_that_of_a_fine_sum(
    loads: list[tuple[float, float]],
    prices: list[tuple[float, float]],
    plant: dict[str, object],
) -> None:
    """∫ price dE over a grid that holds every instant at which anything changes."""
    price = Steps(prices)
    changes = [(0.0, 1e6), *loads]
    found, _, _, _ = follow(
        changes, 600.0, 7.5, outside=Outside(price=price, carbon=price), pue=1.25
    )
    edges = sorted({0.0, 600.0, *(t for t, _ in changes), *(t for t, _ in prices if t < 600.0)})
    watts = Steps(changes)
    brute = sum(
        1.25 * watts.at(start) * price.at(start) * (end - start)
        for start, end in itertools.pairwise(edges)
    )
    assert total(found, USD) == pytest.approx(brute / MWH, rel=1e-9, abs=1e-9)
    assert total(found, GRAMS) == pytest.approx(brute / 3.6e6, rel=1e-9, abs=1e-6)
    # With battery and ramps: cut at the price's steps by hand, each part of one price.
    plant["limits"] = []
    whole = 0.0
    cuts = [*(t for t, _ in prices if t < 600.0), 600.0]
    for start, end in itertools.pairwise(cuts):
        lone = Steps([(0.0, 0.0), (start, price.at(start)), (end, 0.0)])
        part, _, _, _ = follow(changes, 600.0, outside=Outside(price=lone), **plant)
        whole += total(part, USD)
    found, _, _, _ = follow(changes, 600.0, outside=Outside(price=price), **plant)
    assert total(found, USD) == pytest.approx(whole, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("zone", "minute", "first"),
    [("Asia/Kolkata", 0, 900.0), ("Asia/Kolkata", 7, 480.0), ("Asia/Kathmandu", 50, 600.0)],
)
def test_quarters_of_a_zone_with_half_hours(zone: str, minute: int, first: float) -> None:
    """00:07 UTC is 05:37 in Kolkata: its quarter ends at 05:45, 480 s later."""
    quarters = Quarters(dt.datetime(2026, 1, 1, 0, minute, tzinfo=UTC), zone)
    assert quarters.edge(0) == first
    spans = list(quarters.spans(3600.0))
    assert [end for _, _, end, _ in spans][:2] == [first, first + 900.0]
    assert [whole for *_, whole in spans] == [
        first == 900.0, *[True] * (len(spans) - 2), first == 900.0
    ]  # fmt: skip
    assert sum(end - start for _, start, end, _ in spans) == 3600.0


def test_a_quarter_of_an_odd_offset_is_still_a_local_one() -> None:
    """Monrovia's clock was 44 minutes 30 seconds behind until 1972."""
    quarters = Quarters(dt.datetime(1970, 6, 1, tzinfo=UTC), "Africa/Monrovia")
    assert quarters.edge(0) == 15 * 60 - 30


@settings(max_examples=15, deadline=None)
@given(loads=LOADS, window_s=st.sampled_from([1.0, 30.0, 60.0, 77.0]))
def test_the_plain_meter_is_the_site_without_a_watcher(
    loads: list[tuple[float, float]], window_s: float
) -> None:
    outside = Outside(
        price=Steps([(0.0, 10.0), (100.0, 60.0), (431.0, -5.0)]), carbon=Steps([(0.0, 400.0)])
    )
    quarters = Quarters(dt.datetime(2026, 1, 1, 0, 8, tzinfo=UTC), "UTC")
    changes = [(0.0, 1e6), *loads]
    for end_s in (600.0, 599.25):
        kept = [change for change in changes if change[0] < end_s]
        live, _, _, tree = follow(
            kept, end_s, window_s, outside=outside, quarters=quarters, pue=1.3
        )
        plain = PlainMeter(tree, 1.3, quarters, outside).read(end_s)
        for mine, other in zip(plain.windows, live.windows, strict=True):
            assert mine == pytest.approx(other, rel=1e-9, abs=1e-6)
        assert plain.grid_w == pytest.approx(live.grid_w, rel=1e-9, abs=1e-6)
        assert plain.quarters_j == pytest.approx(live.quarters_j, rel=1e-9)
