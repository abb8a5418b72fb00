"""What facility.grid may say, each error with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory.power.rack import idle_rack_w, most_rack_w
from factory.scenario import catalog_of, load, resolved
from factory.scenario.grid import Grid
from factory.simulation.site_checks import site_problems

CALL = {"at_s": 10, "duration_s": 20, "depth_ratio": 0.25}
BATTERY = {"capacity_mwh": 0.1, "power_mw": 0.1}


def with_grid(minimal: dict[str, Any], **grid: Any) -> dict[str, Any]:
    return {**minimal, "facility": {**minimal["facility"], "grid": grid}}


def test_what_is_sound(minimal: dict[str, Any]) -> None:
    made = with_grid(
        minimal,
        curtailments=[CALL, {"at_s": 30, "duration_s": 5, "limit_mw": 0.02, "notice_s": 60}],
        policy=["cap", "pause"],
        battery={**BATTERY, "for": ["curtailment", "ramp", "peak"], "peak_mw": 1},
        ramp_mw_per_min=0.1,
        price={"shape": "price-duck", "mean": 50},
        carbon=300,
    )
    scenario = load(made)
    grid = scenario.facility.grid
    assert grid is not None
    assert grid.battery is not None
    assert grid.battery.start_ratio == 0.5
    assert Grid.model_validate(resolved(scenario)["facility"]["grid"]) == grid
    assert not list(site_problems(scenario, catalog_of(scenario)))


@pytest.mark.parametrize(
    ("grid", "path", "message"),
    [
        ({"curtailments": [{"at_s": 1, "duration_s": 2}]}, "curtailments[0]", "exactly one of"),
        ({"curtailments": [{**CALL, "at_s": 60}]}, "curtailments[0].at_s", "before the run ends"),
        (
            {"curtailments": [CALL, {**CALL, "at_s": 29}]},
            "curtailments[1].at_s",
            "is within curtailments[0], which lasts until 30",
        ),
        ({"curtailments": [CALL, {**CALL, "at_s": 5}]}, "curtailments[1].at_s", "sort them"),
        ({"curtailments": [CALL], "policy": []}, "policy", "nothing would be done"),
        ({"policy": ["cap", "cap"]}, "policy", "names a policy twice"),
        ({"policy": "shed"}, "shed_tenants", "all tenants have one priority"),
        ({"policy": "shed", "shed_tenants": ["x"]}, "shed_tenants[0]", "unknown tenant"),
        ({"shed_tenants": ["people"]}, "shed_tenants", "is for policy: shed"),
        ({"shed_running": "give_up"}, "shed_running", "is for policy: shed"),
        ({"ramp_mw_per_min": 1}, "ramp_mw_per_min", "is kept by a battery"),
        ({"battery": BATTERY}, "battery.for", "the battery would do nothing"),
        ({"battery": {**BATTERY, "for": []}}, "battery.for", "is empty"),
        ({"battery": {**BATTERY, "for": ["ramp"]}}, "battery.for", "state facility.grid.ramp"),
        (
            {"battery": {**BATTERY, "for": ["ramp"], "peak_mw": 1}, "ramp_mw_per_min": 1},
            "battery.peak_mw",
            "for: [peak]",
        ),
        (
            {"battery": {**BATTERY, "for": "peak", "initial_ratio": 0}},
            "battery.initial_ratio",
            "never give anything",
        ),
        (
            {"battery": {**BATTERY, "for": "peak", "recharge_mw": 1}},
            "battery.recharge_mw",
            "must be <= power_mw (0.1)",
        ),
        (
            {"battery": {**BATTERY, "capacity_mwh": -1, "for": "peak"}},
            "battery.capacity_mwh",
            "must be > 0",
        ),
        (
            {"battery": {**BATTERY, "efficiency_ratio": 1.1, "for": "peak"}},
            "battery.efficiency_ratio",
            "<= 1",
        ),
        ({"price": {"value": 1, "shape": "price-duck"}}, "price", "exactly one of value, shape"),
        ({"price": {"shape": "price-dock"}}, "price.shape", "did you mean price-duck?"),
        ({"price": {"shape": "carbon-duck"}}, "price.shape", "is a shape in g/kWh"),
        ({"carbon": -1}, "carbon.value", "must be >= 0"),
        ({"price": {"value": 3, "scale": 2}}, "price.scale", "a value stands as it is"),
    ],
)
def test_what_is_not(
    minimal: dict[str, Any], problems: Any, grid: dict[str, Any], path: str, message: str
) -> None:
    found = problems(with_grid(minimal, **grid))
    assert list(found) == [f"facility.grid.{path}"]
    assert message in str(found[f"facility.grid.{path}"])


def test_cap_needs_somebody_who_lowers_clocks(minimal: dict[str, Any], problems: Any) -> None:
    made = with_grid(minimal, curtailments=[CALL])
    made["facility"]["control"] = {"mode": "none"}
    assert "facility.control.mode is none" in str(problems(made)["facility.grid.policy"])


def test_a_limit_below_idle_power_is_refused_with_what_lacks(minimal: dict[str, Any]) -> None:
    call = {"at_s": 10, "duration_s": 20, "limit_mw": 0.001}
    scenario = load(with_grid(minimal, curtailments=[call]))
    [problem] = site_problems(scenario, catalog_of(scenario))
    assert problem.path == "facility.grid.curtailments[0].limit_mw"
    text = str(problem)
    assert "MW below the" in text
    assert "no policy can keep it" in text
    least = float(text.split("at least ")[1].rstrip(")"))
    call["limit_mw"] = least * 1.001
    assert not list(
        site_problems(load(with_grid(minimal, curtailments=[call])), catalog_of(scenario))
    )
    call["limit_mw"] = 0.001
    helped = with_grid(minimal, curtailments=[call], battery={**BATTERY, "capacity_mwh": 1})
    assert not list(site_problems(load(helped), catalog_of(scenario)))


def test_a_depth_that_no_draw_can_keep_is_refused_with_figures(minimal: dict[str, Any]) -> None:
    minimal["deployments"][0]["pools"][0] |= {"parallel": {"tp": 8}}
    minimal["facility"] |= {"pue": 1.25}
    call = {"at_s": 10, "duration_s": 20, "depth_ratio": 0.95}
    scenario = load(with_grid(minimal, curtailments=[call]))
    [problem] = site_problems(scenario, catalog_of(scenario))
    assert problem.path == "facility.grid.curtailments[0].depth_ratio"
    system, gpu = catalog_of(scenario).systems["hgx-h200"], catalog_of(scenario).gpus["h200-sxm"]
    bare_w = idle_rack_w(system, gpu)
    idle_mw = 1.25e-6 * (bare_w + 8 * (gpu.idle_loaded_w - gpu.idle_bare_w))
    # A quarter of the rack's 32 GPUs is a replica's.
    most_mw = 1.25e-6 * (bare_w + (most_rack_w(system, gpu) - bare_w) / 4)
    left_mw = 0.05 * most_mw
    assert problem.message == (
        f"leaves {left_mw:.4g} MW of the {most_mw:.4g} MW that all replicas draw at most, "
        f"{idle_mw - left_mw:.4g} MW below the {idle_mw:.4g} MW that the facility draws idle: no "
        "policy can keep it"
    )
    deepest = 1.0 - idle_mw / most_mw
    assert float((problem.allowed or "").removeprefix("at most ")) == pytest.approx(
        deepest, abs=1e-4
    )
    call["depth_ratio"] = deepest - 1e-4
    kept = load(with_grid(minimal, curtailments=[call]))
    assert not list(site_problems(kept, catalog_of(kept)))
    call["depth_ratio"] = 0.95
    helped = with_grid(minimal, curtailments=[call], battery={**BATTERY, "capacity_mwh": 1})
    assert not list(site_problems(load(helped), catalog_of(kept)))


def test_uses_of_a_battery_are_listed(minimal: dict[str, Any], problems: Any) -> None:
    made = with_grid(minimal, battery={**BATTERY, "for": ["arbitrage"]})
    problem = problems(made)["facility.grid.battery.for[0]"]
    assert problem.allowed == "curtailment, ramp, peak"
    made = with_grid(minimal, battery={**BATTERY, "uses": "peak"})
    allowed = str(problems(made)["facility.grid.battery.uses"])
    assert " for, " in allowed
    assert "uses," not in allowed


def test_files_are_found_beside_the_scenario_and_read(
    minimal: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text("time_s,value\n0,1\n30,-2\n20,3\n", encoding="utf-8")
    made = with_grid(minimal, price={"path": str(tmp_path / "p.csv")})
    scenario = load(made)
    assert scenario.facility.grid is not None
    assert scenario.facility.grid.price is not None
    assert scenario.facility.grid.price.sha256 is not None
    [problem] = site_problems(scenario, catalog_of(scenario))
    assert f"{tmp_path}/p.csv:4: time_s: runs back in time" in str(problem)
    (tmp_path / "p.csv").write_text("time_s,value\n0,1\n20,-2\n", encoding="utf-8")
    [problem] = site_problems(load(made), catalog_of(scenario))
    assert "ends at 40 s, 20 s before the run does" in str(problem)
    scenario = load(with_grid(minimal, carbon={"path": str(tmp_path / "p.csv"), "repeats": "day"}))
    [problem] = site_problems(scenario, catalog_of(scenario))
    assert "falls to -2; it must be >= 0" in str(problem)
