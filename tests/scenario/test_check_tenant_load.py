import hashlib
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from factory.errors import ScenarioError
from factory.scenario import check, load, missing_files
from factory.scenario.check_tenant_load import load_problems
from factory.scenario.tenant_load import Load

PLACE = "workload.tenants[0].load"
DAY = {"diurnal": {"peak_to_mean": 1.8}}


def found(fields):
    section = Load.model_validate(fields)
    return {p.path.removeprefix("load").lstrip("."): p for p in load_problems("load", section)}


@pytest.mark.parametrize(
    "fields",
    [
        {"rate": 2},
        {"rate": 2, "arrival": "weibull", "cv": 13},
        {"rate": 2, "arrival": "gamma", "cv": 1},
        {"rate": 2, "cv": 1},
        {"rate": 2, "arrival": "bursts"},
        {"rate": 2, "arrival": "bursts", "bursts": {"factor": 20, "burst_s": 5}},
        {
            "rate": 2,
            "arrival": "bursts",
            "bursts": {
                "states": [{"factor": f, "mean_s": 9} for f in (0, 1, 5)],
                "next": "random",
            },
        },
        {"concurrency": 9, "concurrency_ramp_s": 60},
        {"concurrency": 9, "warm_start": {"span_s": 3600}},
        {"rate": 9, "warm_start": {"span_s": 3600, "ttft_s": 0.5, "itl_ms": 10}},
        {"tokens_per_day": 1e12, "profile": DAY},
        {"output_tokens_per_day": 1e10},
        {"users": 1e6, "requests_per_user_per_day": 12.5},
        {"at": ["02:00", "14:30"]},
        {"profile": {"path": "rates.csv"}},
        {"rate": 3, "profile": {"path": "rates.csv", "repeat": True}},
        {"rate": 3, "profile": {"points": [[0, 1], [60, 2], [60, 1]], "repeat": True}},
        {"rate": 3, "profile": {"points": [[60, 2]]}},
        {"rate": 3, "profile": {"ramp": {"duration_s": 60}, **DAY}},
        {"rate": 3, "profile": {"spikes": [{"at_s": 9, "duration_s": 9, "factor": 0}]}},
    ],
)
def test_loads_that_hold(fields):
    assert found(fields) == {}


TWO = [{"factor": 1, "mean_s": 9}, {"factor": 2, "mean_s": 9}]


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({}, "", "must give exactly one of rate, concurrency, tokens_per_day"),
        ({"profile": DAY}, "", "must give exactly one of"),
        ({"rate": 1, "users": 5, "requests_per_user_per_day": 1}, "", "must give exactly one of"),
        ({"rate": 1, "at": ["02:00"]}, "", "must give exactly one of"),
        ({"users": 5}, "requests_per_user_per_day", "is missing"),
        ({"rate": 5, "requests_per_user_per_day": 2}, "requests_per_user_per_day", "goes with use"),
        ({"rate": 5, "concurrency_ramp_s": 2}, "concurrency_ramp_s", "goes with concurrency; a"),
        (
            {"concurrency": 5, "concurrency_ramp_s": 9, "warm_start": {"span_s": 9}},
            "concurrency_ramp_s",
            "says when clients begin",
        ),
        ({"concurrency": 5, "arrival": "bursts"}, "arrival", "goes with a rate; a closed loop"),
        ({"concurrency": 5, "profile": DAY}, "profile", "goes with a rate; a closed loop"),
        ({"at": ["02:00"], "arrival": "gamma"}, "arrival", "goes with a rate; the local times"),
        ({"at": ["02:00"], "profile": DAY}, "profile", "goes with a rate; the local times"),
        ({"at": []}, "at", "must have at least one local time"),
        ({"at": ["02:00", "02:00:00"]}, "at[1]", "is the same time as load.at[0]"),
        ({"rate": 5, "cv": 2}, "cv", "is for arrival: gamma and weibull only"),
        ({"rate": 5, "arrival": "gamma", "cv": 0.001}, "cv", "is out of range"),
        ({"rate": 5, "arrival": "weibull", "cv": 101}, "cv", "is out of range"),
        ({"rate": 5, "bursts": {"factor": 2}}, "bursts", "is for arrival: bursts only"),
        (
            {"rate": 5, "arrival": "bursts", "bursts": {"states": TWO, "factor": 2}},
            "bursts.factor",
            "says what states says",
        ),
        (
            {"rate": 5, "arrival": "bursts", "bursts": {"states": TWO[:1]}},
            "bursts.states",
            "must have at least two states",
        ),
        (
            {
                "rate": 5,
                "arrival": "bursts",
                "bursts": {"states": [{"factor": 0, "mean_s": 9}] * 2},
            },
            "bursts.states",
            "must have a state with factor > 0",
        ),
        (
            {"rate": 5, "arrival": "bursts", "bursts": {"next": "random"}},
            "bursts.next",
            "says nothing of two states",
        ),
        (
            {"rate": 1, "profile": {"path": "x.csv", "points": [[0, 1]]}},
            "profile",
            "must give at most one of points and path",
        ),
        ({"rate": 1, "profile": {"repeat": True, **DAY}}, "profile.repeat", "goes with points or"),
        ({"rate": 1, "profile": {"sha256": "0", **DAY}}, "profile.sha256", "goes with path"),
        ({"rate": 1, "profile": {"points": []}}, "profile.points", "must have a factor > 0"),
        ({"rate": 1, "profile": {"points": [[0]]}}, "profile.points[0]", "must be a pair [time_s"),
        (
            {"rate": 1, "profile": {"points": [[0, 1], [9, 1], [8, 1]]}},
            "profile.points[2]",
            "runs back in time",
        ),
        (
            {"rate": 1, "profile": {"points": [[0, 1], [9, 1], [9, 2], [9, 3]]}},
            "profile.points[3]",
            "is the third point at one time",
        ),
        ({"rate": 1, "profile": {"points": [[0, 0], [9, 0]]}}, "profile.points", "must have a fac"),
        (
            {"rate": 1, "profile": {"points": [[5, 1], [90, 1]], "repeat": True}},
            "profile.points[0]",
            "must be at 0 where points repeat",
        ),
        (
            {"rate": 1, "profile": {"points": [[0, 1], [9, 1]], "repeat": True}},
            "profile.points",
            "must reach 60 s",
        ),
        (
            {"rate": 1, "profile": {"points": [[0, 1], [0, 0], [90, 0]], "repeat": True}},
            "profile.points",
            "must be above 0 for a while",
        ),
        (
            {"rate": 1, "profile": {"ramp": {"to_factor": 0, "duration_s": 9}}},
            "profile.ramp.to_factor",
            "must not stay at 0",
        ),
        (
            {"rate": 1, "profile": {"diurnal": {"peak_to_mean": 1, "peak_hour": 9}}},
            "profile.diurnal.peak_hour",
            "says nothing of a flat day",
        ),
        (
            {"rate": 1, "profile": {"diurnal": {"peak_to_mean": 2, "time_zone": "Europe/Bern"}}},
            "profile.diurnal.time_zone",
            "unknown time zone",
        ),
    ],
)
def test_loads_that_contradict(fields, path, message):
    problems = found(fields)
    assert list(problems) == [path]
    assert problems[path].message.startswith(message)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"rate": 1, "at": ["25:00"]}, "at[0]"),
        ({"at": ["02:00Z"]}, "at[0]"),
        (
            {"rate": 1, "profile": {"diurnal": {"peak_to_mean": 0.5}}},
            "profile.diurnal.peak_to_mean",
        ),
        ({"rate": 1, "profile": {"diurnal": {}}}, "profile.diurnal.peak_to_mean"),
        ({"rate": 1, "profile": {"points": [["a", 1]]}}, "profile.points[0][0]"),
        ({"rate": 1, "profile": {"points": [[0, -1]]}}, "profile.points[0][1]"),
        ({"rate": 1, "arrival": "poison"}, "arrival"),
        (
            {"rate": 1, "arrival": "bursts", "bursts": {"states": [{"factor": 1}]}},
            "bursts.states[0].mean_s",
        ),
        (
            {"rate": 1, "profile": {"spikes": [{"at_s": 1, "duration_s": 0, "factor": 2}]}},
            "profile.spikes[0].duration_s",
        ),
    ],
)
def test_values_that_cannot_be(minimal, problems, fields, path):
    minimal["workload"]["tenants"][0]["load"] = fields
    assert f"{PLACE}.{path}" in problems(minimal)


def test_a_whole_scenario_with_a_profile_holds(minimal):
    minimal["workload"]["tenants"][0]["load"] = {
        "tokens_per_day": 1e9,
        "arrival": "gamma",
        "cv": 2,
        "profile": {
            **DAY,
            "ramp": {"duration_s": 60},
            "spikes": [{"at_s": 9, "duration_s": 9, "factor": 3}],
            "points": [[0, 1], [3600, 2]],
        },
    }
    assert check(load(minimal)) == []


def test_a_mix_says_how_much():
    assert not list(load_problems("load", Load(), is_mixed=True))
    bad = Load.model_validate({"cv": 2})
    assert [p.path for p in load_problems("load", bad, is_mixed=True)] == ["load.cv"]


def test_a_file_of_rates_stands_beside_the_scenario(minimal, tmp_path):
    rates, scenario = tmp_path / "rates.csv", tmp_path / "scenario.yaml"
    rates.write_text("time_s,rate\n0,1\n60,2\n")
    section = {"path": "rates.csv"}
    minimal["workload"]["tenants"][0]["load"] = {"profile": section}
    with scenario.open("w") as stream:
        YAML().dump(minimal, stream)
    profile = load(scenario).workload.tenants[0].load.profile
    assert profile.path == str(rates)
    assert profile.sha256 == hashlib.sha256(rates.read_bytes()).hexdigest()
    section["sha256"] = "0" * 64
    with scenario.open("w") as stream:
        YAML().dump(minimal, stream)
    with pytest.raises(ScenarioError, match=r"profile\.sha256: is not the digest of"):
        load(scenario)


def test_a_file_of_rates_that_is_not_there(minimal):
    minimal["workload"]["tenants"][0]["load"] = {"profile": {"path": "nowhere.csv"}}
    (problem,) = missing_files(load(minimal))
    assert problem.path == f"{PLACE}.profile.path"
    assert problem.message == "no such file of rates"


def examples():
    page = (Path(__file__).parents[2] / "docs" / "arrivals.md").read_text(encoding="utf-8")
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("example", examples())
def test_examples_of_the_page_hold(minimal, example):
    minimal["workload"]["tenants"][0] |= YAML(typ="safe").load(example)
    assert check(load(minimal)) == []
