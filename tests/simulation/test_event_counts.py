"""Speed is held by counted events: at most six per request on the shipped split scenarios."""

from pathlib import Path

import pytest

from factory.scenario import load
from factory.simulation import simulate

MOST = 6.0
TRACE = Path(__file__).parents[2] / "../shared/data/traces/mooncake_conversation.jsonl.gz"


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("quickstart", ["run.duration_s=120", "run.warmup_s=60"]),
        ("gb300-nvl72", ["run.duration_s=20", "run.warmup_s=0", "run.window_s=10"]),
    ],
)
def test_at_most_six_events_per_request(name: str, overrides: list[str], tmp_path: Path) -> None:
    summary = simulate(load(name, overrides), tmp_path / "run").summary
    assert summary["requests"] > 1000
    assert summary["events_per_request"] <= MOST


@pytest.mark.skipif(not TRACE.exists(), reason="no ../shared/data beside the checkout")
def test_the_trace_replay_too(tmp_path: Path) -> None:
    overrides = [f"workload.trace.path={TRACE}", "workload.trace.limit=3000"]
    summary = simulate(load("mooncake-conversation", overrides), tmp_path / "run").summary
    assert summary["completed"] == 3000
    assert summary["events_per_request"] <= MOST
