"""The pace at which waiting requests are let in, by hand."""

from __future__ import annotations

from factory.serving.pace import FEWEST, Pace


def test_a_newcomer_waits_for_those_ahead_at_the_pace_of_late() -> None:
    """Ten wait, one is let in every 0.5 s; of the rest those of its priority or higher go first."""
    pace = Pace()
    for _ in range(FEWEST + 2):
        pace.came(0)
    pace.came(2)
    for number in range(FEWEST):
        assert pace.wait_s(0) == 0.0  # not known yet
        pace.admitted(0, 0.5 * number)
    # Two of priority 0 and one of priority 2 are left: 3 x 0.5 s, and 1 x 0.5 s.
    assert pace.ahead(0) == 3
    assert pace.wait_s(0) == 1.5
    assert pace.wait_s(1) == 0.5
    assert pace.share_ahead(1) == 1 / 3
    pace.left(2)
    assert pace.wait_s(1) == 0.0


def test_when_nobody_waits_the_pace_is_forgotten() -> None:
    pace = Pace()
    for number in range(FEWEST + 1):
        pace.came(0)
        pace.came(0)
        pace.admitted(0, float(number))
    assert pace.wait_s(0) == FEWEST + 1
    for number in range(FEWEST + 1):
        pace.admitted(0, 20.0 + number)
    pace.came(0)
    assert pace.wait_s(0) == 0.0
    assert Pace().share_ahead(0) == 1.0
