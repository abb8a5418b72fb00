from __future__ import annotations

import pytest

from factory.scenario import load, locate


def test_a_value_is_set_by_index_or_by_name(minimal):
    scenario = load(minimal, ["deployments[0].pools[serve].replicas=3", "run.window_s=5"])
    assert scenario.deployments[0].pools[0].replicas == 3
    assert scenario.run.window_s == 5
    assert locate(scenario, "run.window_s") == "--set run.window_s=5"


def test_mappings_on_the_way_are_made(minimal):
    path = "deployments[0].pools[0].engine.step_model"
    scenario = load(minimal, [f"{path}.kind=fixed", f"{path}.base_ms=2"])
    assert scenario.deployments[0].pools[0].engine.step_model.base_ms == 2


def test_the_last_of_several_wins(minimal):
    assert load(minimal, ["run.seed=3", "run.seed=4"]).run.seed == 4


def test_a_whole_part_can_be_replaced(minimal):
    scenario = load(minimal, ["workload.tenants[0].load={concurrency: 4}"])
    assert scenario.workload.tenants[0].load.concurrency == 4
    assert scenario.workload.tenants[0].load.rate is None


@pytest.mark.parametrize(
    "section", ["failures", "control", "cooling", "grid", "rows", "failures.startup"]
)
def test_null_switches_a_section_off(minimal, section):
    minimal["facility"] |= {
        "failures": {"preset": "low", "startup": {"provision_s": 5}},
        "control": {"mode": "none"},
        "cooling": {"kind": "air"},
        "grid": {"price": 50},
        "rows": [{"name": "row"}],
    }
    if section != "rows":
        minimal["facility"]["racks"][0]["row"] = "row"
    found = load(minimal, [f"facility.{section}=null"]).facility
    part, _, inner = section.partition(".")
    value = getattr(found, part)
    default = type(found).model_fields[part].default
    if inner:
        assert value.preset == "low"
        value, default = getattr(value, inner), getattr(default, inner)
    assert value == default


def test_null_in_place_of_a_number_is_still_named(minimal, problems):
    assert "not null" in str(problems(minimal, "run.seed=null")["run.seed"])


def test_the_seed_has_its_own_argument(minimal):
    scenario = load(minimal, ["run.seed=3"], seed=9)
    assert scenario.run.seed == 9
    assert locate(scenario, "run.seed") == "--seed 9"


def test_the_source_is_left_as_it_was(minimal):
    load(minimal, ["run.seed=3"])
    assert "seed" not in minimal["run"]


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("run", "", "must read path=value"),
        ("=3", "", "must read path=value"),
        ("a..b=3", "", "must read path=value"),
        ("run.seed.x=4", "run.seed", "holds a value"),
        ("run.seed=", "run.seed", "is given no value; null leaves it out"),
        ("run.seed=[1", "run.seed", "the value is not readable as YAML"),
        ("deployments.chat=1", "deployments", "is a list: name an item, as deployments[0].chat"),
        ("deployments[4].name=x", "deployments", "has 1 items, [4] is none of them"),
        ("deployments[char].name=x", "deployments", "has no item named char"),
        ("run[0]=x", "run", "is not a list"),
        ("run.durations=5", "run.durations", "unknown field"),
    ],
)
def test_a_wrong_override_is_named(minimal, problems, override, path, message):
    minimal["run"]["seed"] = 1
    problem = problems(minimal, override)[path]
    assert problem.message.startswith(message)
    assert problem.location == f"--set {override}"


def test_all_wrong_overrides_are_found_at_once(minimal, problems):
    assert len(problems(minimal, "run.a=1", "run.b=2", "facility.racks[0].count=0")) == 3
