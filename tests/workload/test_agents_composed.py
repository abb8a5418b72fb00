"""What holds for every composition of a session's parts."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from planned import agent, planned

from factory.workload.blocks import RUN_SPAN, SESSION_BASE, Chains, Runs, merged, trimmed
from factory.workload.sessions.plan import SessionPlan


def spread(mean: float) -> dict[str, Any]:
    return {"distribution": "exponential", "mean": mean}


lengths = st.one_of(st.integers(1, 60), st.integers(1, 60).map(spread))
counts = st.one_of(st.integers(0, 4), st.integers(0, 3).map(spread))
shares = st.floats(0, 1).map(lambda x: round(x, 2))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


tools = st.fixed_dictionaries(
    {"calls": counts, "result_tokens": lengths},
    optional={"output_tokens": lengths, "latency_s": counts},
)
subagents = st.fixed_dictionaries(
    {
        "probability": shares,
        "count": st.integers(1, 4),
        "input_tokens": lengths,
        "shared_prefix_tokens": st.integers(0, 70),
        "calls": counts,
        "result_tokens": lengths,
        "answer_tokens": lengths,
    }
)
compaction = st.fixed_dictionaries(
    {"at_tokens": st.integers(250, 600), "summary_tokens": st.integers(1, 60)}
)
edits = st.fixed_dictionaries(
    {
        "probability": shares,
        "kept_ratio": st.one_of(shares, st.just({"distribution": "uniform", "min": 0, "max": 1})),
        "dropped_ratio": st.sampled_from([0, 0.5, 1]),
    }
)
documents = st.fixed_dictionaries(
    {
        "tokens": lengths,
        "count": st.integers(1, 12),
        "zipf_exponent": st.sampled_from([0, 1.0, 2.5]),
        "number": counts.map(lambda n: n or 1),
        "per": st.sampled_from(["session", "turn"]),
        "order": st.sampled_from(["popularity", "drawn"]),
    }
)
sessions = st.fixed_dictionaries(
    {"turns": st.one_of(st.integers(1, 5), st.just(spread(4)))},
    optional={
        "think_time_s": counts,
        "growth": st.booleans(),
        "first_input_tokens": lengths,
        "tools": maybe(tools),
        "subagents": maybe(subagents),
        "compaction": maybe(compaction),
        "edits": maybe(edits),
    },
)
jobs = st.fixed_dictionaries({"turns": st.integers(1, 3), "fan_out": st.integers(1, 5)})
tenants = st.fixed_dictionaries(
    {
        "input_tokens": lengths,
        "output_tokens": lengths,
        "shared_prefix": st.fixed_dictionaries(
            {"tokens": st.integers(0, 90), "count": st.integers(1, 3)}
        ),
        "session": st.one_of(sessions, sessions, jobs),
    },
    optional={"documents": documents},
)


def blocks(runs: Runs) -> int:
    return sum(runs[1::2])


@settings(max_examples=150, deadline=None)
@given(tenants, st.sampled_from([1, 7, 16]), st.sampled_from([0, 700]), st.integers(0, 5))
def test_every_composition_makes_sound_plans(
    fields: dict[str, Any], size: int, limit: int, seed: int
) -> None:
    made = agent(size, seed, limit, **fields)
    chains = Chains()
    for number, plan in enumerate(planned(made, 6)):
        check_order(plan)
        check_ids(plan, number, size, chains, grows=made.base.growth)
        assert min(plan.inputs) >= 1
        assert min(plan.outputs) >= 1
        if limit:
            ends = [n + m for n, m in zip(plan.inputs, plan.outputs, strict=True)]
            # Only a standing part that leaves no room can make a prompt too long.
            assert max(ends) <= limit or min(plan.inputs) >= limit - 1


def check_order(plan: SessionPlan) -> None:
    """Rows stand behind what they wait for, and those who wait know for how many."""
    awaited = [0] * len(plan.inputs)
    for row, followers in enumerate(plan.followers):
        for later in followers:
            assert later > row
            awaited[later] += 1
    assert awaited == plan.waits
    assert all(parent < row for row, parent in enumerate(plan.parents))
    assert all(delay == 0 for delay, n in zip(plan.delays_s, plan.waits, strict=True) if not n)
    assert plan.tasks == sorted(plan.tasks)
    assert set(plan.tasks) == set(range(plan.tasks[-1] + 1))
    assert set(plan.agents) == set(range(max(plan.agents) + 1))


def check_ids(plan: SessionPlan, number: int, size: int, chains: Chains, *, grows: bool) -> None:
    private = range(SESSION_BASE + number * RUN_SPAN, SESSION_BASE + (number + 1) * RUN_SPAN)
    for prompt, output, runs, context in zip(
        plan.inputs, plan.outputs, plan.blocks, plan.contexts, strict=True
    ):
        assert merged(runs) == runs
        assert chains.admit(runs) is None
        assert chains.admit(context) is None
        assert all(first < SESSION_BASE or first in private for first in runs[::2])
        assert blocks(runs) == prompt // size if grows else blocks(runs) <= prompt // size
        if context:
            assert blocks(context) == (prompt + output) // size
            assert trimmed(context, blocks(runs)) == runs


@settings(max_examples=60, deadline=None)
@given(tenants, st.integers(0, 5))
def test_tokens_are_conserved(fields: dict[str, Any], seed: int) -> None:
    """A prompt is what stands, then history, then what is new."""
    session = {**fields["session"], "edits": None}
    if "fan_out" in session:
        return
    session["growth"] = True
    made = agent(8, seed, **{**fields, "session": session})
    for plan in planned(made, 4):
        said = [n + m for n, m in zip(plan.inputs, plan.outputs, strict=True)]
        summaries = {
            row
            for row, parent in enumerate(plan.parents)
            if parent >= 0 and plan.agents[row] == plan.agents[parent] == 0
            and plan.inputs[row] == said[parent]
        }  # fmt: skip
        assert not summaries or made.compaction is not None
        for row, parent in enumerate(plan.parents):
            if parent < 0 or plan.agents[parent] != plan.agents[row] or row in summaries:
                continue
            if parent in summaries:
                standing = fields["shared_prefix"]["tokens"]
                assert plan.inputs[row] > standing + plan.outputs[parent]
            else:
                assert plan.inputs[row] > said[parent]
                known = plan.contexts[parent]
                assert trimmed(plan.blocks[row], blocks(known)) == known


CODING: dict[str, Any] = {
    "input_tokens": spread(100),
    "output_tokens": spread(50),
    "shared_prefix": {"tokens": 100, "count": 3},
    "session": {
        "turns": spread(4),
        "think_time_s": spread(60),
        "tools": {"calls": spread(5), "latency_s": spread(9), "result_tokens": spread(80)},
    },
}


def scripts(plans: list[SessionPlan]) -> list[tuple[Any, ...]]:
    return [(plan.tasks, plan.agents, plan.delays_s, plan.inputs[0]) for plan in plans]


def added(plans: list[SessionPlan]) -> list[list[int]]:
    return [
        [n - plan.inputs[row - 1] - plan.outputs[row - 1] for row, n in enumerate(plan.inputs)][1:]
        for plan in plans
    ]


def test_one_aspect_can_change_alone() -> None:
    before = planned(agent(**CODING), 200)
    longer = planned(agent(**{**CODING, "output_tokens": spread(500)}), 200)
    assert scripts(before) == scripts(longer)
    assert added(before) == added(longer)
    assert [plan.outputs for plan in before] != [plan.outputs for plan in longer]


def test_parts_that_are_added_leave_the_others_alone() -> None:
    before = planned(agent(**CODING), 100)
    team = {"probability": 0.3, "input_tokens": 50, "answer_tokens": 40}
    session = {**CODING["session"], "subagents": team}
    teams = planned(agent(**{**CODING, "session": session}), 100)
    for plain, plan in zip(before, teams, strict=True):
        rows = [r for r, a in enumerate(plan.agents) if not a and plan.waits[r] < 2]
        tasks = [plan.tasks[r] for r in rows]
        starts = sum(waits == 1 and plan.agents[row] == 1 for row, waits in enumerate(plan.waits))
        assert len(tasks) >= len(plain.tasks) or starts
        assert plan.inputs[0] == plain.inputs[0]
        assert set(plan.tasks) == set(plain.tasks)
    session = {**CODING["session"], "edits": {"probability": 0.2, "kept_ratio": 0.5}}
    edited = planned(agent(**{**CODING, "session": session}), 100)
    assert scripts(edited) == scripts(before)
    assert [plan.outputs for plan in edited] == [plan.outputs for plan in before]
    assert [plan.inputs for plan in edited] == [plan.inputs for plan in before]
    assert [plan.blocks for plan in edited] != [plan.blocks for plan in before]


def test_seeds_differ_and_repeat() -> None:
    one, two = (planned(agent(seed=1, **CODING), 50) for _ in range(2))
    assert one == two
    assert one != planned(agent(seed=2, **CODING), 50)
