"""What tasks took and cost: in SQL and in Python the same, and on the hand-made run as on paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hand_made_run as by_hand
import pytest

from factory.economics import summarize
from factory.records.fact_requests import REQUESTS
from factory.records.query import ask, connect

Rows = Callable[[str], list[dict[str, Any]]]
PLACE = {field.name: place for place, field in enumerate(REQUESTS.raw)}


def _alone(streams: dict, _: dict) -> None:
    """Each request of chat is a session of its own."""
    for number, row in enumerate(streams["fact_requests"]):
        if row[PLACE["tenant"]] == 0:
            values = list(row)
            values[PLACE["session"]] = 10 + row[0]
            values[PLACE["turn"]] = 0
            streams["fact_requests"][number] = tuple(values)


def _limited(streams: dict, dims: dict) -> None:
    """Chat may take 6 s for a task, and its first answer comes late; so may the agent 2 s."""
    _alone(streams, dims)
    dims["dim_tenants"][0]["slo_task_s"] = 6.0


def _retried(streams: dict, dims: dict) -> None:
    """A request of chat is turned away, comes again a second later and is served."""
    _alone(streams, dims)
    late = (13.0, 13.0, 14.0, 14.5, 17.0)
    nothing = (13, math.nan, math.nan, math.nan, 13)
    streams["fact_requests"] += [
        by_hand.request(7, 0, nothing, (9, 0, 0, 0, 0), (0, 0, 0), outcome=by_hand.REJECTED),
        by_hand.request(8, 0, late, (9, 9, 0, 0, 7), (1, 0, 2), attempt=1, root=7, first_s=13.0),
    ]


def _all_alone(streams: dict, dims: dict) -> None:
    _retried(streams, dims)
    streams["fact_tasks"] = streams["fact_sessions"] = []
    dims["dim_tenants"][1]["has_sessions"] = False


def _all_in_sessions(_: dict, dims: dict) -> None:
    dims["dim_tenants"][0]["has_sessions"] = True


def _unpriced(_: dict, dims: dict) -> None:
    dims["dim_prices"] = dims["dim_prices"][:1]


def _aggregated(_: dict, dims: dict) -> None:
    dims["dim_pools"] = [row for row in dims["dim_pools"] if row["role"] != "decode"]
    dims["dim_pools"].insert(1, {**dims["dim_pools"][0], "pool": "decode", "role": "unassigned"})
    dims["dim_pools"][1]["deployment"] = None
    dims["dim_pools"][0]["role"] = "aggregated"


def _nothing(streams: dict, _: dict) -> None:
    streams["fact_requests"] = []
    streams["fact_tasks"] = []
    streams["fact_sessions"] = []


CHANGES = {
    "plain": None,
    "alone": _alone,
    "limited": _limited,
    "retried": _retried,
    "all alone": _all_alone,
    "all in sessions": _all_in_sessions,
    "unpriced": _unpriced,
    "aggregated": _aggregated,
    "nothing": _nothing,
}


@pytest.fixture(
    scope="module", params=[*((name, 1.0) for name in CHANGES), ("retried", 2.5)], ids=str
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, weight = request.param
    return by_hand.write(tmp_path_factory.mktemp("runs") / "run", CHANGES[name], weight=weight)


def reading(run: Path) -> Iterator[Rows]:
    connection = connect(run)

    def read(sql: str) -> list[dict[str, Any]]:
        answer = ask(connection, sql)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    yield read
    connection.close()


@pytest.fixture(scope="module")
def rows(run: Path) -> Iterator[Rows]:
    yield from reading(run)


def assert_equal(sql: Mapping[str, Any], python: Mapping[str, Any]) -> None:
    """Every figure of either, None for None, and no NaN."""
    assert set(sql) - {"run_id", "tenant"} == set(python) - {"has_sessions"}
    for name, value in python.items():
        if name == "has_sessions":
            continue
        seen = sql[name]
        if value is None or seen is None:
            assert value is seen, name
        else:
            assert math.isfinite(seen), name
            assert seen == pytest.approx(value, rel=1e-12, abs=1e-15), name


def test_views_and_python_agree(run: Path, rows: Rows) -> None:
    found = summarize(run)["tasks"]
    by_tenant = found.pop("by_tenant")
    (whole,) = rows("SELECT * FROM v_run_tasks") or ({"tasks": 0},)
    if found["tasks"]:
        assert_equal(whole, found)
    seen = {row["tenant"]: row for row in rows("SELECT * FROM v_tenant_tasks")}
    for tenant, figures in by_tenant.items():
        if figures["tasks"]:
            assert_equal(seen.pop(tenant), figures)
        else:
            assert all(not value for value in figures.values() if value is not True), tenant
    assert not seen


def one(tmp_path: Path, change: Any, sql: str) -> list[dict[str, Any]]:
    run = by_hand.write(tmp_path / "run", change)
    return [found for read in reading(run) for found in read(sql)]


@pytest.mark.parametrize("change", [None, _retried, _all_alone])
def test_every_attempt_is_of_one_task_and_of_one_session(tmp_path: Path, change: Any) -> None:
    sums = "sum(input_tokens), sum(output_tokens), sum(energy_{}j)"
    tables = ("v_tasks", "v_sessions")
    asked = [f"SELECT sum(attempts), {sums.format('')} FROM {table}" for table in tables]
    asked.append(
        "SELECT count(*), sum(input_tokens), sum(output_tokens), "
        "sum(energy_input_j + energy_output_j) FROM fact_requests"
    )
    run = by_hand.write(tmp_path / "run", change)
    (found,) = ([list(read(sql)[0].values()) for sql in asked] for read in reading(run))
    assert found[0] == found[1] == found[2]


def test_cost_by_hand(tmp_path: Path) -> None:
    # Prefill: 40 GPU s at $0.0005, 10 worked; decode: 80 at $0.001, 42 worked; 40 in no pool, at
    # $0.0005. The bill is $0.12, of which the pools bear $0.10 and, each $1 of theirs, 20 % more.
    units = one(tmp_path, None, "SELECT * FROM v_gpu_second_costs WHERE deployment IS NOT NULL")
    found = {row["pool"]: (row["usd_per_gpu_s"], row["usd_per_gpu_s_with_idle"]) for row in units}
    assert found["prefill"] == pytest.approx((0.0005, 0.0005 * 4 * 1.2))
    assert found["decode"] == pytest.approx((0.001, 0.001 * 80 / 42 * 1.2))
    assert 10 * found["prefill"][1] + 42 * found["decode"][1] == pytest.approx(0.12)


def test_tasks_of_sessions_by_hand(tmp_path: Path) -> None:
    # One request of 4 GPU s in the pool that prefills, and one that was turned away.
    tasks = summarize(by_hand.write(tmp_path / "run"))["tasks"]["by_tenant"]["agent"]
    assert tasks == {
        "has_sessions": True,
        "tasks": 2,
        "completed": 1,
        "good": 1,
        "good_ratio": 0.5,
        "requests_per_task": 1.0,
        "input_computed_tokens_per_task": 200.0,
        "input_cached_tokens_per_task": 300.0,
        "output_tokens_per_task": 0.5,
        "task_s_mean": 2.5,
        "waited_s_mean": 2.5,
        "tools_s_mean": 0.0,
        "task_s_p50": 2.5,
        "task_s_p90": 2.5,
        "task_s_p99": 2.5,
        "cost_usd_direct": pytest.approx(0.002),
        "cost_usd_with_idle": pytest.approx(0.0096),
        "cost_usd_direct_per_task": pytest.approx(0.001),
        "cost_usd_per_task": pytest.approx(0.0048),
        "cost_usd_per_task_good": pytest.approx(0.0096),
    }


def test_requests_alone_are_tasks(tmp_path: Path) -> None:
    # r1: 12 to 17.5 s and r2: 14 to 21.5 s, too late; r5: 26 to 33 s. Each 16 to 22 s of decode.
    found = one(
        tmp_path,
        _alone,
        "SELECT task_id, task_s, is_good, outcome, requests, cost_usd_direct FROM v_task_costs "
        "WHERE tenant = 'chat' AND is_measured ORDER BY task_id",
    )
    assert [row["task_id"] for row in found] == [f"s0000000{n}.000" for n in (11, 12, 15)]
    assert [row["task_s"] for row in found] == [5.5, 7.5, 7.0]
    assert [row["is_good"] for row in found] == [True, False, True]
    direct = [0.0005 * 2 + 0.001 * gpu_s for gpu_s in (16, 16, 22)]
    assert [row["cost_usd_direct"] for row in found] == pytest.approx(direct)


def test_a_limit_on_tasks_takes_the_place_of_those_on_requests(tmp_path: Path) -> None:
    tasks = summarize(by_hand.write(tmp_path / "run", _limited))["tasks"]["by_tenant"]["chat"]
    assert (tasks["tasks"], tasks["good"]) == (3, 1)


def test_a_task_tried_again_is_one(tmp_path: Path) -> None:
    (found,) = one(
        tmp_path,
        _retried,
        "SELECT outcome, requests, attempts, task_s, waited_s, tools_s, ttft_s, input_tokens "
        "FROM v_tasks WHERE attempts > 1",
    )
    assert found == {
        "outcome": "completed",
        "requests": 1,
        "attempts": 2,
        "task_s": 4.0,
        "waited_s": 4.0,
        "tools_s": 0.0,
        "ttft_s": 1.5,
        "input_tokens": 18,
    }


def test_sessions_of_requests_alone(tmp_path: Path) -> None:
    found = one(
        tmp_path,
        None,
        "SELECT session_id, tasks, requests, session_s, peak_context_tokens, outcome, think_s "
        "FROM v_sessions ORDER BY session_id",
    )
    assert [row["session_id"] for row in found] == ["s000000000", "s000000001"]
    assert [row["requests"] for row in found] == [4, 2]
    assert [row["session_s"] for row in found] == [32.0, 9.5]
    assert [row["peak_context_tokens"] for row in found] == [381, 1001]
    assert [row["outcome"] for row in found] == ["completed", "rejected"]
    assert found[1]["think_s"] == 7.0
