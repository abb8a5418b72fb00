"""Curtailments: limits set and lifted, machines rested, batteries shared out, misses recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import pytest

from factory.facility.agenda import Agenda
from factory.facility.battery import NO_BATTERY, Supply
from factory.facility.curtailment import Call, Curtailments, Means, Rested
from factory.facility.demand_meter import Quarters
from factory.facility.site import Site
from factory.facility.site_meter import CURTAILED_S, EXCESS_J, Metered, Outside
from factory.facility.tree import PowerNode, PowerTree
from factory.kernel import Kernel
from factory.power.battery import BatterySpec
from factory.power.overhead import ConstantPue
from factory.power.series import Steps

QUARTERS = Quarters(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "UTC")
BARE_W, BUSY_W = 100.0, 700.0


@dataclass
class Plug:
    """What a rested machine's feed shows."""

    pool: int
    priority: int = 0
    watts: float = BUSY_W


@dataclass
class Machine:
    """A machine of one GPU that drains in a moment, or in so many seconds."""

    rack: PowerNode
    kernel: Kernel
    feed: Plug
    drain_s: float = 0.0
    bare_watts: float = BARE_W
    gpus: tuple[int, ...] = (0,)
    is_up: bool = True
    is_down: bool = False
    story: list[tuple[float, str]] = field(default_factory=list)

    def pause(self, now_s: float, cause: str) -> None:
        assert cause == "curtailment"
        self.story.append((now_s, "pause"))
        self.is_up = False
        timer = self.kernel.timer(9, id(self) % 2**30, self.rest)
        timer.set(now_s + self.drain_s)

    def rest(self, now_s: float) -> None:
        self.is_down = True
        self.feed.watts = BARE_W
        self.rack.change(now_s, BARE_W - BUSY_W)

    def resume(self, now_s: float, cause: str) -> None:
        assert cause == "curtailment"
        self.story.append((now_s, "resume"))
        self.is_up, self.is_down = True, False
        self.feed.watts = BUSY_W
        self.rack.change(now_s, BUSY_W - BARE_W)


@dataclass
class World:
    """A facility of racks of one GPU each, all busy."""

    count: int = 10
    battery: BatterySpec = NO_BATTERY
    outside: Outside = Outside()  # noqa: RUF009
    pue: float = 1.0
    drain_s: float = 0.0
    notes: list[tuple[float, str, float]] = field(default_factory=list)
    caps: list[tuple[float, float]] = field(default_factory=list)
    sheds: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kernel = Kernel()
        root = PowerNode("site", 0, "facility", None, self.count, inf, 60.0)
        law: Callable[[float, float], tuple[float, float]] = lambda gpu_w, _: (0.0, 0.0)  # noqa: ARG005, E731
        racks = [
            PowerNode(f"r{number}", number + 1, "rack", root, 1, inf, 60.0, law)
            for number in range(self.count)
        ]
        self.tree = PowerTree([root, *racks])
        self.machines = [
            Machine(rack, self.kernel, Plug(number % 2), self.drain_s)
            for number, rack in enumerate(racks)
        ]
        for rack in racks:
            rack.change(0.0, BUSY_W)
        supply = Supply(self.battery, lambda *row: self.notes.append(row))
        self.site = Site(
            root, ConstantPue(self.pue), supply, QUARTERS, self.outside, response_s=0.0
        )  # fmt: skip

    def run(self, calls: list[Call], end_s: float, **means: Any) -> Metered:
        agenda = Agenda(self.kernel, end_s, lambda: True)
        note = lambda *row: self.notes.append(row[:3])  # noqa: E731
        Curtailments(calls, self.site, self.tree.root, Means(**means), agenda, note)
        self.kernel.run_events(100_000, end_s)
        self.tree.close(end_s)
        return self.site.read(end_s)

    def cap(self, now_s: float, watts: float) -> None:
        self.caps.append((now_s, watts))

    def shed(self, now_s: float, is_on: bool) -> None:
        self.sheds.append((now_s, "on" if is_on else "off"))


def test_cap_holds_it_power_to_what_the_limit_leaves_behind_the_pue() -> None:
    world = World(pue=1.25)
    found = world.run([Call(100.0, 200.0, depth_ratio=0.2)], 600.0, cap=world.cap)
    # 10 × 700 W × 1.25 × 0.8 = 7,000 W of grid are 5,600 W of IT.
    assert world.caps == [(100.0, pytest.approx(5600.0)), (300.0, inf)]
    kinds = [(time, kind) for time, kind, _ in world.notes]
    assert kinds == [
        (100.0, "curtailment_announced"),
        (100.0, "curtailment_began"),
        (300.0, "curtailment_missed"),
        (300.0, "curtailment_ended"),
    ]
    # Nobody obeys here, so all above the limit is excess: 1,750 W for 200 s.
    assert sum(row[EXCESS_J] for row in found.windows) == pytest.approx(350e3)
    assert world.notes[2][2] == pytest.approx(350e3 / 3.6e6)
    assert sum(row[CURTAILED_S] for row in found.windows) == 200.0
    curtailed = [sum(row[6] for row in node.windows.rows) for node in world.tree.nodes]
    assert curtailed == [200.0] * 11


def test_a_battery_lifts_the_cap_evenly_over_the_whole_time() -> None:
    world = World(battery=BatterySpec(100e3, 5e3, 1.0, 100e3))
    world.run([Call(100.0, 200.0, limit_w=6000.0)], 600.0, cap=world.cap, battery=True)
    assert world.caps[0] == (100.0, pytest.approx(6500.0))


def test_the_cap_follows_the_temperature() -> None:
    class Warm:
        """Overhead of 1 % of IT power per degree."""

        def watts(self, it_w: float, outside_c: float) -> float:
            return it_w * (1.0 + outside_c / 100.0)

        def it_watts(self, facility_w: float, outside_c: float) -> float:
            return facility_w / (1.0 + outside_c / 100.0)

    outside = Outside(temperature=Steps([(0.0, 20.0), (150.0, 25.0), (500.0, 30.0)]))
    world = World(outside=outside)
    supply = Supply(NO_BATTERY, lambda *row: None)  # noqa: ARG005
    world.site = Site(world.tree.root, Warm(), supply, QUARTERS, outside)
    world.run([Call(100.0, 200.0, limit_w=6000.0)], 600.0, cap=world.cap)
    assert world.caps == [
        (100.0, pytest.approx(5000.0)), (150.0, pytest.approx(4800.0)), (300.0, inf)
    ]  # fmt: skip


def test_pause_rests_as_many_as_are_enough_after_a_notice() -> None:
    """−25 % of 7,000 W is 1,750 W; resting one saves 600 W, so three rest."""
    world = World(drain_s=20.0)
    machines = [Rested(machine, machine.feed) for machine in world.machines]
    found = world.run(
        [Call(100.0, 200.0, notice_s=30.0, depth_ratio=0.25)], 600.0, machines=machines
    )
    paused = [m for m in world.machines if m.story]
    assert len(paused) == 3
    assert {m.feed.pool for m in paused} == {0, 1}
    assert all(m.story == [(70.0, "pause"), (300.0, "resume")] for m in paused)
    assert sum(row[EXCESS_J] for row in found.windows) == 0.0
    assert "curtailment_missed" not in [kind for _, kind, _ in world.notes]


def test_pause_looks_again_and_leaves_one_of_each_pool() -> None:
    """What no prediction knew: those that work draw more when others rest."""
    world = World(count=4)
    machines = [Rested(machine, machine.feed) for machine in world.machines]
    timer = world.kernel.timer(9, 1, lambda now_s: world.machines[0].rack.change(now_s, 2000.0))
    timer.set(155.0)
    world.run([Call(100.0, 200.0, limit_w=2300.0)], 600.0, machines=machines, check_s=10.0)
    stories = [m.story for m in world.machines]
    assert [bool(story) for story in stories] == [False, False, True, True]
    assert sorted(story[0] for story in stories if story) == [(100.0, "pause"), (160.0, "pause")]
    assert ("curtailment_missed" in [kind for _, kind, _ in world.notes]) is True


def test_the_lowest_priority_rests_first() -> None:
    world = World(count=6)
    for machine in world.machines:
        machine.feed.priority = machine.feed.pool
    machines = [Rested(machine, machine.feed) for machine in world.machines]
    world.run([Call(10.0, 20.0, limit_w=3200.0)], 60.0, machines=machines)
    assert [m.feed.pool for m in world.machines if m.story] == [0, 0]


def test_a_ramp_is_named_where_it_is_why_a_limit_was_missed() -> None:
    """From 7 kW down by 100 W/s for 10 s: a triangle of 5 kJ above the limit."""
    notes: list[tuple[float, str, float]] = []
    world = World()
    supply = Supply(
        BatterySpec(1e6, 5e3, 1.0, 5e5), lambda *row: notes.append(row), ramp_w_per_s=100.0
    )
    world.site = Site(world.tree.root, ConstantPue(1.0), supply, QUARTERS, Outside())
    for machine in world.machines[:2]:
        fall = partial(machine.rack.change, delta_w=-500.0)
        world.kernel.timer(9, machine.rack.number, fall).set(100.0)
    world.run([Call(100.0, 100.0, limit_w=6000.0)], 600.0)
    told = {kind: value for _, kind, value in world.notes}
    assert told["curtailment_missed"] == pytest.approx(5e3 / 3.6e6)
    assert told["curtailment_ramped"] == pytest.approx(5e3 / 3.6e6)
    # Nobody comes down here: the ramp is not why.
    world = World()
    world.run([Call(100.0, 100.0, limit_w=6000.0)], 600.0)
    assert "curtailment_ramped" not in [kind for _, kind, _ in world.notes]


def test_shed_lasts_over_a_second_curtailment_that_is_announced() -> None:
    world = World()
    calls = [Call(100.0, 100.0, limit_w=1e6), Call(250.0, 50.0, notice_s=100.0, limit_w=1e6)]
    given_up: list[float] = []
    world.run(calls, 600.0, shed=world.shed, give_up=given_up.append)
    assert world.sheds == [(100.0, "on"), (300.0, "off")]
    assert given_up == [100.0, 250.0]


def test_a_limit_that_is_kept_is_not_missed() -> None:
    world = World()
    world.run([Call(100.0, 100.0, limit_w=7000.0)], 600.0)
    assert [kind for _, kind, _ in world.notes] == [
        "curtailment_announced", "curtailment_began", "curtailment_ended"
    ]  # fmt: skip
