"""What the second turn of a session finds in the cache, block by block."""

from __future__ import annotations

from typing import Any

import pytest
from observed import Observed, differences, observe
from scripted import STEP, ask, near, play, replica

BLOCK = 4


def two_turns(answer: int, cache_outputs: bool | None, engine: str) -> Observed:
    """Turns of 10 new tokens, the second after the first and its answer."""
    kv_cache = {} if cache_outputs is None else {"cache_outputs": cache_outputs}
    pool = {
        "name": "p",
        "role": "aggregated",
        "racks": "r",
        "replicas": 1,
        "engine": {"step_model": STEP},
        "kv_cache": kv_cache,
    }
    return observe(
        {
            "name": "turns",
            "facility": {"racks": [{"name": "r", "system": "hgx-h100"}]},
            "deployments": [
                {"name": "d", "model": "llama-3.1-8b", "block_size": BLOCK, "pools": [pool]}
            ],
            "workload": {
                "tenants": [
                    {
                        "name": "t",
                        "load": {"concurrency": 1},
                        "input_tokens": 10,
                        "output_tokens": answer,
                        "session": {"turns": 2, "growth": True},
                    }
                ]
            },
            "run": {"requests": 2, "engine": engine},
        }
    )


@pytest.mark.parametrize(
    ("answer", "cache_outputs", "cached"),
    [
        # 10 + 7 tokens, of which the last was never computed on: 16, four blocks.
        (7, None, 16),
        (7, True, 16),
        # The prompt's whole blocks: two of 10 tokens.
        (7, False, 8),
        # 16 tokens, but the KV of 15: three blocks.
        (6, True, 12),
        (1, True, 8),
        (2, True, 8),
        (3, True, 12),
    ],
)
def test_answers_stay_for_the_next_turn(
    answer: int, cache_outputs: bool | None, cached: int
) -> None:
    """The first turn: 15 ms and 11 for each further token. The second computes what is left."""
    leap = two_turns(answer, cache_outputs, "leap")
    assert not differences(leap, two_turns(answer, cache_outputs, "step"))
    prompt = 10 + answer + 10
    assert leap.column("input_tokens") == [10, prompt]
    assert leap.column("cached") == [0, cached]
    assert leap.column("computed") == [10, prompt - cached]
    began_ms = 15 + 11 * (answer - 1)
    took_ms = 10 + 0.5 * (prompt - cached)
    assert leap.column("first_token_s") == near(15, began_ms + took_ms)


def turns(*, room: int) -> list[dict[str, Any]]:
    """Rows of a first turn, of another request that takes ``room`` blocks, and of a second turn."""
    asks = [
        ask(0, 8, 5, blocks=(1000, 8), context=(1000, 13)),
        ask(0, room, 1, after=0),
        ask(0, 20, 1, blocks=(1000, 20), after=1),
    ]
    seen = play(replica(kv_capacity_tokens=24), asks)
    return [
        {"cached": cached, "computed": computed}
        for cached, computed in zip(seen.column("cached"), seen.column("computed"), strict=True)
    ]


@pytest.mark.parametrize(
    ("room", "cached"),
    # 24 blocks, 12 of them the first turn's: 8 of its prompt and 4 of its answer.
    [(12, 12), (14, 10), (20, 4), (23, 1)],
)
def test_answers_are_evicted_from_their_end(room: int, cached: int) -> None:
    first, _, second = turns(room=room)
    assert first == {"cached": 0, "computed": 8}
    assert second == {"cached": cached, "computed": 20 - cached}
