"""``factory trace cache-study`` on traces made by hand."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from factory.cli.app import app

runner = CliRunner()


def asked(*words: str | Path) -> Any:
    return runner.invoke(app, ["trace", "cache-study", *(str(word) for word in words)])


def test_one_worker_prints_a_row_for_each_capacity(trace: Path) -> None:
    result = asked(trace, "--capacity", "3,4,inf")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "mine.jsonl: 3 requests with 6 blocks of 512 tokens, 4 of them distinct (2.05k",
        "tokens: one cache needs no more)",
        "",
        "1 worker",
        "blocks  tokens  hit blocks  hit tokens",
        "     3   1.54k      16.67%      28.44%",  # 1 of 6 blocks, 512 of 1,800 tokens
        "     4   2.05k      33.33%      33.33%",
        "   inf     inf      33.33%      33.33%",
    ]


def test_several_workers_print_their_imbalance_within_80_columns(trace: Path) -> None:
    result = asked(
        trace, "--capacity", "2", "--workers", "1,2", "--router",
        "round_robin,kv_aware:overlap_weight=1.5:load_weight=0.5",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 workers\nrouter              blocks  tokens  hit blocks" in result.stdout
    # A and A to worker 0, which holds one block: 1 hit of 6; 4 of 6 blocks on one of two workers,
    # 3 of the 5 that were missed.
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("round_robin")]
    assert row.split() == ["round_robin", "2", "1.02k", "16.67%", "28.44%", "1.333", "1.200"]
    assert "kv_aware:overlap_…" in result.stdout
    assert "a request counts 10 s, its prefill 1 s" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_and_csv_say_the_same(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = asked(
        trace, "--capacity", "50%,2k,inf", "--unit", "tokens", "--workers", "2", "--router",
        "round_robin", "--out", out, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    found = json.loads(result.stdout)
    assert (found["requests"], found["prompt_blocks"], found["distinct_blocks"]) == (3, 6, 4)
    assert found["load"] == {"residence_s": 10.0, "prefill_s": 1.0}
    # Half of 4 distinct blocks; 2,000 tokens are 3 whole blocks; no bound is null.
    totals = [point["capacity_blocks_total"] for point in found["points"]]
    assert totals == [2, 3, None]
    assert [point["capacity_blocks_per_worker"] for point in found["points"]] == [1, 1, None]
    with out.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == list(found["points"][0])
    assert [row["capacity_blocks_total"] for row in rows] == ["2", "3", "inf"]
    assert [float(row["hit_block_ratio"]) for row in rows] == [
        point["hit_block_ratio"] for point in found["points"]
    ]
    assert not out.with_name("out.csv.partial").exists()


def test_a_capacity_may_be_each_workers(trace: Path) -> None:
    words = (trace, "--capacity", "2", "--per-worker", "--workers", "2", "--json")
    (point,) = json.loads(asked(*words).stdout)["points"]
    assert (point["capacity_blocks_total"], point["capacity_blocks_per_worker"]) == (4, 2)
    # By default the router is a scenario's.
    assert point["router"] == "kv_aware"


def test_without_options_it_studies_one_worker(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    row = {"timestamp": 0, "input_length": 51200, "output_length": 1, "hash_ids": [*range(100)]}
    path.write_text((json.dumps(row) + "\n") * 2)
    found = json.loads(asked(path, "--json").stdout)
    assert [point["capacity_blocks_total"] for point in found["points"]] == [1, 3, 10, 30, None]
    assert [point["hit_blocks"] for point in found["points"]] == [1, 3, 10, 30, 100]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--capacity", "3", "--workers", "4"], "3 blocks over 4 workers is less than one block"),
        (["--capacity", "500", "--unit", "tokens"], "500 tokens is less than one block of 512"),
        (["--capacity", "0.1", "--per-worker", "--workers", "2"], "0.1 blocks is less than one"),
        (["--capacity", "1%"], "1% is less than one block"),
        (["--capacity", "many"], '--capacity: must be numbers > 0 such as 50000, .*got "many"'),
        (["--capacity", "-3"], 'got "-3"'),
        (["--workers", "0"], '--workers: must be whole numbers >= 1 .*got "0"'),
        (["--workers", "two"], 'got "two"'),
        (["--workers", "2", "--router", "round_robbin"], "did you mean round_robin"),
        (["--format", "mooncakes"], "did you mean mooncake"),
        (["--format", "fact_requests"], "names no blocks of its prompts"),
        (["--block-size", "7"], "--block-size: must divide the 512 tokens"),
        (["--residence", "1", "--prefill", "2"], "within the residence"),
        (["--out", "no/such/folder/f.csv", "--capacity", "inf"], "cannot be written"),
    ],
)
def test_bad_options_are_bad_input(trace: Path, words: list[str], message: str) -> None:
    result = asked(trace, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert re.search(message, result.stderr), result.stderr


def test_times_may_have_units(trace: Path) -> None:
    words = (trace, "--capacity", "inf", "--residence", "1 min", "--prefill", "500ms", "--json")
    load = json.loads(asked(*words).stdout)["load"]
    assert load == {"residence_s": 60.0, "prefill_s": 0.5}
    result = asked(trace, "--residence", "long")
    assert result.exit_code == 2
    assert 'must be a time such as 10s or 500ms, got "long"' in " ".join(result.stderr.split())


def test_a_malformed_row_is_named(trace: Path) -> None:
    trace.write_text(trace.read_text() + "{}\n")
    result = asked(trace, "--capacity", "inf")
    assert result.exit_code == 2
    assert "mine.jsonl:4: timestamp is missing" in result.stderr
    assert asked(trace, "--capacity", "inf", "--skip-bad-rows", "1").exit_code == 0
