"""Files of the catalogue that the fits write: three digits, each record with its source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from factory.errors import InputError
from factory.scenario.kernels import EngineSpec, KernelSpec, ProductSpec

ASSUMED = {"ampere": "hopper", "cdna3": "hopper", "cdna4": "blackwell"}
"""GPU generations without measurements, and whose constants they are given."""

LAW_SOURCES = """\
sources:
  aic:
    kind: fitted
    source: "AIConfigurator 0.12 operator measurements (TensorRT-LLM 1.3.0rc20) and step times"
    date: 2026-11
  as-hopper: {kind: assumed, source: as fitted for hopper, date: 2026-11}
  as-blackwell: {kind: assumed, source: as fitted for blackwell, date: 2026-11}
"""

PRODUCTS_HEAD = f"""\
# Matrix products by GPU generation and storage of the weights: what fraction of the peaks they
# reach, and the constants of the laws in factory/scenario/kernels.py.

{LAW_SOURCES}"""

KERNELS_HEAD = f"""\
# Attention, element-wise kernels and collectives by GPU generation: the constants of the laws in
# factory/scenario/kernels.py.

{LAW_SOURCES}"""

ENGINES_HEAD = """\
# Serving engines of an era: what they make of the bare kernels. A profile is named after the month
# in which its era begins; `@generation` marks an entry for GPUs of that generation alone, whose
# kernels differ.

sources:
  kernels:
    kind: fitted
    source: "AIConfigurator 0.12 step times of the engine: bare kernels, power-law expert loads"
    date: 2026-11
  inferencex:
    kind: fitted
    source: "SemiAnalysis InferenceX, DeepSeek-R1, 2025-10 to 2026-06: all unflagged rows of the engine"
    date: 2026-11
  assumed: {kind: assumed, source: "CUDA graphs and asynchronous scheduling of 2025's engines", date: 2026-11}
"""  # noqa: E501


def write_products(directory: Path, records: Mapping[str, ProductSpec]) -> Path:
    """Writes ``products.yaml``; see `write`."""
    return write(directory, "products", PRODUCTS_HEAD, records, law_source)


def write_kernels(directory: Path, records: Mapping[str, KernelSpec]) -> Path:
    """Writes ``kernels.yaml``; see `write`."""
    return write(directory, "kernels", KERNELS_HEAD, records, law_source)


def write_engines(directory: Path, records: Mapping[str, EngineSpec]) -> Path:
    """Writes ``engines.yaml``; see `write`."""
    return write(directory, "engines", ENGINES_HEAD, records, engine_source)


def law_source(name: str) -> str:
    """Source of a record of products or kernels."""
    like = ASSUMED.get(name.partition("-")[0])
    return f"as-{like}" if like else "aic"


def engine_source(name: str) -> str:
    """Source of a record of engines."""
    if name.startswith("kernels"):
        return "kernels"
    return "assumed" if name == "generic" else "inferencex"


def write(
    directory: Path,
    section: str,
    head: str,
    records: Mapping[str, Any],
    source_of: Callable[[str], str],
) -> Path:
    """Writes one file of the catalogue.

    Args:
        directory: Where to; made if it is not there.
        section: Name of the file and of what it holds.
        head: What comes before the records.
        records: Specs by name.
        source_of: The source of a record, by its name.

    Returns:
        The file.

    Raises:
        InputError: It is there already, or cannot be written.
    """
    lines = [head, f"{section}:"]
    for name, spec in records.items():
        lines += [f"  {name}:", f"    from: {source_of(name)}"]
        for field in dataclasses.fields(spec):
            if field.name not in {"name", "provenance"}:
                lines.append(f"    {field.name}: {text_of(getattr(spec, field.name))}")
        lines.append("")
    path = directory / f"{section}.yaml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines).rstrip() + "\n")
    except FileExistsError:
        raise InputError(f"{path}: is there already; name another folder") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def text_of(value: float | str) -> str:
    """A value as the catalogue has it: three significant digits, whole numbers without a point."""
    if isinstance(value, str):
        return value
    rounded = float(f"{value:.3g}")
    return str(int(rounded)) if rounded == int(rounded) else repr(rounded)
