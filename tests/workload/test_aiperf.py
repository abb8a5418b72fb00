import json
from pathlib import Path
from typing import Any

import pytest
from demand import play, scenario, workload

from factory.errors import InputError
from factory.workload import Request
from factory.workload.blocks import Chains
from factory.workload.traces.texts import tokens_of

WORDS = "word " * 100


def turn(text: str = WORDS, length: int = 50, **fields: Any) -> dict[str, Any]:
    return {"text": text, "output_length": length, **fields}


def say(text: str = WORDS, length: int = 50, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text}], "max_tokens": length, **fields}


def written(path: Path, rows: list[Any]) -> str:
    file = path / "inputs.jsonl"
    file.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return str(file)


def read(path: str, service_s: float = 1.0, size: int = 16, **fields: Any) -> list[Request]:
    trace = {"format": "aiperf", "path": path, **fields}
    return play(workload(scenario({"name": "users"}, trace=trace), [size]), service_s)


def test_about_how_many_tokens_a_text_is() -> None:
    assert tokens_of(WORDS) == 100
    assert tokens_of("Hello, internationalization!") == 1 + 1 + 3 + 1
    assert tokens_of("") == 0


CHATS = [
    {
        "session_id": "a",
        "turns": [
            {"role": "system", "text": "be brief " * 20},
            turn(timestamp=1000),
            turn(delay=3000),
            turn("more", timestamp=90_000),
        ],
    },
    {
        "session_id": "b",
        "turns": [{"role": "system", "text": "be brief " * 20}, turn("hm", timestamp=4000)],
    },
    turn("by itself", timestamp=5000),
    {"session_id": "a", "turns": [turn("end", delay=1000)]},
]


def test_conversations(tmp_path: Path) -> None:
    requests = read(written(tmp_path, CHATS), service_s=2.0)
    at = {(r.session, r.turn): r for r in requests}
    assert [at[0, i].arrival_s for i in range(4)] == [0.0, 5.0, 89.0, 92.0]
    assert [at[0, i].input_tokens for i in range(4)] == [140, 290, 341, 392]
    assert [at[0, i].parent for i in range(1, 4)] == [at[0, i].index for i in range(3)]
    assert (at[1, 0].arrival_s, at[2, 0].arrival_s) == (3.0, 4.0)
    chains = Chains()
    for request in requests:
        assert chains.admit(request.blocks) is None
        assert chains.admit(request.context_blocks) is None
        assert sum(request.blocks[1::2]) == request.input_tokens // 16
    # The system prompt's two whole blocks are shared, the answer by the turn after it only.
    assert at[0, 0].blocks[:2] == at[1, 0].blocks[:2] == (at[0, 0].blocks[0], 2)
    assert at[0, 1].blocks[: len(at[0, 0].context_blocks)] == at[0, 0].context_blocks
    assert sum(at[0, 0].context_blocks[1::2]) == 190 // 16


def test_without_timestamps_conversations_start_at_intervals(tmp_path: Path) -> None:
    rows = [{"session_id": name, "turns": [turn(), turn()]} for name in "abc"]
    path = written(tmp_path, rows)
    starts = [r.arrival_s for r in read(path, session_interval_s=10.0) if not r.turn]
    assert starts == [0.0, 10.0, 20.0]
    assert len(read(path, sessions=2)) == 4
    assert len(read(path, limit=3)) == 3
    loop = read(path, service_s=5.0, replay="closed_loop", concurrency=1)
    assert [r.arrival_s for r in loop] == [0, 5, 10, 15, 20, 25]


FORKS = [
    {"session_id": "root", "turns": [say("rules " * 64, 64, "system", forks=["x", "y"])]},
    {"session_id": "x", "turns": [say(delay=500), say()]},
    {"session_id": "y", "turns": [say()]},
]


def test_forks_go_on_from_the_answer(tmp_path: Path) -> None:
    requests = read(written(tmp_path, FORKS))
    root, x, after, y = sorted(requests, key=lambda r: r.turn)
    assert {r.session for r in requests} == {0}
    assert [r.agent for r in (root, x, after, y)] == [0, 1, 1, 2]
    assert [r.arrival_s for r in (root, x, after, y)] == [0.0, 1.5, 2.5, 1.0]
    assert [r.input_tokens for r in (root, x, after, y)] == [64, 228, 378, 228]
    assert root.context_blocks == x.blocks[:4] == y.blocks[:4]
    assert x.blocks[4] != y.blocks[4] or x.blocks == y.blocks
    assert x.parent == y.parent == root.index


SPAWNS = [
    {
        "session_id": "lead",
        "turns": [
            say(spawns=["s1", {"children": ["s2"], "join_at": 2}]),
            say("joined " * 10),
            say("last"),
        ],
    },
    {"session_id": "s1", "turns": [say("one " * 32, 10), say("two", 10)]},
    {"session_id": "s2", "turns": [say("one " * 32, 10, delay=20_000)]},
]


def test_spawns_begin_anew_and_are_joined(tmp_path: Path) -> None:
    requests = read(written(tmp_path, SPAWNS))
    by_agent: dict[int, list[Request]] = {}
    for request in requests:
        by_agent.setdefault(request.agent, []).append(request)
    lead, one, two = by_agent[0], by_agent[1], by_agent[2]
    assert [r.arrival_s for r in one] == [1.0, 2.0]
    assert [r.arrival_s for r in two] == [21.0]
    # Turn 1 waits for s1, turn 2 for s2.
    assert [r.arrival_s for r in lead] == [0.0, 3.0, 22.0]
    assert [r.input_tokens for r in one] == [32, 43]
    assert one[0].blocks == two[0].blocks
    assert {r.task for r in requests} == {0}


def test_an_orchestrator_runs_rounds(tmp_path: Path) -> None:
    rounds = {"session_id": "o", "orchestrator": True, "rounds": 2, "think_time_ms": 5000,
              "spawns": ["p", "q"]}  # fmt: skip
    leaves = [{"session_id": name, "turns": [say()]} for name in "pq"]
    requests = read(written(tmp_path, [rounds, *leaves]))
    assert [r.arrival_s for r in requests] == [0.0, 0.0, 6.0, 6.0]
    assert [r.agent for r in requests] == [1, 2, 3, 4]


def test_turns_that_state_their_whole_prompt(tmp_path: Path) -> None:
    row = {"session_id": "w", "context_mode": "message_array_with_responses",
           "turns": [say("a " * 32), say("b " * 32)]}  # fmt: skip
    requests = read(written(tmp_path, [row]))
    assert [r.input_tokens for r in requests] == [32, 32]
    assert requests[0].context_blocks == ()


BAD = [
    ("{", "is not JSON"),
    ({"session_id": "c"}, "turns is missing, has session_id"),
    ({"session_id": "c", "turns": []}, "turns: must be a list with at least one turn"),
    ({"session_id": "c", "turns": [{"text": "x"}]}, "turns.0.output_length (or max_tokens) is"),
    ({"session_id": "c", "turns": [turn(length=0)]}, "turns.0.output_length: must be a whole"),
    ({"session_id": "c", "turns": [turn(delay=-1)]}, "turns.0.delay: must be milliseconds >= 0"),
    ({"session_id": "c", "turns": [{"output_length": 1}]}, "turns.0: must have one of text"),
    ({"session_id": "c", "turns": [turn(image="x.png")]}, "turns.0: image has no known number"),
    ({"session_id": 5, "turns": [turn()]}, "session_id: must be a name, got 5"),
]


@pytest.mark.parametrize(("bad", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_a_malformed_line_is_named(tmp_path: Path, bad: Any, problem: str) -> None:
    path = written(tmp_path, [*CHATS, bad])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:5: {problem}")
    assert len(read(path, skip_bad_rows=1)) == 6


TREES = [
    ([*FORKS, FORKS[1]], ":4: session_id: x stands there twice (line 2)"),
    ([FORKS[0], FORKS[1]], ':1: no conversation has session_id "y"'),
    (
        [{"session_id": "l1", "turns": [say(spawns=["l2"])]},
         {"session_id": "l2", "turns": [say(spawns=["l1"])]}],
        "conversations lead back to themselves: l1 → l2 → l1",
    ),
    (
        [{"session_id": "l1", "turns": [say(forks=["x"])]}, *FORKS],
        "x is forked on line 1 already",
    ),
    ([{"session_id": "l1", "turns": [say(forks=["x"]), say()]}, *FORKS[1:]],
     ":1: turns.0.forks: x ends the conversation, so only its last turn may have it"),
    ([{"session_id": "l1", "turns": [say(spawns=[{"children": ["x"], "join_at": 0}]), say()]},
      *FORKS[1:]], ":1: turns.0.spawns: join_at: must be a later turn of the 2, got 0"),
    ([{"session_id": "l1", "orchestrator": True, "spawns": ["x"], "think_time_sigma": 0.5},
      *FORKS[1:]], ":1: think_time_sigma: waits that are drawn cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "problem"), TREES, ids=[problem for _, problem in TREES])
def test_trees_that_cannot_be(tmp_path: Path, rows: list[Any], problem: str) -> None:
    path = written(tmp_path, rows)
    with pytest.raises(InputError) as caught:
        read(path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")


def test_a_timestamp_that_falls(tmp_path: Path) -> None:
    rows = [*CHATS, {"session_id": "late", "turns": [turn(timestamp=10)]}]
    with pytest.raises(InputError, match=r":5: timestamp: must not fall from line to line, got 10"):
        read(written(tmp_path, rows))
