"""Names that measurements use for systems, models and formats, as the catalogue calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from factory.scenario.nearest import nearest
from factory.validation.rows import NotPredictableError

if TYPE_CHECKING:
    from factory.performance.architecture import Format
    from factory.scenario import Catalog, ModelSpec, SystemSpec

SYSTEMS: Mapping[str, str] = {
    "a100": "hgx-a100",
    "h100": "hgx-h100",
    "h200": "hgx-h200",
    "b200": "hgx-b200",
    "b300": "hgx-b300",
    "gb200": "gb200-nvl72",
    "gb300": "gb300-nvl72",
    "mi300x": "mi300x",
    "mi355x": "mi355x",
}
"""AIConfigurator's and InferenceX's names, without ``_sxm``."""

MODELS: Mapping[str, str] = {
    "dsr1": "deepseek-ai/DeepSeek-R1",
    "nvidia/DeepSeek-V3.1-NVFP4": "deepseek-ai/DeepSeek-V3",
    "deepseek-ai/DeepSeek-V3.1": "deepseek-ai/DeepSeek-V3",
}
"""Checkpoints of the same architecture, and InferenceX's short name, by Hugging Face id."""

_TUNED = re.compile(
    r"-(?:instruct|base|hf|fp8|fp4|nvfp4|mxfp4|bf16|dynamic|static-pertensor|v0\.\d|\d{4})$"
)

NVFP4_MODELS: Mapping[str, str] = {"moonshotai/Kimi-K2.5": "moonshotai/Kimi-K2-Instruct"}
"""Models of the same architecture whose 4-bit checkpoint is NVFP4, as measured: NVIDIA's of
Kimi-K2.5, where the maker's own is INT4."""

WEIGHTS: Mapping[str, Format] = {
    "bf16": "fp16",
    "fp16": "fp16",
    "fp8": "fp8",
    "fp8_block": "fp8",
    "fp4": "fp4",
    "nvfp4": "fp4",
    "mxfp4": "fp4",
}


def system_of(name: str, catalog: Catalog) -> SystemSpec:
    """The system that a file means.

    Raises:
        NotPredictableError: The catalogue has none of that name; names the nearest.
    """
    short = name.removesuffix("_sxm").lower()
    for known in (name, SYSTEMS.get(short, ""), f"hgx-{short}"):
        if known in catalog.systems:
            return catalog.systems[known]
    spelled = [known for known, system in SYSTEMS.items() if system in catalog.systems]
    raise _unknown("system", name, (*spelled, *catalog.systems))


def model_of(name: str, catalog: Catalog) -> ModelSpec:
    """The model that a file means: a name of the catalogue, or a Hugging Face id.

    Raises:
        NotPredictableError: The catalogue has none of that name; names the nearest.
    """
    if name in catalog.models:
        return catalog.models[name]
    meant = _bare(MODELS.get(name, name))
    if meant in catalog.models:
        return catalog.models[meant]
    for model in catalog.models.values():
        if _bare(model.hf_id) == meant:
            return model
    ids = [model.hf_id for model in catalog.models.values()]
    raise _unknown("model", name, (*MODELS, *ids, *catalog.models))


def weights_of(name: str) -> Format:
    """The format of the weights.

    Raises:
        NotPredictableError: It is not a known one.
    """
    if name.lower() not in WEIGHTS:
        raise _unknown("number format", name, WEIGHTS)
    return WEIGHTS[name.lower()]


def _bare(hf_id: str) -> str:
    """An id without what spellings and checkpoints of one architecture differ in.

    That is case, the owner, ``Meta-``, and what says how it was tuned, quantised or packaged.
    """
    name = hf_id.casefold().rsplit("/", 1)[-1].removeprefix("meta-")
    while (shorter := _TUNED.sub("", name)) != name:
        name = shorter
    return name


def _unknown(what: str, name: str, known: Iterable[str]) -> NotPredictableError:
    close = nearest(name, known)
    hint = f" (nearest: {close})" if close else ""
    return NotPredictableError(f'unknown {what} "{name}"{hint}')
