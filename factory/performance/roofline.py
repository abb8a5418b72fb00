"""Step times from a roofline: compute, HBM, links and fixed times of each operator."""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING

from factory.performance.attention import (
    context_edges,
    decode_lines,
    prefill_rates,
)
from factory.performance.forward import ForwardPass, storage
from factory.performance.hardware import DEFAULT_ENGINE, Efficiency, efficiency, machine
from factory.performance.lines import upper_line, upper_of
from factory.performance.operators import CostTable, OperatorTally, Row, Vector
from factory.performance.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factory.performance.architecture import Format
    from factory.performance.attention import DecodeLine, PrefillRates
    from factory.performance.layout import Layout
    from factory.performance.work import RankWork
    from factory.scenario.specs import GpuSpec, ModelSpec, SystemSpec


class _ClockTables:
    """All that a plan needs at one clock."""

    __slots__ = (
        "body",
        "body_rows",
        "by_count",
        "common",
        "common_rows",
        "decode",
        "decode_rows",
        "draft_experts",
        "experts",
        "head",
        "head_rows",
        "is_full",
        "lines",
        "prefill",
        "prefill_full",
    )

    def __init__(self, forward: ForwardPass, clock: float, is_simple: bool) -> None:
        self.body = CostTable(forward.body, clock)
        self.head = CostTable(forward.head, clock)
        self.experts = CostTable(forward.experts, clock)
        self.draft_experts = CostTable(forward.draft_experts, clock)
        self.common = CostTable(forward.common, clock)
        # The lists grow in place: reading them directly spares a call per lookup.
        self.body_rows = self.body.rows
        self.common_rows = self.common.rows
        self.head_rows = self.head.rows
        self.is_full = clock == 1.0
        self.by_count = tuple(
            decode_lines(forward, clock, count) for count in range(1, forward.layout.pp + 1)
        )
        self.lines = self.by_count[-1]
        line = self.lines[0] if is_simple else None
        self.decode = CostTable(partial(_decode_step, forward, line), clock)
        self.decode_rows = self.decode.rows
        self.prefill: PrefillRates = prefill_rates(forward, clock)
        self.prefill_full = self.prefill if self.is_full else prefill_rates(forward, 1.0)


class RooflineStepModel:
    """Step times of one replica from the architecture of its model and the peaks of its GPUs.

    Args:
        model: The architecture.
        gpu: The GPU.
        system: The system it stands in.
        layout: Parallel layout of the replica.
        weights: Format of weights and products.
        kv_cache: Format of the KV cache.
        step_overhead_s: Host time of every step, seconds; by default the engine's.
        reached: What kernels reach and the engine adds; by default the catalogue's for the GPU's
            generation under the engine ``generic``.
        draft_tokens: Tokens that speculative decoding drafts per sequence and step; 0 if none.
    """

    def __init__(
        self,
        model: ModelSpec,
        gpu: GpuSpec,
        system: SystemSpec,
        layout: Layout,
        weights: Format,
        kv_cache: Format,
        step_overhead_s: float | None = None,
        reached: Efficiency | None = None,
        *,
        draft_tokens: int = 0,
    ) -> None:
        reached = reached or efficiency(gpu.generation, DEFAULT_ENGINE)
        if step_overhead_s is None:
            step_overhead_s = reached.engine.step_overhead_ms * 1e-3
        self.forward = ForwardPass(
            model,
            machine(gpu, system),
            reached,
            layout,
            weights,
            kv_cache,
            step_overhead_s,
            draft_tokens,
        )
        self._drafts = draft_tokens
        self._prompt_s = reached.engine.prompt_overhead_ms * 1e-3
        self._edges = context_edges(self.forward)
        self._simple = not self._edges and layout.pp == 1
        self._alone = layout.dp == 1
        self._shared_experts = layout.dp > 1 and bool(model.experts)
        self._tables: dict[float, _ClockTables] = {}

    @property
    def peak_flops(self) -> float:
        """FLOP/s of one GPU at full clock in the format of the weights."""
        return self.forward.machine.peak(storage(self.forward.model, self.forward.weights))

    @property
    def peak_hbm(self) -> float:
        """HBM bytes/s of one GPU."""
        return self.forward.machine.hbm

    @property
    def host_s(self) -> float:
        """Seconds of every step in which GPUs wait for their host."""
        return self.forward.step_overhead_s

    def plan(self, ranks: Sequence[RankWork], clock: float, max_steps: int) -> Segment:
        """The line of the next steps (see ``StepModel.plan``)."""
        tables = self._tables.get(clock)
        if tables is None:
            tables = self._tables[clock] = _ClockTables(self.forward, clock, self._simple)
        if not self._alone:
            return self._plan_decoding(ranks, tables, max_steps) or self._plan_ranks(
                ranks, tables, max_steps
            )
        work = ranks[0]
        n = work.decode
        if work.prefill_tokens or work.logit_rows != n or not self._simple:
            return self._plan_rank(work, tables, max_steps)
        rows = tables.decode_rows
        fixed_s, full_s, flops, hbm, net = rows[n] if n < len(rows) else tables.decode(n)
        line = tables.lines[0]
        token_s = line.token_s
        full_token_s = line.full_token_s
        token_flops = line.token_flops
        token_hbm = line.token_hbm
        context = work.context
        growth = work.context_slope
        return Segment(
            max_steps,
            fixed_s + token_s * context,
            token_s * growth,
            full_s + full_token_s * context,
            full_token_s * growth,
            0.0,
            0.0,
            fixed_s,
            token_s,
            0.0,
            0.0,
            0.0,
            flops + token_flops * context,
            hbm + token_hbm * context,
            net,
            token_flops * growth,
            token_hbm * growth,
        )

    def _decode_line(
        self, work: RankWork, tables: _ClockTables, steps: int
    ) -> tuple[DecodeLine, int]:
        """The line of decode attention at a state, and the steps for which it holds."""
        n = work.decode
        lines = tables.lines if n >= len(tables.by_count) else tables.by_count[n - 1]
        edges = self._edges
        if not edges:
            return lines[0], steps
        cell = bisect_right(edges, work.context / n)
        if cell < len(edges):
            steps = min(steps, int((n * edges[cell] - work.context) // work.context_slope) + 1)
        return lines[cell], steps

    def _plan_rank(self, work: RankWork, tables: _ClockTables, steps: int) -> Segment:
        """A rank alone, in any state."""
        n = work.decode
        context = work.context
        growth = work.context_slope
        fixed_s = full_s = flops = hbm = net = 0.0
        token_s = full_token_s = token_flops = token_hbm = 0.0
        if n:
            rows = tables.decode_rows
            fixed_s, full_s, flops, hbm, net = rows[n] if n < len(rows) else tables.decode(n)
            line, steps = self._decode_line(work, tables, steps)
            token_s, full_token_s = line.token_s, line.full_token_s
            token_flops, token_hbm = line.token_flops, line.token_hbm
            if not self._simple:
                fixed_s += n * line.fixed_s
                full_s += n * line.full_fixed_s
                flops += n * line.fixed_flops
                hbm += n * line.fixed_hbm
        prefill_tokens = work.prefill_tokens
        logit_rows = work.logit_rows
        prefill_s = prefill_slope_s = prefill_full_s = prefill_full_slope_s = pair_s = 0.0
        flops_slope, hbm_slope = token_flops * growth, token_hbm * growth
        if prefill_tokens or logit_rows != n:
            drafted = n * self._drafts
            m = n + drafted + prefill_tokens
            rows = tables.body_rows
            body = rows[m] if m < len(rows) else tables.body(m)
            rows = tables.head_rows
            m = logit_rows + drafted
            head = rows[m] if m < len(rows) else tables.head(m)
            rows = tables.common_rows
            without = rows[n] if n < len(rows) else tables.common(n)
            hosted = (logit_rows - n) * self._prompt_s
            prefill_s = body[0] + head[0] - without[0] + hosted
            prefill_full_s = body[1] + head[1] - without[1] + hosted
            flops += body[2] + head[2] - without[2]
            hbm += body[3] + head[3] - without[3]
            net += body[4] + head[4] - without[4]
        if prefill_tokens:
            rates = tables.prefill
            attention_s, prefill_slope_s, steps = _prefill_line(work, rates, steps)
            full_attention_s, prefill_full_slope_s = attention_s, prefill_slope_s
            if tables.prefill_full is not rates:
                full_attention_s, prefill_full_slope_s, steps = _prefill_line(
                    work, tables.prefill_full, steps
                )
            pairs, pairs_slope = work.prefill_pairs, work.prefill_pairs_slope
            read, read_slope = work.prefill_context, work.prefill_context_slope
            if pairs > 0.0:
                pair_s = (attention_s - rates.fixed_s) / pairs
            prefill_s += attention_s
            prefill_full_s += full_attention_s
            flops += rates.pair_flops * pairs + rates.context_flops * read
            flops += rates.token_flops * prefill_tokens
            flops_slope += rates.pair_flops * pairs_slope + rates.context_flops * read_slope
            hbm += rates.read_hbm * read
            hbm_slope += rates.read_hbm * read_slope
            if rates.window:
                seen = rates.window * prefill_tokens
                flops += rates.window_flops * min(pairs, seen)
                flops_slope += rates.window_flops * (pairs_slope if pairs < seen else 0.0)
        return Segment(
            steps,
            prefill_s + fixed_s + token_s * context,
            prefill_slope_s + token_s * growth,
            prefill_full_s + full_s + full_token_s * context,
            prefill_full_slope_s + full_token_s * growth,
            prefill_s,
            prefill_slope_s,
            fixed_s,
            token_s,
            pair_s,
            0.0,
            0.0,
            flops + token_flops * context,
            hbm + token_hbm * context,
            net,
            flops_slope,
            hbm_slope,
        )

    def _experts(self, tables: _ClockTables, decode: int, prompt: int) -> Row:
        """Routed experts for decoding sequences and prompt tokens of all ranks, drafts included."""
        both = tables.experts(decode * (1 + self._drafts) + prompt)
        if not self._drafts:
            return both
        m0, m1, m2, m3, m4 = both
        d0, d1, d2, d3, d4 = tables.draft_experts(decode)
        return m0 + d0, m1 + d1, m2 + d2, m3 + d3, m4 + d4

    def _plan_decoding(
        self, ranks: Sequence[RankWork], tables: _ClockTables, steps: int
    ) -> Segment | None:
        """Ranks that only decode, on one line of attention; None if they are not such."""
        if not self._simple:
            return None
        counts = [work.decode for work in ranks]
        for work, n in zip(ranks, counts, strict=True):
            if work.prefill_tokens or work.logit_rows != n:
                return None
        most = max(counts)
        rows = tables.decode_rows
        if most >= len(rows):
            tables.decode(most)
            if most >= len(rows):
                return None
        line = tables.lines[0]
        token_s = line.token_s
        contexts = [work.context for work in ranks]
        costs, full_costs, *work_done = zip(*[rows[n] for n in counts], strict=True)
        bases = [cost + token_s * c for cost, c in zip(costs, contexts, strict=True)]
        growths = [work.context_slope for work in ranks]
        base, slope, steps = upper_of(bases, [token_s * g for g in growths], steps)
        full_base, full_slope = base, slope
        if not tables.is_full:
            full_token_s = line.full_token_s
            full_base, full_slope, steps = upper_of(
                [cost + full_token_s * c for cost, c in zip(full_costs, contexts, strict=True)],
                [full_token_s * g for g in growths],
                steps,
            )
        share = 1.0 / len(ranks)
        decode, context, growth = sum(counts), sum(contexts), sum(growths)
        fixed = sum(costs) * share
        flops, hbm, net = [sum(column) * share for column in work_done]
        flops += line.token_flops * context * share
        hbm += line.token_hbm * context * share
        gamma = token_s * share
        if self._shared_experts:
            moe_s, moe_full_s, moe_flops, moe_hbm, moe_net = self._experts(tables, decode, 0)
            base += moe_s
            full_base += moe_full_s
            fixed += moe_s * (len(ranks) - counts.count(0)) * share
            flops += moe_flops
            hbm += moe_hbm
            net += moe_net
        return Segment(
            steps,
            base,
            slope,
            full_base,
            full_slope,
            0.0,
            0.0,
            fixed,
            gamma,
            0.0,
            max(base - fixed - gamma * context, 0.0),
            slope - gamma * growth,
            flops,
            hbm,
            net,
            line.token_flops * growth * share,
            line.token_hbm * growth * share,
        )

    def _plan_ranks(self, ranks: Sequence[RankWork], tables: _ClockTables, steps: int) -> Segment:
        """Ranks in lock-step: the slowest sets the step; experts serve the tokens of all."""
        bases: list[float] = []
        slopes: list[float] = []
        full_bases: list[float] = []
        full_slopes: list[float] = []
        decode = tokens = 0
        context: float = 0
        growth: float = 0
        pairs = fixed = prefill = prefill_slope = attention = 0.0
        flops = hbm = net = flops_slope = hbm_slope = 0.0
        decode_slope = 0.0
        token_s = tables.lines[0].token_s
        for work in ranks:
            n = work.decode
            c = work.context
            if not (n or work.prefill_tokens or work.logit_rows):
                continue
            one = self._plan_rank(work, tables, steps)
            steps = one.steps
            bases.append(one.base_s)
            slopes.append(one.slope_s)
            full_bases.append(one.full_base_s)
            full_slopes.append(one.full_slope_s)
            # Where a rank lies on another line of attention, the difference joins the fixed part.
            fixed += one.decode_fixed_s + (one.decode_token_s - token_s) * c
            decode_slope += one.decode_token_s * work.context_slope
            growth += work.context_slope
            prefill += one.prefill_base_s
            prefill_slope += one.prefill_slope_s
            attention += one.prefill_pair_s * work.prefill_pairs
            pairs += work.prefill_pairs
            flops += one.flops
            hbm += one.hbm_bytes
            net += one.net_bytes
            flops_slope += one.flops_slope
            hbm_slope += one.hbm_slope
            decode += n
            context += c
            tokens += work.prefill_tokens
        share = 1.0 / len(ranks)
        base, slope, steps = upper_of(bases, slopes, steps)
        full_base, full_slope, steps = upper_of(full_bases, full_slopes, steps)
        prefill, prefill_slope, fixed = prefill * share, prefill_slope * share, fixed * share
        flops, hbm, net = flops * share, hbm * share, net * share
        gamma = token_s * share
        if not self._simple and decode:
            mean = decode_slope * share / growth
            fixed, gamma = fixed + (gamma - mean) * context, mean
        if self._shared_experts:
            moe_s, moe_full_s, moe_flops, moe_hbm, moe_net = self._experts(tables, decode, tokens)
            decode_moe_s = self._experts(tables, decode, 0)[0] if tokens else moe_s
            busy = len(bases) * share
            base += moe_s
            full_base += moe_full_s
            fixed += decode_moe_s * busy
            prefill += (moe_s - decode_moe_s) * busy
            flops += moe_flops
            hbm += moe_hbm
            net += moe_net
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
            slope - prefill_slope - gamma * growth,
            flops,
            hbm,
            net,
            flops_slope * share,
            hbm_slope * share,
        )


def _decode_step(
    forward: ForwardPass, line: DecodeLine | None, sequences: Vector, clock: float
) -> OperatorTally:
    """All of a pure decode step but what grows with context; with a line, its fixed part too."""
    tally = forward.decode_step(sequences, clock)
    if line is not None:
        tally.seconds += sequences * (line.fixed_s if clock != 1.0 else line.full_fixed_s)
    return tally


def _prefill_line(work: RankWork, rates: PrefillRates, steps: int) -> tuple[float, float, int]:
    """Seconds of prefill attention in step 0, added per step, and the steps for which they hold."""
    pairs, pairs_slope = work.prefill_pairs, work.prefill_pairs_slope
    context, context_slope = work.prefill_context, work.prefill_context_slope
    base, slope, steps = upper_line(
        rates.pair_s * pairs + rates.context_s * context,
        rates.pair_s * pairs_slope + rates.context_s * context_slope,
        rates.read_s * context,
        rates.read_s * context_slope,
        steps,
    )
    if rates.window:
        most = float(rates.window * work.prefill_tokens)
        if pairs >= most:
            base += rates.window_s * most
        else:
            base += rates.window_s * pairs
            slope += rates.window_s * pairs_slope
            if pairs + pairs_slope * (steps - 1) > most:
                steps = min(steps, int((most - pairs) / pairs_slope) + 1)
    return base + rates.token_s * work.prefill_tokens + rates.fixed_s, slope, steps
