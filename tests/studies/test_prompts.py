"""Prompts of a trace, in order of arrival."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.errors import InputError
from factory.studies.prompts import distinct_blocks, read_prompts


def mooncake(path: Path, *rows: tuple[int, int, list[int]]) -> str:
    """Rows of (timestamp in ms, input tokens, block ids)."""
    text = "".join(
        json.dumps({"timestamp": t, "input_length": n, "output_length": 1, "hash_ids": ids}) + "\n"
        for t, n, ids in rows
    )
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def agentic(path: Path, *rows: tuple[str, str, float, list[int]]) -> str:
    """Rows of (session, agent, seconds from its start, runs of 64-token blocks)."""
    table: dict[str, Any] = {
        "session_id": [row[0] for row in rows],
        "agent": [row[1] for row in rows],
        "t_s": [float(row[2]) for row in rows],
        "input_length": [64 * sum(row[3][1::2]) + 1 for row in rows],
        "output_length": [1] * len(rows),
        "hash_runs": [row[3] for row in rows],
        "think_time_s": [0.0] * len(rows),
        "api_time_s": [0.0] * len(rows),
    }
    pq.write_table(pa.table(table), path)
    return str(path)


def test_mooncake_keeps_its_order_and_spreads_a_tick(tmp_path: Path) -> None:
    rows = [(3000, 600, [0, 1]), (3000, 1024, [0, 2]), (6000, 512, [0]), (9000, 100, [7])]
    prompts = read_prompts(mooncake(tmp_path / "t.jsonl.gz", *rows))
    assert (prompts.format, prompts.block_size) == ("mooncake", 512)
    assert [ask.blocks for ask in prompts.asks] == [(0, 2), (0, 1, 2, 1), (0, 1), (7, 1)]
    assert [ask.input_tokens for ask in prompts.asks] == [600, 1024, 512, 100]
    times = [ask.now_s for ask in prompts.asks]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert len(set(times)) == 4
    assert [ask.session for ask in prompts.asks] == [0, 1, 2, 3]
    # Blocks 0, 1, 2 and 7.
    assert distinct_blocks(prompts.asks) == 4


def test_blocks_may_be_smaller_than_the_traces(tmp_path: Path) -> None:
    file = mooncake(tmp_path / "t.jsonl", (0, 600, [0, 1]))
    prompts = read_prompts(file, block_size=256)
    # 600 tokens are three blocks of 256, the last one partial.
    assert [ask.blocks for ask in prompts.asks] == [(0, 3)]
    with pytest.raises(InputError, match=r"--block-size: must divide the 512 .*got 100"):
        read_prompts(file, block_size=100)


def test_agents_come_at_their_recorded_times(tmp_path: Path) -> None:
    file = agentic(
        tmp_path / "t.parquet",
        ("a", "main", 0, [0, 2]),
        ("a", "main/agent_001", 5, [9, 1]),
        ("a", "main", 70, [0, 3]),
        ("b", "main", 0, [0, 1]),
        ("b", "main", 10, [0, 2]),
        ("c", "main", 0, [0, 1]),
    )
    prompts = read_prompts(file, sessions=2)
    assert (prompts.format, prompts.block_size) == ("agentic", 64)
    # Session b starts at 60 s; ids are its own, from above those of session a.
    assert [(ask.now_s, ask.session) for ask in prompts.asks] == [(0, 0), (60, 1), (70, 0), (70, 1)]
    first, other, second, last = (ask.blocks for ask in prompts.asks)
    assert (first, second) == ((0, 2), (0, 3))
    assert other[0] == last[0] >= 10
    assert len(read_prompts(file, sessions=2, subagents=True).asks) == 5
    close = read_prompts(file, session_interval_s=1.0).asks
    assert [ask.now_s for ask in close] == [0, 1, 2, 11, 70]


def test_formats_that_cannot_be_studied(tmp_path: Path) -> None:
    file = mooncake(tmp_path / "t.txt", (0, 600, [0, 1]))
    assert len(read_prompts(file, "mooncake").asks) == 1
    with pytest.raises(InputError, match=r"t\.txt: the name does not say .* give --format"):
        read_prompts(file)
    with pytest.raises(InputError, match=r'got "moon" .*did you mean mooncake'):
        read_prompts(file, "moon")
    with pytest.raises(InputError, match="format azure names no blocks"):
        read_prompts(file, "azure")
    with pytest.raises(InputError, match="--sessions: goes with agentic traces"):
        read_prompts(file, "mooncake", sessions=3)
    with pytest.raises(InputError, match=r"none\.jsonl: no such file"):
        read_prompts(str(tmp_path / "none.jsonl"))
