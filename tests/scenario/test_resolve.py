from __future__ import annotations

import json

import pytest

from factory.scenario import catalog, flatten, load, resolved


def test_defaults_that_follow_from_scenario_and_catalogue_are_filled_in(minimal):
    scenario = load(minimal)
    assert scenario.facility.pue == 1.3
    assert scenario.facility.contracted_mw == pytest.approx(32 * 1.37 * 1.3 / 1e3)
    assert scenario.workload.tenants[0].deployment == "chat"
    assert scenario.deployments[0].block_size == 64
    assert scenario.deployments[0].pools[0].engine.max_model_len == 131072


def test_what_is_stated_is_kept(minimal):
    minimal["facility"] |= {"pue": 1.2, "contracted_mw": 3}
    minimal["deployments"][0]["block_size"] = 16
    scenario = load(minimal)
    assert (scenario.facility.pue, scenario.facility.contracted_mw) == (1.2, 3)
    assert scenario.deployments[0].block_size == 16


def test_pue_is_weighted_by_design_it_power(minimal):
    minimal["facility"]["racks"].append({"name": "new", "system": "gb300-nvl72", "count": 2})
    hopper, blackwell = 32 * 1.37, 2 * 72 * 2.12
    expected = (hopper * 1.3 + blackwell * 1.1) / (hopper + blackwell)
    scenario = load(minimal)
    assert scenario.facility.pue == pytest.approx(expected)
    assert scenario.facility.contracted_mw == pytest.approx((hopper + blackwell) * expected / 1e3)


def test_a_trace_brings_its_block_size_to_the_deployment_it_feeds(minimal):
    minimal["workload"]["trace"] = {"format": "mooncake", "path": "x", "tenant": "replayed"}
    minimal["workload"]["tenants"].append({"name": "replayed", "deployment": "long"})
    minimal["deployments"].append(
        {
            "name": "long",
            "model": "qwen3-32b",
            "pools": [{"name": "other", "role": "aggregated", "racks": "racks", "replicas": 1}],
        }
    )
    scenario = load(minimal)
    assert [deployment.block_size for deployment in scenario.deployments] == [64, 512]
    assert scenario.workload.trace.spread_s == 3.0


def test_other_traces_are_not_spread(minimal):
    del minimal["workload"]["tenants"][0]["load"]
    minimal["workload"]["trace"] = {"format": "azure", "path": "x"}
    trace = load(minimal).workload.trace
    assert (trace.spread_s, trace.tenant) == (0.0, "people")


def test_stated_prices_cover_everything_by_default(minimal):
    minimal["prices"] = {"usd_per_gpu_hour": {"hgx-h200": 2}}
    assert load(minimal).prices.covers == ("server", "network", "facility", "electricity", "staff")


def test_the_resolved_scenario_is_plain_and_loads_to_the_same(minimal):
    scenario = load(minimal)
    plain = resolved(scenario)
    assert json.loads(json.dumps(plain)) == plain
    assert load(plain) == scenario


def test_flatten_names_every_leaf(minimal):
    rows = dict(flatten(resolved(load(minimal))))
    assert rows["deployments[0].pools[0].parallel.tp"] == 1
    assert rows["workload.tenants[0].input_tokens.value"] == 100
    assert rows["workload.trace"] is None
    assert flatten({"a": [], "b": {}}) == [("a", []), ("b", {})]


def test_the_catalogue_is_read_once():
    assert catalog() is catalog()
