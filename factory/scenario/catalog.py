"""The catalogue: GPUs, systems, models and prices from ``configs/catalog``.

A number is written ``{value: 989, kind: published, source: …, date: …}``, or
``{value: 989, from: name}`` with the rest under ``sources``; plain values of a record that has a
``from`` of its own take theirs from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, get_args

from factory.errors import Problem, ScenarioError
from factory.scenario.document import Document, join, read
from factory.scenario.kernels import EngineSpec, KernelSpec, ProductSpec
from factory.scenario.nearest import nearest
from factory.scenario.resources import configs
from factory.scenario.specs import (
    Catalog,
    GpuSpec,
    Kind,
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
        document = read(content, f"configs/catalog/{stem}.yaml")
        self._document: Document = document
        self._problems = list(document.problems)
        data = document.data if isinstance(document.data, dict) else {}
        self._section = "price_books" if stem == "prices" else stem
        records = data.get(self._section)
        self._records: dict[str, Any] = records if isinstance(records, dict) else {}
        if not self._records:
            self._problem("", f"must hold records under {self._section}")
        self._sources = {
            name: self._provenance(given, join("sources", name))
            for name, given in (data.get("sources") or {}).items()
        }

    def specs(self, kind: type[_Spec], absent: Mapping[str, Any]) -> Mapping[str, _Spec]:
        """Every record as a ``kind``; ``absent`` gives the fields that may be left out."""
        names = {field.name for field in dataclasses.fields(kind)} - {"name", "provenance"}
        found = {}
        for name, record in self._records.items():
            path = join(self._section, name)
            values: dict[str, Any] = dict(absent)
            provenance: dict[str, Provenance] = {}
            inherited = self._inherited(record, path)
            for key, given in record.items():
                if key == "from":
                    continue
                if key not in names:
                    self._problem(join(path, key), "unknown field", hint=nearest(key, names))
                    continue
                value, source = self._number(given, join(path, key), inherited)
                values[key] = tuple(value) if isinstance(value, list) else value
                if source is not None:
                    provenance[key] = source
            for key in sorted(names - values.keys()):
                self._problem(join(path, key), "is missing")
            if not self._problems:
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
                value, source = self._number(given, f"{path}.usd_per_gpu_hour.{system}", None)
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

    def _inherited(self, record: Mapping[str, Any], path: str) -> Provenance | None:
        return self._source(record["from"], join(path, "from")) if "from" in record else None

    def _number(
        self, given: Any, path: str, inherited: Provenance | None
    ) -> tuple[Any, Provenance | None]:
        """A value and where it comes from; words need no source, numbers do."""
        if not isinstance(given, dict):
            if inherited is None and isinstance(given, int | float):
                self._problem(path, "a number needs a source: {value: …, from: …}")
            return given, inherited
        if "value" not in given:
            self._problem(path, "has no value")
        if "from" in given:
            return given.get("value"), self._source(given["from"], path)
        return given.get("value"), self._provenance(given, path)

    def _source(self, name: str, path: str) -> Provenance | None:
        if name not in self._sources:
            self._problem(path, f'unknown source "{name}"', hint=nearest(name, self._sources))
        return self._sources.get(name)

    def _provenance(self, given: Mapping[str, Any], path: str) -> Provenance:
        if given.get("kind") not in get_args(Kind):
            self._problem(join(path, "kind"), f"must be one of {', '.join(get_args(Kind))}")
        for key in ("source", "date"):
            if not given.get(key):
                self._problem(join(path, key), "is missing")
        return Provenance(
            given.get("kind", "assumed"), str(given.get("source")), str(given.get("date"))
        )

    def _problem(self, path: str, message: str, hint: str | None = None) -> None:
        place = self._document.locations.of(path)
        self._problems.append(Problem(path, message, nearest=hint, location=place))

    def _raise(self) -> None:
        if self._problems:
            raise ScenarioError(self._problems)
