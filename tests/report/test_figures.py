from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.report import figures

numbers = st.floats(min_value=1e-9, max_value=1e15, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "$0.0123"), (0.3123, "$0.312"), (2.2, "$2.20"), (1234.5, "$1,234"), (0, "$0")],
)
def test_usd(value: float, text: str) -> None:
    assert figures.usd(value) == text


def test_what_is_not_known_says_so() -> None:
    assert figures.usd(None) == "not priced"
    assert figures.percent(None) == figures.count(None) == figures.quantity(None) == figures.NONE
    assert figures.duration(None) == figures.power(None) == figures.NONE
    assert figures.milliseconds((None, None)) == figures.NONE


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0, "0%"),
        (0.0004, "<0.1%"),
        (0.034, "3.4%"),
        (0.41, "41%"),
        (0.9774, "97.7%"),
        (0.9995, ">99.9%"),
        (1, "100%"),
    ],
)
def test_percent(ratio: float, text: str) -> None:
    assert figures.percent(ratio) == text


@given(st.floats(min_value=1e-12, max_value=1 - 1e-12))
def test_a_share_between_never_reads_as_none_or_all(ratio: float) -> None:
    assert figures.percent(ratio) not in {"0%", "0.0%", "100%", "100.0%"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(638_000, "638k"), (1_200_000, "1.20M"), (999.96, "1.00k"), (5.55, "5.55")],
)
def test_quantity(value: float, text: str) -> None:
    assert figures.quantity(value) == text


@given(numbers)
def test_three_figures_are_kept(value: float) -> None:
    shown = float(figures.significant(value).replace(",", ""))
    assert math.isclose(shown, value, rel_tol=0.006)


@given(numbers)
def test_no_exponent_is_shown(value: float) -> None:
    for text in (figures.usd(value), figures.quantity(value), figures.duration(value)):
        assert "e" not in text.replace("ms", "")


def test_latencies_share_a_unit() -> None:
    assert figures.milliseconds((89.4, 480.0, 1212.0)) == "89 / 480 / 1,210 ms"
    assert figures.milliseconds((89.4, 480.0, 912.0)) == "89.4 / 480 / 912 ms"
    assert figures.milliseconds((0.04, 12.0, 12_300.0)) == "<0.01 / 0.01 / 12.3 s"
    assert figures.milliseconds((4100.0, 9800.0, None)) == "4.10 / 9.80 / – s"


@given(st.tuples(*[st.floats(min_value=0.01, max_value=3e7)] * 3))
def test_three_latencies_fit_their_column(values: tuple[float, ...]) -> None:
    assert len(figures.milliseconds(tuple(sorted(values)))) <= 22


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "x", True])
def test_only_finite_numbers_are_known(value: object) -> None:
    assert figures.known(value) is None
