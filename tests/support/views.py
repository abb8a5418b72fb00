"""Run views for tests: one made by hand, and Hypothesis strategies for odd ones."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from factory.records.codes import LEDGER_STATES
from factory.report.model import (
    Figures,
    Limits,
    Offer,
    Pool,
    Quantiles,
    RunView,
    Tasks,
    Tenant,
    Timeline,
)
from factory.report.outcomes import Attempts, Decision, Happening

LEDGER = {"prefill_new": 0.15, "decode": 0.42, "idle": 0.40, "unassigned": 0.03}

maybe = st.none() | st.just(0.0) | st.floats(min_value=1e-9, max_value=1e12)
ratio = st.none() | st.floats(min_value=0, max_value=1)
names = st.text(min_size=1, max_size=40)
latencies = st.builds(Quantiles, maybe, maybe, maybe, maybe)
ledgers = st.dictionaries(
    st.sampled_from(LEDGER_STATES), st.floats(min_value=0, max_value=1), max_size=17
)


def pool(name: str = "decode", *, busy: float = 0.5, load: float = 0.3) -> Pool:
    return Pool(name, "main", "decode", "gb200-nvl72", 2, 16, "tp 8", busy, load, {"decode": 5.0})


def tenant(name: str = "chat", *, good: int = 995) -> Tenant:
    return Tenant(
        name,
        1000,
        998,
        good,
        0.99,
        Limits(ttft_ms=1000.0, itl_ms=50.0),
        Quantiles(120.0, 89.4, 480.0, 990.0),
        Quantiles(14.0, 14.2, 16.0, 22.0),
        Quantiles(4400.0, 4100.0, 9800.0, 21000.0),
    )


def figures(**changes: object) -> Figures:
    values: dict[str, object] = {
        "requests": 1000.0,
        "ttft": Quantiles(120.0, 89.4, 480.0, 990.0),
        "itl": Quantiles(14.0, 14.2, 16.0, 22.0),
        "e2e": Quantiles(4400.0, 4100.0, 9800.0, 21000.0),
        "busy_ratio": 0.57,
        "load_factor_ratio": 0.41,
        "cache_hit_ratio": 0.36,
        "cost_usd": 159.0,
        "usd_per_mtok_output_good": 0.3123,
        "tokens_per_s_per_mw_provisioned": 638e3,
        "tokens_per_s_per_mw_measured": 1.2e6,
        "output_tokens_per_s_per_gpu": 1312.0,
        "output_tokens": 4e6,
        "energy_kwh": 70.0,
        "ledger": LEDGER,
    }
    return Figures(**{**values, **changes})  # type: ignore[arg-type]


def timeline(windows: int = 4) -> Timeline:
    return Timeline(
        start_s=tuple(60.0 * i for i in range(windows)),
        window_s=(60.0,) * windows,
        is_measured=tuple(i > 0 for i in range(windows)),
        ledger={s: tuple(LEDGER.get(s, 0.0) for _ in range(windows)) for s in LEDGER_STATES},
        output_tokens=tuple(600.0 + i for i in range(windows)),
        output_good_tokens=tuple(500.0 + i for i in range(windows)),
        facility_kw=(100.0,) * windows,
        contracted_kw=148.0,
    )


def view(**changes: object) -> RunView:
    values: dict[str, object] = {
        "name": "quickstart",
        "description": "A rack.",
        "run_dir": Path("runs/quickstart-0123456789ab"),
        "figures": figures(),
        "offers": (Offer("gb200-nvl72", 72, 2.21, "published", "a source", 10.0, "dense FP4"),),
        "models": ("deepseek-r1",),
        "pools": (pool("prefill"), pool("decode")),
        "tenants": (tenant(),),
        "timeline": timeline(),
        "measured_s": 3300.0,
        "warmup_s": 300.0,
        "price_book": "a-book-2025-10",
        "price_date": "2025-10",
        "mean_queue_ms": 20.0,
        "facts": (("seed", "1"),),
    }
    return RunView(**{**values, **changes})  # type: ignore[arg-type]


odd_figures = st.builds(
    Figures,
    requests=maybe,
    offered=maybe,
    ttft=latencies,
    itl=latencies,
    e2e=latencies,
    output_tokens_per_s_per_gpu=maybe,
    busy_ratio=ratio,
    load_factor_ratio=maybe,
    cache_hit_ratio=ratio,
    cache=st.dictionaries(
        st.sampled_from(("gpu", "host", "disk", "remote")), st.floats(min_value=0, max_value=0.25)
    ),
    gpus_provisioned=maybe,
    mean_gpu_kw=maybe,
    mean_it_kw=maybe,
    mean_facility_kw=maybe,
    energy_kwh=maybe,
    output_tokens=maybe,
    cost_usd=maybe,
    usd_per_mtok_output_good=maybe,
    tokens_per_s_per_mw_provisioned=maybe,
    tokens_per_s_per_mw_measured=maybe,
    ledger=ledgers,
)
odd_tenants = st.builds(
    Tenant,
    names,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    ratio,
    st.builds(Limits, maybe, maybe, maybe),
    latencies,
    latencies,
    latencies,
)
counts = st.integers(0, 10**9)
odd_tasks = st.builds(
    Tasks, names, counts, counts, counts, latencies, maybe, maybe, maybe, maybe, maybe
)
odd_attempts = st.builds(
    Attempts,
    total=counts,
    retried=counts,
    too_long=counts,
    shortest_tokens=counts,
    turned_away=counts,
    timed_out=counts,
    failed=counts,
    sessions=counts,
    wasted_ratio=st.floats(min_value=0, max_value=1),
)
odd_offers = st.builds(
    Offer, names, st.integers(0, 10**6), maybe, st.sampled_from([None, "assumed"]), names, maybe
)
odd_views = st.builds(
    view,
    name=names,
    description=st.text(max_size=60),
    figures=odd_figures,
    offers=st.lists(odd_offers, max_size=3).map(tuple),
    pools=st.lists(st.builds(pool, names), max_size=3).map(tuple),
    tenants=st.lists(odd_tenants, max_size=3).map(tuple),
    tasks=st.lists(odd_tasks, max_size=2).map(tuple),
    timeline=st.none() | st.integers(1, 300).map(timeline),
    measured_s=maybe,
    mean_queue_ms=maybe,
    unfinished=st.integers(0, 5),
    attempts=odd_attempts,
    happenings=st.lists(
        st.builds(
            Happening,
            names,
            counts,
            st.lists(names, max_size=5).map(tuple),
            st.floats(min_value=0, max_value=1e9),
            st.floats(min_value=0, max_value=1e9),
        ),
        max_size=3,
    ).map(tuple),
    decisions=st.lists(
        st.builds(Decision, st.floats(min_value=0, max_value=1e9), names, counts, names),
        max_size=60,
    ).map(tuple),
)
