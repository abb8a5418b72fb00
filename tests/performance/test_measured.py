"""Step times from a table: exact on its rows, monotone between, exact over a leap."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.performance import RankWork, Segment
from factory.performance.coverage import Limits, completed, sampled, shortfalls
from factory.performance.measured import MeasuredStepModel, decode_surface, fitted_pair_s
from factory.performance.step_table import Row, StepTable, table_of

BATCHES = (1, 4, 16)
CONTEXTS = (128, 1024, 8192)
PROMPTS = (64, 512, 4096)


class Shape:
    """A step model of nothing: below full clock it stretches prompts, and decode half as much."""

    peak_flops = 2.0
    peak_hbm = 3.0

    def plan(self, ranks: list[RankWork], clock: float, max_steps: int) -> Segment:
        share = 1.0 if any(rank.prefill_tokens for rank in ranks) else 0.5
        base = 1.0 + share * (1.0 / clock - 1.0)
        tokens = sum(rank.decode + rank.prefill_tokens for rank in ranks)
        return Segment(max_steps, base, 0, 1.0, 0, 0, 0, 0, 0, 0, 0, 0, tokens, 2.0, 3.0, 0, 0)


def decode_ms(batch: float, context: float) -> float:
    return 5.0 + 0.1 * batch + 2e-4 * batch * context


def prefill_ms(batch: float, new: float, cached: float) -> float:
    pairs = batch * (new * cached + new * (new + 1) / 2)
    return 8.0 + 0.05 * batch * new + 3e-6 * pairs


def linear() -> StepTable:
    rows = [Row("decode", b, c, 0, decode_ms(b, c)) for b in BATCHES for c in CONTEXTS]
    rows += [Row("prefill", b, n, 0, prefill_ms(b, n, 0)) for b in (1, 4) for n in PROMPTS]
    return table_of("t.csv", rows)


def decoding(batch: int, context: int) -> RankWork:
    return RankWork(decode=batch, context=batch * context, logit_rows=batch)


def prompts(batch: int, new: int, cached: int = 0, steps: bool = False) -> RankWork:
    pairs = batch * (new * cached + new * (new + 1) / 2)
    slope = batch * new * new if steps else 0
    return RankWork(
        prefill_tokens=batch * new,
        prefill_pairs=pairs,
        prefill_pairs_slope=slope,
        prefill_context=batch * (new + cached),
        prefill_context_slope=batch * new if steps else 0,
        logit_rows=batch,
    )


def ms(model: MeasuredStepModel, *ranks: RankWork, clock: float = 1.0) -> float:
    return model.plan(ranks, clock, 1).base_s * 1e3


def parts_add_up(segment: Segment, ranks: list[RankWork]) -> None:
    context = sum(rank.context for rank in ranks)
    decode = sum(rank.context_slope for rank in ranks)
    base = segment.prefill_base_s + segment.decode_fixed_s + segment.wait_base_s
    assert base + segment.decode_token_s * context == pytest.approx(segment.base_s)
    slope = segment.prefill_slope_s + segment.decode_token_s * decode + segment.wait_slope_s
    assert slope == pytest.approx(segment.slope_s)


def test_the_tables_own_rows_come_back() -> None:
    table = linear()
    model = MeasuredStepModel(table, Shape())
    for row in table.decode:
        assert ms(model, decoding(row.batch, row.context)) == pytest.approx(row.milliseconds)
    for row in table.prefill:
        assert ms(model, prompts(row.batch, row.context)) == pytest.approx(row.milliseconds)


def test_between_rows_what_is_linear_is_exact() -> None:
    model = MeasuredStepModel(linear(), Shape())
    assert ms(model, decoding(9, 3000)) == pytest.approx(decode_ms(9, 3000))
    assert model.pair_s == pytest.approx(3e-9)
    for batch, new, cached in ((3, 300, 0), (1, 2000, 0), (1, 1000, 7000), (2, 100, 50)):
        assert ms(model, prompts(batch, new, cached)) == pytest.approx(
            prefill_ms(batch, new, cached), rel=1e-6
        )


def test_before_the_first_row_the_first_time_holds() -> None:
    model = MeasuredStepModel(linear(), Shape())
    assert ms(model, decoding(1, 2)) == pytest.approx(decode_ms(1, 128))
    assert ms(model, prompts(1, 1)) == pytest.approx(8.0 + 0.05 * 64, rel=1e-3)


def test_beyond_the_last_row_the_last_line_goes_on() -> None:
    model = MeasuredStepModel(linear(), Shape())
    assert ms(model, decoding(40, 20000)) == pytest.approx(decode_ms(40, 20000))
    assert ms(model, prompts(8, 4096)) == pytest.approx(prefill_ms(8, 4096, 0), rel=1e-6)


def test_a_mixed_step() -> None:
    model = MeasuredStepModel(linear(), Shape())
    work = prompts(1, 500)
    work.decode, work.context, work.logit_rows = 12, 12 * 3000, 13
    work.context_slope = 12
    chunk_ms = 8.0 + 0.05 * 512 + 3e-6 * work.prefill_pairs
    expected = chunk_ms + decode_ms(12, 3000) - decode_ms(12, 128)
    assert ms(model, work) == pytest.approx(expected, rel=1e-6)
    segment = model.plan([work], 1.0, 1)
    parts_add_up(segment, [work])
    assert segment.prefill_base_s * 1e3 == pytest.approx(expected - decode_ms(12, 3000), rel=1e-6)


def test_the_slowest_rank_sets_the_step() -> None:
    model = MeasuredStepModel(linear(), Shape(), ranks=3)
    ranks = [decoding(2, 500), decoding(7, 4000), RankWork()]
    segment = model.plan(ranks, 1.0, 5)
    assert segment.base_s * 1e3 == pytest.approx(decode_ms(7, 4000))
    parts_add_up(segment, ranks)
    assert segment.wait_base_s > segment.base_s / 3


def test_clock_overhead_and_work() -> None:
    model = MeasuredStepModel(linear(), Shape(), overhead_s=1e-3)
    assert ms(model, decoding(4, 128)) == pytest.approx(decode_ms(4, 128) + 1)
    assert ms(model, decoding(4, 128), clock=0.5) == pytest.approx(decode_ms(4, 128) * 1.5 + 1)
    segment = model.plan([prompts(1, 512)], 0.5, 1)
    assert segment.base_s * 1e3 == pytest.approx(prefill_ms(1, 512, 0) * 2 + 1)
    assert segment.full_base_s * 1e3 == pytest.approx(prefill_ms(1, 512, 0) + 1)
    assert (segment.flops, segment.hbm_bytes, segment.net_bytes) == (512, 2.0, 3.0)
    assert (model.peak_flops, model.peak_hbm) == (2.0, 3.0)


def test_one_host_overhead_in_a_mixed_step() -> None:
    work = prompts(1, 500)
    work.decode, work.context, work.context_slope = 12, 12 * 3000, 12
    with_it = MeasuredStepModel(linear(), Shape(), overhead_s=1e-3)
    without = MeasuredStepModel(linear(), Shape())
    assert ms(with_it, work) == pytest.approx(ms(without, work) + 1)


def test_small_falls_are_lifted_and_told() -> None:
    rows = [Row("decode", b, c, 0, m) for b, c, m in ((1, 64, 10), (1, 128, 9.8), (2, 64, 9.9))]
    surface = decode_surface([*rows, Row("decode", 2, 128, 0, 11)])
    assert [(lift.row.batch, lift.row.context) for lift in surface.lifts] == [(1, 128), (2, 64)]
    assert surface.lifts[0].ratio == pytest.approx(10 / 9.8 - 1)
    assert surface.mixed(2) == pytest.approx([0.010, 0.011])


def test_a_table_of_one_row_has_no_attention_of_its_own() -> None:
    assert fitted_pair_s([Row("prefill", 1, 100, 0, 5.0)]) >= 0.0


times = st.floats(0.5, 50.0)
batches = st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True)


@st.composite
def noisy_tables(draw: st.DrawFn) -> StepTable:
    """Tables with gaps, of times that need not rise."""
    rows = []
    for batch in draw(batches):
        for context in draw(st.lists(st.integers(1, 5000), min_size=2, max_size=4, unique=True)):
            rows += [Row("decode", batch, context, 0, draw(times))]
    for batch in draw(batches):
        for new in draw(st.lists(st.integers(1, 3000), min_size=1, max_size=3, unique=True)):
            cached = draw(st.sampled_from([0, 0, 100, 4000]))
            rows.append(Row("prefill", batch, new, cached, draw(times)))
    return table_of("t", rows)


@st.composite
def ranks(draw: st.DrawFn) -> RankWork:
    """Decoding, one prompt in chunks, or both."""
    work = RankWork()
    if draw(st.booleans()):
        work = prompts(1, draw(st.integers(1, 600)), draw(st.integers(0, 3000)), steps=True)
    if not work.prefill_tokens or draw(st.booleans()):
        n = draw(st.integers(1, 80))
        work.decode, work.context = n, n * draw(st.integers(1, 6000)) + draw(st.integers(0, n))
        work.logit_rows += n
        work.context_slope = draw(st.sampled_from([1.0, 1.7])) * n
    return work


def further(work: RankWork, k: int) -> RankWork:
    """The rank's work ``k`` steps on."""
    return RankWork(
        work.decode,
        work.context + k * work.context_slope,
        work.prefill_tokens,
        work.prefill_pairs + k * work.prefill_pairs_slope,
        work.prefill_pairs_slope,
        work.prefill_context + k * work.prefill_context_slope,
        work.prefill_context_slope,
        work.logit_rows,
        context_slope=work.context_slope,
    )


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(noisy_tables(), st.lists(ranks(), min_size=1, max_size=3), st.sampled_from([1.0, 0.6]))
def test_a_segment_says_what_its_steps_would(
    table: StepTable, work: list[RankWork], clock: float
) -> None:
    model = MeasuredStepModel(table, Shape(), len(work))
    segment = model.plan(work, clock, 40)
    assert 1 <= segment.steps <= 40
    assert segment.base_s > 0.0
    assert segment.slope_s >= -1e-15
    parts_add_up(segment, work)
    for k in {1, segment.steps // 2, segment.steps - 1} - {0}:
        if k < segment.steps:
            later = model.plan([further(rank, k) for rank in work], clock, 1)
            line = segment.base_s + segment.slope_s * k
            assert later.base_s == pytest.approx(line, rel=1e-9)
            full = segment.full_base_s + segment.full_slope_s * k
            assert later.full_base_s == pytest.approx(full, rel=1e-9)


def test_a_larger_batch_goes_on_no_flatter_than_a_smaller_one() -> None:
    # Lifted to 2 ms at both contexts, the batch of 2 would stay there while that of 1 climbs on.
    times = {(1, 1): 1.0, (1, 2): 2.0, (2, 1): 2.0, (2, 2): 1.0}
    surface = decode_surface(
        [Row("decode", batch, context, 0, ms, 0) for (batch, context), ms in times.items()]
    )
    assert surface.last_slope(1) == surface.last_slope(2) == pytest.approx(1e-3)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(noisy_tables(), st.data())
def test_time_never_falls_when_a_step_does_more(table: StepTable, data: st.DataObject) -> None:
    model = MeasuredStepModel(table, Shape())
    n, context = data.draw(st.integers(1, 80)), data.draw(st.integers(1, 6000))
    more = data.draw(st.integers(1, 500))
    slack = 1 + 1e-9
    assert ms(model, decoding(n, context)) <= ms(model, decoding(n, context + more)) * slack
    assert ms(model, decoding(n, context)) <= ms(model, decoding(n + more, context)) * slack
    new, cached = data.draw(st.integers(1, 4000)), data.draw(st.integers(0, 4000))
    for bigger in (prompts(1, new + more, cached), prompts(1, new, cached + more)):
        assert ms(model, prompts(1, new, cached)) <= ms(model, bigger) * slack
    batch = data.draw(st.integers(1, 8))
    assert ms(model, prompts(batch, new)) <= ms(model, prompts(batch + 1, new)) * slack
    both = prompts(1, new, cached)
    both.decode, both.context, both.context_slope = n, n * context, n
    assert ms(model, both) * slack >= max(
        ms(model, decoding(n, context)), ms(model, prompts(1, new, cached))
    )


LIMITS = Limits(sequences=16, batched_tokens=4096, model_len=4096, kv_tokens=60000)


def test_a_table_that_reaches_as_far_as_the_engine() -> None:
    table = linear()
    assert not list(shortfalls(table, LIMITS, "aggregated"))


@pytest.mark.parametrize(
    ("change", "role", "field"),
    [
        ({"sequences": 17}, "decode", "max_num_seqs"),
        ({"model_len": 8193}, "decode", "max_model_len"),
        ({"model_len": 4097}, "prefill", "max_model_len"),
        ({"batched_tokens": 16385}, "prefill", "max_num_batched_tokens"),
    ],
)
def test_a_limit_beyond_the_table(change: dict[str, int], role: str, field: str) -> None:
    values = {name: getattr(LIMITS, name) for name in Limits.__slots__}
    (short,) = shortfalls(linear(), Limits(**{**values, **change}), role)
    assert (short.field, short.got) == (field, next(iter(change.values())))


def test_kv_tokens_beyond_a_table_with_gaps() -> None:
    rows = [row for row in linear().decode if row.batch * row.context <= 40000]
    table = StepTable("t", tuple(rows), ())
    (short,) = shortfalls(table, LIMITS, "decode")
    assert (short.field, short.got, short.allowed) == ("kv_capacity_tokens", 60000, 32768)


def test_sampled_grids_cover_the_engine() -> None:
    for limits in (LIMITS, Limits(1, 1, 1, 1), Limits(300, 200, 100000, 10**6)):
        table = sampled(limits, decode_ms, prefill_ms, "grid")
        found = [
            short for role in ("decode", "prefill") for short in shortfalls(table, limits, role)
        ]
        assert not [short for short in found if short.field != "kv_capacity_tokens"]
        batches = sorted({row.batch for row in table.decode})
        assert batches[0] == 1
        assert all(b <= max(a + 1, 1.3 * a) for a, b in pairwise(batches))


def test_a_phase_without_rows_is_the_other_models() -> None:
    table = completed(StepTable("t", linear().decode, ()), Shape(), LIMITS, 1)
    assert table.decode == linear().decode
    assert {row.milliseconds for row in table.prefill} == {1000.0}
