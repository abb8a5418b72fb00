"""The schema: pinned by a golden file, held by every file, fit for every reader."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import duckdb
import hand_made_run as by_hand
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.records.dictionary import data_dictionary
from factory.records.schema import SCHEMA

GOLDEN = Path(__file__).parent / "golden_schema.json"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_hand.write(tmp_path_factory.mktemp("runs") / "run") / "tables"


def described() -> dict:
    return {
        "name": SCHEMA.name,
        "version": SCHEMA.version,
        "tables": {
            table.name: {
                "raw": [f"{field.name}: {field.kind}" for field in table.raw],
                "columns": [
                    " ".join(
                        [
                            f"{column.name}: {column.type}",
                            *(["null"] if column.nullable else []),
                            f"[{column.unit}]",
                            column.aggregation,
                        ]
                    )
                    for column in table.columns
                ],
            }
            for table in SCHEMA.tables
        },
    }


def test_the_schema_is_the_golden_one() -> None:
    """A change here is a change for every user of the tables: raise the version with it.

    To accept one: python tests/records/test_schema.py
    """
    assert described() == json.loads(GOLDEN.read_text("utf-8"))


def test_names_follow_the_conventions() -> None:
    for table in SCHEMA.tables:
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names), table.name
        assert "run_id" in names
        assert (
            not table.name.startswith("fact_") or "weight" in names or table.raw[0].name == "path"
        )
        for column in table.columns:
            where = f"{table.name}.{column.name}"
            assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name), where
            assert column.description.endswith("."), where
            assert (column.type == "bool") == column.name.startswith(("is_", "has_")), where
            assert (column.type == "timestamp") == column.name.endswith("_at"), where
            assert (column.type == "id") <= column.name.endswith("_id"), where
            if column.unit == "s":
                assert column.name.endswith("_s"), where
            for unit in ("tokens", "kw", "kwh", "mw", "gpu_s"):
                if column.name.endswith(f"_{unit}"):
                    assert column.unit, where


def test_files_say_what_the_schema_says(tables: Path) -> None:
    for table in SCHEMA.tables:
        file = pq.ParquetFile(tables / f"{table.name}.parquet")
        schema = file.schema_arrow
        assert schema.names == [column.name for column in table.columns]
        assert schema.metadata[b"schema_name"] == b"token-factory-run"
        assert schema.metadata[b"schema_version"] == SCHEMA.version.encode()
        for column in table.columns:
            field = schema.field(column.name)
            assert field.nullable == column.nullable, field
            assert field.metadata[b"description"].decode() == column.description
            assert field.metadata[b"unit"].decode() == column.unit
            assert field.metadata[b"aggregation"].decode() == column.aggregation
            assert not pa.types.is_nested(field.type)
            if column.type == "string":
                assert field.type == pa.dictionary(pa.int32(), pa.string())
            if column.type == "timestamp":
                assert field.type == pa.timestamp("us", tz="UTC")
        chunk = file.metadata.row_group(0).column(0) if file.metadata.num_row_groups else None
        assert chunk is None or chunk.compression == "ZSTD"


def test_no_nan_in_any_file(tables: Path) -> None:
    for table in SCHEMA.tables:
        read = pq.read_table(tables / f"{table.name}.parquet")
        for column in table.columns:
            if column.type == "float64":
                values = [v for v in read.column(column.name).to_pylist() if v is not None]
                assert all(math.isfinite(v) for v in values), column.name


def test_readers_agree(tables: Path) -> None:
    path = tables / "fact_requests.parquet"
    arrow = pq.read_table(path)
    frame = pd.read_parquet(path)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name in ("request_id", "tenant", "outcome", "input_tokens", "ttft_s", "is_good"):
        own = arrow.column(name).to_pylist()
        sql = [row[0] for row in connection.sql(f"SELECT {name} FROM '{path}'").fetchall()]
        assert sql == own
        seen = [None if pd.isna(value) else value for value in frame[name]]
        assert seen == own
    assert str(frame["arrived_at"].dtype) == "datetime64[us, UTC]"
    parts = connection.sql(f"SELECT epoch_us(arrived_at) FROM '{path}' LIMIT 1").fetchall()
    assert parts == [(int(by_hand.EPOCH.timestamp() * 1e6) + 1_000_000,)]


def test_the_data_dictionary_has_every_column() -> None:
    text = data_dictionary(SCHEMA)
    for table in SCHEMA.tables:
        section = text.split(f"## {table.name}\n")[1].split("\n## ")[0]
        for column in table.columns:
            assert f"| `{column.name}` |" in section


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(described(), indent=1, ensure_ascii=False) + "\n", "utf-8")
