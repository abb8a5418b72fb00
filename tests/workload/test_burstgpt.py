from pathlib import Path
from typing import Any

import pytest
from demand import play, scenario, workload

from factory.errors import InputError
from factory.workload import Request

SIX = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
EIGHT = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
)
PLAIN = [
    "5,ChatGPT,472,18,490,Conversation log",
    "45,ChatGPT,1087,230,1317,Conversation log",
    "45,GPT-4,417,0,417,API log",
]
SESSIONS = [
    "100.0,aa,20,GPT-4,100,10,110,Conversation log",
    "110.0,bb,,ChatGPT,200,20,220,Conversation log",
    "115.0,,3,ChatGPT,50,5,55,API log",
    "150.0,aa,5,GPT-4,300,30,330,Conversation log",
    "152.0,aa,5,GPT-4,400,40,440,Conversation log",
    "160.0,bb,1,ChatGPT,500,50,550,Conversation log",
]


def written(path: Path, lines: list[str]) -> str:
    file = path / "burst.csv"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def read(path: str, service_s: float = 1.0, **fields: Any) -> list[Request]:
    trace = {"format": "burstgpt", "path": path, **fields}
    return play(workload(scenario({"name": "users"}, trace=trace)), service_s)


def test_calls_of_their_own(tmp_path: Path) -> None:
    requests = read(written(tmp_path, [SIX, *PLAIN]))
    assert [r.arrival_s for r in requests] == [0.0, 40.0, 40.0]
    assert [r.input_tokens for r in requests] == [472, 1087, 417]
    assert [r.output_tokens for r in requests] == [18, 230, 1]  # the last one failed there
    assert [r.session for r in requests] == [0, 1, 2]


def test_sessions_think_as_long_as_they_did(tmp_path: Path) -> None:
    at = {(r.session, r.turn): r for r in read(written(tmp_path, [EIGHT, *SESSIONS]), 7.0)}
    assert len(at) == 6
    # 150 − (100 + 20) = 30 s after the answer, but not before 150; then 0 s after it.
    assert [at[0, turn].arrival_s for turn in range(3)] == [0.0, 50.0, 57.0]
    # Where no elapsed time is stated, the time itself counts.
    assert [at[1, turn].arrival_s for turn in range(2)] == [10.0, 60.0]
    assert at[2, 0].arrival_s == 15.0
    slow = {(r.session, r.turn): r for r in read(written(tmp_path, [EIGHT, *SESSIONS]), 40.0)}
    assert [slow[0, turn].arrival_s for turn in range(3)] == [0.0, 70.0, 110.0]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("5", "must have 8 cells, got 1"),
        ("soon,aa,1,GPT-4,1,1,2,API log", "Timestamp: must be seconds >= 0, got 'soon'"),
        ("-1,aa,1,GPT-4,1,1,2,API log", "Timestamp: must be seconds >= 0, got '-1'"),
        ("90,aa,1,GPT-4,1,1,2,API log", "Timestamp: must not fall, got 90 after 160; sort"),
        ("161,aa,1,GPT-4,0,1,1,API log", "Request tokens: must be a whole number of tokens >= 1"),
        ("161,aa,1,GPT-4,5,-1,4,API log", "Response tokens: must be a whole number of tokens >= 0"),
        ("161,aa,1,GPT-4,5,1.5,4,API log", "Response tokens: must be a whole number of tokens"),
        ("161,aa,-1,GPT-4,5,1,6,API log", "Elapsed time: must be seconds >= 0, got '-1'"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, bad: str, problem: str) -> None:
    path = written(tmp_path, [EIGHT, *SESSIONS, bad])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:8: {problem}")
    assert len(read(path, skip_bad_rows=1)) == 6


def test_other_columns(tmp_path: Path) -> None:
    azure = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46.6805900,374,44"]
    with pytest.raises(InputError, match=r":1: the columns must be .*it looks like azure"):
        read(written(tmp_path, azure))
    with pytest.raises(InputError, match=r":1: column Timestamp stands there twice"):
        read(written(tmp_path, [SIX + ",timestamp", *PLAIN]))
    with pytest.raises(InputError, match="the trace is empty"):
        read(written(tmp_path, [SIX]))
    json_line = '{"chat_id": 1, "timestamp": 0}'
    with pytest.raises(InputError, match="it looks like bailian"):
        read(written(tmp_path, [json_line]))
