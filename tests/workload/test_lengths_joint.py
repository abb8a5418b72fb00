import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.scenario.lengths import JointLengths
from factory.statistics import bonferroni, mean_interval, stream
from factory.workload.lengths import Clipped, joint

LOGNORMAL = {"distribution": "lognormal", "mu": 6.6, "sigma": 1.1}
TABLE = {"quantiles": [[0, 1], [0.1, 105], [0.5, 216], [0.9, 898], [0.99, 3686], [1, 18195]]}
SHAPES: dict[str, dict[str, Any]] = {
    "samples": {"samples": [[100, 5], [4000, 80], [4000, 300], [20, 900.4]]},
    "weighted samples": {
        "samples": [[100, 5], [4000, 80], [20, 900]], "weights": [0.5, 0.3, 0.2],
    },
    "copula": {"correlation": 0.4, "input_tokens": LOGNORMAL, "output_tokens": TABLE},
    "classes": {
        "components": [
            {"weight": 7, "input_tokens": {"mean": 64, "stddev": 10}, "output_tokens": LOGNORMAL},
            {"weight": 3, "input_tokens": 1024, "output_tokens": TABLE},
        ]
    },
}  # fmt: skip
ROWS = 100_000


def made(**fields: Any) -> Any:
    return joint(JointLengths.model_validate(fields))


def drawn(shape: Any, name: str) -> tuple[Any, Any]:
    """Pairs of several seeds, pooled."""
    each = [shape.sample(stream(seed, 0, name), ROWS // 4) for seed in (1, 2, 3, 4)]
    return tuple(np.concatenate(column) for column in zip(*each, strict=True))


def ranks(values: Any) -> Any:
    """Mean ranks, ties shared."""
    _, where, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[where]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_side_is_distributed_as_it_says(shape: str) -> None:
    section = made(**SHAPES[shape])
    for values, side in zip(drawn(section, shape), (section.input, section.output), strict=True):
        assert values.min() >= 1
        assert np.array_equal(values, np.rint(values))
        interval = mean_interval(values, bonferroni(0.999, 2 * len(SHAPES)))
        assert abs(interval.mean - side.mean()) <= interval.half_width + 1e-9 * side.mean()
        for p in (0.1, 0.5, 0.9, 0.99):
            x = side.quantile(p)
            margin = 5 * math.sqrt(p * (1 - p) / ROWS)
            assert np.mean(values < x) <= p + margin
            assert np.mean(values <= x) >= p - margin


def test_samples_stay_pairs() -> None:
    section = made(**SHAPES["weighted samples"])
    inputs, outputs = drawn(section, "pairs")
    assert set(zip(inputs, outputs, strict=True)) == {(100, 5), (4000, 80), (20, 900)}
    # Binomial(100000, 0.3): five standard deviations are 725.
    assert abs(int((inputs == 4000).sum()) - 30_000) < 725


def test_a_sample_of_zero_tokens_is_one_token() -> None:
    inputs, outputs = made(samples=[[0, 0]]).sample(stream(1, 0, "x"), 3)
    assert (inputs.tolist(), outputs.tolist()) == ([1, 1, 1], [1, 1, 1])


@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.0, 0.3, 0.8])
def test_a_copula_has_the_rank_correlation_it_says(correlation: float) -> None:
    section = made(
        correlation=correlation,
        input_tokens={**LOGNORMAL, "mu": 9},
        output_tokens={"distribution": "weibull", "shape": 0.8, "mean": 50_000},
    )
    inputs, outputs = drawn(section, "copula")
    found = float(np.corrcoef(ranks(inputs), ranks(outputs))[0, 1])
    # Spread of Fisher's z of Spearman's ρ: 1.03 / sqrt(n) (Fieller, Hartley and Pearson, 1957).
    spread = 4.5 * math.sqrt(1.06 / ROWS)
    assert math.atanh(found) == pytest.approx(math.atanh(correlation), abs=spread)


@pytest.mark.parametrize("correlation", [-1, 1])
def test_a_full_rank_correlation_orders_all(correlation: int) -> None:
    section = made(correlation=correlation, input_tokens=LOGNORMAL, output_tokens=TABLE)
    inputs, outputs = section.sample(stream(1, 0, "order"), 1000)
    order = np.lexsort((outputs * correlation, inputs))
    assert np.all(np.diff(outputs[order] * correlation) >= 0)


def test_classes_keep_their_own_lengths_together() -> None:
    section = made(sequence_distribution="64,32:70;1024,512:30")
    inputs, outputs = section.sample(stream(1, 0, "classes"), 1000)
    assert set(zip(inputs, outputs, strict=True)) == {(64, 32), (1024, 512)}
    assert section.input.mean() == pytest.approx((70 * 64 + 30 * 1024) / 100)


def test_clipping_moves_both_sides() -> None:
    free = made(**SHAPES["copula"])
    bound = Clipped(free, 2000, 300)
    inputs, outputs = bound.sample(stream(1, 0, "clip"), 5000)
    assert (inputs.max(), outputs.max()) == (2000, 300)
    assert bound.input.high == 2000
    assert bound.output.mean() < free.output.mean()


@settings(max_examples=50, deadline=None)
@given(
    correlation=st.floats(-1, 1),
    mu=st.floats(0, 12),
    sigma=st.floats(0.01, 3),
    mean=st.floats(1, 1e5),
)
def test_copulas_stay_inside_their_bounds(
    correlation: float, mu: float, sigma: float, mean: float
) -> None:
    section = made(
        correlation=correlation,
        input_tokens={"distribution": "lognormal", "mu": mu, "sigma": sigma, "max": 100_000},
        output_tokens={"distribution": "geometric", "mean": mean, "min": 2},
    )
    inputs, outputs = section.sample(stream(1, 0, "bounds"), 50)
    assert np.all((inputs >= 1) & (inputs <= 100_000))
    assert np.all((outputs >= 2) & np.isfinite(outputs))
