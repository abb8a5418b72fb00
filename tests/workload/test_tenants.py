import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from demand import facts, play, scenario, tenant, workload

from factory.records.codes import FAILED, REJECTED, TIMED_OUT
from factory.statistics import bonferroni, mean_interval
from factory.workload.blocks import Chains

UNIFORM = {"distribution": "uniform", "min": 820, "max": 1024}
AGENT = tenant(
    "agent",
    load={"rate": 2.0},
    input_tokens={"distribution": "lognormal", "mu": 6.63, "sigma": 1.13},
    output_tokens={"distribution": "lognormal", "mu": 5.56, "sigma": 0.9},
    shared_prefix={"tokens": 1000, "count": 3},
    session={
        "turns": {"distribution": "geometric", "mean": 6},
        "think_time_s": {"distribution": "exponential", "mean": 9},
        "growth": True,
    },
)


def single(**fields: Any) -> dict[str, Any]:
    return tenant(input_tokens=UNIFORM, output_tokens=UNIFORM, **fields)


def test_lengths_of_a_tenant_have_their_mean() -> None:
    requests = play(workload(scenario(single(load={"rate": 50.0}), requests=20_000)))
    level = bonferroni(0.999, 2)
    assert 922 in mean_interval([r.input_tokens for r in requests], level)
    assert 922 in mean_interval([r.output_tokens for r in requests], level)
    assert {type(r.input_tokens) for r in requests} == {int}


def test_one_turn_without_a_prefix_shares_nothing() -> None:
    requests = play(workload(scenario(single(load={"concurrency": 4}), requests=50)))
    assert {r.blocks for r in requests} == {()}
    assert {(r.turn, r.parent, r.attempt) for r in requests} == {(0, -1, 0)}
    assert all(r.root == r.index for r in requests)


def test_a_shared_prefix_comes_before_the_input() -> None:
    made = single(load={"rate": 5.0}, shared_prefix={"tokens": 1000, "count": 4})
    requests = play(workload(scenario(made, requests=8000)))
    assert 1922 in mean_interval([r.input_tokens for r in requests], 0.999)
    # Whole blocks only: 15 of 64 tokens; the 40 tokens after them are private.
    firsts = [first for first, count in (r.blocks for r in requests) if count == 15]
    counts = np.unique(firsts, return_counts=True)[1]
    assert len(firsts) == 8000
    # Binomial(8000, 1/4): five standard deviations are 194.
    assert float(np.abs(counts - 2000).max()) < 194
    assert len(counts) == 4


def test_a_prefix_below_a_block_shares_nothing() -> None:
    made = single(load={"rate": 5.0}, shared_prefix={"tokens": 63})
    assert {r.blocks for r in play(workload(scenario(made, requests=10)))} == {()}


def test_a_growing_prompt_is_the_whole_session() -> None:
    requests = play(workload(scenario(AGENT, duration_s=200)))
    sessions: dict[int, list[Any]] = {}
    for request in requests:
        sessions.setdefault(request.session, []).append(request)
    assert max(map(len, sessions.values())) > 8
    for turns in sessions.values():
        assert [r.turn for r in turns] == list(range(len(turns)))
        assert turns[0].parent == -1
        assert turns[0].input_tokens >= 1001
        for before, after in pairwise(turns):
            assert after.parent == before.index
            assert after.input_tokens > before.input_tokens + before.output_tokens
            assert after.arrival_s >= before.arrival_s + 1.0


def test_whole_blocks_of_a_session_are_shared_and_partial_ones_are_not() -> None:
    requests = play(workload(scenario(AGENT, duration_s=200)))
    chains = Chains()
    sizes: dict[int, int] = {}
    for request in requests:
        assert chains.admit(request.blocks) is None
        sizes[request.session] = sizes.get(request.session, 0) + 1
    prefix = 1000 // 64
    owners: dict[int, int] = {}
    for request in requests:
        if sizes[request.session] == 1:
            continue
        first, count, private, more = request.blocks
        assert count == prefix
        assert private != first + count
        assert prefix + more == request.input_tokens // 64
        assert owners.setdefault(private, request.session) == request.session
    assert len({r.blocks[0] for r in requests}) == 3


def test_ids_say_the_same_as_the_tokens() -> None:
    """Two prompts share a block if and only if they agree in every token up to its end."""
    made = {**AGENT, "input_tokens": {"distribution": "uniform", "min": 1, "max": 90}}
    requests = play(workload(scenario(made, duration_s=15), [16]))
    texts = []
    for request in requests:
        private = request.input_tokens - 1000
        # A session's tokens after its prefix never change: only the prompt gets longer.
        text = [("prefix", request.blocks[0], i) for i in range(1000)]
        text += [("session", request.session, i) for i in range(private)]
        ids = [
            first + i
            for first, count in zip(request.blocks[::2], request.blocks[1::2], strict=True)
            for i in range(count)
        ]
        texts.append((text, ids))
    for text_a, ids_a in texts[:20]:
        for text_b, ids_b in texts[:20]:
            for i, (a, b) in enumerate(zip(ids_a, ids_b, strict=False), 1):
                assert (a == b) == (text_a[: 16 * i] == text_b[: 16 * i])


def test_without_growth_turns_share_only_the_prefix() -> None:
    made = {**AGENT, "session": {"turns": 3}}
    requests = play(workload(scenario(made, requests=90)))
    assert {r.blocks[1] for r in requests} == {15}
    assert {len(r.blocks) for r in requests} == {2}
    assert sum(r.turn == 2 for r in requests) > 20


def test_think_times_have_their_mean() -> None:
    requests = play(workload(scenario(AGENT, duration_s=500)))
    sent = {r.index: r.arrival_s for r in requests}
    thinks = [r.arrival_s - sent[r.parent] - 1.0 for r in requests if r.parent >= 0]
    interval = mean_interval(thinks, 0.999)
    assert 9.0 in interval
    assert interval.relative < 0.1


def test_turns_have_their_mean() -> None:
    requests = play(workload(scenario(AGENT, duration_s=1000)))
    turns = np.bincount([r.session for r in requests])
    interval = mean_interval(turns[turns > 0], 0.999)
    assert 6.0 in interval
    assert interval.relative < 0.15


@pytest.mark.parametrize("outcome", [REJECTED, TIMED_OUT, FAILED])
def test_a_session_ends_with_a_turn_that_is_not_completed(outcome: int) -> None:
    requests = play(workload(scenario(AGENT, duration_s=50)), outcome=outcome)
    assert {r.turn for r in requests} == {0}


def test_the_factory_does_not_change_what_is_asked() -> None:
    made = scenario(AGENT, single(load={"rate": 3.0}), duration_s=60)
    fast, slow = (play(workload(made), service_s) for service_s in (0.01, 30.0))
    assert facts(fast) == facts(slow)
    starts = [{r.session: r.arrival_s for r in run if r.turn == 0} for run in (fast, slow)]
    assert starts[0] == starts[1]


def test_another_tenant_does_not_change_what_is_asked() -> None:
    alone = play(workload(scenario(AGENT, duration_s=60)))
    beside = play(workload(scenario(AGENT, single(load={"concurrency": 2}), duration_s=60)))

    def asked(requests: list[Any]) -> list[tuple[Any, ...]]:
        # Two sources: session numbers step by two, block ids stay.
        row = {r.session: i for i, r in enumerate(x for x in requests if x.turn == 0)}
        return [(row[r.session], r.turn, r.input_tokens, r.output_tokens, r.blocks)
                for r in requests]  # fmt: skip

    assert asked(alone) == asked([r for r in beside if r.tenant == 0])


def test_seed_and_replication_change_what_is_asked() -> None:
    base = facts(play(workload(scenario(AGENT, duration_s=20, seed=1))))
    assert base == facts(play(workload(scenario(AGENT, duration_s=20, seed=1))))
    assert base != facts(play(workload(scenario(AGENT, duration_s=20, seed=2))))
    assert base != facts(play(workload(scenario(AGENT, duration_s=20, replication=1))))


def test_one_aspect_can_change_alone() -> None:
    made = single(load={"rate": 5.0})
    longer = {**made, "output_tokens": {"distribution": "exponential", "mean": 900}}
    one, two = (play(workload(scenario(t, requests=200))) for t in (made, longer))
    assert [r.input_tokens for r in one] == [r.input_tokens for r in two]
    assert [r.arrival_s for r in one] == [r.arrival_s for r in two]
    assert [r.output_tokens for r in one] != [r.output_tokens for r in two]


def test_sessions_longer_than_a_chunk() -> None:
    short = {"input_tokens": 20, "output_tokens": 5}
    made = tenant(load={"concurrency": 1}, session={"turns": 5000, "growth": True}, **short)
    requests = play(workload(scenario(made, requests=12_000)))
    assert [r.session for r in requests[::5000]] == [0, 1, 2]
    assert requests[4999].input_tokens == 5000 * 20 + 4999 * 5
    assert math.isclose(requests[4999].blocks[1], requests[4999].input_tokens // 64)


def test_a_session_ends_where_its_next_prompt_would_not_fit() -> None:
    # The model takes 131,072 tokens: prompts of 40,000, 85,000 and 130,000, and no fourth. The
    # answer to the third ends where the context does.
    long = {"input_tokens": 40_000, "output_tokens": 5_000}
    made = tenant(load={"concurrency": 1}, session={"turns": 9, "growth": True}, **long)
    requests = play(workload(scenario(made, requests=7)))
    asked = [(r.session, r.input_tokens, r.output_tokens) for r in requests]
    assert asked == [
        (session, prompt, answer)
        for session in (0, 1)
        for prompt, answer in ((40_000, 5_000), (85_000, 5_000), (130_000, 1_072))
    ] + [(2, 40_000, 5_000)]


def test_documents_are_cut_where_the_context_ends() -> None:
    documents = {"tokens": 90_000, "count": 3, "number": 2}
    made = tenant(load={"concurrency": 1}, documents=documents)
    request = play(workload(scenario(made, requests=1)))[0]
    assert (request.input_tokens, request.output_tokens) == (131_071, 1)
    assert sum(request.blocks[1::2]) == 131_071 // 64
