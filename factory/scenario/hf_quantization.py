"""What a config's ``quantization_config`` says about scales and matrices left in 16 bits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from factory.errors import InputError

Fields = Mapping[str, Any]


class ConfigError(InputError):
    """A config holds what is not understood.

    Attributes:
        key: the key in the config; empty for the whole file.
        message: what is wrong with it.
        got: its value.
        allowed: what would do.
        nearest: the value that was probably meant.
    """

    def __init__(
        self,
        key: str,
        message: str,
        got: object | None = None,
        allowed: str | None = None,
        nearest: str | None = None,
    ) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key
        self.message = message
        self.got = got
        self.allowed = allowed
        self.nearest = nearest


_ATTENTION = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "q_proj": ("q_proj",),
    "q_a_proj": ("q_a_proj",),
    "q_b_proj": ("q_b_proj",),
    "kv_a_proj": ("kv_a_proj_with_mqa",),
    "kv_b_proj": ("kv_b_proj",),
    "o_proj": ("o_proj",),
}
_LINEAR = {
    "in_proj_qkv": ("in_proj_qkv",),
    "in_proj_z": ("in_proj_z",),
    "in_proj_ba": ("in_proj_a", "in_proj_b"),
    "out_proj": ("out_proj",),
}
_MLP = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}

_DEFAULT_FP4 = {"fp4_kind": "nvfp4", "fp4_group": 16, "fp4_scale_bytes": 1}


def quantization(stored: Any, fields: Fields, *, qwen: bool) -> dict[str, Any]:
    """The checkpoint fields of a ``ModelSpec``.

    Where the config describes one format, the other is assumed to be as others publish it: FP8 in
    blocks of 128 x 128 with an FP32 scale (Qwen: BF16), NVFP4 with attention left in 16 bits in
    models with experts.

    Args:
        stored: the ``quantization_config``, None if there is none.
        fields: the architecture.
        qwen: whether the family's FP8 scales are BF16.

    Raises:
        ConfigError: the method is not understood, or layers differ in what they leave out.
    """
    attention = [name for name, _, _ in _present(fields) if name in (*_ATTENTION, *_LINEAR)]
    found: dict[str, Any] = {
        "fp8_block": 128,
        "fp8_scale_bytes": 2 if qwen else 4,
        "fp8_excluded": ["in_proj_ba"] if fields.get("linear_layers") else [],
        **_DEFAULT_FP4,
        "fp4_excluded": attention if fields.get("experts") else [],
    }
    if stored is None:
        return found
    if not isinstance(stored, Mapping):
        raise ConfigError("quantization_config", "must be an object", stored)
    method = stored.get("quant_method")
    if method == "fp8":
        return found | _fp8(stored, fields)
    if method == "mxfp4":
        scales = {"fp4_kind": "mxfp4", "fp4_group": 32, "fp4_scale_bytes": 1}
        return found | scales | {"fp4_excluded": _excluded(stored, fields)}
    if method == "compressed-tensors":
        return found | _compressed(stored, fields)
    if method == "modelopt" and stored.get("quant_algo") in ("NVFP4", "FP8"):
        excluded = _excluded(stored, fields)
        if stored["quant_algo"] == "NVFP4":
            return found | {"fp4_excluded": excluded}
        return found | {"fp8_block": 0, "fp8_scale_bytes": 4, "fp8_excluded": excluded}
    allowed = "fp8, mxfp4, compressed-tensors, modelopt (NVFP4 or FP8)"
    raise ConfigError("quantization_config.quant_method", "is not understood", method, allowed)


def _fp8(stored: Fields, fields: Fields) -> dict[str, Any]:
    excluded = _excluded(stored, fields)
    block = stored.get("weight_block_size")
    if block is None:
        return {"fp8_block": 0, "fp8_scale_bytes": 4, "fp8_excluded": excluded}
    key = "quantization_config.weight_block_size"
    if not (isinstance(block, list) and len(block) == 2 and block[0] == block[1]):
        raise ConfigError(key, "must be two equal sides", block)
    return {"fp8_block": block[0], "fp8_excluded": excluded}


def _compressed(stored: Fields, fields: Fields) -> dict[str, Any]:
    """4-bit integers or floats in groups, as compressed-tensors describes them."""
    key = "quantization_config.config_groups"
    groups = list((stored.get("config_groups") or {}).values())
    if len(groups) != 1:
        raise ConfigError(key, "must hold one group", len(groups))
    weights = groups[0].get("weights") or {}
    shape = (weights.get("num_bits"), weights.get("type"), weights.get("group_size"))
    excluded = _excluded(stored, fields)
    if shape[:2] == (4, "int") and shape[2]:
        scales = {"fp4_kind": "int4", "fp4_group": shape[2], "fp4_scale_bytes": 2}
    elif shape == (4, "float", 16):
        scales = _DEFAULT_FP4
    else:
        raise ConfigError(
            f"{key}.weights", "is not understood", str(shape), "4-bit int, 4-bit float"
        )
    return {**scales, "fp4_excluded": excluded}


def _excluded(stored: Fields, fields: Fields) -> list[str]:
    """Names of the matrices that the checkpoint keeps in 16 bits."""
    patterns: Sequence[str] = ()
    for key in ("modules_to_not_convert", "ignore", "exclude_modules"):
        patterns = stored.get(key) or patterns
    names = []
    for name, layers, modules in _present(fields):
        kept = {_is_kept(patterns, f"{at}{module}") for at in layers for module in modules}
        if kept == {True, False}:
            key = "quantization_config"
            raise ConfigError(key, f"leaves some of {name} in 16 bits, which is not understood")
        if kept == {True}:
            names.append(name)
    return names


def _present(fields: Fields) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each matrix of the architecture with prefixes of layers that have it and its module names."""
    layers, dense = fields["layers"], fields.get("dense_layers", 0)
    linear = fields.get("linear_layers", 0)
    # Three linear layers come before each full one; any layer will do where there is one kind.
    full = [f"model.layers.{layers - 1}."] + ([] if linear else ["model.layers.0."])
    for name, modules in _ATTENTION.items():
        if _has(fields, name):
            yield name, full, [f"self_attn.{module}" for module in modules]
    for name, modules in _LINEAR.items() if linear else ():
        yield name, ["model.layers.0."], [f"linear_attn.{module}" for module in modules]
    if dense or not fields.get("experts"):
        for name, modules in _MLP.items():
            yield name, ["model.layers.0."], [f"mlp.{module}" for module in modules]
    if fields.get("experts"):
        sparse = [f"model.layers.{layers - 1}."]
        for name, modules in _MLP.items() if fields.get("shared_experts") else ():
            parent = "shared_expert" if fields.get("shared_expert_gate") else "shared_experts"
            yield f"shared_{name}", sparse, [f"mlp.{parent}.{module}" for module in modules]
        yield "experts", sparse, ["mlp.experts.0.gate_proj", "mlp.experts.0.down_proj"]
    if fields.get("mtp_layers"):
        # DeepSeek numbers it after the other layers, Qwen names it.
        at = f"model.layers.{layers}." if fields["attention"] == "mla" else "mtp.layers.0."
        yield "mtp", [at], ["mlp.experts.0.gate_proj"]


def _has(fields: Fields, name: str) -> bool:
    mla = fields["attention"] == "mla"
    if name == "o_proj":
        return True
    if name == "qkv_proj":
        return not mla
    if not mla:
        return False
    ranked = bool(fields.get("q_lora_rank"))
    return {"q_proj": not ranked, "q_a_proj": ranked, "q_b_proj": ranked}.get(name, True)


def _is_kept(patterns: Sequence[str], module: str) -> bool:
    """Whether a pattern names the module, a parent of it, or a run of its parts."""
    for pattern in patterns:
        if pattern.startswith("re:"):
            if re.match(pattern[3:], module):
                return True
            continue
        bare = re.sub(r"^(model\.)?language_model\.", "", pattern).rstrip("*").rstrip(".") or "*"
        if "*" in bare:
            if fnmatchcase(module, bare) or fnmatchcase(module, f"{bare}.*"):
                return True
        elif f".{bare}." in f".{module}.":
            return True
    return False
