from __future__ import annotations

from pathlib import Path

import hand_made_run as by_hand
import pytest
from made_run import HOSTILE, SUMMARY, make_run

from factory.errors import InputError
from factory.records.codes import TIMED_OUT
from factory.records.fact_requests import REQUESTS
from factory.report.page import render_page
from factory.report.view import figures_of, load_view

REQUEST = [field.name for field in REQUESTS.raw]


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
    attempts = run.attempts
    assert (attempts.total, attempts.too_long, attempts.shortest_tokens) == (15, 3, 5000)
    assert (attempts.turned_away, attempts.timed_out, attempts.retried) == (0, 0, 0)
    assert attempts.sessions == 0  # sessions of one turn end anyway
    assert run.truncated == 0
    assert [dict(tenant.late) for tenant in run.tenants] == [{"ttft": 0.0}, {"ttft": 1.0}]
    assert run.tenants[0].deployment == "main"


def test_power_is_held_against_contract_and_budgets(tmp_path: Path, run_dir: Path) -> None:
    power = load_view(run_dir, SUMMARY).power
    assert (power.peak_kw, power.contracted_kw) == pytest.approx((90 * 1.25, 50.0))
    assert (power.budget_kw, power.budgeted) == (None, {})

    run = load_view(by_hand.write(tmp_path / "run"), {})
    # Rack b-0 has a budget of 1.7 kW and can draw 1.6; rack a-0 has none and can draw 1.8.
    assert run.power.budgeted == {"rack": (1, pytest.approx(1.7))}
    assert run.power.budget_kw == pytest.approx((1.6 + 1.8) * 1.25)
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
    attempts = load_view(by_hand.write(tmp_path / "run"), {}).attempts
    # 50 tokens, where prompts of 4000 are taken: it was turned away.
    assert (attempts.turned_away, attempts.too_long, attempts.sessions) == (1, 0, 1)


def test_a_session_goes_on_after_a_retry_that_is_served(tmp_path: Path) -> None:
    def retried(streams: dict, _: dict) -> None:
        times = (16.0, 16.0, 17.0, 17.5, 21.5)
        again = by_hand.request(6, 1, times, (50, 50, 0, 0, 9), (0, 0, 0), attempt=1, root=3)
        streams["fact_requests"].append(again)

    attempts = load_view(by_hand.write(tmp_path / "run", retried), {}).attempts
    assert (attempts.total, attempts.retried, attempts.turned_away) == (6, 1, 1)
    assert attempts.sessions == 0
    assert attempts.noun == "attempt"


def test_what_clients_gave_up_is_told_apart_by_tenant(tmp_path: Path) -> None:
    def given_up(streams: dict, _: dict) -> None:
        values = list(streams["fact_requests"][3])
        values[REQUEST.index("outcome")] = TIMED_OUT
        streams["fact_requests"][3] = tuple(values)

    run = load_view(by_hand.write(tmp_path / "run", given_up), {})
    chat, agent = (tenant.attempts for tenant in run.tenants)
    assert (chat.total, chat.timed_out, agent.total, agent.timed_out) == (3, 1, 2, 0)
    # GPU seconds of r1, r2 and r5: 18 each but the last, 24; r4 has 4.
    assert chat.wasted_ratio == pytest.approx(18 / (18 + 18 + 24))
    assert run.attempts.wasted_ratio == pytest.approx(18 / (18 + 18 + 24 + 4))


def test_events_are_counted_by_kind_and_decisions_listed(tmp_path: Path) -> None:
    def scaled(streams: dict, _: dict) -> None:
        streams["fact_events"] += [
            (13.0, "scale_up", "decode", 2.0, "from 1 replicas: 2 wanted"),
            (14.0, "replica_ready", "decode/0", 1.0, ""),
            (20.0, "scale_down", "decode", 1.0, "from 2 replicas: 1 wanted"),
        ]

    run = load_view(by_hand.write(tmp_path / "run", scaled), {})
    assert [(event.kind, event.number) for event in run.happenings] == [
        ("start", 1),
        ("cap", 1),
        ("scale_up", 1),
        ("replica_ready", 1),
        ("scale_down", 1),
    ]
    assert [(d.at_s, d.pool, d.replicas) for d in run.decisions] == [
        (13.0, "decode", 2.0),
        (20.0, "decode", 1.0),
    ]
    html = render_page(run)
    assert "a pool is to have more replicas" in html
    assert "from 2 replicas: 1 wanted" in html
