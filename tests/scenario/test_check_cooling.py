from __future__ import annotations

import pytest

from factory.scenario import catalog_of, check, load, resolved
from factory.simulation.site_checks import site_problems


@pytest.mark.parametrize("kind", ["constant", "air", "liquid"])
def test_a_kind_alone_is_sound(minimal, kind):
    minimal["facility"]["cooling"] = {"kind": kind}
    assert check(load(minimal)) == []


@pytest.mark.parametrize("kind", ["constant", "air"])
def test_a_resolved_scenario_loads_again(minimal, kind):
    minimal["facility"]["cooling"] = {"kind": kind}
    once = resolved(load(minimal))
    assert resolved(load(once)) == once
    if kind == "air":
        assert once["facility"]["cooling"]["design_it_mw"] == pytest.approx(0.04384)
    else:
        assert once["facility"]["cooling"]["design_it_mw"] is None


def test_the_plant_is_that_of_all_cells(minimal):
    minimal["facility"]["cooling"] = {"kind": "air"}
    minimal["cells"] = {"count": 10, "simulated": 2}
    assert load(minimal).facility.cooling.design_it_mw == pytest.approx(0.4384)


def test_a_pue_beside_a_model_of_it(minimal, problems):
    minimal["facility"] |= {"pue": 1.2, "cooling": {"kind": "liquid"}}
    problem = problems(minimal)["facility.pue"]
    assert problem.message.startswith("cannot stand beside facility.cooling of kind liquid")
    assert problem.got == 1.2


@pytest.mark.parametrize(
    ("field", "value"),
    [("design_it_mw", 3), ("temperature", 20), ("cop_most", 5), ("mover_ratio", 0.2)],
)
def test_what_a_constant_pue_has_no_use_for(minimal, problems, field, value):
    minimal["facility"]["cooling"] = {field: value}
    problem = problems(minimal)[f"facility.cooling.{field}"]
    assert problem.message.startswith("is for kind: air, liquid only")


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"free_below_c": 18}, "free_below_c", "must be < mechanical_above_c, 18 of kind air"),
        ({"mechanical_above_c": 3}, "mechanical_above_c", "must be > free_below_c (5)"),
        ({"cop_most": 0.5}, "cop_most", "must be >= 1"),
        ({"mover_ratio": -0.1}, "mover_ratio", "must be >= 0"),
        ({"design_it_mw": 0}, "design_it_mw", "must be > 0"),
        ({"ups_fix_ratio": 0.1}, "ups_fix_ratio", "unknown field"),
        ({"temperature": -80}, "temperature.value", "must be >= -60"),
        ({"temperature": 61}, "temperature.value", "must be <= 60"),
        ({"temperature": {"shape": "price-duck"}}, "temperature.shape", "is a shape in"),
    ],
)
def test_numbers_that_cannot_be(minimal, problems, given, field, message):
    minimal["facility"]["cooling"] = {"kind": "air", **given}
    assert problems(minimal)[f"facility.cooling.{field}"].message.startswith(message)


def test_an_unknown_kind(minimal, problems):
    minimal["facility"]["cooling"] = {"kind": "liquids"}
    problem = problems(minimal)["facility.cooling.kind"]
    assert "liquid" in f"{problem.allowed} {problem.nearest}"


@pytest.mark.parametrize(
    ("offset", "message"),
    [(60, "rises to 87.4; it must be <= 60"), (-99, "falls to -83.2; it must be >= -60")],
)
def test_temperatures_of_a_day_that_are_nobodys(minimal, offset, message):
    day = {"shape": "temperature-temperate-summer", "offset": offset}
    minimal["facility"]["cooling"] = {"kind": "air", "temperature": day}
    scenario = load(minimal)
    [problem] = site_problems(scenario, catalog_of(scenario))
    assert problem.path == "facility.cooling.temperature"
    assert message in problem.message


def test_temperatures_of_a_shipped_day(minimal):
    minimal["facility"]["cooling"] = {
        "kind": "air",
        "temperature": {"shape": "temperature-temperate-summer", "offset": 3},
    }
    assert check(load(minimal)) == []
