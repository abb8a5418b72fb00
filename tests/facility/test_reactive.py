"""The operator's loop against timelines computed by hand: 10 kW of budget, samples every 2 s."""

from __future__ import annotations

from typing import Any

from power_row import PowerRow

from factory.facility.reactive import Locks, Loop, Rule, Terms
from factory.facility.telemetry import Telemetry
from factory.facility.tree import BRAKED_S, CAPPED_S
from factory.scenario.power_control import PowerControl, loop_terms

POLCA = (Rule(0.80, 0.75, 0), Rule(0.89, 0.5, 0), Rule(0.89, 0.75))
BRAKE = Rule(1.0, 0.25)


def terms(**changes: Any) -> Terms:
    known: dict[str, Any] = {
        "interval_s": 2.0,
        "samples": 1,
        "actuation_s": 40.0,
        "brake_s": 5.0,
        "hysteresis_ratio": 0.05,
        "rules": POLCA,
        "brake": BRAKE,
    }
    return Terms(**{**known, **changes})


def watched(row: PowerRow, **changes: Any) -> PowerRow:
    Loop(row.kernel, 0, row.row, row.feeds, terms(**changes), Locks(), row.note, row.goes_on)
    return row


def clocks(row: PowerRow) -> list[float]:
    return [load.clock for load in row.loads]


def seconds(row: PowerRow, field: int, until_s: float) -> list[float]:
    """Seconds of a field of hall, row and racks."""
    row.tree.close(until_s)
    return [sum(window[field] for window in node.windows.rows) for node in row.tree.nodes]


class TestTelemetry:
    def test_reports_the_mean_of_what_was_drawn(self) -> None:
        row = PowerRow(10e3, [0])
        meter = Telemetry(row.row, 2.0)
        row.draw_at(0.5, 4000.0)
        row.run(2.0)
        assert meter.next_s == 2.0
        assert meter.sample(2.0) == 3000.0
        assert meter.sample(4.0) == 4000.0

    def test_averages_over_its_last_samples(self) -> None:
        row = PowerRow(10e3, [0])
        meter = Telemetry(row.row, 2.0, samples=3)
        row.draw_at(0.0, 1000.0)
        row.draw_at(2.0, 4000.0)
        reports = []
        for now_s in (2.0, 4.0, 6.0, 8.0):
            row.run(now_s - 1.0)
            reports.append(meter.sample(now_s))
        assert reports == [1000.0, 2500.0, 3000.0, 4000.0]


class TestThreshold:
    def test_acts_an_interval_and_a_delay_after_the_power_rose(self) -> None:
        row = watched(PowerRow(10e3, [0, 1]))
        row.draw_at(0.0, 2000.0, 4000.0)
        row.draw_at(7.0, 3000.0, 5500.0)
        row.run(100.0)
        # The sample at 8 s is the mean of 6 and 8.5 kW; that at 10 s sees 8.5 kW, above 80 %.
        assert row.notes == [(10.0, "cap_asked", "row", 0.85), (50.0, "cap_began", "row", 0.75)]
        assert row.details[0] == "clock ratio 0.75 for priority <= 0, acts at 50 s"
        # Low priority only; 7.75 kW lies within the hysteresis, 75 to 80 %.
        assert clocks(row) == [0.75, 1.0]
        assert row.row.power_w == 7750.0

    def test_a_peak_between_samples_is_averaged_away(self) -> None:
        row = watched(PowerRow(10e3, [0]), interval_s=10.0)
        row.draw_at(0.0, 5000.0)
        row.draw_at(3.0, 15e3)
        row.draw_at(5.0, 5000.0)
        row.run(100.0)
        assert row.seen() == []  # 7 kW over ten seconds

    def test_lets_go_below_the_threshold_less_the_hysteresis(self) -> None:
        row = watched(PowerRow(10e3, [0, 1]))
        row.draw_at(0.0, 3000.0, 5500.0)
        row.draw_at(60.0, 3000.0, 5260.0)  # 7.51 kW with the lowered clock: not yet
        row.draw_at(80.0, 3000.0, 5240.0)  # 7.49 kW
        row.run(200.0)
        assert row.seen() == [
            (2.0, "cap_asked"), (42.0, "cap_began"), (82.0, "cap_asked"), (122.0, "cap_ended"),
            (124.0, "cap_asked"), (164.0, "cap_began"), (166.0, "cap_asked"),
        ]  # fmt: skip
        assert row.details[2] == "all clocks, acts at 122 s"

    def test_no_change_of_mind_calls_a_command_back(self) -> None:
        row = watched(PowerRow(10e3, [0]))
        row.draw_at(0.0, 8500.0)
        row.draw_at(3.0, 5000.0)
        row.run(100.0)
        # The sample at 4 s, 6.75 kW, lets go: the cap comes and goes, each after its own 40 s.
        assert row.seen("cap_began", "cap_ended") == [(42.0, "cap_began"), (44.0, "cap_ended")]
        assert clocks(row) == [1.0]

    def test_seconds_are_counted_on_the_row_and_on_racks_that_are_lowered(self) -> None:
        row = watched(PowerRow(10e3, [0, 1]))
        row.draw_at(0.0, 3000.0, 5500.0)
        row.draw_at(60.0, 1000.0, 1000.0)
        row.run(150.0)
        # The sample at 62 s lets go: from 42 s to 102 s.
        assert row.seen("cap_began", "cap_ended") == [(42.0, "cap_began"), (102.0, "cap_ended")]
        assert clocks(row) == [1.0, 1.0]
        assert seconds(row, CAPPED_S, 150.0) == [0.0, 60.0, 60.0, 0.0]

    def test_thresholds_at_one_ratio_come_one_after_another(self) -> None:
        rules = (Rule(0.80, 0.75, 0), Rule(0.89, 0.5, 0), Rule(0.89, 0.9))
        row = watched(PowerRow(10e3, [0, 1]), rules=rules)
        row.draw_at(0.0, 1000.0, 8900.0)
        row.run(43.0)
        assert clocks(row) == [0.5, 1.0]  # 9.4 kW did not help
        row.run(200.0)
        # The sample at 44 s is the first of a span in which the low clock held: 40 s from there.
        assert row.seen() == [
            (2.0, "cap_asked"), (42.0, "cap_began"), (44.0, "cap_asked"), (84.0, "cap_changed"),
        ]  # fmt: skip
        assert clocks(row) == [0.5, 0.9]
        assert row.details[-1] == "clock ratio 0.75 for priority <= 0, 0.5 for priority <= 0, 0.9"

    def test_the_next_is_not_asked_for_when_the_first_helped(self) -> None:
        row = watched(PowerRow(10e3, [0, 1]))
        row.draw_at(0.0, 2500.0, 7300.0)  # 8.55 kW at half the clock of the first
        row.run(200.0)
        assert clocks(row) == [0.5, 1.0]
        assert len(row.seen()) == 2

    def test_no_clock_below_the_lowest(self) -> None:
        row = watched(PowerRow(10e3, [0]), rules=(Rule(0.5, 0.1),))
        row.draw_at(0.0, 9900.0)
        row.run(43.0)
        assert clocks(row) == [0.25]


class TestBrake:
    def test_is_quick_and_of_all(self) -> None:
        row = watched(PowerRow(10e3, [0, 1]), rules=())
        row.draw_at(1.0, 6000.0, 6000.0)
        row.draw_at(8.0, 4000.0, 4000.0)
        row.run(60.0)
        # Means of 6, then 12 kW: called at 4 s, on from 9 s; 8 kW, then 2, let it go at 10 s.
        brakes = row.seen("brake_began", "brake_ended")
        assert brakes == [(9.0, "brake_began"), (15.0, "brake_ended")]
        asked = row.seen("brake_asked", "brake_release_asked")
        assert asked == [(4.0, "brake_asked"), (10.0, "brake_release_asked")]
        assert seconds(row, BRAKED_S, 60.0) == [0.0, 6.0, 6.0, 6.0]
        assert clocks(row) == [1.0, 1.0]

    def test_at_the_budget_it_is_not_called(self) -> None:
        row = watched(PowerRow(10e3, [0]), rules=())
        row.draw_at(0.0, 10e3)
        row.run(60.0)
        assert row.seen() == []

    def test_caps_do_not_let_go_for_what_the_brake_saves(self) -> None:
        row = watched(PowerRow(10e3, [0]))
        row.draw_at(0.0, 12e3)
        row.run(43.0)
        # Called at 2, 16 and 30 s, each on five seconds later and off six after that; the caps that
        # were asked for at 2 s arrive at 42 s, and nothing took them back in between.
        assert row.seen("brake_began", "brake_ended") == [
            (7.0, "brake_began"), (13.0, "brake_ended"), (21.0, "brake_began"),
            (27.0, "brake_ended"), (35.0, "brake_began"), (41.0, "brake_ended"),
        ]  # fmt: skip
        assert row.seen("cap_asked", "cap_began") == [(2.0, "cap_asked"), (42.0, "cap_began")]
        assert clocks(row) == [0.5]

    def test_the_lower_of_cap_and_brake_holds(self) -> None:
        row = watched(PowerRow(10e3, [0]), actuation_s=6.0)
        row.draw_at(0.0, 12e3)
        row.run(7.5)
        assert clocks(row) == [0.25]
        row.run(8.5)
        assert clocks(row) == [0.25]
        row.run(13.5)
        assert clocks(row) == [0.5]


class TestLoops:
    def test_a_replica_obeys_the_lowest_of_the_loops_above_it(self) -> None:
        row = PowerRow(10e3, [0], rack_budget_w=9000.0)
        locks = Locks()
        slow = terms(rules=(Rule(0.8, 0.5),), brake=None)
        quick = terms(rules=(Rule(0.9, 0.75),), brake=None, actuation_s=10.0)
        Loop(row.kernel, 0, row.row, row.feeds, slow, locks, row.note, row.goes_on)
        Loop(row.kernel, 3, row.racks[0], row.feeds, quick, locks, row.note, row.goes_on)
        row.draw_at(0.0, 8800.0)
        row.run(20.0)
        assert clocks(row) == [0.75]
        row.run(45.0)
        assert clocks(row) == [0.5]
        assert [now_s for now_s, _ in row.seen("cap_began")] == [12.0, 36.0, 42.0]

    def test_samples_end_with_the_run(self) -> None:
        row = watched(PowerRow(10e3, [0]))
        row.ends_s = 9.0
        row.run(1000.0)
        assert row.kernel.acted_s == 10.0
        assert row.kernel.fired == 5

    def test_rest_takes_all_timers_back(self) -> None:
        row = PowerRow(10e3, [0])
        loop = Loop(row.kernel, 0, row.row, row.feeds, terms(), Locks(), row.note, row.goes_on)
        row.draw_at(0.0, 12e3)
        row.run(3.0)
        loop.rest()
        row.run(1000.0)
        assert row.kernel.acted_s == 2.0

    def test_a_lowered_limit_moves_the_thresholds(self) -> None:
        row = watched(PowerRow(10e3, [0]))
        row.draw_at(0.0, 7000.0)
        row.at(11.0, lambda now_s: row.row.set_limit(now_s, 8000.0))
        row.run(30.0)
        assert row.seen() == [(12.0, "cap_asked")]


def test_what_a_loop_does_never_hangs_on_who_calls_the_meter() -> None:
    def timeline(*looks: float) -> Any:
        row = watched(PowerRow(10e3, [0, 1]))
        row.draw_at(0.3, 3100.0, 5900.0)
        row.draw_at(77.7, 900.0, 6100.0)
        for when in looks:
            row.at(when, row.row.account)
            row.at(when, row.racks[0].account)
        row.run(300.0)
        return row.seen(), clocks(row)

    assert timeline() == timeline(0.1, 1.9, 2.0, 3.7, 42.0, 50.1, 77.7, 100.3)


def test_polca_has_three_steps() -> None:
    section = loop_terms(PowerControl(mode="reactive", preset="polca"))
    assert [(each.at_ratio, each.priority) for each in section.thresholds] == [
        (0.80, 0), (0.89, 0), (0.89, None),
    ]  # fmt: skip
    assert (section.actuation_s, section.brake_s, section.hysteresis_ratio) == (40.0, 5.0, 0.05)
    assert section.brake is not None
    assert section.brake.at_ratio == 1.0
    assert section.levels == ("row",)
