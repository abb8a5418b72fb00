"""Bytes of a KV block in the tiers, from hand-counted layers."""

from __future__ import annotations

import pytest

from factory.scenario import catalog
from factory.scenario.deployment import Deployment
from factory.simulation.cache_builder import block_bytes


def deployment(model: str, tp: int, *, hybrid: bool) -> Deployment:
    pool = {
        "name": "serve",
        "role": "aggregated",
        "racks": "racks",
        "replicas": 1,
        "parallel": {"tp": tp},
        "engine": {"hybrid_kv_cache": hybrid},
    }
    return Deployment.model_validate({"name": "it", "model": model, "pools": [pool]})


@pytest.mark.parametrize("size", [16, 64, 512])
def test_a_block_of_sliding_layers_is_kept_but_not_fetched(size: int) -> None:
    """gpt-oss-120b: 8 KV heads x 64 x (K + V) = 1,024 bytes of FP8 a token and layer, 18 + 18."""
    for hybrid, moved in ((True, 18), (False, 36)):
        section = deployment("gpt-oss-120b", 2, hybrid=hybrid)
        found = block_bytes(section.pools[0], section, catalog(), size)
        assert found == (36 * 1024 * size, moved * 512 * size)


def test_a_block_without_windows_is_the_same_either_way() -> None:
    """Llama 3.1 8B: 32 layers x 8 KV heads x 128 x (K + V), half of them on each of two GPUs."""
    for hybrid in (True, False):
        section = deployment("llama-3.1-8b", 2, hybrid=hybrid)
        found = block_bytes(section.pools[0], section, catalog(), 64)
        assert found == (64 * 65_536, 64 * 32_768)
