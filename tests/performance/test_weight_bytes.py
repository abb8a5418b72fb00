"""Weights and KV to the byte, counted by hand from the published configurations.

Nothing here uses the package's own counting: each model is written out, its numbers as they stand
in its ``config.json``. Totals marked as published are those of the weights on Hugging Face
(``total_size`` of the index, or bytes by dtype of the tensors).
"""

from __future__ import annotations

from math import ceil

import pytest

from factory.performance import architecture as arch
from factory.scenario import catalog

MODELS = catalog().models


def plain(rows: int, columns: int) -> int:
    """BF16."""
    return 2 * rows * columns


def block_fp8(rows: int, columns: int, scale: int = 4) -> int:
    """One byte a weight, a scale per block of 128 x 128."""
    return rows * columns + scale * ceil(rows / 128) * ceil(columns / 128)


def qwen_fp8(rows: int, columns: int) -> int:
    """The same with BF16 scales."""
    return block_fp8(rows, columns, 2)


def tensor_fp8(rows: int, columns: int) -> int:
    """One FP32 scale a matrix."""
    return rows * columns + 4


def nvfp4(rows: int, columns: int) -> int:
    """Half a byte a weight, an FP8 scale per 16 of a row, an FP32 scale a matrix."""
    return rows * columns // 2 + rows * ceil(columns / 16) + 4


def mxfp4(rows: int, columns: int) -> int:
    """Half a byte a weight, an 8-bit scale per 32 of a row."""
    return rows * columns // 2 + rows * ceil(columns / 32)


def int4(rows: int, columns: int) -> int:
    """Half a byte a weight, a BF16 scale per 32 of a row."""
    return rows * columns // 2 + 2 * rows * ceil(columns / 32)


def deepseek_like(heads, experts, vocab, dense, quantized, attention, output, shared):
    """One model of DeepSeek-V3's shape; ``quantized`` counts experts, the rest as named."""
    hidden = 7168
    projections = (
        attention(1536, hidden)  # q_a_proj
        + attention(heads * (128 + 64), 1536)  # q_b_proj
        + attention(512 + 64, hidden)  # kv_a_proj_with_mqa: 576 rows make 5 blocks
        + attention(heads * (128 + 128), 512)  # kv_b_proj
        + output(hidden, heads * 128)  # o_proj
    )
    norms = 2 * (2 * hidden + 1536 + 512)
    wide = 2 * shared(18432, hidden) + shared(hidden, 18432)
    routed = 2 * quantized(2048, hidden) + quantized(hidden, 2048)
    once = 2 * shared(2048, hidden) + shared(hidden, 2048)
    router = plain(experts, hidden) + 4 * experts  # weight, FP32 e_score_correction_bias
    sparse = router + once + experts * routed
    ends = 2 * plain(vocab, hidden) + 2 * hidden
    layers = 61 * (projections + norms) + dense * wide + (61 - dense) * sparse
    # The MTP layer: a sparse one, eh_proj, and the norms enorm, hnorm and shared_head.norm.
    mtp = projections + norms + sparse + plain(hidden, 2 * hidden) + 3 * 2 * hidden
    return layers + ends, mtp


@pytest.mark.parametrize("name", ["deepseek-r1", "deepseek-v3"])
def test_deepseek(name: str) -> None:
    model = MODELS[name]
    shape = (128, 256, 129_280, 3)
    fp8, mtp = deepseek_like(*shape, block_fp8, block_fp8, block_fp8, block_fp8)
    assert arch.weight_bytes(model, "fp8") == fp8
    assert arch.mtp_bytes(model, "fp8") == mtp
    # Published tensors: BF16 3,918,786,560, F8_E4M3 680,571,043,840, F32 41,555,600 values, with
    # copies of embedding and head for the MTP layer.
    tensors = 2 * 3_918_786_560 + 680_571_043_840 + 4 * 41_555_600
    assert fp8 + mtp + 2 * plain(129_280, 7168) == tensors
    whole, mtp = deepseek_like(*shape, plain, plain, plain, plain)
    assert arch.weight_bytes(model, "fp16") == whole
    assert arch.mtp_bytes(model, "fp16") == mtp
    # NVFP4: query and key-value projections and the MTP layer stay in BF16.
    fp4, _ = deepseek_like(*shape, nvfp4, plain, nvfp4, nvfp4)
    assert arch.weight_bytes(model, "fp4") == fp4
    assert arch.mtp_bytes(model, "fp4") == mtp


def test_kimi() -> None:
    shape = (64, 384, 163_840, 1)
    k2, k25 = MODELS["kimi-k2"], MODELS["kimi-k2.5"]
    whole, _ = deepseek_like(*shape, plain, plain, plain, plain)
    fp8, _ = deepseek_like(*shape, block_fp8, block_fp8, block_fp8, block_fp8)
    for model in (k2, k25):
        assert arch.weight_bytes(model, "fp16") == whole
        assert arch.weight_bytes(model, "fp8") == fp8
        assert arch.mtp_bytes(model, "fp8") == 0
    fp4, _ = deepseek_like(*shape, nvfp4, plain, plain, nvfp4)
    assert arch.weight_bytes(k2, "fp4") == fp4
    # INT4 in the routed experts alone.
    fp4, _ = deepseek_like(*shape, int4, plain, plain, plain)
    assert arch.weight_bytes(k25, "fp4") == fp4


def llama(hidden, layers, heads, width, matrix):
    attention = matrix(heads * 128, hidden) + 2 * matrix(8 * 128, hidden)
    attention += matrix(hidden, heads * 128)
    mlp = 2 * matrix(width, hidden) + matrix(hidden, width)
    norms = 2 * 2 * hidden
    return layers * (attention + mlp + norms) + 2 * plain(128_256, hidden) + 2 * hidden


@pytest.mark.parametrize(
    ("name", "shape", "published"),
    [
        ("llama-3.1-8b", (4096, 32, 32, 14_336), 16_060_522_496),
        ("llama-3.1-70b", (8192, 80, 64, 28_672), 141_107_412_992),
        ("llama-3.1-405b", (16_384, 126, 128, 53_248), None),
    ],
)
def test_llama(name: str, shape: tuple[int, ...], published: int | None) -> None:
    model = MODELS[name]
    assert arch.weight_bytes(model, "fp16") == llama(*shape, plain)
    assert published is None or llama(*shape, plain) == published
    assert arch.weight_bytes(model, "fp8") == llama(*shape, tensor_fp8)
    assert arch.weight_bytes(model, "fp4") == llama(*shape, nvfp4)


def test_qwen3_32b() -> None:
    def count(matrix):
        attention = matrix(64 * 128, 5120) + 2 * matrix(8 * 128, 5120) + matrix(5120, 64 * 128)
        mlp = 2 * matrix(25_600, 5120) + matrix(5120, 25_600)
        norms = 2 * (2 * 5120 + 128 + 128)  # with q_norm and k_norm
        return 64 * (attention + mlp + norms) + 2 * plain(151_936, 5120) + 2 * 5120

    model = MODELS["qwen3-32b"]
    assert arch.weight_bytes(model, "fp16") == count(plain) == 65_524_246_528  # published
    assert arch.weight_bytes(model, "fp8") == count(qwen_fp8)
    assert arch.weight_bytes(model, "fp4") == count(nvfp4)


def test_qwen3_235b() -> None:
    def count(matrix, attend):
        attention = attend(64 * 128, 4096) + 2 * attend(4 * 128, 4096) + attend(4096, 64 * 128)
        experts = 128 * (2 * matrix(1536, 4096) + matrix(4096, 1536))
        norms = 2 * (2 * 4096 + 128 + 128)
        layer = attention + experts + plain(128, 4096) + norms
        return 94 * layer + 2 * plain(151_936, 4096) + 2 * 4096

    model = MODELS["qwen3-235b-a22b"]
    assert arch.weight_bytes(model, "fp16") == count(plain, plain) == 470_187_269_120  # published
    assert arch.weight_bytes(model, "fp8") == count(qwen_fp8, qwen_fp8)
    assert arch.weight_bytes(model, "fp4") == count(nvfp4, plain)


def test_qwen3_5() -> None:
    hidden, keys, values = 4096, 16 * 128, 64 * 128

    def parts(matrix, attend, shared):
        gated = attend(2 * 32 * 256, hidden)  # queries and output gate
        full = gated + 2 * attend(2 * 256, hidden) + attend(hidden, 32 * 256) + 2 * 2 * 256
        linear = (
            attend(2 * keys + values, hidden)  # in_proj_qkv
            + attend(values, hidden)  # in_proj_z
            + 2 * plain(64, hidden)  # in_proj_a, in_proj_b
            + attend(hidden, values)  # out_proj
            + 2 * (2 * keys + values) * 4  # conv1d
            + 2 * 64  # dt_bias
            + 4 * 64  # A_log, FP32
            + 4 * 128  # norm, FP32
        )
        experts = 512 * (2 * matrix(1024, hidden) + matrix(hidden, 1024))
        once = 2 * shared(1024, hidden) + shared(hidden, 1024) + plain(1, hidden)
        sparse = experts + once + plain(512, hidden)
        return full, linear, sparse, 2 * 2 * hidden

    def count(matrix, attend, shared):
        full, linear, sparse, norms = parts(matrix, attend, shared)
        layers = 15 * full + 45 * linear + 60 * (sparse + norms)
        return layers + 2 * plain(248_320, hidden) + 2 * hidden

    def mtp(matrix):
        full, _, sparse, norms = parts(matrix, matrix, matrix)
        return full + sparse + norms + plain(hidden, 2 * hidden) + 3 * 2 * hidden

    model = MODELS["qwen3.5-397b-a17b"]
    # Published: 792,692,717,952 bytes of text tensors, 13,191,136,256 of the MTP layer.
    assert arch.weight_bytes(model, "fp16") == count(plain, plain, plain) == 792_692_717_952
    assert arch.mtp_bytes(model, "fp16") == mtp(plain) == 13_191_136_256
    assert arch.weight_bytes(model, "fp8") == count(qwen_fp8, qwen_fp8, qwen_fp8)
    assert arch.mtp_bytes(model, "fp8") == mtp(qwen_fp8)
    assert arch.weight_bytes(model, "fp4") == count(nvfp4, plain, plain)
    assert arch.mtp_bytes(model, "fp4") == mtp(plain)


@pytest.mark.parametrize(
    ("name", "layers", "experts", "published"),
    [("gpt-oss-120b", 36, 128, 65_248_815_744), ("gpt-oss-20b", 24, 32, 13_761_264_768)],
)
def test_gpt_oss(name: str, layers: int, experts: int, published: int) -> None:
    def count(matrix):
        attention = plain(64 * 64, 2880) + 2 * plain(8 * 64, 2880) + plain(2880, 64 * 64)
        biases = 2 * (64 * 64 + 2 * 8 * 64 + 2880) + 2 * 64  # q, k, v, o; sinks
        routed = 2 * matrix(2880, 2880) + matrix(2880, 2880) + 2 * (2 * 2880 + 2880)
        router = plain(experts, 2880) + 2 * experts
        norms = 2 * 2 * 2880
        layer = attention + biases + router + experts * routed + norms
        return layers * layer + 2 * plain(201_088, 2880) + 2 * 2880

    model = MODELS[name]
    assert arch.weight_bytes(model, "fp4") == count(mxfp4) == published
    assert arch.weight_bytes(model, "fp16") == count(plain)
    assert arch.weight_bytes(model, "fp8") == count(block_fp8)


def test_mixtral() -> None:
    def count(matrix, attend):
        attention = attend(4096, 4096) + 2 * attend(8 * 128, 4096) + attend(4096, 4096)
        experts = 8 * (2 * matrix(14_336, 4096) + matrix(4096, 14_336))
        layer = attention + experts + plain(8, 4096) + 2 * 2 * 4096
        return 32 * layer + 2 * plain(32_000, 4096) + 2 * 4096

    model = MODELS["mixtral-8x7b"]
    assert arch.weight_bytes(model, "fp16") == count(plain, plain) == 93_405_585_408  # published
    assert arch.weight_bytes(model, "fp8") == count(tensor_fp8, tensor_fp8)
    assert arch.weight_bytes(model, "fp4") == count(nvfp4, plain)


def test_minimax() -> None:
    def count(matrix, attend):
        attention = attend(48 * 128, 3072) + 2 * attend(8 * 128, 3072) + attend(3072, 48 * 128)
        norms = 2 * (2 * 3072 + 48 * 128 + 8 * 128)  # q_norm and k_norm over all heads
        experts = 256 * (2 * matrix(1536, 3072) + matrix(3072, 1536))
        router = 4 * 256 * 3072 + 4 * 256  # both FP32
        return 62 * (attention + norms + experts + router) + 2 * plain(200_064, 3072) + 2 * 3072

    model = MODELS["minimax-m2"]
    assert arch.weight_bytes(model, "fp8") == count(block_fp8, block_fp8) == 230_121_630_720
    assert arch.weight_bytes(model, "fp16") == count(plain, plain)
    assert arch.weight_bytes(model, "fp4") == count(nvfp4, plain)


KV_VALUES = {
    "deepseek-r1": 61 * (512 + 64),
    "deepseek-v3": 61 * (512 + 64),
    "kimi-k2": 61 * (512 + 64),
    "kimi-k2.5": 61 * (512 + 64),
    "llama-3.1-8b": 32 * 2 * 8 * 128,
    "llama-3.1-70b": 80 * 2 * 8 * 128,
    "llama-3.1-405b": 126 * 2 * 8 * 128,
    "qwen3-32b": 64 * 2 * 8 * 128,
    "qwen3-235b-a22b": 94 * 2 * 4 * 128,
    "qwen3.5-397b-a17b": 15 * 2 * 2 * 256,
    "gpt-oss-120b": 36 * 2 * 8 * 64,
    "gpt-oss-20b": 24 * 2 * 8 * 64,
    "mixtral-8x7b": 32 * 2 * 8 * 128,
    "minimax-m2": 62 * 2 * 8 * 128,
    "qwen3-8b": 36 * 2 * 8 * 128,
    "qwen3-14b": 40 * 2 * 8 * 128,
    "qwen3-30b-a3b": 48 * 2 * 4 * 128,
    "qwen3-coder-480b-a35b": 62 * 2 * 8 * 128,
    "gemma-3-12b": 48 * 2 * 8 * 256,
    "gemma-3-27b": 62 * 2 * 16 * 128,
    "gemma-2-2b": 26 * 2 * 4 * 256,
    "gemma-2-9b": 42 * 2 * 8 * 256,
    "gemma-2-27b": 46 * 2 * 16 * 128,
    "phi-3-mini": 32 * 2 * 32 * 96,
    "phi-3-medium": 40 * 2 * 10 * 128,
    "mistral-7b": 32 * 2 * 8 * 128,
    "mistral-nemo": 40 * 2 * 8 * 128,
    "mistral-large": 88 * 2 * 8 * 128,
    "mixtral-8x22b": 56 * 2 * 8 * 128,
    "llama-2-70b": 80 * 2 * 8 * 128,
    "llama-4-scout": 48 * 2 * 8 * 128,
    "llama-4-maverick": 48 * 2 * 8 * 128,
    "nemotron-nano-12b-v2": 6 * 2 * 8 * 128,
    "nemotron-nano-9b-v2": 4 * 2 * 8 * 128,
    "bloom-176b": 70 * 2 * 112 * 128,
}
"""Values that a token of context keeps in all layers."""


def test_kv_of_a_token() -> None:
    assert set(KV_VALUES) == set(MODELS)
    for name, values in KV_VALUES.items():
        assert arch.kv_bytes_per_token(MODELS[name], "fp8") == values
        assert arch.kv_bytes_per_token(MODELS[name], "fp16") == 2 * values


def test_a_sliding_layer_keeps_its_window() -> None:
    model = MODELS["gpt-oss-120b"]
    layer = 2 * 8 * 64 * 2
    assert arch.kv_bytes(model, "fp16", 8192) == 18 * layer * 8192 + 18 * layer * 128
    assert arch.kv_bytes(model, "fp16", 100) == 36 * layer * 100
    for name in (name for name, model in MODELS.items() if not model.sliding_layers):
        assert arch.kv_bytes(MODELS[name], "fp8", 5000) == 5000 * KV_VALUES[name]


def test_state_of_linear_attention() -> None:
    # 45 layers: 64 heads of 128 x 128 FP32, and 3 inputs of 12,288 channels in BF16.
    state = 45 * (64 * 128 * 128 * 4 + 3 * 12_288 * 2)
    assert arch.state_bytes_per_sequence(MODELS["qwen3.5-397b-a17b"]) == state
    for name in (name for name, model in MODELS.items() if not model.linear_layers):
        assert arch.state_bytes_per_sequence(MODELS[name]) == 0
