"""What reaches the files: types, nulls, derivations, row groups, bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hand_made_run as by_hand
import pyarrow.parquet as pq
import pytest

from factory.errors import RunError
from factory.records import stream
from factory.records.codes import IN_FLIGHT, LEDGER_STATES
from factory.records.schema import SCHEMA, STREAMED
from factory.records.tables import RunTables

SUPPORT = Path(by_hand.__file__).parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_hand.write(tmp_path_factory.mktemp("runs") / "run")


def rows(run: Path, table: str) -> list[dict]:
    return pq.read_table(run / "tables" / f"{table}.parquet").to_pylist()


def hashes(run: Path) -> dict[str, str]:
    files = sorted((run / "tables").iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_request_served(run: Path) -> None:
    row = rows(run, "fact_requests")[2]
    assert row["run_id"] == "c0ffee"
    assert row["weight"] == 1.0
    assert row["request_id"] == "r000000001"
    assert row["root_request_id"] == "r000000001"
    assert row["parent_request_id"] == "r000000000"
    assert row["session_id"] == "s000000000"
    assert (row["deployment"], row["tenant"], row["outcome"]) == ("main", "chat", "completed")
    assert (row["prefill_pool"], row["prefill_replica"], row["prefill_rank"]) == (
        "prefill",
        "prefill/0",
        0,
    )
    assert (row["decode_pool"], row["decode_replica"], row["decode_rank"]) == (
        "decode",
        "decode/0",
        0,
    )
    assert row["arrived_at"] == datetime(2026, 1, 1, 0, 0, 12, tzinfo=UTC)
    assert row["completed_at"] == datetime(2026, 1, 1, 0, 0, 17, 500_000, tzinfo=UTC)
    assert row["queue_s"] == 0.0
    assert row["ttft_s"] == 13.5 - 12
    assert row["e2e_s"] == 17.5 - 12
    assert row["itl_s"] == ((17.5 - 12) - (13.5 - 12)) / (41 - 1)
    assert row["is_good"] is True
    assert row["is_measured"] is True
    assert (row["input_computed_tokens"], row["input_cached_tokens"]) == (150, 50)
    assert (row["output_tokens"], row["decode_steps"]) == (41, 20)
    assert (row["gpu_s_input_computed"], row["gpu_s_input_cached"]) == (1.5, 0.5)


def test_null_means_did_not_happen(run: Path) -> None:
    first, rejected, *_ = rows(run, "fact_requests")
    assert first["parent_request_id"] is None
    for name in (
        *("prefill_pool", "prefill_replica", "prefill_rank", "decode_pool", "decode_replica"),
        *("decode_rank", "prefill_start_time_s", "first_token_time_s", "queue_s", "ttft_s"),
        *("itl_s", "e2e_s", "transfer_s"),
    ):
        assert rejected[name] is None, name
    assert rejected["completion_time_s"] == 15.0
    assert rejected["outcome"] == "rejected"
    assert rejected["output_tokens"] == 0
    assert rejected["is_good"] is False


def test_one_output_token_has_no_inter_token_latency(run: Path) -> None:
    row = next(r for r in rows(run, "fact_requests") if r["output_tokens"] == 1)
    assert row["itl_s"] is None
    assert row["is_good"] is True


def test_good_is_within_every_limit(run: Path) -> None:
    # r2 waits 3.5 s for its first token, limit 2 s; the agent has no limits.
    good = {r["request_id"][-1]: r["is_good"] for r in rows(run, "fact_requests")}
    assert good == {"0": True, "1": True, "2": False, "3": False, "4": True, "5": True}


def test_a_limit_met_exactly_is_met(tmp_path: Path) -> None:
    def on_the_limit(streams: dict, _: dict) -> None:
        times = (12.0, 12.0, 13.0, 14.0, 20.0)
        streams["fact_requests"] = [by_hand.request(1, 0, times, (9, 9, 0, 0, 41), (0, 0, 0))]

    run = by_hand.write(tmp_path / "run", on_the_limit)
    assert rows(run, "fact_requests")[0]["is_good"] is True


def test_in_flight_has_not_left(tmp_path: Path) -> None:
    def still_there(streams: dict, _: dict) -> None:
        times = (12.0, 12.0, 13.0, None, None)
        row = by_hand.request(1, 0, times, (9, 9, 0, 0, 0), (0, 0, 0), outcome=IN_FLIGHT)
        streams["fact_requests"] = [row]

    row = rows(by_hand.write(tmp_path / "run", still_there), "fact_requests")[0]
    assert row["completion_time_s"] is None
    assert row["completed_at"] is None
    assert row["prefill_end_time_s"] == 13.0
    assert row["outcome"] == "in_flight"


def test_windows(run: Path) -> None:
    decode = [r for r in rows(run, "fact_intervals") if r["pool"] == "decode"]
    assert [r["window_start_time_s"] for r in decode] == [0.0, 10.0, 20.0, 30.0]
    assert [r["window_s"] for r in decode] == [10.0, 10.0, 10.0, 5.0]
    assert [r["is_measured"] for r in decode] == [False, True, True, False]
    assert decode[1]["window_start_at"] == by_hand.EPOCH + timedelta(seconds=10)
    assert {r["role"] for r in decode} == {"decode"}
    assert {r["deployment"] for r in decode} == {"main"}
    assert decode[1]["gpu_s_power_capped"] == 2.0
    assert decode[0]["energy_it_kwh"] == 400 * 4 * 10 / 3.6e6
    assert decode[0]["energy_facility_kwh"] == pytest.approx(400 * 4 * 10 * 1.25 / 3.6e6)
    stranded = [r for r in rows(run, "fact_intervals") if r["role"] == "unassigned"]
    assert {r["deployment"] for r in stranded} == {None}


def test_power(run: Path) -> None:
    facility, *_, rack = rows(run, "fact_power")
    assert facility["level"] == "facility"
    assert facility["mean_it_kw"] == pytest.approx(3.2)
    assert facility["budget_it_kw"] is None
    assert rack["power_node"] == "b-0"
    assert rack["budget_it_kw"] == pytest.approx(1.7)
    assert rack["mean_it_kw"] == pytest.approx(1.6)


def test_events_parameters_and_runs(run: Path) -> None:
    start, cap = rows(run, "fact_events")
    assert (start["value"], start["detail"]) == (None, None)
    assert cap["event_at"] == by_hand.EPOCH + timedelta(seconds=12.5)
    parameters = {
        r["path"]: (r["value"], r["value_number"]) for r in rows(run, "fact_run_parameters")
    }
    assert parameters["facility.pue"] == ("1.25", 1.25)
    assert parameters["name"] == ("by-hand", None)
    assert parameters["prices"] == (None, None)
    (described,) = rows(run, "fact_runs")
    assert described["seed"] == 2**53 + 1
    assert described["epoch_at"] == by_hand.EPOCH
    assert described["measured_to_at"] == by_hand.EPOCH + timedelta(seconds=30)
    assert described["study_id"] is None
    assert rows(run, "dim_tenants")[0]["priority"] == -1


def test_tables_never_given_are_there_and_empty(run: Path) -> None:
    names = {path.stem for path in (run / "tables").iterdir()}
    assert names == {table.name for table in SCHEMA.tables}
    assert rows(run, "dim_models") == []


def test_weight_stands_in_every_fact(tmp_path: Path) -> None:
    run = by_hand.write(tmp_path / "run", weight=2.5)
    for name in STREAMED:
        assert {row["weight"] for row in rows(run, name)} == {2.5}
    assert {row["weight"] for row in rows(run, "fact_runs")} == {1.0}


def test_row_groups_do_not_depend_on_the_flushes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ROW_GROUP", 50)
    monkeypatch.setattr(stream, "PACK_ROWS", 8)
    seen = set()
    for every in (1, 7, 1000):
        folder = tmp_path / str(every)
        folder.mkdir()
        tables = RunTables(folder, by_hand.constants(), by_hand.CODES)
        append = tables.appender("fact_requests")
        for number in range(123):
            times = (float(number), NAN_TIMES, None, None, float(number))
            append(by_hand.request(number, 1, times, (5, 0, 0, 0, 0), (0, 0, 0), outcome=1))
            if number % every == 0:
                monkeypatch.setattr("factory.records.tables.PACK_ROWS", 1)
                tables.maybe_flush()
        assert tables.finish(123.0)["fact_requests"] == 123
        path = folder / "fact_requests.parquet"
        groups = pq.ParquetFile(path).metadata
        assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [50, 50, 23]
        seen.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(seen) == 1


NAN_TIMES = float("nan")


def test_row_groups_hold_122880_rows(tmp_path: Path) -> None:
    tables = RunTables(tmp_path, by_hand.constants(), by_hand.CODES)
    row = by_hand.TENANT_INTERVALS[0]
    append = tables.appender("fact_tenant_intervals")
    for _ in range(122_881):
        append(row)
    tables.maybe_flush()
    tables.finish(35.0)
    groups = pq.ParquetFile(tmp_path / "fact_tenant_intervals.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(2)] == [122_880, 1]


def test_the_end_of_the_measured_interval_may_come_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ROW_GROUP", 2)
    monkeypatch.setattr("factory.records.tables.PACK_ROWS", 1)
    (tmp_path / "late").mkdir()
    (tmp_path / "early").mkdir()
    early = RunTables(tmp_path / "early", by_hand.constants(), by_hand.CODES)
    late = RunTables(
        tmp_path / "late", by_hand.constants(measured_to_s=float("inf")), by_hand.CODES
    )
    for tables in (early, late):
        for name, stream_rows in by_hand.STREAMS.items():
            for row in stream_rows:
                tables.appender(name)(row)
            tables.maybe_flush()
    late.end_measured(30.0)
    for tables in (early, late):
        tables.finish(by_hand.END_S)
    for name in STREAMED:
        told = [
            pq.read_table(tmp_path / when / f"{name}.parquet").to_pylist()
            for when in ("early", "late")
        ]
        if name in {"fact_requests", "fact_events"}:
            assert told[0] == told[1]
        elif told[0]:
            assert [r["is_measured"] for r in told[0]] == [r["is_measured"] for r in told[1]]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (14, float("nan"), "arrival_time_s: row 0 of a batch is null, must have a value"),
        (15, float("inf"), "prefill_start_time_s: row 0 of a batch is infinite"),
        (19, 1.5, "input_tokens: row 0 of a batch must be a whole number"),
        (19, None, "input_tokens: a value does not fit int64"),
        (2, 2.0**40, "attempt: a value does not fit int32"),
        (7, 2, "tenant: no such code, got 2, allowed: 0 to 1"),
        (32, "x", "fact_requests: a row does not fit"),
    ],
)
def test_a_value_that_cannot_stand_is_named(
    tmp_path: Path, place: int, value: object, message: str
) -> None:
    tables = RunTables(tmp_path, by_hand.constants(), by_hand.CODES)
    row = list(by_hand.REQUESTS[0])
    row[place] = value
    tables.appender("fact_requests")(tuple(row))
    with pytest.raises(RunError, match=message):
        tables.finish(35.0)


def test_a_row_of_the_wrong_length_is_named(tmp_path: Path) -> None:
    tables = RunTables(tmp_path, by_hand.constants(), by_hand.CODES)
    tables.appender("fact_power")((0, 1, 2.0))
    with pytest.raises(RunError, match="fact_power: a row must have 15 values, got 3"):
        tables.finish(35.0)


def test_a_dimension_names_what_is_wrong(tmp_path: Path) -> None:
    tables = RunTables(tmp_path, by_hand.constants(), by_hand.CODES)
    with pytest.raises(
        RunError, match=r"dim_tenants: no column 'priorty'; did you mean priority\?"
    ):
        tables.write_dim("dim_tenants", [{"priorty": 1}])
    with pytest.raises(RunError, match="dim_prices: usd_per_gpu_hour, covers, kind must be given"):
        tables.write_dim("dim_prices", [{"pricing_id": "p", "system": "a"}])


def test_ids_beyond_nine_digits_keep_them_all(tmp_path: Path) -> None:
    tables = RunTables(tmp_path, by_hand.constants(), by_hand.CODES)
    row = list(by_hand.REQUESTS[0])
    row[0] = row[1] = 12_345_678_901
    tables.appender("fact_requests")(tuple(row))
    tables.finish(35.0)
    (read,) = pq.read_table(tmp_path / "fact_requests.parquet").to_pylist()
    assert read["request_id"] == "r12345678901"
    assert read["session_id"] == "s000000000"


@pytest.mark.parametrize(
    ("session", "task", "spelled"),
    [
        (17, 3, "s000000017.003"),
        (0, 999, "s000000000.999"),
        (17, 1000, "s000000017.1000"),
        (12_345_678_901, 0, "s12345678901.000"),
    ],
)
def test_a_task_is_named_by_its_session_and_its_number(
    tmp_path: Path, session: int, task: int, spelled: str
) -> None:
    tables = RunTables(tmp_path, by_hand.constants(), by_hand.CODES)
    row = list(by_hand.REQUESTS[0])
    names = [field.name for field in SCHEMA.table("fact_requests").raw]
    row[names.index("session")], row[names.index("task")] = session, task
    tables.appender("fact_requests")(tuple(row))
    tables.finish(35.0)
    (read,) = pq.read_table(tmp_path / "fact_requests.parquet").to_pylist()
    assert (read["task_id"], read["task"], read["agent"]) == (spelled, task, 0)


def test_the_ledger_columns_follow_the_codes(run: Path) -> None:
    table = SCHEMA.table("fact_intervals")
    names = [column.name for column in table.columns]
    first = names.index(f"gpu_s_{LEDGER_STATES[0]}")
    assert names[first : first + 17] == [f"gpu_s_{state}" for state in LEDGER_STATES]


def test_the_same_rows_give_the_same_bytes(run: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import hand_made_run; from pathlib import Path\n"
        "hand_made_run.write(Path(sys.argv[2]))\n"
        "assert 'pandas' not in sys.modules\n"
    )
    other = tmp_path / "other"
    environment = {**os.environ, "PYTHONHASHSEED": "4242", "TZ": "Asia/Tokyo"}
    root = str(Path(sys.modules["factory"].__file__ or "").parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-c", script, str(SUPPORT), str(other)],
        check=True,
        env=environment,
        cwd=tmp_path,
    )
    assert hashes(other) == hashes(run)
