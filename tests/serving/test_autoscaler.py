"""Scaling by hand: every number of replicas here is worked out in the test."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from factory.kernel import CLASS_ARRIVAL, Kernel
from factory.scenario.autoscaling import Autoscaling, Startup
from factory.scenario.check_autoscaling import (
    budget_problems,
    pool_autoscaling_problems,
)
from factory.scenario.deployment import Parallel, Pool
from factory.serving.autoscaler import (
    SCALE_DOWN,
    SCALE_UP,
    Autoscaler,
    Budget,
    Limits,
    clamped,
)
from factory.serving.forecast import Constant, Holt, LinearTrend, MovingAverage
from factory.serving.scaling import (
    DailySchedule,
    Load,
    Policy,
    ReplicaLoad,
    Schedule,
    Signals,
    Targets,
    Thresholds,
    Throughput,
    next_multiple,
)
from factory.serving.scaling_builder import build_limits, build_policy
from factory.serving.startup import engine_start_s, startup_time

UTC = dt.UTC
EPOCH = dt.datetime(2026, 1, 1, tzinfo=UTC)
QUIET = Signals(0.0, 10.0, 0, 0, 0, 0, active=1, starting=0, draining=0)


def loads(*kv_use: float) -> tuple[ReplicaLoad, ...]:
    return tuple(ReplicaLoad(0, 0, use) for use in kv_use)


def built(section: Autoscaling, role: str = "aggregated") -> Policy:
    return build_policy(section, role, 10_000, None, EPOCH, "UTC")


# -- forecasts ---------------------------------------------------------------------------------


def test_constant_and_moving_average() -> None:
    constant, average = Constant(), MovingAverage(2)
    assert constant.next() == average.next() == 0.0
    for value in (9.0, 2.0, 4.0):
        constant.observe(value)
        average.observe(value)
    assert constant.next() == 4.0
    assert average.next() == 3.0


def test_linear_trend_goes_one_step_along_its_line() -> None:
    trend = LinearTrend(3)
    trend.observe(7.0)
    assert trend.next() == 7.0
    for value in (2.0, 4.0, 6.0):
        trend.observe(value)
    assert trend.next() == pytest.approx(8.0)
    # 4, 6, 2: mean 4, slope (2 - 4) / 2 = -1, two steps past the middle.
    trend.observe(2.0)
    assert trend.next() == pytest.approx(2.0)


def test_a_falling_line_stops_at_nothing() -> None:
    trend = LinearTrend(2)
    trend.observe(5.0)
    trend.observe(1.0)
    assert trend.next() == 0.0


def test_holt_by_hand() -> None:
    holt = Holt(0.5, 0.5, points=3)
    holt.observe(10.0)
    holt.observe(12.0)
    assert holt.next() == 12.0  # not yet trusted: the newest value
    # Level 12, trend 2 expect 14; 18 comes: level 14 + 0.5 x 4 = 16, its step is 4,
    # trend 2 + 0.5 x (4 - 2) = 3.
    holt.observe(18.0)
    assert holt.next() == pytest.approx(19.0)


def test_holt_follows_a_line_exactly() -> None:
    holt = Holt(0.42, 0.18)
    for value in range(3, 60, 3):
        holt.observe(float(value))
    assert holt.next() == pytest.approx(60.0)


# -- throughput ---------------------------------------------------------------------------------


def test_rate_over_what_a_replica_serves() -> None:
    policy = Throughput(10.0, Targets(requests_per_s=5.0), Constant)
    signals = replace(QUIET, arrivals=120, input_tokens=12_000)
    assert policy.desired(signals) == 3  # 12/s over 5/s is 2.4


def test_whole_multiples_take_no_more() -> None:
    policy = Throughput(10.0, Targets(requests_per_s=0.1), Constant)
    assert (
        policy.desired(replace(QUIET, arrivals=3, input_tokens=3)) == 3
    )  # 0.3 / 0.1 > 3 in binary


def test_the_tightest_of_several_targets_decides() -> None:
    targets = Targets(5.0, prefill_tokens_per_s=1000.0, output_tokens_per_s=2000.0)
    policy = Throughput(10.0, targets, Constant)
    signals = replace(
        QUIET,
        arrivals=20,
        input_tokens=20_000,
        finished=10,
        output_tokens=50_000,
        cached_ratio=0.25,
    )
    # Requests 2/s / 5 = 0.4. Prompts 2/s x 1000 x 0.75 = 1500 / 1000 = 1.5.
    # Answers 2/s x 5000 = 10,000 / 2000 = 5.
    assert policy.desired(signals) == 5
    prompts = Throughput(10.0, Targets(prefill_tokens_per_s=1000.0), Constant)
    assert prompts.desired(signals) == 2


def test_headroom() -> None:
    policy = Throughput(10.0, Targets(requests_per_s=5.0), Constant, load_ratio=0.5)
    assert policy.desired(replace(QUIET, arrivals=120, input_tokens=1)) == 5  # 12 / 2.5 = 4.8


def test_derived_capacity_is_asked_for_the_mean_lengths() -> None:
    asked = []

    def capacity(given: float, taken: float) -> float:
        asked.append((given, taken))
        return 4.0

    policy = Throughput(10.0, Targets(capacity=capacity), Constant)
    unseen = replace(QUIET, arrivals=100, input_tokens=50_000, active=2)
    assert policy.desired(unseen) == 2  # no answer has finished: as many as there are
    assert policy.desired(replace(unseen, finished=10, output_tokens=2_000)) == 3  # 10/s / 4
    assert asked == [(500.0, 200.0)]


def test_a_service_level_that_cannot_be_met_asks_for_very_many() -> None:
    policy = Throughput(10.0, Targets(capacity=lambda *_: 0.0), Constant)
    assert policy.desired(replace(QUIET, arrivals=1, input_tokens=1, finished=1)) > 10**6


def test_no_traffic_yet_changes_nothing_and_none_any_more_needs_none() -> None:
    policy = Throughput(10.0, Targets(requests_per_s=5.0), Constant)
    assert policy.desired(replace(QUIET, active=4)) == 4
    policy.desired(replace(QUIET, arrivals=50, input_tokens=50, active=4))
    assert policy.desired(replace(QUIET, active=4)) == 0


def test_a_trend_is_planned_ahead() -> None:
    behind = Throughput(10.0, Targets(requests_per_s=5.0), Constant)
    ahead = Throughput(10.0, Targets(requests_per_s=5.0), lambda: LinearTrend(3))
    for arrivals in (40, 70, 100):  # 4, 7, 10 per second: 13 come next
        signals = replace(QUIET, arrivals=arrivals, input_tokens=arrivals)
        wanted = behind.desired(signals), ahead.desired(signals)
    assert wanted == (2, 3)  # 10 / 5, and 13 / 5 = 2.6


# -- load ---------------------------------------------------------------------------------------


def test_any_signal_of_any_replica_adds_one() -> None:
    policy = Load(5.0, Thresholds(1000.0, 100.0), Thresholds(0.8, 0.5), Thresholds(4.0, 1.0))
    calm = ReplicaLoad(2, 500, 0.6)
    for busy in (
        replace(calm, waiting=5),
        replace(calm, queued_prefill_tokens=1001),
        replace(calm, kv_use=0.81),
    ):
        assert policy.desired(replace(QUIET, active=2, loads=(calm, busy))) == 3
    assert policy.desired(replace(QUIET, active=2, loads=(calm, calm))) == 2


def test_consolidation_decides_whether_one_may_go() -> None:
    policy = Load(5.0, kv_use=Thresholds(0.8, 0.6))
    # Two at 0.31: one alone would hold 0.62, not below 0.6. At 0.29 it would hold 0.58.
    assert policy.desired(replace(QUIET, active=2, loads=loads(0.31, 0.31))) == 2
    assert policy.desired(replace(QUIET, active=2, loads=loads(0.29, 0.29))) == 1
    # Four at 0.44: three would hold 0.44 x 4 / 3 = 0.587; at 0.46 they would hold 0.613.
    assert policy.desired(replace(QUIET, active=4, loads=loads(0.4, 0.44, 0.4, 0.4))) == 3
    assert policy.desired(replace(QUIET, active=4, loads=loads(0.1, 0.46, 0.1, 0.1))) == 4


def test_every_signal_must_let_one_go() -> None:
    policy = Load(5.0, Thresholds(1000.0, 100.0), Thresholds(0.8, 0.6))
    idle, queue = ReplicaLoad(0, 0, 0.1), ReplicaLoad(0, 60, 0.1)
    assert policy.desired(replace(QUIET, active=2, loads=(idle, idle))) == 1
    assert policy.desired(replace(QUIET, active=2, loads=(idle, queue))) == 2  # 60 x 2 = 120 > 100


def test_no_decision_while_a_replica_starts() -> None:
    policy = Load(5.0, kv_use=Thresholds(0.8, 0.6))
    busy = replace(QUIET, active=2, starting=1, loads=loads(0.9, 0.9))
    assert policy.desired(busy) == 3
    assert policy.desired(replace(busy, loads=loads(0.0, 0.0))) == 3


@pytest.mark.parametrize("total", [n / 20 for n in range(1, 160, 9)])
def test_a_constant_load_never_makes_the_pool_swing(total: float) -> None:
    policy = Load(5.0, kv_use=Thresholds(0.8, 0.6))
    active, seen = 5, []
    for _ in range(30):
        shares = loads(*[total / active] * active)
        active = max(policy.desired(replace(QUIET, active=active, loads=shares)), 1)
        seen.append(active)
    steps = [b - a for a, b in pairwise(seen) if b != a]
    assert len({step > 0 for step in steps}) <= 1  # one way only
    assert seen[-1] == seen[-15]  # and it comes to rest


def test_default_thresholds_are_those_of_the_role() -> None:
    section = Autoscaling(policy="load", max_replicas=4)
    queue = (ReplicaLoad(1, 10_001, 0.0),)
    full = (ReplicaLoad(0, 0, 1.01),)
    assert built(section, "prefill").desired(replace(QUIET, loads=queue)) == 2
    assert built(section, "prefill").desired(replace(QUIET, loads=full)) == 1
    assert built(section, "decode").desired(replace(QUIET, loads=full)) == 2
    assert built(section).desired(replace(QUIET, loads=queue)) == 1


# -- schedules ----------------------------------------------------------------------------------


def test_schedule_by_simulated_time() -> None:
    policy = Schedule([(100.0, 4), (200.0, 2)])
    assert policy.next_s(0.0, held_back=False) == 100.0
    assert [policy.desired(replace(QUIET, now_s=at)) for at in (99.0, 100.0, 250.0)] == [1, 4, 2]
    assert policy.next_s(100.0, held_back=False) == 200.0
    assert policy.next_s(200.0, held_back=False) == math.inf
    assert policy.next_s(200.0, held_back=True) == 230.0


def test_schedule_by_local_time_of_day() -> None:
    # 00:00 UTC is 19:00 of the day before in New York; 08:00 there is 13:00 UTC.
    policy = DailySchedule([(dt.time(8), 6), (dt.time(20), 2)], EPOCH, "America/New_York")
    assert policy.next_s(0.0, held_back=False) == 3600.0
    assert policy.desired(QUIET) == 1
    assert policy.desired(replace(QUIET, now_s=3600.0)) == 2
    assert policy.next_s(3600.0, held_back=False) == 13 * 3600.0
    assert policy.desired(replace(QUIET, now_s=13.5 * 3600)) == 6
    assert policy.desired(replace(QUIET, now_s=37.5 * 3600)) == 6  # the next day


def test_local_time_follows_the_clock_when_it_is_put_forward() -> None:
    # 8 March 2026: 02:00 becomes 03:00 in New York; 08:00 there is then 12:00 UTC.
    epoch = dt.datetime(2026, 3, 8, 5, tzinfo=UTC)
    policy = DailySchedule([(dt.time(8), 6)], epoch, "America/New_York")
    assert policy.next_s(0.0, held_back=False) == 7 * 3600.0


# -- limits -------------------------------------------------------------------------------------


def test_limits_and_step() -> None:
    limits = Limits(2, 6, step=2)
    three = replace(QUIET, active=3)
    assert clamped(9, three, limits, math.inf) == 5
    assert clamped(0, three, limits, math.inf) == 2
    assert clamped(9, replace(QUIET, active=5), limits, math.inf) == 6


def test_cool_downs() -> None:
    limits = Limits(1, 9, up_cooldown_s=30.0, down_cooldown_s=300.0)
    three = replace(QUIET, active=3)
    assert clamped(4, three, limits, 29.0) == 3
    assert clamped(4, three, limits, 30.0) == 4
    assert clamped(2, three, limits, 299.0) == 3
    assert clamped(2, three, limits, 300.0) == 2


def test_draining_replicas_still_take_their_place() -> None:
    signals = replace(QUIET, active=2, starting=1, draining=2)
    assert clamped(6, signals, Limits(1, 6), math.inf) == 4
    assert clamped(6, replace(signals, draining=4), Limits(1, 6), math.inf) == 3


def test_gpu_budgets() -> None:
    limits = Limits(1, 9, gpus_per_replica=8, gpus=40)
    assert clamped(9, QUIET, limits, math.inf) == 5
    assert clamped(9, QUIET, limits, math.inf, free_gpus=31) == 3
    assert clamped(9, replace(QUIET, active=4), limits, math.inf, free_gpus=16) == 4  # takes none


def test_pools_share_a_budget() -> None:
    budget = Budget(32)
    budget.hold(0, 16)
    budget.hold(1, 8)
    assert (budget.free(0), budget.free(1)) == (24, 16)
    budget.hold(0, 24)
    assert budget.free(1) == 8


# -- the timer ----------------------------------------------------------------------------------


class Pretend:
    """A pool whose replicas start and leave at once, with a load by time."""

    def __init__(self, replicas: int, use: Any) -> None:
        self.replicas = replicas
        self.use = use
        self.read: list[float] = []
        self.told: list[tuple[float, int]] = []

    def signals(self, now_s: float) -> Signals:
        self.read.append(now_s)
        share = self.use(now_s) / max(self.replicas, 1)
        shown = loads(*[share] * self.replicas)
        return replace(QUIET, now_s=now_s, active=self.replicas, loads=shown)

    def scale_to(self, replicas: int, now_s: float) -> None:
        self.told.append((now_s, replicas))
        self.replicas = replicas


def run(kernel: Kernel) -> None:
    assert not kernel.run_events(10_000, math.inf), "the timer keeps the run alive"


def test_the_timer_scales_notes_and_stops() -> None:
    kernel, notes = Kernel(), []
    pool = Pretend(1, lambda now_s: 1.5 if now_s < 20 else 0.2)
    policy = Load(5.0, kv_use=Thresholds(0.8, 0.6))
    scaler = Autoscaler(
        kernel, 0, "serve", pool, policy, Limits(1, 4, step=1), lambda: kernel.now < 40.0,
        lambda *row: notes.append(row),
    )  # fmt: skip
    scaler.wake(0.0)
    scaler.wake(0.0)
    run(kernel)
    assert pool.read == [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0]
    assert pool.told == [(5.0, 2), (20.0, 1)]
    assert [row[:4] for row in notes] == [
        (5.0, SCALE_UP, "serve", 2.0),
        (20.0, SCALE_DOWN, "serve", 1.0),
    ]
    assert notes[0][4] == "from 1 replicas: 2 wanted"


def test_after_a_pause_decisions_stay_on_their_grid() -> None:
    kernel, open_ = Kernel(), [True]
    pool = Pretend(1, lambda _: 0.5)
    policy = Load(5.0, kv_use=Thresholds(0.8, 0.6))
    scaler = Autoscaler(
        kernel, 0, "serve", pool, policy, Limits(1, 4), lambda: open_[0], lambda *_: None
    )
    arrivals = kernel.timer(CLASS_ARRIVAL, 0, scaler.wake)
    scaler.wake(0.0)
    kernel.run_events(2, 12.0)
    scaler.rest()
    open_[0] = False
    run(kernel)
    assert kernel.acted_s == 10.0  # what was taken back does not act
    open_[0] = True
    arrivals.set(41.7)
    kernel.run_events(3, 46.0)
    assert pool.read == [5.0, 10.0, 45.0]
    open_[0] = False
    run(kernel)


def test_within_an_instant_the_autoscaler_comes_last() -> None:
    kernel, order = Kernel(), []
    pool = Pretend(1, lambda _: order.append("scaler") or 0.5)
    scaler = Autoscaler(
        kernel, 0, "serve", pool, Schedule([(5.0, 1)]), Limits(1, 4), lambda: True, lambda *_: None
    )
    scaler.wake(0.0)
    kernel.timer(CLASS_ARRIVAL, 9, lambda _: order.append("arrival")).set(5.0)
    run(kernel)
    assert order == ["arrival", "scaler"]


def test_a_schedule_that_was_held_back_tries_again() -> None:
    kernel = Kernel()
    pool = Pretend(1, lambda _: 0.5)
    scaler = Autoscaler(
        kernel, 0, "serve", pool, Schedule([(100.0, 5)]), Limits(1, 9, step=2), lambda: True,
        lambda *_: None,
    )  # fmt: skip
    scaler.wake(0.0)
    run(kernel)
    assert pool.told == [(100.0, 3), (130.0, 5)]


def test_two_pools_and_one_budget() -> None:
    kernel, budget = Kernel(), Budget(4)
    pools = [Pretend(1, lambda _: 9.0), Pretend(1, lambda _: 9.0)]
    for owner, pool in enumerate(pools):
        budget.hold(owner, 1)
        Autoscaler(
            kernel, owner, f"pool{owner}", pool, Load(5.0, kv_use=Thresholds(0.8, 0.6)),
            Limits(1, 9, step=1), lambda: kernel.now < 30.0, lambda *_: None, budget,
        ).wake(0.0)  # fmt: skip
    run(kernel)
    assert [pool.told for pool in pools] == [[(5.0, 2)], [(5.0, 2)]]  # 2 + 2 = 4


def test_a_request_wakes_an_empty_pool() -> None:
    kernel = Kernel()
    pool = Pretend(0, lambda _: 0.0)
    limits = Limits(0, 1, up_cooldown_s=60.0)
    scaler = Autoscaler(
        kernel, 0, "serve", pool, Load(5.0), limits, lambda: kernel.now < 9.0, lambda *_: None
    )
    scaler.arrived(1.0, draining=1)  # no room: the one that leaves still holds the GPUs
    assert pool.told == []
    scaler.arrived(2.0, draining=0)
    assert pool.told == [(2.0, 1)]


def test_multiples() -> None:
    assert next_multiple(0.0, 5.0) == 5.0
    assert next_multiple(4.999, 5.0) == 5.0
    due = 0.0
    for count in range(1, 2000):
        due = next_multiple(due, 0.1)
        assert due == pytest.approx(count * 0.1)


# -- start-up -----------------------------------------------------------------------------------


def test_a_node_reads_what_its_gpus_hold_once() -> None:
    section = Startup(source="local_ssd", node_gb_s=10.0, gpu_gb_s=2.0, engine_start_s=50.0)
    # 8 GPUs of 10 GB: each reads 5 s at 2 GB/s, the node 80 GB in 8 s.
    time = startup_time(section, 80e9, 10e9, 8, 8)
    assert (time.load_s, time.engine_s, time.total_s) == (8.0, 50.0, 58.0)
    # GPUs that hold copies: the node reads the 40 GB there are.
    assert startup_time(section, 40e9, 10e9, 8, 8).load_s == 5.0
    # Two nodes read side by side.
    assert startup_time(section, 160e9, 10e9, 16, 8).load_s == 8.0


def test_replicas_that_start_together_share_the_source() -> None:
    section = Startup(source="object_store", node_gb_s=10.0, source_gb_s=20.0, engine_start_s=0.0)
    assert startup_time(section, 80e9, 10e9, 8, 8).load_s == 8.0
    assert startup_time(section, 80e9, 10e9, 8, 8, at_once=5).load_s == 20.0


def test_published_loads_come_out() -> None:
    giant = 805 * 2.0**30  # DeepSeek-V4-Pro on 8 B200 (ModelExpress benchmarks, 2026)
    seconds = {
        source: startup_time(Startup(source=source), giant, giant / 8, 8, 8).load_s
        for source in ("local_ssd", "object_store", "peer")
    }
    assert seconds["local_ssd"] == pytest.approx(70.0, rel=0.05)
    assert seconds["object_store"] == pytest.approx(196.0, rel=0.05)
    assert seconds["peer"] == pytest.approx(11.0, rel=0.05)


def test_engine_starts_between_the_published_ones() -> None:
    assert engine_start_s(8e9, cold=False) == 64.0
    assert engine_start_s(1e12, cold=True) == 409.0
    middle = math.sqrt(16e9 * 864e9)
    assert engine_start_s(middle, cold=False) == pytest.approx((64.0 + 93.0) / 2)


def test_a_stated_start_is_the_whole_of_it() -> None:
    assert startup_time(Startup(startup_s=42.0), 1e12, 1e11, 8, 8).total_s == 42.0


# -- checks -------------------------------------------------------------------------------------


def found(pool: Pool, rack_gpus: int | None = 64, **fields: Any) -> dict[str, str]:
    section = Autoscaling(**{"policy": "load", "max_replicas": 4, **fields})
    problems = pool_autoscaling_problems("p", pool, section, rack_gpus)
    return {problem.path: str(problem) for problem in problems}


@pytest.fixture
def pool() -> Pool:
    return Pool(name="serve", role="aggregated", racks="r", replicas=2, parallel=Parallel(tp=8))


def test_a_sound_section_has_no_problem(pool: Pool) -> None:
    assert not found(pool)
    assert pool.gpus == 16
    scaled = pool.model_copy(update={"autoscaling": Autoscaling(policy="load", max_replicas=4)})
    assert scaled.gpus == 32


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"min_replicas": 5}, "autoscaling.min_replicas", "must be <= max_replicas (4), got 5"),
        ({"min_replicas": 3}, "replicas", "3 to 4"),
        ({"min_replicas": 0}, "autoscaling.min_replicas", "wake_on_arrival: true"),
        ({"wake_on_arrival": True}, "autoscaling.wake_on_arrival", "min_replicas: 0"),
        (
            {"max_replicas": 9},
            "autoscaling.max_replicas",
            "racks r hold 64, got 9 (allowed: at most 8",
        ),
        ({"pool_gpu_budget": 7}, "autoscaling.pool_gpu_budget", "cannot hold 1 replica of 8 GPUs"),
        ({"pool_gpu_budget": 8}, "autoscaling.pool_gpu_budget", "at least 16, or fewer replicas"),
        ({"max_step": 5}, "autoscaling.max_step", "must be <= max_replicas (4)"),
        ({"predictor": "holt"}, "autoscaling.predictor", "is for policy: throughput only"),
        (
            {"up_kv_use": 0.5, "down_kv_use": 0.5},
            "autoscaling.down_kv_use",
            "must be < up_kv_use (0.5)",
        ),
        ({"down_kv_use": 0.5}, "autoscaling.down_kv_use", "needs up_kv_use"),
        ({"policy": "schedule"}, "autoscaling.schedule", "at least one"),
        (
            {"policy": "throughput", "predictor": "holt", "window": 3},
            "autoscaling.window",
            "is for predictor: moving_average and linear_trend only",
        ),
        (
            {"startup": {"startup_s": 5.0, "source": "peer"}},
            "autoscaling.startup.source",
            "beside startup_s",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    pool: Pool, fields: dict[str, Any], path: str, words: str
) -> None:
    told = found(pool, **fields)
    assert list(told) == [f"p.{path}"]
    assert words in told[f"p.{path}"]


@pytest.mark.parametrize(
    ("entries", "path", "words"),
    [
        ([{"at_s": 9, "replicas": 2}, {"at_s": 9, "replicas": 3}], "[1].at_s", "later"),
        ([{"at": "09:00", "replicas": 2}, {"at": "08:00", "replicas": 3}], "[1].at", "later"),
        ([{"at_s": 9, "replicas": 5}], "[0].replicas", "allowed: 1 to 4"),
        ([{"at_s": 0, "replicas": 3}], "[0].at_s", "must be > 0"),
        ([{"at_s": 9, "replicas": 2}, {"at": "08:00", "replicas": 3}], "[1]", "must give at_s"),
        ([{"replicas": 2}], "[0]", 'exactly one of at_s and at, got "neither"'),
    ],
)
def test_schedules_in_disorder(pool: Pool, entries: list[Any], path: str, words: str) -> None:
    told = found(pool, policy="schedule", schedule=entries)
    assert list(told) == [f"p.autoscaling.schedule{path}"]
    assert words in next(iter(told.values()))


def test_fields_of_the_other_role(pool: Pool) -> None:
    decode = pool.model_copy(update={"role": "decode"})
    told = found(decode, policy="throughput", prefill_tokens_per_s_per_replica=10.0)
    assert "says nothing of a decode pool" in told["p.autoscaling.prefill_tokens_per_s_per_replica"]
    prefill = pool.model_copy(update={"role": "prefill"})
    assert "p.autoscaling.up_kv_use" in found(prefill, up_kv_use=0.5)


def test_nothing_to_derive_a_rate_from(pool: Pool) -> None:
    section = Autoscaling(policy="throughput", max_replicas=4)
    told = list(pool_autoscaling_problems("p", pool, section, 64, has_service_level=False))
    assert [problem.path for problem in told] == ["p.autoscaling"]
    assert "requests_per_s_per_replica" in str(told[0])


def test_shared_budgets(pool: Pool) -> None:
    def told(*budgets: int, least: int = 1) -> list[str]:
        pools = [
            (
                f"p[{n}]",
                pool,
                Autoscaling(policy="load", min_replicas=least, max_replicas=4, gpu_budget=gpus),
            )
            for n, gpus in enumerate(budgets)
        ]
        return [str(problem) for problem in budget_problems(pools)]

    assert not told(32, 32)
    assert "p[1].autoscaling.gpu_budget: must be 32" in told(32, 40)[0]
    assert "at least 16" in told(15, 15)[0]
    assert "at least 32, or fewer replicas" in told(24, 24)[0]


def test_limits_of_a_section() -> None:
    limits = build_limits(Autoscaling(policy="throughput", max_replicas=20), 8)
    assert (limits.least, limits.most, limits.step, limits.gpus) == (1, 20, 8.0, math.inf)
    assert build_limits(Autoscaling(policy="load", max_replicas=20), 8).step == 1.0


def test_policies_of_a_section() -> None:
    assert (
        built(Autoscaling(policy="throughput", max_replicas=2)).next_s(1.0, held_back=False)
        == 180.0
    )
    assert built(Autoscaling(policy="load", max_replicas=2)).next_s(1.0, held_back=False) == 5.0
    section = Autoscaling(
        policy="schedule", max_replicas=2, schedule=[{"at": "06:00", "replicas": 2}]
    )
    assert built(section).next_s(0.0, held_back=False) == 6 * 3600.0
