from __future__ import annotations

import pickle
from typing import get_args

import pytest
from pydantic import ValidationError

from factory.scenario import Length, Scenario, load
from factory.scenario.base import Part
from factory.scenario.problems import annotation_at


def parts(model=Scenario, seen=None):
    """Every model that a scenario is made of."""
    seen = {} if seen is None else seen
    if model.__name__ not in seen:
        seen[model.__name__] = model
        for name in model.model_fields:
            inner = annotation_of(model, name)
            if isinstance(inner, type) and issubclass(inner, Part):
                parts(inner, seen)
    return seen


def annotation_of(model, name):
    annotation = model.model_fields[name].annotation
    while get_args(annotation):
        kept = [arg for arg in get_args(annotation) if arg not in (type(None), Ellipsis)]
        annotation = kept[0]
    return annotation


@pytest.mark.parametrize("model", parts().values(), ids=parts())
def test_every_field_is_described(model):
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_models_are_all_found():
    assert {"Pool", "StepModel", "Trace", "Slo", "Cells", "RackGroup", "Length"} <= set(parts())


def test_a_scenario_is_frozen(minimal):
    scenario = load(minimal)
    with pytest.raises(ValidationError):
        scenario.run.seed = 3


def test_defaults_are_those_of_the_contract(minimal):
    scenario = load(minimal)
    pool = scenario.deployments[0].pools[0]
    assert (pool.engine.max_num_seqs, pool.engine.max_num_batched_tokens) == (256, 8192)
    assert pool.engine.gpu_memory_utilization == 0.9
    assert pool.reference.context_tokens == 4096
    assert scenario.deployments[0].router.policy == "kv_aware"
    assert scenario.deployments[0].decode_router.policy == "least_loaded"
    assert scenario.deployments[0].precision.weights == "fp8"
    assert scenario.workload.tenants[0].slo.target == 0.99
    assert (scenario.run.window_s, scenario.run.engine, scenario.run.drain) == (60, "leap", True)
    assert scenario.run.epoch == "2026-01-01T00:00:00Z"
    assert scenario.prices is None


def test_a_plain_number_is_a_constant():
    assert Length.model_validate(7) == Length(distribution="constant", value=7)


def test_a_count_may_be_written_as_1e4(minimal):
    minimal["run"] = {"requests": 1e4}
    assert load(minimal).run.requests == 10_000


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-07-01T00:00:00-05:00", "2026-07-01T05:00:00Z"),
    ],
)
def test_the_epoch_is_kept_in_utc(minimal, given, kept):
    minimal["run"]["epoch"] = given
    run = load(minimal).run
    assert run.epoch == kept
    assert run.epoch_at.isoformat() == kept.replace("Z", "+00:00")


def test_gpus_are_counted(minimal):
    minimal["deployments"][0]["pools"][0] |= {
        "replicas": 3,
        "parallel": {"tp": 2, "pp": 2, "dp": 2},
    }
    pool = load(minimal).deployments[0].pools[0]
    assert (pool.gpus_per_replica, pool.gpus) == (8, 24)


def test_a_scenario_survives_pickling(minimal):
    scenario = load(minimal, ["run.seed=4"])
    assert pickle.loads(pickle.dumps(scenario)) == scenario


def test_annotations_are_found_by_place():
    assert annotation_at(["deployments", 0, "pools", 1, "parallel", "tp"]) is int
    assert annotation_at(["workload", "trace", "path"]) is str
    assert annotation_at(["nothing"]) is None
