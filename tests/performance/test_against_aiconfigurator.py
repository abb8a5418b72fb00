"""Where the step model stands against AIConfigurator, as ceilings that may only come down."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from factory.performance import Layout, RankWork, RooflineStepModel
from factory.performance.memory import (
    FRAMEWORK_BYTES,
    activation_bytes_per_gpu,
    kv_bytes_per_token_per_gpu,
    weight_bytes_per_gpu,
)
from factory.scenario import catalog

DATA = Path(__file__).parents[3] / "shared" / "data" / "step_times"
SYSTEMS = {
    "h100_sxm": "hgx-h100",
    "h200_sxm": "hgx-h200",
    "b200_sxm": "hgx-b200",
    "gb200": "gb200-nvl72",
    "gb300": "gb300-nvl72",
}
MODELS = {
    "Qwen/Qwen3-32B-FP8": "qwen3-32b",
    "deepseek-ai/DeepSeek-V3": "deepseek-v3",
    "nvidia/DeepSeek-V3.1-NVFP4": "deepseek-v3",
    "meta-llama/Meta-Llama-3.1-8B": "llama-3.1-8b",
    "meta-llama/Meta-Llama-3.1-70B": "llama-3.1-70b",
    "openai/gpt-oss-120b": "gpt-oss-120b",
}
WEIGHTS = {"bf16": "fp16", "fp8": "fp8", "nvfp4": "fp4", "mxfp4": "fp4"}

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="measured step times are not beside this checkout (../shared/data)"
)


def rows(name: str) -> Iterator[tuple[dict[str, str], Layout, str, str]]:
    with (DATA / name).open(newline="") as lines:
        for row in csv.DictReader(lines):
            found = re.fullmatch(r"tp(\d+)dp(\d+)(?:etp\d+ep(\d+))?", row["layout"])
            if found is None:  # speculative decoding is not modelled
                continue
            layout = Layout(tp=int(found[1]), dp=int(found[2]), ep=int(found[3] or 1))
            kv_cache = "fp16" if row["quant"] in {"bf16", "mxfp4"} else "fp8"
            yield row, layout, WEIGHTS[row["quant"]], kv_cache


def test_step_times() -> None:
    systems, gpus, models = catalog().systems, catalog().gpus, catalog().models
    built: dict[tuple[object, ...], RooflineStepModel] = {}
    errors: dict[str, list[float]] = {"static_ctx": [], "static_gen": []}
    for row, layout, weights, kv_cache in rows("aic_step_times.csv"):
        key = (row["system"], row["model"], weights, layout)
        if key not in built:
            system = systems[SYSTEMS[row["system"]]]
            model = models[MODELS[row["model"]]]
            built[key] = RooflineStepModel(
                model,
                gpus[system.gpu],
                system,
                layout,
                weights,
                kv_cache,
                0.0,  # type: ignore[arg-type]
            )
        n, length = round(float(row["batch"])), int(row["isl"])
        if row["mode"] == "static_gen":
            work = RankWork(n, n * length, logit_rows=n)
        else:
            pairs = n * length * (length + 1) / 2
            work = RankWork(0, 0, n * length, pairs, 0.0, n * length, 0, n)
        predicted = built[key].plan([work] * layout.dp, 1.0, 1).base_s * 1e3
        errors[row["mode"]].append(abs(predicted / float(row["value"]) - 1.0))
    assert median(errors["static_gen"]) <= 0.13
    assert median(errors["static_ctx"]) <= 0.16


def test_memory() -> None:
    models = catalog().models
    errors = []
    for row, layout, weights, kv_cache in rows("aic_memory.csv"):
        model = models[MODELS[row["model"]]]
        batch, length = float(row["batch"]), int(row["isl"])
        tokens = round(batch * length if row["mode"] == "static_ctx" else batch)
        held = weight_bytes_per_gpu(model, layout, weights)  # type: ignore[arg-type]
        kv = kv_bytes_per_token_per_gpu(model, layout, kv_cache) * batch * length  # type: ignore[arg-type]
        held += kv + activation_bytes_per_gpu(model, layout, tokens) + FRAMEWORK_BYTES
        errors.append(abs(held / 2**30 / float(row["value"]) - 1.0))
    assert median(errors) <= 0.05
