import json
from pathlib import Path
from typing import Any

import pytest
from demand import play, scenario, workload

from factory.errors import InputError
from factory.workload import Request
from factory.workload.blocks import Chains


def row(chat: int, parent: int, time_s: float, tokens: int, ids: Any = ()) -> dict[str, Any]:
    return {
        "chat_id": chat,
        "parent_chat_id": parent,
        "timestamp": time_s,
        "input_length": tokens,
        "output_length": 20,
        "type": "text",
        "turn": 1,
        "hash_ids": list(ids),
    }


GOOD = [
    row(10, -1, 1.0, 40, [7, 8, 9]),
    row(11, -1, 2.0, 32, [7, 5]),
    row(12, 10, 30.0, 64, [7, 8, 20, 21]),
    row(13, 12, 31.0, 80, [7, 8, 20, 21, 22]),
    row(14, 10, 50.0, 48, [7, 8, 30]),
]


def written(path: Path, rows: list[Any]) -> str:
    file = path / "trace.jsonl"
    file.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return str(file)


def read(path: str, service_s: float = 1.0, size: int = 16, **fields: Any) -> list[Request]:
    trace = {"format": "bailian", "path": path, **fields}
    return play(workload(scenario({"name": "users"}, trace=trace), [size]), service_s)


def test_chats_wait_for_their_parents(tmp_path: Path) -> None:
    at = {(r.session, r.turn): r for r in read(written(tmp_path, GOOD), service_s=10.0)}
    assert sorted(at) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    assert at[0, 1].arrival_s == 29.0
    assert at[0, 2].arrival_s == 39.0  # recorded at 30, but the answer came at 39
    assert at[0, 3].arrival_s == 49.0
    assert at[0, 3].parent == at[0, 1].parent == at[0, 0].index
    assert at[0, 2].parent == at[0, 1].index
    assert at[0, 0].blocks == (7, 3)
    assert at[0, 3].blocks == (7, 2, 30, 1)


def test_ids_that_hash_a_block_alone_are_renamed(tmp_path: Path) -> None:
    rows = [
        row(1, -1, 0.0, 48, [1, 2, 3]),
        row(2, -1, 1.0, 48, [9, 2, 3]),
        row(3, -1, 2.0, 48, [1, 2, 4]),
    ]
    requests = read(written(tmp_path, rows))
    chains = Chains()
    assert not any(chains.admit(r.blocks) for r in requests)
    assert requests[0].blocks[0] == requests[2].blocks[0] != requests[1].blocks[0]
    assert [r.blocks[1::2] for r in requests] == [(3,), (1, 2), (2, 1)]


BAD = [
    ("{", "is not JSON"),
    ("[1]", "must be a JSON object, got [1]"),
    (row(10, -1, 60.0, 5), "chat_id: 10 stands there twice; give each chat an id of its own"),
    (row(99, 98, 60.0, 5), "parent_chat_id: no row before has chat_id 98; -1 makes the chat"),
    (row(99, -1, 5.0, 5), "timestamp: must not fall, got 5.0 after 50; sort the file"),
    (row(99, -1, -5.0, 5), "timestamp: must be seconds >= 0, got -5.0"),
    (row(99, -1, 60.0, -5), "input_length: must be a whole number of tokens >= 1, got -5"),
    (row(99, -1, 60.0, 16, [1, 2]), "hash_ids: 2 blocks of 16 tokens for input_length 16"),
    ({"chat_id": 1, "timestamp": 2}, "input_length is missing, has chat_id, timestamp"),
]


@pytest.mark.parametrize(("bad", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_a_malformed_row_is_named(tmp_path: Path, bad: Any, problem: str) -> None:
    path = written(tmp_path, [*GOOD, bad])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:6: {problem}")
    made = scenario({"name": "x"}, trace={"format": "bailian", "path": path, "skip_bad_rows": 1})
    demand = workload(made, [16])
    assert len(play(demand)) == 5
    assert demand.skipped_rows == 1


def test_another_format(tmp_path: Path) -> None:
    mooncake = {"timestamp": 0, "input_length": 5, "output_length": 5}
    with pytest.raises(InputError, match=r":1: chat_id is missing.*it looks like mooncake"):
        read(written(tmp_path, [mooncake]))
    with pytest.raises(InputError, match="the trace is empty"):
        read(written(tmp_path, []))


def test_blocks_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must divide the 16 tokens"):
        read(written(tmp_path, GOOD), size=64)
