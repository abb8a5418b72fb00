"""The catalogue: hardware, models, prices, kernels and engines from ``configs/catalog``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from factory.errors import ScenarioError
from factory.scenario.document import join, read
from factory.scenario.kernels import EngineSpec, KernelSpec, ProductSpec
from factory.scenario.resources import configs
from factory.scenario.sourced import Sourced
from factory.scenario.specs import (
    Catalog,
    GpuSpec,
    ModelSpec,
    PriceBook,
    Provenance,
    SystemSpec,
)

_Spec = TypeVar("_Spec", GpuSpec, SystemSpec, ModelSpec, ProductSpec, KernelSpec, EngineSpec)

_ABSENT_GPU = {"fp8_tflops", "fp4_tflops", "fp8_sparse_tflops", "fp4_sparse_tflops"}
ABSENT_MODEL: Mapping[str, Any] = {
    **dict.fromkeys(
        (
            "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "dense_layers",
            "dense_intermediate", "moe_intermediate", "experts", "experts_per_token",
            "shared_experts", "sliding_window", "sliding_layers", "mtp_layers", "linear_layers",
            "linear_key_heads", "linear_value_heads", "linear_key_head_dim",
            "linear_value_head_dim", "linear_conv_kernel", "linear_state_bytes", "router_bytes",
            "fp8_block", "fp8_scale_bytes",
        ),
        0,
    ),
    **dict.fromkeys(
        (
            "qkv_bias", "output_bias", "attention_sinks", "attention_gate", "router_bias",
            "router_correction", "expert_bias", "shared_expert_gate",
        ),
        False,
    ),
    "qk_norm": "none",
    "fp8_excluded": (),
    "fp4_excluded": (),
}  # fmt: skip
"""Fields of a model that a record may leave out, and what their absence means."""


@cache
def catalog() -> Catalog:
    """The shipped catalogue, read once.

    Raises:
        ScenarioError: a file of the catalogue is damaged.
    """
    return Catalog(
        gpus=_File("gpus").specs(GpuSpec, dict.fromkeys(_ABSENT_GPU, None)),
        systems=_File("systems").specs(SystemSpec, {}),
        models=_File("models").specs(ModelSpec, ABSENT_MODEL),
        price_books=_File("prices").price_books(),
        products=_File("products").specs(ProductSpec, {}),
        kernels=_File("kernels").specs(KernelSpec, {}),
        engines=_File("engines").specs(EngineSpec, {}),
    )


class _File:
    """One catalogue file while it is read."""

    def __init__(self, stem: str, content: bytes | None = None) -> None:
        if content is None:
            content = (configs() / "catalog" / f"{stem}.yaml").read_bytes()
        self._sourced = Sourced(read(content, f"configs/catalog/{stem}.yaml"))
        self._section = "price_books" if stem == "prices" else stem
        records = self._sourced.data.get(self._section)
        self._records: dict[str, Any] = records if isinstance(records, dict) else {}
        if not self._records:
            self._sourced.problem("", f"must hold records under {self._section}")

    def specs(self, kind: type[_Spec], absent: Mapping[str, Any]) -> Mapping[str, _Spec]:
        """Every record as a ``kind``; ``absent`` gives the fields that may be left out."""
        fields = dataclasses.fields(kind)
        names = [field.name for field in fields if field.name not in ("name", "provenance")]
        found = {}
        for name, record in self._records.items():
            path = join(self._section, name)
            values: dict[str, Any] = dict(absent)
            provenance: dict[str, Provenance] = {}
            inherited = self._sourced.inherited(record, path)
            for key, given in record.items():
                if key == "from":
                    continue
                if key not in names:
                    self._sourced.unknown_field(path, key, names)
                    continue
                value, source = self._sourced.number(given, join(path, key), inherited)
                values[key] = tuple(value) if isinstance(value, list) else value
                if source is not None:
                    provenance[key] = source
            for key in names:
                if key not in values:
                    self._sourced.problem(join(path, key), "is missing")
            if not self._sourced.problems:
                found[name] = kind(name=name, provenance=provenance, **values)
        self._raise()
        return found

    def price_books(self) -> Mapping[str, PriceBook]:
        """Every record as a price book."""
        books = {}
        for name, record in self._records.items():
            path = join(self._section, name)
            prices: dict[str, float] = {}
            provenance: dict[str, Provenance] = {}
            for system, given in record["usd_per_gpu_hour"].items():
                place = f"{path}.usd_per_gpu_hour.{system}"
                value, source = self._sourced.number(given, place, None)
                prices[system] = value
                if source is not None:
                    provenance[system] = source
            books[name] = PriceBook(
                name=name,
                date=str(record["date"]),
                currency=record["currency"],
                covers=tuple(record["covers"]),
                usd_per_gpu_hour=prices,
                provenance=provenance,
            )
        self._raise()
        return books

    def _raise(self) -> None:
        if self._sourced.problems:
            raise ScenarioError(self._sourced.problems)
