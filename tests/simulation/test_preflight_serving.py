"""What is refused before a run because only memory, places and links can tell."""

from __future__ import annotations

from typing import Any

import pytest

from factory.scenario import catalog, load
from factory.simulation.preflight import preflight


def scenario(**changed: Any) -> dict[str, Any]:
    """Prefill on an HGX rack, decode on an NVL72 one."""
    pools = [
        {"name": "p", "role": "prefill", "racks": "a", "replicas": 2, **changed.pop("p", {})},
        {"name": "q", "role": "decode", "racks": "b", "replicas": 2, **changed.pop("q", {})},
    ]
    deployment = {"name": "d", "model": "llama-3.1-8b", "pools": pools, **changed.pop("d", {})}
    tenant = {"name": "t", "load": {"rate": 1}, "input_tokens": 300, "output_tokens": 10}
    return {
        "name": "bad",
        "facility": {
            "racks": [{"name": "a", "system": "hgx-h200"}, {"name": "b", "system": "gb200-nvl72"}]
        },
        "deployments": [deployment],
        "workload": {"tenants": [{**tenant, **changed}]},
        "run": {"requests": 10},
    }


def too_long(limit: int) -> str:
    """What is said of a tenant whose every prompt has 300 tokens."""
    return (
        "workload.tenants[0].input_tokens: no pool of d can fit even the shortest prompt, got 300 "
        f"(allowed: at most {limit} tokens, or more KV memory, max_model_len, or chunked prefill)"
    )


TIER = (
    "deployments[0].pools[0].kv_cache.tiers[0].capacity_gib: holds no KV block of 64 tokens "
    "(0.00391 GiB), got 0.001 (allowed: at least 0.00391)"
)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"q": {"engine": {"max_model_len": 100}}},
            too_long(99),
        ),
        (
            {
                "p": {
                    "engine": {
                        "max_num_batched_tokens": 256,
                        "scheduler": {"chunked_prefill": False},
                    }
                }
            },
            too_long(256),
        ),
        (
            {"p": {"kv_cache": {"tiers": [{"kind": "host", "capacity_gib": 0.001}]}}},
            # 32 layers x 2 x 8 heads x 128 values of a byte, 64 tokens: 4 MiB.
            TIER,
        ),
    ],
    ids=["model_len", "whole_prompts", "tier"],
)
def test_what_cannot_serve_is_refused(changed: dict[str, Any], message: str) -> None:
    (problem,) = preflight(load(scenario(**changed)), catalog())
    assert str(problem) == message


def test_a_prompt_that_may_fit_is_an_outcome_of_the_run() -> None:
    lengths = {"distribution": "uniform", "min": 50, "max": 300}
    made = scenario(q={"engine": {"max_model_len": 100}}, input_tokens=lengths)
    assert not preflight(load(made), catalog())
