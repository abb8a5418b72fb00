"""A Hugging Face ``config.json`` as the fields of a ``ModelSpec``.

Families: Llama, Mistral, Qwen2 and Qwen3 (dense); Mixtral, Qwen3-MoE, Qwen3.5-MoE, gpt-oss,
MiniMax-M2; DeepSeek-V2 and V3, Kimi-K2 and K2.5. Whatever else a config says that would change the
work of a step or the bytes of the model is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from factory.scenario.hf_quantization import ConfigError, quantization
from factory.scenario.nearest import nearest

Fields = dict[str, Any]

_NESTED = {"kimi_k25": "kimi_k2", "qwen3_5_moe": "qwen3_5_moe_text"}
"""Multimodal configs: model_type of the whole, and of the ``text_config`` in it."""

_SPARSE_KEYS = ("index_topk", "compress_ratios", "sparse_attention_config", "sparse_attention")


class Config:
    """A config's values by key; every reading of a wrong one is a ``ConfigError``."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default where it is absent or null."""
        value = self.data.get(key)
        return default if value is None else value

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number, not negative."""
        value = self.get(key, default)
        if value is None:
            raise ConfigError(key, "is missing")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(key, "must be a whole number, not negative", value)
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise ConfigError(key, "must be true or false", value)
        return value

    def only(self, key: str, allowed: Sequence[Any]) -> None:
        """Refuses any value but those, or the key's absence."""
        value = self.get(key, allowed[0])
        if value not in allowed:
            raise ConfigError(key, "is not understood", value, ", ".join(map(str, allowed)))


def read_config(file: Path) -> Fields:
    """The fields of a ``ModelSpec`` that a config file describes.

    Args:
        file: a ``config.json``.

    Returns:
        Every field but name and provenance; those of a part that is absent are left out.

    Raises:
        ConfigError: the file cannot be read, or holds what is not understood.
    """
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigError("", f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError("", f"is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError("", "must hold one JSON object")
    return architecture_of(data)


def architecture_of(data: Mapping[str, Any]) -> Fields:
    """The fields of a ``ModelSpec`` that a config describes.

    Raises:
        ConfigError: it holds what is not understood.
    """
    outer = data
    kind = str(data.get("model_type"))
    if kind in _NESTED:
        data = data.get("text_config") or {}
        if data.get("model_type") != _NESTED[kind]:
            found = data.get("model_type")
            raise ConfigError("text_config.model_type", "is not understood", found, _NESTED[kind])
        kind = _NESTED[kind]
    config = Config(data)
    for key in _SPARSE_KEYS:
        if config.get(key) is not None:
            raise ConfigError(key, "is sparse attention, which is not understood", config.get(key))
    if kind not in _FAMILIES:
        known = (*_FAMILIES, *_NESTED)
        given = data.get("model_type")
        message = "is missing" if given is None else "is not understood"
        raise ConfigError("model_type", message, given, ", ".join(known), nearest(given, known))
    config.only("hidden_act", ("silu",))
    config.only("mlp_bias", (False,))
    fields = _common(config, outer) | _FAMILIES[kind](config)
    stored = config.get("quantization_config", outer.get("quantization_config"))
    return fields | quantization(stored, fields, qwen=kind.startswith("qwen"))


def _common(config: Config, outer: Mapping[str, Any]) -> Fields:
    hidden, heads = config.count("hidden_size"), config.count("num_attention_heads")
    if not heads:
        raise ConfigError("num_attention_heads", "must be at least 1", heads)
    head_dim = config.count("head_dim", hidden // heads)
    tied = config.get("tie_word_embeddings", outer.get("tie_word_embeddings", False))
    return {
        "layers": config.count("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": config.count("num_key_value_heads", heads),
        "attention": "gqa",
        "head_dim": head_dim,
        "v_head_dim": head_dim,
        "vocab": config.count("vocab_size"),
        "tie_embeddings": bool(tied),
        "max_context": config.count("max_position_embeddings"),
    }


def _dense(config: Config) -> Fields:
    return {
        "dense_layers": config.count("num_hidden_layers"),
        "dense_intermediate": config.count("intermediate_size"),
    }


def _llama(config: Config) -> Fields:
    biased = config.flag("attention_bias")
    return _dense(config) | {"qkv_bias": biased, "output_bias": biased}


def _mistral(config: Config) -> Fields:
    window = config.count("sliding_window", 0)
    layers = config.count("num_hidden_layers") if window else 0
    return _dense(config) | {"sliding_window": window, "sliding_layers": layers}


def _qwen2(config: Config) -> Fields:
    return _dense(config) | _qwen_window(config) | {"qkv_bias": True}


def _qwen3(config: Config) -> Fields:
    biased = config.flag("attention_bias")
    found = _dense(config) | _qwen_window(config)
    return found | {"qk_norm": "head", "qkv_bias": biased, "output_bias": biased}


def _qwen_window(config: Config) -> Fields:
    if not config.flag("use_sliding_window"):
        return {}
    layers = config.count("num_hidden_layers")
    windowed = max(layers - config.count("max_window_layers", layers), 0)
    return {"sliding_window": config.count("sliding_window"), "sliding_layers": windowed}


def _qwen3_moe(config: Config) -> Fields:
    found = _qwen3(config) | _experts(config, "num_experts", "moe_intermediate_size")
    layers = config.count("num_hidden_layers")
    step = max(config.count("decoder_sparse_step", 1), 1)
    listed = config.get("mlp_only_layers", [])
    dense = [n for n in range(layers) if n in listed or (n + 1) % step]
    width = config.count("intermediate_size") if dense else 0
    return found | {"dense_layers": len(dense), "dense_intermediate": width}


def _qwen3_5_moe(config: Config) -> Fields:
    kinds = _layer_kinds(config, ("full_attention", "linear_attention"))
    width = config.count("moe_intermediate_size")
    shared = config.count("shared_expert_intermediate_size", 0)
    if width and shared % width:
        message = f"must be a multiple of moe_intermediate_size ({width})"
        raise ConfigError("shared_expert_intermediate_size", message, shared)
    config.only("mtp_use_dedicated_embeddings", (False,))
    config.only("mamba_ssm_dtype", ("float32", "bfloat16"))
    config.only("attention_bias", (False,))
    if config.get("mlp_only_layers", []):
        raise ConfigError("mlp_only_layers", "is not understood", config.get("mlp_only_layers"))
    return _experts(config, "num_experts", "moe_intermediate_size") | {
        "qk_norm": "head",
        "attention_gate": config.flag("attn_output_gate", default=True),
        "linear_layers": kinds.count("linear_attention"),
        "linear_key_heads": config.count("linear_num_key_heads"),
        "linear_value_heads": config.count("linear_num_value_heads"),
        "linear_key_head_dim": config.count("linear_key_head_dim"),
        "linear_value_head_dim": config.count("linear_value_head_dim"),
        "linear_conv_kernel": config.count("linear_conv_kernel_dim"),
        "linear_state_bytes": 2 if config.get("mamba_ssm_dtype") == "bfloat16" else 4,
        "shared_experts": shared // width if width else 0,
        "shared_expert_gate": shared > 0,
        "mtp_layers": config.count("mtp_num_hidden_layers", 0),
    }


def _mixtral(config: Config) -> Fields:
    found = _experts(config, "num_local_experts", "intermediate_size")
    window = config.count("sliding_window", 0)
    layers = config.count("num_hidden_layers") if window else 0
    return found | {"sliding_window": window, "sliding_layers": layers}


def _gpt_oss(config: Config) -> Fields:
    kinds = _layer_kinds(config, ("full_attention", "sliding_attention"))
    biased = config.flag("attention_bias", default=True)
    return _experts(config, "num_local_experts", "intermediate_size") | {
        "qkv_bias": biased,
        "output_bias": biased,
        "attention_sinks": True,
        "router_bias": True,
        "expert_bias": True,
        "sliding_window": config.count("sliding_window"),
        "sliding_layers": kinds.count("sliding_attention"),
    }


def _minimax_m2(config: Config) -> Fields:
    config.only("shared_intermediate_size", (0,))
    config.only("qk_norm_type", ("per_layer",))
    # It names MTP modules, but no published weights of the family hold any.
    return _experts(config, "num_local_experts", "intermediate_size") | {
        "qk_norm": "layer" if config.flag("use_qk_norm") else "none",
        "router_correction": config.flag("use_routing_bias"),
        "router_bytes": 4,
    }


def _deepseek(config: Config) -> Fields:
    config.only("moe_layer_freq", (1,))
    config.only("attention_bias", (False,))
    nope, rope = config.count("qk_nope_head_dim"), config.count("qk_rope_head_dim")
    found = _experts(config, "n_routed_experts", "moe_intermediate_size")
    dense = config.count("first_k_dense_replace", 0)
    return found | {
        "attention": "mla",
        "head_dim": nope + rope,
        "q_lora_rank": config.count("q_lora_rank", 0),
        "kv_lora_rank": config.count("kv_lora_rank"),
        "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rope,
        "v_head_dim": config.count("v_head_dim"),
        "dense_layers": dense,
        "dense_intermediate": config.count("intermediate_size") if dense else 0,
        "shared_experts": config.count("n_shared_experts", 0),
        "router_correction": config.get("topk_method") == "noaux_tc",
        "mtp_layers": config.count("num_nextn_predict_layers", 0),
    }


def _experts(config: Config, count: str, width: str) -> Fields:
    return {
        "experts": config.count(count),
        "experts_per_token": config.count("num_experts_per_tok"),
        "moe_intermediate": config.count(width),
        "router_bytes": 2,
    }


def _layer_kinds(config: Config, known: Sequence[str]) -> list[str]:
    """The kind of each layer; where none are listed, what ``full_attention_interval`` says."""
    layers = config.count("num_hidden_layers")
    listed = config.get("layer_types")
    if listed is None:
        interval = config.count("full_attention_interval", 2)
        return [known[0] if (n + 1) % max(interval, 1) == 0 else known[1] for n in range(layers)]
    for kind in listed:
        if kind not in known:
            hint = nearest(kind, known)
            raise ConfigError(
                "layer_types", "holds a kind not understood", kind, ", ".join(known), hint
            )
    if len(listed) != layers:
        raise ConfigError(
            "layer_types", f"must list num_hidden_layers = {layers} kinds", len(listed)
        )
    return list(listed)


_FAMILIES: Mapping[str, Callable[[Config], Fields]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "qwen3_5_moe_text": _qwen3_5_moe,
    "mixtral": _mixtral,
    "gpt_oss": _gpt_oss,
    "minimax_m2": _minimax_m2,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "kimi_k2": _deepseek,
}
