from __future__ import annotations

from pathlib import Path

import pytest
from measured import read_csv

from factory.errors import InputError
from factory.validation import rows


def table(tmp_path: Path, text: str) -> rows.Table:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    return rows.read(path)


def test_rows_keep_their_place(tmp_path: Path) -> None:
    read = table(tmp_path, "a,b\n1, x \n2,y\n")
    assert read.columns == ("a", "b")
    assert [row.place.rpartition(":")[2] for row in read.rows] == ["2", "3"]
    assert read.rows[0].text("b") == "x"
    assert read.rows[1].whole("a") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: must begin with a header"),
        ("a,a\n1,2\n", ":1: the header names a column twice: a"),
        ("a,b\n", "holds no rows"),
        ("a,b\n1\n", ":2: has 1 cells, the header has 2"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        table(tmp_path, text)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        rows.read(tmp_path / "none.csv")


def test_cells_that_cannot_be_read(tmp_path: Path) -> None:
    (row,) = table(tmp_path, "a,b,c\nx,1.5,perhaps\n").rows
    with pytest.raises(InputError, match=r'm.csv:2: a: must be a number, got "x"'):
        row.number("a")
    with pytest.raises(InputError, match=r'b: must be a whole number of at least 0, got "1.5"'):
        row.whole("b")
    with pytest.raises(InputError, match=r'c: must be True or False, got "perhaps"'):
        row.flag("c")


def test_a_missing_column_is_named_with_what_was_meant(tmp_path: Path) -> None:
    read = table(tmp_path, "sytem,b\n1,2\n")
    with pytest.raises(InputError, match=r"needs the columns system \(did you mean to call sytem"):
        rows.require(read, ("system", "b"), "a file")


def test_rows_can_be_chosen(tmp_path: Path) -> None:
    read = table(tmp_path, "a,b\n1,x\n2,x\n3,y\n4,x\n5,x\n")
    kept = rows.chosen(read, ["b=X"], every=2, limit=1)
    assert [row.text("a") for row in kept.rows] == ["1"]
    assert len(rows.chosen(read, every=2).rows) == 3
    with pytest.raises(InputError, match=r"--where b=z: .* has no such row"):
        rows.chosen(read, ["b=z"])
    with pytest.raises(InputError, match=r"no column bb \(of a, b; did you mean b\?\)"):
        rows.chosen(read, ["bb=z"])
    with pytest.raises(InputError, match=r"must be COLUMN=VALUE"):
        rows.chosen(read, ["b"])


def test_writing_keeps_every_column_and_row(tmp_path: Path) -> None:
    read = table(tmp_path, "a,b,p\n1,x,old\n2,y,old\n")
    out = tmp_path / "out.csv"
    rows.write(out, read, {"p": ["7", ""], "why": ["", "so"]})
    assert read_csv(out) == [
        {"a": "1", "b": "x", "p": "7", "why": ""},
        {"a": "2", "b": "y", "p": "", "why": "so"},
    ]
    assert not list(tmp_path.glob("*.partial"))


def test_cells() -> None:
    assert rows.cell(None) == rows.cell(float("nan")) == ""
    assert rows.cell(1.23456789012) == "1.23456789"
