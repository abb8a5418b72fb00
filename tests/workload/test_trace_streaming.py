"""A trace is read without being held."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from demand import scenario, workload

from factory.workload import Workload

SHORT, LONG = 4_000, 40_000


def azure(path: Path, n: int) -> dict[str, object]:
    file = path / f"azure{n}.csv"
    with file.open("w") as lines:
        lines.write("TIMESTAMP,ContextTokens,GeneratedTokens\n")
        for i in range(n):
            time = f"2024-05-10 {i // 36000:02}:{i // 600 % 60:02}:{i // 10 % 60:02}.{i % 10}00000"
            lines.write(f"{time}+00:00,{100 + i % 900},{i % 50}\n")
    return {"format": "azure", "path": str(file)}


def mooncake(path: Path, n: int) -> dict[str, object]:
    """A chain of two blocks for each request, all behind the same first block."""
    file = path / f"mooncake{n}.jsonl"
    with file.open("w") as lines:
        for i in range(n):
            ids = [0, 2 * i + 1, 2 * i + 2]
            lines.write(f'{{"timestamp": {i}, "input_length": 1536, "output_length": 1, '
                        f'"hash_ids": {ids}}}\n')  # fmt: skip
    return {"format": "mooncake", "path": str(file)}


def sessions(path: Path, n: int) -> dict[str, object]:
    """Sessions of two turns that overlap with a few others."""
    file = path / f"sessions{n}.jsonl"
    with file.open("w") as lines:
        for i in range(n // 2):
            first = {"session_id": f"s{i}", "timestamp": i, "input_length": 9, "output_length": 1}
            lines.write(json.dumps(first) + "\n")
            if i >= 3:
                more = {"session_id": f"s{i - 3}", "input_length": 9, "output_length": 1}
                lines.write(json.dumps({**more, "delay": 5}) + "\n")
    return {"format": "mooncake", "path": str(file)}


def peak(demand: Workload) -> tuple[int, int]:
    """Most bytes held while the requests go by, and how many they are."""
    tracemalloc.start()
    count = sum(1 for _ in demand.start())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most, count


@pytest.mark.parametrize(
    ("rate_scale", "short", "long"), [(1.0, 20_000, 200_000), (2.5, 8_000, 32_000)]
)
def test_azure_rows_are_not_held(tmp_path: Path, rate_scale: float, short: int, long: int) -> None:
    peaks = []
    for n in (short, long):
        trace = {**azure(tmp_path, n), "rate_scale": rate_scale}
        most, count = peak(workload(scenario({"name": "x"}, trace=trace)))
        assert count >= n * rate_scale * 0.95
        peaks.append(most)
    # The same but for noise; the text of the long one alone has megabytes more.
    assert peaks[1] < peaks[0] * 1.2 + 100_000


def test_mooncake_rows_cost_the_columns_of_their_runs(tmp_path: Path) -> None:
    peaks = []
    for n in (SHORT, LONG):
        trace = {**mooncake(tmp_path, n), "spread_s": 0.0}
        peaks.append(peak(workload(scenario({"name": "x"}, trace=trace), [512]))[0])
    # One new run a row: three numbers of 8 bytes, columns that grow by a quarter while both the
    # old and the new ones are there: at most 24 × 1.25 + 24 bytes.
    assert peaks[1] - peaks[0] < (LONG - SHORT) * 56


def test_sessions_are_held_while_they_last(tmp_path: Path) -> None:
    peaks = [
        peak(workload(scenario({"name": "x"}, trace=sessions(tmp_path, n)), [512]))[0]
        for n in (SHORT // 4, LONG // 4)
    ]
    # Names of sessions, and the sessions that wait for answers, which never come here.
    assert peaks[1] - peaks[0] < (LONG - SHORT) / 8 * 2500


@pytest.mark.parametrize("make", [azure, mooncake])
def test_the_first_rows_come_before_the_last_are_read(
    tmp_path: Path, make: Callable[[Path, int], dict[str, object]]
) -> None:
    trace = make(tmp_path, LONG)
    with Path(str(trace["path"])).open("a") as lines:
        lines.write("broken\n")
    starts = workload(scenario({"name": "x"}, trace=trace), [512]).start()
    assert next(starts).input_tokens >= 100
