from __future__ import annotations

import pytest

from factory.performance import Layout, architecture
from factory.performance.memory import kv_bytes_per_token_per_gpu, weight_bytes_per_gpu
from factory.scenario import catalog

MODELS = catalog().models


def test_latents_are_whole_on_every_gpu() -> None:
    # 61 layers × (kv_lora_rank 512 + rope 64).
    assert kv_bytes_per_token_per_gpu(MODELS["deepseek-r1"], Layout(tp=8), "fp8") == 35_136


def test_heads_are_split_then_copied() -> None:
    model = MODELS["llama-3.1-70b"]
    whole = 80 * 2 * 8 * 128
    assert kv_bytes_per_token_per_gpu(model, Layout(tp=4), "fp8") == whole / 4
    # Sixteen GPUs hold eight heads twice.
    assert kv_bytes_per_token_per_gpu(model, Layout(tp=16), "fp8") == whole / 8
    # Key and value projections with them: 2 of 16 GPUs hold each of 8 heads.
    attention = 2 * 8192 * (64 * 128 / 16 + 2 * 128) + 2 * 64 * 128 * 8192 / 16
    mlp = 2 * 3 * 8192 * 28_672 / 16
    ends = 2 * 2 * 128_256 * 8192 / 16
    norms = 2 * (160 * 8192 + 8192)
    held = weight_bytes_per_gpu(model, Layout(tp=16), "fp16")
    assert held == pytest.approx(80 * (attention + mlp) + ends + norms, rel=1e-12)


def test_linear_layers_have_matrices_but_no_kv() -> None:
    model = MODELS["qwen3.5-397b-a17b"]
    layers = {m.name: m.layers for m in architecture.attention_matrices(model, "fp8")}
    assert layers["qkv_proj"] == layers["o_proj"] == architecture.attention_layers(model) == 15
    assert layers["in_proj_qkv"] == layers["in_proj_ba"] == layers["out_proj"] == 45
    # Per value head a 128 x 128 state: decay, product with the key, update, product with the query.
    assert architecture.linear_attention_token_flops(model) == 64 * 128 * 128 * 7


def test_what_a_checkpoint_keeps_in_sixteen_bits() -> None:
    def formats(name: str, weights: architecture.Format) -> dict[str, str]:
        model = MODELS[name]
        matrices = architecture.attention_matrices(model, weights)
        matrices += architecture.mlp_matrices(model, weights)
        return {matrix.name: matrix.format for matrix in matrices}

    assert set(formats("deepseek-r1", "fp8").items()) >= {("router", "fp16"), ("o_proj", "fp8")}
    nvfp4 = formats("deepseek-r1", "fp4")
    assert (nvfp4["q_a_proj"], nvfp4["o_proj"], nvfp4["down_proj"]) == ("fp16", "fp4", "fp4")
    assert set(formats("gpt-oss-120b", "fp4").values()) == {"fp16"}
    assert formats("kimi-k2.5", "fp4")["shared_down_proj"] == "fp16"
    assert formats("qwen3.5-397b-a17b", "fp8")["in_proj_ba"] == "fp16"


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("weights", ["fp16", "fp8", "fp4"])
def test_one_gpu_holds_the_whole_model(name: str, weights: architecture.Format) -> None:
    whole = architecture.weight_bytes(MODELS[name], weights)
    assert weight_bytes_per_gpu(MODELS[name], Layout(), weights) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_gpus_of_a_replica_hold_the_model_together(name: str) -> None:
    model = MODELS[name]
    whole = architecture.weight_bytes(model, "fp8")
    for layout in (Layout(tp=8, ep=8), Layout(tp=8), Layout(dp=8, ep=8), Layout(tp=4, pp=2)):
        each = weight_bytes_per_gpu(model, layout, "fp8")
        assert whole <= each * layout.gpus * (1 + 1e-12)


def test_expert_groups_must_divide_the_stage() -> None:
    with pytest.raises(ValueError, match="must divide"):
        Layout(tp=4, ep=3)
    with pytest.raises(ValueError, match=">= 1"):
        Layout(tp=0)
