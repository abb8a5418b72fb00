"""Bytes of a sequence's KV on its way, counted from the published architectures."""

from __future__ import annotations

import dataclasses

import pytest

from factory.performance import architecture as arch
from factory.performance.kv_transfer import last_layer_bytes, transfer_bytes
from factory.scenario import catalog

MODELS = catalog().models
WINDOWED = next(model for model in MODELS.values() if model.sliding_window)
LINEAR = next(model for model in MODELS.values() if model.linear_layers)


def test_every_layer_sends_keys_and_values_of_every_token() -> None:
    """Llama 3.1 8B: 32 layers x 8 KV heads x 128 x (K + V) x 1 byte = 65,536 bytes a token."""
    assert transfer_bytes(MODELS["llama-3.1-8b"], "fp8", 1000) == 65_536_000
    assert transfer_bytes(MODELS["llama-3.1-8b"], "fp16", 1000) == 131_072_000


def test_mla_sends_its_latents_once() -> None:
    """DeepSeek-R1: 61 layers x (512 + 64) x 2 bytes a token; the MTP layer is one more."""
    model = MODELS["deepseek-r1"]
    assert transfer_bytes(model, "fp16", 10) == 61 * 576 * 2 * 10
    assert transfer_bytes(model, "fp16", 10, draft=True) == 62 * 576 * 2 * 10


def test_sliding_layers_send_their_window() -> None:
    """The window's tokens of each sliding layer, all tokens of the others."""
    model = WINDOWED
    one = arch.kv_values_per_layer(model)
    tokens = 10 * model.sliding_window
    full = model.layers - model.sliding_layers
    expected = one * (full * tokens + model.sliding_layers * model.sliding_window)
    assert transfer_bytes(model, "fp8", tokens) == expected
    short = model.sliding_window // 2
    assert transfer_bytes(model, "fp8", short) == one * model.layers * short
    # One block table for all layers: whole contexts go.
    whole = transfer_bytes(model, "fp8", tokens, hybrid=False)
    assert whole == one * model.layers * tokens


def test_linear_layers_send_their_state_whatever_the_length() -> None:
    """Two prompts differ by the KV of the layers that attend to the context."""
    model = LINEAR
    state = arch.state_bytes_per_sequence(model)
    assert state > 0
    assert transfer_bytes(model, "fp8", 0) == state
    per_token = (model.layers - model.linear_layers) * arch.kv_values_per_layer(model)
    assert transfer_bytes(model, "fp8", 5000) == state + 5000 * per_token


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_whole_prompt_is_what_the_sequence_needs(name: str) -> None:
    model = MODELS[name]
    need = arch.kv_bytes(model, "fp8", 3000) + arch.state_bytes_per_sequence(model)
    assert transfer_bytes(model, "fp8", 3000) == need


def test_what_the_other_side_has_is_not_sent() -> None:
    """Of 1000 tokens it has 990: full layers send 10, a window of 128 no more than that either."""
    model = WINDOWED
    one = arch.kv_values_per_layer(model)
    assert transfer_bytes(model, "fp8", 1000, held_tokens=990) == one * model.layers * 10
    assert transfer_bytes(model, "fp8", 1000, held_tokens=2000) == 0
    assert transfer_bytes(LINEAR, "fp8", 1000, held_tokens=1000) > 0


def test_the_last_layer_is_one_of_attention() -> None:
    model = MODELS["llama-3.1-8b"]
    assert last_layer_bytes(model, "fp8", 100) * 32 == transfer_bytes(model, "fp8", 100)
    stateful = dataclasses.replace(LINEAR, linear_layers=LINEAR.layers)
    state = arch.state_bytes_per_sequence(stateful)
    assert last_layer_bytes(stateful, "fp8", 100) == state / stateful.layers
