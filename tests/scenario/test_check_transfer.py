"""What `kv_transfer` and `conditional_disaggregation` may say, each error with its remedy."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from factory.errors import ScenarioError
from factory.scenario import load
from factory.scenario.check_transfer import transfer_problems

PREFILL = {"name": "in", "role": "prefill", "racks": "racks", "replicas": 1}
DECODE = {"name": "out", "role": "decode", "racks": "racks", "replicas": 1}


@pytest.fixture
def split(minimal: dict[str, Any]) -> dict[str, Any]:
    """A prefill and a decode pool in two groups of racks."""
    source = copy.deepcopy(minimal)
    source["facility"]["racks"].append({"name": "more", "system": "hgx-h200"})
    source["deployments"][0]["pools"] = [PREFILL, {**DECODE, "racks": "more"}]
    return source


def found(source: dict[str, Any]) -> dict[str, str]:
    """Problems by path; the scenario may have been refused by them already."""
    try:
        scenario = load(source)
    except ScenarioError as refused:
        problems = refused.problems
    else:
        problems = list(transfer_problems(scenario))
    prefix = "deployments[0]."
    return {problem.path.removeprefix(prefix): str(problem) for problem in problems}


def test_the_defaults_are_sound(split: dict[str, Any]) -> None:
    assert found(split) == {}
    for network in ("auto", "infiniband", "ethernet"):
        split["deployments"][0]["kv_transfer"] = {"network": network, "nics_per_node": 2}
        assert found(split) == {}


@pytest.mark.parametrize(
    ("section", "field", "message", "remedy"),
    [
        ({"network": "nvlink"}, "network", "no link from pool in (racks racks) to out", "auto"),
        ({"nics_per_node": 0}, "nics_per_node", "leaves no link from pool in", "at least 1"),
        (
            {"network": "ethernet", "nics_per_node": 0},
            "nics_per_node",
            "leaves no link between the pools: network: ethernet needs network cards",
            "at least 1",
        ),
        ({"bandwidth_gb_s": 0}, "bandwidth_gb_s", "must be > 0: no KV would arrive", "leave it"),
        (
            {"bandwidth_gb_s": 5, "nic_gb_s": 50},
            "nic_gb_s",
            "bandwidth_gb_s is stated, which takes its place",
            "keep one",
        ),
        (
            {"bandwidth_gb_s": 5, "efficiency_ratio": 0.5},
            "efficiency_ratio",
            "bandwidth_gb_s is stated",
            "keep one",
        ),
        ({"oversubscription": 0.5}, "oversubscription", "must be >= 1", "got 0.5"),
        ({"network": "infinband"}, "network", "not one of the choices", "infiniband?"),
    ],
)
def test_each_says_what_and_what_instead(
    split: dict[str, Any], section: dict[str, Any], field: str, message: str, remedy: str
) -> None:
    split["deployments"][0]["kv_transfer"] = section
    text = found(split)[f"kv_transfer.{field}"]
    assert message in text
    assert remedy in text


@pytest.mark.parametrize("field", [{"nics_per_node": 8}, {"nic_gb_s": 50}, {"oversubscription": 2}])
def test_nvlink_has_no_network_cards(minimal: dict[str, Any], field: dict[str, Any]) -> None:
    minimal["deployments"][0]["pools"] = [PREFILL, DECODE]
    minimal["deployments"][0]["kv_transfer"] = {"network": "nvlink"}
    assert found(minimal) == {}
    minimal["deployments"][0]["kv_transfer"] |= field
    (text,) = found(minimal).values()
    assert "is for network: auto, infiniband or ethernet only" in text


def test_no_cards_are_no_matter_with_a_stated_bandwidth_or_in_one_group(
    minimal: dict[str, Any],
) -> None:
    """Within a group it depends on where the replicas stand, which is checked when they do."""
    minimal["deployments"][0]["pools"] = [PREFILL, DECODE]
    minimal["deployments"][0]["kv_transfer"] = {"nics_per_node": 0}
    assert found(minimal) == {}


def test_deployments_in_the_same_racks_have_the_same_cards(minimal: dict[str, Any]) -> None:
    minimal["deployments"][0]["pools"] = [PREFILL, DECODE]
    minimal["deployments"][0]["kv_transfer"] = {"nics_per_node": 8}
    other = copy.deepcopy(minimal["deployments"][0])
    other |= {"name": "code", "kv_transfer": {"nics_per_node": 4}}
    other["pools"] = [{**pool, "name": f"{pool['name']}-code"} for pool in other["pools"]]
    minimal["deployments"].append(other)
    minimal["workload"]["tenants"][0]["deployment"] = "chat"
    minimal["workload"]["tenants"].append(
        {**minimal["workload"]["tenants"][0], "name": "code", "deployment": "code"}
    )
    text = found(minimal)["deployments[1].kv_transfer.nics_per_node"]
    assert "deployment chat has 8 in the same racks racks; must be equal, got 4" in text


@pytest.mark.parametrize(
    ("section", "field", "owners"),
    [
        ({"policy": "prefill_load", "max_uncached_tokens": 5}, "max_uncached_tokens", "isl_b"),
        ({"policy": "prefill_queue", "max_uncached_ratio": 0.5}, "max_uncached_ratio", "isl_b"),
        ({"max_queued_prefills": 5}, "max_queued_prefills", "prefill_load, isl_or_load"),
    ],
)
def test_fields_of_other_policies(
    split: dict[str, Any], section: dict[str, Any], field: str, owners: str
) -> None:
    split["deployments"][0]["conditional_disaggregation"] = section
    text = found(split)[f"conditional_disaggregation.{field}"]
    assert f"is for policy: {owners}" in text


def test_a_condition_needs_two_pools(minimal: dict[str, Any]) -> None:
    minimal["deployments"][0]["conditional_disaggregation"] = {}
    assert "needs prefill and decode pools" in found(minimal)["conditional_disaggregation"]
