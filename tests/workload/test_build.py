from typing import Any

import pytest
from demand import play, scenario, tenant, workload

import factory.workload
from factory.errors import ScenarioError
from factory.workload import Request


def test_public_names() -> None:
    assert factory.workload.__all__ == ["Request", "Workload", "build"]


def test_a_request_shows_its_fields() -> None:
    request = Request(3, 0, 1, 2, 4, -1, 3, 0, 1.5, 100, 10, (7, 2))
    assert "index=3" in repr(request)
    assert "blocks=(7, 2)" in repr(request)
    assert not hasattr(request, "__dict__")


def test_a_load_without_a_bound_is_refused() -> None:
    with pytest.raises(ScenarioError, match="run: must have duration_s or requests: tenant chat"):
        workload(scenario(tenant(load={"rate": 1.0})))


@pytest.mark.parametrize(
    "fields",
    [
        {"load": {"rate": 20.0}},
        {"load": {"rate": 20.0, "arrival": "deterministic"}},
        {"load": {"rate": 20.0, "arrival": "gamma", "cv": 5.0}},
        {"load": {"concurrency": 20}},
        {"load": {"concurrency": 20}, "session": {"turns": 4, "growth": True}},
        {"load": {"rate": 4.0}, "shared_prefix": {"tokens": 4000, "count": 9}},
    ],
)
def test_the_same_scenario_makes_the_same_requests(fields: dict[str, Any]) -> None:
    made = scenario(tenant(**fields), duration_s=60.0)

    def all_fields(request: Request) -> list[object]:
        return [getattr(request, name) for name in Request.__slots__]

    one, two = (play(workload(made)) for _ in range(2))
    assert len(one) > 100
    assert [all_fields(r) for r in one] == [all_fields(r) for r in two]
