"""Reading tables of step times: every unusable line is named, nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.errors import ScenarioError
from factory.performance.step_table import Row, read_table

HEADER = "phase,batch,context,milliseconds"


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "steps.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read_table(path, "steps.csv")
    return [str(problem) for problem in caught.value.problems]


def test_rows_in_any_order_with_comments_and_other_columns(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# H200, 2026-11",
        "milliseconds,Phase, context ,batch,cached,who",
        "7.5,decode,1024,8,,me",
        "",
        "30,prefill,512,2,1000,me",
    )
    table = read_table(path)
    assert table.decode == (Row("decode", 8, 1024, 0, 7.5, 3),)
    assert table.prefill == (Row("prefill", 2, 512, 1000, 30.0, 5),)


def test_a_repeated_measurement_counts_with_its_median(tmp_path: Path) -> None:
    rows = [f"decode,1,64,{ms}" for ms in (5, 9, 6)]
    (row,) = read_table(written(tmp_path, HEADER, *rows)).decode
    assert row.milliseconds == 6.0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("generation,1,64,5", 'steps.csv:2: phase: is unknown, got "generation"'),
        ("decode,0,64,5", 'steps.csv:2: batch: must be a whole number >= 1, got "0"'),
        ("decode,1.5,64,5", 'steps.csv:2: batch: must be a whole number >= 1, got "1.5"'),
        ("decode,1,,5", "steps.csv:2: context: must be a whole number >= 1"),
        ("decode,1,64,0", 'steps.csv:2: milliseconds: must be a number > 0, got "0"'),
        ("decode,1,64,nan", 'steps.csv:2: milliseconds: must be a number > 0, got "nan"'),
        ("decode,1,64", "steps.csv:2: milliseconds: must be a number > 0"),
    ],
)
def test_an_unusable_line(tmp_path: Path, line: str, told: str) -> None:
    (problem,) = problems(written(tmp_path, HEADER, line))
    assert problem.startswith(told)


def test_all_lines_are_told_at_once(tmp_path: Path) -> None:
    found = problems(written(tmp_path, HEADER, "decode,0,0,0", "nothing,1,1,1"))
    assert [problem.split(": ")[0] for problem in found] == ["steps.csv:2"] * 3 + ["steps.csv:3"]


def test_a_missing_column_an_empty_file_and_none(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, "phase,batch,milliseconds", "decode,1,5"))
    assert "lacks the column context" in problem
    (problem,) = problems(written(tmp_path, HEADER))
    assert "holds no step times" in problem
    (problem,) = problems(tmp_path / "none.csv")
    assert "cannot be read" in problem


def test_cached_tokens_are_for_prefill(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, HEADER + ",cached", "decode,1,64,5,10"))
    assert "cached: is for prefill only" in problem
