"""Orders of the queue before a batch of one, worked out: 10 ms a step and 0.5 ms per token."""

from __future__ import annotations

from typing import Any

import pytest
from observed import Observed
from scripted import ask, near, play, replica

from factory.workload import Request


def one_by_one(
    asks: list[Request], tenants: tuple[dict[str, Any], ...] = ({},), **order: Any
) -> Observed:
    """One sequence at a time; requests of one token to answer end with their prompt."""
    return play(replica(tenants=tenants, max_num_seqs=1, scheduler=order), asks)


FOUR = [(0, 20), (1, 30), (2, 10), (3, 4)]
"""When they come, ms, and their prompts: A runs until 20 ms; B takes 25, C 15 and D 12."""


@pytest.mark.parametrize(
    ("order", "starts"),
    [
        ({}, (0, 20, 45, 60)),
        # 4, 10, 30 tokens: D, C, B.
        ({"order": "shortest_first"}, (0, 20 + 12 + 15, 20 + 12, 20)),
        # A wait of 1 ms is worth 10 tokens: 30 + 10, 10 + 20, 4 + 30 by arrival: C, D, B.
        (
            {"order": "shortest_first", "ageing_tokens_per_s": 10_000.0},
            (0, 20 + 15 + 12, 20, 20 + 15),
        ),
    ],
    ids=["fcfs", "shortest", "ageing"],
)
def test_shortest_first(order: dict[str, Any], starts: tuple[float, ...]) -> None:
    seen = one_by_one([ask(*each, 1) for each in FOUR], **order)
    assert seen.column("prefill_start_s") == near(*starts)


@pytest.mark.parametrize(
    ("order", "starts"),
    [
        # C and D of priority 1, then B.
        ({"order": "priority"}, (0, 50, 20, 35)),
        # 10 ms are worth a priority: B counts from 1, C from 6 - 10 = -4, D from 12 - 10 = 2.
        ({"order": "priority", "ageing_s": 0.01}, (0, 35, 20, 50)),
    ],
    ids=["priority", "ageing"],
)
def test_priority(order: dict[str, Any], starts: tuple[float, ...]) -> None:
    """A runs until 20 ms; the others take 15 each."""
    asks = [ask(0, 20, 1), ask(1, 10, 1), ask(6, 10, 1, tenant=1), ask(12, 10, 1, tenant=1)]
    seen = one_by_one(asks, ({}, {"priority": 1}), **order)
    assert seen.column("prefill_start_s") == near(*starts)


def test_fair_between_two_tenants() -> None:
    """Each request counts 10 for its prompt when it starts, 2 for its token when it ends.

    ====  ==========  ==========  =====================================
    ms    t0 has had  t1 has had  starts
    ====  ==========  ==========  =====================================
    0     0           -           A0: t0 10
    1     10          10          t1 comes, and starts level with t0
    15    12          10          B0: t1 20
    30    12          22          A1: t0 22
    45    24          22          B1: t1 32
    60    24          34          A2, and at 75 A3
    ====  ==========  ==========  =====================================
    """
    asks = [ask(0, 10, 1) for _ in range(4)] + [ask(1, 10, 1, tenant=1) for _ in range(2)]
    seen = one_by_one(asks, ({}, {}), order="fair")
    assert seen.column("prefill_start_s") == near(0, 30, 60, 75, 15, 45)


def test_fair_by_weight() -> None:
    """A weight of 2 halves what t1 is counted: 5 for a prompt, 1 for a token.

    ====  ==========  ==========  ===========
    ms    t0 has had  t1 has had  starts
    ====  ==========  ==========  ===========
    0     0           -           A0: t0 10
    15    12          10          B0: t1 15
    30    12          16          A1: t0 22
    45    24          16          B1: t1 21
    60    24          22          B2: t1 27
    75    24          28          A2
    90    36          28          A3, the last
    ====  ==========  ==========  ===========
    """
    asks = [ask(0, 10, 1) for _ in range(4)] + [ask(1, 10, 1, tenant=1) for _ in range(3)]
    scenario = replica(tenants=({}, {}), max_num_seqs=1, scheduler={"order": "fair"})
    scenario["deployments"][0]["admission"] = {"tenants": {"t1": {"weight": 2.0}}}
    seen = play(scenario, asks)
    assert seen.column("prefill_start_s") == near(0, 30, 75, 90, 15, 45, 60)


def test_longest_prefix_first() -> None:
    """C shares A's ten blocks, which are there when A's prompt is done, at 15; B shares none.

    C: 2 tokens are left, 11 ms; then B, 15.
    """
    asks = [
        ask(0, 10, 1, blocks=(1000, 10)),
        ask(1, 10, 1, blocks=(2000, 10)),
        ask(2, 12, 1, blocks=(1000, 12)),
    ]
    seen = one_by_one(asks, order="lpm")
    assert seen.column("prefill_start_s") == near(0, 26, 15)
    assert seen.column("cached") == [0, 0, 10]
    assert one_by_one(asks).column("prefill_start_s") == near(0, 15, 30)
