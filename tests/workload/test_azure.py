from pathlib import Path
from typing import Any

import pytest
from demand import play, scenario, workload

from factory.errors import InputError
from factory.workload import Request

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
GOOD = [
    "2023-11-16 18:15:46.6805900,374,44",
    "2023-11-16 18:15:50.9951690,396,109",
    "2023-11-16 18:15:50.9951690,879,0",
]


def written(path: Path, lines: list[str], end: str = "\r\n") -> str:
    file = path / "azure.csv"
    file.write_bytes((end.join(lines) + end).encode())
    return str(file)


def read(path: str, **fields: Any) -> list[Request]:
    trace = {"format": "azure", "path": path, **fields}
    return play(workload(scenario({"name": "users"}, trace=trace)))


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_rows_become_requests(tmp_path: Path, end: str) -> None:
    requests = read(written(tmp_path, [HEADER, *GOOD], end))
    assert [r.arrival_s for r in requests] == pytest.approx([0, 4.314579, 4.314579], abs=2e-6)
    assert [(r.input_tokens, r.output_tokens) for r in requests] == [
        (374, 44),
        (396, 109),
        (879, 1),
    ]
    assert {r.blocks for r in requests} == {()}


def test_the_format_of_2024(tmp_path: Path) -> None:
    rows = ["2024-05-10 00:00:00.009930+00:00,2162,5", "2024-05-10 00:00:01.009930+00:00,2399,6"]
    assert [r.arrival_s for r in read(written(tmp_path, [HEADER, *rows]))] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("2023-11-16 18:15:51,1", "must have 3 cells, got 2"),
        ("yesterday,1,2", "TIMESTAMP: must be a date and time, got 'yesterday'"),
        ("2023-11-16 18:15:49,1,2", "TIMESTAMP: must not fall"),
        ("2023-11-16 18:15:51,1.5,2", "must be whole numbers, got ['1.5', '2']"),
        ("2023-11-16 18:15:51,,2", "must be whole numbers, got ['', '2']"),
        ("2023-11-16 18:15:51,0,2", "ContextTokens: must be a whole number of tokens >= 1, got 0"),
        ("2023-11-16 18:15:51,5,-2", "GeneratedTokens: must be a whole number of tokens >= 0"),
    ],
)
def test_a_malformed_row_is_named_by_its_line(tmp_path: Path, bad: str, problem: str) -> None:
    path = written(tmp_path, [HEADER, *GOOD, bad, "2023-11-16 18:16:00,7,7"], "\n")
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:5: ")
    assert problem in str(caught.value)
    assert [r.input_tokens for r in read(path, skip_bad_rows=1)] == [374, 396, 879, 7]


def test_other_columns(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r":1: the columns must be TIMESTAMP.*got Timestamp, Model"
    ):
        read(written(tmp_path, ["Timestamp,Model", *GOOD]))


def test_columns_of_another_format_are_named(tmp_path: Path) -> None:
    burst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    with pytest.raises(
        InputError, match=r"ContextTokens, GeneratedTokens missing; it looks like b"
    ):
        read(written(tmp_path, [burst, "5,ChatGPT,472,18,490,API log"]))


def test_columns_stand_in_any_order(tmp_path: Path) -> None:
    rows = ["GeneratedTokens,Model,timestamp,ContextTokens", "7,x,2023-11-16 18:15:46,30"]
    assert [(r.input_tokens, r.output_tokens) for r in read(written(tmp_path, rows))] == [(30, 7)]


def test_times_that_only_numpy_would_take(tmp_path: Path) -> None:
    for stamp in ("2023", "NaT", "now", "2023-11-16T18"):
        path = written(tmp_path, [HEADER, *GOOD, f"{stamp},1,2"], "\n")
        with pytest.raises(InputError, match=":5: TIMESTAMP: must"):
            read(path)


def test_an_empty_trace(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the trace is empty"):
        read(written(tmp_path, [HEADER]))
    (tmp_path / "azure.csv").write_bytes(b"")
    with pytest.raises(InputError, match="the trace is empty"):
        read(str(tmp_path / "azure.csv"))
