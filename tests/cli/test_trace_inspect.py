"""``factory trace inspect`` and ``factory trace fit`` on traces made by hand."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from factory.cli.app import app
from factory.scenario import load
from factory.scenario.workloads import read_workload
from factory.studies.trace_sample import _FACTORY

runner = CliRunner()


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Conversations of a few turns behind a system prompt of two blocks; no session ids."""
    rng = np.random.default_rng(8)
    rows: list[dict[str, Any]] = []
    fresh = 2
    for number in range(400):
        time, blocks, tokens = 5.0 * number + 5 * rng.random(), [0, 1], 1024
        for _ in range(int(rng.geometric(0.5))):
            tokens += int(rng.integers(1000, 3000))
            while len(blocks) < tokens // 512:
                blocks.append(fresh)
                fresh += 1
            answer = int(rng.integers(50, 500))
            rows.append(
                {
                    "timestamp": round(1000 * time),
                    "input_length": tokens,
                    "output_length": answer,
                    "hash_ids": blocks.copy(),
                }
            )
            tokens += answer
            time += float(rng.exponential(30.0))
    rows.sort(key=lambda row: row["timestamp"])
    path = tmp_path / "chats.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def asked(command: str, *words: str | Path) -> Any:
    return runner.invoke(app, ["trace", command, *(str(word) for word in words)])


def test_the_text_says_what_the_trace_is(trace: Path) -> None:
    result = asked("inspect", trace)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "mine.jsonl (mooncake): 3 requests over 2 s"
    text = " ".join(result.stdout.split())
    assert "rate 1.50 requests/s" in text
    assert "33% of the prompt tokens hit a cache without bound (33% of the blocks; exact)" in text
    assert "6.00 of 512 tokens, 4.00 of them distinct" in text
    assert "input 600 600 600 600 600 600 600 600 1.80k" in text
    assert "66.7 input tokens for each output token" in text
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_json_is_one_object(trace: Path) -> None:
    result = asked("inspect", trace, "--json")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    found = json.loads(result.stdout)
    assert (found["trace"], found["format"], found["rows"]) == (str(trace), "mooncake", 3)
    assert found["reuse"]["ideal_hit_block_ratio"] == pytest.approx(2 / 6)
    # Between the uses of A lie the two blocks of B: its first block is at distance 3.
    curve = {p["capacity_blocks"]: p["hit_block_ratio"] for p in found["reuse"]["curve"]}
    assert curve == {1: 0, 2: 0, 3: pytest.approx(1 / 6), 4: pytest.approx(2 / 6)}
    assert found["time"]["duration_s"] == 2.0
    assert {"exact", "approximate"} <= set(found)


def test_a_part_and_a_limit(trace: Path) -> None:
    words = ("inspect", trace, "--json")
    assert json.loads(asked(*words, "--from", "1s").stdout)["rows"] == 2
    assert json.loads(asked(*words, "--to", "1s").stdout)["rows"] == 1
    assert json.loads(asked(*words, "--limit", "2").stdout)["rows"] == 2


def test_the_page_stands_alone(chats: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = asked("inspect", chats, "--html", page)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"Page: {page}\n")
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<script|https?://|@import|url\(", text)
    for section in ("time", "lengths", "reuse", "method"):
        assert f'<h2 id="{section}">' in text
    assert "prefers-color-scheme:dark" in text
    shown = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", shown, re.IGNORECASE)
    assert not page.with_name("page.html.partial").exists()


def test_the_page_of_next_to_nothing(tmp_path: Path) -> None:
    path, page = tmp_path / "one<b>.csv", tmp_path / "page.html"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n")
    result = asked("inspect", path, "--html", page)
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert "one&lt;b&gt;.csv" in text
    assert "names no blocks" in text


@pytest.mark.parametrize("command", ["inspect", "fit"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "mooncakes"], r"--format: is not a format.*did you mean mooncake\?"),
        (["--from", "5", "--to", "2"], "--to: must be later than --from, got 2 and 5 s"),
        (["--from", "1h"], "no row between --from and --to"),
    ],
)
def test_bad_options_are_bad_input(
    trace: Path, command: str, words: list[str], message: str
) -> None:
    result = asked(command, trace, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.search(message, result.stderr), result.stderr


@pytest.mark.parametrize("command", ["inspect", "fit"])
def test_bad_traces_are_bad_input(tmp_path: Path, trace: Path, command: str) -> None:
    def failed(path: Path) -> str:
        result = asked(command, path)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        return str(result.stderr)

    whole = gzip.compress((trace.read_text() * 1).encode(), 0)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) - 40])
    assert "the gzip stream is damaged or truncated" in failed(cut)

    other = tmp_path / "other.csv"
    other.write_text("time,prompt,answer\n1,2,3\n")
    assert "is in no format that can be told from its first row" in failed(other)

    falling = tmp_path / "falling.jsonl"
    lines = trace.read_text().splitlines(keepends=True)
    falling.write_text(lines[1] + lines[0])
    assert re.search(r"falling\.jsonl:2: timestamp: must not fall", failed(falling))
    assert "no such file" in failed(tmp_path / "none.jsonl")


def test_a_fit_is_a_workload_that_a_scenario_uses(chats: Path, tmp_path: Path) -> None:
    out = tmp_path / "fitted.yaml"
    result = asked("fit", chats, "-o", out)
    assert result.exit_code == 0, result.output
    *lines, path = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert path == str(out)
    assert "session.turns" in result.stdout
    found = read_workload(str(out))
    assert found.name == "chats"
    assert [source.kind for source in found.sources] == ["fitted"]
    (tenant,) = found.data["tenants"]
    assert tenant["shared_prefix"] == {"tokens": 1024, "count": 1}
    assert tenant["session"]["growth"] is True
    workload = {"use": str(out)}
    scenario = load({**_FACTORY, "workload": workload, "run": {"requests": 10, "warmup_s": 0}})
    assert scenario.workload.tenants[0].name == "chats"
    text = out.read_text(encoding="utf-8")
    assert "# inferred: a prompt that begins with all of an earlier one" in text
    assert "values: KS " in text


def test_a_fitted_sample_comes_near_the_trace(chats: Path) -> None:
    result = asked("fit", chats, "--json", "--name", "mine")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    found = json.loads(result.stdout)
    assert found["tenant"]["name"] == "mine"
    pairs = {row["figure"]: (row["trace"], row["sample"]) for row in found["comparison"]}
    ours, theirs = pairs["input tokens, p50"]
    assert theirs == pytest.approx(ours, rel=0.15)
    ours, theirs = pairs["ideal hit ratio"]
    assert theirs == pytest.approx(ours, abs=0.06)
    for fit in found["fits"].values():
        assert 0 <= fit["ks"] <= 0.1


def test_without_a_file_the_workload_is_printed(trace: Path) -> None:
    result = asked("fit", trace)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# Fitted to 3 requests of mine.jsonl (mooncake)")
    assert "tenants:\n  - name: mine\n" in result.stdout


def test_a_name_must_be_one(trace: Path) -> None:
    result = asked("fit", trace, "--name", "my trace!")
    assert result.exit_code == 2
    assert '--name: must be letters, digits, "-", "_" and "."' in result.stderr
