"""All that a trace says about its demand, from one reading."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from factory.errors import InputError
from factory.studies.trace_clock import Clock, Merge, Part, cut
from factory.studies.trace_prefixes import Beginnings
from factory.studies.trace_reuse import MOST_RUNS, ReuseCurve, ReuseDistances
from factory.studies.trace_sessions import SessionTally
from factory.studies.trace_stats import Arrivals, Floats, TimeCounts, TokenCounts
from factory.workload.blocks import Runs
from factory.workload.traces.records import BY_SESSION, Records

#: Quantiles that are told, by name.
QUANTILES = {
    "p1": 0.01,
    "p5": 0.05,
    "p10": 0.1,
    "p25": 0.25,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
}
_HELD_ROWS = 1 << 16

EXACT = (
    "rows, duration, rate, gap CV, peak to mean",
    "means, totals and quantiles of tokens",
    "sessions, requests per session",
)
APPROXIMATE = ("quantiles of times (within 0.5 %)",)


def inspect(
    batches: Iterable[Records],
    format: str,  # noqa: A002 (the trace section of a scenario has this name)
    part: Part | None = None,
    most_runs: int = MOST_RUNS,
) -> dict[str, Any]:
    """Returns the statistics of a trace as a tree of numbers, ready for JSON.

    Memory is bounded but for 56 bytes a session. Sessions without a common clock (`agentic`,
    `aiperf`) are laid out as the reader does, one starting each so many seconds: what follows from
    that alone (rates, gaps between arrivals) is left out, reuse between sizes of caches depends on
    it.

    Args:
        batches: As `factory.workload.traces.records.read` yields them.
        format: Of the trace.
        part: What to look at; by default all.
        most_runs: As for `ReuseDistances`.

    Raises:
        InputError: No row is left, or a part is asked of a trace without a common clock.
    """
    part = part or Part()
    look = _Look(format, most_runs)
    for batch in cut(batches, part, format):
        look.take(batch)
    return look.told(part)


# Cache sizes at which hits are counted and told, blocks.
_LADDER = [int(m * 10**e) for e in range(14) for m in (1, 1.5, 2, 3, 5, 7) if m * 10**e % 1 == 0]


class _Look:
    """Tallies of a trace."""

    def __init__(self, kind: str, most_runs: int) -> None:
        self._by_session = kind in BY_SESSION
        self._most_runs = most_runs
        self._inputs = TokenCounts()
        self._outputs = TokenCounts()
        self._uncached = {is_first: TokenCounts() for is_first in (True, False)}
        self._held: tuple[list[int], list[int]] = ([], [])  # of later requests, of first ones
        self._arrivals = Arrivals()
        self._clock = Clock()
        self._sessions = SessionTally()
        self._beginnings = Beginnings()
        self._reuse: ReuseDistances | None = None
        self._merge = Merge()

    def take(self, batch: Records) -> None:
        """Takes a batch in."""
        if not len(batch):
            return
        self._inputs.add(batch.inputs)
        self._outputs.add(batch.outputs)
        if not self._by_session:
            times = batch.times_s[~np.isnan(batch.times_s)]
            self._arrivals.add(times)
            self._clock.add(times)
        turns = self._sessions.add(batch)
        if batch.blocks is None or batch.block_size is None:
            return
        if self._reuse is None:
            self._reuse = ReuseDistances(batch.block_size, self._most_runs, _LADDER)
        begins = np.ones(len(batch), np.bool_)
        if turns is not None:
            begins[turns.rows[~turns.is_first]] = False
        for row in np.flatnonzero(begins).tolist():
            self._beginnings.add(batch.blocks[row])
        if self._by_session:
            for prompt in self._merge.add(batch, begins.tolist()):
                self._use(*prompt)
        else:
            for runs, tokens, is_first in zip(
                batch.blocks, batch.inputs.tolist(), begins.tolist(), strict=True
            ):
                self._use(runs, tokens, is_first)

    def _use(self, runs: Runs, tokens: int, is_first: bool) -> None:
        assert self._reuse is not None
        seen = self._reuse.add(runs, tokens)
        if self._reuse.rate == 1:
            held = self._held[is_first]
            held.append(max(0, tokens - seen * self._reuse.block_size))
            if len(held) >= _HELD_ROWS:
                self._count_uncached()

    def _count_uncached(self) -> None:
        for is_first, held in enumerate(self._held):
            self._uncached[bool(is_first)].add(held)
            held.clear()

    def told(self, part: Part) -> dict[str, Any]:
        """All that was found."""
        if not self._inputs.n:
            where = "" if part.is_all else " between --from and --to"
            raise InputError(f"the trace has no row{where}")
        for prompt in self._merge.rest():
            self._use(*prompt)
        tokens_in, tokens_out = self._inputs.total, self._outputs.total
        return {
            "rows": self._inputs.n,
            "time": None if self._by_session else self._times(),
            "input_tokens": lengths(self._inputs),
            "output_tokens": lengths(self._outputs),
            "tokens": {
                "input": tokens_in,
                "output": tokens_out,
                "total": tokens_in + tokens_out,
                "input_per_output": tokens_in / tokens_out if tokens_out else None,
            },
            "sessions": self._told_sessions(),
            "reuse": self._told_reuse(),
            "exact": [*EXACT, *(["reuse"] if self._reuse and self._reuse.rate == 1 else [])],
            "approximate": [
                *APPROXIMATE,
                *(["reuse (sampled by SHARDS)"] if self._reuse and self._reuse.rate < 1 else []),
            ],
        }

    def _times(self) -> dict[str, Any] | None:
        arrivals = self._arrivals
        if not arrivals.n:
            return None
        smooth = self._clock.spread_arrivals() or arrivals
        windows, gaps = arrivals.windows(), smooth.windows()
        return {
            "duration_s": arrivals.span_s,
            "timed_requests": arrivals.n,
            "rate_per_s": _known(arrivals.n / arrivals.span_s if arrivals.span_s else math.nan),
            "clock_tick_s": self._clock.tick_s,
            "gap_mean_s": _known(1 / arrivals.rate if arrivals.n > 1 else math.nan),
            "gap_cv": _known(smooth.gap_cv),
            "gap_cv_as_recorded": _known(arrivals.gap_cv),
            "gap_cv_within_windows": _known(gaps.cv_within),
            "peak_to_mean": windows.peak_to_mean,
            "dispersion": _known(windows.dispersion),
            "window_s": windows.width_s,
            "windows": [
                {
                    "start_s": i * windows.width_s,
                    "requests": n,
                    "rate_per_s": _known(rate),
                    "gap_cv": cv,
                }
                for i, (n, rate, cv) in enumerate(
                    zip(
                        windows.counts.tolist(),
                        windows.rates.tolist(),
                        [_known(cv) for cv in _cvs(windows.width_s, gaps.width_s, gaps.gap_cvs)]
                        + [None] * len(windows.counts),
                        strict=False,
                    )
                )
            ],
        }

    def _told_sessions(self) -> dict[str, Any] | None:
        tally = self._sessions
        if not tally.sessions:
            return None
        durations = TimeCounts()
        ends = tally.links.duration_s
        durations.add(ends[~np.isnan(ends)])
        return {
            "count": tally.sessions,
            "single_requests": tally.singles,
            "requests_per_session": lengths(tally.requests_per_session),
            "first_input_tokens": lengths(tally.first_inputs),
            "growth_tokens": lengths(tally.growth),
            "shrunk_requests": tally.shrunk,
            "duration_s": spans(durations),
            "request_to_request_s": spans(tally.gaps_s),
            "answer_to_request_s": spans(tally.waits_s),
            "answer_to_request_in_task_s": spans(tally.waits_in_task_s),
            "answer_to_next_task_s": spans(tally.waits_between_s),
        }

    def _told_reuse(self) -> dict[str, Any] | None:
        if self._reuse is None or not self._reuse.blocks:
            return None
        self._count_uncached()
        curve = self._reuse.curve()
        size = curve.block_size
        return {
            "block_size": size,
            "blocks": curve.blocks,
            "distinct_blocks": round(curve.distinct_blocks),
            "ideal_hit_block_ratio": curve.ideal_block_ratio,
            "ideal_hit_token_ratio": curve.ideal_token_ratio,
            "sampling_rate": curve.rate,
            "uncached_tokens_first": self._told_uncached(curve.rate, is_first=True),
            "uncached_tokens_later": self._told_uncached(curve.rate, is_first=False),
            "curve": [
                {
                    "capacity_blocks": blocks,
                    "capacity_tokens": blocks * size,
                    "hit_block_ratio": curve.block_ratio(blocks),
                    "hit_token_ratio": curve.token_ratio(blocks),
                }
                for blocks in _sizes(curve)
            ],
            "shared_prefixes": [
                {
                    "blocks": prefix.blocks,
                    "tokens": prefix.blocks * size,
                    "prompts": prefix.prompts,
                    "prompt_ratio": prefix.share,
                }
                for prefix in self._beginnings.most_shared()
            ],
            "by_session": self._sessions.sessions > 0,
            "sessions_interleaved": self._by_session,
        }

    def _told_uncached(self, rate: float, *, is_first: bool) -> dict[str, Any] | None:
        return lengths(self._uncached[is_first]) if rate == 1 else None


def lengths(counts: TokenCounts) -> dict[str, Any] | None:
    """Mean, deviation, quantiles and histogram of token counts; None without values."""
    if not counts.n:
        return None
    low, *found, high = counts.quantiles([0.0, *QUANTILES.values(), 1.0])
    return {
        "n": counts.n,
        "mean": counts.mean,
        "stddev": counts.stddev,
        "min": low,
        **dict(zip(QUANTILES, found, strict=True)),
        "max": high,
        "total": counts.total,
        "histogram": [list(cell) for cell in counts.histogram()],
    }


def spans(times: TimeCounts) -> dict[str, Any] | None:
    """Mean, variation and quantiles of times in seconds; None without times."""
    if not times.n:
        return None
    found = times.quantiles(list(QUANTILES.values()))
    return {
        "n": times.n,
        "mean": times.mean,
        "cv": _known(times.cv),
        **dict(zip(QUANTILES, found, strict=True)),
        "histogram": [list(cell) for cell in times.histogram()],
    }


def _sizes(curve: ReuseCurve) -> list[float]:
    """Cache sizes at which the curve is told: round ones, and the largest that helps."""
    largest = float(curve.capacities[-1])
    return [float(size) for size in _LADDER if size < largest] + [largest]


def _cvs(width: float, of_gaps: float, cvs: Floats) -> list[float]:
    """CVs of the same windows; none where spread arrivals made the windows longer."""
    return cvs.tolist() if width == of_gaps else []


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
