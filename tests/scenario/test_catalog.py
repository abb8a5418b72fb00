from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

from factory.errors import ScenarioError
from factory.scenario import GpuSpec, ModelSpec, SystemSpec, catalog
from factory.scenario.catalog import _File
from factory.scenario.schema import COVERS


def test_what_the_catalogue_holds():
    known = catalog()
    assert set(known.gpus) == {"h100-sxm", "h200-sxm", "b200-sxm", "gb200", "gb300"}
    assert set(known.systems) == {
        "hgx-h100", "hgx-h200", "hgx-b200", "gb200-nvl72", "gb300-nvl72",
    }  # fmt: skip
    assert set(known.models) == {
        "deepseek-r1", "deepseek-v3", "llama-3.1-8b", "llama-3.1-70b", "qwen3-32b", "gpt-oss-120b",
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
        assert set(book.provenance) == set(book.usd_per_gpu_hour) == set(known.systems)


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
    assert gpu.fp16_tflops < gpu.fp8_tflops < (gpu.fp4_tflops or float("inf"))
    assert (gpu.fp4_tflops is None) == (gpu.generation == "hopper")


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


CONFIG_NAMES = {
    "deepseek-r1": "deepseek-ai--DeepSeek-R1",
    "deepseek-v3": "deepseek-ai--DeepSeek-V3",
    "llama-3.1-8b": "meta-llama--Meta-Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama--Meta-Llama-3.1-70B",
    "qwen3-32b": "Qwen--Qwen3-32B",
    "gpt-oss-120b": "openai--gpt-oss-120b",
}


@pytest.mark.parametrize("name", CONFIG_NAMES)
def test_architectures_are_those_of_the_published_configurations(name, pytestconfig):
    folder = pytestconfig.rootpath.parent / "shared" / "data" / "models"
    file = folder / f"{CONFIG_NAMES[name]}_config.json"
    if not file.is_file():
        pytest.skip("../shared/data is absent: no configurations to compare with")
    config = json.loads(file.read_text())
    model = catalog().models[name]
    assert model.layers == config["num_hidden_layers"]
    assert model.hidden == config["hidden_size"]
    assert model.heads == config["num_attention_heads"]
    assert model.kv_heads == config["num_key_value_heads"]
    assert model.vocab == config["vocab_size"]
    assert model.max_context == config["max_position_embeddings"]
    assert model.tie_embeddings == config["tie_word_embeddings"]
    assert model.experts == config.get("n_routed_experts", config.get("num_local_experts", 0))
    assert model.experts_per_token == config.get("num_experts_per_tok", 0)
    assert model.shared_experts == config.get("n_shared_experts", 0)
    assert model.mtp_layers == config.get("num_nextn_predict_layers", 0)
    assert model.sliding_window == (config.get("sliding_window") or 0)
    kinds = config.get("layer_types", [])
    assert model.sliding_layers == kinds.count("sliding_attention")
    if model.attention == "mla":
        for field in ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim"):
            assert getattr(model, field) == config[field]
        assert model.v_head_dim == config["v_head_dim"]
        assert model.head_dim == model.qk_nope_head_dim + model.qk_rope_head_dim
        assert model.dense_layers == config["first_k_dense_replace"]
        assert model.dense_intermediate == config["intermediate_size"]
        assert model.moe_intermediate == config["moe_intermediate_size"]
    else:
        assert model.head_dim == config.get("head_dim", model.hidden // model.heads)
        width = model.moe_intermediate if model.experts else model.dense_intermediate
        assert width == config["intermediate_size"]
        assert model.dense_layers == (0 if model.experts else model.layers)


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
