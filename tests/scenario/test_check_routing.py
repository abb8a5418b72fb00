"""Settings of routers: what belongs to which policy, and what is said where it does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from factory.scenario.check_routing import router_problems
from factory.scenario.routing import POLICY_FIELDS, DecodeRouter, Router

PLACE = "deployments[0].router"


def problems(section: Router) -> list[str]:
    return [str(problem) for problem in router_problems(PLACE, section)]


def test_every_policy_may_state_its_own_fields() -> None:
    for policy, fields in POLICY_FIELDS.items():
        stated = {name: value for name, value in fields.items() if value is not None}
        stated.pop("index_ttl_s", None)
        if policy == "custom":
            stated["entry"] = "factory.serving.routers.plain:Random"
        assert problems(Router(policy=policy, **stated)) == [], policy


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            Router(policy="round_robin", temperature=0.5),
            (
                f"{PLACE}.temperature: is not for policy: round_robin; remove it, or choose "
                "kv_cost, got 0.5 (allowed: no settings)"
            ),
        ),
        (
            Router(policy="power_aware", cache_threshold=0.5),
            (
                f"{PLACE}.cache_threshold: is not for policy: power_aware; remove it, or choose "
                "prefix_threshold, got 0.5 "
                "(allowed: min_headroom, power_penalty, signal_interval_s)"
            ),
        ),
        (
            Router(index="events", index_ttl_s=60.0),
            (
                f"{PLACE}.index_ttl_s: is for index: approximate or both; events say when a "
                "block is gone, got 60"
            ),
        ),
        (
            Router(index="approximate", index_delay_s=1.0),
            (
                f"{PLACE}.index_delay_s: is for index: events only; an approximate index waits "
                "for none, got 1"
            ),
        ),
        (
            Router(policy="custom"),
            f"{PLACE}.entry: is missing: what makes the router, as package.module:name",
        ),
        (
            Router(policy="custom", entry="factory.serving.routers.plain:Best"),
            (
                f"{PLACE}.entry: module factory.serving.routers.plain has no Best, "
                'got "factory.serving.routers.plain:Best"'
            ),
        ),
        (
            Router(policy="custom", entry="factory.serving.routers:__all__"),
            (
                f"{PLACE}.entry: must be a class or a function that makes a router, "
                'got "factory.serving.routers:__all__"'
            ),
        ),
        (
            DecodeRouter(policy="min_ttft"),
            (
                f"{PLACE}.policy: estimates prefill, of which a decode pool has none; choose by "
                'load, as least_loaded, got "min_ttft"'
            ),
        ),
    ],
)
def test_what_does_not_belong(section: Router, said: str) -> None:
    assert problems(section) == [said]


def test_a_module_that_is_not_there() -> None:
    (said,) = problems(Router(policy="custom", entry="nowhere_at_all:Router"))
    assert "cannot be imported (ModuleNotFoundError: No module named 'nowhere_at_all')" in said
    assert "PYTHONPATH" in said


@pytest.mark.parametrize("entry", ["no_colon", "a:b:c", "a/b:C", ":C", "a:"])
def test_an_entry_has_a_shape(entry: str) -> None:
    with pytest.raises(ValidationError):
        Router(policy="custom", entry=entry)
