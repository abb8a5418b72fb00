from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from planned import agent, base, planned

from factory.statistics import bonferroni, mean_interval
from factory.workload.loops import Script
from factory.workload.sessions.expected import session_means
from factory.workload.sessions.tenants import TenantDemand, script

SPREAD = {"distribution": "exponential", "mean": 300}
TURNS = {"distribution": "geometric", "mean": 4}


def test_single_turns_are_exact() -> None:
    means = session_means(base(input_tokens=200, output_tokens=30, shared_prefix={"tokens": 50}))
    assert (means.requests, means.tasks) == (1, 1)
    assert (means.input_tokens, means.output_tokens, means.new_input_tokens) == (250, 30, 200)
    assert (means.sessions, means.relative_error) == (0, 0.0)


def test_growing_turns_are_exact() -> None:
    session = {"turns": 3, "growth": True}
    made = base(input_tokens=20, output_tokens=5, shared_prefix={"tokens": 50}, session=session)
    means = session_means(made)
    assert means.input_tokens == 70 + 95 + 120
    assert (means.requests, means.output_tokens, means.new_input_tokens) == (3, 15, 60)


def played(asked: Script, sessions: int) -> list[tuple[int, int]]:
    sums = []
    for _ in range(sessions):
        todo = list(asked.begin(0.0))
        prompt = output = 0
        while todo:
            request = todo.pop()
            prompt += request.input_tokens
            output += request.output_tokens
            todo += asked.follow(request, 0.0, 0) or ()
        sums.append((prompt, output))
    return sums


@pytest.mark.parametrize(
    "session",
    [{"turns": TURNS, "growth": True}, {"turns": TURNS}, {"turns": 1}],
    ids=["growing", "turns", "single"],
)
def test_means_of_plain_sessions_are_those_of_a_long_run(session: dict[str, Any]) -> None:
    made: TenantDemand = base(
        input_tokens=SPREAD, output_tokens=SPREAD, shared_prefix={"tokens": 50}, session=session
    )
    means = session_means(made)
    inputs, outputs = np.array(played(script(made), 20_000)).T
    level = bonferroni(0.999, 6)
    assert means.input_tokens in mean_interval(inputs, level)
    assert means.output_tokens in mean_interval(outputs, level)


def test_documents_count() -> None:
    one = {"tokens": 100, "count": 50}
    assert session_means(base(documents=one, input_tokens=20)).input_tokens == pytest.approx(120)
    three = {**one, "number": 3}
    assert session_means(base(documents=three, input_tokens=20)).input_tokens == pytest.approx(320)
    uneven = {"tokens": {"distribution": "uniform", "min": 1, "max": 999}, "count": 3}
    made = base(documents=uneven, input_tokens=20)
    corpus = made.corpus()
    assert corpus is not None
    a, b, c = corpus.lengths
    means = session_means(made)
    assert means.input_tokens == pytest.approx(20 + (6 * a + 3 * b + 2 * c) / 11)
    assert means.new_input_tokens == 20


CODING: dict[str, Any] = {
    "input_tokens": 7,
    "output_tokens": 9,
    "shared_prefix": {"tokens": 30},
    "session": {
        "turns": 2,
        "first_input_tokens": 25,
        "tools": {"calls": 2, "result_tokens": 11, "output_tokens": 5},
    },
}


def test_agents_of_one_shape_are_exact() -> None:
    means = session_means(agent(**CODING))
    assert means.requests == 6
    assert means.tasks == 2
    assert means.input_tokens == 55 + 71 + 87 + 103 + 119 + 135
    assert means.output_tokens == 38
    assert means.new_input_tokens == 25 + 7 + 4 * 11
    assert means.relative_error == 0


def test_what_is_rewritten_or_summarised_is_new() -> None:
    edits = {"probability": 0, "turn_probability": 1, "kept_ratio": 0.5, "dropped_ratio": 0.25}
    session = {**CODING["session"], "edits": edits}
    means = session_means(agent(**{**CODING, "session": session}))
    assert means.new_input_tokens == 76 + 36
    full = {"at_tokens": 100, "summary_tokens": 14}
    session = {**CODING["session"], "compaction": full}
    means = session_means(agent(**{**CODING, "session": session}))
    assert means.new_input_tokens == 76 + 14
    assert means.requests == 7


def test_means_of_agents_depend_on_no_seed_and_state_their_error() -> None:
    calls = {"distribution": "exponential", "mean": 5}
    session = {**CODING["session"], "turns": TURNS}
    session["tools"] = {**session["tools"], "calls": calls}
    made = agent(**{**CODING, "session": session})
    means = session_means(made)
    other = replace(made, base=replace(made.base, seed=9, replication=3, source=2, sources=5))
    assert session_means(other) is means
    plans = planned(made, 6000)
    tokens = [sum(plan.inputs) + sum(plan.outputs) for plan in plans]
    assert 0 < means.relative_error < 0.05
    error = np.hypot(means.relative_error, np.std(tokens) / np.mean(tokens) / np.sqrt(6000))
    total = means.input_tokens + means.output_tokens
    assert abs(total / np.mean(tokens) - 1) < 3.3 * error
