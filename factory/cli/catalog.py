"""``factory catalog``: what ships, and where each number was read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from factory.cli.output import print_columns
from factory.errors import InputError
from factory.scenario import Catalog, ModelSpec, SystemSpec, catalog, shipped
from factory.scenario.series import shapes
from factory.scenario.workloads import shipped_workloads

_COLUMNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "gpus": (
        ("generation", "generation"),
        ("FP8 TFLOPS", "fp8_tflops"),
        ("FP4 TFLOPS", "fp4_tflops"),
        ("HBM GB", "hbm_gb"),
        ("HBM TB/s", "hbm_tb_s"),
        ("TDP W", "tdp_w"),
    ),
    "systems": (
        ("GPU", "gpu"),
        ("scale-up", "scale_up"),
        ("of GPUs", "nvlink_domain_gpus"),
        ("per rack", "gpus_per_rack"),
        ("IT kW/GPU", "design_it_kw_per_gpu"),
        ("PUE", "design_pue"),
    ),
    "models": (
        ("layers", "layers"),
        ("hidden", "hidden"),
        ("attention", "attention"),
        ("linear", "linear_layers"),
        ("experts", "experts"),
        ("per token", "experts_per_token"),
        ("MTP", "mtp_layers"),
        ("4-bit", "fp4_kind"),
        ("context", "max_context"),
    ),
    "prices": (("date", "date"), ("USD per GPU-hour", "usd_per_gpu_hour")),
    "engines": (
        ("step ms", "step_overhead_ms"),
        ("layer us", "layer_overhead_us"),
        ("sequence us", "sequence_overhead_us"),
        ("request ms", "request_overhead_ms"),
        ("kernels x", "kernel_time"),
        ("experts x", "expert_time"),
        ("decode attention x", "decode_attention_time"),
    ),
    "kernels": (
        ("decode memory", "decode_memory"),
        ("decode compute", "decode_compute"),
        ("prefill compute", "prefill_compute"),
        ("link", "link"),
        ("reduce us", "reduce_launch_us"),
        ("exchange", "exchange"),
        ("exchange us", "exchange_launch_us"),
    ),
    "products": (
        ("compute", "compute"),
        ("memory", "memory"),
        ("launch us", "launch_us"),
        ("experts compute", "experts_compute"),
        ("experts memory", "experts_memory"),
        ("experts us", "experts_launch_us"),
    ),
}

_FITTED = ("engines", "kernels", "products")
"""Kinds whose numbers are fitted, or assumed to be as others: their tables say which."""


def show_catalog(kind: str | None, name: str | None) -> None:
    """Print one kind of entry, one entry with the source of each number, or the names of all.

    Args:
        kind: gpus, systems, models, prices, engines, kernels, products, scenarios,
            workloads or series; None for the names of all.
        name: One entry of that kind.

    Raises:
        InputError: No entry has that name.
    """
    if kind is None:
        for each in ("scenarios", "workloads", "series", *_COLUMNS):
            print(f"{each + ':':<11}{', '.join(_names(each))}")
        return
    if name is not None and name not in _names(kind):
        raise InputError(_unknown(kind, name))
    if kind == "scenarios":
        _show_scenarios(name)
    elif kind == "workloads":
        from factory.cli.catalog_workloads import show_workloads

        show_workloads(name)
    elif kind == "series":
        from factory.cli.catalog_series import show_series

        show_series(name)
    elif name is None:
        _print_table(kind)
    else:
        _print_entry(_entries(catalog(), kind)[name])


def _entries(book: Catalog, kind: str) -> Mapping[str, Any]:
    """The entries of a kind by name."""
    homes: Mapping[str, Mapping[str, Any]] = {
        "gpus": book.gpus,
        "systems": book.systems,
        "models": book.models,
        "prices": book.price_books,
        "engines": book.engines,
        "kernels": book.kernels,
        "products": book.products,
    }
    return homes[kind]


def _names(kind: str) -> list[str]:
    if kind == "scenarios":
        return shipped()
    if kind == "series":
        return shapes()
    return shipped_workloads() if kind == "workloads" else list(_entries(catalog(), kind))


def _unknown(kind: str, name: str) -> str:
    from difflib import get_close_matches

    names = _names(kind)
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"factory catalog {kind}: no {name!r} (allowed: {', '.join(names)}{hint})"


def _print_table(kind: str) -> None:
    """A line for each entry, its main numbers in columns."""
    head = ["name", *(title for title, _ in _COLUMNS[kind])]
    entries = _entries(catalog(), kind)
    rows = [
        [name, *(_marked(entry, field) for _, field in _COLUMNS[kind])]
        for name, entry in entries.items()
    ]
    if kind in _FITTED:
        head.append("kind")
        for row, entry in zip(rows, entries.values(), strict=True):
            kinds = dict.fromkeys(_origin(entry, field)[0] for _, field in _COLUMNS[kind])
            row.append(", ".join(kinds))
    print_columns(head, rows)


def _print_entry(entry: Any) -> None:
    """Every field of an entry, with the kind, source and date of each number."""
    rows = []
    for field in dataclasses.fields(entry):
        value = getattr(entry, field.name)
        if field.name == "provenance" or _is_absent(entry, value):
            continue
        if isinstance(value, Mapping):
            rows += [[key, _words(item), *_origin(entry, key)] for key, item in value.items()]
        else:
            rows.append([field.name, _words(value), *_origin(entry, field.name)])
    if isinstance(entry, ModelSpec):
        rows += _computed(entry)
    if isinstance(entry, SystemSpec):
        rows += _rack_power(entry)
    print_columns(["field", "value", "kind", "source, date"], rows)


def _is_absent(entry: Any, value: object) -> bool:
    """Whether a model does not have the part that a field describes."""
    return isinstance(entry, ModelSpec) and value in (0, (), "none")


def _computed(model: ModelSpec) -> list[list[str]]:
    """Bytes that follow from the architecture."""
    from factory.performance import architecture as arch

    formats: tuple[arch.Format, ...] = ("fp16", "fp8", "fp4")
    sizes = [(f"weights in {each}, bytes", arch.weight_bytes(model, each)) for each in formats]
    if model.mtp_layers:
        sizes += [(f"MTP in {each}, bytes", arch.mtp_bytes(model, each)) for each in formats]
    for each in formats[:2]:
        sizes.append((f"KV per token in {each}, bytes", arch.kv_bytes_per_token(model, each)))
    if model.linear_layers:
        sizes.append(("state per sequence, bytes", arch.state_bytes_per_sequence(model)))
    return [[name, f"{size:,.0f}", "computed", "from the fields above"] for name, size in sizes]


def _rack_power(system: SystemSpec) -> list[list[str]]:
    """IT power of a rack, and what its power supplies make of it."""
    from factory.power.rack import psu_efficiency, rack_w

    gpu, gpus = catalog().gpus[system.gpu], system.gpus_per_rack
    draws = {
        "idle, bare": gpu.idle_bare_w,
        "idle, model loaded": gpu.idle_loaded_w,
        "GPUs at half TDP": gpu.tdp_w / 2,
        "GPUs at TDP": gpu.tdp_w,
    }
    rows = []
    for name, gpu_w in draws.items():
        efficiency = psu_efficiency(system, gpus, gpus * gpu_w)
        said = f"from the fields above; power supplies at {efficiency:.1%}"
        rows.append([f"rack, {name}, kW", f"{rack_w(system, gpu_w) / 1e3:.1f}", "computed", said])
    return rows


def _origin(entry: Any, field: str) -> tuple[str, str]:
    found = entry.provenance.get(field)
    return ("", "") if found is None else (found.kind, f"{found.source}, {found.date}")


def _marked(entry: Any, field: str) -> str:
    """A value in words; numbers of a mapping that are assumed say so."""
    value = getattr(entry, field)
    if not isinstance(value, Mapping):
        return _words(value)
    kinds = {key: _origin(entry, key)[0] for key in value}
    return ", ".join(
        f"{key} {_words(item)}{' (assumed)' if kinds[key] == 'assumed' else ''}"
        for key, item in value.items()
    )


def _words(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _show_scenarios(name: str | None) -> None:
    """What each shipped scenario is about."""
    from factory.scenario import load

    names = shipped() if name is None else [name]
    print_columns(["name", "about"], [[each, load(each).description] for each in names])
