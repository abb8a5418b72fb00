from __future__ import annotations

import dataclasses
import pickle

import pytest

from factory.errors import ScenarioError
from factory.scenario import GpuSpec, ModelSpec, SystemSpec, catalog
from factory.scenario.catalog import _File
from factory.scenario.schema import COVERS


def test_what_the_catalogue_holds():
    known = catalog()
    assert set(known.gpus) == {
        "a100-sxm-40gb", "a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm", "b300-sxm",
        "gb200", "gb300", "mi300x", "mi355x",
    }  # fmt: skip
    assert set(known.systems) == {
        "hgx-a100", "hgx-h100", "hgx-h200", "hgx-b200", "hgx-b300", "gb200-nvl72", "gb300-nvl72",
        "mi300x", "mi355x",
    }  # fmt: skip
    assert set(known.models) == {
        "deepseek-r1", "deepseek-v3", "kimi-k2", "kimi-k2.5", "llama-3.1-8b", "llama-3.1-70b",
        "llama-3.1-405b", "qwen3-32b", "qwen3-235b-a22b", "qwen3.5-397b-a17b", "gpt-oss-120b",
        "gpt-oss-20b", "mixtral-8x7b", "minimax-m2", "qwen3-8b", "qwen3-14b", "qwen3-30b-a3b",
        "qwen3-coder-480b-a35b", "gemma-3-12b", "gemma-3-27b", "gemma-2-2b", "gemma-2-9b",
        "gemma-2-27b", "phi-3-mini", "phi-3-medium", "mistral-7b", "mistral-nemo", "mistral-large",
        "mixtral-8x22b", "llama-2-70b", "llama-4-scout", "llama-4-maverick",
        "nemotron-nano-12b-v2", "nemotron-nano-9b-v2", "bloom-176b",
    }  # fmt: skip
    assert set(known.price_books) == {
        f"{kind}-{date}"
        for kind in ("hyperscaler-owned", "neocloud-owned", "rental-3yr")
        for date in ("2025-10", "2026-07")
    }


def test_every_number_says_where_it_was_read():
    known = catalog()
    for spec in (*known.gpus.values(), *known.systems.values(), *known.models.values()):
        for field in dataclasses.fields(spec):
            value = getattr(spec, field.name)
            if isinstance(value, int | float) and value and not isinstance(value, bool):
                origin = spec.provenance[field.name]
                assert origin.kind in ("measured", "published", "fitted", "assumed")
                assert origin.source
                assert origin.date[:4].isdecimal()
    for book in known.price_books.values():
        assert set(book.provenance) == set(book.usd_per_gpu_hour)
        # Nobody whose prices these are gives one for the others: they are performance only.
        assert set(book.usd_per_gpu_hour) == set(known.systems) - {"hgx-a100", "mi300x", "mi355x"}


@pytest.mark.parametrize("system", catalog().systems.values(), ids=lambda system: system.name)
def test_a_rack_at_tdp_stays_within_its_design_power(system):
    gpu = catalog().gpus[system.gpu]
    full_kw = (gpu.tdp_w + system.other_it_w_per_gpu) / 1e3
    assert 0.75 * system.design_it_kw_per_gpu < full_kw <= system.design_it_kw_per_gpu
    assert system.gpus_per_rack % system.gpus_per_node == 0
    assert system.gpus_per_rack % system.nvlink_domain_gpus == 0


@pytest.mark.parametrize("gpu", catalog().gpus.values(), ids=lambda gpu: gpu.name)
def test_a_gpu_is_plausible(gpu):
    assert gpu.idle_bare_w < gpu.idle_loaded_w < gpu.tdp_w / 2
    at_most = gpu.idle_loaded_w + gpu.power_busy_w + gpu.power_mfu_w + gpu.power_mem_w
    assert gpu.tdp_w < at_most < 2.1 * gpu.tdp_w
    assert gpu.fp16_tflops < (gpu.fp8_tflops or float("inf"))
    assert (gpu.fp8_tflops or 0.0) < (gpu.fp4_tflops or float("inf"))
    assert (gpu.fp8_tflops is None) == (gpu.generation == "ampere")
    assert (gpu.fp4_tflops is None) == (gpu.generation in ("ampere", "hopper", "cdna3"))


def test_the_published_pflops_per_dollar():
    known = catalog()
    prices = known.price_books["hyperscaler-owned-2025-10"].usd_per_gpu_hour
    h200, gb300 = known.systems["hgx-h200"], known.systems["gb300-nvl72"]
    assert h200.peak_pflops / prices["hgx-h200"] == pytest.approx(2.8, abs=0.05)
    assert gb300.peak_pflops / prices["gb300-nvl72"] == pytest.approx(5.65, abs=0.05)
    assert known.price_books["hyperscaler-owned-2025-10"].covers == COVERS


def test_a_placeholder_price_is_assumed():
    book = catalog().price_books["hyperscaler-owned-2025-10"]
    assert book.provenance["gb300-nvl72"].kind == "assumed"
    assert book.provenance["gb200-nvl72"].kind == "published"


def test_specs_survive_pickling_and_compare_by_value():
    gpu = catalog().gpus["gb300"]
    assert pickle.loads(pickle.dumps(gpu)) == gpu
    assert hash(gpu) == hash(dataclasses.replace(gpu))


@pytest.mark.parametrize(
    ("stem", "kind", "content", "text"),
    [
        ("gpus", GpuSpec, b"gpus: {x: {fp16_tflop: 3}}", "gpus.x.fp16_tflop: unknown field"),
        ("gpus", GpuSpec, b"gpus: {x: {tdp_w: 3}}", "gpus.x.tdp_w: a number needs a source"),
        ("systems", SystemSpec, b"systems: {x: {gpu: h100}}", "systems.x.design_pue: is missing"),
        ("models", ModelSpec, b"models: {x: {from: nowhere}}", 'unknown source "nowhere"'),
        (
            "models",
            ModelSpec,
            b"sources: {a: {kind: guess}}\nmodels: {x: {from: a}}",
            "sources.a.kind: must be one of",
        ),
        ("models", ModelSpec, b"models: 3", "must hold records under models"),
    ],
)
def test_a_damaged_catalogue_says_where(stem, kind, content, text):
    with pytest.raises(ScenarioError, match=r"configs/catalog/.*yaml:\d") as caught:
        _File(stem, content).specs(kind, {})
    assert text in str(caught.value)
