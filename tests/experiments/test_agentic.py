"""The experiments on agents: their findings have the sign that they claim, on less demand."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "experiments").is_dir(), reason="this copy of the tests is without experiments/"
)


@pytest.fixture
def mix(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    study = importlib.import_module("experiments.agentic.mix")
    for name in ("CHAT_WARMUP_S", "CHAT_SPAN_S"):
        monkeypatch.setattr(study, name, 120.0)
    monkeypatch.setattr(study, "WARMUP_S", 1200.0)
    monkeypatch.setattr(study, "SPAN_S", 1200.0)
    return study


def test_an_agents_task_costs_a_hundred_chat_answers(mix):
    chat = mix.measured("host", 0.0, 20.0, 1)
    agents = mix.measured("host", 1.0, 1.5, 1)
    assert agents["agent_requests_per_task"] > 4
    assert agents["agent_cost_usd_per_task"] > 50 * chat["chat_cost_usd_per_task"]
    # A tenth of the output for each megawatt, out of more tokens in all.
    assert agents["output_tokens_per_s_per_mw"] < 0.3 * chat["output_tokens_per_s_per_mw"]
    assert agents["all_tokens_per_s_per_mw"] > 2 * chat["all_tokens_per_s_per_mw"]
    assert agents["cache_hit_ratio"] > 0.85


def test_a_part_of_the_week_runs(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT)
    factory = importlib.import_module("factory")
    week = importlib.import_module("experiments.agentic.week")
    found = factory.simulate(factory.load(week.scenario(0.02)), tmp_path / "run").summary
    # From midnight on, at little more than half of the mean rate of 8.3 requests/s.
    assert (
        0.3 * week.REQUESTS / week.WEEK_S
        < found["requests"] / (0.02 * 86_400)
        < week.REQUESTS / week.WEEK_S * 1.3
    )
