"""Rows, budgets and caps of a scenario that the catalogue alone can judge."""

from __future__ import annotations

import pytest

from factory.scenario import load


@pytest.fixture
def hall(minimal):
    """Two rack groups in two rows, and room for a pool."""
    minimal["facility"] = {
        "name": "hall",
        "rows": [{"name": "west", "count": 2, "budget_kw": 100}, {"name": "east"}],
        "racks": [
            {"name": "racks", "system": "hgx-h200", "count": 3, "row": "west"},
            {"name": "more", "system": "gb200-nvl72", "row": "east"},
        ],
    }
    return minimal


def test_rows_and_their_fields_have_defaults(hall):
    facility = load(hall).facility
    assert facility.power_tables == "rack"
    assert facility.oversubscription_ratio is None
    assert [row.count for row in facility.rows] == [2, 1]
    pool = load(hall).deployments[0].pools[0]
    assert (pool.power.profile, pool.power.priority, pool.power.cap_w) == ("max_p", 0, None)


def test_a_row_that_nobody_named(hall, problems):
    found = problems(hall, "facility.racks[0].row=vest")
    assert set(found) == {"facility.racks[0].row", "facility.rows[0]"}
    assert str(found["facility.racks[0].row"]).endswith(
        'unknown row, got "vest" (allowed: west, east; did you mean west?)'
    )
    assert "has no racks" in found["facility.rows[0]"].message


def test_more_rows_than_racks(hall, problems):
    found = problems(hall, "facility.rows[0].count=4")
    problem = found["facility.rows[0].count"]
    assert problem.message == "is more rows than the 3 racks that stand in them"
    assert (problem.got, problem.allowed) == (4, "1 to 3")


@pytest.mark.parametrize(
    ("change", "path", "taken"),
    [
        ("facility.rows[1].name=more-0", "facility.rows[1].name", "rack 0 of facility.racks[1]"),
        ("facility.name=racks-2", "facility.name", "rack 2 of facility.racks[0]"),
        ("facility.name=west-1", "facility.rows[0].name", "the facility"),
    ],
)
def test_names_of_nodes_differ(hall, problems, change, path, taken):
    hall["facility"]["racks"][1]["row"] = "east" if "more-0" not in change else "more-0"
    found = problems(hall, change)
    assert taken in found[path].message
    assert "names must differ" in found[path].message


@pytest.mark.parametrize("place", ["facility", "facility.rows[1]", "facility.racks[0]"])
def test_a_ratio_is_over_a_budget(hall, problems, place):
    found = problems(hall, f"{place}.oversubscription_ratio=1.2")
    problem = found[f"{place}.oversubscription_ratio"]
    field = "budget_mw" if place == "facility" else "budget_kw"
    assert f"state {place}.{field}" in problem.message


@pytest.mark.parametrize(
    ("cap_w", "said"),
    [
        (100, "is 20 W below what h200-sxm draws idle with a model loaded"),
        (750, "is 50 W above the TDP of h200-sxm: it would never act"),
    ],
)
def test_a_cap_lies_between_idle_and_tdp(hall, problems, cap_w, said):
    [problem] = problems(hall, f"deployments[0].pools[0].power.cap_w={cap_w}").values()
    assert problem.message == said
    assert problem.allowed == "120 to 700 W"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("priority", "101", "must be <= 100"),
        ("priority", "-1", "must be >= 0"),
        ("profile", "maxq", "is not one of the choices"),
        ("cap_w", "0", "must be > 0"),
    ],
)
def test_bounds_of_a_pools_power(hall, problems, field, value, said):
    found = problems(hall, f"deployments[0].pools[0].power.{field}={value}")
    assert found[f"deployments[0].pools[0].power.{field}"].message == said


def test_a_ratio_below_one_is_no_oversubscription(hall, problems):
    found = problems(hall, "facility.rows[0].oversubscription_ratio=0.8")
    assert found["facility.rows[0].oversubscription_ratio"].message == "must be >= 1"
