import datetime as dt
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest

from factory.errors import InputError
from factory.scenario import Load
from factory.workload.arrivals import Daily, Renewal, before, build, session_rate
from factory.workload.arrivals.clock import Clock
from factory.workload.arrivals.profiles import points

HOUR_S, DAY_S = 3600.0, 86400.0


@dataclass
class Means:
    requests: float = 4.0
    input_tokens: float = 900.0
    output_tokens: float = 100.0


def load(**fields: Any) -> Load:
    return Load.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({"rate": 3.0}, 3.0),
        ({"tokens_per_day": 8.64e7}, 1.0),
        ({"output_tokens_per_day": 8.64e7}, 10.0),
        ({"users": 8640, "requests_per_user_per_day": 40}, 1.0),
        ({"at": ["02:00", "14:30"]}, 2 / DAY_S),
    ],
)
def test_a_demand_is_a_rate_of_sessions(fields: dict[str, Any], rate: float) -> None:
    assert session_rate(load(**fields), Means()) == pytest.approx(rate)


def test_the_mean_of_a_file_is_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("time_s,rate\n0,2\n100,4\n")
    profile = {"path": str(path)}
    assert session_rate(load(profile=profile), Means()) == 3.0
    # A rate that is stated scales the file's curve.
    assert session_rate(load(profile=profile, rate=30.0), Means()) == 30.0


def test_a_closed_loop_has_no_rate() -> None:
    with pytest.raises(ValueError, match="closed loop"):
        session_rate(load(concurrency=3), Means())


@pytest.mark.parametrize("mean", [0.0, float("inf")])
def test_tokens_need_a_mean_to_divide_by(mean: float) -> None:
    with pytest.raises(InputError, match=r"load\.output_tokens_per_day: needs the mean"):
        session_rate(load(output_tokens_per_day=1e6), Means(output_tokens=mean))


def process(clock: Clock, **fields: Any) -> Any:
    return build(load(**fields), 2.0, points([0], [1]), "x", 1, 0, clock)


def test_a_load_becomes_its_process() -> None:
    clock = Clock(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    made = process(clock, rate=2, arrival="weibull", cv=3)
    assert isinstance(made, Renewal)
    assert (made.kind, made.rate, made.cv) == ("weibull", 2.0, 3.0)
    assert made.profile is not None
    assert isinstance(process(clock, at=["02:00"]), Daily)


def first(clock: Clock, at: list[str], n: int) -> list[float]:
    return list(islice(chain.from_iterable(process(clock, at=at).times(1e9)), n))


def test_local_times_of_every_day() -> None:
    # 10:00 in Berlin is 09:00 UTC in winter.
    clock = Clock(dt.datetime(2026, 1, 1, 9, tzinfo=dt.UTC), "Europe/Berlin")
    at = ["14:30", "02:00", "10:00"]
    hours = [time_s / HOUR_S for time_s in first(clock, at, 6)]
    assert hours == [0.0, 4.5, 16.0, 24.0, 28.5, 40.0]


def test_local_times_when_the_clock_is_changed() -> None:
    spring = Clock(dt.datetime(2026, 3, 8, 5, tzinfo=dt.UTC), "America/New_York")
    # 02:30 is skipped and comes as much later, at 03:30 EDT, 2.5 hours after midnight.
    assert [t / HOUR_S for t in first(spring, ["02:30", "04:00"], 4)] == [2.5, 3.0, 25.5, 27.0]
    autumn = Clock(dt.datetime(2026, 11, 1, 4, tzinfo=dt.UTC), "America/New_York")
    # 01:30 comes twice and counts the first time.
    assert [t / HOUR_S for t in first(autumn, ["01:30", "03:00"], 3)] == [1.5, 4.0, 26.5]


def test_local_times_stop_in_time() -> None:
    clock = Clock(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    made = process(clock, at=["00:00", "12:00"])
    assert list(chain.from_iterable(made.times(1.5 * DAY_S))) == [0, 0.5 * DAY_S, DAY_S]
    assert list(chain.from_iterable(made.times(DAY_S))) == [0, 0.5 * DAY_S]
    assert list(chain.from_iterable(made.times(1.0))) == [0]


def test_every_so_many_seconds() -> None:
    made = build(
        load(rate=1 / 600, arrival="deterministic"), 1 / 600, None, "x", 1, 0,
        Clock(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
    )  # fmt: skip
    times = list(chain.from_iterable(made.times(2000.0)))
    assert times == pytest.approx([600.0, 1200.0, 1800.0])


def test_sessions_before_the_run() -> None:
    clock = Clock(dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC))
    daily = before(load(at=["09:00", "12:00"]), 0.0, "x", 1, 0, clock, 24 * HOUR_S)
    assert [time_s / HOUR_S for time_s in daily] == [-22.0, -1.0]
    profile = {"diurnal": {"peak_to_mean": 2, "peak_hour": 9}}
    times = before(load(rate=1, profile=profile), 1.0, "x", 1, 0, clock, 12 * HOUR_S)
    assert times == sorted(times)
    assert times[0] > -12 * HOUR_S
    assert times[-1] < 0
    # 22:00 to 10:00 of 1 + cos(2π(h - 9) / 24): 12 + 12/π (sin 15° + sin 165°) hours.
    assert len(times) == pytest.approx(3600 * (12 + 12 / 3.14159 * 0.5176), rel=0.02)
