import json
from pathlib import Path
from typing import Any

import pytest
from demand import play, scenario, workload

from factory.errors import InputError
from factory.workload import Request
from factory.workload.blocks import Chains


def row(session: str | None, tokens: int, answer: int = 100, **fields: Any) -> dict[str, Any]:
    return {"session_id": session, "input_length": tokens, "output_length": answer, **fields}


# As AIPerf's mooncake_trace takes them: later turns state what they add.
ADDED = [
    row("a", 1500, 600, timestamp=1000, hash_ids=[0, 1, 2]),
    row("b", 700, timestamp=2000, hash_ids=[0, 3]),
    row("a", 1000, delay=5000),
    row(None, 50, timestamp=2500),
    row("a", 10, timestamp=60_000),
]


def written(path: Path, rows: list[Any]) -> str:
    file = path / "trace.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(file)


def read(path: str, size: int = 512, service_s: float = 1.0, **fields: Any) -> list[Request]:
    trace = {"format": "mooncake", "path": path, **fields}
    return play(workload(scenario({"name": "users"}, trace=trace), [size]), service_s)


def test_turns_wait_for_answers_and_add_to_the_prompt(tmp_path: Path) -> None:
    at = {(r.session, r.turn): r for r in read(written(tmp_path, ADDED), service_s=2.0)}
    assert sorted(at) == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)]
    # `delay` counts from the answer; `timestamp` is the earliest time.
    assert [at[0, turn].arrival_s for turn in range(3)] == [0.0, 7.0, 59.0]
    assert [at[0, turn].input_tokens for turn in range(3)] == [1500, 3100, 3210]
    assert [at[0, turn].parent for turn in range(3)] == [-1, at[0, 0].index, at[0, 1].index]
    assert [at[0, turn].task for turn in range(3)] == [0, 1, 2]
    assert (at[1, 0].arrival_s, at[1, 0].blocks) == (1.0, (0, 1, 3, 1))
    assert (at[2, 0].arrival_s, at[2, 0].blocks) == (1.5, ())


def test_a_late_answer_delays_a_turn_with_a_timestamp(tmp_path: Path) -> None:
    at = {(r.session, r.turn): r for r in read(written(tmp_path, ADDED), service_s=40.0)}
    assert at[0, 1].arrival_s == 45.0
    assert at[0, 2].arrival_s == 85.0


def test_added_turns_share_the_prompt_and_answer_before_them(tmp_path: Path) -> None:
    requests = read(written(tmp_path, ADDED), size=64)
    first, second, third = (r for r in requests if r.session == 0)
    # 1024 tokens of the first prompt are whole blocks of the trace; a partial one is filled later.
    assert first.blocks == (0, 16)
    assert second.blocks[:2] == third.blocks[:2] == (0, 16)
    assert first.context_blocks[:2] == (0, 16)
    assert first.context_blocks[2] == second.blocks[2] == third.blocks[2]
    assert sum(first.context_blocks[1::2]) == 2100 // 512 * 8
    assert sum(second.blocks[1::2]) == 3100 // 512 * 8
    chains = Chains()
    for request in requests:
        assert chains.admit(request.blocks) is None
        assert chains.admit(request.context_blocks) is None


def test_rows_that_name_the_whole_prompt(tmp_path: Path) -> None:
    rows = [
        row("a", 1024, timestamp=0, hash_ids=[0, 1]),
        row("a", 2048, delay=0, hash_ids=[0, 1, 2, 3]),
    ]
    requests = read(written(tmp_path, rows))
    assert [r.input_tokens for r in requests] == [1024, 2048]
    assert [r.blocks for r in requests] == [(0, 2), (0, 4)]
    assert requests[0].context_blocks == ()


def test_sessions_in_a_closed_loop_need_no_times(tmp_path: Path) -> None:
    rows = [row(name, 100, delay=1000) for name in "aabbcc"]
    path = written(tmp_path, rows)
    requests = read(path, service_s=4.0, replay="closed_loop", concurrency=2)
    times = {(r.session, r.turn): r.arrival_s for r in requests}
    assert times == {(0, 0): 0, (0, 1): 5, (1, 0): 0, (1, 1): 5, (2, 0): 9, (2, 1): 14}
    with pytest.raises(InputError, match=r":1: timestamp is missing: the first row of a session"):
        read(path)


def test_the_window_and_the_rate_are_of_sessions(tmp_path: Path) -> None:
    rows = [row(f"s{i}", 600, timestamp=1000 * i) for i in range(200)]
    rows += [row(f"s{i}", 500, delay=10) for i in range(200)]
    path = written(tmp_path, rows)
    cut = read(path, from_s=50.0, to_s=60.0)
    assert [r.arrival_s for r in cut if not r.turn] == [float(i) for i in range(10)]
    assert len(cut) == 20
    thin = {r.session for r in read(path, rate_scale=0.5)}
    assert 60 < len(thin) < 140
    double = read(path, rate_scale=2.0)
    assert len(double) == 800
    starts = [r.arrival_s for r in double if not r.turn]
    assert starts == sorted(starts)
    chains = Chains()
    assert not any(chains.admit(r.blocks) for r in double)
    assert not any(chains.admit(r.context_blocks) for r in double)
    assert all(r.context_blocks[: len(r.blocks)] == r.blocks for r in double if not r.turn)
    assert len({r.blocks[0] for r in double if not r.turn}) == 400


BAD = [
    (row("a", 5, delay=-1), "delay: must be milliseconds >= 0, got -1"),
    (row("", 5, timestamp=60_000), 'session_id: must be a name, got ""'),
    (row("z", 5), "timestamp is missing: the first row of a session"),
    (row("z", 5, timestamp=1), "timestamp: must not fall, got 1 after 60000; sort the file"),
    (row("a", 0), "input_length: must be a whole number of tokens >= 1, got 0"),
    (row("z", 600, timestamp=60_000, hash_ids=[3, 1]), "hash_ids: block 3 follows the start here"),
]


@pytest.mark.parametrize(("bad", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_a_malformed_row_is_named(tmp_path: Path, bad: Any, problem: str) -> None:
    path = written(tmp_path, [*ADDED, bad])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:6: {problem}")
    assert len(read(path, skip_bad_rows=1)) == 5


def test_sessions_that_begin_late_in_the_file(tmp_path: Path) -> None:
    bare = {"timestamp": 0, "input_length": 5, "output_length": 5}
    path = written(tmp_path, [bare] * 30_000 + [row("a", 5, timestamp=1)])
    with pytest.raises(InputError, match=r":30001: session_id: the first rows have none"):
        read(path)
