"""A finished run beside the output of a benchmark of a real cluster: AIPerf's or vLLM's.

Formats as documented in 2026-11: AIPerf's ``profile_export_aiperf.json`` (JSON Export Schema of its
reference: a block of ``unit, avg, p50, p90, p99, …`` per metric) and ``.csv``, and the JSON of
``vllm bench serve --save-result`` (``mean_ttft_ms``, ``median_ttft_ms``, ``p99_ttft_ms``, …).
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import InputError

LATENCIES = ("ttft", "itl", "e2e")
STATISTICS = ("mean", "p50", "p90", "p99")
THROUGHPUTS = ("output_throughput", "request_throughput")
UNITS = {
    **dict.fromkeys(LATENCIES, "ms"),
    "output_throughput": "tokens/s",
    "request_throughput": "requests/s",
}

_AIPERF = {
    "time_to_first_token": "ttft",
    "inter_token_latency": "itl",
    "request_latency": "e2e",
    "output_token_throughput": "output_throughput",
    "request_throughput": "request_throughput",
}
_STATISTIC_NAMES = {"avg": "mean", "mean": "mean", "p50": "p50", "p90": "p90", "p99": "p99"}
# vLLM's own `itl` is the gap between chunks; its `tpot` is what AIPerf and we call ITL.
_VLLM = {"ttft": "ttft", "tpot": "itl", "e2el": "e2e"}
_VLLM_RATES = {
    "output_throughput": "output_throughput",
    "request_throughput": "request_throughput",
}
_PER_MS = {"ms": 1.0, "s": 1e3, "sec": 1e3, "seconds": 1e3, "us": 1e-3, "ns": 1e-6}
_CSV_NAME = re.compile(r"(?P<name>[^(]+?)\s*(?:\((?P<unit>[^)]*)\))?\s*")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a benchmark reported.

    Attributes:
        source: What wrote the file.
        values: By metric and statistic, in the unit of `UNITS`; rates have the statistic "mean".
    """

    source: str
    values: Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, measured and simulated.

    Attributes:
        metric, statistic, unit: Which.
        measured, simulated: Its values.
        error: ``simulated / measured - 1``; None where nothing was measured.
    """

    metric: str
    statistic: str
    unit: str
    measured: float
    simulated: float
    error: float | None


def read_benchmark(path: Path) -> Benchmark:
    """Reads the output of a benchmark, whichever of the known formats it has.

    Raises:
        InputError: It cannot be read, or has none of the fields of any known format.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read: {reason}") from None
    if path.suffix.lower() == ".csv":
        return _found(path, "AIPerf CSV", _aiperf_csv(path, text), ())
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise InputError(f"{place}: is not JSON: {error.msg}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must be one JSON object")
    records = data["records"] if isinstance(data.get("records"), dict) else data
    if any(name in records for name in _AIPERF if isinstance(records.get(name), dict)):
        return _found(path, "AIPerf", _aiperf(path, records), data)
    return _found(path, "vLLM bench", _vllm(path, data), data)


def _found(
    path: Path, source: str, values: Mapping[tuple[str, str], float], has: Iterable[str]
) -> Benchmark:
    """A benchmark with something in it.

    Raises:
        InputError: Nothing is.
    """
    if values:
        return Benchmark(source, values)
    given = ", ".join(list(has)[:12])
    told = f"; it has {given}" if given else ""
    raise InputError(
        f"{path}: no known field: AIPerf writes {', '.join(_AIPERF)}; vLLM bench mean_ttft_ms, "
        f"median_tpot_ms, output_throughput, …{told}"
    )


def _aiperf(path: Path, records: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    values = {}
    for name, metric in _AIPERF.items():
        block = records.get(name)
        if not isinstance(block, dict):
            continue
        for key, statistic in _STATISTIC_NAMES.items():
            if key in block and (metric in LATENCIES or statistic == "mean"):
                unit = str(block.get("unit", ""))
                values[metric, statistic] = _scaled(path, f"{name}.{key}", block[key], unit, metric)
    return values


def _aiperf_csv(path: Path, text: str) -> dict[tuple[str, str], float]:
    """Sections, each with a header that begins with ``Metric``."""
    values: dict[tuple[str, str], float] = {}
    head: list[str] = []
    for cells in csv.reader(text.splitlines()):
        if not cells or not cells[0].strip():
            continue
        if cells[0].strip() == "Metric":
            head = [cell.strip().lower() for cell in cells]
            continue
        found = _CSV_NAME.fullmatch(cells[0].strip())
        metric = _AIPERF.get(found["name"].strip().lower().replace(" ", "_")) if found else None
        if found is None or metric is None or not head:
            continue
        for key, cell in zip(head[1:], cells[1:], strict=False):
            statistic = "mean" if key == "value" else _STATISTIC_NAMES.get(key)
            if statistic is None or not cell.strip():
                continue
            if metric in LATENCIES or statistic == "mean":
                place = f"{found['name']}, {key}"
                unit = found["unit"] or ""
                values[metric, statistic] = _scaled(path, place, cell.strip(), unit, metric)
    return values


def _vllm(path: Path, data: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    values = {}
    for name, metric in _VLLM.items():
        for key, statistic in (
            (f"mean_{name}_ms", "mean"),
            (f"median_{name}_ms", "p50"),
            (f"p50_{name}_ms", "p50"),
            (f"p90_{name}_ms", "p90"),
            (f"p99_{name}_ms", "p99"),
        ):
            if data.get(key) is not None:
                values[metric, statistic] = _scaled(path, key, data[key], "ms", metric)
    for key, metric in _VLLM_RATES.items():
        if data.get(key) is not None:
            values[metric, "mean"] = _scaled(path, key, data[key], "", metric)
    return values


def _scaled(path: Path, place: str, given: object, unit: str, metric: str) -> float:
    """A value in the unit of its metric.

    Raises:
        InputError: It is no number, or its unit is not known.
    """
    try:
        value = float(given) if isinstance(given, int | float | str) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: {place}: must be a number, got {given!r}")
    if metric not in LATENCIES:
        return value
    if unit.lower() not in _PER_MS:
        raise InputError(f'{path}: {place}: unknown unit "{unit}" (of {", ".join(_PER_MS)})')
    return value * _PER_MS[unit.lower()]


def compare(run: Path, benchmark: Benchmark) -> list[Comparison]:
    """Every figure that a benchmark reported and a run has, too.

    Args:
        run: A finished run, or a directory of its tables.
        benchmark: From `read_benchmark`.

    Raises:
        InputError: The run's tables cannot be read.
    """
    simulated = simulated_values(run)
    rows = []
    for metric, unit in UNITS.items():
        for statistic in STATISTICS:
            measured = benchmark.values.get((metric, statistic))
            value = simulated.get((metric, statistic))
            if measured is not None and value is not None:
                error = value / measured - 1.0 if measured else None
                rows.append(Comparison(metric, statistic, unit, measured, value, error))
    return rows


def simulated_values(run: Path) -> dict[tuple[str, str], float]:
    """A run's figures as a benchmark would report them, over its measured interval.

    Raises:
        InputError: Its tables cannot be read.
    """
    from factory.economics import summarize

    summary = summarize(run)
    values = {}
    for metric in LATENCIES:
        for statistic in STATISTICS:
            value = summary["latency"][f"{metric}_ms"][statistic]
            if value is not None:
                values[metric, statistic] = float(value)
    rates = summary["throughput"]
    for metric, name in (
        ("output_throughput", "output_tokens_per_s"),
        ("request_throughput", "requests_per_s"),
    ):
        if rates[name] is not None:
            values[metric, "mean"] = float(rates[name])
    return values
