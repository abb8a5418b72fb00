"""Weights of the models that others measured the power of, beside the sizes their makers state."""

from __future__ import annotations

import pytest

from factory.performance import architecture as arch
from factory.scenario import catalog

STATED_BILLIONS = {
    "qwen3-8b": 8.2,
    "qwen3-14b": 14.8,
    "qwen3-30b-a3b": 30.5,
    "qwen3-coder-480b-a35b": 480,
    "gemma-3-12b": 11.8,
    "gemma-3-27b": 27.0,
    "gemma-2-2b": 2.6,
    "gemma-2-9b": 9.2,
    "gemma-2-27b": 27.2,
    "phi-3-mini": 3.8,
    "phi-3-medium": 14.0,
    "mistral-7b": 7.25,
    "mistral-nemo": 12.2,
    "mistral-large": 123,
    "mixtral-8x22b": 141,
    "llama-2-70b": 69,
    "llama-4-scout": 109,
    "llama-4-maverick": 400,
    "nemotron-nano-12b-v2": 12.3,
    "nemotron-nano-9b-v2": 8.9,
    "bloom-176b": 176,
}
"""Model cards on Hugging Face, 2026-11; language models alone (Gemma 3 and Llama 4 see too)."""


@pytest.mark.parametrize("name", STATED_BILLIONS)
def test_parameters_are_as_stated(name: str) -> None:
    values = arch.weight_bytes(catalog().models[name], "fp16") / 2.0
    assert values / 1e9 == pytest.approx(STATED_BILLIONS[name], rel=0.015)
