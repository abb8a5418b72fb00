"""Small tables of step times, as files and as scenarios that use them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any


def decode_ms(batch: int, context: int) -> float:
    """Not linear in either, but rising."""
    return 4.0 + 0.3 * batch**0.7 + 1e-4 * batch * context**0.95


def prefill_ms(batch: int, new: int, cached: int = 0) -> float:
    """Prompts take a fixed time, one per token and one per query-key pair."""
    pairs = batch * (new * cached + new * (new + 1) / 2)
    return 6.0 + 0.04 * batch * new + 2e-6 * pairs


def lines(
    most_batch: int = 16, most_context: int = 4096, phases: tuple[str, ...] = ("decode", "prefill")
) -> list[str]:
    """A table as lines of CSV."""
    made = ["phase,batch,context,milliseconds"]
    contexts = [2**power for power in range(5, int(math.log2(most_context)) + 1)]
    if "decode" in phases:
        batches = [2**power for power in range(int(math.log2(most_batch)) + 1)]
        made += [f"decode,{b},{c},{decode_ms(b, c)}" for b in batches for c in contexts]
    if "prefill" in phases:
        made += [f"prefill,1,{c},{prefill_ms(1, c)}" for c in contexts]
    return made


def table(folder: Path, text: list[str] | None = None) -> Path:
    """A table as a file."""
    path = folder / "steps.csv"
    path.write_text("\n".join(text or lines()) + "\n", encoding="utf-8")
    return path


def scenario(path: str, **engine: Any) -> dict[str, Any]:
    """A closed loop on two ranks in lock-step, with prompts in chunks beside decode."""
    step_model = {"kind": "table", "path": path, **engine.pop("step_model", {})}
    limits = {
        "max_num_seqs": 8,
        "max_num_batched_tokens": 128,
        "max_model_len": 4096,
        "kv_capacity_tokens": 16384,
        **engine,
    }
    pool = {
        "name": "p",
        "role": "aggregated",
        "racks": "r",
        "replicas": 1,
        "parallel": {"dp": 2},
        "engine": {**limits, "step_model": step_model},
    }
    return {
        "name": "measured",
        "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
        "deployments": [{"name": "d", "model": "llama-3.1-8b", "block_size": 16, "pools": [pool]}],
        "workload": {
            "tenants": [
                {
                    "name": "t",
                    "load": {"concurrency": 12},
                    "input_tokens": {"distribution": "uniform", "min": 20, "max": 900},
                    "output_tokens": {"distribution": "uniform", "min": 1, "max": 120},
                    "shared_prefix": {"tokens": 64, "count": 2},
                }
            ]
        },
        "prices": {"usd_per_gpu_hour": {"hgx-h100": 2.0}},
        "run": {"requests": 60, "window_s": 5},
    }
