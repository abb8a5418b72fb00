"""The factory's latency feeds back on what sessions ask: closed queueing networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from observed import Observed
from queueing import MEAN_TOKENS, TICK_S, Data, geometric, pool, queue, runs

CLIENTS = 12
THINK_S = 8.0
TURNS = 25
SPAN_S = 15_000.0
SEEDS = range(1, 4)


def sessions(slowness: float) -> Data:
    """Clients that ask, wait for the answer, think and ask again, before a single server."""
    server = pool("p", "aggregated", servers=1, base_ms=TICK_S * 1e3 * slowness)
    made: dict[str, Any] = queue([server], 1.0, geometric(MEAN_TOKENS), requests=1, seed=0)
    tenant = made["workload"]["tenants"][0]
    tenant["load"] = {"concurrency": CLIENTS}
    think = {"distribution": "exponential", "mean": THINK_S}
    tenant["session"] = {"turns": TURNS, "think_time_s": think}
    made["run"] = {
        "duration_s": SPAN_S, "cut_sessions": True, "drain": False, "window_s": SPAN_S,
    }  # fmt: skip
    return made


def throughput(found: list[Observed]) -> float:
    """Requests completed per second."""
    return float(np.mean([len(run.column("arrival_s")) / SPAN_S for run in found]))


def response_s(found: list[Observed]) -> float:
    """Mean time from a request to the end of its answer."""
    spans = [
        np.array(run.column("completion_s")) - np.array(run.column("arrival_s")) for run in found
    ]
    return float(np.nanmean(np.concatenate(spans)))


def mean_value_analysis(service_s: float, think_s: float, clients: int) -> tuple[float, float]:
    """Throughput and response time of a closed queue (Reiser and Lavenberg, J. ACM 27, 1980)."""
    waiting = throughput = response = 0.0
    for n in range(1, clients + 1):
        response = service_s * (1 + waiting)
        throughput = n / (response + think_s)
        waiting = throughput * response
    return throughput, response


@pytest.fixture(scope="module")
def fast() -> list[Observed]:
    return runs(sessions(1.0), SEEDS)


@pytest.fixture(scope="module")
def slow() -> list[Observed]:
    return runs(sessions(2.0), SEEDS)


def thought_s() -> float:
    """Mean time between an answer and the client's next request; none after a session's last."""
    return THINK_S * (TURNS - 1) / TURNS


@pytest.mark.parametrize("which", ["fast", "slow"])
def test_the_interactive_response_time_law(which: str, request: pytest.FixtureRequest) -> None:
    """R = N / X - Z (Denning and Buzen, Computing Surveys 10, 1978)."""
    found = request.getfixturevalue(which)
    law = CLIENTS / (response_s(found) + thought_s())
    assert throughput(found) == pytest.approx(law, rel=0.03)


@pytest.mark.parametrize(("which", "service_s"), [("fast", 1.0), ("slow", 2.0)])
def test_half_the_speed_lowers_the_rate_as_the_closed_queue_says(
    which: str, service_s: float, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(which)
    rate, response = mean_value_analysis(service_s, thought_s(), CLIENTS)
    assert throughput(found) == pytest.approx(rate, rel=0.03)
    assert response_s(found) == pytest.approx(response, rel=0.03)


def test_half_the_speed_lengthens_sessions(fast: list[Observed], slow: list[Observed]) -> None:
    for found, service_s in ((fast, 1.0), (slow, 2.0)):
        _, response = mean_value_analysis(service_s, thought_s(), CLIENTS)
        expected = TURNS * response + (TURNS - 1) * THINK_S
        assert session_s(found) == pytest.approx(expected, rel=0.03)


def session_s(found: list[Observed]) -> float:
    """Mean length of the sessions that ended."""
    spans = []
    for run in found:
        ends: dict[int, float] = {}
        starts: dict[int, float] = {}
        for session, turn, arrival, finish in zip(
            run.column("session"), run.column("turn"), run.column("arrival_s"),
            run.column("completion_s"), strict=True,
        ):  # fmt: skip
            if turn == 0:
                starts[session] = arrival
            if turn == TURNS - 1:
                ends[session] = finish
        # Sessions begun late could not end: those of the first half are all there.
        spans += [ends[s] - t for s, t in starts.items() if t < SPAN_S / 2]
    return float(np.mean(spans))
