from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from demand import play, scenario, workload
from made_run import make_run

from factory.errors import InputError
from factory.workload import Request


def row(request: int, arrival_s: float, **fields: Any) -> dict[str, Any]:
    return {
        "request_id": f"r{request}",
        "attempt": 0,
        "parent_request_id": None,
        "session_id": f"s{request}",
        "turn": 0,
        "tenant": "chat",
        "arrival_time_s": arrival_s,
        "input_tokens": 100 + request,
        "requested_output_tokens": 10,
        **fields,
    }


# In order of completion, as a run leaves them.
GOOD = [
    row(1, 2.0),
    row(0, 1.0),
    row(7, 2.5, attempt=1),
    row(4, 9.0, parent_request_id="r0", session_id="s0", turn=1, tenant="agent"),
    row(3, 2.0),
]


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]) if rows else list(row(0, 0.0))
    columns = {name: [r[name] for r in rows] for name in names}
    types = {name: pa.string() for name in ("request_id", "parent_request_id", "session_id")}
    file = path / "tables" / "fact_requests.parquet"
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({k: pa.array(v, types.get(k)) for k, v in columns.items()}), file)
    return str(file)


def read(path: str, *tenants: str, size: int = 64, **fields: Any) -> list[Request]:
    run = {key: fields.pop(key) for key in ("duration_s",) if key in fields}
    made = [{"name": name} for name in tenants or ("agent", "chat")]
    trace = {"format": "fact_requests", "path": path, **fields}
    return play(workload(scenario(*made, trace=trace, **run), [size]), service_s=50.0)


def test_first_attempts_come_again_when_they_came(tmp_path: Path) -> None:
    requests = read(written(tmp_path, GOOD))
    assert [r.arrival_s for r in requests] == [1.0, 2.0, 2.0, 9.0]
    assert [r.input_tokens for r in requests] == [100, 101, 103, 104]
    assert [r.session for r in requests] == [0, 1, 3, 0]
    assert [r.turn for r in requests] == [0, 0, 0, 1]
    assert [r.parent for r in requests] == [-1, -1, -1, 0]
    assert [r.tenant for r in requests] == [1, 1, 1, 0]
    assert {r.blocks for r in requests} == {()}


def test_a_run_directory_is_as_good_as_its_table(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    assert len(read(str(tmp_path))) == 4


def test_recorded_blocks(tmp_path: Path) -> None:
    rows = [row(0, 0.0, blocks="5,2,9,1", input_tokens=200), row(1, 1.0, blocks="")]
    assert [r.blocks for r in read(written(tmp_path, rows))] == [(5, 2, 9, 1), ()]


def test_bounds(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert len(read(path, limit=3)) == 3
    assert [r.arrival_s for r in read(path, time_scale=2.0, duration_s=4.0)] == [2.0]


def test_requests_of_other_tenants_go_to_the_trace_s(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert {r.tenant for r in read(path, "users", tenant="users")} == {0}
    assert [r.tenant for r in read(path, "users", "agent", tenant="users")] == [0, 0, 0, 1]


def test_a_tenant_that_the_scenario_lacks(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r'tenant "chat" is not in the scenario.*did you mean chats'
    ):
        read(written(tmp_path, GOOD), "agent", "chats")


@pytest.mark.parametrize(
    "fields", [{"input_tokens": 0}, {"arrival_time_s": -1.0}, {"requested_output_tokens": 0}]
)
def test_a_malformed_row_is_named(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = written(tmp_path, [*GOOD, row(9, 1.0, **fields)])
    with pytest.raises(InputError, match=r":6: arrival_time_s must be >= 0 and input_tokens"):
        read(path)
    assert len(read(path, skip_bad_rows=1)) == 4


@pytest.mark.parametrize("blocks", ["5", "5,x", "5,-1", "5,9"])
def test_malformed_blocks_are_named(tmp_path: Path, blocks: str) -> None:
    path = written(tmp_path, [row(0, 0.0, blocks=""), row(1, 0.0, blocks=blocks)])
    with pytest.raises(InputError, match=":2: blocks: must be first,count,first,count"):
        read(path)
    assert len(read(path, skip_bad_rows=1)) == 1


def test_ids_that_are_not_ours(tmp_path: Path) -> None:
    path = written(tmp_path, [row(0, 0.0, request_id="abc")])
    with pytest.raises(InputError, match="cannot be read"):
        read(path)


def test_an_empty_trace(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    full = pq.read_table(written(tmp_path, GOOD))
    pq.write_table(full.slice(0, 0), path)
    with pytest.raises(InputError, match="the trace is empty"):
        read(str(path))


def test_a_run_of_ours(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    tenants = pq.read_table(run / "tables" / "fact_requests.parquet").column("tenant").to_pylist()
    requests = read(str(run), "users", tenant="users")
    assert len(requests) == len(tenants)
    assert {(r.input_tokens, r.output_tokens) for r in requests} == {(100, 11), (5000, 11)}
