"""Models read from Hugging Face configurations."""

from __future__ import annotations

import dataclasses
import json

import pytest

from factory.errors import ScenarioError
from factory.scenario import catalog, catalog_of, load, resolved
from factory.scenario.catalog import ABSENT_MODEL
from factory.scenario.hf_config import architecture_of, read_config
from factory.scenario.hf_quantization import ConfigError

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
    "hidden_act": "silu",
}
MOE = LLAMA | {
    "model_type": "qwen3_moe",
    "head_dim": 32,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
}
MLA = LLAMA | {
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 1,
    "kv_lora_rank": 32,
    "q_lora_rank": None,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "topk_method": "noaux_tc",
    "num_nextn_predict_layers": 1,
}

PUBLISHED = {
    "deepseek-r1": "deepseek-ai--DeepSeek-R1",
    "deepseek-v3": "deepseek-ai--DeepSeek-V3",
    "kimi-k2": "moonshotai--Kimi-K2-Instruct",
    "kimi-k2.5": "moonshotai--Kimi-K2.5",
    "llama-3.1-8b": "meta-llama--Meta-Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama--Meta-Llama-3.1-70B",
    "qwen3-32b": "Qwen--Qwen3-32B-FP8",
    "qwen3-235b-a22b": "Qwen--Qwen3-235B-A22B",
    "qwen3.5-397b-a17b": "Qwen--Qwen3.5-397B-A17B",
    "gpt-oss-120b": "openai--gpt-oss-120b",
    "mixtral-8x7b": "mistralai--Mixtral-8x7B-v0.1",
    "minimax-m2": "MiniMaxAI--MiniMax-M2.5",
}


@pytest.fixture
def published(pytestconfig):
    folder = pytestconfig.rootpath.parent / "shared" / "data" / "models"
    if not folder.is_dir():
        pytest.skip("../shared/data is absent: no published configurations to read")
    return lambda name: folder / f"{name}_config.json"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_catalogue_is_what_the_published_configurations_say(name, published):
    fields = read_config(published(PUBLISHED[name]))
    model = catalog().models[name]
    stored = json.loads(published(PUBLISHED[name]).read_text())
    stored = stored.get("quantization_config") or stored.get("text_config", {}).get(
        "quantization_config"
    )
    checked = {"kimi-k2.5": "fp4", "gpt-oss-120b": "fp4"}.get(name, "fp8") if stored else "none"
    for field in dataclasses.fields(model):
        key = field.name
        if key in ("name", "hf_id", "provenance"):
            continue
        if key.startswith(("fp8_", "fp4_")) and not key.startswith(checked):
            continue  # of another checkpoint than the one that this configuration describes
        value = fields.get(key, ABSENT_MODEL.get(key))
        assert getattr(model, key) == (tuple(value) if isinstance(value, list) else value), key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("deepseek-ai--DeepSeek-V3.2", "index_topk"),
        ("deepseek-ai--DeepSeek-V4-Pro", "index_topk"),
    ],
)
def test_sparse_attention_is_refused(name, key, published):
    with pytest.raises(ConfigError) as refused:
        read_config(published(name))
    assert refused.value.key == key


def test_dense_families():
    llama = architecture_of(LLAMA)
    assert (llama["head_dim"], llama["dense_layers"], llama["dense_intermediate"]) == (16, 2, 160)
    assert not llama["qkv_bias"]
    assert architecture_of(LLAMA | {"model_type": "qwen2"})["qkv_bias"]
    assert architecture_of(LLAMA | {"model_type": "qwen3"})["qk_norm"] == "head"
    windowed = architecture_of(LLAMA | {"model_type": "mistral", "sliding_window": 512})
    assert (windowed["sliding_window"], windowed["sliding_layers"]) == (512, 2)
    part = {"use_sliding_window": True, "sliding_window": 512, "max_window_layers": 1}
    windowed = architecture_of(LLAMA | {"model_type": "qwen2"} | part)
    assert (windowed["sliding_window"], windowed["sliding_layers"]) == (512, 1)


def test_models_with_experts():
    moe = architecture_of(MOE)
    assert (moe["experts"], moe["dense_layers"]) == (8, 0)
    assert moe["fp4_excluded"] == ["qkv_proj", "o_proj"]
    some = architecture_of(MOE | {"mlp_only_layers": [0]})
    assert (some["dense_layers"], some["dense_intermediate"]) == (1, 160)
    mla = architecture_of(MLA)
    assert (mla["attention"], mla["head_dim"], mla["q_lora_rank"]) == ("mla", 24, 0)
    assert (mla["shared_experts"], mla["mtp_layers"]) == (2, 1)
    assert mla["router_correction"]


def test_what_a_checkpoint_leaves_in_sixteen_bits():
    def stored(config, **keys):
        return architecture_of(config | {"quantization_config": keys})

    fp8 = stored(MLA, quant_method="fp8", weight_block_size=[64, 64], ignored=None)
    assert (fp8["fp8_block"], fp8["fp8_excluded"]) == (64, [])
    listed = ["model.layers.*.self_attn.*", "mlp.shared_experts", "lm_head"]
    fp8 = stored(MLA, quant_method="fp8", modules_to_not_convert=listed)
    assert fp8["fp8_block"] == 0
    assert fp8["fp8_excluded"] == [
        "q_proj", "kv_a_proj", "kv_b_proj", "o_proj", "shared_gate_up_proj", "shared_down_proj",
    ]  # fmt: skip
    nvfp4 = stored(
        MLA, quant_method="modelopt", quant_algo="NVFP4", ignore=["re:.*self_attn.o_proj"]
    )
    assert nvfp4["fp4_excluded"] == ["o_proj"]
    after = stored(MLA, quant_method="modelopt", quant_algo="NVFP4", ignore=["model.layers.2*"])
    assert after["fp4_excluded"] == ["mtp"]
    with pytest.raises(ConfigError, match="leaves some of o_proj in 16 bits"):
        stored(MLA, quant_method="fp8", modules_to_not_convert=["model.layers.0.self_attn.o_proj"])


@pytest.mark.parametrize(
    ("config", "key", "got"),
    [
        (LLAMA | {"model_type": "llamma"}, "model_type", "llamma"),
        ({}, "model_type", None),
        (LLAMA | {"hidden_act": "gelu"}, "hidden_act", "gelu"),
        (LLAMA | {"mlp_bias": True}, "mlp_bias", True),
        (LLAMA | {"hidden_size": "64"}, "hidden_size", "64"),
        (LLAMA | {"vocab_size": None}, "vocab_size", None),
        (LLAMA | {"attention_bias": 3}, "attention_bias", 3),
        (LLAMA | {"num_attention_heads": 0}, "num_attention_heads", 0),
        (MLA | {"moe_layer_freq": 2}, "moe_layer_freq", 2),
        (MLA | {"index_topk": 2048}, "index_topk", 2048),
        (
            LLAMA | {"quantization_config": {"quant_method": "gptq"}},
            "quantization_config.quant_method",
            "gptq",
        ),
        ({"model_type": "kimi_k25"}, "text_config.model_type", None),
        (
            MOE | {"model_type": "gpt_oss", "num_local_experts": 8, "layer_types": ["mamba"]},
            "layer_types",
            "mamba",
        ),
    ],
)
def test_what_is_not_understood_is_named(config, key, got):
    with pytest.raises(ConfigError) as refused:
        architecture_of(config)
    assert (refused.value.key, refused.value.got) == (key, got)


SCENARIO = """\
name: own
facility: {racks: [{name: r, system: hgx-h200, count: 1}]}
deployments:
  - name: chat
    model: MODEL
    pools: [{name: all, role: aggregated, racks: r, replicas: 1}]
workload:
  tenants: [{name: t, load: {rate: 1}, input_tokens: 100, output_tokens: 10}]
run: {duration_s: 60}
"""


@pytest.fixture
def written(tmp_path):
    """Loads a scenario whose model is the given YAML, beside a config of a small model."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(LLAMA))

    def scenario(model, **keywords):
        file = tmp_path / "s.yaml"
        file.write_text(SCENARIO.replace("MODEL", model))
        return load(file, **keywords)

    return scenario


def test_a_scenario_names_a_config(written):
    scenario = written("{hf_config: tiny/config.json}")
    assert scenario.deployments[0].model == "tiny"
    model = catalog_of(scenario).models["tiny"]
    assert (model.name, model.layers, model.max_context) == ("tiny", 2, 2048)
    assert scenario.deployments[0].pools[0].engine.max_model_len == 2048
    assert "deepseek-r1" in catalog_of(scenario).models
    assert "tiny" not in catalog().models


def test_a_resolved_scenario_needs_the_file_no_more(written, tmp_path):
    scenario = written("{hf_config: tiny/config.json, name: my-model}")
    (tmp_path / "tiny" / "config.json").unlink()
    data = json.loads(json.dumps(resolved(scenario)))
    assert data["deployments"][0]["model"] == "my-model"
    assert load(data) == scenario


def test_a_flag_names_a_config_from_the_working_folder(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "tiny")
    override = "deployments[0].model={hf_config: config.json, name: here}"
    assert written("deepseek-r1", overrides=[override]).deployments[0].model == "here"


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("{hf_config: none.json}", 'hf_config: cannot be read: No such file or directory, got "n'),
        ("{hf_confg: a.json}", "hf_confg: unknown field (did you mean hf_config?)"),
        ("{}", "hf_config: must be the path of a Hugging Face config.json"),
        ("{hf_config: s.yaml}", "hf_config: is not JSON"),
        ("{hf_config: tiny/config.json, name: qwen3-32b}", "is a model of the catalogue"),
        ("{hf_config: tiny/config.json, name: a b}", "model.name: may hold letters, digits"),
    ],
)
def test_a_wrong_reference_says_where(written, model, text):
    with pytest.raises(ScenarioError) as caught:
        written(model)
    assert text in str(caught.value)
    assert "s.yaml:5:" in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_refusal_names_file_key_and_value(written, tmp_path):
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(LLAMA | {"model_type": "mamba"}))
    with pytest.raises(ScenarioError) as caught:
        written("{hf_config: tiny/config.json}")
    said = 'hf_config: tiny/config.json: model_type is not understood, got "mamba" (allowed: '
    assert said in str(caught.value)


def test_an_architecture_can_be_written_out(written):
    data = resolved(written("{hf_config: tiny/config.json}"))
    del data["models"]["tiny"]["vocab"]
    data["models"]["tiny"]["layer"] = 3
    with pytest.raises(ScenarioError) as caught:
        load(data)
    assert "models.tiny.vocab: is missing" in str(caught.value)
    assert "models.tiny.layer: unknown field (did you mean layers?)" in str(caught.value)
