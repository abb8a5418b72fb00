"""Sizes of sessions, and the contexts at which they are compacted, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from factory.studies.trace_contexts import LongestContexts, SessionSizes


def test_survival_by_hand() -> None:
    # Sessions 0 to 3: compacted at 10, ends at 20, compacted at 30 (later contexts say nothing of
    # the first time), ends at 40. Kaplan and Meier: 3/4 go on beyond 10; of the two left at 30 one.
    found = LongestContexts()
    found.add(
        np.array([0, 1, 2, 2, 3]),
        np.array([10, 20, 15, 30, 40]),
        np.array([True, False, False, True, False]),
    )
    found.add(np.array([2, 0]), np.array([99, 50]), np.array([True, False]))
    contexts, beyond = found.survival()
    assert contexts.tolist() == [10, 30]
    assert beyond.tolist() == pytest.approx([3 / 4, 3 / 8])


def test_what_follows_a_compaction_in_one_batch_does_not_count() -> None:
    found = LongestContexts()
    found.add(np.array([0, 0, 0]), np.array([5, 8, 90]), np.array([False, True, True]))
    contexts, beyond = found.survival()
    assert (contexts.tolist(), beyond.tolist()) == ([8], [0.0])


def test_sizes_and_first_prompts_go_together() -> None:
    sizes = SessionSizes()
    for session in range(2000):
        # The longer a session the smaller its first prompt.
        count = 1 + session % 7
        sizes.add(np.full(count, session), np.array([100 - 10 * count] + [5000] * (count - 1)))
    assert len(sizes.counts()) == 2000
    assert sizes.counts().max() == 7
    assert sizes.correlation() == pytest.approx(-1)


def test_few_sessions_have_no_correlation() -> None:
    sizes = SessionSizes()
    sizes.add(np.array([0, 1, 1]), np.array([10, 20, 30]))
    assert sizes.correlation() == 0
