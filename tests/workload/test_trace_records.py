import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_run import make_run

from factory.errors import InputError
from factory.workload.traces.detect import SIGNS, detect
from factory.workload.traces.records import Records, head, read

AZURE = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2024-05-10 00:00:00.009930+00:00,2162,5"]
EIGHT = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Log Type"
BURST = [EIGHT, "1,aa,2,GPT-4,10,5,API log", "9,aa,2,GPT-4,20,5,API log"]
MOONCAKE = [{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}]
SESSIONS = [{**MOONCAKE[0], "session_id": "a"},
            {"session_id": "a", "input_length": 7, "output_length": 1, "delay": 1500}]  # fmt: skip
BAILIAN = [{"chat_id": 1, "parent_chat_id": -1, "timestamp": 2.5, "input_length": 20,
            "output_length": 3, "hash_ids": [4, 5]}]  # fmt: skip
CHAT = [{"session_id": "a", "turns": [
    {"text": "one two", "output_length": 3},
    {"text": "three", "output_length": 1, "delay": 500},
]}]  # fmt: skip
TREE = [{"session_id": "r", "turns": [{"messages": [{"role": "user", "content": "x"}],
                                       "max_tokens": 2, "forks": ["c"]}]},
        {"session_id": "c", "turns": [{"messages": [{"role": "user", "content": "y"}],
                                       "max_tokens": 2, "delay": 250}]}]  # fmt: skip


def lines(path: Path, rows: list[Any], name: str = "trace") -> str:
    file = path / name
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    file.write_text(text)
    return str(file)


def agentic(path: Path) -> str:
    table = {
        "session_id": ["s", "s"],
        "agent": ["main", "main"],
        "t_s": [0.0, 10.0],
        "input_length": [64, 128],
        "output_length": [5, 5],
        "hash_runs": pa.array([[1, 1], [1, 2]], pa.list_(pa.int32())),
        "think_time_s": [0.0, 3.0],
        "api_time_s": [2.0, 2.0],
        "stop": ["end_turn", "tool_use"],
    }
    file = path / "sessions"
    pq.write_table(pa.table(table), file)
    return str(file)


def servegen(path: Path) -> str:
    (path / "chunk-0-trace.csv").write_text("0,1,1,Gamma,1,1\n600,0,0,,0,0\n")
    lengths = {"0": {"input_tokens": "{5: 1}", "output_tokens": "{2: 1}"}}
    (path / "chunk-0-dataset.json").write_text(json.dumps(lengths))
    return str(path)


def one(path: str, kind: str, **options: Any) -> Records:
    (records,) = read(path, kind, **options)
    return records


def test_each_format_is_told_by_its_first_rows(tmp_path: Path) -> None:
    made = {
        "azure": lines(tmp_path, AZURE, "a"),
        "burstgpt": lines(tmp_path, BURST, "b"),
        "mooncake": lines(tmp_path, ["", *SESSIONS], "m"),
        "bailian": lines(tmp_path, BAILIAN, "q"),
        "aiperf": lines(tmp_path, CHAT, "c"),
        "agentic": agentic(tmp_path),
    }
    assert {kind: detect(path) for kind, path in made.items()} == {kind: kind for kind in made}
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(Path(made["azure"]).read_bytes()))
    assert detect(str(packed)) == "azure"
    (tmp_path / "folder").mkdir()
    assert detect(servegen(tmp_path / "folder")) == "servegen"
    assert detect(str(tmp_path / "folder" / "chunk-0-trace.csv")) == "servegen"
    run = make_run(tmp_path / "run")
    assert detect(str(run)) == detect(str(run / "tables" / "fact_requests.parquet"))
    assert detect(str(run)) == "fact_requests"
    assert set(SIGNS) == {*made, "servegen", "fact_requests"}


@pytest.mark.parametrize("text", ["a,b,c\n1,2,3\n", "{\n", '{"x": 1}\n', "[1]\n"])
def test_files_in_no_format(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x"
    file.write_text(text)
    with pytest.raises(InputError, match=r"is in no format that can be told.*azure: CSV of"):
        detect(str(file))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        detect(str(tmp_path / "none"))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        detect(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="format: must be one of mooncake, aiperf"):
        list(read(str(tmp_path / "none"), "sharegpt"))


def test_requests_of_their_own(tmp_path: Path) -> None:
    mooncake = one(lines(tmp_path, MOONCAKE), "mooncake")
    assert (mooncake.blocks, mooncake.block_size) == ([(0, 2)], 512)
    assert mooncake.sessions is mooncake.turns is mooncake.delays_s is None
    azure = one(lines(tmp_path, AZURE), "azure")
    assert azure.times_s.tolist() == [1715299200.00993]
    assert azure.blocks is azure.block_size is None
    assert azure.inputs.dtype == azure.outputs.dtype == np.int64
    clients = one(servegen(tmp_path), "servegen", seed=1)
    assert (len(clients), set(clients.inputs.tolist())) == (600, {5})


def test_sessions(tmp_path: Path) -> None:
    rows = one(lines(tmp_path, SESSIONS), "mooncake")
    assert (rows.sessions, rows.turns, rows.parents) == ([0, 0], [0, 1], [-1, 0])
    assert rows.inputs.tolist() == [600, 612]
    assert rows.delays_s is not None
    assert (math.isnan(rows.delays_s[0]), rows.delays_s[1]) == (True, 1.5)
    assert (rows.times_s[0], math.isnan(rows.times_s[1])) == (0.0, True)
    burst = one(lines(tmp_path, BURST), "burstgpt")
    assert (burst.sessions, burst.turns) == ([0, 0], [0, 1])
    assert burst.delays_s is not None
    assert burst.delays_s[1] == 6.0
    chats = one(lines(tmp_path, BAILIAN), "bailian")
    assert (chats.times_s.tolist(), chats.block_size, chats.blocks) == ([2.5], 16, [(4, 2)])
    agents = one(agentic(tmp_path), "agentic", session_interval_s=5.0)
    assert (agents.times_s.tolist(), agents.tasks, agents.agents) == ([0.0, 10.0], [0, 1], [0, 0])


def test_conversations_and_trees(tmp_path: Path) -> None:
    chat = one(lines(tmp_path, CHAT), "aiperf")
    assert (chat.inputs.tolist(), chat.outputs.tolist()) == ([2, 6], [3, 1])
    assert (chat.times_s[0], math.isnan(chat.times_s[1])) == (0.0, True)
    tree = one(lines(tmp_path, TREE), "aiperf")
    assert (tree.sessions, tree.agents, tree.parents) == ([0, 0], [0, 1], [-1, 0])
    assert tree.delays_s is not None
    assert tree.delays_s[1] == 0.25


def test_a_run_of_ours(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows = one(str(run), "fact_requests")
    table = pq.read_table(run / "tables" / "fact_requests.parquet")
    assert len(rows) == table.num_rows
    assert (np.diff(rows.times_s) >= 0).all()
    assert rows.sessions is not None
    assert rows.blocks is None


def test_limits_and_parts(tmp_path: Path) -> None:
    path = lines(tmp_path, MOONCAKE * 5)
    assert len(one(path, "mooncake", limit=3)) == 3
    batch = one(path, "mooncake")
    first = head(batch, 2)
    assert (len(first), first.block_size, first.sessions) == (2, 512, None)
    bad = lines(tmp_path, [*MOONCAKE, "x", *MOONCAKE])
    assert len(one(bad, "mooncake", skip_bad_rows=1)) == 2
    with pytest.raises(InputError, match=r"trace:2: is not JSON"):
        one(bad, "mooncake")
