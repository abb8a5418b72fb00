"""Which prompts stay with decode, at and beside each threshold."""

from __future__ import annotations

import pytest

from factory.scenario.transfer import ConditionalDisaggregation
from factory.serving.conditional import stays_local


@pytest.mark.parametrize(
    ("policy", "uncached", "prompt", "queued", "stays"),
    [
        # Short and mostly cached: 2047 of 4096 is 0.4998.
        ("isl_bounding", 2047, 4096, 0, True),
        ("isl_bounding", 2048, 100_000, 0, False),
        ("isl_bounding", 700, 1000, 0, False),
        ("isl_bounding", 699, 1000, 0, True),
        ("isl_bounding", 100, 100, 99, False),
        ("isl_bounding", 0, 0, 0, True),
        # Nothing but who waits.
        ("prefill_load", 1, 100, 1, False),
        ("prefill_load", 100_000, 100_000, 2, True),
        # Either of the two.
        ("isl_or_load", 699, 1000, 0, True),
        ("isl_or_load", 700, 1000, 1, False),
        ("isl_or_load", 700, 1000, 2, True),
        # Remote only if it is long and fewer than two wait.
        ("prefill_queue", 1000, 1000, 0, True),
        ("prefill_queue", 1001, 1001, 0, False),
        ("prefill_queue", 1001, 1001, 2, True),
    ],
)
def test_the_defaults(policy: str, uncached: int, prompt: int, queued: int, stays: bool) -> None:
    rule = ConditionalDisaggregation(policy=policy)
    assert stays_local(uncached, prompt, queued, rule) is stays


def test_thresholds_can_be_stated() -> None:
    rule = ConditionalDisaggregation(
        policy="isl_or_load", max_uncached_tokens=10, max_uncached_ratio=1.0, max_queued_prefills=5
    )
    assert stays_local(9, 100, 0, rule)
    assert not stays_local(10, 100, 4, rule)
    assert stays_local(10, 100, 5, rule)
    # A ratio of 1 still asks for something cached: it must be below.
    assert not stays_local(9, 9, 0, rule)
