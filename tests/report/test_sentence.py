from __future__ import annotations

import dataclasses

import pytest
from views import figures, pool, tenant, view

from factory.report.binding import binding
from factory.report.model import Offer, Power, Tenant
from factory.report.outcomes import Attempts
from factory.report.sentence import answer, cautions, support


def test_the_answer_names_cost_load_and_what_binds() -> None:
    assert answer(view()) == (
        "A million good output tokens cost $0.312 at a load factor of 41%; "
        "demand binds: no pool was full."
    )


def test_an_assumed_price_is_marked() -> None:
    offer = Offer("gb200-nvl72", 72, 2.21, "assumed", "a placeholder", 10.0, "dense FP4")
    run = view(offers=(offer,))
    assert "(assumed prices)" in answer(run)
    assert any("assumed: a placeholder" in line for line in cautions(run))


def test_without_prices_nothing_is_said_of_cost() -> None:
    run = view(figures=figures(cost_usd=None, usd_per_mtok_output_good=None))
    assert answer(run).startswith("Not priced: ")
    assert "$" not in answer(run)


def test_without_a_good_token_there_is_no_unit_cost() -> None:
    run = view(figures=figures(usd_per_mtok_output_good=None))
    assert "$159.00 were spent and no good token was delivered" in answer(run)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("power_capped", "power"),
        ("failed", "failures"),
        ("stalled_transfer", "transfer"),
        ("idle_waiting_work", "memory"),
        ("idle", "demand"),
    ],
)
def test_what_binds_is_read_from_the_ledger(state: str, kind: str) -> None:
    ledger = {"decode": 0.9, state: 0.1}
    assert binding(view(figures=figures(ledger=ledger))).kind == kind


def test_a_pool_near_its_efficient_point_binds() -> None:
    bound = binding(view(pools=(pool("prefill"), pool("decode", busy=0.97, load=0.9))))
    assert bound.kind == "pool"
    assert "decode" in bound.clause


def test_a_busy_pool_with_a_queue_binds_and_one_without_lacks_demand() -> None:
    pools = (pool("only", busy=0.99, load=0.2),)
    assert binding(view(pools=pools, mean_queue_ms=100.0)).kind == "pool"
    idle_batches = binding(view(pools=pools, mean_queue_ms=1.0))
    assert idle_batches.kind == "demand"
    assert "batches stayed small" in idle_batches.clause


def test_without_a_ledger_nothing_is_claimed() -> None:
    assert binding(view(figures=figures(ledger={}))).kind == "unknown"


def test_a_missed_service_level_is_said_first() -> None:
    run = view(tenants=(tenant("chat"), tenant("agent", good=900)))
    assert support(run)[0] == (
        "Tenant agent missed its target: 90.0% of its requests were good, 99.0% were wanted."
    )


def test_short_and_unfinished_runs_are_flagged() -> None:
    few = dataclasses.replace(tenant(), offered=15)
    lines = " ".join(cautions(view(tenants=(few,), unfinished=3, warmup_s=0.0)))
    assert "3 requests had not finished" in lines
    assert "Only 15 requests" in lines
    assert "empty start" in lines


def test_the_answer_says_who_missed_a_target() -> None:
    run = view(tenants=(tenant("chat"), tenant("rag", good=890)))
    assert answer(run).endswith(
        "; no pool was full, but only 89% of rag's requests were good, target 99.0%."
    )
    both = view(tenants=(tenant("chat", good=900), tenant("rag", good=890)))
    assert answer(both).endswith("target 99.0% (1 more tenant missed theirs).")


def late(good: int = 890, **shares: float) -> Tenant:
    return dataclasses.replace(tenant("rag", good=good), deployment="main", late=shares)


@pytest.mark.parametrize(
    ("shares", "clause"),
    [
        ({"itl": 0.1, "ttft": 0.02}, "the ITL limit of rag binds (pool decode 98.0% busy)"),
        ({"itl": 0.01, "ttft": 0.1}, "the TTFT limit of rag binds (pool prefill 96.0% busy)"),
    ],
)
def test_a_missed_limit_binds_at_a_pool_without_time(shares: dict[str, float], clause: str) -> None:
    prefill = dataclasses.replace(pool("prefill", busy=0.96, load=0.2), role="prefill")
    pools = (prefill, pool("decode", busy=0.98, load=0.2))
    bound = binding(view(pools=pools, tenants=(late(**shares),)))
    assert (bound.kind, bound.clause) == ("service", clause)


def test_a_limit_binds_only_where_it_is_missed_and_the_pool_is_busy() -> None:
    busy = (pool("decode", busy=0.98, load=0.2),)
    assert binding(view(pools=busy, tenants=(late(995, itl=0.005),))).kind == "demand"
    assert binding(view(pools=busy, tenants=(late(itl=0.01),))).kind == "latency"
    assert binding(view(tenants=(late(itl=0.1),))).kind == "latency"
    other = dataclasses.replace(late(itl=0.1), deployment="other")
    assert binding(view(pools=busy, tenants=(other,))).kind == "latency"


def test_demand_does_not_bind_where_requests_are_rejected() -> None:
    run = view(attempts=Attempts(1000, too_long=40, shortest_tokens=33_000))
    assert "limits of length bind (4.0% of requests rejected)" in answer(run)
    assert "demand binds" not in " ".join((answer(run), *support(run)))


@pytest.mark.parametrize(
    ("attempts", "kind", "words"),
    [
        (
            Attempts(1000, turned_away=200, too_long=10),
            "admission",
            "admission binds (20% of requests turned away)",
        ),
        (
            Attempts(1000, retried=300, timed_out=150, turned_away=100),
            "timeouts",
            "time-outs bind (15% of attempts given up)",
        ),
        (Attempts(1000, timed_out=9, turned_away=9), "demand", "demand binds"),
    ],
)
def test_what_kept_most_from_being_served_binds(attempts: Attempts, kind: str, words: str) -> None:
    bound = binding(view(attempts=attempts))
    assert bound.kind == kind
    assert words in bound.clause


def test_work_for_clients_that_gave_up_binds_before_the_pool_that_did_it() -> None:
    full = (pool("only", busy=0.99, load=0.95),)
    lost = Attempts(1000, timed_out=300, wasted_ratio=0.25)
    assert binding(view(pools=full, attempts=lost)).clause == (
        "time-outs bind (25% of the work was for clients that gave up)"
    )
    few = Attempts(1000, timed_out=300, wasted_ratio=0.1)
    assert binding(view(pools=full, attempts=few)).kind == "pool"


def test_starting_and_spare_replicas_are_no_outage() -> None:
    ledger = {"decode": 0.7, "starting": 0.2, "spare": 0.1}
    assert binding(view(figures=figures(ledger=ledger))).kind == "demand"
    missed = view(figures=figures(ledger=ledger), tenants=(tenant("rag", good=890),))
    assert binding(missed).clause == "start-ups bind (20% of GPU time)"


def test_what_was_not_served_is_said_with_its_reason() -> None:
    attempts = Attempts(
        1400, retried=400, turned_away=300, timed_out=1, failed=2, wasted_ratio=0.031
    )
    lines = " ".join(cautions(view(attempts=attempts)))
    assert "300 of 1,400 attempts were turned away by admission or routing" in lines
    assert "1 of 1,400 attempts timed out: their clients gave up. 3.1% of the GPU time" in lines
    assert "2 of 1,400 attempts were lost" in lines
    assert "29% of the attempts were retries (400)" in lines
    assert "in the end 2 of 1,000 requests had no answer" in lines
    assert "max_model_len" not in lines


def test_a_load_factor_above_one_is_explained() -> None:
    lines = " ".join(cautions(view(figures=figures(load_factor_ratio=1.3))))
    assert "a reference, not a limit" in lines
    assert not cautions(view(figures=figures(load_factor_ratio=1.0)))


def test_power_within_the_contract_is_not_mentioned() -> None:
    assert not cautions(view(power=Power(peak_kw=148.0, contracted_kw=148.0)))


def test_tables_that_were_edited_are_named() -> None:
    lines = " ".join(cautions(view(changed_tables=("fact_intervals",))))
    assert "Not as the run wrote them: fact_intervals" in lines
