"""Demand that cannot be made, or never ends, is refused before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory.scenario import catalog, load
from factory.simulation.length_limits import length_notes
from factory.simulation.preflight import preflight

ROW = '{{"timestamp": {}, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}}\n'


def told(tenant: dict[str, Any], trace: dict[str, Any] | None = None, **run: Any) -> list[str]:
    """What preflight says of a demand, as path and message."""
    pool = {"name": "p", "role": "aggregated", "racks": "r", "replicas": 1}
    sizes = {} if trace else {"input_tokens": 300, "output_tokens": 10}
    workload: dict[str, Any] = {"tenants": [{"name": "t", **sizes, **tenant}]}
    if trace:
        workload["trace"] = trace
    made = load(
        {
            "name": "bad",
            "facility": {"racks": [{"name": "r", "system": "hgx-h200"}]},
            "deployments": [{"name": "d", "model": "llama-3.1-8b", "pools": [pool]}],
            "workload": workload,
            "run": run or {"duration_s": 60},
        }
    )
    return [f"{problem.path}: {problem.message}" for problem in preflight(made, catalog())]


def test_a_file_of_rates_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text("time_s,rate\n0,1\n60,2\n30,3\n")
    (problem,) = told({"load": {"profile": {"path": str(file)}}})
    assert problem == (
        f"workload: {file}:4: time_s: runs back in time, got 30 after 60; sort the rows"
    )


def test_a_bad_row_is_told_as_itself_and_another_format_as_such(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(ROW.format(1000) + ROW.format(0))
    (problem,) = told({}, {"format": "mooncake", "path": str(file)})
    assert problem.startswith(f"workload: {file}:2: timestamp: must not fall")
    (problem,) = told({}, {"format": "azure", "path": str(file)})
    assert problem.startswith("workload.trace.format: the file cannot be read as this")


def test_a_window_without_requests_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(ROW.format(0) + ROW.format(5000))
    trace = {"format": "mooncake", "path": str(file), "from_s": 60}
    assert told({}, trace) == ["workload.trace.from_s: no request of the trace comes from then on"]
    assert told({}, {**trace, "from_s": 2}) == []


ENDLESS = {"load": {"rate": 1}, "session": {"turns": 1000, "think_time_s": 1000}}


@pytest.mark.parametrize("run", [{"cut_sessions": True}, {"drain": False}])
def test_sessions_for_years_need_an_end(run: dict[str, Any]) -> None:
    (problem,) = told(ENDLESS, duration_s=60)
    assert problem.startswith(
        "workload.tenants[0].session.think_time_s: sessions think for 1e+06 s on average"
    )
    assert told(ENDLESS, duration_s=60, **run) == []


def test_lengths_that_a_context_cuts_are_noted() -> None:
    tail = {"distribution": "lognormal", "median": 50_000, "sigma": 1}
    made = load(
        {
            "name": "long",
            "facility": {"racks": [{"name": "r", "system": "hgx-h200"}]},
            "deployments": [
                {
                    "name": "d",
                    "model": "llama-3.1-8b",
                    "pools": [{"name": "p", "role": "aggregated", "racks": "r", "replicas": 1}],
                }
            ],
            "workload": {
                "tenants": [
                    {"name": "t", "load": {"rate": 1}, "input_tokens": tail, "output_tokens": 10}
                ]
            },
            "run": {"duration_s": 60},
        }
    )
    # P(ln X > ln(131071)) of a median of 50,000: 1 - Φ(0.9638) = 16.8 %.
    assert list(length_notes(made, catalog())) == [
        "16.8% of the inputs of tenant t are cut at the 131072 tokens that d takes"
    ]
