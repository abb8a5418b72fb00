from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_run import make_run

from factory.errors import InputError
from factory.validation import external

AIPERF: dict[str, Any] = {
    "time_to_first_token": {"unit": "ms", "avg": 120.0, "p50": 100.0, "p90": 200.0, "p99": 400.0},
    "inter_token_latency": {"unit": "ms", "avg": 12.0, "p50": 11.0},
    "request_latency": {"unit": "sec", "avg": 9.0, "p99": 12.0},
    "output_token_throughput": {"unit": "tokens/sec", "avg": 5000.0},
    "request_count": {"unit": "requests", "avg": 100},
}
VLLM = {
    "max_concurrency": 8,
    "mean_ttft_ms": 120.0,
    "median_ttft_ms": 100.0,
    "p99_ttft_ms": 400.0,
    "median_tpot_ms": 11.0,
    "median_itl_ms": 99.0,
    "mean_e2el_ms": 9000.0,
    "output_throughput": 5000.0,
    "request_throughput": 4.0,
}
CSV = """Metric,avg,min,max,p99,p90,p50
Time to First Token (ms),120.0,50.0,500.0,400.0,200.0,100.0
Request Latency (ms),9000.0,1.0,2.0,12000.0,,
Something Else (ms),1,1,1,1,1,1

Metric,Value
Output Token Throughput (tokens/sec),5000.0
"""


def write(tmp_path: Path, content: object, name: str = "b.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_aiperf(tmp_path: Path) -> None:
    found = external.read_benchmark(write(tmp_path, AIPERF))
    assert found.source == "AIPerf"
    assert found.values["ttft", "p99"] == 400.0
    assert found.values["e2e", "mean"] == 9000.0
    assert found.values["output_throughput", "mean"] == 5000.0
    assert ("itl", "p99") not in found.values
    nested = external.read_benchmark(write(tmp_path, {"records": AIPERF}))
    assert nested.values == found.values


def test_aiperf_csv(tmp_path: Path) -> None:
    found = external.read_benchmark(write(tmp_path, CSV, "b.csv"))
    assert found.values == {
        ("ttft", "mean"): 120.0,
        ("ttft", "p50"): 100.0,
        ("ttft", "p90"): 200.0,
        ("ttft", "p99"): 400.0,
        ("e2e", "mean"): 9000.0,
        ("e2e", "p99"): 12000.0,
        ("output_throughput", "mean"): 5000.0,
    }


def test_vllm_tpot_is_our_itl(tmp_path: Path) -> None:
    found = external.read_benchmark(write(tmp_path, VLLM))
    assert found.source == "vLLM bench"
    assert found.values["itl", "p50"] == 11.0
    assert found.values["request_throughput", "mean"] == 4.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"ttft": 3}, r"b.json: no known field: .*; it has ttft"),
        ("{", r"b.json:1:2: is not JSON"),
        ([1], r"must be one JSON object"),
        ({"mean_ttft_ms": "slow"}, r"mean_ttft_ms: must be a number, got 'slow'"),
        ({"time_to_first_token": {"unit": "min", "avg": 1}}, r'avg: unknown unit "min" \(of ms'),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        external.read_benchmark(write(tmp_path, content))


def test_a_run_beside_a_benchmark(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    simulated = external.simulated_values(run)
    measured = external.read_benchmark(write(tmp_path, AIPERF))
    compared = external.compare(run, measured)
    assert {(row.metric, row.statistic) for row in compared} == {
        key for key in measured.values if key in simulated
    }
    (ttft,) = [row for row in compared if (row.metric, row.statistic) == ("ttft", "p50")]
    assert (ttft.unit, ttft.measured) == ("ms", 100.0)
    assert ttft.error == pytest.approx(ttft.simulated / 100.0 - 1.0)
