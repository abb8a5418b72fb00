from __future__ import annotations

from pathlib import Path

import pytest
from measured import INFERENCEX, SILICON, SPLIT, write_csv

from factory.errors import InputError
from factory.performance import Layout
from factory.validation import launch, rows, serving_rows
from factory.validation.benchmark import Benchmark
from factory.validation.launch import Launch
from factory.validation.profiles import profile_of
from factory.validation.rows import NotPredictableError
from factory.validation.serving_rows import Drafting


def benchmark(tmp_path: Path, row: dict[str, str], drafting: Drafting | None = None) -> Benchmark:
    table = rows.read(write_csv(tmp_path / "m.csv", [row]))
    kind = serving_rows.kind_of(table)
    return kind.benchmark(table.rows[0], drafting or Drafting())


def test_an_aggregated_row(tmp_path: Path) -> None:
    found = benchmark(tmp_path, INFERENCEX)
    (side,) = found.sides
    assert (found.system, found.model, found.weights) == ("hgx-h200", "deepseek-r1", "fp8")
    assert found.kv_cache == "fp16"  # SGLang on Hopper asks for no other
    assert (side.role, side.replicas, side.layout) == ("aggregated", 1, Layout(tp=8))
    assert found.gpus == 8
    assert found.acceptance == ()


def test_with_dp_attention_tp_counts_ranks(tmp_path: Path) -> None:
    changed = {"decode_dp_attention": "True", "decode_ep": "8"}
    (side,) = benchmark(tmp_path, {**INFERENCEX, **changed}).sides
    assert side.layout == Layout(dp=8, ep=8)


def test_a_disaggregated_row(tmp_path: Path) -> None:
    found = benchmark(tmp_path, SPLIT)
    prefill, decode = found.sides
    assert (prefill.role, prefill.replicas, prefill.layout) == ("prefill", 1, Layout(dp=4, ep=4))
    assert (decode.role, decode.replicas, decode.layout) == ("decode", 2, Layout(tp=8, ep=8))
    assert found.gpus == 20
    assert (found.weights, found.kv_cache) == ("fp4", "fp8")


def test_workers_that_leave_tp_at_one_run_wide(tmp_path: Path) -> None:
    wide = {
        "decode_num_workers": "1",
        "decode_tp": "1",
        "decode_ep": "1",
        "decode_dp_attention": "True",
    }
    _, decode = benchmark(tmp_path, {**SPLIT, **wide}).sides
    assert decode.layout == Layout(dp=16, ep=16)


@pytest.mark.parametrize(
    ("row", "change", "why"),
    [
        (SPLIT, {"decode_num_workers": "0"}, "contradicts itself: it lists no workers"),
        (SPLIT, {"gpus_fixed": "24"}, "its workers' GPUs are not its total"),
        (SPLIT, {"decode_tp": "4"}, "its workers' TP is not their share of GPUs"),
        (SPLIT, {"decode_ep": "3"}, "EP does not divide the GPUs of a worker"),
        (INFERENCEX, {"hardware": "h20"}, 'unknown system "h20"'),
        (INFERENCEX, {"model": "deepseek-r2"}, "(nearest: deepseek-r1)"),
        (INFERENCEX, {"framework": "sglng"}, 'unknown framework "sglng" (nearest: sglang)'),
        (INFERENCEX, {"spec_method": "eagle9"}, 'unknown spec_method "eagle9"'),
        (SILICON, {"mode": "both"}, 'unknown mode "both"'),
        (SILICON, {"moe_ep_size": "2"}, "its GPUs are not TP x EP"),
    ],
)
def test_rows_that_cannot_be_predicted(
    tmp_path: Path, row: dict[str, str], change: dict[str, str], why: str
) -> None:
    with pytest.raises(NotPredictableError) as raised:
        benchmark(tmp_path, {**row, **change})
    assert why in str(raised.value)


def test_drafting(tmp_path: Path) -> None:
    row = {**INFERENCEX, "spec_method": "mtp"}
    assert benchmark(tmp_path, row).acceptance == (0.72, 0.6)  # SGLang drafts two
    assert benchmark(tmp_path, row, Drafting(4)).acceptance == (0.72, 0.6, 0.5, 0.5)
    assert benchmark(tmp_path, row, Drafting(None, (0.9,))).acceptance == (0.9, 0.9)
    assert benchmark(tmp_path, {**row, "framework": "trt"}).acceptance == (0.72, 0.6, 0.5)


def test_silicon_rows_with_experts_in_parallel_are_products(tmp_path: Path) -> None:
    plain = benchmark(tmp_path, SILICON)
    assert plain.sides[0].layout == Layout(tp=8)
    product = {**SILICON, "tp_size": "64", "moe_ep_size": "8", "gpus": "64"}
    assert benchmark(tmp_path, product).sides[0].layout == Layout(tp=8, ep=8)
    ranks = {**product, "tp_size": "1", "attention_dp_size": "64"}
    assert benchmark(tmp_path, ranks).sides[0].layout == Layout(dp=8, ep=8)


def test_headers_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m.csv:1: the header is neither of a file of InferenceX"):
        serving_rows.kind_of(rows.read(write_csv(tmp_path / "m.csv", [{"a": "1"}])))
    lacking = {key: value for key, value in INFERENCEX.items() if key != "decode_tp"}
    with pytest.raises(InputError, match=r"InferenceX rows needs the columns decode_tp"):
        serving_rows.kind_of(rows.read(write_csv(tmp_path / "m.csv", [lacking])))


def asked(engine: str, **given: int) -> Launch:
    values = {"gpus": 8, "isl": 1024, "osl": 1024, "conc": 64, **given}
    return Launch(engine, "hgx-b200", "fp8", is_dp=False, **values)


def test_limits_of_launch_scripts() -> None:
    assert launch.aggregated(asked("trtllm")).max_num_batched_tokens == 8192
    # (64 + 8192 + 64) up to a multiple of 64
    assert launch.aggregated(asked("trtllm", isl=8192)).max_num_batched_tokens == 8320
    drafted = launch.aggregated(asked("trtllm", draft_tokens=3))
    assert (drafted.max_num_seqs, drafted.max_num_batched_tokens) == (64, 4 * 64 + 1024 + 64)
    assert launch.aggregated(asked("sglang")).max_num_batched_tokens == 32768
    assert launch.aggregated(asked("sglang", gpus=4)).max_num_seqs == 32


@pytest.mark.parametrize(
    ("conc", "replicas", "batch"),
    [(66, 3, 16), (450, 6, 64), (180, 5, 32), (6, 5, 1), (12, 4, 2048), (64, 3, 2048)],
)
def test_decode_batches_that_recipes_name(conc: int, replicas: int, batch: int) -> None:
    assert launch.decode(asked("trtllm", conc=conc), replicas).max_num_seqs == batch


def test_profiles_by_era() -> None:
    known = ["trtllm-2025-10", "trtllm-2026-01", "sglang-2025-12", "generic", "kernels"]
    assert profile_of("trt", "2025-12-05", known=known) == "trtllm-2025-10"
    assert profile_of("dynamo-trt", "2026-02-05", known=known) == "trtllm-2026-01"
    assert profile_of("sglang", "2025-11-01", known=known) == "sglang-2025-12"
    assert profile_of("vllm", "2026-04-01", known=known) == ""
    assert profile_of("", "2026-04-01", "lmsysorg/sglang:v0.5.9", known=known) == "sglang-2025-12"
