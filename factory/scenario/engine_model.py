"""From the model of a command line to one that the simulator knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import InputError
from factory.scenario.hf_config import architecture_of
from factory.scenario.hf_quantization import ConfigError
from factory.scenario.nearest import nearest
from factory.scenario.specs import Catalog

NATIVE: Mapping[str, str] = {
    "deepseek-r1": "fp8",
    "deepseek-v3": "fp8",
    "kimi-k2": "fp8",
    "kimi-k2.5": "fp4",
    "minimax-m2": "fp8",
    "gpt-oss-120b": "fp4",
    "gpt-oss-20b": "fp4",
}
"""Format of the weights that a model was published in; 16 bits for the others."""

WEIGHT_ONLY = ("mxfp4", "int4")

# Words of a name that say how a checkpoint was tuned or stored, not how it is built.
_VARIANT = re.compile(
    r"[-_.](?:instruct|chat|it|base|thinking|hf|fp8|fp4|nvfp4|mxfp4|bf16|awq|gptq|int4|int8|4bit|8bit"
    r"|w4a16|w8a8|w8a16|g128|dynamic|block|quantized|marlin|channel|v2|0528|0324|0905|2507)(?=$|[-_.])"
)
_FORMATS = (
    ("fp4", re.compile(r"nvfp4|fp4|mxfp4")),
    ("fp8", re.compile(r"fp8")),
    ("int4", re.compile(r"awq|gptq|int4|w4a16|4bit")),
    ("int8", re.compile(r"int8|w8a8|w8a16|8bit")),
)


@dataclass(frozen=True, slots=True)
class Model:
    """What of a model decides how flags are read.

    Attributes:
        name: in the catalogue, or of the scenario's own.
        how: how it was found, for a comment.
        hf_config: file that describes it; None for one of the catalogue.
        experts: routed experts of a layer; 0 for a dense model.
        mtp_layers: multi-token-prediction layers.
        is_mla: whether attention is latent.
        max_context: tokens.
        stored: format of this checkpoint's weights: fp16, fp8, fp4, int4 or int8.
        is_weight_only: whether its 4 bits are expanded to 16 where it computes.
        has_windows: whether some, but not all, of its layers of attention see a window alone.
    """

    name: str
    how: str
    hf_config: str | None
    experts: int
    mtp_layers: int
    is_mla: bool
    max_context: int
    stored: str
    is_weight_only: bool
    has_windows: bool


def find_model(written: str, catalog: Catalog, engine: str) -> Model:
    """The catalogue's model that a Hugging Face id, or a folder's name, stands for.

    Args:
        written: as the command names it.
        catalog: what is known.
        engine: for the message.

    Raises:
        InputError: there is none like it.
    """
    last = written.rstrip("/").rsplit("/", 1)[-1]
    for name, spec in catalog.models.items():
        if written.casefold() in (spec.hf_id.casefold(), name.casefold()):
            return _of(name, written, f"{spec.hf_id} in the catalogue", catalog)
    plain = _plain(last)
    for name, spec in catalog.models.items():
        if plain in (_plain(spec.hf_id.rsplit("/", 1)[-1]), _plain(name)):
            how = f"{written}, taken to be built as {spec.hf_id}"
            return _of(name, last, how, catalog)
    ids = {spec.hf_id.rsplit("/", 1)[-1]: spec.hf_id for spec in catalog.models.values()}
    hint = nearest(last, ids)
    known = f"; did you mean {ids[hint]}?" if hint else ""
    raise InputError(
        f"factory import {engine}: {written} is no model of the catalogue{known}\n"
        "Give its architecture: download config.json from its page on Hugging Face and add\n"
        "  --hf-config PATH/config.json\n"
        "which writes model: {hf_config: PATH/config.json, name: NAME}. "
        "`factory catalog models` lists what ships."
    )


def read_model(file: Path, written: str) -> Model:
    """The model that a Hugging Face ``config.json`` describes.

    Args:
        file: the config.
        written: the model as the command names it; gives the scenario's name for it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"is not JSON: {error}"
        raise InputError(f"--hf-config {file}: {reason}") from None
    if not isinstance(data, dict):
        raise InputError(f"--hf-config {file}: must hold one JSON object")
    try:
        fields = architecture_of(data)
    except ConfigError as wrong:
        raise InputError(f"--hf-config {file}: {wrong}") from None
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "-", written.rstrip("/").rsplit("/", 1)[-1]).lstrip("._-")
    return Model(
        name=(name or "model").lower(),
        how=f"--hf-config {file}",
        hf_config=str(file),
        experts=int(fields.get("experts", 0)),
        mtp_layers=int(fields.get("mtp_layers", 0)),
        is_mla=fields.get("attention") == "mla",
        max_context=int(fields["max_context"]),
        stored=_stored(written) or _configured(data) or "fp16",
        is_weight_only=fields.get("fp4_kind") in WEIGHT_ONLY,
        has_windows=_has_windows(
            int(fields.get("sliding_layers", 0)),
            int(fields["layers"]) - int(fields.get("linear_layers", 0)),
        ),
    )


def _of(name: str, written: str, how: str, catalog: Catalog) -> Model:
    spec = catalog.models[name]
    return Model(
        name=name,
        how=how,
        hf_config=None,
        experts=spec.experts,
        mtp_layers=spec.mtp_layers,
        is_mla=spec.attention == "mla",
        max_context=spec.max_context,
        stored=_stored(written) or NATIVE.get(name, "fp16"),
        is_weight_only=spec.fp4_kind in WEIGHT_ONLY,
        has_windows=_has_windows(spec.sliding_layers, spec.layers - spec.linear_layers),
    )


def _has_windows(sliding: int, attending: int) -> bool:
    return 0 < sliding < attending


def _plain(name: str) -> str:
    """A model's name without the words that say how it was tuned or stored."""
    text = name.casefold().removeprefix("meta-")
    while True:
        shorter = _VARIANT.sub("", text)
        if shorter == text:
            return text
        text = shorter


def _stored(name: str) -> str | None:
    """The format that a checkpoint's name states."""
    text = name.casefold()
    if "bf16" in text:
        return "fp16"
    return next((kind for kind, pattern in _FORMATS if pattern.search(text)), None)


def _configured(data: Mapping[str, Any]) -> str | None:
    """The format that a config's ``quantization_config`` states."""
    given = data.get("quantization_config") or {}
    method = str(given.get("quant_method", "")) + str(given.get("quant_algo", ""))
    return _stored(method) if method else None
