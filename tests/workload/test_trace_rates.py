"""Thinning, superposing and cutting traces, and closed loops of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from demand import facts, play, scenario, workload

from factory.errors import InputError
from factory.workload import Request
from factory.workload.blocks import Chains

ROWS = 4000


def written(path: Path, n: int = ROWS) -> str:
    """One request a second; neighbours share their first block."""
    rows = [
        {"timestamp": 1000 * i, "input_length": 1000 + i, "output_length": 5,
         "hash_ids": [2 * (i // 2), 2 * n + i]}
        for i in range(n)
    ]  # fmt: skip
    file = path / "trace.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def read(path: str, *, service_s: float = 1.0, seed: int = 0, **fields: Any) -> list[Request]:
    trace = {"format": "mooncake", "path": path, "spread_s": 0.0, **fields}
    return play(workload(scenario({"name": "x"}, trace=trace, seed=seed), [512]), service_s)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("trace"))


def test_thinning_keeps_a_share_where_it_was(path: str) -> None:
    whole = {r.input_tokens: r.arrival_s for r in read(path)}
    half = read(path, rate_scale=0.5)
    # Four standard deviations of a binomial.
    assert len(half) == pytest.approx(ROWS / 2, abs=4 * (ROWS / 4) ** 0.5)
    assert all(whole[r.input_tokens] == r.arrival_s for r in half)
    third = {r.input_tokens for r in read(path, rate_scale=1 / 3)}
    assert third < {r.input_tokens for r in half}
    assert facts(half) == facts(read(path, rate_scale=0.5))
    assert facts(half) != facts(read(path, rate_scale=0.5, seed=1))


def test_copies_come_at_once_each_turned_and_with_blocks_of_its_own(path: str) -> None:
    many = read(path, rate_scale=2.5)
    assert len(many) == pytest.approx(2.5 * ROWS, abs=4 * (ROWS / 4) ** 0.5)
    times = [r.arrival_s for r in many]
    assert times == sorted(times)
    assert times[-1] < ROWS
    # The load is even: each tenth of the time has a tenth of the requests.
    counts = np.histogram(times, 10, (0, ROWS))[0]
    assert counts.min() > 0.95 * len(many) / 10
    chains = Chains()
    assert not any(chains.admit(r.blocks) for r in many)
    by_prompt: dict[int, set[int]] = {}
    for request in many:
        by_prompt.setdefault(request.input_tokens, set()).add(request.blocks[0])
    assert {len(firsts) for firsts in by_prompt.values()} == {2, 3}
    first = {r.input_tokens: r.arrival_s for r in many if r.blocks[0] < 3 * ROWS}
    assert first == {r.input_tokens: r.arrival_s for r in read(path)}
    again = read(path, rate_scale=3.0)
    assert {(r.arrival_s, r.blocks) for r in many} < {(r.arrival_s, r.blocks) for r in again}


def test_copies_do_not_depend_on_how_the_file_is_cut(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [(r.arrival_s, r.blocks) for r in read(path, rate_scale=2.5)]
    monkeypatch.setattr("factory.workload.traces.lines._BLOCK_BYTES", 2000)
    assert [(r.arrival_s, r.blocks) for r in read(path, rate_scale=2.5)] == whole


def test_more_copies_than_there_are_block_ids(tmp_path: Path) -> None:
    row = {"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [(1 << 40) - 1]}
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(row))
    with pytest.raises(
        InputError, match=r"rate_scale: 5000 copies need more block ids.*at most 40"
    ):
        read(str(file), rate_scale=5000)


def test_the_window(path: str) -> None:
    inside = read(path, from_s=100.0, to_s=110.5)
    assert [r.input_tokens for r in inside] == [1100 + i for i in range(11)]
    assert [r.arrival_s for r in inside] == [float(i) for i in range(11)]
    assert len(read(path, to_s=10.0)) == 10
    assert len(read(path, from_s=3990.0)) == 10
    late = read(path, from_s=100.0, to_s=110.0, time_scale=0.5)
    assert [r.arrival_s for r in late] == [0.5 * i for i in range(10)]
    assert len(read(path, limit=105, from_s=100.0)) == 5


def test_a_closed_loop_of_requests(path: str) -> None:
    loop = read(path, service_s=3.0, replay="closed_loop", concurrency=4, limit=10)
    assert [r.arrival_s for r in loop] == [0.0] * 4 + [3.0] * 4 + [6.0] * 2
    assert [r.input_tokens for r in loop] == [1000 + i for i in range(10)]
    assert [r.session for r in loop] == list(range(10))


def test_bad_rows_are_counted_once(tmp_path: Path) -> None:
    path = written(tmp_path, 50)
    with Path(path).open("a") as file:
        file.write("\nbroken\n")
    trace = {"format": "mooncake", "path": path, "skip_bad_rows": 1, "rate_scale": 3.0}
    demand = workload(scenario({"name": "x"}, trace=trace), [512])
    assert len(play(demand)) == 150
    assert demand.skipped_rows == 1


def runs(path: Path) -> str:
    """A run of 500 sessions of two requests."""
    n = 500
    columns = {
        "request_id": [f"r{i}" for i in range(2 * n)],
        "attempt": [0] * 2 * n,
        "parent_request_id": pa.array(
            [None if i % 2 == 0 else f"r{i - 1}" for i in range(2 * n)], pa.string()
        ),
        "session_id": [f"s{i // 2}" for i in range(2 * n)],
        "turn": [i % 2 for i in range(2 * n)],
        "tenant": ["x"] * 2 * n,
        "arrival_time_s": [float(i // 2) + 0.25 * (i % 2) for i in range(2 * n)],
        "input_tokens": [100 + i for i in range(2 * n)],
        "requested_output_tokens": [5] * 2 * n,
    }
    file = path / "fact_requests.parquet"
    pq.write_table(pa.table(columns), file)
    return str(file)


def test_runs_come_in_whole_sessions(tmp_path: Path) -> None:
    path = runs(tmp_path)

    def replay(**fields: Any) -> list[Request]:
        trace = {"format": "fact_requests", "path": path, **fields}
        return play(workload(scenario({"name": "x"}, trace=trace)))

    part = replay(from_s=10.0, to_s=20.0)
    assert len(part) == 20
    assert part[0].arrival_s == 0.0
    half = replay(rate_scale=0.5)
    assert 400 < len(half) < 600
    turns: dict[int, list[int]] = {}
    for request in half:
        turns.setdefault(request.session, []).append(request.turn)
    assert {tuple(found) for found in turns.values()} == {(0, 1)}
    double = replay(rate_scale=2.0)
    assert len(double) == 2000
    assert len({r.session for r in double}) == 1000
    by_index = {r.index: r for r in double}
    assert all(by_index[r.parent].session == r.session for r in double if r.turn)
    assert sorted(r.arrival_s for r in double) == [r.arrival_s for r in double]


def agentic_rows(path: Path) -> str:
    table = {
        "session_id": [f"s{i // 3}" for i in range(300)],
        "agent": ["main"] * 300,
        "t_s": [10.0 * (i % 3) for i in range(300)],
        "input_length": [64 * (1 + i % 3) for i in range(300)],
        "output_length": [5] * 300,
        "hash_runs": pa.array([[1, 1 + i % 3] for i in range(300)], pa.list_(pa.int32())),
        "think_time_s": [2.0] * 300,
        "api_time_s": [1.0] * 300,
    }
    file = path / "sessions.parquet"
    pq.write_table(pa.table(table), file)
    return str(file)


def test_agent_sessions(tmp_path: Path) -> None:
    path = agentic_rows(tmp_path)

    def replay(**fields: Any) -> list[Request]:
        trace = {"format": "agentic", "path": path, "session_interval_s": 10.0, **fields}
        return play(workload(scenario({"name": "x"}, trace=trace)))

    assert len(replay(from_s=100.0, to_s=200.0)) == 30
    many = replay(rate_scale=2.5)
    assert 2.5 * 300 - 60 < len(many) < 2.5 * 300 + 60
    owners: dict[int, int] = {}
    assert all(owners.setdefault(r.blocks[0], r.session) == r.session for r in many)
    loop = replay(replay="closed_loop", concurrency=10)
    assert [r.arrival_s for r in loop[:10]] == [0.0] * 10
    assert len(loop) == 300
    # Ten sessions of 3 × 1 s + 2 × 2 s at a time.
    assert loop[-1].arrival_s == 10 * 7.0 - 1.0
