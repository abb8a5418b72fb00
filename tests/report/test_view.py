from __future__ import annotations

from pathlib import Path

import hand_made_run as by_hand
import pytest
from made_run import HOSTILE, SUMMARY, make_run

from factory.errors import InputError
from factory.report.page import render_page
from factory.report.view import figures_of, load_view


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"))


def test_a_made_run_reads_back(run_dir: Path) -> None:
    run = load_view(run_dir, SUMMARY)
    assert run.name == "made"
    assert run.description == "Made <b>by</b> hand."
    assert (run.measured_s, run.warmup_s) == (180.0, 60.0)
    assert run.models == ("deepseek-r1",)
    assert run.unfinished == 4
    assert run.mean_queue_ms == pytest.approx(300.0)
    (offer,) = run.offers
    assert (offer.system, offer.gpus, offer.usd_per_gpu_hour) == ("gb200-nvl72", 18, 2.0)
    assert offer.price_kind == "assumed"


def test_pools_carry_their_own_load(run_dir: Path) -> None:
    prefill, decode, unassigned = load_view(run_dir, SUMMARY).pools
    assert (prefill.busy_ratio, prefill.load_factor_ratio) == (0.5, 0.25)
    assert (decode.busy_ratio, decode.load_factor_ratio) == (1.0, 0.5)
    assert unassigned.ledger["unassigned"] == 360.0
    assert prefill.layout == "tp 8"


def test_tenants_count_requests_that_arrived_while_measured(run_dir: Path) -> None:
    chat, agent = load_view(run_dir, SUMMARY).tenants
    assert (chat.offered, chat.completed, chat.good) == (7, 4, 4)
    assert (agent.offered, agent.completed, agent.good) == (8, 5, 0)
    assert agent.misses_target
    assert not chat.misses_target
    assert chat.limits.ttft_ms == 1000.0
    assert chat.ttft.p99 == pytest.approx(500.0)


def test_the_timeline_adds_pools_up(run_dir: Path) -> None:
    line = load_view(run_dir, SUMMARY).timeline
    assert line is not None
    assert line.ledger["decode"] == (480.0,) * 4
    assert line.output_tokens == (600.0,) * 4
    assert line.is_measured == (False, True, True, True)
    # 5.1 MJ of IT energy in 60 s at PUE 1.25
    assert line.facility_kw == pytest.approx((5100 / 60 * 1.25,) * 4)
    assert line.contracted_kw == 50.0


def test_what_was_refused_is_counted_with_what_it_ended(run_dir: Path) -> None:
    run = load_view(run_dir, SUMMARY)
    assert (run.rejections.requests, run.rejections.shortest_tokens) == (3, 100)
    assert run.rejections.sessions == 0  # sessions of one turn end anyway
    assert run.truncated == 0
    assert [dict(tenant.late) for tenant in run.tenants] == [{"ttft": 0.0}, {"ttft": 1.0}]
    assert run.tenants[0].deployment == "main"


def test_power_is_held_against_contract_and_budgets(tmp_path: Path, run_dir: Path) -> None:
    power = load_view(run_dir, SUMMARY).power
    assert (power.peak_kw, power.contracted_kw) == pytest.approx((90 * 1.25, 50.0))
    assert (power.budget_kw, power.budgeted_racks) == (None, 0)

    def racks(_: dict, dims: dict) -> None:
        dims["dim_power_nodes"] = [
            {"power_node": node, "level": "rack", "gpus": 4, "design_it_kw": 3.2}
            for node in ("a-0", "b-0")
        ]

    run = load_view(by_hand.write(tmp_path / "run", racks), {})
    # Rack b-0 has a budget of 1.7 kW, rack a-0 none: it counts with its design power.
    assert run.power.budgeted_it_kw == pytest.approx(1.7)
    assert run.power.budgeted_racks == 1
    assert run.power.budget_kw == pytest.approx((1.7 + 3.2) * 1.25)
    assert run.timeline is not None
    assert run.timeline.budget_kw == run.power.budget_kw


def test_names_from_tables_are_escaped_on_the_page(run_dir: Path) -> None:
    html = render_page(load_view(run_dir, SUMMARY))
    assert HOSTILE not in html
    assert "<b>by</b>" not in html


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": 1, "requests_per_window": 0},
        {"windows": 1, "requests_per_window": 1},
        {"priced": False},
        {"outcomes": (1,)},
    ],
    ids=["empty", "one request", "not priced", "all rejected"],
)
def test_thin_runs_still_give_a_page(tmp_path: Path, changes: dict[str, object]) -> None:
    run = load_view(make_run(tmp_path, **changes), {})  # type: ignore[arg-type]
    assert "NaN" not in render_page(run)


def test_a_summary_with_holes_gives_unknown_figures() -> None:
    figures = figures_of({"cost": None, "busy_ratio": float("nan"), "ledger": {"idle": 1.0}})
    assert figures.cost_usd is None
    assert figures.busy_ratio is None
    assert figures.ledger == {"idle": 1.0}


def test_a_directory_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run directory"):
        load_view(tmp_path, {})


def test_a_rejected_session_of_several_turns_is_lost(tmp_path: Path) -> None:
    rejections = load_view(by_hand.write(tmp_path / "run"), {}).rejections
    assert (rejections.requests, rejections.shortest_tokens, rejections.sessions) == (1, 50, 1)
