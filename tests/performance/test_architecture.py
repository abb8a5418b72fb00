from __future__ import annotations

import pytest

from factory.performance import Layout, architecture, memory_plan
from factory.performance.memory import (
    FRAMEWORK_BYTES,
    activation_bytes_per_gpu,
    kv_bytes_per_token_per_gpu,
    weight_bytes_per_gpu,
)
from factory.scenario import catalog

MODELS = catalog().models
GPUS = catalog().gpus


def test_kv_bytes_of_latent_attention() -> None:
    # 61 layers × (kv_lora_rank 512 + rope 64).
    r1 = MODELS["deepseek-r1"]
    assert architecture.kv_bytes_per_token(r1, "fp8") == 61 * (512 + 64) * 1 == 35_136
    assert architecture.kv_bytes_per_token(r1, "fp16") == 61 * (512 + 64) * 2 == 70_272
    # The latent is whole on every tensor-parallel GPU.
    assert kv_bytes_per_token_per_gpu(r1, Layout(tp=8), "fp8") == 35_136


@pytest.mark.parametrize(
    ("name", "layers", "kv_heads", "head_dim"),
    [
        ("llama-3.1-8b", 32, 8, 128),
        ("llama-3.1-70b", 80, 8, 128),
        ("qwen3-32b", 64, 8, 128),
        ("gpt-oss-120b", 36, 8, 64),
    ],
)
def test_kv_bytes_of_grouped_queries(name: str, layers: int, kv_heads: int, head_dim: int) -> None:
    model = MODELS[name]
    assert architecture.kv_bytes_per_token(model, "fp16") == layers * 2 * kv_heads * head_dim * 2
    assert architecture.kv_bytes_per_token(model, "fp8") == layers * 2 * kv_heads * head_dim
    per_gpu = layers * 2 * kv_heads * head_dim / 4
    assert kv_bytes_per_token_per_gpu(model, Layout(tp=4), "fp8") == per_gpu
    # Sixteen GPUs hold eight heads twice.
    assert kv_bytes_per_token_per_gpu(model, Layout(tp=16), "fp8") == layers * 2 * head_dim


def test_weight_bytes_of_llama_70b() -> None:
    attention = 8192 * (64 + 2 * 8) * 128 + 64 * 128 * 8192
    mlp = 3 * 8192 * 28672
    linear = 80 * (attention + mlp)
    ends = 2 * 128_256 * 8192 * 2
    norms = (80 * 2 * 8192 + 8192) * 2
    model = MODELS["llama-3.1-70b"]
    parameters = linear + 2 * 128_256 * 8192 + 80 * 2 * 8192 + 8192
    assert parameters == 70_553_706_496  # the published 70.6B
    assert architecture.weight_bytes(model, "fp16") == 2 * parameters
    # One FP32 scale per 128 × 128 block; one byte per 16 values.
    assert architecture.weight_bytes(model, "fp8") == linear * (1 + 4 / 16384) + ends + norms
    assert architecture.weight_bytes(model, "fp4") == linear * (0.5 + 1 / 16) + ends + norms


def test_weight_bytes_of_deepseek_r1() -> None:
    attention = (
        7168 * 1536  # q_a
        + 1536 * 128 * (128 + 64)  # q_b
        + 7168 * (512 + 64)  # kv_a
        + 512 * 128 * (128 + 128)  # kv_b
        + 128 * 128 * 7168  # o
    )
    expert = 3 * 7168 * 2048
    dense = 3 * 3 * 7168 * 18432
    linear = 61 * attention + dense + 58 * (256 + 1) * expert
    plain = 58 * 7168 * 256 + 2 * 129_280 * 7168 + 61 * (2 * 7168 + 1536 + 512) + 7168
    model = MODELS["deepseek-r1"]
    assert linear + plain == pytest.approx(671.0e9, rel=1e-3)
    assert architecture.weight_bytes(model, "fp8") == linear * (1 + 4 / 16384) + 2 * plain
    assert architecture.weight_bytes(model, "fp16") == 2 * (linear + plain)
    # FP4 checkpoints of MoE models keep attention in BF16.
    quantized = linear - 61 * attention
    fp4 = quantized * (0.5 + 1 / 16) + 2 * 61 * attention + 2 * plain
    assert architecture.weight_bytes(model, "fp4") == fp4


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


def test_memory_is_divided_as_vllm_does() -> None:
    model, gpu = MODELS["llama-3.1-8b"], GPUS["h100-sxm"]
    plan = memory_plan(model, gpu, Layout(), "fp8", "fp8", 0.9, 8192)
    activations = 2 * 11 * 4096 * 8192
    left = 0.9 * gpu.hbm_gb * 1e9 - weight_bytes_per_gpu(model, Layout(), "fp8")
    left -= activations + FRAMEWORK_BYTES
    assert activation_bytes_per_gpu(model, Layout(), 8192) == activations
    assert plan.fits
    assert plan.missing_gib == 0.0
    assert plan.kv_capacity_tokens == int(left / (32 * 2 * 8 * 128))


def test_memory_says_how_much_is_missing() -> None:
    plan = memory_plan(MODELS["deepseek-r1"], GPUS["h100-sxm"], Layout(tp=8), "fp8", "fp8")
    assert not plan.fits
    assert plan.kv_capacity_tokens == 0
    need = plan.weights + plan.activations + plan.framework + plan.kv_bytes_per_token
    assert plan.missing_gib == pytest.approx((need - plan.budget) / 2**30)


def test_expert_groups_must_divide_the_stage() -> None:
    with pytest.raises(ValueError, match="must divide"):
        Layout(tp=4, ep=3)
    with pytest.raises(ValueError, match=">= 1"):
        Layout(tp=0)
