"""The shipped coding agent, answered at once, beside the trace that it was fitted to."""

from __future__ import annotations

from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
import pytest
from experiments_beside import experiment

from factory.scenario.workloads import read_workload

fitting = experiment("workloads.coding_agent")
measured = experiment("workloads.measured")

DATA = Path(__file__).parents[2] / ".." / "shared/data/traces/agentic_sessions.parquet"

# Median and p90 of 710 sessions of coding agents, their main agents (kv-cache-tester, Apache-2.0;
# `python -m experiments.workloads.coding_agent --compare`).
TRACE = {
    "requests": (45, 155.1),
    "output": (216, 899),
    "growth": (655, 3540),
    "tool_gap": (9, 71),
    "turn_gap": (210, 2980),
}
CACHED_RATIO = 0.963


SESSIONS = 1500


@pytest.fixture(scope="module")
def requests():
    return measured.asked({"like": "coding-agent"}, SESSIONS)


@pytest.fixture(scope="module")
def workload(requests):
    return measured.measure(requests)


@pytest.mark.parametrize("what", list(TRACE))
def test_medians_are_within_10_percent_and_p90_within_20_percent(workload, what):
    median, p90 = np.quantile(getattr(workload, what), (0.5, 0.9))
    assert median == pytest.approx(TRACE[what][0], rel=0.1)
    assert p90 == pytest.approx(TRACE[what][1], rel=0.2)


def test_the_cached_ratio_follows_from_structure_within_a_point(workload):
    assert workload.cached_ratio == pytest.approx(CACHED_RATIO, abs=0.01)


def test_sub_agents_come_as_often_as_recorded(requests):
    """63 sub-agents of 10.7 requests in 710 sessions; within a factor of two of so rare a thing."""
    helpers = {(each.session, each.agent) for each, _ in requests if each.agent}
    assert 0.5 < len(helpers) / SESSIONS / (63 / 710) < 2
    assert np.mean([each.agent > 0 for each, _ in requests]) < 0.04


@pytest.fixture(scope="module")
def rows():
    if not DATA.is_file():
        pytest.skip("needs ../shared/data/traces/agentic_sessions.parquet")
    return fitting.read(DATA)


def test_the_shipped_tables_are_those_of_the_trace(rows):
    (tenant,) = read_workload("coding-agent").data["tenants"]
    for path, table in fitting.fitted(rows).items():
        shipped = reduce(getitem, path.split("."), tenant)
        if len(table) == 1:
            assert shipped == table[0][1], path
        else:
            assert shipped == {"quantiles": [list(point) for point in table]}, path


def test_the_figures_held_to_are_those_of_the_trace(rows):
    trace = fitting.of_trace(rows)
    for what, (median, p90) in TRACE.items():
        found = np.quantile(getattr(trace, what), (0.5, 0.9))
        assert found == pytest.approx((median, p90), rel=0.005)
    assert trace.cached_ratio == pytest.approx(CACHED_RATIO, abs=0.001)


def test_it_says_where_its_numbers_come_from():
    kinds = {source.kind for source in read_workload("coding-agent").sources}
    assert kinds == {"fitted", "assumed"}
