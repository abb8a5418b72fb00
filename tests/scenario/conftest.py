from __future__ import annotations

from typing import Any

import pytest

from factory.errors import ScenarioError
from factory.scenario import load


@pytest.fixture
def minimal() -> dict[str, Any]:
    """The least that makes a scenario: one rack, one aggregated pool, one tenant."""
    return {
        "name": "minimal",
        "facility": {"racks": [{"name": "racks", "system": "hgx-h200"}]},
        "deployments": [
            {
                "name": "chat",
                "model": "llama-3.1-8b",
                "pools": [
                    {"name": "serve", "role": "aggregated", "racks": "racks", "replicas": 1},
                ],
            }
        ],
        "workload": {
            "tenants": [
                {
                    "name": "people",
                    "load": {"rate": 1},
                    "input_tokens": 100,
                    "output_tokens": 10,
                }
            ]
        },
        "run": {"duration_s": 60},
    }


@pytest.fixture
def problems():
    """Loads a source that must be wrong and gives its problems by path."""

    def load_wrong(source, *overrides):
        with pytest.raises(ScenarioError) as caught:
            load(source, overrides)
        return {problem.path: problem for problem in caught.value.problems}

    return load_wrong
