"""Every shipped workload asks what the figures that it cites say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from experiments_beside import experiment

from factory.scenario import Tenant
from factory.scenario.workloads import read_workload, shipped_workloads
from factory.workload.demands import means_of

measured = experiment("workloads.measured")

SESSIONS = 6000

# Mean, median and 99th percentile of prompts and of answers, tokens.
PUBLISHED = {
    # Azure LLM inference trace 2023, conversation and code (Azure Public Dataset, CC-BY-4.0).
    "chat": ((1155, 1020, 4142), (211, 129, 601)),
    "code-completion": ((2048, 1469, 7436), (28, 13, 251)),
    # DeepSeek-R1 in ServeGen (Xiang et al. 2025), 24 hours.
    "reasoning": ((1268, 208, 23423), (1527, 792, 12607)),
    # Mooncake conversation trace (FAST'25, Apache-2.0).
    "long-context-chat": ((12035, 6909, 85400), (343, 350, 1119)),
}


@pytest.fixture(scope="module")
def requests():
    known = {}

    def of(name, sessions=SESSIONS):
        if name not in known:
            known[name] = [request for request, _ in measured.asked({"like": name}, sessions)]
        return known[name]

    return of


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_prompts_and_answers_are_as_published(requests, name):
    prompts = [request.input_tokens for request in requests(name)]
    answers = [request.output_tokens for request in requests(name)]
    for values, (mean, median, p99) in zip((prompts, answers), PUBLISHED[name], strict=True):
        assert np.mean(values) == pytest.approx(mean, rel=0.1)
        assert np.median(values) == pytest.approx(median, rel=0.1)
        assert np.quantile(values, 0.99) == pytest.approx(p99, rel=0.2)


def test_chats_have_as_many_turns_as_published(requests):
    """WildChat (Zhao et al. 2024): 2.54 turns in the mean."""
    turns = Counter(request.session for request in requests("chat"))
    assert np.mean(list(turns.values())) == pytest.approx(2.54, rel=0.05)


def test_completions_come_in_bursts():
    """CV 13 of the gaps, Azure 2023, code."""
    load = read_workload("code-completion").data["tenants"][0]["load"]
    assert load == {"arrival": "gamma", "cv": 13}


def test_long_chats_repeat_as_much_as_recorded(requests):
    """37.4 % of the trace's prompt tokens are cached with an endless cache (lru_reference)."""
    prompts = [
        (0, request.input_tokens, request.blocks) for request in requests("long-context-chat")
    ]
    assert measured.cached_ratio(prompts, 64) == pytest.approx(0.374, abs=0.08)


def test_three_percent_of_the_documents_answer_sixty_percent_of_the_questions():
    """RAGCache (Jin et al. 2024)."""
    documents = read_workload("rag").data["tenants"][0]["documents"]
    weights = np.arange(1, documents["count"] + 1) ** -documents["zipf_exponent"]
    popular = weights[: int(0.03 * len(weights))].sum() / weights.sum()
    assert popular == pytest.approx(0.6, abs=0.01)


def test_a_question_brings_two_documents_of_the_published_length(requests):
    prompts = np.array([request.input_tokens for request in requests("rag")])
    assert np.mean(prompts) == pytest.approx(1024 + 2 * 3718 + 83, rel=0.1)


def test_research_sends_out_as_many_helpers_as_published(requests):
    """Anthropic (June 2025): 3 to 5 in parallel, 10 to 15 calls each."""
    found = requests("deep-research", 600)
    helpers = {(each.session, each.task, each.agent) for each in found if each.agent}
    teams = Counter((session, task) for session, task, _ in helpers)
    calls = Counter((each.session, each.agent) for each in found if each.agent)
    assert 3 <= np.median(list(teams.values())) <= 5
    assert 10 <= np.median(list(calls.values())) - 1 <= 15


def test_a_batch_is_of_documents_as_long_as_published(requests):
    """GovReport (Huang et al. 2021): 9409 words and 553 of summary, 4/3 tokens a word."""
    found = requests("batch-summarisation", 60)
    assert np.mean([each.input_tokens - 256 for each in found]) == pytest.approx(12546, rel=0.1)
    assert np.mean([each.output_tokens for each in found]) == pytest.approx(738, rel=0.1)


def test_agents_take_more_than_half_of_the_tokens_of_the_mix():
    """OpenRouter (December 2025): programming is more than half of all tokens in late 2025."""
    data = read_workload("mixed-2026").data
    tokens = {}
    for tenant in data["tenants"]:
        means = means_of(Tenant.model_validate(tenant), 64)
        per_request = (means.input_tokens + means.output_tokens) / means.requests
        tokens[tenant["name"]] = data["mix"]["shares"][tenant["name"]] * per_request
    programming = tokens["coding-agent"] + tokens["code-completion"]
    assert programming / sum(tokens.values()) > 0.5


@pytest.mark.parametrize("name", [name for name in shipped_workloads() if name != "mixed-2026"])
def test_means_are_those_of_what_is_asked(requests, name):
    """`factory catalog workloads` and the shares of a mix rest on them."""
    found = requests(name, {"coding-agent": 600, "deep-research": 600}.get(name, SESSIONS))
    means = means_of(Tenant.model_validate(read_workload(name).data["tenants"][0]), 64)
    sessions = len({each.session for each in found})
    assert len(found) / sessions == pytest.approx(means.requests, rel=0.3)
    prompts = np.mean([each.input_tokens for each in found])
    assert prompts == pytest.approx(means.input_tokens / means.requests, rel=0.25)
