from __future__ import annotations

import math

import pytest
from simpy.core import EmptySchedule

from factory.kernel import CLASS_ARRIVAL, CLASS_POWER, CLASS_STEP, CLASS_TRANSFER, Kernel


class Log(list[tuple[str, float]]):
    """What fired, and when."""

    def of(self, name: str):
        return lambda now_s: self.append((name, now_s))


def test_times_are_absolute_and_exact() -> None:
    kernel, log = Kernel(), Log()
    timer = kernel.timer(CLASS_STEP, 0, log.of("a"))
    time_s = 0.1 + 0.2
    kernel.timer(CLASS_STEP, 1, lambda _: timer.set(time_s)).set(0.1)
    kernel.run()
    assert log == [("a", time_s)]


def test_one_instant_fires_by_class_then_owner_whatever_was_set_first() -> None:
    kernel, log = Kernel(), Log()
    classes = (CLASS_ARRIVAL, CLASS_TRANSFER, CLASS_STEP, CLASS_POWER)
    for event_class in classes:
        for owner in (2, 1):
            kernel.timer(event_class, owner, log.of(f"{event_class}.{owner}")).set(1.0)
    kernel.run()
    expected = [f"{c}.{owner}" for c in sorted(classes) for owner in (1, 2)]
    assert [name for name, _ in log] == expected


def test_a_later_time_costs_no_entry_until_the_earlier_one_fires() -> None:
    kernel, log = Kernel(), Log()
    timer = kernel.timer(CLASS_STEP, 0, log.of("a"))
    for time_s in (1.0, 2.0, 3.0, 4.0):
        timer.set(time_s)
    kernel.run()
    assert log == [("a", 4.0)]
    assert kernel.fired == 2


def test_an_earlier_time_wins_and_the_later_entry_is_stale() -> None:
    kernel, log = Kernel(), Log()
    timer = kernel.timer(CLASS_STEP, 0, log.of("a"))
    timer.set(4.0)
    timer.set(1.0)
    kernel.run()
    assert log == [("a", 1.0)]
    assert kernel.fired == 2


def test_an_entry_left_behind_serves_the_next_setting() -> None:
    kernel, log = Kernel(), Log()
    timer = kernel.timer(CLASS_STEP, 0, log.of("a"))
    timer.set(4.0)
    timer.set(1.0)
    kernel.timer(CLASS_ARRIVAL, 0, lambda _: timer.set(4.0)).set(2.0)
    kernel.run()
    assert log == [("a", 1.0), ("a", 4.0)]
    assert kernel.fired == 3


def test_a_timer_may_set_itself_to_now() -> None:
    kernel, log = Kernel(), Log()

    def again(now_s: float) -> None:
        log.append(("a", now_s))
        if len(log) < 3:
            timer.set(now_s)

    timer = kernel.timer(CLASS_STEP, 0, again)
    timer.set(1.0)
    kernel.run()
    assert log == [("a", 1.0)] * 3


def test_run_events_stops_in_time_and_after_so_many() -> None:
    kernel, log = Kernel(), Log()
    for owner in range(4):
        kernel.timer(CLASS_STEP, owner, log.of(str(owner))).set(float(owner))
    assert kernel.run_events(2, math.inf)
    assert [name for name, _ in log] == ["0", "1"]
    assert not kernel.run_events(10, 2.0)
    assert [name for name, _ in log] == ["0", "1", "2"]
    assert kernel.now == 2.0


def test_simpy_processes_live_beside_timers() -> None:
    kernel, log = Kernel(), Log()

    def process():
        yield kernel.timeout(1.5)
        log.append(("process", kernel.now))

    kernel.process(process())
    kernel.timer(CLASS_STEP, 0, log.of("timer")).set(2.0)
    kernel.run()
    assert log == [("process", 1.5), ("timer", 2.0)]


def test_an_empty_kernel_says_so() -> None:
    with pytest.raises(EmptySchedule):
        Kernel().step()


def test_a_failing_process_fails_the_run() -> None:
    kernel = Kernel()

    def process():
        yield kernel.timeout(1.0)
        raise ValueError("broken")

    kernel.process(process())
    with pytest.raises(ValueError, match="broken"):
        kernel.run()
