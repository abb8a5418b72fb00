"""Cells written out: what each has, what they share, and what a run of several says."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from small_runs import scaled, split

from factory.errors import ScenarioError
from factory.records.cell_names import cell_of, in_cell, plain
from factory.records.query import query
from factory.scenario import Scenario, catalog_of, load
from factory.simulation import RunResult, simulate
from factory.simulation.cells import expand
from factory.simulation.names import block_size, lay_out
from factory.validation.laws import check_run
from factory.workload import build
from factory.workload.demands import Demands
from factory.workload.generate import answers_after, generate


def celled(count: int, simulated: int, data: dict[str, Any] | None = None) -> Scenario:
    return load({**(data or split()), "cells": {"count": count, "simulated": simulated}})


def rich() -> dict[str, Any]:
    """A scenario in which everything refers to something by its name."""
    data = split()
    [deployment] = data["deployments"]
    deployment["admission"] = {"tenants": {"agent": {"kind": "batch"}}}
    data["facility"] |= {
        "rows": [{"name": "hall", "budget_kw": 100}],
        "budget_mw": 12.0,
        "contracted_mw": 15.0,
    }
    data["facility"]["racks"][0]["row"] = "hall"
    return data


@pytest.mark.parametrize(
    ("name", "cell", "of"),
    [("decode", 0, "decode"), ("decode@3", 3, "decode"), ("r@12/unassigned", 12, "r/unassigned")],
)
def test_names_tell_their_cell(name: str, cell: int, of: str) -> None:
    assert (cell_of(name), plain(name)) == (cell, of)


def test_what_there_is_once_keeps_its_cell() -> None:
    replica = f"{in_cell('decode', 2)}-0"
    assert (replica, plain(replica), cell_of(replica)) == ("decode@2-0", "decode@2-0", 2)
    assert cell_of("decode@2-0/node-11") == 2


def test_one_cell_stays_as_it_is() -> None:
    scenario = load(split())
    assert expand(scenario) is scenario


def test_each_cell_has_everything_under_its_own_names() -> None:
    scenario = celled(9, 3, rich())
    built = expand(scenario)
    assert [group.name for group in built.facility.racks] == ["r", "r@1", "r@2"]
    assert [(group.row, row.name) for group, row in
            zip(built.facility.racks, built.facility.rows, strict=True)] == [
        ("hall", "hall"), ("hall@1", "hall@1"), ("hall@2", "hall@2"),
    ]  # fmt: skip
    third = built.deployments[2]
    assert third.name == "d@2"
    assert [(pool.name, pool.racks) for pool in third.pools] == [
        ("prefill@2", "r@2"), ("decode@2", "r@2"),
    ]  # fmt: skip
    assert list(third.admission.tenants) == ["agent@2"]
    assert [(tenant.name, tenant.deployment) for tenant in built.workload.tenants] == [
        ("chat", "d"), ("agent", "d"), ("chat@1", "d@1"), ("agent@1", "d@1"),
        ("chat@2", "d@2"), ("agent@2", "d@2"),
    ]  # fmt: skip


def test_cell_0_is_the_scenario_itself() -> None:
    scenario = celled(9, 3, rich())
    built = expand(scenario)
    assert built.deployments[0] == scenario.deployments[0]
    assert built.workload.tenants[:2] == scenario.workload.tenants
    assert built.facility.racks[0] == scenario.facility.racks[0]


def test_what_all_cells_share_is_the_part_of_the_simulated_ones() -> None:
    facility = expand(celled(9, 3, rich())).facility
    assert (facility.budget_mw, facility.contracted_mw) == (4.0, 5.0)
    assert facility.rows[0].budget_kw == 100


@pytest.mark.parametrize("simulated", [1, 3])
def test_a_facility_budget_is_the_same_for_each_cell(simulated: int) -> None:
    scenario = celled(12, simulated, rich())
    layout = lay_out(expand(scenario), catalog_of(scenario))
    budget_kw = layout.power.nodes[0].budget_kw
    assert budget_kw is not None
    assert scenario.facility.pue is not None
    assert budget_kw / simulated == pytest.approx(1000.0 / scenario.facility.pue, rel=1e-12)


def test_codes_have_plain_names_and_a_cell() -> None:
    scenario = celled(4, 2)
    codes = lay_out(expand(scenario), catalog_of(scenario)).codes
    assert codes.tenants == ["chat", "agent"] * 2
    assert codes.tenant_cells == [0, 0, 1, 1]
    assert codes.deployments == ["d", "d"]
    assert codes.pools == ["prefill", "decode", "prefill", "decode", "r/unassigned", "r/unassigned"]
    assert codes.pool_cells == [0, 0, 1, 1, 0, 1]
    assert codes.replicas[-2:] == ["decode@1-0", "decode@1-1"]
    assert codes.power_nodes == ["factory", "r-0", "r@1-0"]
    assert codes.power_node_cells == [-1, 0, 1]


def asked(scenario: Scenario) -> dict[str, list[tuple[float, int, int, int]]]:
    """By tenant, what it asks of a factory of a stated speed."""
    sizes = [block_size(deployment) for deployment in scenario.deployments]
    workload = build(scenario, catalog_of(scenario), sizes)
    found: dict[str, list[tuple[float, int, int, int]]] = {}
    for request, _ in generate(workload, answers_after(0.2, 0.01)):
        name = scenario.workload.tenants[request.tenant].name
        what = (request.arrival_s, request.turn, request.input_tokens, request.output_tokens)
        found.setdefault(name, []).append(what)
    return found


def test_cell_0_asks_what_a_run_of_one_cell_asks_and_others_something_else() -> None:
    alone, cells = asked(load(split())), asked(expand(celled(5, 3)))
    assert {name: cells[name] for name in alone} == alone
    assert len(cells) == 3 * len(alone)
    assert cells["chat@1"] != cells["chat"]
    assert cells["chat@1"] != cells["chat@2"]


def test_a_mix_asks_as_much_in_every_cell() -> None:
    data = split()
    for tenant in data["workload"]["tenants"]:
        del tenant["load"]
    data["workload"]["mix"] = {
        "rate": 30.0, "shares": {"chat": 0.7, "agent": 0.3}, "toward": {"agent": 1.0},
        "position": 0.25,
    }  # fmt: skip
    alone = asked(load(data))
    cells = expand(celled(70, 3, data))
    assert {name: asked(cells)[name] for name in alone} == alone
    known = catalog_of(cells)
    loads = Demands(cells, known, [block_size(each) for each in cells.deployments]).loads
    rates = [each.rate for each in loads.values()]
    assert rates == pytest.approx(rates[:2] * 3, rel=1e-9)


def test_requests_are_of_a_cell() -> None:
    data = split(run={"requests": 40, "window_s": 5})
    assert expand(celled(8, 4, data)).run.requests == 160


def problems_of_cells(data: dict[str, Any], count: int, simulated: int) -> dict[str, str]:
    try:
        celled(count, simulated, data)
    except ScenarioError as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


def test_cells_that_cannot_be() -> None:
    assert problems_of_cells(split(), 2, 3) == {"cells.simulated": "must be <= cells.count (2)"}


def test_a_trace_is_of_one_cell(tmp_path: Path) -> None:
    data = split()
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"timestamp": 0, "input_length": 9, "output_length": 2, "hash_ids": [0]}\n')
    data["deployments"][0].pop("block_size")
    data["workload"]["trace"] = {"path": str(trace), "format": "mooncake", "tenant": "chat"}
    del data["workload"]["tenants"][0]["load"]
    assert problems_of_cells(data, 3, 1) == {}
    [message] = problems_of_cells(data, 3, 2).values()
    assert "every cell would replay the same requests" in message


COUNT, SIMULATED = 7, 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """One cell alone, and three of seven."""
    where = tmp_path_factory.mktemp("runs")
    several = celled(COUNT, SIMULATED)
    return {
        "one": simulate(load(split()), where / "one"),
        "several": simulate(several, where / "several"),
    }


def table(run: RunResult, sql: str) -> list[tuple[Any, ...]]:
    return query(run.run_dir, sql).rows


def test_cell_0_fares_as_a_run_of_one_cell(runs: dict[str, RunResult]) -> None:
    columns = "tenant, arrival_time_s, first_token_time_s, completion_time_s, output_tokens"
    sql = f"select {columns}, energy_output_j from fact_requests where cell = 0 order by all"
    alone = table(runs["one"], sql)
    assert len(alone) > 100
    assert table(runs["several"], sql) == alone


def test_laws_hold_and_every_cell_is_there(runs: dict[str, RunResult]) -> None:
    run = runs["several"]
    assert [law for law in check_run(run.run_dir) if not law.holds] == []
    for name in ("fact_requests", "fact_sessions", "fact_tasks", "fact_intervals",
                 "fact_tenant_intervals", "dim_replicas"):  # fmt: skip
        assert table(run, f"select distinct cell from {name} order by 1") == [(0,), (1,), (2,)]
    levels = "select level, cell from fact_power where window_index = 0 order by all"
    assert table(run, levels) == [("facility", None), ("rack", 0), ("rack", 1), ("rack", 2)]


def test_dimensions_have_a_row_per_plain_name(runs: dict[str, RunResult]) -> None:
    for name, key in (("dim_pools", "pool"), ("dim_tenants", "tenant"),
                      ("dim_deployments", "deployment")):  # fmt: skip
        sql = f"select * from {name} order by {key}"
        mine, theirs = table(runs["several"], sql), table(runs["one"], sql)
        assert [row[1:] for row in mine] == [row[1:] for row in theirs]
    names = table(runs["several"], "select replica, cell from dim_replicas where pool = 'decode'")
    assert names == [("decode-0", 0), ("decode-1", 0), ("decode@1-0", 1), ("decode@1-1", 1),
                     ("decode@2-0", 2), ("decode@2-1", 2)]  # fmt: skip


def test_figures_are_of_all_cells(runs: dict[str, RunResult]) -> None:
    one, several = runs["one"].summary, runs["several"].summary
    cost = several["cost"]["cost_usd"]
    assert cost == pytest.approx(COUNT * one["cost"]["cost_usd"], rel=1e-12)
    [[made]] = table(
        runs["several"],
        f"select {COUNT / SIMULATED} * sum(output_good_tokens) from fact_intervals "
        "where is_measured",
    )
    assert several["tokens"]["output_good"] == pytest.approx(made, rel=1e-12)
    bill = "select sum(cost_usd) from v_interval_costs where is_measured"
    assert table(runs["several"], bill)[0][0] == pytest.approx(cost, rel=1e-12)
    assert several["power"]["contracted_facility_kw"] == pytest.approx(
        COUNT * one["power"]["contracted_facility_kw"]
    )


def test_the_spread_between_cells_is_that_of_their_figures(runs: dict[str, RunResult]) -> None:
    run = runs["several"]
    spread = run.summary["cells"]["spread"]
    assert (run.summary["cells"]["count"], run.summary["cells"]["simulated"]) == (COUNT, SIMULATED)
    for name, mean, variance, stderr in table(
        run, "select figure, mean, variance, stderr from v_cell_spread"
    ):
        values = [value for (value,) in table(run, f"select {name} from v_cells")]
        assert len(values) == SIMULATED
        assert spread[name]["mean"] == pytest.approx(mean, rel=1e-12)
        assert spread[name]["stderr"] == pytest.approx(stderr, rel=1e-9, abs=1e-12)
        assert mean == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert variance == pytest.approx(statistics.variance(values), rel=1e-9, abs=1e-15)
    assert spread["tokens_per_s_output_good"]["stderr"] > 0
    whole = run.summary["throughput"]["output_good_tokens_per_s"]
    assert COUNT * spread["tokens_per_s_output_good"]["mean"] == pytest.approx(whole, rel=1e-12)


def test_one_cell_has_no_spread(runs: dict[str, RunResult]) -> None:
    cells = runs["one"].summary["cells"]
    assert {each["stderr"] for each in cells["spread"].values()} == {None}
    assert cells["spread"]["cost_usd"]["mean"] == runs["one"].summary["cost"]["cost_usd"]


def test_windows_of_tenants_are_of_all_cells(runs: dict[str, RunResult]) -> None:
    [[rows, offered]] = table(
        runs["several"], "select count(*), sum(offered) from v_tenant_windows"
    )
    [[each, raw]] = table(
        runs["several"],
        "select count(distinct (tenant, window_index)), sum(weight * offered) "
        "from fact_tenant_intervals",
    )
    assert rows == each
    assert offered == pytest.approx(raw, rel=1e-12)


def test_pools_that_scale_are_told_apart(tmp_path: Path) -> None:
    run = simulate(celled(5, 2, scaled()), tmp_path / "run")
    assert [law for law in check_run(run.run_dir) if not law.holds] == []
    events = table(
        run,
        "select cell, subject, count(*) from fact_events where kind like 'scale%' group by all",
    )
    assert {(cell, subject) for cell, subject, _ in events} == {(0, "p"), (1, "p")}


def test_a_budget_of_all_cells_binds_as_one_of_each_would(tmp_path: Path) -> None:
    """Cells that are alike share a budget of all by their number."""
    data = split()
    data["facility"] |= {"pue": 1.25, "contracted_mw": 1.0, "budget_mw": COUNT * 0.0148}
    run = simulate(celled(COUNT, SIMULATED, data), tmp_path / "run")
    assert [law for law in check_run(run.run_dir) if not law.holds] == []
    [[budget, peak, capped]] = table(
        run,
        "select max(budget_it_kw), max(peak_1s_it_kw), sum(capped_s) from fact_power "
        "where level = 'facility'",
    )
    assert budget == pytest.approx(SIMULATED * 14.8 / 1.25)
    assert capped > 0
    assert peak <= budget * (1 + 1e-9)
