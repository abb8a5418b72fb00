from __future__ import annotations

import pytest

from factory.scenario import load


@pytest.fixture
def mixed(minimal):
    def make(**mix):
        tenants = [
            {"name": name, "input_tokens": 100, "output_tokens": 10} for name in ("chat", "agent")
        ]
        minimal["workload"] = {"tenants": tenants, "mix": {"rate": 2, **mix}}
        return minimal

    return make


HALVES = {"chat": 0.5, "agent": 0.5}


def test_a_mix_of_shares_is_sound(mixed):
    mix = load(mixed(shares=HALVES, toward={"agent": 1})).workload.mix
    assert mix.hold == "requests"
    assert mix.position == 0


def test_a_schedule_is_sound(mixed):
    points = [{"at_s": 0, "shares": {"chat": 1}}, {"at_s": 3600, "shares": {"agent": 1}}]
    profile = {"diurnal": {"peak_to_mean": 2}}
    assert load(mixed(schedule=points, profile=profile)).workload.mix.shares is None


def test_thirds_written_to_ten_digits_sum_to_one(mixed):
    mixed_ = mixed(shares={"chat": 0.3333333333, "agent": 0.6666666667})
    assert load(mixed_).workload.mix is not None


def test_shares_that_do_not_sum_are_told_with_the_sum_and_what_would_do(mixed, problems):
    told = problems(mixed(shares={"chat": 0.5, "agent": 0.4}))
    message = told["workload.mix.shares"].message
    assert message == "must sum to 1, but sum to 0.9; in proportion: {chat: 0.5556, agent: 0.4444}"
    told = problems(mixed(shares=HALVES, toward={"chat": 0.3, "agent": 0.3}))
    assert "sum to 0.6" in told["workload.mix.toward"].message
    points = [{"at_s": 0, "shares": HALVES}, {"at_s": 1, "shares": {"chat": 0.2}}]
    told = problems(mixed(schedule=points))
    assert "sum to 0.2" in told["workload.mix.schedule[1].shares"].message


@pytest.mark.parametrize("shares", [{"chat": 0.1, "agent": 0.2}, {"chat": 1.0, "agent": 1.0}])
def test_what_would_do_does(mixed, problems, shares):
    message = problems(mixed(shares=shares))["workload.mix.shares"].message
    remedy = message.partition("in proportion: ")[2]
    assert load(mixed(), [f"workload.mix.shares={remedy}"])


@pytest.mark.parametrize(
    ("mix", "path", "message"),
    [
        ({}, "", "must give exactly one of shares and schedule"),
        (
            {"shares": HALVES, "schedule": [{"at_s": 0, "shares": HALVES}]},
            "",
            "must give exactly one of shares and schedule",
        ),
        ({"shares": {"chat": 0.5, "agnt": 0.5}}, ".shares.agnt", "unknown tenant"),
        ({"shares": {"chat": 1.5, "agent": -0.5}}, ".shares.chat", "must be <= 1"),
        ({"shares": HALVES, "position": 0.2}, ".position", "moves the shares toward nothing"),
        (
            {"shares": HALVES, "toward": HALVES, "position": 2},
            ".position",
            "must be <= 1",
        ),
        (
            {"schedule": [{"at_s": 5, "shares": HALVES}, {"at_s": 5, "shares": HALVES}]},
            ".schedule[1].at_s",
            "must come after schedule[0].at_s, 5",
        ),
        ({"schedule": []}, ".schedule", "must have at least one item"),
        ({"shares": HALVES, "hold": "token"}, ".hold", "is not one of the choices"),
        ({"shares": HALVES, "rate": 0}, ".rate", "must be > 0"),
        (
            {
                "schedule": [{"at_s": 5, "shares": HALVES}],
                "profile": {"points": [[0, 1], [9, 2]]},
            },
            ".profile",
            "has points of its own",
        ),
    ],
)
def test_what_is_wrong_with_a_mix_is_told(mixed, problems, mix, path, message):
    told = problems(mixed(**mix))
    assert told[f"workload.mix{path}"].message.startswith(message)


def test_a_tenant_of_the_mix_has_no_rate_of_its_own(mixed, problems):
    scenario = mixed(shares=HALVES)
    scenario["workload"]["tenants"][0]["load"] = {"arrival": "gamma", "cv": 3}
    assert load(scenario)
    scenario["workload"]["tenants"][0]["load"]["rate"] = 4
    told = problems(scenario)
    assert told["workload.tenants[0].load.rate"].message.startswith("the mix feeds this tenant")


def test_a_tenant_beside_the_mix_needs_a_load(mixed, problems):
    scenario = mixed(shares={"chat": 1})
    told = problems(scenario)
    assert told["workload.tenants[1].load"].message.startswith("is missing")
    scenario["workload"]["tenants"][1]["load"] = {"concurrency": 2}
    assert load(scenario)


def test_a_tenant_is_not_fed_twice(mixed, problems):
    scenario = mixed(shares=HALVES)
    scenario["workload"]["trace"] = {"format": "azure", "path": "x"}
    assert "feeds this tenant already" in problems(scenario)["workload.mix"].message
