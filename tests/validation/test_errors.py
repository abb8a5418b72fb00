"""Grouping arithmetic and order, by hand."""

from __future__ import annotations

import pytest

from factory.validation.errors import Pair, Verdict, by_group, reasons, statistics
from factory.validation.ordering import Point, ordering


def pair(system: str, measured: float, predicted: float) -> Pair:
    return Pair((("system", system), ("model", "m")), measured, predicted)


def test_statistics_by_hand() -> None:
    # signed errors: +10 %, -20 %, +30 %, 0 %
    pairs = [pair("a", 10, 11), pair("a", 10, 8), pair("a", 10, 13), pair("a", 10, 10)]
    found = statistics(pairs)
    assert found.n == 4
    assert found.median == pytest.approx(0.15)
    assert found.mean == pytest.approx(0.15)
    assert found.bias == pytest.approx(0.05)
    # order statistics 0, .1, .2, .3; 90 % lies at 2.7: 0.2 + 0.7 * 0.1
    assert found.p90 == pytest.approx(0.27)


def test_groups_are_sorted_and_apart() -> None:
    pairs = [pair("b", 1, 2), pair("a", 1, 1), pair("b", 1, 1)]
    groups = by_group(pairs, ("system", "model"))
    assert [(group.group, group.n, group.mean) for group in groups] == [
        (("a", "m"), 1, 0.0),
        (("b", "m"), 2, 0.5),
    ]
    (everything,) = by_group(pairs, ())
    assert everything.n == 3
    assert groups[0].as_json(("system", "model"))["group"] == {"system": "a", "model": "m"}


def test_verdicts() -> None:
    assert Verdict("x", 0.08, 0.08).holds
    assert not Verdict("x", 0.081, 0.08).holds
    assert Verdict("order", 0.96, 0.95, at_least=True).holds
    assert str(Verdict("x", 0.081, 0.08)) == "x 8.1% (≤ 8% MISSED)"


def test_reasons_are_counted() -> None:
    assert reasons(["b", "", "a", "b"]) == [("b", 2), ("a", 1)]


def point(speed: float, measured: float, predicted: float, demand: str = "1k") -> Point:
    return Point((demand,), speed, measured, predicted)


def test_order_of_pairs_by_hand() -> None:
    points = [
        point(100, 10, 1.0),
        point(105, 20, 2.0),  # right against the first
        point(104, 11, 9.0),  # 10 % from the first: too near; wrong against the second
        point(200, 90, 0.1),  # another interactivity
        point(100, 99, 0.1, "8k"),  # another demand
    ]
    found = ordering(points)
    assert (found.pairs, found.right) == (2, 1)
    assert found.share == 0.5


def test_predicted_ties_are_not_right() -> None:
    assert ordering([point(100, 10, 1.0), point(100, 20, 1.0)]).right == 0
    assert ordering([point(100, 20, 1.0), point(100, 10, 1.0)]).right == 0


def test_no_pairs() -> None:
    assert ordering([]).pairs == 0
