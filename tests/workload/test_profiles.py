import datetime as dt
import gzip
import math
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from factory.errors import InputError
from factory.scenario.tenant_load import RateProfile
from factory.statistics import bonferroni
from factory.workload.arrivals import Renewal
from factory.workload.arrivals.clock import Clock
from factory.workload.arrivals.curves import Days
from factory.workload.arrivals.profiles import Profile, build, points, product

HOUR_S, DAY_S = 3600.0, 86400.0
NEW_YEAR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def days(peak: float = 1.8, hour: float = 14.0, weekend: float = 0.6, **clock: Any) -> Profile:
    return Profile(Days(Clock(clock.pop("epoch", NEW_YEAR), **clock), peak, hour, weekend))


def made(zone: str = "UTC", epoch: dt.datetime = NEW_YEAR, **fields: Any) -> Profile:
    profile = build(RateProfile.model_validate(fields), Clock(epoch, zone))
    assert profile is not None
    return profile


@st.composite
def polylines(draw: st.DrawFn) -> Profile:
    """Points with jumps, level stretches and stretches at 0, held or repeated."""
    steps = draw(st.lists(st.sampled_from([0.0, 0.7, 60.0, 3600.0]), min_size=1, max_size=8))
    times = np.concatenate([[0.0], np.cumsum(steps)])
    heights = draw(
        st.lists(
            st.one_of(st.just(0.0), st.just(1.0), st.floats(0.01, 20)),
            min_size=len(times), max_size=len(times),
        )
    )  # fmt: skip
    lines = [h + g for h, g, step in zip(heights, heights[1:], steps, strict=False) if step]
    repeat = draw(st.booleans()) and any(lines) and times[-1] >= 60
    assume(repeat or heights[-1] > 0)
    return points(times, heights, repeat=bool(repeat))


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    profile = draw(polylines())
    if draw(st.booleans()):
        profile = product(profile, days(draw(st.floats(1, 12)), draw(st.floats(0, 23.9))))
    return profile


@settings(max_examples=60, deadline=None)
@given(profile=profiles(), seed=st.integers(0, 1000))
def test_the_integral_can_be_inverted(profile: Profile, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 2 * DAY_S, 500))
    areas = profile.integral(times)
    assert (np.diff(areas) >= 0).all()
    back = profile.inverse(areas)
    assert np.abs(profile.integral(back) - areas).max() <= 1e-9 * max(1.0, areas.max())
    # Where the factor is not near 0 the time itself comes back.
    high = (profile.at(times) > 0.01) & (profile.at(back) > 0.01)
    assert back[high] == pytest.approx(times[high], rel=1e-9, abs=1e-6)
    # Where nobody comes the first such time does.
    flat = profile.at(times) == 0
    assert (back[flat] <= times[flat] + 1e-6).all()


@settings(max_examples=40, deadline=None)
@given(profile=profiles(), start=st.floats(0, DAY_S), width=st.floats(1e-3, 10.0))
def test_the_integral_is_that_of_the_factor(profile: Profile, start: float, width: float) -> None:
    knots = profile._table.starts
    assume(not ((knots > start) & (knots < start + width)).any())
    low, high = profile.integral([start, start + width])
    assume(not ((profile._table.starts > start) & (profile._table.starts < start + width)).any())
    middle = float(profile.at(start + width / 2))
    assert high - low == pytest.approx(middle * width, rel=1e-6, abs=1e-6)


def test_areas_by_hand() -> None:
    profile = points([0, 10, 10, 20], [0, 2, 1, 3])
    assert profile.at([0, 5, 10, 15, 20, 99]).tolist() == [0, 1, 1, 2, 3, 3]
    assert profile.integral([5, 10, 20, 30]).tolist() == [2.5, 10, 30, 60]
    assert profile.inverse([0, 2.5, 10, 30, 60]).tolist() == [0, 5, 10, 20, 30]
    assert profile.mean(20.0) == 1.5
    assert profile.mean(20.0, from_s=10.0) == 2.0


def test_points_repeat() -> None:
    profile = points([0, 60, 60, 100], [1, 1, 0, 0], repeat=True)
    assert profile.at([0, 59, 60, 99, 100, 1000]).tolist() == [1, 1, 0, 0, 1, 1]
    assert profile.integral([100, 250]).tolist() == [60, 170]
    assert profile.inverse([60, 61]).tolist() == [60, 101]
    assert profile.mean(1e6) == pytest.approx(0.6)


def test_the_first_point_holds_before_it() -> None:
    profile = points([100, 200], [2, 1])
    assert profile.at([0, 100, 150]).tolist() == [2, 2, 1.5]


def test_what_ends_is_never_reached() -> None:
    profile = points([0, 10], [1, 0])
    assert profile.inverse([5, 5.1]).tolist() == [10, math.inf]
    night = product(days(3.0), points([0, DAY_S, DAY_S], [1, 1, 0]))
    total = float(night.integral(1e7))
    assert night.inverse([total * 0.999, total * 1.1])[1] == math.inf


def test_times_before_the_run_are_refused() -> None:
    with pytest.raises(ValueError, match="times must be finite and >= 0"):
        points([0], [1]).at(-1.0)
    with pytest.raises(ValueError, match="areas must be >= 0"):
        points([0], [1]).inverse([-1.0])


@given(peak=st.floats(1, 12), hour=st.floats(0, 23.99))
def test_a_day_has_its_peak_and_the_mean_1(peak: float, hour: float) -> None:
    profile = days(peak, hour, 1.0)
    assert profile.mean(DAY_S) == pytest.approx(1.0, abs=1e-9)
    assert float(profile.at(hour * HOUR_S)) == pytest.approx(peak, rel=1e-9)
    times = np.arange(0.0, DAY_S, 450.0)
    assert profile.at(times).max() <= peak + 1e-9
    assert profile.at(times).min() >= 0
    # Smooth and even about its peak.
    before, after = (profile.at((hour * HOUR_S + s * times[:96]) % DAY_S) for s in (-1, 1))
    assert before == pytest.approx(after, abs=0.002 * peak)


def test_a_moderate_day_is_a_cosine() -> None:
    profile = days(1.5, 12.0, 1.0)
    assert profile.at([12 * HOUR_S, 18 * HOUR_S, 0]) == pytest.approx([1.5, 1.0, 0.5])


def test_weekends() -> None:
    # 2026-01-01 is a Thursday.
    profile = days(1.0, 0.0, 0.3)
    daily = np.diff(profile.integral(DAY_S * np.arange(8))) / DAY_S
    assert daily[2] / daily[0] == pytest.approx(0.3)
    assert daily[[2, 3]].tolist() == [daily[2]] * 2
    assert daily[[0, 1, 4, 5, 6]] == pytest.approx([daily[0]] * 5)
    assert profile.mean(7 * DAY_S) == pytest.approx(1.0, abs=1e-12)
    assert days(6.0, 9.0, 0.3).mean(7 * DAY_S) == pytest.approx(1.0, abs=1e-9)


def test_days_follow_the_local_clock_when_it_is_put_forward() -> None:
    # New York, 2026-03-08: 02:00 EST becomes 03:00 EDT, so the day has 23 hours.
    zone, midnight = "America/New_York", dt.datetime(2026, 3, 8, 5, tzinfo=dt.UTC)
    profile = days(2.0, 14.0, 1.0, epoch=midnight, zone=zone)
    usual = days(2.0, 14.0, 1.0)
    # The peak is at 14:00 EDT, 13 hours after midnight; the next one 24 hours later.
    assert profile.at([13 * HOUR_S, 37 * HOUR_S]) == pytest.approx([2.0, 2.0])
    assert float(profile.at(2 * HOUR_S)) == pytest.approx(float(usual.at(3 * HOUR_S)))
    assert float(profile.at(2 * HOUR_S - 1)) == pytest.approx(float(usual.at(2 * HOUR_S - 1)))
    skipped = float(usual.integral(3 * HOUR_S) - usual.integral(2 * HOUR_S))
    assert float(profile.integral(23 * HOUR_S)) == pytest.approx(DAY_S - skipped, rel=1e-9)


def test_an_hour_that_the_clock_shows_twice_counts_twice() -> None:
    # New York, 2026-11-01: 02:00 EDT becomes 01:00 EST, so the day has 25 hours.
    zone, midnight = "America/New_York", dt.datetime(2026, 11, 1, 4, tzinfo=dt.UTC)
    profile = days(2.0, 14.0, 1.0, epoch=midnight, zone=zone)
    usual = days(2.0, 14.0, 1.0)
    assert float(profile.at(15 * HOUR_S)) == pytest.approx(2.0)
    assert profile.at([1.5 * HOUR_S, 2.5 * HOUR_S]) == pytest.approx(
        [float(usual.at(1.5 * HOUR_S))] * 2
    )
    twice = float(usual.integral(2 * HOUR_S) - usual.integral(HOUR_S))
    assert float(profile.integral(25 * HOUR_S)) == pytest.approx(DAY_S + twice, rel=1e-9)


def test_half_an_hour_of_daylight_saving() -> None:
    # Lord Howe, 2026-04-05: 02:00 +11:00 becomes 01:30 +10:30.
    midnight = dt.datetime(2026, 4, 4, 13, tzinfo=dt.UTC)
    clock = Clock(midnight, "Australia/Lord_Howe")
    first, second, third = islice(clock.stretches(), 3)
    assert first == (0.0, 2 * HOUR_S, 0.0, 6)
    assert second == (2 * HOUR_S, 24.5 * HOUR_S, 1.5 * HOUR_S, 6)
    assert (third.start_s, third.local_s, third.weekday) == (24.5 * HOUR_S, 0.0, 0)


def test_a_run_may_start_at_any_instant() -> None:
    epoch = dt.datetime(2026, 6, 3, 11, 22, 33, 500_000, tzinfo=dt.UTC)
    profile = days(2.0, 14.0, 1.0, epoch=epoch, zone="Asia/Kolkata")
    here = 16 * 3600 + 52 * 60 + 33.5
    assert float(profile.at(0.0)) == pytest.approx(float(days(2.0, 14.0, 1.0).at(here)))
    assert float(profile.at(DAY_S - here + 14 * HOUR_S)) == pytest.approx(2.0)


def test_counts_follow_the_integral() -> None:
    from scipy.special import pdtr, pdtrc

    profile = made(
        zone="Europe/Berlin",
        diurnal={"peak_to_mean": 1.8, "weekend_factor": 0.5},
        spikes=[{"at_s": 40_000, "duration_s": 1800, "factor": 4}],
        ramp={"duration_s": 5 * HOUR_S},
    )
    hours = HOUR_S * np.arange(7 * 24 + 1)
    counts = np.zeros(7 * 24)
    seeds = range(3)
    for seed in seeds:
        process = Renewal("poisson", 0.2, 1.0, "hours", seed, 0, profile)
        times = list(chain.from_iterable(process.times(7 * DAY_S)))
        counts += np.histogram(times, hours)[0]
    means = len(seeds) * 0.2 * np.diff(profile.integral(hours))
    tail = (1 - bonferroni(0.999, len(counts))) / 2
    assert (pdtr(counts, means) > tail).all()
    assert (pdtrc(counts - 1, means) > tail).all()
    assert means.min() > 50
    assert means.max() > 1000


def test_a_product_is_near_the_product_of_the_factors() -> None:
    day, way = days(1.8), points([0, 3 * DAY_S], [0.2, 2.0])
    both = product(day, way)
    times = np.random.default_rng(1).uniform(0, 4 * DAY_S, 5000)
    assert both.at(times) == pytest.approx(day.at(times) * way.at(times), abs=1e-5)
    fine = np.arange(0, 4 * DAY_S, 10.0)
    mean = float(np.mean(day.at(fine) * way.at(fine)))
    assert both.mean(4 * DAY_S) == pytest.approx(mean, rel=1e-4)


def test_shares_that_sum_to_1_split_the_rate() -> None:
    day = days(1.8)
    one = product(day, points([0, DAY_S], [1, 0.2]))
    other = product(day, points([0, DAY_S], [0, 0.8]))
    times = np.linspace(0, 2 * DAY_S, 999)
    assert one.at(times) + other.at(times) == pytest.approx(day.at(times), rel=1e-9)
    assert one.integral(times) + other.integral(times) == pytest.approx(day.integral(times))


def test_parts_of_a_section_multiply() -> None:
    profile = made(
        points=[[0, 2], [100, 2]],
        ramp={"from_factor": 1, "to_factor": 3, "start_s": 10, "duration_s": 20},
        spikes=[
            {"at_s": 50, "duration_s": 10, "factor": 5},
            {"at_s": 55, "duration_s": 10, "factor": 0.5},
        ],
    )
    times = [0, 10, 20, 30, 49, 50, 55, 59, 60, 65]
    assert profile.at(times).tolist() == [2, 2, 4, 6, 6, 30, 15, 15, 3, 6]


def test_no_section_is_no_profile() -> None:
    clock = Clock(NEW_YEAR)
    assert build(None, clock) is None
    assert build(RateProfile(), clock) is None


def test_the_users_may_live_elsewhere() -> None:
    there = {"peak_to_mean": 2, "peak_hour": 14, "time_zone": "Asia/Tokyo"}
    assert float(made(zone="UTC", diurnal=there).at(5 * HOUR_S)) == pytest.approx(2.0)
    here = {"peak_to_mean": 2, "peak_hour": 14}
    assert float(made(zone="Asia/Tokyo", diurnal=here).at(5 * HOUR_S)) == pytest.approx(2.0)


def test_a_profile_may_begin_before_the_run() -> None:
    section = RateProfile.model_validate(
        {
            "diurnal": {"peak_to_mean": 1.8, "weekend_factor": 0.5},
            "points": [[0, 2], [1000, 1], [1000, 3], [7200, 1], [7200, 2]],
            "repeat": True,
            "spikes": [{"at_s": 500, "duration_s": 100, "factor": 4}],
        }
    )
    clock = Clock(dt.datetime(2026, 3, 8, 12, tzinfo=dt.UTC), "America/New_York")
    run, led = build(section, clock), build(section, clock, 90_000.0)
    assert run is not None
    assert led is not None
    times = np.linspace(1.0, 2 * DAY_S, 700)
    assert led.at(times + 90_000.0) == pytest.approx(run.at(times), rel=1e-4)
    # The list went round 12.5 times before the run, and the day before was a Saturday.
    day = days(1.8, 14.0, 0.5, epoch=dt.datetime(2026, 3, 7, 11, tzinfo=dt.UTC), zone=clock.zone)
    assert float(led.at(0.0)) == pytest.approx(float(day.at(0.0)) * (3 - 2 * 2600 / 6200))
    held = build(RateProfile(points=((0, 2), (100, 4))), clock, 50.0)
    assert held is not None
    assert held.at([0, 49, 50, 100, 150]).tolist() == [2, 2, 2, 3, 4]


def write(folder: Path, text: str, name: str = "rates.csv") -> str:
    path = folder / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


@pytest.mark.parametrize("name", ["rates.csv", "rates.csv.gz"])
def test_a_file_of_rates(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, "time_s,rate\n0,2\n100,4\n100,0\n200,0\n\n", name)
    profile = made(path=path)
    # The mean of the file is 1.5 sessions/s.
    assert profile.at([0, 50, 100]) == pytest.approx([2 / 1.5, 2, 0])
    assert profile.mean(200.0) == pytest.approx(1.0)
    assert profile.at(1000.0) == 0
    again = made(path=path, repeat=True)
    assert float(again.at(250.0)) == pytest.approx(2.0)


HOURLY = "time_s,rate\n" + "".join(f"{3600 * i},1\n" for i in range(24) if i != 17)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have rows for two times"),
        ("time_s,rate\n", "must have rows for two times"),
        ("time_s,rate\n0,1\n", "must have rows for two times"),
        ("time,qps\n0,1\n", "{path}:1: the columns must be time_s, rate .*got time, qps"),
        ("time_s,rate,cv\n0,1,1\n", "{path}:1: the columns must be time_s, rate"),
        ("time_s,rate\n0,1\n9,1,7\n", "{path}:3: must have two cells.*got 3"),
        ("time_s,rate\n0,1\n9,many\n", "{path}:3: rate: must be a finite number, got 'many'"),
        ("time_s,rate\n0,1\n9,nan\n", "{path}:3: rate: must be a finite number"),
        ("time_s,rate\n0,1\n9,\n", "{path}:3: rate is missing; fill it in"),
        ("time_s,rate\n0,1\n9,-1\n", "{path}:3: rate: must be >= 0 sessions/s, got -1"),
        ("time_s,rate\n0,1\n9,1\n8,1\n", "{path}:4: time_s: runs back in time, got 8 after 9"),
        ("time_s,rate\n0,1\n0,1\n0,1\n", "{path}:4: time_s: is the third row at 0"),
        ("time_s,rate\n1700000000,1\n1700000060,1\n", "{path}:2: time_s: the first row must be"),
        ("time_s,rate\n0,0\n9,0\n", "every rate is 0"),
        (HOURLY, "{path}:19: time_s: rows come every 3600 s, here 7200 s have none; fill"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message.format(path=path)):
        made(path=path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        made(path=str(tmp_path / "none.csv"))


def test_a_file_cut_short(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = "".join(f"{60 * i},{x:.9f}\n" for i, x in enumerate(rng.random(5000)))
    path = Path(write(tmp_path, "time_s,rate\n" + rows, "rates.csv.gz"))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"rates.csv.gz:\d+: the gzip stream.*copy it again"):
        made(path=str(path))
