from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.performance import FixedStepModel, RankWork, Segment

seconds = st.floats(min_value=1e-6, max_value=2.0)
slopes = st.one_of(st.just(0.0), st.floats(min_value=1e-12, max_value=1e-3))


def line(base_s: float, slope_s: float, steps: int) -> Segment:
    return Segment(steps, base_s, slope_s, base_s, slope_s, *[0.0] * 12)


@given(seconds, slopes, st.integers(1, 5000))
def test_elapsed_is_the_sum_of_its_steps(base_s: float, slope_s: float, k: int) -> None:
    naive = math.fsum(base_s + slope_s * j for j in range(k))
    assert line(base_s, slope_s, k).elapsed(k) == pytest.approx(naive, rel=1e-9)


@given(seconds, slopes, st.integers(1, 10**6))
def test_elapsed_never_falls(base_s: float, slope_s: float, k: int) -> None:
    segment = line(base_s, slope_s, k)
    assert segment.elapsed(0) == 0.0
    assert segment.elapsed(k) >= segment.elapsed(k - 1)


@given(seconds, slopes, st.integers(1, 10**5), st.data())
def test_steps_by_is_the_last_boundary_not_after_now(
    base_s: float, slope_s: float, steps: int, data: st.DataObject
) -> None:
    segment = line(base_s, slope_s, steps)
    anchor = data.draw(st.floats(0.0, 1e5))
    k = data.draw(st.integers(0, steps))
    boundary = anchor + segment.elapsed(k)
    near = st.sampled_from(
        [boundary, math.nextafter(boundary, 0.0), math.nextafter(boundary, math.inf)]
    )
    now = data.draw(st.one_of(near, st.floats(0.0, 2e5)))
    found = segment.steps_by(anchor, now)
    assert 0 <= found <= steps
    assert found == 0 or anchor + segment.elapsed(found) <= now
    assert found == steps or anchor + segment.elapsed(found + 1) > now


def test_steps_by_counts_from_zero() -> None:
    segment = line(0.5, 0.25, 10)
    # Boundaries: 0.5, 1.25, 2.25, 3.5, …
    assert [segment.steps_by(0.0, t) for t in (-1.0, 0.0, 0.49, 0.5, 1.25, 2.2, 3.5)] == [
        0, 0, 0, 1, 2, 2, 4,
    ]  # fmt: skip
    assert segment.steps_by(0.0, math.inf) == 10


def test_steps_of_no_length_are_all_within() -> None:
    assert line(0.0, 0.0, 7).steps_by(0.0, 0.0) == 7


def test_fixed_step_by_hand() -> None:
    model = FixedStepModel(base_ms=10.0, per_seq_ms=0.5, per_prefill_token_ms=0.02)
    mixed = model.plan([RankWork(4, 4000, 100, 5050.0, 0.0, 100, 0, 5)], 1.0, 9)
    # 10 + 4 × 0.5 = 12 ms of decode, 100 × 0.02 = 2 ms of prefill.
    assert mixed.steps == 9
    assert mixed.decode_fixed_s == pytest.approx(12e-3)
    assert mixed.prefill_base_s == pytest.approx(2e-3)
    assert mixed.base_s == mixed.full_base_s == pytest.approx(14e-3)
    prompt = model.plan([RankWork(prefill_tokens=100, logit_rows=1)], 0.5, 1)
    assert prompt.prefill_base_s == prompt.base_s == pytest.approx(24e-3)
    assert prompt.full_base_s == pytest.approx(12e-3)


def test_fixed_ranks_wait_for_the_slowest() -> None:
    model = FixedStepModel(base_ms=10.0, per_seq_ms=1.0, per_prefill_token_ms=0.0)
    ranks = [RankWork(decode=10, context=10), RankWork(decode=5, context=5), RankWork(), RankWork()]
    segment = model.plan(ranks, 1.0, 1)
    # The first works 20 ms, the second 15; a quarter of each is its share of the replica.
    assert segment.base_s == pytest.approx(20e-3)
    assert segment.decode_fixed_s == pytest.approx(35e-3 / 4)
    assert segment.wait_base_s == pytest.approx((0 + 5e-3 + 20e-3 + 20e-3) / 4)
