"""Figures of single sessions that laws are fitted to: sizes, and how far contexts grow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.studies.trace_stats import Floats, Ints

_FEWEST_PAIRS = 30


class SessionSizes:
    """Requests and first prompt of each session, by its number: 16 bytes each."""

    def __init__(self) -> None:
        self._counts: Ints = np.zeros(1024, np.int64)
        self._first: Ints = np.zeros(1024, np.int64)

    def add(self, sessions: Ints, inputs: Ints) -> None:
        """Counts requests, shape (n,), with their prompt tokens."""
        if not len(sessions):
            return
        self._grow(int(sessions.max()))
        met, at = np.unique(sessions, return_index=True)
        fresh = self._counts[met] == 0
        self._first[met[fresh]] = inputs[at[fresh]]
        self._counts += np.bincount(sessions, minlength=len(self._counts))

    def counts(self) -> Ints:
        """Requests of each session that has any."""
        return self._counts[self._counts > 0]

    def correlation(self) -> float:
        """Rank correlation (Spearman's) of the first prompt with the number of requests."""
        from scipy.stats import spearmanr

        seen = self._counts > 0
        counts, first = self._counts[seen], self._first[seen]
        if len(counts) < _FEWEST_PAIRS or counts.min() == counts.max():
            return 0.0
        if first.min() == first.max():
            return 0.0
        return float(spearmanr(first, counts).statistic)

    def _grow(self, largest: int) -> None:
        n = len(self._counts)
        if largest >= n:
            more = np.zeros(max(largest + 1, 2 * n) - n, np.int64)
            self._counts = np.concatenate((self._counts, more))
            self._first = np.concatenate((self._first, more))


class LongestContexts:
    """The context at which each session was first compacted, or the longest that it had."""

    def __init__(self) -> None:
        self._longest: Ints = np.zeros(0, np.int64)
        self._is_compacted: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def add(self, sessions: Ints, contexts: Ints, compacted: NDArray[np.bool_]) -> None:
        """Takes requests in, shape (n,): the context before each, and whether it was left there."""
        if not len(sessions):
            return
        more = int(sessions.max()) + 1 - len(self._longest)
        if more > 0:
            more = max(more, len(self._longest))
            self._longest = np.concatenate((self._longest, np.zeros(more, np.int64)))
            self._is_compacted = np.concatenate((self._is_compacted, np.zeros(more, np.bool_)))
        # What comes after the first compaction of a session says nothing about the first.
        order = np.argsort(sessions, kind="stable")
        session, context, left = sessions[order], contexts[order], compacted[order]
        starts = np.flatnonzero(np.diff(session, prepend=-1))
        so_far: Ints = np.cumsum(left) - left
        base: Ints = np.repeat(so_far[starts], np.diff(np.append(starts, len(session))))
        counts = (so_far == base) & ~self._is_compacted[session]
        np.maximum.at(self._longest, session[counts], context[counts])
        self._is_compacted[session[left]] = True

    def survival(self) -> tuple[Ints, Floats]:
        """Contexts at which sessions were compacted, and the share that goes on beyond each.

        The estimate of Kaplan and Meier (1958): sessions that end before count until they do.
        """
        seen = self._longest > 0
        order = np.lexsort((~self._is_compacted[seen], self._longest[seen]))
        context, event = self._longest[seen][order], self._is_compacted[seen][order]
        at_risk = len(context) - np.arange(len(context))
        share: Floats = np.cumprod(1 - event / at_risk, dtype=np.float64)
        return context[event], share[event]
