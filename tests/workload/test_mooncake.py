import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from demand import play, scenario, tenant, workload

from factory.errors import InputError, ScenarioError
from factory.workload import Request

FED = {"name": "users"}


def row(
    timestamp: float, input_length: int, output_length: int = 10, ids: Any = ()
) -> dict[str, Any]:
    return {
        "timestamp": timestamp,
        "input_length": input_length,
        "output_length": output_length,
        "hash_ids": list(ids),
    }


GOOD = [
    row(0, 1500, 10, [0, 1, 2]),
    row(0, 1100, 20, [0, 1, 3]),
    row(3000, 600, 30, [4, 5]),
    row(5999, 2000, 0, [0, 1, 2, 6]),
    row(5999, 100),
]


def written(path: Path, rows: list[Any], name: str = "trace.jsonl") -> str:
    lines = [r if isinstance(r, str) else json.dumps(r) for r in rows]
    file = path / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


def read(path: str, size: int = 512, **fields: Any) -> list[Request]:
    run = {key: fields.pop(key) for key in ("seed", "duration_s", "requests") if key in fields}
    trace = {"format": "mooncake", "path": path, **fields}
    return play(workload(scenario(FED, trace=trace, **run), [size]))


def test_rows_become_requests(tmp_path: Path) -> None:
    requests = read(written(tmp_path, GOOD), spread_s=0.0)
    assert [r.arrival_s for r in requests] == [0.0, 0.0, 3.0, 5.999, 5.999]
    assert [r.input_tokens for r in requests] == [1500, 1100, 600, 2000, 100]
    assert [r.output_tokens for r in requests] == [10, 20, 30, 1, 10]
    assert [r.blocks for r in requests] == [(0, 3), (0, 2, 3, 1), (4, 2), (0, 3, 6, 1), ()]
    assert [(r.index, r.session, r.turn, r.parent) for r in requests] == [
        (i, i, 0, -1) for i in range(5)
    ]


def test_arrivals_spread_inside_their_tick(tmp_path: Path) -> None:
    path = written(tmp_path, [row(3000 * (i // 500), 100 + i) for i in range(2000)])
    requests = read(path)
    first = requests[0].arrival_s
    assert first == 0.0
    times = [r.arrival_s for r in requests]
    assert times == sorted(times)
    assert [r.input_tokens for r in requests] == [100 + i for i in range(2000)]
    # The first arrival is moved to 0; it was less than 3 s / 500 · 12 late (1 in 10^5).
    for i, time_s in enumerate(times):
        assert 3 * (i // 500) - 0.072 <= time_s < 3 * (i // 500) + 3
    assert len(set(times)) == 2000
    mean = sum(t % 3 for t in times) / 2000
    assert mean == pytest.approx(1.5, abs=5 * 3 / 12**0.5 / 2000**0.5 + 0.072)


def test_the_spread_is_seeded(tmp_path: Path) -> None:
    path = written(tmp_path, [row(0, 100)] * 20)
    times = [[r.arrival_s for r in read(path, seed=seed)] for seed in (1, 1, 2)]
    assert times[0] == times[1] != times[2]


def test_a_near_tick_ends_the_spread(tmp_path: Path) -> None:
    path = written(tmp_path, [row(0, 1)] * 50 + [row(1000, 2)] * 50)
    requests = read(path)
    assert max(r.arrival_s for r in requests if r.input_tokens == 1) < 1.0


def test_the_spread_does_not_depend_on_how_the_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(3000 * (i // 7), 100) for i in range(400)])
    whole = [r.arrival_s for r in read(path)]
    monkeypatch.setattr("factory.workload.traces.lines._BLOCK_BYTES", 200)
    assert [r.arrival_s for r in read(path)] == whole


def test_time_is_scaled_and_cut(tmp_path: Path) -> None:
    path = written(tmp_path, [row(1000 * i + 50_000, 100) for i in range(10)])
    assert [r.arrival_s for r in read(path, spread_s=0.0, time_scale=2.0)] == [
        2.0 * i for i in range(10)
    ]
    assert len(read(path, spread_s=0.0, limit=4)) == 4
    assert len(read(path, spread_s=0.0, duration_s=3.5)) == 4
    assert len(read(path, spread_s=0.0, requests=2)) == 2


def test_gzip_is_told_by_its_content(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    packed = tmp_path / "no_ending"
    packed.write_bytes(gzip.compress(Path(path).read_bytes()))
    assert [r.blocks for r in read(str(packed))] == [r.blocks for r in read(path)]


def test_smaller_blocks_divide_those_of_the_trace(tmp_path: Path) -> None:
    requests = read(written(tmp_path, GOOD), size=64)
    assert [r.blocks for r in requests][:3] == [(0, 24), (0, 16, 24, 2), (32, 10)]
    assert all(sum(r.blocks[1::2]) in (0, -(-r.input_tokens // 64)) for r in requests)


def test_blocks_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"deployments\[0\].block_size: must divide the 512"):
        read(written(tmp_path, GOOD), size=48)


def test_ids_are_moved_for_a_second_source_only(tmp_path: Path) -> None:
    trace = {"format": "mooncake", "path": written(tmp_path, GOOD)}
    other = tenant("chat", load={"rate": 1.0}, shared_prefix={"tokens": 2048})
    requests = play(workload(scenario(FED, other, trace=trace, duration_s=30), [512]))
    assert requests[0].blocks == (0, 3)
    assert {r.tenant for r in requests} == {0, 1}
    assert min(r.blocks[0] for r in requests if r.tenant == 1) > 1 << 50


def test_hash_ids_may_be_missing(tmp_path: Path) -> None:
    bare = {"timestamp": 1, "input_length": 5, "output_length": 5}
    assert read(written(tmp_path, [bare, row(2, 700, 1, [3, 4])]))[1].blocks == (3, 2)


BAD = [
    ("{", "is not JSON"),
    ("[1, 2]", "must be a JSON object, got [1, 2]"),
    ("7", "must be a JSON object, got 7"),
    ({"timestamp": 1, "output_length": 5}, "input_length is missing, has timestamp, output_length"),
    (row("soon", 5), 'timestamp: must be a number of milliseconds, got "soon"'),  # type: ignore[arg-type]
    ('{"timestamp": NaN, "input_length": 1, "output_length": 1}', "timestamp: must be a number"),
    (row(2000, 5), "timestamp: must not fall, got 2000 after 5999"),
    (row(6000, 0), "input_length: must be a whole number of tokens >= 1, got 0"),
    (row(6000, 1.5), "input_length: must be a whole number of tokens >= 1, got 1.5"),  # type: ignore[arg-type]
    (row(6000, True), "input_length: must be a whole number of tokens >= 1, got true"),
    (row(6000, 5, -1), "output_length: must be a whole number of tokens >= 0, got -1"),
    (row(6000, 513, 1, [7, 8, 9]), "hash_ids: 3 blocks of 512 tokens for input_length 513"),
    (row(6000, 600, 1, ["a", "b"]), "hash_ids: must be a list of whole numbers"),
    (row(6000, 600, 1, [-1]), "hash_ids: must be a list of whole numbers"),
    (row(6000, 600, 1, [1 << 60]), "hash_ids: must be a list of whole numbers"),
    (row(6000, 600, 1, [7, 2]), "hash_ids: block 2 follows block 7 here and block 1 earlier"),
    (row(6000, 600, 1, [2]), "hash_ids: block 2 follows the start here and block 1 earlier"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_a_malformed_row_is_named_by_its_line(tmp_path: Path, bad: Any, problem: str) -> None:
    path = written(tmp_path, [*GOOD, bad, row(9000, 77)])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:6: ")
    assert problem in str(caught.value)
    assert "workload.trace.skip_bad_rows is 0" in str(caught.value)
    kept = read(path, skip_bad_rows=1)
    assert [r.input_tokens for r in kept] == [1500, 1100, 600, 2000, 100, 77]


def test_as_many_bad_rows_as_tolerated(tmp_path: Path) -> None:
    path = written(tmp_path, ["x", *GOOD, "y", "", row(9000, 77), "z"])
    made = scenario(FED, trace={"format": "mooncake", "path": path, "skip_bad_rows": 3})
    demand = workload(made, [512])
    assert len(play(demand)) == 6
    assert getattr(demand, "skipped_rows") == 3  # noqa: B009 (not part of the protocol)
    with pytest.raises(InputError, match=r":10: is not JSON.*skip_bad_rows is 2"):
        read(path, skip_bad_rows=2)


def test_an_empty_trace(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the trace is empty"):
        read(written(tmp_path, []))
    with pytest.raises(InputError, match="no usable row, 1 malformed ones left out"):
        read(written(tmp_path, ["x"]), skip_bad_rows=5)


def test_truncated_gzip(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row(i, 100, 10, [i])) for i in range(30_000)).encode()
    packed = gzip.compress(text, mtime=0)
    file = tmp_path / "cut.gz"
    file.write_bytes(packed[: len(packed) // 2])
    requests: list[Request] = []
    made = scenario(FED, trace={"format": "mooncake", "path": str(file)})
    with pytest.raises(InputError, match=r"cut\.gz:\d+: the gzip stream is damaged or truncated"):
        requests.extend(workload(made, [512]).start())


def test_damaged_gzip(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b'{"a": 1}\n' * 100))
    packed[20] ^= 0xFF
    file = tmp_path / "bad.gz"
    file.write_bytes(packed)
    with pytest.raises(InputError, match=r"bad\.gz:1: the gzip stream is damaged"):
        read(str(file))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(str(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="cannot be opened: Is a directory"):
        read(str(tmp_path))
    file = tmp_path / "binary"
    file.write_bytes(b'{"timestamp": 1}\n\xff\xfe\n')
    with pytest.raises(InputError, match=":2: is not UTF-8 text"):
        read(str(file))


def test_rows_are_read_while_the_run_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path, [row(3000 * i, 100) for i in range(20_000)] + ["broken"])
    made = scenario(FED, trace={"format": "mooncake", "path": path})
    starts = workload(made, [512]).start()
    assert next(starts).input_tokens == 100
