"""Rows of measured power as things to predict: what ran, from the configuration alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from factory.performance import Layout
from factory.scenario import Catalog, catalog
from factory.scenario.nearest import nearest
from factory.validation.names import model_of, system_of, weights_of
from factory.validation.power_bench import DEFAULT_DATASET, LENGTHS, Lengths
from factory.validation.rows import NotPredictableError, Row

if TYPE_CHECKING:
    from factory.performance.architecture import Format

COLUMNS = ("gpu", "model", "tp", "batch", "metric", "value", "unit", "source")

SERVING: Mapping[str, str] = {
    "gpu_power_avg": "W/gpu",
    "gpu_power_avg_derived": "W/gpu",
    "gpu_power_busy_plateau": "W/gpu",
    "energy_per_output_token": "J/tok",
    "output_tput_per_gpu": "tok/s/gpu",
    "itl_median": "ms",
}
"""Metrics of serving in steady state, and their units."""
REQUESTS: Mapping[str, str] = {"power_avg_frac_tdp": "frac", "power_peak_frac_tdp": "frac"}
"""Metrics of one batch of requests, run from its prompts to its last token."""
IDLE: Mapping[str, str] = {
    "gpu_power_idle_loaded": "W/gpu",
    "gpu_power_idle_context": "W/gpu",
    "gpu_power_idle_bare": "W/gpu",
    "gpu_power_idle": "W/gpu",
}
KERNELS: Mapping[str, str] = {"kernel_power_p50": "W/gpu", "kernel_power_p90": "W/gpu"}
METRICS: Mapping[str, str] = {**SERVING, **REQUESTS, **IDLE, **KERNELS}

_A100 = {
    "a100": ("a100-sxm-80gb", "hgx-a100"),
    "a100-80gb": ("a100-sxm-80gb", "hgx-a100"),
    "a100-40gb": ("a100-sxm-40gb", "hgx-a100"),
}
_ALIASES: Mapping[str, str] = {
    "llama-3.3-70b-instruct": "llama-3.1-70b",
    "deepseek-r1-distill-70b": "llama-3.1-70b",
    "deepseek-r1-distill-8b": "llama-3.1-8b",
    "llama-3-8b": "llama-3.1-8b",
    "llama-3-70b": "llama-3.1-70b",
    "llama-3-405b": "llama-3.1-405b",
    "llama2-70b": "llama-2-70b",
    "qwen3-coder-30b-a3b-instruct": "qwen3-30b-a3b",
    "gemma-3-12b-it": "gemma-3-12b",
    "gemma-3-27b-it": "gemma-3-27b",
}
"""Models of the same architecture under another name, without owner, year or format."""
_PLATEAU_BATCH = 64
"""Running sequences on a plateau of powertrace-sim, whose rows state none (assumed)."""

_V3 = re.compile(
    r"mlenergy-v3/(?P<dataset>[\w.-]+)/ngpu(?P<gpus>\d+)/ep(?P<ep>\d+)/dp(?P<dp>\d+)/(?P<format>\w+)"
)
_V2 = re.compile(r"mlenergy-v2/(?P<dataset>[\w.-]+)/ngpu(?P<gpus>\d+)/pp(?P<pp>\d+)")
_SPLITWISE = re.compile(r"splitwise-sim/.*/prompt(?P<prompt>\d+)/out(?P<answer>\d+)")


@dataclass(frozen=True, slots=True)
class Server:
    """What ran, as far as its step times depend on it.

    Attributes:
        gpu, system, model: Names in the catalogue.
        layout: Parallel layout.
        weights: Format of the weights; the KV cache is in 16 bits.
        era: The engine (see `factory.validation.power_bench.ERAS`).
        contended: Whether its host is shared by many servers.
    """

    gpu: str
    system: str
    model: str
    layout: Layout
    weights: Format
    era: str
    contended: bool = False


@dataclass(frozen=True, slots=True)
class PowerCase:
    """One measured point.

    Attributes:
        kind: serving (a steady state), request (a batch from start to end), idle, or kernel.
        metric: What was measured.
        gpu: Name in the catalogue.
        dataset: Whose requests; for the groups of a report.
        server: What ran; None if nothing did.
        batch: Running sequences of the whole server; of a kernel its tokens or sequences.
        lengths: Of the requests; None if nothing ran.
        operator, stored: Of a kernel, as the file names them.
    """

    kind: Literal["serving", "request", "idle", "kernel"]
    metric: str
    gpu: str
    dataset: str
    server: Server | None = None
    batch: float = 0.0
    lengths: Lengths | None = None
    operator: str = ""
    stored: str = ""


def case_of(row: Row, book: Catalog | None = None) -> PowerCase:
    """What a row measured.

    Raises:
        NotPredictableError: It is nothing that we can predict.
        InputError: A cell cannot be read.
    """
    book = book or catalog()
    metric = row.text("metric")
    unit = METRICS.get(metric)
    if unit is None:
        close = nearest(metric, METRICS)
        hint = f" (nearest: {close})" if close else ""
        raise NotPredictableError(f'no prediction of metric "{metric}"{hint}')
    if row.text("unit") != unit:
        raise NotPredictableError(f'unit of {metric} is "{row.text("unit")}", must be {unit}')
    gpu, system = _gpu_of(row.text("gpu"), book)
    source = row.text("source")
    if metric in IDLE:
        return PowerCase("idle", metric, gpu, _origin(source))
    if metric in KERNELS:
        parts = row.text("model").split(":")
        if len(parts) != 3 or parts[0] != "op":
            raise NotPredictableError(f'"{row.text("model")}" is not of the form op:KERNEL:FORMAT')
        batch = row.positive("batch")
        return PowerCase("kernel", metric, gpu, "kernels", None, batch, None, parts[1], parts[2])
    if metric in REQUESTS:
        return _request(row, metric, gpu, system, book)
    return _serving(row, metric, gpu, system, book)


def _serving(row: Row, metric: str, gpu: str, system: str, book: Catalog) -> PowerCase:
    source, name = row.text("source"), row.text("model")
    model = power_model(name, book)
    plateau = metric == "gpu_power_busy_plateau"
    batch = float(_PLATEAU_BATCH) if plateau else row.positive("batch")
    if found := _V3.match(source):
        dataset, gpus = found["dataset"], int(found["gpus"])
        dp, ep, weights = int(found["dp"]), int(found["ep"]), weights_named(found["format"])
        # TP is what experts' parallelism lies over: the file's own column says 1 where EP is on.
        layout = _layout(gpus // dp, 1, dp, ep, gpus)
        era = "vllm-0.11"
    elif found := _V2.match(source):
        dataset, gpus, pp = found["dataset"], int(found["gpus"]), int(found["pp"])
        layout, weights, era = (
            _layout(gpus // pp, pp, 1, 1, gpus),
            weights_named("bf16"),
            "vllm-0.5",
        )
    else:
        dataset = "azure" if plateau else DEFAULT_DATASET
        tp = row.whole("tp", 1) if row.text("tp") else 1
        layout, era = _layout(tp, 1, 1, 1, tp), "vllm-0.11"
        weights = weights_named("mxfp4" if model.startswith("gpt-oss") else "bf16")
    if dataset not in LENGTHS:
        raise NotPredictableError(f'unknown data set "{dataset}" (of {", ".join(LENGTHS)})')
    contended = (
        dataset == "gpqa"
        and book.gpus[gpu].generation == "blackwell"
        and layout.gpus == 1
        and weights != "fp4"
    )
    server = Server(gpu, system, model, layout, weights, era, contended)
    told = dataset if era != "vllm-0.5" else f"{dataset}-v2"
    return PowerCase("serving", metric, gpu, told, server, batch, LENGTHS[dataset])


def _request(row: Row, metric: str, gpu: str, system: str, book: Catalog) -> PowerCase:
    found = _SPLITWISE.match(row.text("source"))
    if found is None:
        raise NotPredictableError(f"lengths of the requests of {metric} are not stated")
    model = power_model(row.text("model"), book)
    tp = row.whole("tp", 1)
    server = Server(gpu, system, model, _layout(tp, 1, 1, 1, tp), "fp16", "generic")
    lengths = Lengths(int(found["prompt"]), int(found["answer"]))
    return PowerCase("request", metric, gpu, "splitwise", server, row.positive("batch"), lengths)


def power_model(name: str, book: Catalog) -> str:
    """The model of the catalogue that a row means.

    Raises:
        NotPredictableError: The catalogue has none of that name; names the nearest.
    """
    bare = name.casefold().rsplit("/", 1)[-1]
    if bare in _ALIASES:
        return book.models[_ALIASES[bare]].name
    return model_of(re.sub(r"-thinking(?=-|$)", "", name, flags=re.IGNORECASE), book).name


def weights_named(name: str) -> Format:
    """The format of the weights, as power rows spell it.

    Raises:
        NotPredictableError: It is not a known one.
    """
    return weights_of({"bfloat16": "bf16", "float16": "fp16"}.get(name.lower(), name))


def family_of(model: str) -> str:
    """What a model's kin is called: the first word of its name."""
    bare = model.casefold().rsplit("/", 1)[-1].removeprefix("meta-").removeprefix("nvidia-")
    if bare.startswith(("op:", "gpt-oss")):
        return bare if bare.startswith("op:") else "gpt-oss"
    return re.split(r"[-\s(]|(?<=[a-z])\d", bare, maxsplit=1)[0] or "none"


def _gpu_of(name: str, book: Catalog) -> tuple[str, str]:
    known = _A100.get(name.lower())
    if known is not None:
        return known
    system = system_of(name, book)
    return system.gpu, system.name


def _layout(tp: int, pp: int, dp: int, ep: int, gpus: int) -> Layout:
    if tp * pp * dp != gpus or tp < 1 or (tp * dp) % max(ep, 1):
        raise NotPredictableError("contradicts itself: its parallel degrees are not its GPUs")
    return Layout(tp=tp, pp=pp, dp=dp, ep=ep)


def _origin(source: str) -> str:
    return re.split(r"[/\s]", source, maxsplit=1)[0]
