from typing import Any

import pytest

from factory.scenario import Length, Tenant
from factory.scenario.check_session import context_problems, mean, session_problems
from factory.scenario.session import Session

TOOLS = {"calls": 3, "result_tokens": 100}


def problems(longest: int | None = None, **fields: Any) -> list[str]:
    made = Tenant.model_validate({"name": "t", "input_tokens": 100, "output_tokens": 10, **fields})
    found = [*session_problems("t.session", made.session), *context_problems("t", made, longest)]
    return [str(problem) for problem in found]


@pytest.mark.parametrize(
    "session",
    [
        {},
        {"turns": 3, "growth": True},
        {"tools": TOOLS, "turns": 4, "compaction": {"at_tokens": 9000, "summary_tokens": 500}},
        {"subagents": {"input_tokens": 5, "answer_tokens": 9}},
        {"edits": {"probability": 0.1, "kept_ratio": {"distribution": "uniform", "min": 0,
                                                       "max": 1}}, "turns": 2},
        {"fan_out": {"distribution": "lognormal", "mean": 50, "stddev": 20}},
        {"tools": {**TOOLS, "calls": 0}},
        {"requests": {"distribution": "geometric", "mean": 40}, "tools": TOOLS},
    ],
)  # fmt: skip
def test_sound_sessions_pass(session: dict[str, Any]) -> None:
    assert problems(longest=10_000, session=session) == []


@pytest.mark.parametrize(
    ("session", "said"),
    [
        (
            {"turns": {"distribution": "pareto", "alpha": 1, "min": 1}},
            (
                "t.session.turns: makes no end of requests a session in the mean: sessions would "
                "never end (allowed: at most 100,000; give the distribution a max)"
            ),
        ),
        (
            {"tools": {**TOOLS, "calls": {"distribution": "lognormal", "mu": 3, "sigma": 5}}},
            "t.session.tools.calls: makes 5389699 requests a session in the mean",
        ),
        (
            {"turns": 2, "requests": 5},
            "t.session.requests: takes the place of turns; state one of them",
        ),
        (
            {"fan_out": 3, "growth": True},
            (
                "t.session.fan_out: is for independent requests, which growth has no meaning for "
                "(allowed: leave out fan_out or growth)"
            ),
        ),
        (
            {"fan_out": {"distribution": "geometric", "mean": 9}, "turns": 2},
            (
                "t.session.fan_out: must be bounded where a turn waits for the one before "
                "(allowed: max: 1024, or one turn)"
            ),
        ),
        (
            {"subagents": {"input_tokens": 5, "answer_tokens": 9, "calls": 2}},
            "t.session.subagents.result_tokens: is missing: sub-agents that call tools need it",
        ),
        (
            {"edits": {"probability": 0.1, "kept_ratio": 40}},
            (
                "t.session.edits.kept_ratio: is a share of the context; it must not pass 1, got 40 "
                "(allowed: max: 1)"
            ),
        ),
        (
            {"first_input_correlation": 0.5},
            "t.session.first_input_correlation: has no effect without first_input_tokens",
        ),
        ({"tools": {"calls": 1, "result_tokens": 0}}, "result_tokens: must reach at least 1"),
        (
            {"compaction": {"at_tokens": 600, "summary_tokens": 200}},
            (
                "t.session.compaction.at_tokens: must be above the 700 tokens of a context just "
                "compacted (shared prefix, documents, summary): it would be full again at once, "
                "got 600 (allowed: more, or a shorter summary)"
            ),
        ),
        (
            {"compaction": {"at_tokens": 20_000, "summary_tokens": 200}},
            (
                "t.session.compaction.at_tokens: must be <= the 10000 tokens of a context: "
                "sessions would end before it, got 20000 (allowed: less, or a max)"
            ),
        ),
    ],
)
def test_what_cannot_be_is_said(session: dict[str, Any], said: str) -> None:
    found = problems(longest=10_000, session=session, shared_prefix={"tokens": 500})
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ({"number": 9, "count": 3}, "t.documents.number: must not always pass count (3)"),
        ({"count": 1 << 23}, "t.documents.count: must be <= 4,194,304, got 8388608"),
        ({"count": 1 << 20}, "t.documents.count: must be <= 67,108,864 divided by shared_prefix"),
        (
            {"tokens": 4000, "number": 3, "count": 9},
            "t.documents: with the shared prefix",
        ),
        ({"tokens": 0, "count": 9}, "t.documents.tokens: must reach at least 1"),
    ],
)
def test_documents_that_cannot_be(documents: dict[str, Any], said: str) -> None:
    shared = {"tokens": 10, "count": 100}
    made = {"tokens": 100, "count": 5, **documents}
    found = problems(longest=10_000, documents=made, shared_prefix=shared)
    assert any(line.startswith(said) for line in found), found


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (7, 7),
        ({"distribution": "uniform", "min": 1, "max": 3}, 2),
        ({"distribution": "lognormal", "mu": 0, "sigma": 2}, 7.389),
        ({"distribution": "lognormal", "median": 10, "p99": 10}, 10),
        ({"distribution": "pareto", "alpha": 2, "min": 5}, 10),
        ({"distribution": "pareto", "alpha": 0.5, "min": 5, "max": 99}, 99),
        ({"distribution": "geometric", "mean": 5}, 5),
        ({"distribution": "weibull", "shape": 1, "scale": 3}, 3),
        ({"distribution": "empirical", "quantiles": [[0, 1], [0.5, 3], [1, 5]]}, 3),
        ({"distribution": "empirical", "values": [1, 9], "weights": [3, 1]}, 3),
        ({"distribution": "empirical", "edges": [0, 2, 4], "weights": [1, 1]}, 2),
        ({"distribution": "mixture", "components": [
            {"distribution": "constant", "value": 2, "weight": 3},
            {"distribution": "constant", "value": 10, "weight": 1}]}, 4),
    ],
)  # fmt: skip
def test_means_of_lengths(length: Any, expected: float) -> None:
    made = Session.model_validate({"turns": length}).turns
    assert isinstance(made, Length)
    assert mean(made) == pytest.approx(expected, rel=1e-3)
