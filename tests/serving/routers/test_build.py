"""From a section to a router: settings, indices, stale signals, routers from outside."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from factory.errors import FactoryError
from factory.scenario.routing import INDEX_READERS, POLICY_FIELDS, DecodeRouter, Router, settings_of
from factory.serving.approximate_index import ApproximateIndex
from factory.serving.delayed_index import DelayedIndex
from factory.serving.kv_cache import KVCache
from factory.serving.prefix_index import PrefixIndex
from factory.serving.routers import Ask, build, event_index
from factory.serving.routers.plain import LeastLoaded
from factory.serving.routers.stale import StaleSignals
from factory.testing import check_router, surroundings

DOCS = Path(__file__).parents[3] / "docs" / "routers.md"


def test_the_defaults() -> None:
    assert Router().policy == "kv_aware"
    assert DecodeRouter().policy == "least_loaded"
    section = Router(policy="kv_cost", host_credit=0.5)
    assert settings_of(section)["host_credit"] == 0.5
    assert settings_of(section)["disk_credit"] == 0.25


def test_descriptions_state_the_defaults() -> None:
    for policy, fields in POLICY_FIELDS.items():
        for name, default in fields.items():
            text = Router.model_fields[name].description
            assert text is not None
            if default is None or (name == "signal_interval_s"):
                continue
            shown = str(default).lower() if isinstance(default, bool) else f"{default}"
            assert f"by default {shown.removesuffix('.0')}" in text, f"{policy}: {name}"


def test_every_field_belongs_to_a_policy() -> None:
    owned = {name for fields in POLICY_FIELDS.values() for name in fields}
    assert owned | {"policy"} == set(Router.model_fields)


def test_only_routers_that_look_at_prefixes_are_fed() -> None:
    assert set(INDEX_READERS) == {
        "prefix_threshold", "kv_cost", "weighted_scorers", "min_ttft", "kv_aware",
        "longest_prefix", "custom",
    }  # fmt: skip
    assert event_index(Router(policy="random"), 2, lambda: 0.0) is None
    assert event_index(Router(index="approximate"), 2, lambda: 0.0) is None
    assert isinstance(event_index(Router(), 2, lambda: 0.0), PrefixIndex)
    assert isinstance(event_index(Router(index_delay_s=0.1), 2, lambda: 0.0), DelayedIndex)


# Loads are read at 0 s (3, 0, 0), then at 1 s at the earliest. Until then every request sees slots
# 1 and 2 idle, whatever was sent there; at 1.2 s the loads of that instant are seen: 3, 2, 2.
def test_stale_signals_show_one_state_for_a_while(pool) -> None:  # type: ignore[no-untyped-def]
    router = StaleSignals(LeastLoaded(), 1.0)
    slots = pool(requests=[3, 0, 0])
    chosen = []
    for now_s in (0.0, 0.3, 0.6, 0.9, 1.2, 1.3):
        slot = router.choose(Ask(now_s, 10), slots)
        slots.requests[slot] += 1
        chosen.append(slot)
    assert chosen == [1, 2, 1, 2, 1, 2]
    slots.requests[:] = slots.requests[1:] + slots.requests[:1]  # 3, 3, 3 become what 1.2 s saw
    slots.shut([1, 2])
    assert router.choose(Ask(1.4, 10), slots) == 0  # what is live is never stale


def test_stale_signals_herd(pool) -> None:  # type: ignore[no-untyped-def]
    def busiest(interval_s: float) -> int:
        section = Router(policy="kv_cost", signal_interval_s=interval_s)
        router, slots = build(section, surroundings(4)), pool(requests=[0] * 4)
        slots.kv_tokens[0] = 1
        for number in range(40):
            slot = router.choose(Ask(number * 0.01, 100), slots)
            slots.kv_tokens[slot] += 100
        return max(slots.kv_tokens)

    assert busiest(0.0) <= 1001
    assert busiest(10.0) >= 1300  # slot 0 looks busier by one token, so the others share all


# A guess of 2 s. At 0 s the prompt goes to slot 0 (all equal), so the guess is that slot 0 holds
# it; no cache says so. At 1 s a longer one follows it there, at 3 s the guess of 0 s has lapsed
# but that of 1 s has just, too: slot 1 is next in turn.
def test_an_approximate_index_follows_the_router_itself(pool) -> None:  # type: ignore[no-untyped-def]
    section = Router(policy="longest_prefix", index="approximate", index_ttl_s=2.0)
    router, slots = build(section, surroundings(3)), pool(requests=[0, 0, 0])
    chosen = [
        router.choose(Ask(now_s, 100, (0, blocks)), slots)
        for now_s, blocks in ((0.0, 4), (1.0, 6), (2.9, 6), (4.9, 6))
    ]
    assert chosen == [0, 0, 0, 1]


def test_an_approximate_index_forgets_a_slot_that_went_away(pool) -> None:  # type: ignore[no-untyped-def]
    section = Router(policy="longest_prefix", index="approximate")
    router, slots = build(section, surroundings(3)), pool(requests=[5, 5, 0])
    assert router.choose(Ask(0.0, 100, (0, 4)), slots) == 2
    slots.shut([2])
    router.choose(Ask(1.0, 100, (50, 4)), slots)
    slots.open([2])
    slots.requests[2] = 9
    assert router.choose(Ask(2.0, 100, (0, 4)), slots) == 1


def test_a_delayed_index_answers_as_of_then() -> None:
    now = [0.0]
    index = DelayedIndex(2, 0.5, lambda: now[0])
    cache = KVCache(4, index.listener(1))
    cache.touch((0, 4))
    assert index.match((0, 4)) == {}
    now[0] = 0.4
    cache.touch((50, 3))  # evicts three blocks of the first prompt
    now[0] = 0.5
    assert index.match((0, 4)) == {1: 4}
    assert index.held((0, 4)).tolist() == [0, 4]
    now[0] = 0.9
    assert index.match((0, 4)) == {1: 1}
    assert index.held((50, 3)).tolist() == [0, 3]


def test_an_approximate_index_keeps_what_a_later_prompt_shares() -> None:
    index = ApproximateIndex(2, 10.0)
    index.send(0, (0, 8, 100, 2), 0.0)
    index.send(0, (0, 5, 200, 1), 6.0)
    whole = (0, 8, 100, 2)
    assert index.match(whole) == {0: 10}
    index.advance(10.0)  # the first is forgotten, but for the 5 blocks that the second shares
    assert index.match(whole) == {0: 5}
    assert index.match((0, 5, 200, 4)) == {0: 6}
    index.advance(16.0)
    assert index.match(whole) == {}
    assert not index._expiries
    assert index._stairs == [{}, {}]


def test_a_router_from_outside() -> None:
    """The example of docs/routers.md, as it stands there."""
    (code,) = re.findall(r"```python\n(# my_routers\.py.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert len(code.strip().splitlines()) <= 14
    module = ModuleType("my_routers")
    exec(compile(code, "my_routers.py", "exec"), module.__dict__)
    sys.modules["my_routers"] = module
    try:
        section = Router(policy="custom", entry="my_routers:ShortestQueueOfThree")
        check_router(lambda around: build(section, around))
    finally:
        del sys.modules["my_routers"]


def test_a_router_that_cannot_be_had_is_named() -> None:
    for entry in ("nowhere.at_all:Router", "factory.serving.routers.plain:Best"):
        with pytest.raises(FactoryError, match=f"router entry '{entry}' cannot be had"):
            build(Router(policy="custom", entry=entry), surroundings(2))
