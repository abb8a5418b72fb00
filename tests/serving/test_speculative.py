"""Decoding with drafts: the batch against its oracle, and what one replica does, on paper."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from observed import COLUMNS, Observed, observe

from factory.serving.batch import ENDLESS
from factory.serving.meter import OUTPUT, STEPS, TENANT_OUTPUT
from factory.serving.sequence import Sequence
from factory.serving.speculative import ONE, SpeculativeBatch, SpeculativeLeapBatch
from factory.serving.speculative_oracle import SpeculativeStepBatch
from factory.workload import Request

MS = 1e-3


def sequence(number: int, position: int, generated: int, left: int, steps: int) -> Sequence:
    """A sequence that is about to decode ``left`` tokens in ``steps`` steps, of two tenants."""
    limit = generated + left
    request = Request(number, 0, 0, number, 0, -1, number, number % 2, 0.0, position, limit, ())
    made = Sequence(request, limit, 0)
    made.position = position
    made.generated = generated
    made.steps = steps
    return made


def emitted(batch: SpeculativeBatch, until: int) -> dict[int, int]:
    """Tokens by tenant."""
    tokens: dict[int, int] = {}
    for tenant, count in batch.emissions(until):
        tokens[tenant] = tokens.get(tenant, 0) + count
    return {tenant: count for tenant, count in tokens.items() if count}


class Batches(RuleBasedStateMachine):
    """Does the same to both, and asks both the same."""

    @initialize(
        block=st.sampled_from([1, 2, 3, 16]), drafts=st.integers(1, 4), step=st.integers(0, 40)
    )
    def start(self, block: int, drafts: int, step: int) -> None:
        self.leap = SpeculativeLeapBatch(block, drafts, step)
        self.step = SpeculativeStepBatch(block, drafts, step)
        self.drafts = drafts
        self.members: list[tuple[Sequence, Sequence]] = []
        self.joined = 0
        self.counted = 0

    def settle_now(self) -> None:
        # Blocks are settled up to the present whenever membership changes, as a rank does.
        assert self.leap.settle(self.leap.step) == self.step.settle(self.step.step)

    @rule(
        position=st.integers(0, 40),
        generated=st.integers(0, 5),
        steps=st.integers(1, 20),
        share=st.floats(0, 1),
    )
    def join(self, position: int, generated: int, steps: int, share: float) -> None:
        self.settle_now()
        left = steps + int(share * steps * self.drafts)
        pair = [sequence(self.joined, position, generated, left, steps) for _ in range(2)]
        self.joined += 1
        self.members.append((pair[0], pair[1]))
        self.leap.join(pair[0])
        self.step.join(pair[1])

    def part(self, mine: Sequence, other: Sequence) -> None:
        self.leap.leave(mine)
        self.step.leave(other)
        for name in ("generated", "position", "decode_steps", "blocks", "counted", "pace"):
            assert getattr(mine, name) == getattr(other, name), name

    @precondition(lambda self: self.members)
    @rule(which=st.integers(0, 50), again=st.booleans())
    def leave(self, which: int, again: bool) -> None:
        """As when it is preempted; perhaps it comes back with one token more."""
        self.settle_now()
        mine, other = self.members.pop(which % len(self.members))
        self.part(mine, other)
        if again and mine.generated + 1 < mine.limit:
            for batch, member in ((self.leap, mine), (self.step, other)):
                member.generated += 1
                batch.join(member)
            self.members.append((mine, other))

    @rule(share=st.floats(0, 1))
    def advance(self, share: float) -> None:
        steps = int(share * min(self.step.horizon(), 40))
        assert self.leap.advance(steps) == self.step.advance(steps)

    @rule(back=st.integers(0, 3))
    def count(self, back: int) -> None:
        """A window ends: at a step since the last change of membership and the last window."""
        newest = max((mine.join_step for mine, _ in self.members), default=0)
        until = self.counted = max(self.step.step - back, newest, self.counted)
        assert emitted(self.leap, until) == emitted(self.step, until)

    @rule()
    def finish(self) -> None:
        self.settle_now()
        done = [(a.request.index, a) for a in self.leap.finished()]
        others = [(b.request.index, b) for b in self.step.finished()]
        assert [number for number, _ in done] == [number for number, _ in others]
        for (number, mine), (_, other) in zip(done, others, strict=True):
            self.part(mine, other)
            assert mine.generated == mine.limit
            self.members = [m for m in self.members if m[0].request.index != number]

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "leap"):
            return
        leap, step = self.leap, self.step
        assert (leap.size, leap.context, leap.step) == (step.size, step.context, step.step)
        assert (leap.slope, leap.settled) == (step.slope, step.settled)
        assert leap.horizon() == step.horizon()
        for steps in (0, 1, 2, 5, 17):
            growth = step.growth(step.step + steps)
            assert leap.growth(step.step + steps) == growth
            assert growth <= step.size * step.laps(step.step + steps)
            assert leap.laps(step.step + steps) == step.laps(step.step + steps)
        need = step.growth(step.step + 1)
        for blocks in (0, need - 1, need, need + 1, 3 * need + 2):
            if blocks < 0:
                continue
            assert leap.fits(blocks) == step.fits(blocks)
            for most in (1, 3, 20):
                room = step.room(blocks, most)
                assert min(room, 1) <= leap.room(blocks, most) <= room


Batches.TestCase.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, derandomize=True, database=None
)
TestBatches = Batches.TestCase


def test_an_empty_batch_is_endless() -> None:
    batch = SpeculativeLeapBatch(16, 3)
    assert batch.horizon() == ENDLESS
    assert batch.growth(1000) == 0
    assert (batch.context, batch.slope) == (0.0, 0.0)


def test_tokens_of_one_sequence() -> None:
    """Seven tokens in three steps: 2, 4 and 7 are out after them."""
    batch = SpeculativeLeapBatch(4, 2)
    batch.join(sequence(0, 8, 1, 7, 3))
    assert batch.slope == pytest.approx(7 / 3, abs=1 / ONE)
    assert batch.slope >= 7 / 3
    # Two blocks hold its 8 tokens; each step writes one more and two drafts: 11, 13, 15.
    assert [batch.growth(steps) for steps in (1, 2, 3)] == [1, 2, 2]
    told = []
    for step in (1, 2, 3):
        is_done = batch.advance(1)
        assert is_done == (step == 3)
        told.append(emitted(batch, step).get(0, 0))
    assert told == [2, 2, 3]


def test_as_many_tokens_as_steps_are_left_after_a_preemption() -> None:
    """All steps of six tokens gave one; after two and a prefill's one, three steps are left."""
    batch = SpeculativeLeapBatch(16, 1)
    one = sequence(0, 0, 1, 6, 6)
    batch.join(one)
    batch.advance(2)
    batch.leave(one)
    one.generated += 1
    batch.join(one)
    assert (batch.horizon(), batch.slope) == (3, 1.0)


# -- one replica -------------------------------------------------------------------------------

STEP = {"kind": "fixed", "base_ms": 10, "per_seq_ms": 1, "per_prefill_token_ms": 0.5}


def run(
    *tenants: dict[str, Any],
    speculation: dict[str, Any] | None,
    requests: int = 1,
    engine: dict[str, Any] | None = None,
    window_s: float = 60.0,
    block_size: int = 1,
    **pool: Any,
) -> Observed:
    """One aggregated replica with stated step times; requests by tenant, as given."""
    made = {
        "name": "p",
        "role": "aggregated",
        "racks": "r",
        "replicas": 1,
        "engine": {"step_model": STEP, **(engine or {})},
        **pool,
    }
    deployment = {
        "name": "d",
        "model": "llama-3.1-8b",
        "block_size": block_size,
        "speculation": speculation,
        "pools": [made],
    }
    return observe(
        {
            "name": "speculative",
            "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
            "deployments": [deployment],
            "workload": {"tenants": [{"name": f"t{i}", **t} for i, t in enumerate(tenants)]},
            "run": {"requests": requests, "window_s": window_s},
        }
    )


def asks(prompt: int, answer: Any, concurrency: int = 1) -> dict[str, Any]:
    return {
        "load": {"concurrency": concurrency},
        "input_tokens": prompt,
        "output_tokens": answer,
    }


def near(milliseconds: float) -> Any:
    return pytest.approx(milliseconds * MS, abs=1e-9)


def test_every_draft_accepted() -> None:
    """10 prompt tokens: 15 ms; the other 8 tokens two by two: four steps of 11 ms, not eight."""
    seen = run(asks(10, 9), speculation={"draft_tokens": 1, "acceptance": 1.0})
    assert seen.column("first_token_s") == [near(15)]
    assert seen.column("completion_s") == [near(15 + 4 * 11)]
    assert seen.column("decode_steps") == [4]
    assert seen.column("output_tokens") == [9]
    assert seen.pools[0][0][STEPS] == 5
    assert seen.pools[0][0][OUTPUT] == 9


def test_an_odd_token_takes_a_step_of_its_own() -> None:
    """Ten tokens, the first by the prefill: 2 + 2 + 2 + 2 + 1."""
    seen = run(asks(10, 10), speculation={"draft_tokens": 1, "acceptance": 1.0})
    assert seen.column("decode_steps") == [5]
    assert seen.column("completion_s") == [near(15 + 5 * 11)]


def test_no_draft_accepted_is_as_without() -> None:
    """Every row and every sum: stated step times know nothing of drafts."""
    tenants = asks(30, {"distribution": "uniform", "min": 1, "max": 60}, concurrency=7)
    other = asks(100, 20, concurrency=2)
    given = {"requests": 60, "window_s": 0.13, "engine": {"max_num_seqs": 5}}
    without = run(tenants, other, speculation=None, **given)
    refused = run(tenants, other, speculation={"draft_tokens": 1, "acceptance": 0.0}, **given)
    assert refused.rows == without.rows
    assert refused.pools == without.pools
    assert refused.tenants == without.tenants


def test_tokens_count_in_the_window_of_their_step() -> None:
    """Prefill to 15 ms; steps end at 26, 37, 48 and 59 ms, two tokens each; windows of 20 ms."""
    seen = run(asks(10, 9), speculation={"draft_tokens": 1, "acceptance": 1.0}, window_s=0.02)
    assert [row[OUTPUT] for row in seen.pools[0]] == [1, 4, 4]
    assert [row[TENANT_OUTPUT] for row in seen.tenants[0]] == [1, 4, 4]


def test_blocks_for_drafts_are_taken() -> None:
    """Two sequences of 10 + 7 tokens in 29 blocks of one token, with three drafts each.

    The first step needs 10 + 1 + 3 blocks of each: 28. All drafts are accepted, so two steps do,
    of 3 and 4 tokens. The second one needs 13 + 1 + 3 of each: the younger is preempted with 4 of
    8 tokens, has 14 to prefill, which gives the fifth, and its last step gives three.
    """
    given = {"draft_tokens": 3, "acceptance": 1.0}
    engine = {"kv_capacity_tokens": 29, "max_num_batched_tokens": 64, "max_num_seqs": 2}
    seen = run(asks(10, 8, 2), speculation=given, requests=2, engine=engine)
    assert seen.column("preemptions") == [0, 1]
    assert seen.column("decode_steps") == [2, 2]
    assert seen.column("recomputed") == [0, 14]
    assert seen.column("output_tokens") == [8, 8]
    alone = run(asks(10, 8, 2), speculation=given, requests=2)
    assert alone.column("preemptions") == [0, 0]


def test_answers_end_where_drafts_would_not_fit() -> None:
    """20 blocks hold 10 + 7 tokens and the three drafts of a last step."""
    given = {"draft_tokens": 3, "acceptance": 0.5}
    seen = run(asks(10, 30), speculation=given, engine={"kv_capacity_tokens": 20})
    assert seen.column("output_tokens") == [7]


def test_drafts_take_of_the_token_budget() -> None:
    """A step has 8 tokens: two sequences with three drafts each leave none for a prompt."""
    given = {"draft_tokens": 3, "acceptance": 1.0}
    engine = {"max_num_batched_tokens": 8, "max_num_seqs": 2}
    seen = run(asks(8, 13, 2), asks(4, 1), speculation=given, requests=3, engine=engine)
    rows = {row[COLUMNS.index("tenant")]: row for row in seen.rows}
    first = [row for row in seen.rows if row[COLUMNS.index("tenant")] == 0]
    start = COLUMNS.index("prefill_start_s")
    assert rows[1][start] >= min(row[COLUMNS.index("completion_s")] for row in first)


def test_luck_stays_with_the_request() -> None:
    """Another batch size, other limits: the same steps for the same request."""
    given = {"draft_tokens": 3, "acceptance": [0.9, 0.6, 0.4]}
    tenants = asks(30, 50, concurrency=9)
    wide = run(tenants, speculation=given, requests=40)
    narrow = run(tenants, speculation=given, requests=40, engine={"max_num_seqs": 2})
    assert wide.column("decode_steps") == narrow.column("decode_steps")
    assert len(set(wide.column("decode_steps"))) > 5
