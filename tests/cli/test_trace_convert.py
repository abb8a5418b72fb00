"""``factory trace convert`` on traces made by hand and on a small scenario."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_run import make_run
from typer.testing import CliRunner

from factory.cli.app import app

runner = CliRunner()

ROWS = [(0, 600, 9, [0, 1]), (1000, 700, 8, [0, 2]), (2500, 600, 7, [0, 1])]


def asked(*words: str | Path) -> Any:
    return runner.invoke(app, ["trace", "convert", *(str(word) for word in words)])


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    names = ("timestamp", "input_length", "output_length", "hash_ids")
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in ROWS))
    return path


def test_a_trace_comes_back_byte_for_byte(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl.gz"
    result = asked(trace, "-o", out)
    assert (result.exit_code, result.output) == (0, "")
    assert gzip.decompress(out.read_bytes()) == trace.read_bytes()
    back = asked(out, "-o", "-", "--to", "aiperf")
    assert back.stdout.encode() == trace.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_what_is_lost_is_said_and_strict_refuses_it(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = asked(trace, "-o", out, "--to", "azure")
    assert result.exit_code == 0
    assert result.stderr == "note: 3 prompts lose their block ids\n"
    assert out.read_bytes().splitlines()[1] == b"1970-01-01 00:00:00.0000000,600,9"
    out.unlink()
    result = asked(trace, "-o", out, "--to", "azure", "--strict")
    assert result.exit_code == 2
    assert re.search("3 prompts lose their block ids .*without --strict", result.stderr)
    assert list(tmp_path.iterdir()) == [trace]


def test_a_window_a_limit_and_smaller_blocks(trace: Path) -> None:
    words = (trace, "-o", "-", "--to", "mooncake")
    rows = [
        json.loads(line)
        for line in asked(*words, "--from-s", "1", "--limit", "1").stdout.splitlines()
    ]
    assert [row["timestamp"] for row in rows] == [1000]
    rows = [json.loads(line) for line in asked(*words, "--to-s", "2 s").stdout.splitlines()]
    assert len(rows) == 2
    (row,) = [
        json.loads(line)
        for line in asked(*words, "--block-size", "256", "--limit", "1").stdout.splitlines()
    ]
    assert row["hash_ids"] == [0, 1, 2]  # 600 tokens


def test_a_scenario_becomes_sessions_with_delays(tmp_path: Path) -> None:
    out = tmp_path / "chat.jsonl"
    words = ("quickstart", "-o", out, "--to", "aiperf", "--ttft", "0.5", "--itl", "20ms",
             "--set", "run.requests=400", "--seed", "3")  # fmt: skip
    result = asked(*words)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    later = [row for row in rows if "delay" in row]
    assert later
    assert all("timestamp" not in row and "hash_ids" not in row for row in later)
    sessions = {row["session_id"] for row in later}
    firsts = {row["session_id"] for row in rows if "timestamp" in row}
    assert sessions <= firsts
    assert len(rows) == 400
    assert asked(*words).exit_code == 0
    assert rows == [json.loads(line) for line in out.read_text().splitlines()]


def test_a_closed_loop_needs_answers_that_take_time() -> None:
    result = asked("quickstart", "-o", "-", "--to", "aiperf", "--set",
                   "workload.tenants[agent].session.think_time_s=0")  # fmt: skip
    assert result.exit_code == 2
    assert "time stands still at 0 s" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "mooncakes"], 'got "mooncakes" .*did you mean mooncake'),
        (["-o", "out.csv"], "--to: out.csv does not tell the format .allowed: mooncake, aiperf"),
        (["--format", "azur"], "did you mean azure"),
        (["--format", "azure"], "the columns must be TIMESTAMP"),
        (["--block-size", "48"], "48 tokens neither divide the 512 tokens"),
        (["--to", "azure", "--block-size", "64"], "azure files name no blocks"),
        (["--from-s", "5", "--to-s", "5"], "--to-s: must be after --from-s .5 s., got 5"),
        (["--answer-after", "1", "--ttft", "1"], "give it or --ttft and --itl, not both"),
        (["--set", "run.seed=1"], "--set run.seed=1: is for a scenario"),
        (["-o", "no/such/folder/f.jsonl"], "cannot be written"),
    ],
)
def test_bad_options_are_bad_input(trace: Path, words: list[str], message: str) -> None:
    given = words if "-o" in words else [*words, "-o", "-"]
    if "--to" not in given and "-" in given:
        given = [*given, "--to", "mooncake"]
    result = asked(trace, *given)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert re.search(message, " ".join(result.stderr.split())), result.stderr


@pytest.mark.parametrize(
    ("source", "words", "message"),
    [
        ("no-such-scenario", [], "no-such-scenario"),
        ("no/such/trace.jsonl", [], "no such trace, run or scenario"),
        ("quickstart", ["--skip-bad-rows", "2"], "--skip-bad-rows: is for a trace"),
        ("quickstart", ["--set", "run.sed=1"], "did you mean"),
    ],
)
def test_bad_sources_are_bad_input(source: str, words: list[str], message: str) -> None:
    result = asked(source, "-o", "-", "--to", "mooncake", *words)
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr


def test_a_truncated_gzip_and_rows_out_of_order_leave_nothing(trace: Path, tmp_path: Path) -> None:
    whole = gzip.compress(trace.read_bytes() * 400)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out.jsonl"
    result = asked(cut, "-o", out)
    assert result.exit_code == 2
    assert "cut.jsonl.gz" in result.stderr
    trace.write_text("".join(reversed(trace.read_text().splitlines(keepends=True))))
    result = asked(trace, "-o", out)
    assert result.exit_code == 2
    assert "mine.jsonl:2: timestamp: must not fall" in result.stderr
    assert not out.exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_finished_run_is_a_source(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    result = asked(run, "-o", "-", "--to", "mooncake")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows
    times = [row["timestamp"] for row in rows]
    assert times == sorted(times)
    result = asked(run, "-o", "-", "--to", "azure", "--strict")
    assert result.exit_code == 2
    assert "no longer tied to" in result.stderr
