from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.performance import Layout, RankWork, RooflineStepModel, Segment, reference_costs
from factory.performance.operators import CostTable
from factory.scenario import catalog

CATALOG = catalog()
CASES = (
    ("llama-3.1-8b", "hgx-h100", Layout(), "fp16"),
    ("llama-3.1-70b", "hgx-h200", Layout(tp=4), "fp8"),
    ("llama-3.1-70b", "hgx-b200", Layout(tp=2, pp=2), "fp4"),
    ("deepseek-r1", "hgx-h200", Layout(tp=8, ep=8), "fp8"),
    ("deepseek-r1", "hgx-h200", Layout(tp=8, dp=2, ep=16), "fp8"),
    ("deepseek-r1", "gb300-nvl72", Layout(dp=8, ep=8), "fp4"),
    ("gpt-oss-120b", "gb200-nvl72", Layout(), "fp4"),
    ("gpt-oss-120b", "gb200-nvl72", Layout(dp=4, ep=4), "fp4"),
    ("qwen3-32b", "hgx-h200", Layout(tp=2, dp=3, pp=3), "fp8"),
)
CLOCKS = (0.4, 0.7, 1.0)
ULPS = 1 + 1e-12
Case = tuple[str, str, Layout, str]


def later_by(rank: RankWork, k: int) -> RankWork:
    """The work as it stands k steps later on the same line."""
    return RankWork(
        rank.decode,
        rank.context + rank.decode * k,
        rank.prefill_tokens,
        rank.prefill_pairs + rank.prefill_pairs_slope * k,
        rank.prefill_pairs_slope,
        rank.prefill_context + rank.prefill_context_slope * k,
        rank.prefill_context_slope,
        rank.logit_rows,
    )


cases = st.sampled_from(CASES)
clocks = st.sampled_from(CLOCKS)


def build(case: Case, **better: float) -> RooflineStepModel:
    name, system_name, layout, weights = case
    system = CATALOG.systems[system_name]
    gpu = CATALOG.gpus[system.gpu]
    gpu = replace(gpu, **{field: getattr(gpu, field) * by for field, by in better.items()})
    return RooflineStepModel(CATALOG.models[name], gpu, system, layout, weights, "fp8")  # type: ignore[arg-type]


shared = cache(build)


@st.composite
def works(draw: st.DrawFn, idle: bool = False) -> RankWork:
    """One rank's work: sequences, and one or more equal chunks of prompts."""
    kind = draw(st.sampled_from(["decode", "prefill", "mixed", *(["idle"] if idle else [])]))
    decode = context = tokens = done = ends = 0
    if kind in ("decode", "mixed"):
        decode = draw(st.integers(1, 600))
        context = decode * draw(st.integers(1, 3000)) + draw(st.integers(0, decode - 1))
    if kind in ("prefill", "mixed"):
        tokens = draw(st.integers(1, 9000))
        done = draw(st.one_of(st.just(0), st.integers(0, 100_000)))
        ends = draw(st.integers(0, 3))
    pairs = tokens * done + tokens * (tokens + 1) / 2
    return RankWork(
        decode, context, tokens, pairs, float(tokens * tokens), done + tokens, tokens, decode + ends
    )


@st.composite
def states(draw: st.DrawFn) -> tuple[Case, list[RankWork]]:
    """A replica and the work of its ranks, at least one of them busy."""
    case = draw(cases)
    ranks = [draw(works())]
    ranks += [draw(works(idle=True)) for _ in range(case[2].dp - 1)]
    return case, draw(st.permutations(ranks))


def same(a: Segment, b: Segment) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in Segment.__slots__)


@given(states(), clocks, st.integers(1, 3000))
def test_parts_add_up(state: tuple[Case, list[RankWork]], clock: float, steps: int) -> None:
    case, ranks = state
    s = shared(case).plan(ranks, clock, steps)
    context = sum(rank.context for rank in ranks)
    decode = sum(rank.decode for rank in ranks)
    parts = s.prefill_base_s + s.decode_fixed_s + s.decode_token_s * context + s.wait_base_s
    assert parts == pytest.approx(s.base_s, rel=1e-9)
    slopes = s.prefill_slope_s + s.decode_token_s * decode + s.wait_slope_s
    assert slopes == pytest.approx(s.slope_s, rel=1e-9, abs=1e-15)
    assert 1 <= s.steps <= steps
    assert s.base_s > 0.0
    assert min(s.slope_s, s.prefill_base_s, s.prefill_slope_s, s.decode_fixed_s) >= 0.0
    assert min(s.decode_token_s, s.prefill_pair_s, s.wait_base_s) >= 0.0
    assert (s.prefill_base_s == 0.0) == all(rank.prefill_tokens == 0 for rank in ranks) or any(
        rank.logit_rows > rank.decode for rank in ranks
    )


@given(states(), clocks)
def test_a_plan_depends_on_its_arguments_alone(
    state: tuple[Case, list[RankWork]], clock: float
) -> None:
    case, ranks = state
    used = shared(case).plan(ranks, clock, 100)
    assert same(used, shared(case).plan(ranks, clock, 100))


@pytest.mark.parametrize("case", CASES)
def test_a_new_model_answers_as_a_used_one(case: Case) -> None:
    used = shared(case)
    for n in (3000, 1, 700, 5000, 1500):
        for tokens in (0, 5000, 300):
            rank = RankWork(n, n * 900, tokens, tokens * 500.0, 0.0, tokens, 0, n)
            ranks = [rank] * case[2].dp
            assert same(used.plan(ranks, 0.7, 50), build(case).plan(ranks, 0.7, 50))


@given(states(), clocks, st.integers(2, 3000), st.data())
def test_a_later_anchor_continues_the_line(
    state: tuple[Case, list[RankWork]], clock: float, steps: int, data: st.DataObject
) -> None:
    case, ranks = state
    model = shared(case)
    first = model.plan(ranks, clock, steps)
    j = data.draw(st.integers(0, first.steps - 1))
    later = model.plan([later_by(rank, j) for rank in ranks], clock, steps)
    assert later.base_s == pytest.approx(first.base_s + first.slope_s * j, rel=1e-9)
    full = first.full_base_s + first.full_slope_s * j
    assert later.full_base_s == pytest.approx(full, rel=1e-9)
    assert later.flops == pytest.approx(first.flops + first.flops_slope * j, rel=1e-9)
    assert later.hbm_bytes == pytest.approx(first.hbm_bytes + first.hbm_slope * j, rel=1e-9)
    if j + 1 < first.steps:
        expected = first.base_s + first.slope_s * (j + 1)
        assert later.base_s + later.slope_s == pytest.approx(expected, rel=1e-9)


@settings(max_examples=40)
@given(states(), clocks)
def test_segments_add_up_to_naive_steps(state: tuple[Case, list[RankWork]], clock: float) -> None:
    case, ranks = state
    model = shared(case)
    naive = sum(
        model.plan([later_by(rank, k) for rank in ranks], clock, 1).base_s for k in range(60)
    )
    leapt, done = 0.0, 0
    while done < 60:
        segment = model.plan([later_by(rank, done) for rank in ranks], clock, 60 - done)
        leapt += segment.elapsed(segment.steps)
        done += segment.steps
    assert leapt == pytest.approx(naive, rel=1e-9)


@given(states(), clocks)
def test_never_under_the_roofline(state: tuple[Case, list[RankWork]], clock: float) -> None:
    case, ranks = state
    model = shared(case)
    machine = model.forward.machine
    s = model.plan(ranks, clock, 1000)
    for k in (0, s.steps - 1):
        seconds = (s.base_s + s.slope_s * k) * ULPS
        peak = max(machine.fp16, machine.fp8, machine.fp4) * clock
        assert seconds >= (s.flops + s.flops_slope * k) / peak
        assert seconds >= (s.hbm_bytes + s.hbm_slope * k) / machine.hbm
        assert seconds >= s.net_bytes / (machine.nvlink + machine.scaleout)


@given(states())
def test_a_lower_clock_never_speeds_up(state: tuple[Case, list[RankWork]]) -> None:
    case, ranks = state
    model = shared(case)
    full = model.plan(ranks, 1.0, 1)
    times = [model.plan(ranks, clock, 1) for clock in CLOCKS]
    for slow, quick in pairwise(times):
        assert slow.base_s * ULPS >= quick.base_s
        assert slow.full_base_s == pytest.approx(full.base_s, rel=1e-12)
        assert slow.base_s <= full.base_s / 0.4 * ULPS


@settings(max_examples=60)
@given(
    states(),
    st.sampled_from(["fp16_tflops", "fp8_tflops", "hbm_tb_s", "nvlink_gb_s", "scaleout_gb_s"]),
    st.sampled_from([1.1, 4.0]),
)
def test_better_hardware_never_hurts(
    state: tuple[Case, list[RankWork]], field: str, by: float
) -> None:
    case, ranks = state
    better = shared(case, **{field: by}).plan(ranks, 0.7, 1)
    assert better.base_s <= shared(case).plan(ranks, 0.7, 1).base_s * ULPS


@given(states(), clocks, st.data())
def test_more_work_never_takes_less(
    state: tuple[Case, list[RankWork]], clock: float, data: st.DataObject
) -> None:
    case, ranks = state
    model = shared(case)
    before = model.plan(ranks, clock, 1).base_s
    i = data.draw(st.integers(0, len(ranks) - 1))
    r = ranks[i]
    more = later_by(r, 0)
    growth = data.draw(st.sampled_from(["batch", "context", "prompt", "prefix"]))
    by = data.draw(st.integers(1, 2000))
    if growth == "batch":
        # Pipelines spread sequences evenly: those that join are like those that are there.
        mean = -(-r.context // r.decode) if r.decode else 100
        more.decode, more.context = r.decode + by, r.context + by * mean
        more.logit_rows, more.context_slope = r.logit_rows + by, r.decode + by
    elif growth == "context" and r.decode:
        more.context = r.context + by
    elif growth == "prompt" and (r.prefill_tokens or case[2].pp == 1):
        more.prefill_tokens = r.prefill_tokens + by
        more.prefill_context = r.prefill_context + by
        more.prefill_pairs = r.prefill_pairs + by * (r.prefill_context + (by + 1) / 2)
    elif growth == "prefix" and r.prefill_tokens:
        more.prefill_context = r.prefill_context + by
        more.prefill_pairs = r.prefill_pairs + by * r.prefill_tokens
    after = model.plan([*ranks[:i], more, *ranks[i + 1 :]], clock, 1).base_s
    assert after * ULPS >= before


@pytest.mark.parametrize("case", [case for case in CASES if case[2].dp > 1])
def test_equal_ranks_do_not_wait_and_idle_ones_wait_it_all(case: Case) -> None:
    model, dp = shared(case), case[2].dp
    work = RankWork(decode=20, context=20_000, logit_rows=20)
    together = model.plan([work] * dp, 1.0, 10)
    assert together.wait_base_s == pytest.approx(0.0, abs=1e-12)
    alone = model.plan([work, *[RankWork()] * (dp - 1)], 1.0, 10)
    assert alone.wait_base_s == pytest.approx(alone.base_s * (dp - 1) / dp, rel=1e-9)


def test_a_segment_ends_where_another_rank_overtakes() -> None:
    model = shared(CASES[5])
    few, many = RankWork(10, 800_000, logit_rows=10), RankWork(100, 150_000, logit_rows=100)
    ranks = [few, many, *[RankWork()] * 6]
    s = model.plan(ranks, 1.0, 10**6)
    assert s.steps < 10**6
    before = model.plan([later_by(rank, s.steps - 1) for rank in ranks], 1.0, 1).base_s
    after = model.plan([later_by(rank, s.steps) for rank in ranks], 1.0, 1).base_s
    assert before == pytest.approx(s.base_s + s.slope_s * (s.steps - 1), rel=1e-12)
    assert after > (s.base_s + s.slope_s * s.steps) * ULPS


def test_a_segment_ends_at_the_edge_of_a_sliding_window() -> None:
    model = shared(CASES[6])
    s = model.plan([RankWork(4, 4 * 100, logit_rows=4)], 1.0, 1000)
    assert s.steps == 128 - 100 + 1
    beyond = model.plan([RankWork(4, 4 * 128, logit_rows=4)], 1.0, 1000)
    assert beyond.steps == 1000
    assert beyond.slope_s == pytest.approx(s.slope_s / 2)


def test_the_quick_path_of_one_rank_is_the_general_one() -> None:
    model = shared(CASES[1])
    work = RankWork(64, 64 * 3000, logit_rows=64)
    model.plan([work], 0.7, 1)
    tables = model._tables[0.7]
    assert same(model.plan([work], 0.7, 9), model._plan_rank(work, tables, 9))


@pytest.mark.parametrize("case", CASES)
def test_reference_costs_are_those_of_an_efficient_batch(case: Case) -> None:
    layout = case[2]
    costs = reference_costs(
        shared(case),
        gpus=layout.gpus,
        ranks=layout.dp,
        context_tokens=4096,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
        kv_capacity_tokens=400_000,
    )
    assert costs.decode_sequences == 400_000 // 4096
    assert 0.0 < costs.input_cached_gpu_s < costs.input_computed_gpu_s < costs.output_gpu_s


@pytest.mark.parametrize("case", CASES)
def test_tables_rise_across_their_coarse_part(case: Case) -> None:
    forward = shared(case).forward
    table = CostTable(forward.body, 1.0)
    rows = [table(size) for size in (*range(0, 4096, 97), *range(4090, 4300), 20_000, 20_001)]
    assert rows[0] == (0.0,) * 5
    for less, more in pairwise(rows):
        assert all(b * ULPS >= a for a, b in zip(less, more, strict=True))
    exact = forward.body(np.array([4128.0, 9000.0]), 1.0)
    assert table(4128)[0] == pytest.approx(exact.seconds[0], rel=5e-3)
    assert table(9000)[0] == pytest.approx(exact.seconds[1], rel=5e-3)
