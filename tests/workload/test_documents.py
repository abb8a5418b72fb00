from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import agent, base, planned

from factory.scenario import Length
from factory.statistics import bonferroni, stream
from factory.workload.arrivals import CHUNK
from factory.workload.blocks import RUN_SPAN, SESSION_BASE, Chains, Runs
from factory.workload.lengths import tokens
from factory.workload.sessions import documents as module
from factory.workload.sessions.documents import Corpus
from factory.workload.sessions.tenants import script

LENGTHS = {"distribution": "uniform", "min": 20, "max": 90}


def corpus(block_size: int = 16, prefix: int = 0, prefixes: int = 1, **fields: Any) -> Corpus:
    made = {"tokens": LENGTHS, "count": 100, **fields}
    shared = {"tokens": prefix, "count": prefixes}
    found = base(block_size, documents=made, shared_prefix=shared).corpus()
    assert found is not None
    return found


def ids(runs: Runs) -> list[int]:
    return [first + i for first, n in zip(runs[::2], runs[1::2], strict=True) for i in range(n)]


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0, 2.0])
def test_popularity_follows_zipf(exponent: float) -> None:
    draws = corpus(zipf_exponent=exponent).draw(stream(1, 0, "test/zipf"), 100_000)
    counts = np.bincount([only for (only,) in draws], minlength=100)
    law = np.arange(1, 101) ** -exponent
    expected = 100_000 * law / law.sum()
    # Chi-square with 99 degrees of freedom; one of four tests.
    from scipy.stats import chi2

    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(bonferroni(0.999, 4), 99)


def test_no_document_is_drawn_twice_for_a_prompt() -> None:
    number = {"distribution": "uniform", "min": 1, "max": 9}
    made = corpus(count=10, zipf_exponent=2, number=number)
    drawn = made.draw(stream(1, 0, "test/twice"), 5000)
    assert all(len(set(prompt)) == len(prompt) for prompt in drawn)
    # A prompt has as many as its number says, however alike the draws were.
    again = tokens(Length.model_validate(number)).sample(stream(1, 0, "test/twice"), 5000)
    assert [len(prompt) for prompt in drawn] == again.tolist()
    # Successive sampling: the first of two is drawn by popularity, the second from the rest.
    pair = corpus(count=3, zipf_exponent=1, number=2, order="drawn")
    drawn = pair.draw(stream(2, 0, "test/twice"), 60_000)
    p = np.array([6, 3, 2]) / 11
    for first, second in [(0, 1), (1, 2), (2, 0)]:
        share = p[first] * p[second] / (1 - p[first])
        seen = sum(prompt == [first, second] for prompt in drawn) / 60_000
        assert abs(seen - share) < 5 * np.sqrt(share / 60_000)


def test_there_are_no_more_documents_than_there_are() -> None:
    made = corpus(count=3, zipf_exponent=8, number=7)
    assert made.draw(stream(1, 0, "test/all"), 50) == [[0, 1, 2]] * 50


def test_order_decides_what_is_shared() -> None:
    sorted_ = corpus(number=3).draw(stream(1, 0, "test/order"), 500)
    drawn = corpus(number=3, order="drawn").draw(stream(1, 0, "test/order"), 500)
    assert [sorted(prompt) for prompt in drawn] == sorted_
    assert drawn != sorted_


def test_a_document_has_one_length_whatever_the_seed() -> None:
    made = {"tokens": LENGTHS, "count": 9}
    one, two = (base(seed=seed, documents=made).corpus() for seed in (1, 2))
    assert one is not None
    assert two is not None
    assert one.lengths == two.lengths
    assert len(set(one.lengths)) > 3


def test_documents_stand_after_the_prefix() -> None:
    made = corpus(10, prefix=25, prefixes=2, tokens=34, count=5, number=2)
    # 25 + 34 = 59 tokens: blocks 2 to 4 are the first document's, 5 to 8 the second's.
    runs, size = made.place(1, [0, 3])
    first = RUN_SPAN * (3 + 5)
    assert size == 25 + 68
    assert runs == (RUN_SPAN, 2, first, 3, RUN_SPAN * (3 + 10), 4)
    assert made.place(1, [0])[0] == (RUN_SPAN, 2, first, 3)
    assert made.place(1, [0, 4])[0][4:] == (RUN_SPAN * (3 + 10 + 1), 4)
    assert made.place(1, [0, 3])[0] == runs
    assert made.place(0, [0])[0] == (0, 2, RUN_SPAN * 3, 3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.lists(st.integers(0, 4), unique=True, max_size=4)),
        min_size=2,
        max_size=12,
    ),
    st.integers(1, 40),
    st.integers(0, 40),
    st.integers(1, 30),
)
def test_ids_say_the_same_as_the_tokens(
    prompts: list[tuple[int, list[int]]], size: int, prefix: int, mean: int
) -> None:
    """Two prompts share a block if and only if they agree in every token up to its end."""
    spread = {"distribution": "exponential", "mean": mean}
    made = corpus(size, prefix, 2, tokens=spread, count=5)
    chains = Chains()
    texts = []
    for pick, documents in prompts:
        pick = pick if prefix else 0  # noqa: PLW2901 (without a prefix there is but one)
        runs, length = made.place(pick, documents)
        assert chains.admit(runs) is None
        text: list[Any] = [("prefix", pick)] * prefix
        for document in documents:
            text += [(document, i) for i in range(made.lengths[document])]
        assert len(text) == length
        assert len(ids(runs)) == length // size
        texts.append((text, ids(runs)))
    for text_a, ids_a in texts:
        for text_b, ids_b in texts:
            for i, (a, b) in enumerate(zip(ids_a, ids_b, strict=False), 1):
                assert (a == b) == (text_a[: size * i] == text_b[: size * i])


def test_combinations_long_not_asked_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    made = corpus(tokens=32, count=5, number=2)
    chains = Chains()
    seen = []
    for documents in ([0, 1], [0, 2], [0, 1], [0, 3], [0, 1], [0, 2]):
        runs = made.place(0, documents)[0]
        assert chains.admit(runs) is None
        seen.append(runs[2])
    assert seen[0] == seen[2] == seen[4]  # asked for again before two others were
    assert seen[1] != seen[5]
    # First documents are computed, not remembered.
    assert made.place(0, [4])[0] == (RUN_SPAN * 6, 2)


def test_ids_run_out_before_they_meet_those_of_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOTS", 8)
    made = corpus(tokens=32, count=5, number=2)
    runs = [made.place(0, [0, k])[0] for k in (1, 2, 3)]
    # Two prefixes' worth and five documents are taken: one combination finds a run.
    assert [len(found) for found in runs] == [4, 2, 2]


def test_single_turns_read_documents() -> None:
    shared = {"tokens": 100, "count": 2}
    made = {"tokens": LENGTHS, "count": 20, "number": 3}
    asked = base(64, documents=made, shared_prefix=shared)
    single = script(asked)
    requests = [request for _ in range(3000) for request in single.begin(0.0)]
    chains = Chains()
    again = asked.corpus()
    assert again is not None
    drawn = again.draw(asked.stream("documents", 0), CHUNK)
    for request, prefix, numbers in zip(
        requests, asked.prefix_picks(0, CHUNK), drawn, strict=False
    ):
        assert chains.admit(request.blocks) is None
        assert (request.blocks, request.input_tokens - 100) == again.place(prefix, numbers)
        assert request.context_blocks == ()
    assert len({request.blocks for request in requests}) < 2500


def test_documents_of_a_session_stand_and_those_of_turns_do_not() -> None:
    fields = {"documents": {"tokens": 40, "count": 9}, "input_tokens": 7, "output_tokens": 9}
    session = {"turns": 3, "growth": True}
    plan = planned(agent(session=session, **fields))[0]
    assert plan.inputs == [47, 63, 79]
    assert {runs[:2] for runs in plan.blocks} == {plan.blocks[0][:2]}
    assert plan.blocks[0][0] < SESSION_BASE
    each = {**fields, "documents": {**fields["documents"], "per": "turn"}}  # type: ignore[dict-item]
    plan = planned(agent(session=session, **each))[0]
    assert plan.inputs == [47, 103, 159]
    # Only the first turn's is shared: later ones stand behind the session's own words.
    assert {runs[:2] for runs in plan.blocks} == {plan.blocks[0][:2]}
    assert plan.blocks[0][0] < SESSION_BASE
    plans = planned(agent(session={"turns": 3}, **each), 50)
    assert all(plan.inputs == [47] * 3 for plan in plans)
    firsts = {runs[0] for plan in plans for runs in plan.blocks}
    assert 6 <= len(firsts) <= 9
    assert any(a != b for plan in plans for a, b in pairwise(plan.blocks))


def test_a_compaction_keeps_the_documents_of_a_session() -> None:
    fields = {"documents": {"tokens": 40, "count": 9}, "input_tokens": 7, "output_tokens": 9}
    session = {
        "turns": 4,
        "growth": True,
        "compaction": {"at_tokens": 80, "summary_tokens": 5},
    }
    plan = planned(agent(session=session, **fields))[0]
    assert plan.inputs == [47, 63, 79, 88, 40 + 5 + 7]
    assert plan.blocks[-1][:2] == plan.blocks[0][:2]
    turns = {**fields, "documents": {**fields["documents"], "per": "turn"}}  # type: ignore[dict-item]
    session["compaction"] = {"at_tokens": 110, "summary_tokens": 5}
    plan = planned(agent(session=session, **turns))[0]
    assert plan.inputs == [47, 103, 112, 5 + 47, 61 + 47]
