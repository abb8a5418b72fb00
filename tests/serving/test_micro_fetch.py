"""A fetch from host memory beside decoding, worked out: 10 ms on the way for each token."""

from __future__ import annotations

import pytest
from scripted import ask, factory, near, play, spent

from factory.records.codes import STATE_DECODE, STATE_FETCH_CACHED


@pytest.mark.parametrize(
    ("onboarding", "policy", "done_ms"),
    [
        ("overlapped", "vllm", (215, 204)),
        ("overlapped", "sglang", (225, 203)),
        ("blocking", "vllm", (285, 197)),
        ("blocking", "sglang", (295, 196)),
    ],
)
def test_a_fetch_holds_up_its_request_or_the_whole_rank(
    onboarding: str, policy: str, done_ms: tuple[float, ...]
) -> None:
    """40 blocks. P (8 tokens) is there at 14 and in host memory; F (39), at 30, leaves one of it.

    A: 4 tokens at 80, 12 ms; it decodes at 92. B shares P's 8 tokens and has 2 of its own; it comes
    at 95 and is let in at 103: 1 is there, 7 come from the host: 70 ms, until 173.

    overlapped: A decodes all the while, and at 169 again: B runs from 180, 2 tokens. vllm: beside
    A's 9th decode step, 10 + 1 + 1 = 12; both, 12: B is done at 204. A: one of 11, 215. sglang:
    B alone, 11; both, 12: 203, and two of 11: 225.
    blocking: A stops at 103, with two tokens. vllm: 173 + 12 + 12 = 197 for B, and eight of 11 for
    A: 285. sglang: 173 + 11 + 12 = 196, and nine: 295.
    """
    host = {"kind": "host", "bandwidth_gb_s": 0.0065536, "latency_ms": 0, "capacity_tokens": 100}
    pool = {
        "engine": {"kv_capacity_tokens": 40, "scheduler": {"policy": policy}},
        "kv_cache": {"tiers": [host], "onboarding": onboarding},
    }
    asks = [
        ask(0, 8, 1, blocks=(1000, 8)),
        ask(30, 39, 1),
        ask(80, 4, 12),
        ask(95, 10, 2, blocks=(1000, 10)),
    ]
    seen = play(factory(pool), asks)
    assert seen.column("cached") == [0, 0, 0, 8]
    assert seen.column("cached_host") == [0, 0, 0, 7]
    assert seen.column("prefill_start_s") == near(0, 30, 80, 103)
    assert seen.column("completion_s")[2:] == near(*done_ms)
    waited = 70 if onboarding == "blocking" else 0
    assert spent(seen, STATE_FETCH_CACHED) == near(waited)
    # A's steps and B's one: ten of A alone and one of both.
    assert spent(seen, STATE_DECODE) == near(10 * 11 + 12)
