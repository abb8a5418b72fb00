"""Queueing theory, through scenario, router, scheduler and step clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from queueing import (
    MEAN_TOKENS,
    TICK_S,
    Data,
    Floats,
    Visits,
    controlled,
    geometric,
    holds,
    pool,
    queue,
    runs,
)

from factory.records.codes import REJECTED

SERVICE_S = MEAN_TOKENS * TICK_S


def waits(visits: Visits) -> Floats:
    return visits.of("prefill_start_s") - visits.of("arrival_s")


def services(visits: Visits) -> Floats:
    return visits.of("output_tokens") * TICK_S


def single(rate: float, output_tokens: Any, *, seeds: range, requests: int, batch: int) -> Visits:
    made = queue(
        [pool("p", "aggregated", servers=1)], rate, output_tokens, requests=requests, seed=0
    )
    return Visits(runs(made, seeds), batch)


def waiting_time(rate: float, mean_s: float, second_moment: float) -> float:
    """Mean time in queue of M/G/1 (Pollaczek 1930, Khinchine 1932), seconds."""
    return rate * second_moment / (2 * (1 - rate * mean_s))


def erlang_b(servers: int, load: float) -> float:
    """Share of requests lost in M/G/c/c (Erlang 1917), whatever the service; load in erlangs."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """Probability of waiting in M/M/c (Erlang 1917); load in erlangs."""
    blocked = erlang_b(servers, load)
    return blocked / (1 - load / servers * (1 - blocked))


def test_erlang_b_of_one_server() -> None:
    assert erlang_b(1, 0.6) == pytest.approx(0.6 / 1.6)
    assert erlang_b(2, 1.0) == pytest.approx(0.2)


def test_erlang_c_of_one_server_is_its_load() -> None:
    assert erlang_c(1, 0.6) == pytest.approx(0.6)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)


def lindley(visits: Visits) -> Floats:
    """Waits of a single server in order of arrival (Lindley 1952), of each run from its start."""
    found = []
    for run in visits.runs:
        gaps = np.diff(run.column("arrival_s"), prepend=0.0)
        wait, waits_s = 0.0, []
        for gap, tokens in zip(gaps.tolist(), run.column("output_tokens"), strict=True):
            wait = max(0.0, wait - gap)
            waits_s.append(wait)
            wait += tokens * TICK_S
        found.append(visits.cut(np.array(waits_s)))
    return np.concatenate(found)


def check_single(visits: Visits, rate: float, mean_s: float, second_moment: float) -> Floats:
    """Time in the system, and share of requests that find the server busy, of M/G/1.

    Returns:
        The waits, for more to ask of them.
    """
    wait, service = waits(visits), services(visits)
    controls = [(visits.gaps(), 1 / rate)]
    if second_moment > mean_s * mean_s:
        controls += [(service, mean_s), (service**2, second_moment)]
    # Poisson arrivals see time averages: the chance to find the server busy is its utilization.
    busy = (wait > 0).astype(float)
    holds(controlled(busy, *controls, tests=2), rate * mean_s)
    controls.append((busy, rate * mean_s))
    stay = visits.of("completion_s") - visits.of("arrival_s")
    theory_s = mean_s + waiting_time(rate, mean_s, second_moment)
    holds(controlled(stay, *controls, tests=2), theory_s)
    # And request by request, whatever the draws: no step is lost and none is served twice.
    assert float(np.abs(wait - lindley(visits)).max()) < 1e-6
    return wait


def test_m_m_1() -> None:
    rate = 0.4 / SERVICE_S
    visits = single(rate, geometric(MEAN_TOKENS), seeds=range(3), requests=4000, batch=150)
    check_single(visits, rate, SERVICE_S, 2 * SERVICE_S**2)


def test_m_d_1() -> None:
    rate = 0.6 / SERVICE_S
    visits = single(rate, MEAN_TOKENS, seeds=range(3), requests=4000, batch=150)
    check_single(visits, rate, SERVICE_S, SERVICE_S**2)


LOGNORMAL = {"distribution": "lognormal", "mean": MEAN_TOKENS, "stddev": 0.8 * MEAN_TOKENS}


def test_m_g_1() -> None:
    """Lognormal lengths, with a coefficient of variation of 0.8."""
    rate = 0.5 / SERVICE_S
    visits = single(rate, LOGNORMAL, seeds=range(3), requests=6000, batch=150)
    check_single(visits, rate, SERVICE_S, 1.64 * SERVICE_S**2)


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("lengths", "second_moment"),
    [(geometric(MEAN_TOKENS), 2.0), (MEAN_TOKENS, 1.0), (LOGNORMAL, 1.64)],
    ids=["M/M/1", "M/D/1", "M/G/1"],
)
@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
def test_waits_of_a_single_server(lengths: Any, second_moment: float, load: float) -> None:
    """The wait by itself, which takes ten times the requests that the time in the system does."""
    rate = load / SERVICE_S
    requests = int(8_000 / (1 - load) ** 2)
    visits = single(rate, lengths, seeds=range(4), requests=requests, batch=1000)
    wait = check_single(visits, rate, SERVICE_S, second_moment * SERVICE_S**2)
    busy = (wait > 0).astype(float)
    interval = controlled(wait, (visits.gaps(), 1 / rate), (busy, load))
    holds(interval, waiting_time(rate, SERVICE_S, second_moment * SERVICE_S**2))


def test_m_m_c() -> None:
    """One replica with three places in its batch: one queue, three servers."""
    servers, load = 3, 1.5
    made = queue(
        [pool("p", "aggregated", servers=servers)],
        load / SERVICE_S,
        geometric(MEAN_TOKENS),
        requests=12_000,
        seed=0,
    )
    visits = Visits(runs(made, range(4)), 300)
    # Who comes in mid-step is served from the next step on: less than a step is no wait.
    wait = waits(visits)
    waited = (wait > TICK_S).astype(float)
    controls = [(visits.gaps(), SERVICE_S / load), (services(visits), SERVICE_S)]
    probability = erlang_c(servers, load)
    holds(controlled(waited, *controls, tests=2), probability)
    controls.append((waited, probability))
    stay = visits.of("completion_s") - visits.of("arrival_s")
    theory_s = SERVICE_S + probability * SERVICE_S / (servers - load)
    holds(controlled(stay, *controls, tests=2), theory_s)


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param(geometric(MEAN_TOKENS), id="M/M/c/c"),
        pytest.param(LOGNORMAL, id="M/G/c/c", marks=pytest.mark.acceptance),
    ],
)
def test_erlang_b(lengths: Data) -> None:
    """A door with three places and no room to wait: who finds all taken is turned away."""
    servers, load = 3, 1.5
    made = queue(
        [pool("p", "aggregated", servers=servers)],
        load / SERVICE_S,
        lengths,
        requests=14_000,
        seed=0,
    )
    made["deployments"][0]["admission"] = {
        "max_concurrency": servers,
        "over_concurrency": "reject",
    }
    visits = Visits(runs(made, range(3)), 300)
    lost = (visits.of("outcome") == REJECTED).astype(float)
    asked = visits.of("requested_output_tokens") * TICK_S
    controls = [(visits.gaps(), SERVICE_S / load), (asked, SERVICE_S)]
    holds(controlled(lost, *controls, tests=1), erlang_b(servers, load))


def test_a_random_router_splits_a_poisson_stream() -> None:
    """Three replicas behind a router that looks at nothing are three M/M/1 of a third each."""
    replicas, load = 3, 0.4
    rate = replicas * load / SERVICE_S
    made = queue(
        [pool("p", "aggregated", replicas, servers=1)],
        rate,
        geometric(MEAN_TOKENS),
        requests=5000,
        seed=0,
        policy="random",
    )
    visits = Visits(runs(made, range(4)), 300)
    controls = [
        (visits.gaps(), 1 / rate),
        (services(visits), SERVICE_S),
        (services(visits) ** 2, 2 * SERVICE_S**2),
    ]
    stay = visits.of("completion_s") - visits.of("arrival_s")
    holds(controlled(stay, *controls), SERVICE_S / (1 - load))


@pytest.mark.parametrize(
    ("lengths", "second_moment"),
    [
        (geometric(MEAN_TOKENS), 2.0),
        ({"distribution": "uniform", "min": 1, "max": 2 * MEAN_TOKENS - 1}, 4 / 3),
    ],
    ids=["exponential", "uniform"],
)
def test_processor_sharing(lengths: Data, second_moment: float) -> None:
    """Steps as long as their batch is large share the replica equally among its requests.

    Then a request takes 1 / (1 - load) times its own service, whatever lengths are like (Kleinrock
    1967): insensitive, unlike a queue in order of arrival.
    """
    load = 0.4
    rate = load / SERVICE_S
    sharing = {"per_seq_ms": TICK_S * 1e3, "per_prefill_token_ms": TICK_S * 1e3, "base_ms": 0}
    made = queue(
        [pool("p", "aggregated", servers=100_000, **sharing)], rate, lengths, requests=4000, seed=0
    )
    visits = Visits(runs(made, range(4)), 200)
    stay = visits.of("completion_s") - visits.of("arrival_s")
    service = services(visits)
    controls = [
        (visits.gaps(), 1 / rate),
        (service, SERVICE_S),
        (service**2, second_moment * SERVICE_S**2),
    ]
    holds(controlled(stay, *controls, tests=2), SERVICE_S / (1 - load))
    # The same of the short half and the long half: slowdown does not depend on length.
    short = service < np.median(service)
    slowdown = [float(stay[half].sum() / service[half].sum()) for half in (short, ~short)]
    assert slowdown == pytest.approx([1 / (1 - load)] * 2, rel=0.12)


def test_tandem_of_prefill_and_decode() -> None:
    """Prefill then decode, one server each: two M/M/1 in a row (Burke 1956, Jackson 1957)."""
    load_prefill, load_decode = 0.3, 0.4
    rate = load_decode / SERVICE_S
    mean_prefill_s = load_prefill / rate
    per_token_ms = mean_prefill_s / MEAN_TOKENS * 1e3
    made = queue(
        [
            pool("prefill", "prefill", servers=1, per_prefill_token_ms=per_token_ms),
            pool("decode", "decode", servers=1),
        ],
        rate,
        # The first of them comes from prefill: decode makes the rest.
        geometric(MEAN_TOKENS + 1),
        requests=6000,
        seed=0,
        input_tokens=geometric(MEAN_TOKENS),
    )
    visits = Visits(runs(made, range(4)), 200)
    computing = visits.of("input_tokens") * per_token_ms * 1e-3
    decoding = (visits.of("output_tokens") - 1) * TICK_S
    wait = visits.of("first_token_s") - visits.of("prefill_end_s")
    controls = [
        (visits.gaps(), 1 / rate),
        (computing, mean_prefill_s),
        (decoding, SERVICE_S),
        (computing**2, 2 * mean_prefill_s**2),
        (decoding**2, 2 * SERVICE_S**2),
    ]
    wait_prefill_s = load_prefill * mean_prefill_s / (1 - load_prefill)
    wait_decode_s = load_decode * SERVICE_S / (1 - load_decode)
    first, second = waits(visits) + computing, wait + decoding
    holds(controlled(first, *controls, tests=3), wait_prefill_s + mean_prefill_s)
    holds(controlled(second, *controls, tests=3), wait_decode_s + SERVICE_S)
    stay = visits.of("completion_s") - visits.of("arrival_s")
    total_s = wait_prefill_s + mean_prefill_s + wait_decode_s + SERVICE_S
    holds(controlled(stay, *controls, tests=3), total_s)
    assert stay == pytest.approx(first + second, abs=1e-6)
