"""Small files of measurements, made by hand."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

STEP = {
    "system": "h200_sxm",
    "model": "meta-llama/Meta-Llama-3.1-8B",
    "quant": "fp8",
    "backend": "trtllm",
    "layout": "tp1dp1",
    "mode": "static_gen",
    "batch": "8.0",
    "isl": "1024",
    "metric": "decode_step_time",
    "value": "5.0",
    "unit": "ms",
}
INFERENCEX = {
    "config_id": "c1",
    "flag": "",
    "hardware": "h200",
    "framework": "sglang",
    "model": "dsr1",
    "precision": "fp8",
    "spec_method": "none",
    "disagg": "False",
    "prefill_num_workers": "0",
    "prefill_tp": "8",
    "prefill_ep": "1",
    "prefill_dp_attention": "False",
    "decode_num_workers": "0",
    "decode_tp": "8",
    "decode_ep": "1",
    "decode_dp_attention": "False",
    "num_prefill_gpu": "8",
    "num_decode_gpu": "8",
    "gpus_fixed": "8",
    "isl": "256",
    "osl": "32",
    "conc": "2",
    "date": "2026-01-15",
    "tput_per_gpu": "100.0",
    "median_tpot": "0.012",
    "median_ttft": "0.1",
}
SPLIT = {
    **INFERENCEX,
    "config_id": "c2",
    "framework": "dynamo-trt",
    "hardware": "gb200",
    "precision": "fp4",
    "disagg": "True",
    "prefill_num_workers": "1",
    "prefill_tp": "4",
    "prefill_ep": "4",
    "prefill_dp_attention": "True",
    "decode_num_workers": "2",
    "decode_tp": "8",
    "decode_ep": "8",
    "num_prefill_gpu": "4",
    "num_decode_gpu": "16",
    "gpus_fixed": "20",
}
SILICON = {
    "id": "one",
    "backend": "sglang",
    "model_path": "deepseek-ai/DeepSeek-V3",
    "system": "h200_sxm",
    "precision": "fp8",
    "mode": "agg",
    "isl": "256",
    "osl": "32",
    "tp_size": "8.0",
    "attention_dp_size": "1.0",
    "moe_tp_size": "8.0",
    "moe_ep_size": "1.0",
    "conc": "2.0",
    "date": "2026-01-15",
    "image": "",
    "gpus": "8.0",
    "silicon_ttft_ms": "100",
    "silicon_tpot_ms": "12",
    "tot_tput_gpu": "50",
}


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Writes rows under the columns of the first."""
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file."""
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
