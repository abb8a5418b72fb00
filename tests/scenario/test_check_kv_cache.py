from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from factory.scenario.check_kv_cache import CacheSetting, kv_cache_problems, shared_tier_problems
from factory.scenario.kv_cache import KvCache

HOST = {"kind": "host", "capacity_gib": 100.0}
SSD = {"kind": "ssd", "capacity_gib": 1000.0}
SHARED = {"kind": "shared", "capacity_gib": 1000.0, "bandwidth_gb_s": 12.5}
PEER = {"kind": "peer"}
POOL = CacheSetting(slots=4, block_size=64, block_bytes=2**22)


def section(*tiers: dict[str, Any], **fields: Any) -> KvCache:
    return KvCache.model_validate({"tiers": tiers, **fields})


def problems(cache: KvCache, setting: CacheSetting = POOL) -> list[str]:
    return [str(problem) for problem in kv_cache_problems("kv", cache, setting)]


def test_sound_sections_have_no_problems() -> None:
    assert not problems(section())
    assert not problems(section(HOST, SSD, SHARED, PEER, fetch="when_faster", write="on_eviction"))
    assert not problems(section(HOST, PEER, SHARED, write="on_reuse", write_hits=3))
    assert not problems(section(ttl_s=60.0, pin_shared_prefix=True, max_pinned_ratio=0.1))
    assert not problems(section({**SSD, "name": "a"}, {**SSD, "name": "b", "shared_by": "pool"}))
    assert not problems(section(), CacheSetting(prefix_caching=False))


def test_a_resolved_section_is_as_sound_as_the_stated_one() -> None:
    for cache in (section(), section(HOST, PEER)):
        assert not problems(KvCache.model_validate(cache.model_dump()))


def test_defaults_are_those_of_the_field() -> None:
    host, ssd, shared, peer = section(HOST, SSD, SHARED, PEER).tiers
    assert [tier.bytes_per_s for tier in (host, ssd, shared, peer)] == [32e9, 10e9, 12.5e9, 50e9]
    assert [tier.latency_s for tier in (host, ssd, shared, peer)] == [0.0, 1e-4, 1e-4, 1e-3]
    assert [tier.owner for tier in (host, ssd, shared)] == ["rank", "rank", "pool"]
    assert shared.shared_bytes_per_s == 80e9
    assert [tier.label for tier in (host, peer)] == ["host", "peer"]
    assert host.blocks(64, 2**22) == 100 * 256
    assert section({"kind": "ssd", "capacity_tokens": 1000}).tiers[0].blocks(64, 1.0) == 15
    assert (section().hits_to_write, section(write="on_eviction").hits_to_write) == (1, 0)
    assert section(HOST, write="on_reuse").hits_to_write == 2
    assert (section().pinned_ratio, section(pin_shared_prefix=True).pinned_ratio) == (0.0, 0.25)


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        (
            section({"kind": "host", "capacity_gib": 0.001}),
            (
                "kv.tiers[0].capacity_gib: must hold at least one KV block of 64 tokens, 4 MiB, "
                "got 0.001"
            ),
        ),
        (
            section({"kind": "ssd", "capacity_tokens": 63}),
            "kv.tiers[0].capacity_tokens: must hold at least one KV block of 64 tokens, got 63",
        ),
        (
            section({"kind": "host"}),
            (
                "kv.tiers[0].capacity_gib: is needed (or capacity_tokens): how much KV the host "
                "tier holds"
            ),
        ),
        (
            section({**HOST, "capacity_tokens": 640}),
            "kv.tiers[0]: has capacity_gib and capacity_tokens; state one of them",
        ),
        (
            section({"kind": "shared", "capacity_gib": 10.0}),
            "kv.tiers[0].bandwidth_gb_s: is needed: a shared tier is as fast as the network to it",
        ),
        (
            section(HOST, HOST),
            'kv.tiers[1].name: is the name of kv.tiers[0] too; names must differ, got "host"',
        ),
        (
            section(SSD, HOST),
            (
                "kv.tiers[1].kind: must stand before ssd: tiers go host, ssd, shared or peer, "
                'got "host"'
            ),
        ),
        (
            section({**HOST, "shared_by": "replica"}, SSD),
            (
                "kv.tiers[1].shared_by: must be shared at least as widely as host above it "
                '(replica), which is what it is written from, got "rank"'
            ),
        ),
        (
            section({**HOST, "shared_bandwidth_gb_s": 100.0}),
            (
                "kv.tiers[0].shared_bandwidth_gb_s: is for a store that several ranks share; state "
                "shared_by, or bandwidth_gb_s, got 100"
            ),
        ),
        (
            section({**PEER, "capacity_gib": 5.0}),
            (
                "kv.tiers[0].capacity_gib: is not for kind: peer, which is the GPU memory of other "
                "replicas, got 5"
            ),
        ),
        (
            section(PEER, {**PEER, "name": "other"}),
            'kv.tiers[1].kind: a pool has one tier of peers, got "peer"',
        ),
        (
            section(HOST, write_hits=3),
            "kv.write_hits: is for write: on_reuse only, got 3",
        ),
        (
            section(HOST, write="on_reuse", write_hits=1),
            "kv.write_hits: must be >= 2: after one use is write: through, got 1",
        ),
        (
            section(fetch="when_faster"),
            'kv.fetch: is for tiers, and there are none, got "when_faster"',
        ),
        (
            section(max_pinned_ratio=0.5),
            "kv.max_pinned_ratio: is for pin_shared_prefix: true only, got 0.5",
        ),
    ],
)
def test_each_problem_says_where_what_and_what_else(cache: KvCache, expected: str) -> None:
    assert problems(cache) == [expected]


def test_peers_need_another_rank() -> None:
    assert problems(section(PEER), CacheSetting(slots=1)) == [
        (
            "kv.tiers[0].kind: kind: peer needs another rank in the pool; raise replicas or "
            'parallel.dp, got "peer"'
        )
    ]


def test_a_cache_that_keeps_nothing_has_no_use_for_tiers() -> None:
    remedy = "needs engine.enable_prefix_caching: true, or nothing is kept for later prompts, got"
    found = problems(
        section(HOST, SSD, ttl_s=5.0, pin_shared_prefix=True), CacheSetting(prefix_caching=False)
    )
    assert found == [
        f'kv.tiers: {remedy} "host, ssd"',
        f"kv.ttl_s: {remedy} 5",
        f"kv.pin_shared_prefix: {remedy} true",
    ]


def test_pinned_prefixes_leave_room_for_the_longest_request() -> None:
    """Of 10,000 tokens a quarter is pinned: 7,500 are left, 8,000 may be asked for."""
    setting = CacheSetting(capacity_tokens=10_000, longest_tokens=8_000)
    assert problems(section(pin_shared_prefix=True), setting) == [
        (
            "kv.max_pinned_ratio: leaves 7500 of 10000 tokens to a request that may take "
            "max_model_len = 8000; lower it, got 0.25 (allowed: at most 0.2)"
        )
    ]
    assert not problems(section(pin_shared_prefix=True, max_pinned_ratio=0.2), setting)


def test_pools_agree_on_what_the_deployment_shares() -> None:
    shared = {**SHARED, "shared_by": "deployment"}
    other = {**shared, "capacity_gib": 500.0}
    found = shared_tier_problems([("a", section(HOST, shared)), ("b", section(other))])
    assert [str(problem) for problem in found] == [
        (
            "b.tiers[0].capacity_gib: must be as in a.tiers[1]: the deployment shares this tier, "
            "got 500 (allowed: 1000.0)"
        )
    ]
    assert not list(shared_tier_problems([("a", section(SHARED)), ("b", section(shared))]))


@pytest.mark.parametrize(
    "fields", [{"tiers": [{"kind": "tape"}]}, {"ttl_s": 0}, {"max_pinned_ratio": 1.5}, {"ttl": 1}]
)
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KvCache.model_validate(fields)
