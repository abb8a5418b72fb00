from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from factory.records.codes import LEDGER_STATES, WORKING_STATES
from factory.report.ledger import GROUPS, grouped, shared_out

shares = st.dictionaries(
    st.sampled_from([group.key for group in GROUPS]),
    st.floats(min_value=1e-9, max_value=1),
    min_size=1,
)


def test_every_state_is_in_exactly_one_group() -> None:
    assert sorted(s for group in GROUPS for s in group.states) == sorted(LEDGER_STATES)


def test_working_groups_are_the_busy_ratio() -> None:
    working = sorted(s for group in GROUPS if group.works for s in group.states)
    assert working == sorted(LEDGER_STATES[code] for code in WORKING_STATES)


def test_groups_are_told_apart_without_colour() -> None:
    for glyphs in ([g.glyph for g in GROUPS], [g.ascii for g in GROUPS], [g.key for g in GROUPS]):
        assert len(set(glyphs)) == len(GROUPS)


@given(st.dictionaries(st.sampled_from([*LEDGER_STATES, "new_state"]), st.floats(0, 1)))
def test_grouping_loses_nothing(by_state: dict[str, float]) -> None:
    assert math.isclose(sum(grouped(by_state).values()), sum(by_state.values()), abs_tol=1e-12)


@given(shares, st.integers(20, 200))
def test_a_bar_is_filled_and_shows_shares_of_half_a_cell(
    parts: dict[str, float], cells: int
) -> None:
    given_cells = shared_out(parts, cells)
    assert sum(given_cells.values()) == cells
    total = sum(parts.values())
    large = {key for key, part in parts.items() if part / total * cells >= 0.5}
    assert large <= set(given_cells)
    assert set(given_cells) - large <= {max(parts, key=lambda key: parts[key])}
    assert min(given_cells.values()) >= 1


def test_a_share_that_hardly_is_takes_no_cell() -> None:
    assert shared_out({"decode": 0.9995, "peers": 0.0005}, 76) == {"decode": 76}


def test_a_bar_of_nothing_is_empty() -> None:
    assert shared_out({}, 10) == shared_out({"idle": 0.0}, 10) == {}
