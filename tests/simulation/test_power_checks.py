"""Budgets against the hardware beneath them, and against each other."""

from __future__ import annotations

from typing import Any

import pytest

from factory.power import gpu_watts
from factory.power.rack import idle_rack_w, rack_law
from factory.scenario import catalog, load
from factory.simulation.preflight import preflight, warnings

H200 = catalog().gpus["h200-sxm"]
HGX = catalog().systems["hgx-h200"]
RACK_KW = idle_rack_w(HGX, H200, loaded=True) / 1e3


def hall(**facility: Any) -> dict[str, Any]:
    """Two racks full of replicas that take a server each, in one row."""
    return {
        "name": "hall",
        "facility": {
            "name": "hall",
            "pue": 1.25,
            "rows": [{"name": "west"}],
            "racks": [{"name": "h", "system": "hgx-h200", "count": 2, "row": "west"}],
            **facility,
        },
        "deployments": [
            {
                "name": "d",
                "model": "llama-3.1-70b",
                "pools": [
                    {
                        "name": "p",
                        "role": "aggregated",
                        "racks": "h",
                        "replicas": 8,
                        "parallel": {"tp": 8},
                    }
                ],
            }
        ],
        "workload": {
            "tenants": [
                {"name": "t", "load": {"rate": 1}, "input_tokens": 100, "output_tokens": 10}
            ]
        },
        "run": {"requests": 10},
    }


def found(scenario: dict[str, Any], *overrides: str) -> dict[str, Any]:
    """What preflight says, by path."""
    return {p.path: p for p in preflight(load(scenario, overrides), catalog())}


def warned(scenario: dict[str, Any], *overrides: str) -> list[str]:
    """What is warned of."""
    return [str(problem) for problem in warnings(load(scenario, overrides), catalog())]


@pytest.mark.parametrize(
    ("path", "idle", "unit"),
    [
        ("facility.racks[0].budget_kw", RACK_KW, "kW"),
        ("facility.rows[0].budget_kw", 2 * RACK_KW, "kW"),
        ("facility.budget_mw", 2 * RACK_KW * 1.25 / 1e3, "MW"),
    ],
)
def test_a_budget_below_idle_says_by_how_much(path: str, idle: float, unit: str) -> None:
    given = round(0.9 * idle, 6)
    problem = found(hall(), f"{path}={given}")[path]
    assert problem.message.startswith(f"is {idle - given:.3g} {unit} below the {idle:.4g} {unit}")
    assert "draw idle with their hosts" in problem.message
    assert ("PUE 1.25 included" in problem.message) == (unit == "MW")
    assert problem.location == f"--set {path}={given}"


def test_a_server_must_hold_its_share_of_the_rack() -> None:
    # What a server shares with its rack is counted at its most.
    shared_w = sum(rack_law(HGX, 8)(8 * H200.tdp_w, 1.0))
    idle_kw = (8 * H200.idle_loaded_w + shared_w) / 1e3
    problem = found(hall(), "facility.racks[0].node_budget_kw=3")[
        "facility.racks[0].node_budget_kw"
    ]
    assert problem.message.startswith(f"is {idle_kw - 3:.3g} kW below the {idle_kw:.4g} kW that 8")


def test_a_budget_must_hold_one_replica_at_work_or_it_would_wait() -> None:
    lowest = H200.min_clock_ratio
    busy_w = gpu_watts(H200, 1.0, lowest, 1.0, lowest)
    gpu_w = 24 * H200.idle_loaded_w + 8 * busy_w
    need_kw = (gpu_w + sum(rack_law(HGX, 32)(gpu_w, 1.0))) / 1e3
    path = "facility.racks[0].budget_kw"
    assert need_kw > RACK_KW
    given = round(need_kw - 0.01, 6)
    problem = found(hall(), f"{path}={given}")[path]
    assert "with one replica at work, at its lowest clock" in problem.message
    assert problem.message.startswith(f"is {need_kw - given:.3g} kW below")
    assert not found(hall(), f"{path}={need_kw + 0.01}")
    # Reactive control does not make anybody wait.
    assert not found(hall(), f"{path}={given}", "facility.control.mode=none")


def test_the_budget_of_all_cells_is_held_against_all_cells() -> None:
    idle_mw = 3 * 2 * RACK_KW * 1.25 / 1e3
    given = round(0.5 * idle_mw, 6)
    cells = ("cells.count=3", f"facility.budget_mw={given}")
    problem = found(hall(), *cells)["facility.budget_mw"]
    assert problem.message.startswith(
        f"is {idle_mw - given:.3g} MW below the {idle_mw:.4g} MW that the 192 GPUs of all 3 cells"
    )
    assert not found(hall(), "cells.count=3", "facility.budget_mw=0.24")


def test_a_gpu_without_the_profile() -> None:
    scenario = hall()
    scenario["facility"]["racks"][0]["system"] = "hgx-a100"
    path = "deployments[0].pools[0].power.profile"
    problem = found(scenario, f"{path}=max_q", "deployments[0].precision.weights=fp16")[path]
    assert problem.message == "no power profile of a100-sxm-80gb"
    assert (problem.got, problem.allowed) == ("max_q", "max_p")


# -- warnings ----------------------------------------------------------------------------------


def test_sums_above_a_budget_are_said_at_every_level() -> None:
    scenario = hall(budget_mw=0.09)
    scenario["facility"]["rows"][0]["budget_kw"] = 75
    scenario["facility"]["racks"][0] |= {"budget_kw": 40, "node_budget_kw": 10.5}
    above = "of IT power above them, and no oversubscription is declared"
    top, row, rack = warned(scenario)
    assert top == (
        f"facility.budget_mw: budgets of the 1 row of hall add up to 75 kW: 1.04 times the 72 kW "
        f"{above}; facility.oversubscription_ratio: 1.05 says that it is meant"
    )
    assert row == (
        f"facility.rows[0].budget_kw: budgets of the 2 racks of west add up to 80 kW: 1.07 times "
        f"the 75 kW {above}; facility.rows[0].oversubscription_ratio: 1.07 says that it is meant"
    )
    assert rack == (
        f"facility.racks[0].budget_kw: budgets of the 4 servers of h-0 add up to 42 kW: 1.05 times "
        f"the 40 kW {above}; facility.racks[0].oversubscription_ratio: 1.05 says that it is meant"
    )
    declared = (
        "facility.oversubscription_ratio=1.05",
        "facility.rows[0].oversubscription_ratio=1.07",
        "facility.racks[0].oversubscription_ratio=1.05",
    )
    assert not warned(scenario, *declared)
    [less] = warned(scenario, *declared, "facility.rows[0].oversubscription_ratio=1.05")
    assert "1.07 times the 75 kW of IT power above them, and 1.05 is declared" in less


def test_shares_of_a_cell_are_said_to_be_that() -> None:
    scenario = hall(budget_mw=0.27)
    scenario["facility"]["rows"][0]["budget_kw"] = 75
    [said] = warned(scenario, "cells.count=3")
    assert "1.04 times the 72 kW of IT power of one cell of 3 above them" in said
    [said, *_] = warned(hall(), "cells.count=3", "facility.budget_mw=0.4")
    assert "leaves 106.7 kW to IT of one cell of 3, above the 87.68 kW nameplate" in said


def test_a_plant_smaller_than_the_racks() -> None:
    scenario = hall(cooling={"kind": "air", "design_it_mw": 0.2})
    del scenario["facility"]["pue"]
    [said] = warned(scenario, "cells.count=3")
    assert "cooling.design_it_mw: is below the 0.263 MW design IT power of the racks" in said
    assert "got 0.2" in said
    assert not warned(scenario)
    assert not warned(scenario, "cells.count=3", "facility.cooling.design_it_mw=null")


@pytest.mark.parametrize(
    ("upgrade", "said"),
    [
        ("{pool: p, at_s: 1, at_once: 8}", "takes all of pool p out at once (8 replicas)"),
        ("{deployment: d, at_s: 1, at_once: 9}", "takes all of pool p out at once (8 replicas)"),
        ("{pool: p, at_s: 1, at_once: 7}", None),
    ],
)
def test_an_upgrade_of_a_whole_pool_at_once(upgrade: str, said: str | None) -> None:
    texts = warned(hall(), f"facility.failures.upgrades=[{upgrade}]")
    assert len(texts) == (said is not None)
    if said is not None:
        assert f"upgrades[0].at_once: {said}: it serves nothing meanwhile" in texts[0]


def test_children_without_a_budget_count_with_their_nameplate() -> None:
    scenario = hall(budget_mw=0.1)
    scenario["facility"]["racks"] += [{"name": "n", "system": "gb200-nvl72"}]
    scenario["facility"]["rows"][0]["budget_kw"] = 40
    [said] = warned(scenario)
    assert "budgets of the 2 rows and racks of hall add up to 174.6 kW (the nameplate of 1" in said


def test_a_budget_with_no_budget_beneath_is_what_budgets_are_for() -> None:
    assert not warned(hall(), "facility.rows[0].budget_kw=60", "facility.budget_mw=0.09")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("facility.racks[0].budget_kw=50", "is above the 43.84 kW nameplate"),
        ("facility.rows[0].budget_kw=90", "is above the 87.68 kW nameplate"),
        ("facility.budget_mw=0.2", "leaves 160 kW to IT, above the 87.68 kW nameplate"),
    ],
)
def test_a_budget_above_nameplate_never_binds(change: str, said: str) -> None:
    [text, *_] = warned(hall(), change)
    assert f"{said} of what is beneath: it never binds" in text


def test_a_budget_above_the_contract() -> None:
    [text] = warned(hall(), "facility.budget_mw=0.1", "facility.contracted_mw=0.09")
    assert "facility.budget_mw: is above facility.contracted_mw (0.09), got 0.1" in text


def test_a_cap_that_the_lowest_clock_does_not_keep() -> None:
    [text] = warned(hall(), "deployments[0].pools[0].power.cap_w=130")
    assert "it runs there, and the cap is not kept" in text


def test_headroom_of_no_budget() -> None:
    scenario = hall()
    scaling = {"policy": "load", "max_replicas": 8, "min_headroom_ratio": 0.1}
    scenario["deployments"][0]["pools"][0]["autoscaling"] = scaling
    [text] = warned(scenario)
    assert "min_headroom_ratio: looks at no budget" in text
    assert not warned(scenario, "facility.rows[0].budget_kw=60")
