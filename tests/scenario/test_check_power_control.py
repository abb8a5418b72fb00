"""What is refused of power control and breakers, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from factory.scenario import load
from factory.scenario.power_control import POLCA_THRESHOLDS, PowerControl, loop_terms

POLCA = {"mode": "reactive", "preset": "polca"}
CURVE = [[1.1, 1020], [1.4, 60]]


@pytest.fixture
def rows(minimal: dict[str, Any]) -> dict[str, Any]:
    """Two racks in a row with a budget."""
    minimal["facility"] = {
        "rows": [{"name": "row", "budget_kw": 80.0}],
        "racks": [{"name": "racks", "system": "hgx-h200", "count": 2, "row": "row"}],
    }
    return minimal


def control(**fields: Any) -> dict[str, Any]:
    return {"mode": "reactive", **fields}


def test_by_default_control_is_ideal(minimal: dict[str, Any]) -> None:
    section = load(minimal).facility.control
    assert (section.mode, section.share) == ("ideal", PowerControl().share)


@pytest.mark.parametrize(
    "section",
    [
        POLCA,
        {**POLCA, "telemetry_s": 1.0, "averaging_s": 30.0, "levels": ["row"]},
        control(thresholds=[{"at_ratio": 0.9, "clock_ratio": 0.7}]),
        control(brake={"at_ratio": 1.0}),
        {"mode": "none"},
        {"share": "priority"},
    ],
)
def test_sound_sections(rows: dict[str, Any], section: dict[str, Any]) -> None:
    rows["facility"]["control"] = section
    rows["facility"]["rows"][0]["breaker"] = {"curve": "dynamo_row"}
    scenario = load(rows)
    assert load(scenario.model_dump(mode="json")).facility == scenario.facility


@pytest.mark.parametrize(
    ("section", "path", "message"),
    [
        ({"mode": "reactve"}, "mode", "is not one of the choices"),
        ({"preset": "polca"}, "preset", 'is for mode: reactive only, got "polca"'),
        ({"telemetry_s": 1.0}, "telemetry_s", "is for mode: reactive only, got 1"),
        (control(thresholds=[], brake={}), "thresholds", "must have at least one item"),
        (control(), "", "has nothing to act with: give thresholds, a brake, or preset: polca"),
        ({**POLCA, "share": "priority"}, "share", "is for mode: ideal only"),
        ({**POLCA, "actuation_s": -1.0}, "actuation_s", "must be >= 0, got -1"),
        ({**POLCA, "brake_s": -5.0}, "brake_s", "must be >= 0, got -5"),
        ({**POLCA, "telemetry_s": 0.0}, "telemetry_s", "must be > 0, got 0"),
        ({**POLCA, "averaging_s": 3.0}, "averaging_s",
         "must be a multiple of telemetry_s (2), got 3 (allowed: as 4)"),
        ({**POLCA, "hysteresis_ratio": 0.8}, "hysteresis_ratio",
         "must be below the lowest at_ratio (0.8), or nothing ever lets go, got 0.8"),
        ({**POLCA, "levels": []}, "levels", "must have at least one item"),
        ({**POLCA, "levels": ["row", "row"]}, "levels[1]", "is there twice"),
        ({**POLCA, "levels": ["rack"]}, "levels[0]",
         "has no budget to watch: give facility.racks[].budget_kw"),
        ({**POLCA, "brake": {"at_ratio": 0.85}}, "brake.at_ratio",
         "must be above the last threshold (0.89), as the last resort, got 0.85"),
        ({**POLCA, "brake": {"clock_ratio": 0.9}}, "brake.clock_ratio",
         "must be <= the lowest clock of the thresholds (0.7872), got 0.9"),
        (control(thresholds=[{"at_ratio": 1.0, "clock_ratio": 0.5}], brake={}),
         "thresholds[0].at_ratio",
         "must be below the brake's at_ratio (1), which is the last resort, got 1"),
        (control(thresholds=[{"at_ratio": 0.9, "clock_ratio": 0.7},
                             {"at_ratio": 0.8, "clock_ratio": 0.5}]),
         "thresholds[1].at_ratio", "must be >= the one before (0.9): thresholds come in order"),
        (control(thresholds=[{"at_ratio": 0.8, "clock_ratio": 0.7},
                             {"at_ratio": 0.9, "clock_ratio": 0.8}]),
         "thresholds[1].clock_ratio",
         "has no effect: one before holds them at 0.7 already, got 0.8"),
        (control(thresholds=[{"at_ratio": 0.8, "clock_ratio": 1.2}]),
         "thresholds[0].clock_ratio", "must be <= 1, got 1.2"),
        (control(thresholds=[{"at_ratio": 0.8}]), "thresholds[0].clock_ratio", "is missing"),
    ],
)  # fmt: skip
def test_bad_sections(
    rows: dict[str, Any], problems: Any, section: dict[str, Any], path: str, message: str
) -> None:
    rows["facility"]["control"] = section
    where = "facility.control" + (f".{path}" if path else "")
    assert message in str(problems(rows)[where])


def test_reactive_control_needs_a_budget(minimal: dict[str, Any], problems: Any) -> None:
    minimal["facility"]["control"] = POLCA
    assert str(problems(minimal)["facility.control.mode"]).endswith(
        'finds no budget to watch, got "reactive" (allowed: facility.rows[].budget_kw; or levels '
        "beside the preset's row)"
    )


def test_a_threshold_that_nobody_obeys(rows: dict[str, Any], problems: Any) -> None:
    rows["deployments"][0]["pools"][0]["power"] = {"priority": 3}
    thresholds = [{"at_ratio": 0.8, "clock_ratio": 0.7, "priority": 2}]
    rows["facility"]["control"] = control(thresholds=thresholds)
    assert "no pool's power.priority is that low, got 2 (allowed: at least 3" in str(
        problems(rows)["facility.control.thresholds[0].priority"]
    )


@pytest.mark.parametrize(
    ("breaker", "path", "message"),
    [
        ({"curve": [[1.0, 60]]}, "curve[0][0]", "must be > 1: a breaker carries its rating for"),
        ({"curve": [[1.1, 0]]}, "curve[0][1]", "must be > 0: seconds tolerated, got 0"),
        ({"curve": [[1.4, 60], [1.1, 1020]]}, "curve[1][0]",
         "must be > the ratio before (1.4): points come in order, got 1.1"),
        ({"curve": [[1.1, 60], [1.4, 90]]}, "curve[1][1]",
         "must be <= the seconds before (60): more is tolerated for less, got 90"),
        ({"curve": "dynamo_rw"}, "curve", "did you mean dynamo_row?"),
        ({"curve": []}, "curve", "must have at least one item"),
        ({"curve": [["much", 60]]}, "curve[0][0]", "must be a"),
        ({"curve": CURVE, "reset_s": -1}, "reset_s", "must be >= 0, got -1"),
        ({"curve": CURVE, "cooling_s": 0}, "cooling_s", "must be > 0, got 0"),
        ({"curve": CURVE, "continuous_ratio": 80}, "continuous_ratio", "must be <= 1, got 80"),
        ({}, "curve", "is missing"),
    ],
)  # fmt: skip
def test_bad_breakers(
    rows: dict[str, Any], problems: Any, breaker: dict[str, Any], path: str, message: str
) -> None:
    rows["facility"]["rows"][0]["breaker"] = breaker
    assert message in str(problems(rows)[f"facility.rows[0].breaker.{path}"])


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (lambda facility: facility, "facility.breaker"),
        (lambda facility: facility["racks"][0], "facility.racks[0].breaker"),
    ],
)
def test_a_breaker_needs_a_budget(
    rows: dict[str, Any], problems: Any, place: Any, path: str
) -> None:
    place(rows["facility"])["breaker"] = {"curve": "ul_489"}
    assert "beside it: its curve is in multiples of that" in str(problems(rows)[path])


def test_what_is_stated_wins_over_the_preset() -> None:
    section = PowerControl.model_validate({**POLCA, "actuation_s": 0.0, "telemetry_s": 1.0})
    terms = loop_terms(section)
    assert (terms.actuation_s, terms.telemetry_s, terms.averaging_s) == (0.0, 1.0, 1.0)
    assert terms.thresholds == POLCA_THRESHOLDS
    own = PowerControl.model_validate(control(thresholds=[{"at_ratio": 0.9, "clock_ratio": 0.5}]))
    assert loop_terms(own).brake is None
    assert loop_terms(own).levels == ("facility", "row", "rack")
