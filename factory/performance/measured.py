"""Step times from a measured table, behind the same protocol as the roofline.

**Decode.** Seconds over (batch, mean context): linear in the batch between measured batches and
linear in the context between measured contexts, so a leap is exact and ends where the mean context
passes a measured one. Below the first batch or context the first time holds.

**Prefill.** Seconds over (new tokens of the step, KV tokens that each attends to on average). A
row of ``batch`` prompts of ``context`` new tokens behind ``cached`` ones is the point (batch x
context, cached + (context + 1) / 2). Along the second axis a row goes on beyond its own points by
the seconds per query-key pair that all prefill rows together show (non-negative least squares of
a fixed time, a time per token and a time per pair), which is how a table without cached prompts
answers for chunked and prefix-cached ones.

**Mixed steps.** The decoding sequences' tokens ride along in the matrix products of the prompts,
and their attention comes on top:
``max(prefill(new + decoding), prefill(new), decode at the first context) + what decode adds beyond
that``. So a fixed time that both phases' tables hold counts once.

**Ranks** in lock-step: the slowest sets the step.

**Clock.** Tables are taken at full clock. Below it, a time is stretched as the roofline stretches
the same batch, or the same number of prompt tokens. FLOPs and bytes are the roofline's: power sees
the architecture's work over the measured time.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from factory.performance.lines import upper_line, upper_of
from factory.performance.segment import Segment
from factory.performance.surface import StepSurface
from factory.performance.work import RankWork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factory.performance.step_model import StepModel
    from factory.performance.step_table import Row, StepTable


class _Part:
    """What one rank adds to a step: seconds in step 0, and added per step."""

    __slots__ = ("base", "fixed", "pair", "prefill", "prefill_slope", "slope", "steps", "token")

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.base = self.slope = self.prefill = self.prefill_slope = 0.0
        self.fixed = self.token = self.pair = 0.0


class _DecodeLines:
    """Decode of one batch: seconds are ``fixed + token * context`` in each cell of contexts."""

    __slots__ = ("first", "fixed", "token")

    def __init__(self, surface: StepSurface, batch: int, stretch: float, more_s: float) -> None:
        seconds = [value * stretch + more_s for value in surface.mixed(batch)]
        knots = surface.knots
        self.first = seconds[0]
        slopes = [0.0]
        slopes += [
            (seconds[i] - seconds[i - 1]) / (knots[i] - knots[i - 1]) for i in range(1, len(knots))
        ]
        slopes.append(surface.last_slope(batch) * stretch)
        at = [0, *range(len(knots))]
        self.fixed = [seconds[i] - s * knots[i] for i, s in zip(at, slopes, strict=True)]
        self.token = [s / batch for s in slopes]


class MeasuredStepModel:
    """Step times of one replica from a table (see the module).

    Args:
        table: Measured steps; both phases must have rows.
        shape: What the same steps compute and move, and how they stretch below full clock.
        ranks: Attention ranks of the replica.
        overhead_s: Host time that the table's steps do not hold, seconds.
    """

    def __init__(
        self, table: StepTable, shape: StepModel, ranks: int = 1, overhead_s: float = 0.0
    ) -> None:
        self.shape = shape
        self._overhead_s = overhead_s
        self._ranks = ranks
        self.decode = decode_surface(table.decode)
        self.pair_s = fitted_pair_s(table.prefill)
        self.prefill = prefill_surface(table.prefill, self.pair_s)
        self._lines: dict[tuple[int, float], _DecodeLines] = {}
        self._stretches: dict[tuple[int, float], float] = {}

    @property
    def peak_flops(self) -> float:
        """FLOP/s of one GPU at full clock in the format of the weights."""
        return self.shape.peak_flops

    @property
    def peak_hbm(self) -> float:
        """HBM bytes/s of one GPU."""
        return self.shape.peak_hbm

    @property
    def host_s(self) -> float:
        """What of a measured time was the host's is not known: none."""
        return 0.0

    def plan(self, ranks: Sequence[RankWork], clock: float, max_steps: int) -> Segment:
        """The line of the next steps (see ``StepModel.plan``)."""
        work = self.shape.plan(ranks, clock, max_steps)
        if len(ranks) == 1 and clock == 1.0:
            return self._alone(ranks[0], work)
        steps = work.steps
        bases: list[float] = []
        slopes: list[float] = []
        added = context = pairs = attention = fixed = token = growth = 0.0
        prefill = prefill_slope = 0.0
        for rank in ranks:
            part = self._rank(rank, clock, steps)
            steps = part.steps
            bases.append(part.base)
            slopes.append(part.slope)
            if rank.decode:
                fixed += part.fixed
                token += part.token * rank.context
                growth += part.token * rank.context_slope
                added += rank.context_slope
                context += rank.context
            if rank.prefill_tokens:
                attention += part.pair * rank.prefill_pairs
                pairs += rank.prefill_pairs
                prefill += part.prefill
                prefill_slope += part.prefill_slope
        base, slope, steps = upper_of(bases, slopes, steps)
        full_base, full_slope = base, slope
        if clock != 1.0:
            full = [self._rank(rank, 1.0, steps) for rank in ranks]
            full_base, full_slope, steps = upper_of(
                [part.base for part in full],
                [part.slope for part in full],
                min([part.steps for part in full]),
            )
        share = 1.0 / len(ranks)
        gamma = 0.0
        if added:
            # One rate for all ranks: where they differ, the difference joins the fixed part.
            gamma = growth * share / added
            fixed += token - gamma * context / share
        prefill *= share
        prefill_slope *= share
        fixed *= share
        return Segment(
            steps,
            base,
            slope,
            full_base,
            full_slope,
            prefill,
            prefill_slope,
            fixed,
            gamma,
            attention * share / pairs if pairs > 0.0 else 0.0,
            max(base - prefill - fixed - gamma * context, 0.0),
            slope - prefill_slope - gamma * added,
            work.flops,
            work.hbm_bytes,
            work.net_bytes,
            work.flops_slope,
            work.hbm_slope,
        )

    def _alone(self, rank: RankWork, work: Segment) -> Segment:
        """The only rank, at full clock."""
        part = self._rank(rank, 1.0, work.steps)
        base, slope = part.base, part.slope
        token = part.token
        wait_slope = slope - part.prefill_slope - token * rank.context_slope
        return Segment(
            part.steps,
            base,
            slope,
            base,
            slope,
            part.prefill,
            part.prefill_slope,
            part.fixed,
            token,
            part.pair,
            0.0,
            wait_slope if wait_slope > 0.0 else 0.0,
            work.flops,
            work.hbm_bytes,
            work.net_bytes,
            work.flops_slope,
            work.hbm_slope,
        )

    def _rank(self, work: RankWork, clock: float, steps: int) -> _Part:
        """One rank by itself."""
        part = _Part(steps)
        n = work.decode
        first = 0.0
        if n:
            lines = self._lines.get((n, clock)) or self._decode_lines(n, clock)
            first = lines.first
            self._add_decode(part, work, lines)
        if work.prefill_tokens:
            seconds, slope = self._prefill_line(part, work, work.prefill_tokens, clock)
            if n:
                more, more_slope = self._prefill_line(part, work, work.prefill_tokens + n, clock)
                seconds, slope, part.steps = upper_line(
                    seconds, slope, more, more_slope, part.steps
                )
                seconds, slope, part.steps = upper_line(seconds, slope, first, 0.0, part.steps)
            part.prefill = seconds - first
            part.prefill_slope = slope
            part.base += part.prefill
            part.slope += slope
            if work.prefill_pairs:
                part.pair = min(part.pair, part.prefill / work.prefill_pairs)
        return part

    def _add_decode(self, part: _Part, work: RankWork, lines: _DecodeLines) -> None:
        n, context = work.decode, work.context
        edges = self.decode.knots
        cell = bisect_right(edges, context / n)
        fixed, token = lines.fixed[cell], lines.token[cell]
        growth = work.context_slope
        if cell < len(edges) and growth > 0.0:
            part.steps = min(part.steps, int((n * edges[cell] - context) // growth) + 1)
        part.base = fixed + token * context
        part.slope = token * growth
        if fixed < 0.0:  # steeper than in proportion: all of it is charged by context
            fixed, token = 0.0, part.base / context
        part.fixed, part.token = fixed, token

    def _prefill_line(
        self, part: _Part, work: RankWork, tokens: int, clock: float
    ) -> tuple[float, float]:
        """Seconds of a step of so many tokens with the prompts' attention, and added per step.

        Cuts the part's steps where the line ends, and notes the seconds per pair on it.
        """
        surface = self.prefill
        pairs, pairs_slope = work.prefill_pairs, work.prefill_pairs_slope
        low, high, weight = surface.row_weights(tokens)
        first, second = surface.values[low], surface.values[high]
        knots = surface.knots
        mean = pairs / tokens
        cell = bisect_right(knots, mean)
        at = cell - 1 if cell else 0
        value = first[at] + weight * (second[at] - first[at])
        rate = 0.0
        if cell == len(knots):
            rate = self.pair_s * max(tokens, surface.rows[0])
        elif cell:
            rise = first[cell] + weight * (second[cell] - first[cell]) - value
            if rise > 0.0:
                rate = rise / (knots[cell] - knots[at])
        if cell and cell < len(knots) and pairs_slope > 0.0:
            ends = int((knots[cell] * tokens - pairs) / pairs_slope) + 1
            part.steps = min(part.steps, ends)
        scale = tokens / surface.rows[0]
        if scale < 1.0:  # less than the smallest row: its time, with the tokens' own attention
            start = first[0]
            value = start + (value - start) * scale
            rate *= scale
        elif low == high:
            value *= scale
            rate *= scale if cell < len(knots) else 1.0
        stretch = 1.0 if clock == 1.0 else self._stretch(-tokens, clock)
        seconds = value + (rate * (mean - knots[at]) if cell else 0.0)
        part.pair = rate * stretch / tokens
        return seconds * stretch + self._overhead_s, part.pair * pairs_slope

    def _decode_lines(self, n: int, clock: float) -> _DecodeLines:
        stretch = 1.0 if clock == 1.0 else self._stretch(n, clock)
        lines = _DecodeLines(self.decode, n, stretch, self._overhead_s)
        self._lines[n, clock] = lines
        return lines

    def _stretch(self, key: int, clock: float) -> float:
        """Seconds below full clock over those at it: ``key`` sequences, or ``-key`` new tokens."""
        known = self._stretches.get((key, clock))
        if known is None:
            if key > 0:
                context = int(self.decode.knots[-1]) * key // 2
                work = RankWork(decode=key, context=max(context, key), logit_rows=key)
            else:
                tokens = -key
                pairs = tokens * (tokens + 1) / 2
                work = RankWork(0, 0, tokens, pairs, 0.0, tokens, 0, 1)
            plan = self.shape.plan([work] * self._ranks, clock, 1)
            known = max(plan.base_s / plan.full_base_s, 1.0) if plan.full_base_s else 1.0
            self._stretches[key, clock] = known
        return known


def decode_surface(rows: Sequence[Row]) -> StepSurface:
    """Seconds over batch and context."""
    return StepSurface([(row.batch, row.context, row) for row in rows])


def prefill_surface(rows: Sequence[Row], pair_s: float) -> StepSurface:
    """Seconds over new tokens and KV tokens that each attends to."""
    points = [(tokens(row), attended(row), row) for row in rows]
    return StepSurface(points, lambda new: pair_s * new, first_knot=1.0)


def tokens(row: Row) -> float:
    """New tokens of a prefill row's step."""
    return float(row.batch * row.context)


def attended(row: Row) -> float:
    """KV tokens that each new token of a prefill row attends to, on average."""
    return row.cached + (row.context + 1) / 2


def fitted_pair_s(rows: Sequence[Row]) -> float:
    """Seconds per query-key pair that prefill rows show.

    Non-negative least squares of a fixed time, a time per token and a time per pair, relative to
    each time.
    """
    import numpy as np
    from scipy.optimize import nnls

    new = np.array([tokens(row) for row in rows])
    pairs = new * np.array([attended(row) for row in rows])
    seconds = np.array([row.milliseconds * 1e-3 for row in rows])
    columns = np.stack([np.ones_like(new), new, pairs], axis=1)
    largest = columns.max(axis=0)
    fit, _ = nnls(columns / largest / seconds[:, None], np.ones_like(seconds))
    return float(fit[2] / largest[2])
