"""Lengths out of files."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.errors import InputError
from factory.scenario import Length
from factory.scenario.lengths import JointLengths
from factory.statistics import stream
from factory.workload.lengths import joint, seconds, tokens
from factory.workload.lengths.columns import read_columns

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"
ROWS = [(100, 5), (4000, 80), (20, 900), (20, 1)]
CSV = "time,in,out\n" + "".join(f'"1, 2",{a},{b}\n' for a, b in ROWS)
JSONL = "".join(json.dumps({"out": b, "in": a, "ids": [1]}) + "\n\n" for a, b in ROWS)


def written(folder: Path, kind: str) -> str:
    path = folder / kind
    if kind == "parquet":
        inputs, outputs = zip(*ROWS, strict=True)
        pq.write_table(pa.table({"in": pa.array(inputs, pa.int32()), "out": outputs}), path)
    else:
        text = (CSV if "csv" in kind else JSONL).encode()
        path.write_bytes(gzip.compress(text, mtime=0) if kind.endswith("gz") else text)
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_every_format_gives_the_same_lengths(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    inputs, outputs = read_columns(path, ["in", "out"])
    assert list(zip(inputs.tolist(), outputs.tolist(), strict=True)) == ROWS
    made = tokens(Length(distribution="empirical", path=path, column="in"))
    assert (made.mean(), made.quantile(0.5), made.quantile(0.51)) == (1035, 20, 100)
    drawn = made.sample(stream(1, 0, "file"), 400)
    assert set(drawn.tolist()) == {100.0, 4000.0, 20.0}
    section = JointLengths(path=path, input="in", output="out")
    pairs = zip(*joint(section).sample(stream(1, 0, "pairs"), 400), strict=True)
    assert {(int(a), int(b)) for a, b in pairs} == set(ROWS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "in,out\n1,2\nx,3\n", 'a.csv:3: in: must be a number >= 0, got "x"'),
        ("a.csv", "in,out\n1,2\n\n-3,2\n", 'a.csv:4: in: must be a number >= 0, got "-3"'),
        ("a.csv", "in,out\nnan,2\n", 'a.csv:2: in: must be a number >= 0, got "nan"'),
        ("a.csv", "in,out\n1,2,3\n", "a.csv:2: must have 2 cells, got 3"),
        ("a.csv", "In,out\n1,2\n", 'a.csv:1: has no column "in" (has In, out; did you mean In?)'),
        ("a.csv", "in,out\n", "a.csv: holds no row"),
        ("a.csv", "", "a.csv: holds no row"),
        ("a.jsonl", '{"in": 1}\n{"in": "x"}', 'a.jsonl:2: in: must be a number >= 0, got "x"'),
        ("a.jsonl", '{"in": 1}\n{"in": true}', "a.jsonl:2: in: must be a number >= 0, got true"),
        ("a.jsonl", '{"in": 1}\n{"inn": 2}', 'a.jsonl:2: has no column "in" (has inn'),
        ("a.jsonl", '{"in": 1}\n{"in": 2', "a.jsonl:2: is not JSON"),
        ("a.jsonl", '{"in": 1}\n[2]', "a.jsonl:2: must be a JSON object, got [2]"),
        ("a.csv", b"in\n1\n\xff\n", "a.csv:3: is not UTF-8 text"),
        (
            "a.csv.gz",
            gzip.compress(b"in\n1\n2\n", mtime=0)[:-9],
            "the gzip stream is damaged or truncated",
        ),
        ("a.parquet", b"PAR1xxxx", "a.parquet: cannot be read as Parquet"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        tokens(Length(distribution="empirical", path=str(path), column="in"))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"out": [1]}, 'has no column "in" (has out)'),
        ({"in": ["a"]}, "in: must be a column of numbers, got string"),
        ({"in": [1, None]}, "row 2: in: must be a number >= 0, got null"),
        ({"in": [1.0, -2.5]}, "row 2: in: must be a number >= 0, got -2.5"),
        ({"in": pa.array([], pa.int64())}, "holds no row"),
    ],
)
def test_parquet_that_cannot_be_used(tmp_path: Path, columns: Any, message: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError) as caught:
        seconds(Length(distribution="empirical", path=str(path), column="in"))
    assert message in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file"):
        read_columns("nowhere.csv", ["in"])


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        (
            "azure_2023_conv.csv.gz",
            ("ContextTokens", "GeneratedTokens"),
            ((1155, 1020, 4142), (211, 129, 601)),
        ),
        (
            "mooncake_conversation.jsonl.gz",
            ("input_length", "output_length"),
            ((12_035, 6_909, 85_400), (343, 350, 1_119)),
        ),
    ],
)
def test_lengths_of_published_traces(name: str, columns: Any, expected: Any) -> None:
    path = TRACES / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/traces/{name}, which is not beside this checkout")
    made = joint(JointLengths(path=str(path), input=columns[0], output=columns[1]))
    for side, (mean, median, p99) in zip((made.input, made.output), expected, strict=True):
        assert (round(side.mean()), side.quantile(0.5)) == (mean, median)
        assert side.quantile(0.99) == pytest.approx(p99, rel=2e-3)
    inputs, outputs = made.sample(stream(1, 0, "trace"), 20_000)
    there = set(zip(made.inputs, made.outputs, strict=True))  # type: ignore[attr-defined]
    assert set(zip(inputs, outputs, strict=True)) <= there
    assert np.isfinite(made.input.variance())
