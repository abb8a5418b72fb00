"""Plans that can be computed by hand: every part of a session, one at a time."""

from typing import Any

import numpy as np
import pytest
from demand import tenant
from planned import agent, planned, walked

from factory.scenario import Tenant
from factory.statistics import bonferroni, mean_interval
from factory.workload.blocks import RUN_SPAN, SESSION_BASE
from factory.workload.sessions.agents import is_needed

PRIVATE = SESSION_BASE
TOOLS = {"calls": 2, "latency_s": 3, "result_tokens": 11, "output_tokens": 5}
PREFIX = {"tokens": 30}


def one(**fields: Any) -> Any:
    return planned(agent(**fields))[0]


def coding(**session: Any) -> Any:
    made = {"turns": 2, "think_time_s": 60, "first_input_tokens": 25, "tools": TOOLS, **session}
    return one(input_tokens=7, output_tokens=9, shared_prefix=PREFIX, session=made)


def test_a_turn_of_two_calls_is_three_requests() -> None:
    plan = coding()
    assert plan.inputs == [55, 55 + 5 + 11, 71 + 16, 87 + 9 + 7, 103 + 16, 119 + 16]
    assert plan.outputs == [5, 5, 9, 5, 5, 9]
    assert plan.delays_s == [0, 3, 3, 60, 3, 3]
    assert plan.waits == [0, 1, 1, 1, 1, 1]
    assert plan.followers == [(1,), (2,), (3,), (4,), (5,), ()]
    assert plan.parents == [-1, 0, 1, 2, 3, 4]
    assert plan.tasks == [0, 0, 0, 1, 1, 1]
    assert plan.agents == [0] * 6
    assert plan.blocks[0] == (0, 3, PRIVATE, 2)
    assert plan.contexts[0] == (0, 3, PRIVATE, 3)
    assert plan.blocks[5] == (0, 3, PRIVATE, 10)
    assert plan.contexts[5] == (0, 3, PRIVATE, 11)


def test_a_turn_may_call_no_tool() -> None:
    plan = coding(tools={**TOOLS, "calls": 0})
    assert plan.inputs == [55, 55 + 9 + 7]
    assert plan.outputs == [9, 9]


def test_answers_that_end_in_a_call_are_as_others_unless_stated() -> None:
    plan = coding(tools={"calls": 1, "result_tokens": 2}, turns=1)
    assert plan.inputs == [55, 55 + 9 + 2]
    assert plan.outputs == [9, 9]


def test_a_session_ends_after_its_requests_amid_a_turn() -> None:
    plan = coding(turns=1, requests=5)
    assert plan.tasks == [0, 0, 0, 1, 1]
    assert plan.outputs == [5, 5, 9, 5, 5]  # the last one calls a tool that nobody waits for
    assert plan.inputs == coding().inputs[:5]
    whole = coding(turns=1, requests=6)
    assert (whole.inputs, whole.outputs) == (coding().inputs, coding().outputs)


def test_requests_without_tools_are_turns() -> None:
    plan = one(input_tokens=7, output_tokens=9, session={"requests": 3, "growth": True})
    assert plan.inputs == [7, 23, 39]
    assert plan.tasks == [0, 1, 2]


TEAM = {
    "count": 3,
    "input_tokens": 20,
    "calls": 1,
    "latency_s": 4,
    "result_tokens": 8,
    "output_tokens": 6,
    "answer_tokens": 13,
}


def research(calls: int = 0, **team: Any) -> Any:
    session: dict[str, Any] = {"turns": 1, "subagents": {**TEAM, **team}}
    if calls:
        session["tools"] = {**TOOLS, "calls": calls}
    return one(input_tokens=7, output_tokens=9, shared_prefix=PREFIX, session=session)


def test_sub_agents_fan_out_and_the_next_request_waits_for_all() -> None:
    plan = research()
    assert plan.inputs == [37, *[50, 50 + 6 + 8] * 3, 37 + 9 + 3 * 13]
    assert plan.outputs == [9, 6, 13, 6, 13, 6, 13, 9]
    assert plan.waits == [0, 1, 1, 1, 1, 1, 1, 3]
    assert plan.followers == [(1, 3, 5), (2,), (7,), (4,), (7,), (6,), (7,), ()]
    assert plan.delays_s == [0, 0, 4, 0, 4, 0, 4, 0]
    assert plan.parents == [-1, 0, 1, 0, 3, 0, 5, 0]
    assert plan.agents == [0, 1, 1, 2, 2, 3, 3, 0]
    assert plan.tasks == [0] * 8
    # They share the session's prefix, and nothing else.
    assert {runs[:2] for runs in plan.blocks} == {(0, 3)}
    assert len({runs[2] for runs in plan.blocks if len(runs) > 2}) == 4


def test_the_tool_loop_goes_on_after_the_join() -> None:
    plan = research(calls=2)
    assert plan.outputs == [5, 6, 13, 6, 13, 6, 13, 5, 5, 9]
    assert plan.inputs[7:] == [37 + 5 + 39, 81 + 5 + 11, 97 + 5 + 11]
    assert plan.delays_s[7:] == [0, 3, 3]
    assert plan.parents[7:] == [0, 7, 8]


def test_sub_agents_may_have_a_prefix_of_their_own() -> None:
    plans = planned(
        agent(
            shared_prefix={"tokens": 30, "count": 2},
            session={"subagents": {**TEAM, "shared_prefix_tokens": 45}},
        ),
        4,
    )
    for plan in plans:
        firsts = [i for i, parent in enumerate(plan.parents) if parent == 0][:3]
        assert [plan.inputs[i] for i in firsts] == [65] * 3
        assert {plan.blocks[i][:2] for i in firsts} == {(2 * RUN_SPAN, 4)}


def test_a_share_of_turns_starts_sub_agents() -> None:
    made = agent(session={"turns": 20, "subagents": {**TEAM, "probability": 0.3}})
    joins = [
        sum(waits == 3 for waits in plan.waits) / (plan.tasks[-1] + 1)
        for plan in planned(made, 400)
    ]
    assert 0.3 in mean_interval(joins, 0.999)


def test_a_full_context_is_summarised() -> None:
    # 55 → 71 → 87 → would be 103.
    plan = coding(compaction={"at_tokens": 100, "summary_tokens": 14})
    assert plan.inputs == [55, 71, 87, 96, 30 + 14 + 7, 51 + 16, 67 + 16]
    assert plan.outputs == [5, 5, 9, 14, 5, 5, 9]
    assert plan.delays_s == [0, 3, 3, 60, 0, 3, 3]
    assert plan.waits == [0, 1, 1, 1, 1, 1, 1]
    assert plan.parents == [-1, 0, 1, 2, 3, 4, 5]
    assert plan.tasks == [0, 0, 0, 1, 1, 1, 1]
    # The summary is asked of the context, all of whose whole blocks are known …
    assert plan.blocks[3] == plan.contexts[2] == (0, 3, PRIVATE, 6)
    assert plan.contexts[3] == ()
    # … and only the shared prefix is left of it afterwards.
    assert plan.blocks[4] == (0, 3, PRIVATE + 7, 2)
    assert plan.blocks[6] == (0, 3, PRIVATE + 7, 5)


def test_a_join_may_fill_the_context() -> None:
    plan = one(
        input_tokens=7,
        output_tokens=9,
        session={
            "subagents": {**TEAM, "calls": 0},
            "compaction": {"at_tokens": 50, "summary_tokens": 3},
        },
    )
    assert plan.inputs == [7, 20, 20, 20, 7 + 9, 3 + 39]
    assert plan.waits == [0, 1, 1, 1, 3, 1]
    assert plan.followers[1:] == [(4,), (4,), (4,), (5,), ()]


def test_a_session_that_begins_above_its_limit_is_not_compacted_for_it() -> None:
    plan = coding(compaction={"at_tokens": 50, "summary_tokens": 3})
    assert plan.inputs == coding().inputs


def test_edits_keep_the_start_of_the_context() -> None:
    edits = {"probability": 1, "turn_probability": 0, "kept_ratio": 0.75}
    plan = coding(edits=edits, turns=1)
    assert plan.inputs == [55, 71, 87]
    # Of 60 tokens 45 stay, of 76 then 57: each time the rest goes on in new blocks.
    assert plan.blocks[1] == (0, 3, PRIVATE, 1, PRIVATE + 4, 3)
    assert plan.blocks[2] == (0, 3, PRIVATE, 1, PRIVATE + 4, 1, PRIVATE + 8, 3)


def test_edits_may_drop_a_part_of_what_they_rewrite() -> None:
    edits = {"probability": 0, "turn_probability": 1, "kept_ratio": 0.5, "dropped_ratio": 0.25}
    plan = coding(edits=edits)
    assert plan.inputs[:3] == [55, 71, 87]
    assert plan.inputs[3] == 48 + 36 + 7
    assert plan.blocks[3] == (0, 3, PRIVATE, 1, PRIVATE + 7, 5)


def test_an_edit_of_the_prefix_stays_after_a_compaction() -> None:
    edits = {"probability": 0, "turn_probability": 1, "kept_ratio": 0.125}
    plan = coding(edits=edits, compaction={"at_tokens": 110, "summary_tokens": 14})
    # 96 tokens: 12 stay, so that two of the three blocks of the prefix are the session's own.
    assert plan.blocks[3] == (0, 1, PRIVATE + 7, 9)
    assert plan.inputs[3:] == [103, 108, 30 + 14 + 11, 55 + 16]
    assert plan.blocks[5] == (0, 1, PRIVATE + 7, 2, PRIVATE + 17, 2)


def test_jobs_of_a_turn_are_sent_at_once() -> None:
    plan = one(
        input_tokens=7,
        output_tokens=9,
        shared_prefix=PREFIX,
        session={"turns": 2, "fan_out": 3, "think_time_s": 60},
    )
    assert plan.inputs == [37] * 6
    assert plan.blocks == [(0, 3)] * 6
    assert plan.contexts == [()] * 6
    assert plan.waits == [0, 0, 0, 3, 3, 3]
    assert plan.followers == [(3, 4, 5)] * 3 + [()] * 3
    assert plan.delays_s == [0, 0, 0, 60, 60, 60]
    assert plan.tasks == [0, 0, 0, 1, 1, 1]


def test_a_session_ends_where_its_context_would_not_fit() -> None:
    made = {"turns": 2, "first_input_tokens": 25, "tools": TOOLS}
    fields = {"input_tokens": 7, "output_tokens": 9, "shared_prefix": PREFIX, "session": made}
    assert one(max_context=200, **fields).inputs == [55, 71, 87, 103, 119, 135]
    assert one(max_context=119, **fields).inputs == [55, 71, 87, 103]
    short = one(max_context=120, **fields)
    assert (short.inputs[-1], short.outputs[-1]) == (119, 1)
    # A first prompt is cut, so that a session has one request at least.
    cut = one(max_context=50, **fields)
    assert (cut.inputs, cut.outputs) == ([49], [1])


def test_a_sub_agent_that_does_not_fit_ends_early() -> None:
    made = {"subagents": {**TEAM, "calls": 9}}
    plan = one(max_context=100, input_tokens=7, output_tokens=9, session=made)
    assert max(n + m for n, m in zip(plan.inputs, plan.outputs, strict=True)) <= 100
    last = [max(row for row, by in enumerate(plan.agents) if by == k) for k in (1, 2, 3)]
    assert plan.inputs[-1] == 16 + sum(plan.outputs[i] for i in last)


def test_requests_are_sent_when_all_they_wait_for_is_answered() -> None:
    made = agent(
        session={
            "turns": 3,
            "think_time_s": {"distribution": "exponential", "mean": 30},
            "tools": {**TOOLS, "calls": {"distribution": "exponential", "mean": 2}},
            "subagents": {**TEAM, "calls": {"distribution": "uniform", "min": 0, "max": 4}},
        }
    )
    plans = planned(made, 20)
    for number, (plan, seen) in enumerate(zip(plans, walked(made, 20, 2.5), strict=True)):
        assert sorted(r.turn for r in seen) == list(range(len(plan.inputs)))
        sent = {r.turn: r.arrival_s for r in seen}
        awaited: dict[int, list[int]] = {}
        for row, followers in enumerate(plan.followers):
            for later in followers:
                awaited.setdefault(later, []).append(row)
        for r in seen:
            rows = awaited.get(r.turn, [])
            ready = max((sent[row] + 2.5 for row in rows), default=100.0 * number)
            assert r.arrival_s == pytest.approx(ready + plan.delays_s[r.turn])
            assert (r.task, r.agent) == (plan.tasks[r.turn], plan.agents[r.turn])


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, False),
        ({"session": {"turns": 5, "growth": True, "think_time_s": 3}}, False),
        ({"documents": {"tokens": 100, "count": 9}}, False),
        ({"documents": {"tokens": 100, "count": 9}, "session": {"turns": 2}}, True),
        ({"session": {"tools": TOOLS}}, True),
        ({"session": {"first_input_tokens": 5}}, True),
        ({"session": {"fan_out": 3}}, True),
        ({"session": {"requests": 3}}, True),
    ],
)
def test_plans_serve_what_plain_turns_cannot(fields: dict[str, Any], needed: bool) -> None:
    assert is_needed(Tenant.model_validate(tenant(**fields))) is needed


def test_draws_have_their_means() -> None:
    geometric = {"distribution": "geometric", "mean": 4}
    made = agent(
        input_tokens={"distribution": "exponential", "mean": 300},
        output_tokens={"distribution": "exponential", "mean": 200},
        session={
            "turns": geometric,
            "tools": {
                "calls": {"distribution": "uniform", "min": 0, "max": 6},
                "latency_s": {"distribution": "exponential", "mean": 9},
                "result_tokens": {"distribution": "exponential", "mean": 500},
                "output_tokens": {"distribution": "exponential", "mean": 100},
            },
        },
    )
    plans = planned(made, 4000)
    level = bonferroni(0.999, 4)
    turns = [plan.tasks[-1] + 1 for plan in plans]
    assert 4 in mean_interval(turns, level)
    calls = [len(plan.inputs) / n - 1 for plan, n in zip(plans, turns, strict=True) if n == 1]
    assert 3 in mean_interval(calls, level)
    tools = [row for plan in plans for row in range(1, len(plan.inputs))
            if plan.tasks[row] == plan.tasks[row - 1] for row in [(plan, row)]]  # fmt: skip
    latencies = [plan.delays_s[row] for plan, row in tools]
    assert 9 in mean_interval(latencies, level)
    results = [plan.inputs[row] - plan.inputs[row - 1] - plan.outputs[row - 1]
            for plan, row in tools]  # fmt: skip
    # Rounding to whole tokens of at least 1: as `Distribution.mean` has it.
    assert made.tools is not None
    assert made.tools.result_tokens.mean() in mean_interval(results, level)


def test_first_inputs_go_with_the_length_of_sessions() -> None:
    made = agent(
        session={
            "requests": {"distribution": "lognormal", "mu": 3, "sigma": 1},
            "first_input_tokens": {"distribution": "lognormal", "mu": 9, "sigma": 1},
            "first_input_correlation": -0.6,
            "tools": TOOLS,
        }
    )
    plans = planned(made, 2000)
    ranks = [np.argsort(np.argsort(x)) for x in (
        [len(plan.inputs) for plan in plans], [plan.inputs[0] for plan in plans])]  # fmt: skip
    # Standard error of a rank correlation: about 1/√2000.
    assert np.corrcoef(*ranks)[0, 1] == pytest.approx(-0.6, abs=0.08)
