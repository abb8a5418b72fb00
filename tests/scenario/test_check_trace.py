from typing import Any

import pytest
from demand import scenario

from factory.scenario.check_trace import trace_problems

AZURE = {"format": "azure", "path": "x.csv"}


def problems(**fields: Any) -> list[str]:
    made = scenario({"name": "users"}, trace={**AZURE, **fields})
    assert made.workload.trace is not None
    return [str(problem) for problem in trace_problems(made, made.workload.trace)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rate_scale": 2.5, "from_s": 1.0, "to_s": 2.0, "time_scale": 0.5},
        {"replay": "closed_loop", "concurrency": 8},
        {"format": "aiperf", "sessions": 3, "session_interval_s": 1.0},
    ],
)
def test_what_goes_together(fields: dict[str, Any]) -> None:
    assert problems(**fields) == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"to_s": 1.0, "from_s": 1.0}, "trace.to_s: must be later than from_s (1), got 1"),
        ({"concurrency": 8}, "trace.concurrency: is for replay: closed_loop only, got 8"),
        ({"replay": "closed_loop"}, "trace.concurrency: is missing: replay: closed_loop needs it"),
        (
            {"replay": "closed_loop", "concurrency": 2, "rate_scale": 2.0},
            "trace.rate_scale: is for replay: recorded only",
        ),
        (
            {"format": "fact_requests", "replay": "closed_loop", "concurrency": 2},
            "trace.replay: must be recorded",
        ),
        ({"sessions": 3}, "trace.sessions: is for format: agentic and aiperf only, got 3"),
        ({"tenant": "user"}, 'trace.tenant: unknown tenant, got "user"'),
    ],
)
def test_what_does_not(fields: dict[str, Any], problem: str) -> None:
    (found,) = problems(**fields)
    assert problem in found
    assert found.startswith("workload.trace.")
