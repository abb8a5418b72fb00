import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from demand import play, scenario, workload

from factory.errors import InputError
from factory.records.codes import TIMED_OUT
from factory.workload import Request

FLOATS = ("t_s", "think_time_s", "api_time_s")
MAIN, SUB = "main", "main/agent_001"


def row(session: str, agent: str, t_s: float, tokens: int, runs: list[int], **fields: Any) -> Any:
    return {
        "session_id": session,
        "agent": agent,
        "t_s": t_s,
        "input_length": tokens,
        "output_length": 10,
        "hash_runs": runs,
        "think_time_s": 5.0,
        "api_time_s": 2.0,
        **fields,
    }


GOOD = [
    row("a", MAIN, 0, 200, [1, 3], think_time_s=0.0),
    row("a", SUB, 4, 128, [50, 2], think_time_s=0.0),
    row("a", SUB, 9, 192, [50, 3], think_time_s=3.0),
    row("a", MAIN, 20, 330, [1, 2, 9, 3], think_time_s=18.0),
    row("a", MAIN, 40, 400, [1, 2, 9, 4], think_time_s=None),
    row("b", MAIN, 0, 64, [1, 1], think_time_s=0.0, output_length=0),
]


def written(path: Path, rows: list[Any]) -> str:
    names = rows[0] if rows else row("", "", 0, 0, [])
    columns = {name: [r[name] for r in rows] for name in names}
    types = {name: pa.float64() for name in FLOATS}
    types["hash_runs"] = pa.list_(pa.int32())
    table = pa.table({k: pa.array(v, types.get(k)) for k, v in columns.items()})
    file = path / "sessions.parquet"
    pq.write_table(table, file)
    return str(file)


def read(path: str, service_s: float = 1.0, size: int = 64, **fields: Any) -> list[Request]:
    trace = {"format": "agentic", "path": path, **fields}
    return play(workload(scenario({"name": "agents"}, trace=trace), [size]), service_s)


def test_turns_wait_for_the_answer_before_them(tmp_path: Path) -> None:
    requests = read(written(tmp_path, GOOD), service_s=7.0)
    at = {(r.session, r.turn): r for r in requests}
    assert at[0, 0].arrival_s == 0.0
    # A sub-agent starts t_s − (t_s + api_time_s of its parent) = 2 s after the parent's answer.
    assert at[0, 1].arrival_s == 7.0 + 2.0
    assert at[0, 2].arrival_s == at[0, 1].arrival_s + 7.0 + 3.0
    assert at[0, 3].arrival_s == 7.0 + 18.0
    # Without a think time: what the recorded times leave, 40 − 20 − 2.
    assert at[0, 4].arrival_s == at[0, 3].arrival_s + 7.0 + 18.0
    assert at[1, 0].arrival_s == 60.0
    parents = {key: r.parent for key, r in at.items()}
    assert parents[0, 0] == parents[1, 0] == -1
    assert parents[0, 1] == parents[0, 3] == at[0, 0].index
    assert parents[0, 2] == at[0, 1].index
    assert parents[0, 4] == at[0, 3].index
    assert at[1, 0].output_tokens == 1
    assert sorted(r.index for r in requests) == list(range(6))


def test_tasks_end_where_the_agent_ends_its_turn(tmp_path: Path) -> None:
    stops = ["tool_use", "end_turn", "tool_use", "end_turn", "tool_use", "tool_use"]
    rows = [{**r, "stop": stop} for r, stop in zip(GOOD, stops, strict=True)]
    at = {(r.session, r.turn): (r.task, r.agent) for r in read(written(tmp_path, rows))}
    # The sub-agent's own end of turn ends nothing.
    assert [at[0, turn] for turn in range(5)] == [(0, 0), (0, 1), (0, 1), (0, 0), (1, 0)]
    assert at[1, 0] == (0, 0)
    plain = read(written(tmp_path, GOOD))
    assert {r.task for r in plain} == {0}
    assert {r.agent for r in plain} == {0, 1}


def test_sessions_share_no_block(tmp_path: Path) -> None:
    requests = read(written(tmp_path, GOOD))
    blocks = {(r.session, r.turn): r.blocks for r in requests}
    assert blocks[0, 4] == (1, 2, 9, 4)
    first, count = blocks[1, 0]
    assert count == 1
    assert first > 52


def test_smaller_blocks(tmp_path: Path) -> None:
    requests = read(written(tmp_path, GOOD), size=16)
    assert next(r for r in requests if r.turn == 4).blocks == (4, 8, 36, 16)


def test_bounds(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert len(read(path, sessions=1)) == 5
    assert len(read(path, limit=4)) == 4
    assert read(path, session_interval_s=10.0, time_scale=3.0)[-1].session == 0
    starts = [r.arrival_s for r in read(path, session_interval_s=10.0, time_scale=3.0)
              if r.session == 1]  # fmt: skip
    assert starts == [30.0]


def test_what_waits_for_a_lost_answer_never_comes(tmp_path: Path) -> None:
    made = scenario({"name": "x"}, trace={"format": "agentic", "path": written(tmp_path, GOOD)})
    requests = play(workload(made), outcome=TIMED_OUT)
    assert [(r.session, r.turn) for r in requests] == [(0, 0), (1, 0)]


def test_no_session_starts_after_the_duration(tmp_path: Path) -> None:
    trace = {"format": "agentic", "path": written(tmp_path, GOOD)}
    made = scenario({"name": "x"}, trace=trace, duration_s=60.0)
    assert {r.session for r in play(workload(made))} == {0}


def test_sessions_cut_by_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, GOOD)
    whole = [(r.arrival_s, r.session, r.turn, r.blocks) for r in read(path)]
    monkeypatch.setattr("factory.workload.traces.parquet_rows.batches.__defaults__", (2,))
    assert [(r.arrival_s, r.session, r.turn, r.blocks) for r in read(path)] == whole


def test_ids_that_are_not_chained_are_renamed(tmp_path: Path) -> None:
    rows = [row("a", MAIN, i, 640, runs) for i, runs in enumerate([[1, 4], [1, 2, 7, 2], [7, 2]])]
    blocks = [r.blocks for r in sorted(read(written(tmp_path, rows)), key=lambda r: r.turn)]
    assert blocks[0][0] == blocks[1][0]
    assert blocks[1][2] != blocks[2][0]
    assert [blocks[0][1], blocks[1][1::2], blocks[2][1]] == [4, (2, 2), 2]


def test_runs_that_continue_each_other_are_one(tmp_path: Path) -> None:
    path = written(tmp_path, [row("a", MAIN, 0, 640, [1, 2, 3, 4, 9, 0])])
    assert read(path)[0].blocks == (1, 6)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"input_length": 0, "hash_runs": []}, "input_length: must be a whole number of tokens"),
        ({"output_length": -1}, "output_length: must be a whole number of tokens >= 0, got -1"),
        ({"t_s": -1.0}, "t_s: must be a time >= 0 s, got -1.0"),
        ({"t_s": math.nan}, "t_s: must be a time >= 0 s, got nan"),
        ({"think_time_s": -3.0}, "think_time_s: must be >= 0 s, got -3.0"),
        ({"hash_runs": [1]}, "hash_runs: must be [first, count, first, count, …]"),
        ({"hash_runs": [1, -2]}, "hash_runs: must be [first, count, first, count, …]"),
        ({"hash_runs": [1, 6]}, "hash_runs: 6 whole blocks of 64 tokens for input_length 330"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    rows = [*GOOD[:3], {**GOOD[3], **fields}, *GOOD[4:]]
    path = written(tmp_path, rows)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:4: {problem}")
    assert len(read(path, skip_bad_rows=1)) == 5


def test_scattered_sessions(tmp_path: Path) -> None:
    path = written(tmp_path, [*GOOD, row("a", MAIN, 99, 100, [])])
    with pytest.raises(InputError, match=r":7: session_id: the rows of session 'a' must stand"):
        read(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(str(tmp_path / "none.parquet"))
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read(str(tmp_path / "text.parquet"))
    pq.write_table(pa.table({"session_id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="has no column agent, t_s"):
        read(str(tmp_path / "other.parquet"))
    with pytest.raises(InputError, match="the trace is empty"):
        read(written(tmp_path, []))
    path = written(tmp_path, [row("a", MAIN, 0, 5, []), row("a", None, 0, 5, [])])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="row 2: agent: must have a value, got null"):
        read(path)
