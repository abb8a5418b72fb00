from __future__ import annotations

import math

import pytest

from factory.validation.parallel import mapped


def test_results_keep_their_order_whatever_the_workers() -> None:
    items = [4.0, 1.0, 9.0]
    alone = mapped(math.sqrt, items, [1, 2, 3])
    assert alone == [2.0, 1.0, 3.0]
    assert mapped(math.sqrt, items, [1, 2, 3], workers=2) == alone


def test_the_dearest_goes_first_and_progress_is_told() -> None:
    seen: list[float] = []
    told: list[tuple[int, int]] = []

    def note(item: float) -> float:
        seen.append(item)
        return item

    mapped(note, [1.0, 2.0, 3.0], [1, 3, 2], told=lambda done, of: told.append((done, of)))
    assert seen == [2.0, 3.0, 1.0]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_failure_comes_through() -> None:
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        mapped(math.sqrt, [-1.0, 4.0], [1, 1], workers=2)


def test_nothing_to_do() -> None:
    assert mapped(math.sqrt, [], [], workers=4) == []
