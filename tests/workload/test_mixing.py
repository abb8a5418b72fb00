from __future__ import annotations

import math

import pytest
from experiments_beside import experiment
from hypothesis import given
from hypothesis import strategies as st

from factory.scenario import catalog, load, resolved
from factory.scenario.mix import Mix, MixPoint
from factory.scenario.tenant_load import Load, RateProfile
from factory.workload.build import build
from factory.workload.generate import answers_after, generate
from factory.workload.mixing import loads, per_session, rates, share_profile, shares_at
from factory.workload.sessions.expected import SessionMeans

measured = experiment("workloads.measured")

MEANS = {
    "chat": SessionMeans(2.5, 3000.0, 500.0, 700.0, 2.5),
    "agent": SessionMeans(68.0, 8e6, 3e4, 2e5, 4.7),
    "batch": SessionMeans(1.0, 12000.0, 700.0, 12000.0, 1.0),
}
HOLDS = ("sessions", "requests", "tokens", "output_tokens")

weights = st.lists(st.floats(0.001, 1), min_size=3, max_size=3)


def shares_of(numbers):
    total = math.fsum(numbers)
    return {name: number / total for name, number in zip(MEANS, numbers, strict=True)}


def mix(**fields):
    return Mix.model_construct(
        **{
            "hold": "requests", "rate": 1.0, "shares": None, "schedule": None, "toward": None,
            "position": 0.0, "profile": None, **fields,
        }
    )  # fmt: skip


@given(weights, weights, st.floats(0, 1), st.floats(1e-3, 1e6), st.sampled_from(HOLDS))
def test_what_is_held_stays_at_every_position(start, end, position, rate, hold):
    one = mix(
        hold=hold, rate=rate, shares=shares_of(start), toward=shares_of(end), position=position
    )
    started = rates(one, MEANS)
    held = math.fsum(started[name] * per_session(MEANS[name], hold) for name in started)
    assert held == pytest.approx(rate, rel=1e-12)


@given(weights, weights, st.floats(0, 2000), st.sampled_from(HOLDS))
def test_what_is_held_stays_at_every_time(start, end, at_s, hold):
    points = tuple(
        MixPoint(at_s=at, shares=shares_of(numbers)) for at, numbers in ((100, start), (900, end))
    )
    one = mix(hold=hold, rate=7.0, schedule=points)
    started = rates(one, MEANS, at_s)
    held = math.fsum(started[name] * per_session(MEANS[name], hold) for name in started)
    assert held == pytest.approx(7.0, rel=1e-12)


def test_shares_move_in_a_straight_line():
    one = mix(shares={"chat": 1.0}, toward={"chat": 0.2, "agent": 0.8}, position=0.25)
    assert shares_at(one) == pytest.approx({"chat": 0.8, "agent": 0.2})


def test_a_tenant_starts_sessions_by_its_share_and_its_mean():
    one = mix(hold="tokens", rate=1e6, shares={"chat": 0.35, "batch": 0.65})
    assert rates(one, MEANS) == pytest.approx({"chat": 100.0, "batch": 650000 / 12700})


def test_a_share_over_time_is_constant_outside_its_points():
    points = (
        MixPoint(at_s=10, shares={"chat": 1.0}),
        MixPoint(at_s=20, shares={"chat": 0.5, "agent": 0.5}),
    )
    one = mix(schedule=points)
    assert share_profile(one, "agent") == [(0.0, 0.0), (10.0, 0.0), (20.0, 0.5)]
    assert shares_at(one, 15) == {"chat": 0.75, "agent": 0.25}
    assert shares_at(one, 99) == {"chat": 0.5, "agent": 0.5}


def test_loads_keep_the_shape_and_leave_out_who_has_no_share():
    one = mix(rate=3.0, shares={"chat": 1.0, "agent": 0.0})
    shape = Load(arrival="gamma", cv=2.0)
    made = loads(one, MEANS, {"chat": shape, "agent": None})
    assert list(made) == ["chat"]
    assert made["chat"].rate == pytest.approx(3.0 / 2.5)
    assert (made["chat"].arrival, made["chat"].cv) == ("gamma", 2.0)


def test_loads_follow_the_schedule_and_the_profile():
    points = (MixPoint(at_s=0, shares={"chat": 1.0}), MixPoint(at_s=9, shares={"agent": 1.0}))
    profile = RateProfile.model_validate({"diurnal": {"peak_to_mean": 2}})
    one = mix(hold="sessions", rate=3.0, schedule=points, profile=profile)
    made = loads(one, MEANS, {})
    assert made["agent"].rate == 3.0
    assert made["agent"].profile.points == ((0.0, 0.0), (9.0, 1.0))
    assert made["agent"].profile.diurnal.peak_to_mean == 2
    assert made["chat"].profile.points == ((0.0, 1.0), (9.0, 0.0))


@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
def test_a_mix_asks_what_it_holds_wherever_it_stands(position):
    """20 requests a second for 1,000 s, in sessions of one and of five."""
    data = resolved(measured.scenario_of({"like": "reasoning"}, 1000))
    plain = {"input_tokens": 100, "output_tokens": 10}
    data["workload"] = {
        "tenants": [
            {"name": "single", **plain, "load": {"arrival": "deterministic"}},
            {"name": "five", **plain, "session": {"turns": 5, "growth": True}},
        ],
        "mix": {"rate": 20, "shares": {"single": 1}, "toward": {"five": 1}, "position": position},
    }
    data["deployments"][0]["pools"][0]["engine"]["max_model_len"] = 100000
    scenario = load(data)
    asked = generate(build(scenario, catalog(), [64]), answers_after(0.0))
    tenants = [request.tenant for request, _ in asked]
    assert tenants.count(1) == pytest.approx(20000 * position, rel=0.06)
    assert tenants.count(0) == pytest.approx(20000 * (1 - position), abs=1)
