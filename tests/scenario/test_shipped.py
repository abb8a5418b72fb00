from __future__ import annotations

import pytest

from factory.scenario import catalog, check, load, shipped


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_is_sound(name):
    scenario = load(name)
    assert scenario.name == name
    assert scenario.description
    assert check(scenario) == []


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_strands_no_gpu(name):
    scenario = load(name)
    systems = catalog().systems
    held = sum(
        group.count * systems[group.system].gpus_per_rack for group in scenario.facility.racks
    )
    used = sum(pool.gpus for deployment in scenario.deployments for pool in deployment.pools)
    assert used == held


@pytest.mark.parametrize("name", ["hgx-h200", "gb300-nvl72"])
def test_the_benchmark_pair_asks_the_same(name):
    (tenant,) = load(name).workload.tenants
    for length in (tenant.input_tokens, tenant.output_tokens):
        assert length.distribution == "uniform"
        assert (length.min, length.max) == (819, 1024)
    assert tenant.load.concurrency is not None


def test_mooncake_replays_over_four_and_four():
    scenario = load("mooncake-conversation", ["workload.trace.path=elsewhere.jsonl.gz"])
    pools = {pool.role: pool.replicas for pool in scenario.deployments[0].pools}
    assert pools == {"prefill": 4, "decode": 4}
    assert scenario.deployments[0].block_size == 512
    assert scenario.workload.trace.path == "elsewhere.jsonl.gz"
    assert scenario.workload.trace.spread_s == 3.0
